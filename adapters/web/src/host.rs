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

use crate::clock::{self, Ring, Timer};
use crate::environment::Environment;
use crate::error::{ConnectError, Error};
use crate::event::{Audience, Event};
use crate::probe::{Probe, Probed, probe};
use crate::socket::{self, Socket};
use crate::store::Kept;

/// How many bytes may wait for the server to read them. Browsers take any number.
const MOST_WAITING: u32 = 16 * 1024 * 1024;

/// How often answers that wait try again whether the server has read what was sent before. Browsers do not tell.
const AGAIN: Duration = Duration::from_millis(100);

/// Called once with how a request ended.
pub(crate) type Done = Box<dyn FnOnce(Outcome)>;

/// Called once with how connecting ended.
pub(crate) type Connected = Box<dyn FnOnce(Result<(), ConnectError>)>;

/// Hears of events.
type Listener = Box<dyn Fn(&Event)>;

/// What an application answers.
type Answered = Result<Payload, AnswerError>;

/// The handlers for questions of the server.
pub(crate) trait Handlers {
    /// Begins to answer a question, by [`Host::answer`].
    fn start(&self, host: &Rc<Host>, question: Question);
    /// Ends the handler of a question whose answer nobody waits for. Returns whether that was possible: otherwise it
    /// answers all the same when it ends.
    fn cancel(&self, id: QuestionId) -> bool;
}

/// What an application brings along.
pub(crate) struct Application {
    /// Hears everything at once, before the streams of events.
    pub(crate) listener: Option<Listener>,
    /// Without it, the server is told that nothing is answered.
    pub(crate) handlers: Option<Box<dyn Handlers>>,
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
    sockets: socket::Handlers,
    timer: RefCell<Timer>,
    /// In the order of their numbers.
    calls: RefCell<VecDeque<(RequestId, Done)>>,
    connecting: RefCell<Vec<Connected>>,
    /// The questions whose handlers work: as many as the settings allow.
    questions: RefCell<Vec<QuestionId>>,
    /// Answers to open questions that wait until the server has read what was sent before.
    held: RefCell<VecDeque<(QuestionId, Answered)>>,
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
        Rc::new_cyclic(|myself: &Weak<Self>| {
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
                sockets: socket::Handlers::new(myself),
                timer: RefCell::new(timer),
                calls: RefCell::default(),
                connecting: RefCell::default(),
                questions: RefCell::default(),
                held: RefCell::default(),
                kept: RefCell::new(kept),
                audience: RefCell::default(),
                application,
                busy: Cell::new(false),
                left: Cell::new(false),
                environment: RefCell::new(None),
            }
        })
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
            let action = self.machine.borrow_mut().out.pop();
            match action {
                Some(action) => self.perform(action),
                None if self.answer_held() => {}
                None => break,
            }
        }
        self.busy.set(false);
        let due = self.read(client::Client::next_timeout);
        let again = (!self.held.borrow().is_empty()).then(|| clock::now() + AGAIN);
        self.timer.borrow_mut().set([due, again].into_iter().flatten().min());
        self.watch();
    }

    /// Whether the client is or wants to be connected. Nobody else needs to know of its surroundings.
    pub(crate) fn is_active(&self) -> bool {
        let status = self.read(client::Client::status);
        self.left.get() || !matches!(status, Status::Idle | Status::Closed)
    }

    fn watch(&self) {
        let is_active = self.is_active();
        let mut environment = self.environment.borrow_mut();
        if environment.is_some() != is_active {
            *environment = is_active.then(|| Environment::watch(&self.myself));
        }
    }

    /// Sends an answer that has waited, if there is one and it need not wait any more.
    fn answer_held(&self) -> bool {
        let held = if self.is_backlogged() { None } else { self.held.borrow_mut().pop_front() };
        let Some((id, answer)) = held else { return false };
        self.call(|client, now, out| client.answer(now, id, answer, out));
        true
    }

    fn perform(&self, action: Action) {
        match action {
            Action::Probe => self.probe(),
            Action::Dial => {
                let offered = self.read(client::Client::offers);
                match Socket::open(&self.address.websocket, offered, &self.sockets) {
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
                let host = self.myself.upgrade();
                if let (Some(handlers), Some(host)) = (&self.application.handlers, host) {
                    self.questions.borrow_mut().push(question.id);
                    handlers.start(&host, question);
                }
                return;
            }
            client::Event::QuestionCancelled(id) => return self.cancel_question(id),
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

    fn cancel_question(&self, id: QuestionId) {
        self.held.borrow_mut().retain(|(held, _)| *held != id);
        let works = self.questions.borrow().contains(&id);
        let Some(handlers) = self.application.handlers.as_ref().filter(|_| works) else { return };
        if handlers.cancel(id) {
            self.questions.borrow_mut().retain(|open| *open != id);
        } else {
            self.machine.borrow_mut().client.outlive_question(id);
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
        let ring = self.timer.borrow_mut().rang();
        match ring {
            Ring::InTime => self.drive(client::Client::handle_timeout),
            // The server does not wait.
            Ring::Late => self.drive(client::Client::keep_alive),
        }
    }

    fn probed(&self, number: u64, probed: Option<Probed>) {
        match &*self.link.borrow() {
            Link::Probing { number: awaited, .. } if *awaited == number => {}
            _ => return,
        }
        self.set_link(Link::None);
        self.drive(|client, now, out| match probed {
            Some(Probed { verdict, retry_after, promise }) => {
                if let Some(promise) = promise {
                    client.expect_accept_conf(promise);
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
            if let Link::Open(socket) = self.link.replace(Link::None) {
                socket.refuse_message();
            }
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

    /// Answers the question of this number, if the answer is still wanted. Its handler has ended.
    pub(crate) fn answer(&self, number: u64, answer: Answered) {
        let mut questions = self.questions.borrow_mut();
        let index = questions.iter().position(|id| id.as_u64() == number);
        let id = index.map(|index| questions.swap_remove(index));
        drop(questions);
        if let Some(id) = id {
            // It stays open until its answer goes out, so there are no more of them than of open questions.
            self.held.borrow_mut().push_back((id, answer));
            self.carry_out();
        }
    }

    pub(crate) fn subscribe(&self) -> crate::event::Events {
        self.audience.borrow_mut().subscribe()
    }

    fn check_backlog(&self) -> Result<(), Error> {
        if self.is_backlogged() { Err(Error::Backlogged) } else { Ok(()) }
    }

    /// Whether so much waits for the server to read it that nothing is added.
    fn is_backlogged(&self) -> bool {
        match &*self.link.borrow() {
            Link::Open(socket) => socket.waiting() > MOST_WAITING,
            Link::None | Link::Probing { .. } => false,
        }
    }

    /// Ends the client: no handle is left.
    pub(crate) fn end(&self) {
        self.close();
        let woken = self.audience.borrow().end();
        woken.into_iter().for_each(std::task::Waker::wake);
    }
}
