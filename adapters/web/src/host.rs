//! Carries calls, messages and time between the application, the machine and the browser.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use bytes::Bytes;
use wasm_bindgen_futures::spawn_local;
use wwr::client::{
    self, Action, AnswerError, Misuse, Outcome, Question, QuestionId, RequestId, Status,
};
use wwr::preflight::ProbeFailed;
use wwr::{Actions, CloseFrame, Instant, Name, Payload, SessionKey, Valid};

use crate::address::Address;

use crate::clock::{self, Timer};
use crate::environment::Environment;
use crate::error::{ConnectError, Error};
use crate::event::{Audience, Event};
use crate::probe::{Probe, Probed, probe};
use crate::socket::{Handlers, Socket};
use crate::store::Kept;

/// How many bytes may wait for the server to read them. Browsers take any number.
const MOST_WAITING: u32 = 16 * 1024 * 1024;

/// Called once with how a request ended.
pub(crate) type Done = Box<dyn FnOnce(Outcome)>;

/// Called once with how connecting ended.
pub(crate) type Connected = Box<dyn FnOnce(Result<(), ConnectError>)>;

/// Hears of events.
type Listener = Box<dyn Fn(&Event)>;

/// Answers questions of the server, by [`Host::answer`].
type Asked = Box<dyn Fn(&Rc<Host>, Question)>;

/// What an application brings along.
pub(crate) struct Application {
    /// Hears everything at once, before the streams of events.
    pub(crate) listener: Option<Listener>,
    /// Without it, the server is told that nothing is answered.
    pub(crate) asked: Option<Asked>,
}

/// A client with what it needs of the browser. No part of it is borrowed while code of the application runs,
/// which may call anything.
pub(crate) struct Host {
    myself: Weak<Self>,
    address: Address,
    max_message_size: usize,
    machine: RefCell<Machine>,
    link: RefCell<Link>,
    /// How many preflights were sent.
    probes: Cell<u64>,
    handlers: Handlers,
    timer: RefCell<Timer>,
    /// In the order of their numbers.
    calls: RefCell<VecDeque<(RequestId, Done)>>,
    connecting: RefCell<Vec<Connected>>,
    /// The questions without an answer: as many as the settings allow.
    questions: RefCell<Vec<QuestionId>>,
    kept: RefCell<Kept>,
    audience: RefCell<Audience>,
    application: Application,
    /// Whether actions are being carried out: those that come in the meantime follow.
    busy: Cell<bool>,
    /// Whether the connection was closed because the page was left, and is wanted again when it is shown.
    left: Cell<bool>,
    environment: RefCell<Option<Environment>>,
}

struct Machine {
    client: client::Client,
    out: Actions<Action>,
}

/// The way to the server.
enum Link {
    None,
    Probing { number: u64, _probe: Probe },
    Open(Socket),
}

impl Host {
    pub(crate) fn new(
        address: Address,
        config: &Valid<client::Config>,
        mut client: client::Client,
        kept: Kept,
        application: Application,
    ) -> Rc<Self> {
        let key = kept.key().and_then(|key| SessionKey::new(key).ok());
        if let Some(key) = key {
            // A new client holds no session and has no connection.
            let _ = client.resume_session(key);
        }
        let host = Rc::new_cyclic(|myself: &Weak<Self>| {
            let ringing = myself.clone();
            let timer = Timer::new(move || {
                if let Some(host) = ringing.upgrade() {
                    host.rang();
                }
            });
            Self {
                myself: myself.clone(),
                address,
                max_message_size: usize::try_from(config.max_message_size).unwrap_or(usize::MAX),
                machine: RefCell::new(Machine { client, out: Actions::new() }),
                link: RefCell::new(Link::None),
                probes: Cell::new(0),
                handlers: Handlers::new(myself),
                timer: RefCell::new(timer),
                calls: RefCell::default(),
                connecting: RefCell::default(),
                questions: RefCell::default(),
                kept: RefCell::new(kept),
                audience: RefCell::default(),
                application,
                busy: Cell::new(false),
                left: Cell::new(false),
                environment: RefCell::new(None),
            }
        });
        *host.environment.borrow_mut() = Some(Environment::watch(&host.myself));
        host
    }

