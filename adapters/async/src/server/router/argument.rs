//! What handlers of a router take as arguments.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use wwr::server::RequestError;
use wwr::{Content, ErrorCode, FormatError, Session};

use super::super::connection::Connection;
use super::call::Call;
use crate::format::FromPayload;
use crate::panics::ShortName;

/// What can be an argument of a handler of a [`Router`](super::Router) with the state `S`.
///
/// | argument | what it is |
/// |---|---|
/// | [`Json<T>`](crate::Json), and all else that is [`FromPayload`]: `String`, `Bytes`, [`Payload`](wwr::Payload) | the payload. If it cannot be read, the client gets the error code `BAD_PAYLOAD`, and the log (`debug`) says where it is wrong |
/// | [`Content`] | name and payload |
/// | [`Connection`] | the connection of the client |
/// | [`Session`] | the session of the connection. If it has none, the client gets the error code `NO_SESSION` |
/// | [`SessionOf<T>`] | the same, with its info as a type of your own |
/// | `Option<Session>`, `Option<SessionOf<T>>` | the same, or `None` without a session |
/// | [`State<S>`] | the state of the router |
/// | [`Call`] | all that is known of the request or signal |
///
/// Implement it for types of your own, for example for a user that has to be logged in:
///
/// ```
/// use std::sync::Arc;
///
/// use wwr_async::server::{Call, FromCall, RequestError, Router, SessionOf};
///
/// #[derive(serde::Deserialize)]
/// struct User {
///     name: String,
///     admin: bool,
/// }
///
/// struct Admin(User);
///
/// impl<S> FromCall<S> for Admin {
///     fn from_call(call: &Call, state: &Arc<S>) -> Result<Self, RequestError> {
///         let SessionOf(user) = SessionOf::<User>::from_call(call, state)?;
///         if user.admin { Ok(Self(user)) } else { Err(RequestError::failed("ADMINS_ONLY", "")) }
///     }
/// }
///
/// async fn restart(Admin(user): Admin) -> String {
///     format!("restarted by {}", user.name)
/// }
///
/// let routes = Router::new().request("restart", restart).build()?;
/// # Ok::<(), wwr_async::server::InvalidRouter>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a handler of a router with the state `{S}`",
    label = "not something that is in a request or signal",
    note = "a payload of JSON is `Json<T>`, where `T` implements `serde::Deserialize`; other arguments \
            are `Content`, `Payload`, `String`, `Connection`, `Session`, `SessionOf<T>`, `Call`",
    note = "`State<S>` has to name the type that was given to `Router::with_state`"
)]
pub trait FromCall<S>: Sized {
    /// Takes it out of a request or signal.
    ///
    /// # Errors
    ///
    /// What the client gets instead of the handler's reply.
    fn from_call(call: &Call, state: &Arc<S>) -> Result<Self, RequestError>;
}

impl<S, T: FromPayload> FromCall<S> for T {
    fn from_call(call: &Call, _: &Arc<S>) -> Result<Self, RequestError> {
        Self::from_payload(call.content().clone().into_payload()).map_err(|error| bad(call, error))
    }
}

/// Logs what is wrong with a payload. Returns what the client gets.
#[cold]
fn bad(call: &Call, error: FormatError) -> RequestError {
    let (kind, name) = (call.kind(), ShortName::new(call.name()));
    tracing::debug!(%kind, %name, %error, "a payload is not what the handler takes");
    error.into()
}

impl<S> FromCall<S> for Content {
    fn from_call(call: &Call, _: &Arc<S>) -> Result<Self, RequestError> {
        Ok(call.content().clone())
    }
}

impl<S> FromCall<S> for Connection {
    fn from_call(call: &Call, _: &Arc<S>) -> Result<Self, RequestError> {
        Ok(call.connection().clone())
    }
}

impl<S> FromCall<S> for Call {
    fn from_call(call: &Call, _: &Arc<S>) -> Result<Self, RequestError> {
        Ok(call.clone())
    }
}

/// The state of a [`Router`](super::Router), shared by all its handlers. Dereferences to `S`.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use wwr_async::server::{Router, State};
///
/// async fn count(State(counter): State<AtomicU64>) -> String {
///     counter.fetch_add(1, Ordering::Relaxed).to_string()
/// }
///
/// let routes = Router::with_state(AtomicU64::new(0)).request("count", count).build()?;
/// # Ok::<(), wwr_async::server::InvalidRouter>(())
/// ```
#[derive(Debug, Default)]
pub struct State<S>(pub Arc<S>);

impl<S> Clone for State<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Deref for State<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S> FromCall<S> for State<S> {
    fn from_call(_: &Call, state: &Arc<S>) -> Result<Self, RequestError> {
        Ok(Self(state.clone()))
    }
}

/// The info of the connection's session, public and private, as a type of the application.
///
/// It is read anew for each call, which costs about as much as to write and read that much JSON. A
/// connection without a session gets the error code `NO_SESSION`; `Option<SessionOf<T>>` is for handlers
/// that need none. Info that does not fit `T` is an internal error for the client; the log names the
/// field.
///
/// ```
/// use wwr_async::server::{Router, SessionOf};
///
/// #[derive(serde::Deserialize)]
/// struct User {
///     name: String,
/// }
///
/// async fn whoami(SessionOf(user): SessionOf<User>) -> String {
///     user.name
/// }
///
/// let routes = Router::new().request("whoami", whoami).build()?;
/// # Ok::<(), wwr_async::server::InvalidRouter>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SessionOf<T>(pub T);

impl<S> FromCall<S> for Session {
    fn from_call(call: &Call, _: &Arc<S>) -> Result<Self, RequestError> {
        call.connection().session().ok_or_else(no_session)
    }
}

impl<S> FromCall<S> for Option<Session> {
    fn from_call(call: &Call, _: &Arc<S>) -> Result<Self, RequestError> {
        Ok(call.connection().session())
    }
}

impl<S, T: DeserializeOwned> FromCall<S> for SessionOf<T> {
    fn from_call(call: &Call, _: &Arc<S>) -> Result<Self, RequestError> {
        typed(call).transpose().unwrap_or_else(|| Err(no_session()))
    }
}

impl<S, T: DeserializeOwned> FromCall<S> for Option<SessionOf<T>> {
    fn from_call(call: &Call, _: &Arc<S>) -> Result<Self, RequestError> {
        typed(call)
    }
}

fn typed<T: DeserializeOwned>(call: &Call) -> Result<Option<SessionOf<T>>, RequestError> {
    let Some(session) = call.connection().session() else { return Ok(None) };
    match session.info.read() {
        Ok(info) => Ok(Some(SessionOf(info))),
        Err(error) => {
            // The reason may have values that are nobody's business.
            let (field, connection) = (error.path(), call.connection().id());
            let expected = std::any::type_name::<T>();
            tracing::error!(
                connection,
                field,
                expected,
                "the info of a session is not of the handler's type; the client gets an internal error"
            );
            Err(RequestError::Internal)
        }
    }
}

fn no_session() -> RequestError {
    match ErrorCode::from_static("NO_SESSION") {
        Ok(code) => RequestError::Failed { code, message: Cow::Borrowed("a session is needed") },
        Err(_) => RequestError::Internal,
    }
}
