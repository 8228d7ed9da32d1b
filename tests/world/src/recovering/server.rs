//! The server: machines, hub, store and application. What it keeps in memory is gone when it starts again.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use wwr::server::{
    Action, Config, Connection, Hub, HubAction, HubConfig, Job, JobId, Observed, RecoveryCommand,
    RecoveryConfig, RecoveryNews, RequestId, SessionEvent, StoreAnswer, Work,
};
use wwr::session::{
    Begun, Change, ConnectionId, Edit, HistoryConfig, NewKey, OtherConnections, Outcome,
    OutcomesConfig,
};
use wwr::wire::{Message, decode};
use wwr::{
    Actions, Dialect, Instant, Payload, PreparedSignal, Session, SessionInfo, SessionKey, UnixTime,
    Valid,
};

use super::client::number_of;
use super::{Event, RecoveryMistake, Stage};
use crate::invariants::Invariant;

/// More messages than this make a socket take no more.
const FULL: usize = 6;

pub(super) struct Server {
    /// Counts the runs: what was under way in an earlier one does not matter.
    run: u64,
    config: Valid<Config>,
    hub: Hub,
    control: Actions<HubAction>,
    connections: BTreeMap<u64, Served>,
    store: BTreeMap<SessionKey, Session>,
    /// The keys that the hub knows the sessions by, by their numbers.
    known: BTreeMap<u64, SessionKey>,
    sessions: u64,
    keys: u64,
    out: Actions<Action>,
    executions: u64,
}

struct Served {
    id: ConnectionId,
    machine: Connection,
    news: VecDeque<News>,
    login: Option<RequestId>,
    /// The handlers that run.
    running: usize,
    is_writable: bool,
    has_ended: bool,
    last_offset: u64,
    /// The idempotent requests that came, and their numbers.
    begun: Vec<(RequestId, u64)>,
    /// The last outcome that it was told of another connection.
    last_outcome: Option<Box<wwr::server::Outcome>>,
}

enum News {
    Session(Outcome),
    Recovery(RecoveryNews),
    Signal(PreparedSignal),
}

fn hub(stage: &mut Stage) -> Hub {
    let mut history = HistoryConfig::default();
    history.max_signals = 8;
    history.max_bytes = 400;
    history.max_age = Duration::from_secs(20);
    history.max_total_bytes = 3000;
    let mut outcomes = OutcomesConfig::default();
    outcomes.window = Duration::from_secs(15);
    outcomes.max_per_client = NonZeroUsize::new(4).expect("more than zero");
    outcomes.max_clients = NonZeroUsize::new(2).expect("more than zero");
    let mut recovery = RecoveryConfig::default();
    (recovery.history, recovery.outcomes) = (Some(history), Some(outcomes));
    let recovery = recovery.validate().expect("settings that are valid");
    let mut secret = [0; 16];
    let seed = stage.dice.number();
    if !stage.does(RecoveryMistake::SameIncarnation) {
        secret[..8].copy_from_slice(&seed.to_le_bytes());
    }
    Hub::with_recovery(&HubConfig::default().validate().expect("valid"), &recovery, secret)
}

impl Server {
    pub(super) fn new(stage: &mut Stage) -> Self {
        let mut config = Config::default();
        (config.keeps_histories, config.keeps_outcomes) = (true, true);
        config.concurrency =
            std::num::NonZeroU16::new(1 + stage.dice.below(3) as u16).expect("some");
        config.pings = None;
        Self {
            run: 0,
            config: config.validate().expect("settings that are valid"),
            hub: hub(stage),
            control: Actions::new(),
            connections: BTreeMap::new(),
            store: BTreeMap::new(),
            known: BTreeMap::new(),
            sessions: 0,
            keys: 0,
            out: Actions::new(),
            executions: 0,
        }
    }