    /// Reads the machine.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&client::Client) -> T) -> T {
        read(&self.machine.borrow().client)
    }

    /// Calls the machine.
    fn call<T>(
        &self,
        call: impl FnOnce(&mut client::Client, Instant, &mut Actions<Action>) -> T,
    ) -> T {
        let machine = &mut *self.machine.borrow_mut();
        call(&mut machine.client, clock::now(), &mut machine.out)
    }

    /// Calls the machine, and does what it wants.
    fn drive<T>(&self, call: impl FnOnce(&mut client::Client, Instant, &mut Actions<Action>) -> T) {
        self.call(call);
        self.carry_out();
    }

    fn carry_out(&self) {
        if self.busy.replace(true) {
            return;
        }
        loop {
            let Some(action) = self.machine.borrow_mut().out.pop() else { break };
            self.perform(action);
        }
        self.busy.set(false);
        let due = self.read(client::Client::next_timeout);
        self.timer.borrow_mut().set(due);
    }

    fn perform(&self, action: Action) {
        match action {
            Action::Probe => self.probe(),
            Action::Dial => {
                let offered = self.read(client::Client::offers);
                match Socket::open(&self.address.websocket, offered, &self.handlers) {
                    Some(socket) => self.set_link(Link::Open(socket)),
                    None => self.drive(client::Client::handle_disconnect),
                }
            }
            Action::Send(frame) => {
                if let Link::Open(socket) = &*self.link.borrow() {
                    socket.send(&frame);
                }
            }
            // The settings say that pages can send none.
            Action::Ping => {}
            Action::Hangup => self.set_link(Link::None),
            Action::Done { id, outcome } => {
                // Most requests end in the order in which they were made.
                let mut calls = self.calls.borrow_mut();
                let found = calls.binary_search_by_key(&id, |(id, _)| *id).ok();
                let done = found.and_then(|index| calls.remove(index));
                drop(calls);
                if let Some((_, done)) = done {
                    done(outcome);
                }
            }
            Action::Event(event) => self.tell(event),
        }
    }

    fn set_link(&self, link: Link) {
        // What was there may call back while it is dropped.
        let before = self.link.replace(link);
        drop(before);
    }

    fn probe(&self) {
        let Some((sent, answer)) = probe(&self.address.http) else {
            return self
                .drive(|client, now, out| client.handle_verdict(now, Err(ProbeFailed), out));
        };
        let number = self.probes.get().wrapping_add(1);
        self.probes.set(number);
        self.set_link(Link::Probing { number, _probe: sent });
        let myself = self.myself.clone();
        spawn_local(async move {
            let answer = answer.await;
            if let Some(host) = myself.upgrade() {
                host.probed(number, answer);
            }
        });
    }

    fn tell(&self, event: client::Event) {
        let now = clock::now();
        let in_time = |at: Option<Instant>| at.map(|at| at.saturating_since(now));
        let event = match event {
            client::Event::Connected => Event::Connected,
            client::Event::Disconnected { reason, retry } => {
                Event::Disconnected { reason, retry_in: in_time(retry) }
            }
            client::Event::ConnectFailed { error, retry } => {
                Event::ConnectFailed { error, retry_in: in_time(retry) }
            }
            client::Event::Signal(content) => Event::Signal(content),
            client::Event::Question(question) => {
                if let (Some(asked), Some(host)) = (&self.application.asked, self.myself.upgrade())
                {
                    self.questions.borrow_mut().push(question.id);
                    asked(&host, question);
                }
                return;
            }
            client::Event::QuestionCancelled(id) => {
                self.questions.borrow_mut().retain(|open| *open != id);
                return;
            }
            client::Event::SessionCreated(session) => Event::SessionCreated(session),
            client::Event::SessionUpdated(session) => Event::SessionUpdated(session),
            client::Event::SessionRestored(session) => Event::SessionRestored(session),
            client::Event::SessionClosed => Event::SessionClosed,
            client::Event::SessionLost(loss) => Event::SessionLost(loss),
            // Anomalies are of no consequence.
            _ => return,
        };
        // First the store, then the listeners, then the callers: when one of them is woken, the earlier
        // ones are up to date.
        self.keep(&event);
        if let Some(listener) = &self.application.listener {
            listener(&event);
        }
        let woken = self.audience.borrow().tell(&event);
        woken.into_iter().for_each(std::task::Waker::wake);
        match event {
            Event::Connected => self.end_connecting(&Ok(())),
            Event::ConnectFailed { error, .. } => self.end_connecting(&Err(error.into())),
            _ => {}
        }
    }

    fn keep(&self, event: &Event) {
        match event {
            Event::SessionCreated(session)
            | Event::SessionUpdated(session)
            | Event::SessionRestored(session) => self.kept.borrow_mut().keep(session.key.as_str()),
            // It may be there again when the page is opened the next time.
            Event::SessionLost(client::SessionLoss::GaveUp) => {}
            Event::SessionClosed | Event::SessionLost(_) => self.kept.borrow_mut().forget(),
            _ => {}
        }
    }

    fn end_connecting(&self, result: &Result<(), ConnectError>) {
        let connecting = std::mem::take(&mut *self.connecting.borrow_mut());
        connecting.into_iter().for_each(|done| done(result.clone()));
    }
}

/// What the browser reports.
impl Host {
    fn rang(&self) {
        let counts = self.timer.borrow_mut().rang();
        if counts {
            self.drive(client::Client::handle_timeout);
        }
    }

