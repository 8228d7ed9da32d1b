//! The server: what the clients ask of it.

use std::path::PathBuf;
use std::time::Duration;

use wwr::server::RequestError;
use wwr::{Content, Payload, PreparedSignal, SessionInfo, SessionKey};
use wwr_async::server::{Broadcast, Builder, Config, Connection, Connections, Handler, Server};
use wwr_async::{FileStore, Runtime};

use super::args::Args;
use crate::support::host::{self, Failure};

/// The name of the signals to many.
pub(crate) const NEWS: &str = "news";

/// How long a shutdown may take.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// The server, with the directory of its sessions if they are not in memory.
struct App(Option<PathBuf>);

impl Handler for App {
    async fn request(
        &self,
        connection: &Connection,
        request: Content,
    ) -> Result<Payload, RequestError> {
        let server = connection.server();
        match request.name() {
            b"login" => {
                let info = SessionInfo::new().public("user", "ada");
                let session = connection.create_session(info).await?;
                Ok(Payload::utf8(session.key.as_str()))
            }
            b"logout" => {
                connection.close_session().await.map(|_| Payload::EMPTY).map_err(Into::into)
            }
            // How many connections and sessions there are.
            b"count" => {
                let (connections, sessions) = (server.connection_count(), server.active_sessions());
                Ok(Payload::utf8(format!("{connections} {sessions}")))
            }
            // Tells all; returns how many they are.
            b"broadcast" => Ok(sent(server.signal_all(&news(request)?))),
            // Tells those of the session with the key in the payload.
            b"group" => {
                let key = key(&request)?;
                Ok(sent(server.session_group(&key).signal_prepared(&news(request)?)))
            }
            // Closes that session, and its connections.
            b"disband" => {
                let closed = server.close_session(key(&request)?, Connections::Close).await;
                closed.map(|told| told.to_string().into()).map_err(|_| RequestError::Internal)
            }
            b"stop" => {
                smol::spawn(async move { server.shut_down(SHUTDOWN).await }).detach();
                Ok(Payload::EMPTY)
            }
            _ => Ok(request.into_payload()),
        }
    }
}

/// The signal to many that a request asks for.
fn news(request: Content) -> Result<PreparedSignal, RequestError> {
    PreparedSignal::new(NEWS, request.into_payload()).map_err(|_| RequestError::Internal)
}

/// How many got the signal.
fn sent(broadcast: Broadcast) -> Payload {
    Payload::utf8(broadcast.sent.to_string())
}

fn key(request: &Content) -> Result<SessionKey, RequestError> {
    let key = request.text().ok().and_then(|text| SessionKey::new(&*text).ok());
    key.ok_or_else(|| RequestError::failed("KEY", "the payload is no session key"))
}

impl host::App for App {
    type Handler = Self;

    async fn build<R: Runtime>(mut self, runtime: R) -> Result<Builder<Self, R>, Failure> {
        let Some(directory) = self.0.take() else { return Ok(Server::builder_on(runtime, self)) };
        let store = FileStore::open_on(runtime.clone(), directory).await?.durable();
        let mut config = Config::default();
        config.hub.sessions.durable = true;
        Ok(Server::builder_on(runtime, self).store(store).config(config))
    }
}

/// Serves on one thread until the process or the server ends.
pub(crate) fn serve(port: u16, args: &Args) -> Result<(), Failure> {
    args.runtime.serve(App(args.store.clone()), port, 1)
}