    /// It stops, and another one takes its place, with the same store.
    pub(super) fn restart(&mut self, stage: &mut Stage) {
        stage.note(|| "the server starts again".into());
        self.run += 1;
        let links: Vec<_> = std::mem::take(&mut self.connections).into_keys().collect();
        (self.hub, self.control) = (hub(stage), Actions::new());
        links.into_iter().for_each(|link| stage.cut(link));
    }

    pub(super) fn accept(&mut self, link: u64, stage: &mut Stage) -> bool {
        let Ok(id) = self.hub.admit(stage.now) else { return false };
        let machine =
            Connection::accept(&self.config, Observed::SubProtocol, stage.now, &mut self.out);
        let served = Served {
            id,
            machine,
            news: VecDeque::new(),
            login: None,
            running: 0,
            is_writable: true,
            has_ended: false,
            last_offset: 0,
            begun: Vec::new(),
            last_outcome: None,
        };
        self.connections.insert(link, served);
        self.hub.opened(stage.now, id, &mut self.control);
        self.carry_out(link, stage);
        true
    }

    pub(super) fn receive(&mut self, link: u64, frame: Bytes, stage: &mut Stage) {
        if let Some(served) = self.connections.get_mut(&link).filter(|served| !served.has_ended) {
            if let Ok(Message::ResumeSession { resume, .. }) = decode(Dialect::Wwr1, frame.clone())
            {
                served.last_offset = resume.offset();
            }
            if let Ok(Message::IdempotentRequest { content, .. }) =
                decode(Dialect::Wwr1, frame.clone())
                && let Some(token) = content.text().ok().and_then(|text| text.parse().ok())
            {
                *stage.arrivals.entry(token).or_default() += 1;
            }
            served.machine.handle_message(stage.now, frame, &mut self.out);
            self.carry_out(link, stage);
        }
    }

    /// The socket took a message: it may take more.
    pub(super) fn sent(&mut self, link: u64, stage: &mut Stage) {
        let waiting = stage.links.get(&link).map_or(0, |link| link.down.len());
        let Some(served) = self.connections.get_mut(&link).filter(|served| !served.has_ended)
        else {
            return;
        };
        if !served.is_writable && waiting <= FULL / 2 {
            served.is_writable = true;
            served.machine.handle_writable(true, &mut self.out);
            self.carry_out(link, stage);
        }
    }

    /// The socket is gone. Handlers of idempotent requests run on.
    pub(super) fn lose(&mut self, link: u64, stage: &mut Stage) {
        let Some(served) = self.connections.get_mut(&link) else { return };
        if served.has_ended {
            return;
        }
        served.has_ended = true;
        served.news.clear();
        served.machine.handle_disconnect(&mut self.out);
        self.carry_out(link, stage);
        if stage.does(RecoveryMistake::TokenForgottenAtDisconnect)
            && let Some(served) = self.connections.get(&link)
        {
            for &(request, token) in &served.begun {
                let undo = RecoveryCommand::Undo { request, token };
                self.hub.recover(stage.now, served.id, undo, &mut self.control);
            }
        }
        self.leave_if_done(link, stage);
    }

    /// The task of a connection ends, and with it all its handlers.
    pub(super) fn kill_task(&mut self, stage: &mut Stage) {
        let links: Vec<_> = self.connections.keys().copied().collect();
        if links.is_empty() {
            return;
        }
        let link = links[stage.dice.below(links.len() as u64) as usize];
        stage.note(|| format!("the task of #{link} ends"));
        if let Some(served) = self.connections.remove(&link) {
            self.hub.left(stage.now, served.id, &mut self.control);
            self.carry_out(link, stage);
        }
        stage.cut(link);
    }

