//! An application that uses what there is.

use std::sync::atomic::{AtomicU32, Ordering};

use smol::future::yield_now;
use wwr::server::RequestError;
use wwr::{Content, KeyFormat, Name, Payload, PreparedSignal, SessionInfo, SessionKey};
use wwr_smol::server::{Connection, Handler};
use wwr_smol::{KeyError, KeyGenerator};

pub(crate) struct App;

/// The names of requests that the application knows; any other is echoed.
pub(crate) const NAMES: [&str; 9] =
    ["login", "logout", "signal", "all", "fail", "wait", "close", "who", "echo"];

impl Handler for App {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, RequestError> {
        let name = request.name_str().map(String::from).unwrap_or_default();
        let refused = |_| RequestError::failed("REFUSED", "not now");
        match name.as_str() {
            "login" => {
                let text = request.text().map(String::from).unwrap_or_default();
                let info = SessionInfo::new().public("name", text).private("secret", 1);
                match from.create_session(info).await {
                    Ok(session) => Ok(Payload::utf8(session.key.as_str())),
                    Err(_) => Err(RequestError::failed("SESSION", "no")),
                }
            }
            "logout" => match from.close_session().await {
                Ok(true) => Ok(Payload::EMPTY),
                Ok(false) => Err(RequestError::SessionNotFound),
                Err(_) => Err(RequestError::SessionsDisabled),
            },
            "signal" => {
                from.signal("told", request.into_payload()).map_err(|_| RequestError::Internal)?;
                Ok(Payload::EMPTY)
            }
            "all" => {
                let name = Name::new("told").map_err(|_| RequestError::Internal)?;
                let signal =
                    PreparedSignal::new(&name, &request.into_payload()).map_err(refused)?;
                Ok(Payload::utf8(from.server().signal_all(&signal).sent.to_string()))
            }
            "fail" => {
                let code = request.text().map(String::from).unwrap_or_default();
                Err(RequestError::failed(code, "as you wish"))
            }
            "wait" => {
                for _ in 0..request.payload().len() % 8 {
                    yield_now().await;
                }
                Ok(request.into_payload())
            }
            "close" => {
                from.close();
                Ok(Payload::EMPTY)
            }
            "who" => Ok(Payload::utf8(from.session_key().map_or("nobody".into(), |key| {
                format!("{} {:?}", key.as_str(), from.info().user_agent)
            }))),
            _ => Ok(request.into_payload()),
        }
    }

    async fn signal(&self, from: &Connection, signal: Content) {
        if signal.name() == b"back" {
            // It is lost if the client cannot take it.
            let _ = from.signal("back", signal.into_payload());
        }
    }

    async fn connected(&self, connection: &Connection) {
        // Only some may have a signal before they have said anything.
        let _ = connection.signal("hello", "you");
    }
}

/// Keys that clients can guess, so that sessions are restored.
pub(crate) struct Keys(AtomicU32);

impl Keys {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }
}

/// The key of this many sessions before.
pub(crate) fn key(number: u32) -> String {
    format!("key-{number}")
}

impl KeyGenerator for Keys {
    fn generate(&self) -> Result<SessionKey, KeyError> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        SessionKey::new(key(number)).map_err(KeyError::new)
    }

    fn format(&self) -> KeyFormat {
        KeyFormat::Custom(|key| key.starts_with("key-"))
    }
}