    fn probed(&self, number: u64, probed: Option<Probed>) {
        match &*self.link.borrow() {
            Link::Probing { number: awaited, .. } if *awaited == number => {}
            _ => return,
        }
        self.set_link(Link::None);
        self.drive(|client, now, out| match probed {
            Some(Probed { verdict, retry_after, promises }) => {
                if promises {
                    client.expect_accept_conf();
                }
                client.handle_verdict(now, Ok((verdict, retry_after)), out);
            }
            None => client.handle_verdict(now, Err(ProbeFailed), out),
        });
    }

    pub(crate) fn opened(&self) {
        let selected = match &*self.link.borrow() {
            Link::Open(socket) => socket.selected(),
            Link::None | Link::Probing { .. } => return,
        };
        self.drive(|client, now, out| client.handle_opened(now, selected, out));
    }

    pub(crate) fn message(&self, frame: Bytes) {
        if frame.len() > self.max_message_size {
            self.set_link(Link::None);
            return self.drive(client::Client::handle_disconnect);
        }
        self.drive(|client, now, out| client.handle_message(now, frame, out));
    }

    /// The socket has ended, with the close frame of the server or without.
    pub(crate) fn closed(&self, frame: Option<CloseFrame>) {
        self.set_link(Link::None);
        self.drive(|client, now, out| match frame {
            Some(frame) => client.handle_closed(now, frame, out),
            None => client.handle_disconnect(now, out),
        });
    }

    pub(crate) fn wake(&self) {
        self.drive(client::Client::wake);
    }

    /// The page is left. It may be kept as it is, and shown again.
    pub(crate) fn leave(&self) {
        let status = self.read(client::Client::status);
        if !matches!(status, Status::Idle | Status::Closed) {
            self.left.set(true);
            self.drive(client::Client::close);
        }
    }

    pub(crate) fn come_back(&self) {
        if self.left.replace(false) {
            self.drive(client::Client::connect);
        }
    }
}

/// What the application calls.
impl Host {
    pub(crate) fn connect(&self, done: Connected) {
        self.left.set(false);
        self.call(client::Client::connect);
        if self.read(client::Client::status) == Status::Connected {
            done(Ok(()));
        } else {
            self.connecting.borrow_mut().push(done);
        }
        self.carry_out();
    }

    pub(crate) fn close(&self) {
        self.left.set(false);
        self.drive(client::Client::close);
        self.end_connecting(&Err(ConnectError::Closed));
    }

    pub(crate) fn request(
        &self,
        name: Name,
        payload: Payload,
        timeout: Option<Duration>,
        done: Done,
    ) -> Result<RequestId, Error> {
        self.check_backlog()?;
        self.begin(done, |client, now, out| client.request(now, name, payload, timeout, out))
    }

    pub(crate) fn restore_session(
        &self,
        key: SessionKey,
        timeout: Option<Duration>,
        done: Done,
    ) -> Result<RequestId, Error> {
        self.begin(done, |client, now, out| client.restore_session(now, key, timeout, out))
    }

    pub(crate) fn close_session(
        &self,
        timeout: Option<Duration>,
        done: Done,
    ) -> Result<RequestId, Error> {
        self.begin(done, |client, now, out| client.close_session(now, timeout, out))
    }

    fn begin(
        &self,
        done: Done,
        call: impl FnOnce(
            &mut client::Client,
            Instant,
            &mut Actions<Action>,
        ) -> Result<RequestId, Misuse>,
    ) -> Result<RequestId, Error> {
        let id = self.call(call)?;
        self.calls.borrow_mut().push_back((id, done));
        self.carry_out();
        Ok(id)
    }

    pub(crate) fn cancel(&self, id: RequestId) {
        self.drive(|client, _, out| client.cancel(id, out));
    }

    pub(crate) fn signal(&self, name: &Name, payload: &Payload) -> Result<(), Error> {
        self.check_backlog()?;
        self.call(|client, now, out| client.signal(now, name, payload, out))?;
        self.carry_out();
        Ok(())
    }

    /// Answers the question of this number, if the answer is still wanted.
    pub(crate) fn answer(&self, number: u64, answer: Result<Payload, AnswerError>) {
        let mut questions = self.questions.borrow_mut();
        let index = questions.iter().position(|id| id.as_u64() == number);
        let id = index.map(|index| questions.swap_remove(index));
        drop(questions);
        if let Some(id) = id {
            self.drive(|client, now, out| client.answer(now, id, answer, out));
        }
    }

    pub(crate) fn subscribe(&self) -> crate::event::Events {
        self.audience.borrow_mut().subscribe()
    }

    fn check_backlog(&self) -> Result<(), Error> {
        match &*self.link.borrow() {
            Link::Open(socket) if socket.waiting() > MOST_WAITING => Err(Error::Backlogged),
            Link::Open(_) | Link::None | Link::Probing { .. } => Ok(()),
        }
    }

    /// Ends the client: no handle is left.
    pub(crate) fn end(&self) {
        self.environment.take();
        self.close();
        let woken = self.audience.borrow().end();
        woken.into_iter().for_each(std::task::Waker::wake);
    }
}
