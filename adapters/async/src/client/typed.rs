//! Calls and signals of a client that have types of the application.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wwr::wire::InvalidName;
use wwr::{FormatError, Name, Payload};

use super::error::Error;
use super::event::{Event, Events};
use super::handle::Client;
use crate::format::{FromPayload, Json, ToPayload};
use crate::runtime::Runtime;

impl<R: Runtime> Client<R> {
    /// Makes a request of JSON, and reads the reply from JSON. Like [`request`](Self::request) otherwise.
    ///
    /// An empty reply is read as `null`: the reply may be `()` or an `Option`.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use wwr_async::Runtime;
    /// use wwr_async::client::{Client, Error};
    ///
    /// #[derive(Serialize)]
    /// struct Order<'a> {
    ///     item: &'a str,
    ///     count: u32,
    /// }
    ///
    /// #[derive(Deserialize)]
    /// struct Receipt {
    ///     number: u64,
    /// }
    ///
    /// async fn order<R: Runtime>(client: &Client<R>) -> Result<u64, Error> {
    ///     let receipt = client.call::<Receipt>("order", &Order { item: "tea", count: 2 }).await?;
    ///     Ok(receipt.number)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error`]: also [`Error::Unwritable`], and [`Error::Unreadable`] if the reply is no such JSON.
    pub async fn call<Reply: DeserializeOwned>(
        &self,
        name: impl TryInto<Name, Error: Into<InvalidName>>,
        request: &(impl Serialize + ?Sized),
    ) -> Result<Reply, Error> {
        let Json(reply) = self.call_as(name, Json(request)).await?;
        Ok(reply)
    }

    /// Like [`call`](Self::call), with a time limit of its own, from now to the reply.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub async fn call_within<Reply: DeserializeOwned>(
        &self,
        timeout: Duration,
        name: impl TryInto<Name, Error: Into<InvalidName>>,
        request: &(impl Serialize + ?Sized),
    ) -> Result<Reply, Error> {
        let name = name.try_into().map_err(Into::into)?;
        let request = Payload::json(request).map_err(Error::Unwritable)?;
        let reply = self.request_within(timeout, name, request).await?;
        reply.read_json().map_err(Error::Unreadable)
    }

    /// Like [`call`](Self::call), in any format: see [`ToPayload`] and [`FromPayload`].
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub async fn call_as<Reply: FromPayload>(
        &self,
        name: impl TryInto<Name, Error: Into<InvalidName>>,
        request: impl ToPayload,
    ) -> Result<Reply, Error> {
        let name = name.try_into().map_err(Into::into)?;
        let request = request.to_payload().map_err(Error::Unwritable)?;
        let reply = self.request(name, request).await?;
        Reply::from_payload(reply).map_err(Error::Unreadable)
    }

    /// Sends a signal of JSON. Like [`signal`](Self::signal) otherwise.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Self::signal), and [`Error::Unwritable`].
    pub async fn signal_json(
        &self,
        name: impl TryInto<Name, Error: Into<InvalidName>>,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), Error> {
        let name = name.try_into().map_err(Into::into)?;
        let payload = Payload::json(value).map_err(Error::Unwritable)?;
        self.signal(name, payload).await
    }

    /// Returns the signals of one name from now on, each read as a `T`, for example as `Json<Message>`.
    ///
    /// ```
    /// use wwr_async::client::{Client, Error};
    /// use wwr_async::{Json, Runtime};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Said {
    ///     by: String,
    ///     text: String,
    /// }
    ///
    /// async fn listen<R: Runtime>(client: &Client<R>) -> Result<(), Error> {
    ///     let mut said = client.signals::<Json<Said>>("said")?;
    ///     while let Some(next) = said.next().await {
    ///         match next {
    ///             Ok(Json(said)) => println!("{}: {}", said.by, said.text),
    ///             Err(error) => println!("({error})"),
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`].
    pub fn signals<T: FromPayload>(
        &self,
        name: impl TryInto<Name, Error: Into<InvalidName>>,
    ) -> Result<Signals<T>, Error> {
        let name = name.try_into().map_err(Into::into)?;
        Ok(Signals { events: self.signals_named(name), types: PhantomData })
    }
}

/// The signals of one name, each read as a `T`. Made by [`Client::signals`].
///
/// As many wait to be taken as for [`Events`], of this name alone. It ends as they do. Take signals with
/// [`next`](Self::next), or as a [`Stream`].
pub struct Signals<T> {
    events: Events,
    types: PhantomData<fn() -> T>,
}

/// Why there is no value in a stream of [`Signals`]. The next one may be well.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSignals {
    /// A signal is not of the expected type.
    #[error("a signal is not what was expected: {0}")]
    Unreadable(FormatError),
    /// The application was too slow to take the signals: this many were dropped here.
    #[error("{0} signals were dropped, because they were not taken in time")]
    Missed(u64),
}

impl<T: FromPayload> Signals<T> {
    /// Returns the next signal. `None` once all handles of the client were dropped, or its executor has
    /// ended.
    ///
    /// # Errors
    ///
    /// [`InvalidSignals`] in place of a signal. The stream goes on.
    pub async fn next(&mut self) -> Option<Result<T, InvalidSignals>> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Option<Result<T, InvalidSignals>>> {
        loop {
            match ready!(self.events.poll(cx)) {
                None => return Poll::Ready(None),
                Some(Event::Signal(signal)) => {
                    let value = T::from_payload(signal.into_payload());
                    return Poll::Ready(Some(value.map_err(InvalidSignals::Unreadable)));
                }
                Some(Event::Missed(count)) => {
                    return Poll::Ready(Some(Err(InvalidSignals::Missed(count))));
                }
                // Its queue has nothing else.
                Some(_) => {}
            }
        }
    }
}

impl<T: FromPayload> Stream for Signals<T> {
    type Item = Result<T, InvalidSignals>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl<T> fmt::Debug for Signals<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").field("events", &self.events).finish()
    }
}
