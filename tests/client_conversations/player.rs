//! One of the clients of a conversation: the machine, its host and its application.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use serde_json::Value;
use wwr::client::{Action, Client, Config, ConnectError, Event, Misuse, RequestError, RequestId};
use wwr::{Actions, Instant, Payload, Session, SessionKey};

use crate::recording::{Described, content, quoted};

/// What an application is told, by an outcome or by an event.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    ConnectFailed(ConnectError),
    Reply(Payload),
    Restored(Session),
    Failed(RequestError),
    Refused(Misuse),
    Signal(Payload),
    SessionCreated(Session),
    SessionClosed,
    Disconnected,
}

/// One of the clients of a scenario and its host.
pub(crate) struct Player {
    pub(crate) client: Client,
    pub(crate) out: Actions<Action>,
    pub(crate) now: Instant,
    /// The connection dialled last.
    pub(crate) conn: u64,
    /// What the host was last told to begin or to end.
    pub(crate) host: Option<Action>,
    pub(crate) sent: VecDeque<Bytes>,
    pub(crate) restoring: BTreeSet<RequestId>,
    /// Results of calls, in order.
    pub(crate) results: VecDeque<Told>,
    /// Events, in order. The reference tells of them on another task than of results.
    pub(crate) hooks: VecDeque<Told>,
}

impl Player {
    pub(crate) fn new(reconnect: bool) -> Self {
        let config = Config::builder().reconnect(reconnect).build().unwrap();
        Self {
            client: Client::new(config, 1),
            out: Actions::new(),
            now: Instant::EPOCH,
            conn: 0,
            host: None,
            sent: VecDeque::new(),
            restoring: BTreeSet::new(),
            results: VecDeque::new(),
            hooks: VecDeque::new(),
        }
    }

    pub(crate) fn carry_out(&mut self) {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Probe | Action::Dial | Action::Hangup => self.host = Some(action),
                Action::Send(frame) => self.sent.push_back(frame),
                Action::Done { id, outcome } => self.results.push_back(match outcome {
                    Ok(_) if self.restoring.contains(&id) => {
                        Told::Restored(self.client.session().unwrap().clone())
                    }
                    Ok(payload) => Told::Reply(payload),
                    Err(error) => Told::Failed(error),
                }),
                Action::Event(event) => self.tell(event),
            }
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        match event {
            Event::ConnectFailed { error, .. } => {
                self.results.push_back(Told::ConnectFailed(error));
            }
            Event::Signal(signal) => self.hooks.push_back(Told::Signal(signal.into_payload())),
            Event::SessionCreated(session) => self.hooks.push_back(Told::SessionCreated(session)),
            Event::SessionClosed => self.hooks.push_back(Told::SessionClosed),
            Event::Disconnected { .. } => self.hooks.push_back(Told::Disconnected),
            // The reference has no hooks for these.
            Event::Connected
            | Event::SessionRestored(_)
            | Event::SessionLost(_)
            | Event::Oddity(_) => {}
        }
    }

    /// Lets time pass until something is due.
    pub(crate) fn due(&mut self) {
        self.now = self.client.next_timeout().expect("something is due");
        self.client.handle_timeout(self.now, &mut self.out);
        self.carry_out();
    }

    /// The call that the reference's application makes; `frame` is what it led to.
    pub(crate) fn call(&mut self, call: &str, frame: Option<&Bytes>) {
        let (function, arguments) = call.split_once('(').unwrap_or((call, ""));
        let made = match function {
            "Request" | "TimedRequest" | "Signal" => {
                let (name, payload, timeout) = content(arguments, frame);
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
}

/// Whether what the reference told its application is what ours tells.
pub(crate) fn agrees(recorded: &str, told: &Told) -> bool {
    let error = |kind: &str| recorded.ends_with(&format!(" failed (webwire.{kind})"));
    let session = |prefix: &str, separator: &str, session: &Session| {
        let Some(rest) = recorded.strip_prefix(prefix) else { return false };
        let (key, rest) = quoted(rest);
        let info: Value =
            serde_json::from_str(rest.strip_prefix(separator).unwrap().trim_end_matches(')'))
                .unwrap();
        let held = session.info.to_public();
        let held = if held.is_empty() { Value::Null } else { Value::Object(held) };
        key == session.key.as_str() && info == held
    };
    let payload = |prefix: &str, payload: &Payload| {
        let rest = recorded.strip_prefix(prefix);
        rest.is_some_and(|rest| Described::parse(rest).0.is(payload))
    };
    match told {
        Told::ConnectFailed(ConnectError::IncompatibleVersion(_)) => error("ConnIncompErr"),
        Told::ConnectFailed(ConnectError::NotWebWire) => error("ProtocolErr"),
        Told::ConnectFailed(_) => error("DisconnectedErr"),
        Told::Reply(reply) => payload("reply (", reply),
        Told::Restored(held) => session("session is now key ", ", info ", held),
        Told::Failed(RequestError::Failed(reply)) => {
            let (code, message) = (json(&reply.code()), json(&reply.message()));
            recorded == format!("Request failed (webwire.ReqErr, code {code}, message {message})")
        }
        Told::Failed(RequestError::Internal) => error("ReqInternalErr"),
        Told::Failed(RequestError::ServerShutdown) => error("ReqSrvShutdownErr"),
        Told::Failed(RequestError::SessionNotFound) => error("SessNotFoundErr"),
        Told::Failed(RequestError::MaxSessionConnections) => error("MaxSessConnsReachedErr"),
        Told::Failed(RequestError::SessionsDisabled) => error("SessionsDisabledErr"),
        Told::Failed(RequestError::TimedOut { sent: true }) => error("ReqTimeoutErr"),
        Told::Failed(_) | Told::Refused(_) => false,
        Told::Signal(signal) => payload("OnSignal(", signal),
        Told::SessionCreated(created) => session("OnSessionCreated(key ", "; info ", created),
        Told::SessionClosed => recorded == "OnSessionClosed",
        Told::Disconnected => recorded == "OnDisconnected",
    }
}

pub(crate) fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}
