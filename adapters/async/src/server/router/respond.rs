//! Functions as handlers of a router, and what they return.

use std::any::type_name;
use std::future::ready;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use wwr::server::RequestError;
use wwr::{FormatError, Payload};

use super::argument::FromCall;
use super::call::{Call, Endpoint, Reply};
use crate::format::ToPayload;

/// What a handler of a [`Router`](super::Router) may return: everything that is
/// [`ToPayload`] ([`Json<T>`](crate::Json), `String`, [`Payload`]), `()` for an empty reply, and
/// `Result<_, E>` of these, where [`RequestError`] is made of `E`.
///
/// A reply that cannot be written is an internal error for the client; the log says why.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the reply of a handler",
    note = "return `Json(reply)` for a type that implements `serde::Serialize`, `Payload`, `String` or `()`",
    note = "or a `Result` of these whose error implements `Into<RequestError>`"
)]
pub trait IntoReply {
    /// Makes it the reply.
    ///
    /// # Errors
    ///
    /// What the client gets as an error.
    fn into_reply(self) -> Result<Payload, RequestError>;
}

impl<T: ToPayload> IntoReply for T {
    fn into_reply(self) -> Reply {
        self.to_payload().map_err(|error| unwritable::<T>(&error))
    }
}

#[cold]
fn unwritable<T>(error: &FormatError) -> RequestError {
    let reply = type_name::<T>();
    tracing::error!(reply, %error, "a reply cannot be written; the client gets an internal error");
    RequestError::Internal
}

impl IntoReply for () {
    fn into_reply(self) -> Reply {
        Ok(Payload::EMPTY)
    }
}

impl<T: IntoReply, E: Into<RequestError>> IntoReply for Result<T, E> {
    fn into_reply(self) -> Reply {
        self.map_err(E::into)?.into_reply()
    }
}

/// What a handler of signals may return: `()`, or `Result<(), E>`, where [`RequestError`] is made of
/// `E`. The client gets no answer to a signal. An error is for the log, at the level `debug`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a handler of signals",
    note = "signals have no reply: return `()`, or `Result<(), E>` where `E: Into<RequestError>`"
)]
pub trait NoReply: IntoReply {}

impl NoReply for () {}

impl<E: Into<RequestError>> NoReply for Result<(), E> {}

/// An async function that is a handler of a [`Router`](super::Router) with the state `S`: of at most
/// eight arguments, each of which is [`FromCall`], with a result that is [`IntoReply`].
///
/// `Args` are the types of the arguments. The function is called, and its arguments are taken out of the
/// message, when the message comes; its future is boxed.
///
/// ```compile_fail,E0277
/// use wwr_async::server::Router;
///
/// struct Order;
///
/// async fn order(order: Order) {} // not an argument: it should be `Json<Order>`
///
/// Router::new().request("order", order);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of a router with the state `{S}`",
    label = "not a handler",
    note = "a handler is an `async fn` of at most eight arguments; its future has to be `Send`",
    note = "each argument implements `FromCall`: `Json<T>` with `T: Deserialize`, `Content`, `Payload`, \
            `String`, `Connection`, `Session`, `SessionOf<T>`, `Call`, or `State<{S}>`",
    note = "the result implements `IntoReply`: `Json<T>` with `T: Serialize`, `Payload`, `String`, `()`, \
            or a `Result` of these"
)]
pub trait RouteFn<S, Args>: Send + Sync + 'static {
    /// What it returns.
    type Reply: IntoReply;

    /// Handles a request or signal.
    fn handle(
        &self,
        call: Call,
        state: &Arc<S>,
    ) -> BoxFuture<'static, Result<Payload, RequestError>>;
}

macro_rules! functions {
    ($($type:ident $argument:ident),*) => {
        impl<F, Fut, S, $($type),*> RouteFn<S, ($($type,)*)> for F
        where
            F: Fn($($type),*) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: IntoReply> + Send + 'static,
            $($type: FromCall<S>,)*
        {
            type Reply = Fut::Output;

            fn handle(&self, call: Call, state: &Arc<S>) -> BoxFuture<'static, Reply> {
                let _ = state;
                $(
                    let $argument = match $type::from_call(&call, state) {
                        Ok(argument) => argument,
                        Err(error) => return Box::pin(ready(Err(error))),
                    };
                )*
                // A handler that does not take it need not keep the frame in memory.
                drop(call);
                Box::pin(self($($argument),*).map(IntoReply::into_reply))
            }
        }
    };
}

functions!();
functions!(A a);
functions!(A a, B b);
functions!(A a, B b, C c);
functions!(A a, B b, C c, D d);
functions!(A a, B b, C c, D d, E e);
functions!(A a, B b, C c, D d, E e, G g);
functions!(A a, B b, C c, D d, E e, G g, H h);
functions!(A a, B b, C c, D d, E e, G g, H h, I i);

/// A function with its state.
pub(super) struct Function<F, S, Args> {
    pub(super) function: F,
    pub(super) state: Arc<S>,
    pub(super) arguments: std::marker::PhantomData<fn(Args)>,
}

impl<F, S, Args> Endpoint for Function<F, S, Args>
where
    F: RouteFn<S, Args>,
    S: Send + Sync,
{
    fn call(&self, call: Call) -> BoxFuture<'static, Reply> {
        self.function.handle(call, &self.state)
    }
}
