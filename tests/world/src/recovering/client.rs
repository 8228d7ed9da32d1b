//! A client, and what its application is told.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wwr::client::{Action, Client, Config, Event as Told, RequestError, RequestId};
use wwr::handshake::SubProtocol;
use wwr::preflight::Answer;
use wwr::session::Instance;
use wwr::{Actions, Instant, Name, Payload, Session, SessionKey};

use super::{Event, Link, Stage, is_connected};
use crate::invariants::Invariant;

pub(super) struct Node {
    id: usize,
    machine: Client,
    out: Actions<Action>,
    link: Option<u64>,
    /// The requests without an outcome, and their tokens. Logins have none.
    open: BTreeMap<RequestId, Option<u64>>,
    tokens: u64,
    follows: Following,
    /// Whether it resumes signals.
    resumes: bool,
}

/// What the application knows of the signals to its session.
#[derive(Debug, Default)]
struct Following {
    /// The number of the session, and of the last signal.
    session: Option<u64>,
    last: u64,
    /// Whether the next signal may be any later one: something is missing, and the application was told.
    knows_of_gap: bool,
}

/// The number of a session, which the application has put into it.
pub(super) fn number_of(session: &Session) -> u64 {
    let number = session.info.value("number").map(ToString::to_string);
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

impl Node {
    pub(super) fn new(id: usize, stage: &mut Stage) -> Self {
        let mut config = Config::default();
        config.resume_signals = true;
        config.pings = None;
        config.request_timeout = Duration::from_secs(60);
        // One that has another idea of what it wants.
        let resumes = id != 3;
        config.resume_signals = resumes;
        let config = config.validate().expect("settings that are valid");
        let mut machine = Client::new(&config, stage.dice.number());
        machine.set_instance(Instance([id as u8 + 1; 16]));
        Self {
            id,
            machine,
            out: Actions::new(),
            link: None,
            open: BTreeMap::new(),
            tokens: 0,
            follows: Following::default(),
            resumes,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.machine.next_timeout()
    }

    pub(super) fn due(&mut self, stage: &mut Stage) {
        if self.machine.next_timeout().is_some_and(|next| next <= stage.now) {
            self.machine.handle_timeout(stage.now, &mut self.out);
            self.carry_out(stage);
        }
    }

    pub(super) fn connect(&mut self, stage: &mut Stage) {
        self.machine.connect(stage.now, &mut self.out);
        self.carry_out(stage);
    }

    pub(super) fn wake(&mut self, stage: &mut Stage) {
        self.machine.wake(stage.now, &mut self.out);
        self.carry_out(stage);
    }

    /// Logs in if it has no session, otherwise makes an idempotent request.
    pub(super) fn request(&mut self, stage: &mut Stage) {
        let logs_in = self.machine.session_key().is_none() && is_connected(self.machine.status());
        if logs_in && stage.dice.below(2) == 0 {
            let name = Name::new("login").expect("a name");
            let made = self.machine.request(stage.now, name, "".into(), None, &mut self.out);
            if let Ok(id) = made {
                self.open.insert(id, None);
            }
            // It needs a payload or a name, and has one.
            return self.carry_out(stage);
        }
        self.tokens += 1;
        let token = self.id as u64 * 1_000_000 + self.tokens;
        let name = Name::new("count").expect("a name");
        let payload = Payload::utf8(token.to_string());
        let made = self.machine.request_idempotent(stage.now, name, payload, None, &mut self.out);
        if let Ok(id) = made {
            stage.report.requests.0 += 1;
            self.open.insert(id, Some(token));
            let client = self.id;
            stage.note(|| format!("client {client} asks {token}"));
        }
        self.carry_out(stage);
    }

    /// Continues the session of somebody else.
    pub(super) fn take_over(&mut self, key: Option<SessionKey>, stage: &mut Stage) {
        let Some(key) = key else { return };
        if let Ok(id) = self.machine.restore_session(stage.now, key, None, &mut self.out) {
            self.open.insert(id, None);
        }
        self.carry_out(stage);
    }

    pub(super) fn opened(&mut self, link: u64, stage: &mut Stage) {
        if self.link == Some(link) {
            self.machine.handle_opened(stage.now, Some(SubProtocol::Wwr1), &mut self.out);
            self.carry_out(stage);
        }
    }

    pub(super) fn receive(&mut self, link: u64, frame: Bytes, stage: &mut Stage) {
        if self.link == Some(link) {
            self.machine.handle_message(stage.now, frame, &mut self.out);
            self.carry_out(stage);
        }
    }

    pub(super) fn lose(&mut self, link: u64, stage: &mut Stage) {
        if self.link == Some(link) {
            self.link = None;
            self.machine.handle_disconnect(stage.now, &mut self.out);
            self.carry_out(stage);
        }
    }

    fn carry_out(&mut self, stage: &mut Stage) {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Probe => {
                    let body = Bytes::from_static(b"Bad Request\n");
                    let answer = Answer { status: 400, body, retry_after: None };
                    self.machine.handle_probed(stage.now, Ok(answer), &mut self.out);
                }
                Action::Dial => {
                    stage.last_link += 1;
                    let link = stage.last_link;
                    self.link = Some(link);
                    stage.links.insert(link, Link { client: self.id, ..Link::default() });
                    let delay = Duration::from_millis(1 + stage.dice.below(30));
                    stage.at(delay, Event::Opened(link));
                }
                Action::Send(frame) => {
                    if let Some(link) = self.link {
                        stage.send(link, true, frame);
                    }
                }
                Action::Ping => {}
                Action::Hangup => {
                    if let Some(link) = self.link.take() {
                        stage.cut(link);
                    }
                }
                Action::Done { id, outcome } => self.done(id, outcome, stage),
                Action::Event(event) => self.told(event, stage),
            }
        }
    }

    fn done(&mut self, id: RequestId, outcome: wwr::client::Outcome, stage: &mut Stage) {
        let Some(token) = self.open.remove(&id) else {
            let client = self.id;
            return stage.check(false, Invariant::OneOutcome, || {
                format!("client {client}: {id} has another outcome")
            });
        };
        let Some(token) = token else { return };
        let client = self.id;
        let text = outcome.as_ref().ok().and_then(|payload| payload.text().ok()).map(String::from);
        stage.note(|| {
            format!("client {client} learns of {token}: {text:?} {:?}", outcome.as_ref().err())
        });
        match outcome {
            Ok(_) => {
                stage.report.requests.1 += 1;
                let executed = stage.executed.get(&token).cloned().unwrap_or_default();
                let is_true = text.is_some_and(|text| executed.contains(&text));
                stage.check(is_true, Invariant::TrueOutcome, || {
                    format!("client {client}: {token} was {executed:?}")
                });
            }
            Err(
                RequestError::ConnectionLost
                | RequestError::TimedOut { .. }
                | RequestError::NotSent
                | RequestError::Internal,
            ) => {}
            Err(other) => stage.check(false, Invariant::TrueOutcome, || {
                format!("client {client}: {token} ended with {other:?}")
            }),
        }
    }

    fn told(&mut self, event: Told, stage: &mut Stage) {
        let client = self.id;
        if !matches!(
            event,
            Told::Connected | Told::Disconnected { .. } | Told::ConnectFailed { .. }
        ) {
            stage.note(|| format!("client {client} is told {event:?}"));
        }
        match event {
            Told::SessionCreated(session) => {
                let session = Some(number_of(&session));
                self.follows = Following { session, last: 0, knows_of_gap: false };
            }
            Told::SessionRestored(session) => {
                let number = number_of(&session);
                if self.follows.session != Some(number) {
                    // It begins where the session is now, and cannot know what was before.
                    let session = Some(number);
                    self.follows = Following { session, last: 0, knows_of_gap: true };
                }
            }
            Told::SessionClosed | Told::SessionLost(_) => self.follows = Following::default(),
            Told::Signal(content) => {
                let text = content.text().map(String::from).unwrap_or_default();
                let mut numbers = text.split('/').map(|number| number.parse::<u64>().ok());
                let (session, number) = (numbers.next().flatten(), numbers.next().flatten());
                self.signalled(session, number.unwrap_or_default(), stage);
            }
            Told::SignalsResumed { missed } => {
                stage.report.resumed.0 += 1;
                stage.report.resumed.1 += missed;
            }
            Told::SignalGap { .. } => {
                stage.report.resumed.2 += 1;
                self.follows.knows_of_gap = true;
            }
            Told::Anomaly(anomaly) => stage
                .check(false, Invariant::OnlyReadable, || format!("client {client}: {anomaly:?}")),
            _ => {}
        }
    }

    fn signalled(&mut self, session: Option<u64>, number: u64, stage: &mut Stage) {
        stage.report.signals.1 += 1;
        let (client, follows) = (self.id, &mut self.follows);
        stage.check(session == follows.session, Invariant::SignalsInOrder, || {
            format!("client {client}: a signal of session {session:?}, not {:?}", follows.session)
        });
        stage.check(number > follows.last, Invariant::SignalsInOrder, || {
            format!("client {client}: signal {number} after {}", follows.last)
        });
        let misses = number != follows.last + 1 && !follows.knows_of_gap && self.resumes;
        stage.check(!misses, Invariant::GapsAreTold, || {
            format!("client {client}: signal {number} after {}, and no gap", follows.last)
        });
        (follows.last, follows.knows_of_gap) = (number, false);
    }

    /// All is quiet.
    pub(super) fn check_end(&self, stage: &mut Stage) {
        let client = self.id;
        let connected = is_connected(self.machine.status());
        stage.check(connected, Invariant::Recovery, || format!("client {client} is away"));
        stage.check(self.open.is_empty(), Invariant::OneOutcome, || {
            format!("client {client}: {:?} have no outcome", self.open)
        });
        let Following { session: Some(session), last, knows_of_gap } = self.follows else { return };
        let sent = stage.signals.get(&session).copied().unwrap_or_default();
        let knows_all = last == sent || knows_of_gap || !self.resumes;
        stage.check(knows_all, Invariant::GapsAreTold, || {
            format!("client {client}: got {last} of {sent}, and no gap")
        });
    }
}
