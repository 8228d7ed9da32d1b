//! Reaching a server: the preflight and the WebSocket handshake.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_tungstenite::tungstenite::protocol::Role;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::response::Parts;
use hyper::{Method, Request, Uri, Version};
use wwr::handshake::{self, InvalidAnswer, Key, SubProtocol};
use wwr::preflight::{self, Answer, Promise, Verdict};

use super::config::Checked;
use super::dialer::{AnyDial, Destination, Dialed};
use super::http::{Answered, Failure, Wanted, ask};
use super::redirect::{Asked, Limits, NotFollowed, follow};
use super::refusal::Refusal;
use super::retry_after::retry_after;
#[cfg(feature = "rustls")]
use super::tls::Tls;
use super::url::ServerUrl;
use crate::keep_alive::KeepAlive;
use crate::runtime::{Runtime, Stream as _};
use crate::socket::Socket;
use crate::websocket::WebSocket;

/// How long a connection is silent before the system asks whether the server is still there, if there
/// are no pings to tell (protocol §4.3).
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The data for reaching a server.
#[derive(Clone)]
pub(super) struct Target<R> {
    pub(super) url: ServerUrl,
    pub(super) dialer: Arc<dyn AnyDial<R>>,
    /// Sent with both requests.
    pub(super) headers: HeaderMap,
    #[cfg(feature = "rustls")]
    pub(super) tls: Tls,
    /// How many redirects each request may follow.
    pub(super) max_redirects: u32,
    /// Whether the client has the key of a session, which is not for other servers.
    pub(super) has_session: bool,
    /// Whether a redirect has led to another server than that of the application.
    pub(super) left: bool,
    /// The sub-protocol that both requests offer.
    pub(super) offers: Option<SubProtocol>,
    pub(super) max_message_size: usize,
    pub(super) stall_timeout: Duration,
    /// How the system checks idle connections.
    pub(super) keep_alive: KeepAlive,
    /// How long the server may take to answer a close frame.
    pub(super) close_timeout: Duration,
    unhelpful: Unhelpful,
}

/// Addresses that have accepted a connection and are no help since. Shared by the attempts of a client, which may
/// end at any moment because their time is up: so an address is here until it has answered.
#[derive(Clone, Debug, Default)]
struct Unhelpful(Arc<Mutex<VecDeque<SocketAddr>>>);

impl Unhelpful {
    /// How many are remembered.
    const MOST: usize = 16;

    fn all(&self) -> Vec<SocketAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// An address has accepted a connection.
    fn add(&self, address: Option<SocketAddr>) {
        let Some(address) = address else { return };
        self.remove(Some(address));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= Self::MOST {
            all.pop_front();
        }
        all.push_back(address);
    }

    /// There was a server behind an address.
    fn remove(&self, address: Option<SocketAddr>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| Some(*one) != address);
    }
}

/// The result of a preflight.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) answer: Result<Answer, Failure>,
    /// The answer as text for people, if it is not that of a 1.4 or 1.5 server.
    pub(super) refusal: Option<Refusal>,
    /// What the server promises of an accept-conf on each connection.
    pub(super) promise: Option<Promise>,
    /// Where the server was reached, if it was.
    pub(super) reached: Option<Box<Reached>>,
}

/// Where the preflight of an attempt was answered.
#[derive(Debug)]
pub(super) struct Reached {
    /// The URL, after redirects.
    url: ServerUrl,
    /// Whether one of them led to another server.
    left: bool,
    address: Option<SocketAddr>,
}

/// A WebSocket that was opened.
pub(super) struct Opened<R: Runtime> {
    pub(super) socket: Box<WebSocket<R>>,
    /// The sub-protocol that the server has selected.
    pub(super) agreed: Option<SubProtocol>,
}

impl<R: Runtime> Target<R> {
    pub(super) fn new(url: ServerUrl, dialer: Arc<dyn AnyDial<R>>, checked: &Checked) -> Self {
        let (config, stall_timeout) = (&checked.machine, checked.stall_timeout);
        Self {
            url,
            dialer,
            headers: checked.headers.clone(),
            #[cfg(feature = "rustls")]
            tls: checked.tls.clone(),
            max_redirects: checked.max_redirects,
            has_session: false,
            left: false,
            offers: config.offers(),
            max_message_size: usize::try_from(config.max_message_size).unwrap_or(usize::MAX),
            stall_timeout,
            keep_alive: KeepAlive::new(config.pings, KEEP_ALIVE, stall_timeout),
            close_timeout: checked.close_timeout,
            unhelpful: Unhelpful::default(),
        }
    }

