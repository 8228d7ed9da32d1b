//! The application of `wwr serve`: requests that show each feature of a server.

mod client;
mod frames;
mod page;
mod payload;

use core::str::FromStr;
use core::time::Duration;

use smol::Timer;
use wwr::server::{Misuse, RequestError};
use wwr::{Content, KeyFormat, Name, Payload, PreparedSignal};
use wwr_smol::Clock;
use wwr_smol::http::request::Parts;
use wwr_smol::server::{
    Connection, ConnectionOptions, Connections, Handler, Names, Response, SessionError, SignalError,
};

pub(crate) use page::{Names as PageNames, Page};
use payload::{BadPayload, info, text};

/// The longest time the request `sleep` takes.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The names that it knows, for `wwr probe`.
const REQUESTS: [&str; 13] = [
    "",
    "broadcast",
    "close",
    "echo",
    "error",
    "fail",
    "kick",
    "login",
    "logout",
    "signal-me",
    "sleep",
    "time",
    "whoami",
];
const SIGNALS: [&str; 1] = ["echo"];

/// The application. See `wwr serve --help`.
#[derive(Debug, Default)]
pub(crate) struct Playground {
    /// The page for browsers, if it is served.
    page: Option<Page>,
}

impl Playground {
    pub(crate) const fn new(page: Option<Page>) -> Self {
        Self { page }
    }
}

impl Handler for Playground {
    async fn request(
        &self,
        connection: &Connection,
        request: Content,
    ) -> Result<Payload, RequestError> {
        match request.name() {
            b"" | b"echo" => Ok(request.into_payload()),
            b"time" => Ok(Payload::utf8(Clock::new().unix_now().to_string())),
            b"sleep" => sleep(request).await,
            b"error" => Err(error(&request)?),
            b"fail" => Err(RequestError::Internal),
            b"login" => login(connection, &request).await,
            b"logout" => logout(connection).await,
            b"whoami" => whoami(connection),
            b"signal-me" => signal_me(connection, request),
            b"broadcast" => broadcast(connection, request),
            b"kick" => kick(connection, &request).await,
            b"close" => {
                connection.close();
                Ok(Payload::EMPTY)
            }
            name => Err(unknown(name)),
        }
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        let Some(page) = &self.page else { return Ok(ConnectionOptions::default()) };
        match page.answer(request).await {
            Some(answer) => Err(Box::new(answer)),
            None => Ok(ConnectionOptions::default()),
        }
    }

    fn listed_names(&self) -> Option<Names> {
        let mut names = Names::default();
        names.requests = REQUESTS.map(str::to_owned).into();
        names.signals = SIGNALS.map(str::to_owned).into();
        Some(names)
    }

    async fn signal(&self, connection: &Connection, signal: Content) {
        let name = signal.name().escape_ascii();
        tracing::debug!(%name, "signal");
        if signal.name() == b"echo"
            && let Err(error) = connection.signal("echo", signal.into_payload())
        {
            tracing::debug!(%error, "a signal was not returned");
        }
    }
}

async fn sleep(request: Content) -> Result<Payload, RequestError> {
    let wanted = BadPayload("milliseconds as a number from 0 to 60000");
    let milliseconds = u64::from_str(text(&request, &wanted)?.trim()).map_err(|_| wanted)?;
    let duration = Duration::from_millis(milliseconds);
    if duration > LONGEST_SLEEP {
        return Err(wanted.into());
    }
    tracing::debug!(?duration, "sleep begins");
    Timer::after(duration).await;
    Ok(request.into_payload())
}

fn error(request: &Content) -> Result<RequestError, RequestError> {
    let text = text(request, &BadPayload("CODE message"))?;
    let (code, message) = text.split_once(' ').unwrap_or((&text, ""));
    Ok(RequestError::failed(code.to_owned(), message.to_owned()))
}

async fn login(connection: &Connection, request: &Content) -> Result<Payload, RequestError> {
    let info = info(request)?;
    match connection.create_session(info).await {
        Ok(session) => Ok(Payload::utf8(session.key.as_str())),
        Err(SessionError::Misuse(Misuse::SessionExists)) => Err(RequestError::failed(
            "SESSION_EXISTS",
            "the connection has a session already; log out first",
        )),
        Err(SessionError::Misuse(Misuse::SessionBusy)) => {
            Err(RequestError::failed("SESSION_BUSY", "the session is just being changed"))
        }
        Err(error) => Err(error.into()),
    }
}

async fn logout(connection: &Connection) -> Result<Payload, RequestError> {
    Ok(Payload::utf8(connection.close_session().await?.to_string()))
}

fn whoami(connection: &Connection) -> Result<Payload, RequestError> {
    let session = connection.session();
    let session =
        session.ok_or_else(|| RequestError::failed("NO_SESSION", "there is no session; log in"))?;
    Ok(Payload::utf8(session.to_json()))
}

fn signal_me(connection: &Connection, request: Content) -> Result<Payload, RequestError> {
    connection.signal("signal-me", signal_payload(request)?).map_err(refused)?;
    Ok(Payload::EMPTY)
}

fn broadcast(connection: &Connection, request: Content) -> Result<Payload, RequestError> {
    let name = Name::from_static("broadcast").map_err(|_| RequestError::Internal)?;
    let signal = PreparedSignal::new(&name, &signal_payload(request)?)
        .map_err(|_| RequestError::Internal)?;
    let reached = connection.server().signal_all(&signal).sent;
    Ok(Payload::utf8(reached.to_string()))
}

/// Clients of protocol 1.4 read no signals without payload.
fn signal_payload(request: Content) -> Result<Payload, RequestError> {
    let payload = request.into_payload();
    if payload.is_empty() {
        return Err(BadPayload("what the signal is to carry; it cannot be empty").into());
    }
    Ok(payload)
}

fn refused(error: SignalError) -> RequestError {
    match error {
        SignalError::Backlogged => {
            RequestError::failed("TOO_SLOW", "too much waits for this client to read it")
        }
        _ => RequestError::Internal,
    }
}

async fn kick(connection: &Connection, request: &Content) -> Result<Payload, RequestError> {
    let wanted = BadPayload("a session key: 64 letters, digits, - and _");
    let key = text(request, &wanted)?;
    let key = KeyFormat::Generated.parse(key.trim().as_bytes()).ok_or(wanted)?;
    let told = connection.server().close_session(key, Connections::Keep).await;
    let told = told.map_err(|_| RequestError::Internal)?;
    Ok(Payload::utf8(told.to_string()))
}

fn unknown(name: &[u8]) -> RequestError {
    let name = name.escape_ascii();
    RequestError::failed("UNKNOWN_NAME", format!("there is no request \"{name}\""))
}