    fn leave_if_done(&mut self, link: u64, stage: &mut Stage) {
        let is_done =
            |served: &Served| served.has_ended && served.machine.running_idempotent() == 0;
        if self.connections.get(&link).is_some_and(is_done)
            && let Some(served) = self.connections.remove(&link)
        {
            self.hub.left(stage.now, served.id, &mut self.control);
            self.carry_out(link, stage);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let timeouts = self.connections.values().filter_map(|served| served.machine.next_timeout());
        timeouts.chain(self.hub.next_timeout()).min()
    }

    pub(super) fn due(&mut self, stage: &mut Stage) {
        let links: Vec<_> = self.connections.keys().copied().collect();
        for link in links {
            if let Some(served) = self.connections.get_mut(&link)
                && served.machine.next_timeout().is_some_and(|next| next <= stage.now)
            {
                served.machine.handle_timeout(stage.now, &mut self.out);
                self.carry_out(link, stage);
            }
        }
        if self.hub.next_timeout().is_some_and(|next| next <= stage.now) {
            self.hub.handle_timeout(stage.now, &mut self.control);
            self.control(stage);
        }
    }

    pub(super) fn stored(&mut self, run: u64, job: JobId, answer: StoreAnswer, stage: &mut Stage) {
        if run == self.run {
            self.hub.answered(stage.now, job, answer, &mut self.control);
            self.control(stage);
        }
    }

    pub(super) fn handled(
        &mut self,
        run: u64,
        link: u64,
        request: RequestId,
        reply: String,
        stage: &mut Stage,
    ) {
        if run != self.run {
            return;
        }
        if let Some(served) = self.connections.get_mut(&link) {
            served.running -= 1;
            let _ = served.machine.reply(request, Ok(Payload::utf8(reply)), &mut self.out);
            self.carry_out(link, stage);
            self.leave_if_done(link, stage);
        }
    }

    pub(super) fn take_news(&mut self, link: u64, stage: &mut Stage) {
        let Some(served) = self.connections.get_mut(&link).filter(|served| !served.has_ended)
        else {
            return;
        };
        served.machine.handle_writable(served.is_writable, &mut self.out);
        match served.news.pop_front() {
            Some(News::Session(outcome)) => {
                served.machine.handle_session(stage.now, outcome, &mut self.out);
            }
            Some(News::Recovery(news)) => {
                served.machine.handle_recovery(stage.now, news, &mut self.out);
            }
            Some(News::Signal(signal)) => {
                let _ = served.machine.signal_prepared(&signal, &mut self.out);
            }
            None => {}
        }
        self.carry_out(link, stage);
    }

    pub(super) fn any_key(&self, stage: &mut Stage) -> Option<SessionKey> {
        self.any_session(stage).map(|(_, key)| key)
    }

    /// A session that is not closed, maybe without connections.
    fn any_session(&self, stage: &mut Stage) -> Option<(u64, SessionKey)> {
        let count = self.known.len() as u64;
        let index = if count == 0 { return None } else { stage.dice.below(count) };
        self.known.iter().nth(index as usize).map(|(number, key)| (*number, key.clone()))
    }

    /// The application tells a session something.
    pub(super) fn signal_session(&mut self, stage: &mut Stage) {
        let Some((session, key)) = self.any_session(stage) else { return };
        for _ in 0..1 + stage.dice.below(4) {
            let number = stage.signals.entry(session).or_default();
            *number += 1;
            let text = format!("{session}/{number}");
            stage.report.signals.0 += 1;
            let padding = "x".repeat(stage.dice.below(60) as usize);
            stage.note(|| format!("signal {text}"));
            let signal =
                PreparedSignal::new("news", format!("{text}/{padding}")).expect("a signal");
            let told = self.hub.signal_session(stage.now, &key, &signal, &mut self.control);
            for id in told.others {
                self.tell(id, News::Signal(signal.clone()), stage);
            }
            if stage.does(RecoveryMistake::NewsLost) && stage.dice.below(10) == 0 {
                self.control.drain().for_each(drop);
            }
            self.control(stage);
        }
    }

    pub(super) fn rotate(&mut self, stage: &mut Stage) {
        self.keys += 1;
        let key = key(self.keys);
        let holder = self
            .connections
            .iter_mut()
            .find(|(_, served)| served.machine.session().is_some() && !served.has_ended);
        let Some((&link, served)) = holder else { return };
        let now = UnixTime::from_seconds(1);
        let edit = NewKey { key, now, info: None, others: OtherConnections::Keep };
        let _ = served.machine.edit_session(Edit::NewKey(edit), &mut self.out);
        stage.note(|| format!("#{link} gets a new key"));
        self.carry_out(link, stage);
    }

    pub(super) fn end_session(&mut self, stage: &mut Stage) {
        let Some((session, key)) = self.any_session(stage) else { return };
        self.known.remove(&session);
        stage.note(|| format!("session {session} is closed"));
        self.hub.close_session(stage.now, key, false, &mut self.control);
        self.control(stage);
    }

    fn tell(&mut self, to: ConnectionId, news: News, stage: &mut Stage) {
        let found = self.connections.iter_mut().find(|(_, served)| served.id == to);
        if let Some((&link, served)) = found.filter(|(_, served)| !served.has_ended) {
            served.news.push_back(news);
            stage.at(Duration::from_millis(1), Event::Inbox(link));
        }
    }

    fn control(&mut self, stage: &mut Stage) {
        while let Some(action) = self.control.pop() {
            match action {
                HubAction::Deliver { to, outcome } => {
                    if let Change::Rotated { session, .. } = &outcome.change
                        && let Some(known) = self.known.get_mut(&number_of(session))
                    {
                        *known = session.key.clone();
                    }
                    self.tell(to, News::Session(outcome), stage);
                }
                HubAction::Recover { to, news } => {
                    let news = self.spoil(to, news, stage);
                    self.tell(to, News::Recovery(news), stage);
                }
                HubAction::Store(Job { id, work }) => {
                    let answer = self.work(work);
                    let delay = Duration::from_millis(stage.dice.below(15));
                    stage.at(delay, Event::Store { run: self.run, job: id, answer });
                }
                _ => {}
            }
        }
    }

    /// Does what is to be done wrong.
    fn spoil(
        &mut self,
        to: ConnectionId,
        mut news: RecoveryNews,
        stage: &mut Stage,
    ) -> RecoveryNews {
        match &mut news {
            RecoveryNews::Batch { batch, .. } => {
                if stage.does(RecoveryMistake::ReadsOneTooLate) && batch.signals.len() > 1 {
                    batch.signals.remove(0);
                    batch.first += 1;
                }
                if stage.does(RecoveryMistake::GapNotSaid) {
                    batch.gap = false;
                }
            }
            RecoveryNews::Kept(kept) if stage.does(RecoveryMistake::SameScope) => kept.scope = 1,
            RecoveryNews::Begun { begun: Begun::Done(outcome), .. }
                if stage.does(RecoveryMistake::OutcomesMixedUp) =>
            {
                let served = self.connections.values_mut().find(|served| served.id == to);
                if let Some(served) = served
                    && let Some(last) = served.last_outcome.replace(outcome.clone())
                {
                    *outcome = last;
                }
            }
            _ => {}
        }
        news
    }

    fn work(&mut self, work: Work) -> StoreAnswer {
        match work {
            Work::LookUp(key) => {
                StoreAnswer::LookedUp(Ok(self.store.get(&key).cloned().map(Box::new)))
            }
            Work::Create(session) => {
                self.store.insert(session.key.clone(), *session);
                StoreAnswer::Created(Ok(()))
            }
            Work::Update(update) => {
                let known = self.store.get_mut(&update.key);
                let is_known = known.is_some();
                if let Some(session) = known {
                    session.info = update.info.clone();
                }
                StoreAnswer::Updated(Ok(is_known))
            }
            Work::Destroy(key) => {
                self.store.remove(&key);
                StoreAnswer::Destroyed(Ok(()))
            }
            Work::Expire { .. } => StoreAnswer::Expired(Ok(())),
        }
    }

    fn carry_out(&mut self, link: u64, stage: &mut Stage) {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Send(frame) => self.send(link, frame, stage),
                Action::Request(request) => self.start(link, request, stage),
                Action::Session(command) => {
                    if let Some(served) = self.connections.get(&link) {
                        let id = served.id;
                        self.hub.handle(stage.now, id, command, &mut self.control);
                    }
                }
                Action::Recover(mut command) => {
                    if stage.does(RecoveryMistake::ReadsOneTooEarly)
                        && let RecoveryCommand::Read { after, .. } = &mut *command
                    {
                        after.offset = after.offset.saturating_sub(1);
                    }
                    if let Some(served) = self.connections.get_mut(&link) {
                        if let RecoveryCommand::Begin { request, token, .. } = &*command {
                            served.begun.push((*request, *token));
                        }
                        let id = served.id;
                        self.hub.recover(stage.now, id, *command, &mut self.control);
                    }
                }
                Action::SessionEvent(SessionEvent::Created(..) | SessionEvent::CreateFailed(_)) => {
                    if let Some(served) = self.connections.get_mut(&link)
                        && let Some(login) = served.login.take()
                    {
                        let reply = Ok(Payload::utf8("welcome"));
                        let _ = served.machine.reply(login, reply, &mut self.out);
                    }
                }
                Action::Close(_) => stage.cut(link),
                _ => {}
            }
        }
        self.control(stage);
    }

    fn send(&mut self, link: u64, frame: Bytes, stage: &mut Stage) {
        let Some(served) = self.connections.get_mut(&link) else { return };
        match decode(Dialect::Wwr1, frame.clone()) {
            Ok(Message::HistorySignal { id, .. }) => {
                let (offset, last) = (id.counter(), served.last_offset);
                served.last_offset = offset;
                stage.check(offset == last + 1, Invariant::SignalsInOrder, || {
                    format!("#{link}: the signal of offset {offset} is sent after that of {last}")
                });
            }
            Ok(Message::HistoryMark(mark)) => served.last_offset = mark.offset,
            _ => {}
        }
        stage.send(link, false, frame);
        let waiting = stage.links.get(&link).map_or(0, |link| link.down.len());
        if served.is_writable && waiting > FULL {
            served.is_writable = false;
            served.machine.handle_writable(false, &mut self.out);
        }
    }

    fn start(&mut self, link: u64, request: wwr::server::Request, stage: &mut Stage) {
        let Some(served) = self.connections.get_mut(&link) else { return };
        if request.content.name() == b"login" {
            self.sessions += 1;
            self.keys += 1;
            let info = SessionInfo::new().public("number", self.sessions);
            let (key, created) = (key(self.keys), UnixTime::from_seconds(self.sessions as i64));
            match served.machine.create_session(key.clone(), created, info, &mut self.out) {
                Ok(_) => {
                    served.login = Some(request.id);
                    self.known.insert(self.sessions, key);
                }
                Err(_) => {
                    let reply = Ok(Payload::utf8("no"));
                    let _ = served.machine.reply(request.id, reply, &mut self.out);
                }
            }
            return;
        }
        let text = request.content.text().map(String::from).unwrap_or_default();
        let token: u64 = text.parse().unwrap_or_default();
        self.executions += 1;
        let reply = format!("{token} is execution {}", self.executions);
        stage.note(|| format!("#{link} executes {reply}"));
        let executed = stage.executed.entry(token).or_default();
        executed.push(reply.clone());
        let times = executed.len();
        stage.check(times == 1, Invariant::ExecutedOnce, || {
            format!("{token} is executed {times} times")
        });
        served.running += 1;
        let takes = match stage.dice.below(4) {
            0 => stage.dice.below(8000),
            _ => stage.dice.below(50),
        };
        let handled = Event::Handled { run: self.run, link, request: request.id, reply };
        stage.at(Duration::from_millis(takes), handled);
    }
}

fn key(number: u64) -> SessionKey {
    let mut entropy = [0; SessionKey::ENTROPY];
    entropy[..8].copy_from_slice(&number.to_le_bytes());
    SessionKey::from_entropy(entropy)
}