    /// Connects, and speaks TLS if the URL asks for it. `reached` is an address that answered before. Until a server
    /// has answered there, the address is one that does not help.
    pub(super) async fn connect(
        &self,
        runtime: &R,
        reached: Option<SocketAddr>,
    ) -> Result<(Socket<R::Stream>, Option<SocketAddr>), Failure> {
        let to = Destination::of(&self.url, reached).after(self.unhelpful.all());
        let Dialed { transport, address } = self.dialer.dial_any(runtime, &to).await?;
        self.unhelpful.add(address);
        if let Some(stream) = transport.get_native() {
            // Most messages are small. If this fails, they are only slower.
            let _ = stream.set_nodelay(true);
            if let Err(error) = self.keep_alive.set_on(stream) {
                tracing::debug!(url = %self.url, %error, "cannot set TCP keep-alive");
            }
        }
        #[cfg(feature = "rustls")]
        if self.url.is_secure() {
            return Ok((self.tls.connect(runtime, &self.url, transport).await?, address));
        }
        Ok((Socket::new(transport), address))
    }

    /// Returns a request for the URL. Headers of the application replace those of the same name.
    pub(super) fn request(
        &self,
        method: Method,
        headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    ) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(self.url.path().clone());
        let sent = request.headers_mut();
        sent.insert(HOST, self.url.authority().clone());
        sent.extend(headers);
        if let Some(offered) = self.offers {
            let name = HeaderValue::from_static(offered.as_str());
            sent.insert(SEC_WEBSOCKET_PROTOCOL, name);
        }
        if let Some(credentials) = self.url.credentials() {
            sent.insert(AUTHORIZATION, credentials.clone());
        }
        sent.extend(self.headers.clone());
        request
    }

    /// Goes on at another URL. What is meant for a server does not go to another one.
    pub(super) fn go_to(&mut self, url: ServerUrl) {
        if !url.is_at(&self.url) {
            self.leave();
        }
        tracing::debug!(from = %self.url, to = %url, "redirected");
        self.url = url;
    }

    /// Forgets what is meant for the server of the URL only.
    fn leave(&mut self) {
        self.left = true;
        self.headers.clear();
        #[cfg(feature = "rustls")]
        {
            self.tls = self.tls.without_identity();
        }
    }

    /// Decides about an answer that may be a redirect.
    pub(super) fn redirected(
        &self,
        asked: Asked,
        answer: &Parts,
        followed: u32,
    ) -> Option<Result<ServerUrl, NotFollowed>> {
        let limits = Limits { followed, most: self.max_redirects, stays: self.has_session };
        follow(asked, answer, &self.url, limits)
    }

    /// Sends the preflight (protocol §4.1).
    pub(super) async fn probe(mut self, runtime: R) -> Probed {
        let mut reached = None;
        let probed = self.follow_preflight(&runtime, &mut reached).await;
        let probed = probed.unwrap_or_else(|failure| {
            // Another address may do better.
            reached.iter_mut().for_each(|reached| reached.address = None);
            Probed { answer: Err(failure), refusal: None, promise: None, reached: None }
        });
        Probed { reached, ..probed }
    }

    async fn follow_preflight(
        &mut self,
        runtime: &R,
        reached: &mut Option<Box<Reached>>,
    ) -> Result<Probed, Failure> {
        let mut followed = 0;
        loop {
            let (socket, address) = self.connect(runtime, None).await?;
            let (url, left) = (self.url.clone(), self.left);
            *reached = Some(Box::new(Reached { url, left, address }));
            let (head, answer) = self.ask_for_metadata(runtime, socket).await?;
            let verdict = answer.evaluate();
            if verdict != Verdict::TryLater {
                self.unhelpful.remove(address);
            }
            let refusal = match verdict {
                Verdict::NotWebWire => match self.redirected(Asked::Preflight, &head, followed) {
                    Some(Ok(target)) => {
                        followed += 1;
                        self.go_to(target);
                        continue;
                    }
                    not_followed => {
                        let redirect = not_followed.and_then(Result::err);
                        Some(Refusal::new(&head, &answer.body).redirecting(redirect))
                    }
                },
                Verdict::TryLater => Some(Refusal::new(&head, &answer.body)),
                Verdict::Speaks(_) | Verdict::Unknown(_) => None,
            };
            let promise = head.headers.get(preflight::ACCEPT_CONF);
            let promise = promise.map(|value| Promise::read(value.as_bytes()));
            return Ok(Probed { answer: Ok(answer), refusal, promise, reached: None });
        }
    }

    async fn ask_for_metadata(
        &self,
        runtime: &R,
        socket: Socket<R::Stream>,
    ) -> Result<(Parts, Answer), Failure> {
        let method =
            Method::from_bytes(preflight::METHOD.as_bytes()).map_err(hyper::http::Error::from)?;
        let answered = ask(runtime, socket, self.request(method, []), |status| {
            let is_for_people =
                preflight::is_unavailable(status.as_u16()) || status.is_redirection();
            if is_for_people { Wanted::Text } else { Wanted::Metadata }
        });
        let answered = answered.await?;
        let answer = Answer {
            status: answered.head.status.as_u16(),
            body: answered.body.into(),
            retry_after: retry_after(&answered.head.headers, runtime.clock().system_time()),
        };
        Ok((answered.head, answer))
    }

    /// Opens the WebSocket (protocol §4.3), where the preflight was answered if there was one: a server
    /// may recognize a client by its own address, which depends on the server's address.
    pub(super) async fn dial(
        mut self,
        runtime: R,
        reached: Option<Box<Reached>>,
    ) -> Result<Opened<R>, Failure> {
        let mut address = None;
        if let Some(reached) = reached {
            address = reached.address;
            if reached.left {
                self.leave();
            }
            if reached.url != self.url {
                self.go_to(reached.url);
            }
        }
        let mut followed = 0;
        loop {
            let (key, answered, address) = self.shake_hands(&runtime, address.take()).await?;
            let head = &answered.head;
            let version = match head.version {
                Version::HTTP_11 => (1, 1),
                Version::HTTP_10 => (1, 0),
                _ => (0, 0),
            };
            let status = head.status.as_u16();
            if !preflight::is_unavailable(status) {
                self.unhelpful.remove(address);
            }
            let headers =
                head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            let agreed = match key.check(version, status, headers, self.offers) {
                Ok(agreed) => agreed,
                Err(InvalidAnswer::Status(status)) => {
                    let redirect = self.redirected(Asked::Handshake, head, followed);
                    if let Some(Ok(target)) = redirect {
                        followed += 1;
                        self.go_to(target);
                        continue;
                    }
                    let refusal = Refusal::new(head, &answered.body);
                    let refusal = refusal.redirecting(redirect.and_then(Result::err));
                    let retry_after = retry_after(&head.headers, runtime.clock().system_time());
                    return Err(Failure::Refused { status, refusal, retry_after });
                }
                Err(invalid) => return Err(invalid.into()),
            };
            let (socket, beyond) = (answered.socket, answered.beyond.to_vec());
            let (size, stall) = (self.max_message_size, self.stall_timeout);
            let socket = WebSocket::new(&runtime, socket, beyond, Role::Client, size, stall);
            return Ok(Opened { socket: Box::new(socket), agreed });
        }
    }

    /// Sends the request for a WebSocket.
    async fn shake_hands(
        &self,
        runtime: &R,
        reached: Option<SocketAddr>,
    ) -> Result<(Key, Answered<R::Stream>, Option<SocketAddr>), Failure> {
        let mut entropy = [0; Key::ENTROPY];
        runtime.fill_random(&mut entropy).map_err(Failure::Randomness)?;
        let key = Key::from_entropy(entropy);
        let sent = HeaderValue::from_str(key.as_str()).map_err(hyper::http::Error::from)?;
        let request = self.request(
            Method::GET,
            [
                (UPGRADE, HeaderValue::from_static("websocket")),
                (CONNECTION, HeaderValue::from_static("Upgrade")),
                (SEC_WEBSOCKET_KEY, sent),
                (SEC_WEBSOCKET_VERSION, HeaderValue::from_static(handshake::VERSION)),
            ],
        );
        let (socket, address) = self.connect(runtime, reached).await?;
        let answered = ask(runtime, socket, request, |_| Wanted::Text).await?;
        Ok((key, answered, address))
    }
}
