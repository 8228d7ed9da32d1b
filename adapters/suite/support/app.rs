//! The application of the tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, mpsc};

use wwr::server::RequestError;
use wwr::{Content, Payload, PreparedSignal, SessionInfo};

use crate::adapter::server::{Connection, Handler};

/// What happens in the application, in order.
#[derive(Debug)]
pub(crate) enum Event {
    Connected(Connection),
    Disconnected {
        session: bool,
    },
    /// The handler of a request of this name begins.
    Started(String),
    /// A handler that waited at a gate is through.
    Passed(String),
    Signal(String, Vec<u8>),
}

/// Gates at which handlers wait, by name.
#[derive(Debug, Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Gate>>);

type Gate = (smol::channel::Sender<()>, smol::channel::Receiver<()>);

impl Gates {
    fn gate(&self, name: &str) -> Gate {
        let mut gates = self.0.lock().unwrap();
        gates.entry(name.to_owned()).or_insert_with(smol::channel::unbounded).clone()
    }

    /// Lets one handler through.
    pub(crate) fn open(&self, name: &str) {
        self.gate(name).0.try_send(()).unwrap();
    }

    pub(crate) async fn pass(&self, name: &str) {
        let gate = self.gate(name).1;
        gate.recv().await.unwrap();
    }
}

pub(crate) struct App {
    events: mpsc::Sender<Event>,
    gates: Arc<Gates>,
}

impl App {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Event>, Arc<Gates>) {
        let (events, received) = mpsc::channel();
        let gates = Arc::<Gates>::default();
        (Self { events, gates: gates.clone() }, received, gates)
    }

    fn tell(&self, event: Event) {
        // A test that is over does not listen any more.
        let _ = self.events.send(event);
    }
}

impl Handler for App {
    async fn request(
        &self,
        connection: &Connection,
        request: Content,
    ) -> Result<Payload, RequestError> {
        let name = String::from_utf8_lossy(request.name()).into_owned();
        self.tell(Event::Started(name.clone()));
        match name.as_str() {
            "" | "echo" => Ok(request.into_payload()),
            // Waits at the gate that the payload names.
            "wait" => {
                let gate = text(&request);
                self.gates.pass(&gate).await;
                self.tell(Event::Passed(gate));
                Ok(request.into_payload())
            }
            "login" => {
                let info =
                    SessionInfo::new().public("user", text(&request)).private("hidden", "secret");
                let session = connection.create_session(info).await?;
                Ok(Payload::utf8(session.key.as_str()))
            }
            "whoami" => {
                let session = connection.session();
                let session =
                    session.ok_or_else(|| RequestError::failed("NO_SESSION", "log in first"))?;
                let user = session.info.value("user").and_then(|user| user.as_str());
                let hidden = session.info.value("hidden").and_then(|hidden| hidden.as_str());
                Ok(Payload::utf8(format!("{user:?} {hidden:?}")))
            }
            "logout" => Ok(Payload::utf8(connection.close_session().await?.to_string())),
            // Sends as many signals as the payload says, then replies.
            "signals" => {
                for number in 0..text(&request).parse().unwrap_or(0) {
                    connection.signal("count", Payload::utf8(format!("{number}"))).unwrap();
                }
                Ok(Payload::EMPTY)
            }
            // Sends a signal to all connections, then replies how many take it.
            "tell all" => {
                let signal = PreparedSignal::new("told", request.into_payload()).unwrap();
                let told = connection.server().signal_all(&signal);
                Ok(Payload::utf8(told.sent.to_string()))
            }
            "close" => {
                connection.close();
                Ok(Payload::utf8(connection.is_connected().to_string()))
            }
            "panic" => panic!("a handler of a test panics on purpose"),
            "error" => Err(RequestError::failed("CODE", "message")),
            "fail" => Err(RequestError::Internal),
            // A reply of as many bytes as the payload says, not at once.
            "big" => {
                smol::future::yield_now().await;
                Ok(Payload::binary(vec![7; text(&request).parse().unwrap_or(0)]))
            }
            _ => Err(RequestError::failed("UNKNOWN_NAME", "")),
        }
    }

    async fn signal(&self, connection: &Connection, signal: Content) {
        let name = String::from_utf8_lossy(signal.name()).into_owned();
        match name.as_str() {
            "back" => connection.signal("back", signal.into_payload()).unwrap(),
            "panic" => panic!("a signal handler of a test panics on purpose"),
            _ => self.tell(Event::Signal(name, signal.payload().to_vec())),
        }
    }

    async fn connected(&self, connection: &Connection) {
        self.tell(Event::Connected(connection.clone()));
    }

    async fn disconnected(&self, connection: &Connection) {
        self.tell(Event::Disconnected { session: connection.session().is_some() });
    }
}

fn text(content: &Content) -> String {
    content.text().map(|text| text.into_owned()).unwrap_or_default()
}
