//! A client that repeats requests, and what its application is told.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wwr::client::{Action, Client, Config, Event as Told, RequestError, RequestId};
use wwr::handshake::SubProtocol;
use wwr::preflight::Answer;
use wwr::session::Instance;
use wwr::{Actions, Instant, Name, Payload};

use super::{Event, Link, Stage, is_connected};
use crate::invariants::Invariant;

pub(super) struct Caller {
    id: usize,
    machine: Client,
    out: Actions<Action>,
    link: Option<u64>,
    /// The requests without an outcome.
    open: BTreeMap<RequestId, String>,
    made: u64,
}

impl Caller {
    pub(super) fn new(id: usize, stage: &mut Stage) -> Self {
        let mut config = Config::default();
        config.pings = None;
        config.request_timeout = Duration::from_secs(60);
        let config = config.validate().expect("settings that are valid");
        let mut machine = Client::new(&config, stage.dice.number());
        machine.set_instance(Instance([id as u8 + 1; 16]));
        Self { id, machine, out: Actions::new(), link: None, open: BTreeMap::new(), made: 0 }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.machine.next_timeout()
    }

    pub(super) fn due(&mut self, nodes: usize, stage: &mut Stage) {
        if self.machine.next_timeout().is_some_and(|next| next <= stage.now) {
            self.machine.handle_timeout(stage.now, &mut self.out);
            self.carry_out(nodes, stage);
        }
    }

    pub(super) fn connect(&mut self, nodes: usize, stage: &mut Stage) {
        self.machine.connect(stage.now, &mut self.out);
        self.carry_out(nodes, stage);
    }

    pub(super) fn wake(&mut self, nodes: usize, stage: &mut Stage) {
        self.machine.wake(stage.now, &mut self.out);
        self.carry_out(nodes, stage);
    }

    pub(super) fn close(&mut self, stage: &mut Stage) {
        self.machine.close(stage.now, &mut self.out);
        self.carry_out(1, stage);
    }

    pub(super) fn request(&mut self, nodes: usize, stage: &mut Stage) {
        self.made += 1;
        let text = format!("{}/{}", self.id, self.made);
        let (name, payload) = (Name::new("count").expect("a name"), Payload::utf8(text.clone()));
        let made = self.machine.request_idempotent(stage.now, name, payload, None, &mut self.out);
        if let Ok(id) = made {
            stage.report.requests.0 += 1;
            stage.note(|| format!("client {text} is asked as {id}"));
            self.open.insert(id, text);
        }
        self.carry_out(nodes, stage);
    }

    pub(super) fn opened(&mut self, link: u64, nodes: usize, stage: &mut Stage) {
        if self.link == Some(link) {
            self.machine.handle_opened(stage.now, Some(SubProtocol::Wwr1), &mut self.out);
            self.carry_out(nodes, stage);
        }
    }

    pub(super) fn receive(&mut self, link: u64, frame: Bytes, nodes: usize, stage: &mut Stage) {
        if self.link == Some(link) {
            self.machine.handle_message(stage.now, frame, &mut self.out);
            self.carry_out(nodes, stage);
        }
    }

    pub(super) fn lose(&mut self, link: u64, nodes: usize, stage: &mut Stage) {
        if self.link == Some(link) {
            self.link = None;
            self.machine.handle_disconnect(stage.now, &mut self.out);
            self.carry_out(nodes, stage);
        }
    }

    fn carry_out(&mut self, nodes: usize, stage: &mut Stage) {
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
                    let node = stage.dice.below(nodes as u64) as usize;
                    let new = Link {
                        client: self.id,
                        node,
                        run: 0,
                        up: Default::default(),
                        down: Default::default(),
                        up_until: Instant::EPOCH,
                        down_until: Instant::EPOCH,
                        is_cut: false,
                    };
                    stage.links.insert(link, new);
                    let delay = stage.delay(30);
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
                Action::Event(Told::Anomaly(anomaly)) => {
                    let client = self.id;
                    stage.check(false, Invariant::OnlyReadable, || {
                        format!("client {client}: {anomaly:?}")
                    });
                }
                Action::Event(_) => {}
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
        stage.note(|| format!("client {token} ends: {outcome:?}"));
        let truth = stage.requests.entry(token.clone()).or_default();
        let executed = truth.executed.clone();
        match outcome {
            Ok(payload) => {
                stage.report.requests.1 += 1;
                let text = payload.text().map(String::from).unwrap_or_default();
                let is_true = executed.contains(&text);
                stage.check(is_true, Invariant::TrueOutcome, || {
                    format!("{token} was {executed:?}, and the client is told {text:?}")
                });
            }
            Err(error) if error.is_repeatable() => {
                truth.is_refused = true;
                stage.report.requests.2 += 1;
                stage.check(executed.is_empty(), Invariant::TrueOutcome, || {
                    format!("{token} was {executed:?}, and the client is told {error}")
                });
                if error == RequestError::NotExecuted {
                    stage.saw("not executed");
                }
            }
            Err(RequestError::ConnectionLost | RequestError::TimedOut { .. }) => {
                stage.saw("unknown");
            }
            Err(other) => stage
                .check(false, Invariant::TrueOutcome, || format!("{token} ends with {other:?}")),
        }
    }

    /// All is quiet.
    pub(super) fn check_end(&self, stage: &mut Stage) {
        let client = self.id;
        let connected = is_connected(self.machine.status());
        stage.check(connected, Invariant::Recovery, || format!("client {client} is away"));
        stage.check(self.open.is_empty(), Invariant::OneOutcome, || {
            format!("client {client}: {:?} have no outcome", self.open)
        });
    }
}
