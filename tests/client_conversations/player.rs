//! One of the clients of a conversation: the machine, its host and its application.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use wwr::client::{Action, Client, Config, Event, RequestId, Status};
use wwr::preflight::Answer;
use wwr::{Actions, Instant, Name, Payload, SessionKey, Valid};

use crate::recording::{Reference, content, quoted};
use crate::told::Told;

/// A request for oneself, and the reply.
const QUESTION: &str = "are you still there?";

/// One of the clients of a scenario and its host.
pub(crate) struct Player {
    pub(crate) client: Client,
    pub(crate) out: Actions<Action>,
    pub(crate) now: Instant,
    /// The connection dialled last.
    pub(crate) conn: u64,
    /// What the host was last told to begin or to end.
    pub(crate) host: Option<Action>,
    /// When what was sent.
    pub(crate) sent: VecDeque<(Instant, Bytes)>,
    restoring: BTreeSet<RequestId>,
    /// Results of calls, in order.
    pub(crate) results: VecDeque<Told>,
    /// Events, in order. The reference tells of them on another task than of results.
    pub(crate) hooks: VecDeque<Told>,
    reference: Reference,
}

impl Player {
    pub(crate) fn new(reference: Reference, config: &Valid<Config>, now: Instant) -> Self {
        Self {
            client: Client::new(config, 1),
            out: Actions::new(),
            now,
            conn: 0,
            host: None,
            sent: VecDeque::new(),
            restoring: BTreeSet::new(),
            results: VecDeque::new(),
            hooks: VecDeque::new(),
            reference,
        }
    }

    pub(crate) fn carry_out(&mut self) {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Probe | Action::Dial | Action::Hangup => self.host = Some(action),
                Action::Send(frame) => self.sent.push_back((self.now, frame)),
                Action::Done { id, outcome } => self.results.push_back(match outcome {
                    Ok(_) if self.restoring.contains(&id) => {
                        Told::Restored(self.client.session().unwrap().clone())
                    }
                    Ok(payload) => Told::Reply(payload),
                    Err(error) => Told::Failed(error),
                }),
                // The reference sends none, and was recorded without.
                Action::Ping => {}
                Action::Event(event) => self.tell(event),
            }
        }
    }

    fn tell(&mut self, event: Event) {
        match event {
            Event::ConnectFailed { error, .. } => {
                self.results.push_back(Told::ConnectFailed(error));
            }
            Event::Signal(signal) => self.hooks.push_back(Told::Signal(signal)),
            Event::SessionCreated(session) => self.hooks.push_back(Told::SessionCreated(session)),
            Event::SessionRestored(session) if self.reference == Reference::V2_0 => {
                self.hooks.push_back(Told::SessionRestored(session));
            }
            Event::SessionClosed => self.hooks.push_back(Told::SessionClosed),
            Event::Disconnected { .. } => self.hooks.push_back(Told::Disconnected),
            // The reference has no hooks for these.
            Event::Connected
            | Event::SessionRestored(_)
            | Event::SessionLost(_)
            | Event::Anomaly(_) => {}
            other => panic!("{other:?} is not compared"),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.client.status() == Status::Connected
    }

    pub(crate) fn connect(&mut self) {
        self.client.connect(self.now, &mut self.out);
        self.carry_out();
    }

    pub(crate) fn answer_probe(&mut self, status: u16, body: &str) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let answer = Answer { status, body, retry_after: None };
        self.client.handle_probed(self.now, Ok(answer), &mut self.out);
        self.carry_out();
    }

    /// The WebSocket is open, or the server answered otherwise.
    pub(crate) fn answer_dial(&mut self, status: u16) {
        match status {
            101 => self.client.handle_opened(self.now, None, &mut self.out),
            _ => self.client.handle_refused(self.now, status, None, &mut self.out),
        }
        self.carry_out();
    }

    pub(crate) fn receive(&mut self, frame: Bytes) {
        self.client.handle_message(self.now, frame, &mut self.out);
        self.carry_out();
    }

    pub(crate) fn disconnect(&mut self) {
        self.client.handle_disconnect(self.now, &mut self.out);
        self.carry_out();
    }

    /// Lets time pass, and does what is due by then when it is due.
    pub(crate) fn advance_to(&mut self, then: Instant) {
        while let Some(due) = self.client.next_timeout().filter(|due| *due <= then) {
            self.now = self.now.max(due);
            self.client.handle_timeout(self.now, &mut self.out);
            self.carry_out();
        }
        self.now = self.now.max(then);
    }

    /// Lets time pass until something has happened.
    pub(crate) fn wait_until(&mut self, happened: impl Fn(&Self) -> bool) {
        while !happened(self) {
            let due = self.client.next_timeout().expect("something is due");
            self.advance_to(due);
        }
    }

    /// The call that the reference's application makes; `frame` is what it led to.
    pub(crate) fn call(&mut self, call: &str, frame: Option<&Bytes>) {
        let (function, arguments) = call.split_once('(').unwrap_or((call, ""));
        let made = match function {
            "Request" | "TimedRequest" | "Signal" => {
                let (name, payload, timeout) = content(arguments, frame);
                let name = match name {
                    Ok(name) => name,
                    Err(invalid) => return self.results.push_back(Told::NoName(invalid)),
                };
                if function == "Signal" {
                    self.client.signal(self.now, &name, &payload, &mut self.out).map(|()| None)
                } else {
                    let made = self.client.request(self.now, name, payload, timeout, &mut self.out);
                    made.map(Some)
                }
            }
            "RestoreSession" => {
                let (key, _) = quoted(arguments);
                let key = SessionKey::new(key).unwrap();
                let made = self.client.restore_session(self.now, key, None, &mut self.out);
                made.map(|id| self.restoring.insert(id)).map(|_| None)
            }
            "Close" => {
                self.client.close(self.now, &mut self.out);
                Ok(None)
            }
            _ => panic!("no such call: {call}"),
        };
        if let Err(misuse) = made {
            self.results.push_back(Told::Refused(misuse));
        }
        self.carry_out();
    }

    /// The client is still good for something: a request is sent, and its reply read.
    pub(crate) fn is_alive(&mut self) {
        let question = Payload::utf8_static(QUESTION);
        let name = Name::default();
        self.client.request(self.now, name, question.clone(), None, &mut self.out).unwrap();
        self.carry_out();
        let (_, frame) = self.sent.pop_back().unwrap();
        let mut reply = vec![0xc0];
        reply.extend_from_slice(&frame[1..9]);
        reply.extend_from_slice(QUESTION.as_bytes());
        self.receive(reply.into());
        assert_eq!(self.results.pop_back(), Some(Told::Reply(question)));
    }
}
