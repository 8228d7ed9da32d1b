//! Tests of simulations.

mod applications;
mod chance;
mod ends;
mod network;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use wwr::server::RequestError;
use wwr::{Content, Payload, SessionInfo};

use super::{Client, Host, Simulation, VirtualRuntime};
use crate::client::{Event, Events};
use crate::clock::sleep;
use crate::runtime::Runtime;
use crate::server::{Connection, Handler, ServerHandle};

const SECOND: Duration = Duration::from_secs(1);

/// What happened, and when, in virtual time.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Duration, String)>>>);

impl Log {
    fn note(&self, at: Duration, text: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((at, text.into()));
    }

    fn all(&self) -> Vec<(Duration, String)> {
        self.0.lock().unwrap().clone()
    }
}

/// An application of any runtime.
struct App<R> {
    runtime: R,
    log: Log,
}

impl<R: Runtime> Handler for App<R> {
    async fn request(
        &self,
        connection: &Connection,
        request: Content,
    ) -> Result<Payload, RequestError> {
        match request.name() {
            b"login" => {
                connection.create_session(SessionInfo::new().public("user", "ada")).await?;
                Ok("welcome".into())
            }
            b"whoami" => Ok(connection.session().map_or("nobody".into(), |_| "ada".into())),
            b"slow" => {
                sleep(&self.runtime, 30 * SECOND).await;
                Ok("done".into())
            }
            b"never" => std::future::pending().await,
            b"flood" => {
                while connection.is_connected() {
                    if connection.signal("news", Payload::binary(vec![7; 10_000])).is_err() {
                        connection.ready().await.map_err(|_| RequestError::Internal)?;
                    }
                }
                Ok(Payload::EMPTY)
            }
            b"remote" => Ok(Payload::utf8(connection.info().remote_addr.to_string())),
            _ => Ok(request.into_payload()),
        }
    }

    async fn disconnected(&self, connection: &Connection) {
        self.log.note(Duration::ZERO, format!("{:?}", connection.ended()));
    }
}

/// A simulation with a server at `ws://chat.test/` and a host for a client.
struct Fixture {
    simulation: Simulation,
    server: Host,
    handle: ServerHandle,
    ada: Host,
    log: Log,
}

impl Fixture {
    fn new(seed: u64) -> Self {
        let simulation = Simulation::new(seed);
        let (server, log) = (simulation.host("Chat.Test"), Log::default());
        let handle = server.serve(server.server(app(&server, &log))).unwrap();
        let ada = simulation.host("ada");
        Self { simulation, server, handle, ada, log }
    }

    async fn client(&self) -> Client {
        self.ada.client("ws://chat.test/").unwrap().connect().await.unwrap()
    }

    fn elapsed(&self) -> Duration {
        self.simulation.elapsed()
    }
}

fn app(host: &Host, log: &Log) -> App<VirtualRuntime> {
    App { runtime: host.runtime(), log: log.clone() }
}

/// Waits until a client is connected again. Returns the events before that.
async fn until_connected(events: &mut Events) -> Vec<Event> {
    let mut before = Vec::new();
    loop {
        match events.next().await.expect("the client lives") {
            Event::Connected => return before,
            event => before.push(event),
        }
    }
}
