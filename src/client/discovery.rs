//! What a server speaks: how a client finds out, and what it remembers (protocol §7.3).

use alloc::boxed::Box;
use alloc::format;
use core::time::Duration;

use bytes::Bytes;

use super::action::Action;
use super::error::ConnectError;
use super::heartbeat::Heartbeat;
use super::link::Link;
use super::liveness::LivenessCheck;
use super::machine::Client;
use super::offers::Offers;
use super::protocol::Protocol;
use crate::actions::Actions;
use crate::dialect::{Dialect, Liveness};
use crate::handshake::SubProtocol;
use crate::preflight::{self, Metadata, ProbeFailed, Promise, Verdict, Version};
use crate::time::Instant;
use crate::wire::{self, AcceptConf, ClientSettings, Message};

/// The major version in the accept-conf of servers with which a client speaks 2.0. The minor
/// version does not matter (protocol §4.5).
const MAJOR: u8 = 2;

/// How long the client waits for a promised accept-conf. The preflight's answer promises one, and
/// so does an accept-conf on the last connection. It should come with the opening, but by now
/// another server, of 1.x, may be at the address.
const PROMISED: Duration = Duration::from_secs(1);

/// The most bytes of a sub-protocol that errors show.
const MAX_LOGGED: usize = 64;

/// What a client has found out about its server.
///
/// Kept when an attempt to connect fails and when the connection is lost. Forgotten when the client
/// begins to find out again, with [`Action::Probe`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovered {
    /// What the server's answer to the latest preflight means. `None` if there was no HTTP answer
    /// or no preflight.
    pub preflight: Option<Verdict>,
    /// The latest accept-conf that came first on a connection, whether or not it suits the client.
    /// If its sub-protocol is not the client's, only the first [`MAX_SUB_PROTOCOL`] bytes of it are
    /// kept.
    ///
    /// [`MAX_SUB_PROTOCOL`]: Self::MAX_SUB_PROTOCOL
    pub accept_conf: Option<AcceptConf>,
    /// The version on this connection, or on the latest one. [`Unknown`](Dialect::Unknown) from the
    /// beginning of an attempt until the version is known.
    pub dialect: Dialect,
}

impl Discovered {
    /// The most bytes that are kept of a sub-protocol other than the client's own.
    pub const MAX_SUB_PROTOCOL: usize = 256;

    const NOTHING: Self = Self { preflight: None, accept_conf: None, dialect: Dialect::Unknown };
}

/// How a client finds out the version, and what it has found out.
#[derive(Debug)]
pub(super) struct Discovery {
    pub(super) found: Discovered,
    route: Route,
    /// What the answer to the latest preflight promised.
    promise: Option<Promise>,
    /// What the handshake of this connection agreed on.
    agreed: Option<SubProtocol>,
    /// What came of the offers. Only hosts that [need a selection](super::Config::needs_selection) use it.
    offers: Offers,
    /// Whether the server advertised 2.0 on the last connection, maybe in `wwr.1`. Only clients of
    /// all versions use it.
    advertises: bool,
    /// When the WebSocket was opened: a server's read timeout counts from then.
    opened: Instant,
}

impl Discovery {
    pub(super) const fn new() -> Self {
        Self {
            found: Discovered::NOTHING,
            route: Route::Known,
            promise: None,
            agreed: None,
            offers: Offers::Open,
            advertises: false,
            opened: Instant::EPOCH,
        }
    }
}

/// What the first message of a connection decides.
#[derive(Debug)]
enum Route {
    /// Nothing: the client speaks this version.
    Plain(Metadata),
    /// If it is an accept-conf, the client speaks 2.0, otherwise this version.
    Open(Metadata),
    /// If it is an accept-conf, the client speaks 2.0, otherwise the attempt fails.
    Required(Evidence),
    /// Nothing any more: the version is known.
    Known,
}

/// Why the client requires an accept-conf. Decides which error it reports if none comes.
#[derive(Debug)]
enum Evidence {
    /// The client is set to 2.0.
    Configured,
    /// The handshake offers `wwr.1`, and fails if the server does not select it. What the server speaks
    /// is not known.
    Offered,
    /// As `Offered`, and the answer to the preflight says that the server selects it. What else came of the
    /// preflight decides if it does not.
    Named(Probed),
    /// An accept-conf came on the last connection.
    Remembered,
    /// The preflight's answer names a version that the client does not speak.
    Version(Version),
    /// The preflight's answer is not one of a 1.x server, but promises an accept-conf.
    Promised,
    /// The preflight's answer is not one of a WebWire server of 1.x or of this project.
    NotWebWire,
    /// The preflight got no answer.
    Unanswered(Unanswered),
}

/// What came of a preflight.
type Probed = Result<Verdict, Unanswered>;

/// Why a preflight got no answer.
#[derive(Clone, Copy, Debug)]
enum Unanswered {
    Failed,
    TimedOut,
}

/// How an attempt ended without the accept-conf.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// The client did not wait for one: it is set to 1.x.
    Preflight,
    /// The WebSocket could not be opened.
    Dial,
    /// The server answered the WebSocket handshake with an HTTP status other than 101.
    Refused,
    /// As `Refused`, with a status with which servers of any version may refuse this client.
    Denied,
    /// Nothing came in time.
    Silence,
    /// The connection was lost before anything came. The network may be the cause.
    Lost,
    /// Another message came first.
    OtherMessage,
}

impl Evidence {
    /// Returns what is wrong with the server.
    fn error(self, failure: Failure, client: Protocol) -> ConnectError {
        use Failure::{Denied, Dial, Lost, OtherMessage, Preflight, Refused, Silence};
        match (self, failure) {
            (Self::Version(server), Preflight | Refused | Denied | Silence | OtherMessage) => {
                ConnectError::IncompatibleVersion { server, client }
            }
            (Self::Promised, Preflight) => {
                ConnectError::IncompatibleVersion { server: Version::new("2.0"), client }
            }
            (Self::NotWebWire, Preflight | Refused | OtherMessage) => {
                ConnectError::NotWebWire { client }
            }
            // With an answer to the preflight, the message might have made sense.
            (Self::Unanswered(why), Preflight | Dial | OtherMessage) => match why {
                Unanswered::Failed => ConnectError::ProbeFailed,
                Unanswered::TimedOut => ConnectError::ProbeTimedOut,
            },
            (_, Preflight | Dial | Refused | Denied) => ConnectError::DialFailed,
            (_, Silence | Lost) => ConnectError::NoAcceptConf,
            (_, OtherMessage) => ConnectError::NotAcceptConf,
        }
    }
}

/// What the host reports until the version is known.
impl Client {
    /// Reports that the answer to [`Action::Probe`] has the header [`preflight::ACCEPT_CONF`] with
    /// this [value](Promise::read). Call it before [`handle_probed`](Self::handle_probed). The client
    /// then waits for an accept-conf, for a short time, even if the answer names 1.x; and if the host
    /// [needs a selection](super::Config::needs_selection), the promise decides whether the next
    /// handshake offers `wwr.1`. Ignored unless a probe is under way.
    pub const fn expect_accept_conf(&mut self, promise: Promise) {
        if let Link::Probing { .. } = self.link {
            self.discovery.promise = Some(promise);
        }
    }

    /// Reports the answer to [`Action::Probe`], or that there is no answer. Ignored unless a probe
    /// is under way.
    pub fn handle_probed(
        &mut self,
        now: Instant,
        answer: Result<preflight::Answer, ProbeFailed>,
        out: &mut Actions<Action>,
    ) {
        let verdict = answer.map(|answer| (answer.evaluate(), answer.retry_after));
        self.handle_verdict(now, verdict, out);
    }

    /// As [`handle_probed`](Self::handle_probed), for a host that has evaluated the answer itself:
    /// [`Verdict::from_members`]. With the verdict comes the header `Retry-After`, as
    /// [`Answer::retry_after`](preflight::Answer::retry_after).
    pub fn handle_verdict(
        &mut self,
        now: Instant,
        verdict: Result<(Verdict, Option<Duration>), ProbeFailed>,
        out: &mut Actions<Action>,
    ) {
        self.advance(now);
        let Link::Probing { .. } = self.link else { return };
        self.discovery.found.preflight = verdict.ok().map(|(verdict, _)| verdict);
        match verdict {
            Ok((Verdict::TryLater, retry_after)) => {
                self.fail_for(ConnectError::Unavailable, retry_after, out);
            }
            Ok((verdict, _)) => self.conclude(Ok(verdict), out),
            Err(ProbeFailed) => self.conclude(Err(Unanswered::Failed), out),
        }
    }

    /// Reports that the WebSocket that [`Action::Dial`] asked for is open. If the client wants no
    /// socket in its state, it tells the host to hang up. In the other states, the report is
    /// ignored.
    ///
    /// `agreed` is the sub-protocol that the server has selected: what
    /// [`Key::check`](crate::handshake::Key::check) returns. With one, the version is known: the
    /// client sends its settings at once, and the server's settings follow its answer (protocol
    /// §10.2).
    ///
    /// After this, [`next_timeout`](Self::next_timeout) may be `now`: the host hands over the
    /// messages that have already come, then calls [`handle_timeout`](Self::handle_timeout).
    pub fn handle_opened(
        &mut self,
        now: Instant,
        agreed: Option<SubProtocol>,
        out: &mut Actions<Action>,
    ) {
        let now = self.advance(now);
        let dial_deadline = match self.link {
            Link::Dialing { deadline } => deadline,
            Link::Idle | Link::Waiting { .. } | Link::Closed => return out.push(Action::Hangup),
            Link::Probing { .. }
            | Link::AwaitingConf { .. }
            | Link::Resuming(_)
            | Link::Ready { .. } => {
                return;
            }
        };
        self.discovery.opened = now;
        self.forget_connection();
        self.liveness = self.config.pings.map(|pings| LivenessCheck::new(pings, now));
        self.discovery.agreed = agreed.filter(|_| agreed == self.offers());
        if self.is_offering() && self.discovery.agreed.is_none() {
            out.push(Action::Hangup);
            return self.go_on_without_selection(out);
        }
        self.note_offers(now);
        if let Some(SubProtocol::Wwr1) = self.discovery.agreed {
            // The server is one of this project, whatever it answered to the preflight.
            self.discovery.route = Route::Required(Evidence::Configured);
            self.discovery.found.dialect = Dialect::Wwr1;
            self.state_settings(out);
        }
        match self.discovery.route {
            // An accept-conf often comes with the answer to the handshake (protocol §4.5). The
            // client looks for one before it sends anything, but does not wait: a 1.x server sends
            // none.
            Route::Open(_) if self.discovery.promise.is_none() => {
                self.link = Link::AwaitingConf { deadline: now };
            }
            Route::Open(_) | Route::Required(Evidence::Remembered) => {
                let deadline = dial_deadline.min(now + PROMISED);
                self.link = Link::AwaitingConf { deadline };
            }
            Route::Required(_) => self.link = Link::AwaitingConf { deadline: dial_deadline },
            Route::Plain(metadata) => self.speak_1_x(metadata, out),
            // Unreachable: every dial has a route.
            Route::Known => self.start(out),
        }
    }

    /// Reports that the server answered the WebSocket handshake with this HTTP status instead of
    /// 101. Ignored unless the client asked for a WebSocket that is not open yet. `retry_after` is
    /// the header of that name, as [`Answer::retry_after`](preflight::Answer::retry_after): the
    /// client does not try again earlier.
    ///
    /// With 429, 502, 503 and 504 the server is not available at the moment. With 401, 403 and 500
    /// servers of WebWire refuse, too: the dial has failed. Any other status also confirms what the
    /// preflight let suspect. If the client sent no preflight because the server spoke 2.0 on the
    /// last connection, another server has taken its place. The client then sends a preflight.
    pub fn handle_refused(
        &mut self,
        now: Instant,
        status: u16,
        retry_after: Option<Duration>,
        out: &mut Actions<Action>,
    ) {
        self.advance(now);
        let Link::Dialing { .. } = self.link else { return };
        if preflight::is_unavailable(status) {
            return self.fail_for(ConnectError::Unavailable, retry_after, out);
        }
        if self.is_offering() {
            return self.go_on_without_selection(out);
        }
        match self.discovery.route {
            Route::Required(Evidence::Remembered) => return self.find_out_anew(out),
            Route::Required(_) | Route::Plain(_) | Route::Open(_) | Route::Known => {}
        }
        let error = self.route_error(match status {
            401 | 403 | 500 => Failure::Denied,
            _ => Failure::Refused,
        });
        self.fail_for(error, retry_after, out);
    }

    /// Reports that a proxy on the way to the server refuses the login of this client: the attempt has failed, and
    /// the client does not try again by itself. Ignored unless the client has asked for a preflight or a WebSocket
    /// that is not there yet.
    pub fn handle_proxy_refused(&mut self, now: Instant, out: &mut Actions<Action>) {
        self.advance(now);
        if let Link::Probing { .. } | Link::Dialing { .. } = self.link {
            self.fail(ConnectError::ProxyRefused, out);
        }
    }
}

/// From the start of an attempt until the version is known.
impl Client {
    /// Begins to connect, using what is known about the server.
    pub(super) fn attempt(&mut self, out: &mut Actions<Action>) {
        self.discovery.found.dialect = Dialect::Unknown;
        let now = self.now();
        if self.has_to_be_selected() && self.discovery.offers.begin(now) {
            return self.dial(Route::Required(Evidence::Offered), out);
        }
        self.find_out(out);
    }

    /// Whether the client offers `wwr.1` by handshakes that fail if the server does not select it.
    fn has_to_be_selected(&self) -> bool {
        self.config.needs_selection && self.config.offers().is_some()
    }

    /// Begins without an offer that has to be selected.
    fn find_out(&mut self, out: &mut Actions<Action>) {
        match (self.config.protocol, self.discovery.advertises) {
            (Protocol::Auto, true) => self.dial(Route::Required(Evidence::Remembered), out),
            (Protocol::Auto, false) => self.probe(out),
            (Protocol::V2_0, _) => self.dial(Route::Required(Evidence::Configured), out),
            (protocol @ (Protocol::V1_4 | Protocol::V1_5), _) => match protocol.metadata() {
                Some(metadata) if self.config.skip_preflight => {
                    self.dial(Route::Plain(metadata), out);
                }
                Some(_) | None => self.probe(out),
            },
        }
    }

    fn probe(&mut self, out: &mut Actions<Action>) {
        self.discovery.found = Discovered::NOTHING;
        self.discovery.route = Route::Known;
        self.discovery.promise = None;
        self.link = Link::Probing { deadline: self.now() + self.config.probe_timeout };
        out.push(Action::Probe);
    }

    fn dial(&mut self, route: Route, out: &mut Actions<Action>) {
        self.discovery.route = route;
        self.link = Link::Dialing { deadline: self.now() + self.config.dial_timeout };
        out.push(Action::Dial);
    }

    /// The preflight took too long.
    pub(super) fn probe_timed_out(&mut self, out: &mut Actions<Action>) {
        out.push(Action::Hangup);
        self.conclude(Err(Unanswered::TimedOut), out);
    }

    fn conclude(&mut self, probed: Probed, out: &mut Actions<Action>) {
        if self.has_to_be_selected() && self.selects_wwr1() == Some(true) {
            return self.dial(Route::Required(Evidence::Named(probed)), out);
        }
        self.dial_by(probed, out);
    }

    /// Whether the server selects `wwr.1`, by the answer to the latest preflight. `None` if that does not say it: it
    /// did not come, or may be one of a proxy on the way.
    const fn selects_wwr1(&self) -> Option<bool> {
        match (self.discovery.promise, self.discovery.found.preflight) {
            (Some(promise), _) => Some(promise.wwr1),
            (None, Some(Verdict::Speaks(_) | Verdict::Unknown(_))) => Some(false),
            (None, Some(Verdict::TryLater | Verdict::NotWebWire) | None) => None,
        }
    }

    /// Dials without an offer that has to be selected.
    fn dial_by(&mut self, probed: Probed, out: &mut Actions<Action>) {
        let evidence = match probed {
            Ok(Verdict::TryLater) => return self.fail(ConnectError::Unavailable, out),
            Ok(Verdict::Speaks(metadata)) => match self.config.protocol.metadata() {
                None => return self.dial(Route::Open(metadata), out),
                Some(only) if only.dialect() == metadata.dialect() => {
                    return self.dial(Route::Plain(metadata), out);
                }
                Some(_) => Evidence::Version(Version::new(&format!("{}", metadata.dialect()))),
            },
            Ok(Verdict::Unknown(version)) => Evidence::Version(version),
            Ok(Verdict::NotWebWire) if self.discovery.promise.is_some() => Evidence::Promised,
            Ok(Verdict::NotWebWire) => Evidence::NotWebWire,
            Err(why) => Evidence::Unanswered(why),
        };
        match self.config.protocol {
            Protocol::Auto | Protocol::V2_0 => self.dial(Route::Required(evidence), out),
            client @ (Protocol::V1_4 | Protocol::V1_5) => {
                self.fail(evidence.error(Failure::Preflight, client), out);
            }
        }
    }

    pub(super) const fn forget_server(&mut self) {
        self.discovery.advertises = false;
    }

    /// An offer was accepted, or an attempt failed: the next one may find another server, which is worth an offer.
    pub(super) const fn forget_offers(&mut self) {
        self.discovery.offers = Offers::Open;
    }

    /// Whether the handshake that is asked for offers what the server has to select.
    pub(super) const fn is_offering(&self) -> bool {
        matches!(self.discovery.route, Route::Required(Evidence::Offered | Evidence::Named(_)))
    }

    /// The handshake that offers `wwr.1` did not succeed, for which there may be many reasons. The same
    /// attempt goes on without.
    fn go_on_without_selection(&mut self, out: &mut Actions<Action>) {
        match self.discovery.route {
            Route::Required(Evidence::Named(probed)) => self.dial_by(probed, out),
            Route::Required(_) | Route::Plain(_) | Route::Open(_) | Route::Known => {
                self.find_out_anew(out);
            }
        }
    }

    /// A WebSocket is open. Concludes from it whether offers are worthwhile.
    fn note_offers(&mut self, now: Instant) {
        if !self.has_to_be_selected() {
            return;
        }
        let denied = self.selects_wwr1() == Some(false);
        match (self.discovery.agreed, &self.discovery.route) {
            (Some(SubProtocol::Wwr1), _) => self.forget_offers(),
            // There was no preflight.
            (None, Route::Required(Evidence::Remembered)) => {}
            (None, Route::Required(_) | Route::Plain(_) | Route::Open(_) | Route::Known) => {
                self.discovery.offers.decline(now, denied);
            }
        }
    }

    /// The WebSocket could not be opened.
    pub(super) fn dial_failed(&mut self, out: &mut Actions<Action>) {
        if self.is_offering() {
            return self.go_on_without_selection(out);
        }
        let error = self.route_error(Failure::Dial);
        self.fail(error, out);
    }

    /// The WebSocket was not opened in time.
    pub(super) fn dial_timed_out(&mut self, out: &mut Actions<Action>) {
        out.push(Action::Hangup);
        if self.is_offering() {
            return self.go_on_without_selection(out);
        }
        self.fail(ConnectError::DialTimedOut, out);
    }

    /// The connection was lost before the version was known.
    pub(super) fn lost_before_version(&mut self, out: &mut Actions<Action>) {
        let error = match self.discovery.route {
            Route::Required(_) => self.route_error(Failure::Lost),
            Route::Plain(_) | Route::Open(_) | Route::Known => ConnectError::LostBeforeReady,
        };
        self.forget_server();
        self.fail(error, out);
    }

    /// No accept-conf came within its time. Goes on without one, or fails.
    pub(super) fn conf_timed_out(&mut self, out: &mut Actions<Action>) {
        match self.discovery.route {
            // A first message that comes later still decides the version.
            Route::Open(metadata) | Route::Plain(metadata) => self.speak_1_x(metadata, out),
            Route::Required(_) => self.refuse_route(Failure::Silence, out),
            Route::Known => self.start(out),
        }
    }

    /// Returns what is wrong if the attempt ends here.
    fn route_error(&mut self, failure: Failure) -> ConnectError {
        let route = core::mem::replace(&mut self.discovery.route, Route::Known);
        let evidence = match route {
            Route::Required(evidence) => evidence,
            Route::Plain(_) | Route::Open(_) | Route::Known => Evidence::Configured,
        };
        evidence.error(failure, self.config.protocol)
    }

    /// Handles the lack of a required accept-conf. If it was required only because of the last
    /// connection, another server has taken the place of the last one, and the client finds out
    /// again.
    fn refuse_route(&mut self, failure: Failure, out: &mut Actions<Action>) {
        if let Route::Required(Evidence::Remembered) = self.discovery.route {
            return self.rediscover(out);
        }
        let error = self.route_error(failure);
        self.refuse(error, out);
    }

    fn rediscover(&mut self, out: &mut Actions<Action>) {
        out.push(Action::Hangup);
        self.find_out_anew(out);
    }

    /// What was tried first did not succeed, for which there may be many reasons: the server may not know what
    /// was offered, or be another one by now. Nothing is concluded from that. The same attempt goes on as if
    /// nothing was known.
    fn find_out_anew(&mut self, out: &mut Actions<Action>) {
        self.forget_server();
        self.discovery.found.dialect = Dialect::Unknown;
        self.find_out(out);
    }
}

/// What an accept-conf says, as far as it decides the version.
struct Advertised {
    major: u8,
    /// The sub-protocol is the client's own.
    suits: bool,
}

/// The first message of a connection.
impl Client {
    /// Looks at the first message of the connection. Returns it if the caller has to handle it like
    /// any other. Returns later messages unchanged.
    pub(super) fn look_at_first(
        &mut self,
        frame: Bytes,
        out: &mut Actions<Action>,
    ) -> Option<Bytes> {
        if let Route::Known | Route::Plain(_) = self.discovery.route {
            return Some(frame);
        }
        let advertised = match wire::decode(Dialect::V2_0, frame.clone()) {
            Ok(Message::AcceptConf(conf)) => Some(self.record(conf)),
            Ok(_) | Err(_) => None,
        };
        match (&self.discovery.route, advertised) {
            (_, Some(Advertised { major: MAJOR, suits: true })) => self.advertised(out),
            (_, Some(Advertised { major: MAJOR, suits: false })) => {
                let error = self.other_sub_protocol();
                self.refuse(error, out);
            }
            (Route::Required(Evidence::Remembered), _) => self.rediscover(out),
            (Route::Required(_), Some(Advertised { .. })) => {
                let (server, client) = (self.advertised_version(), self.config.protocol);
                self.refuse(ConnectError::IncompatibleVersion { server, client }, out);
            }
            (Route::Required(_), None) => self.refuse_route(Failure::OtherMessage, out),
            (Route::Open(metadata) | Route::Plain(metadata), _) => {
                let metadata = *metadata;
                self.discovery.route = Route::Known;
                if let Link::AwaitingConf { .. } = self.link {
                    self.speak_1_x(metadata, out);
                }
                return Some(frame);
            }
            (Route::Known, _) => return Some(frame),
        }
        None
    }

    /// Keeps an accept-conf without the frame that its bytes belong to.
    fn record(&mut self, conf: AcceptConf) -> Advertised {
        let suits = conf.sub_protocol == self.config.sub_protocol;
        let advertised = Advertised { major: conf.major, suits };
        let sub_protocol = if suits {
            self.config.sub_protocol.clone()
        } else {
            conf.sub_protocol.as_deref().map(|name| {
                let end = name.len().min(Discovered::MAX_SUB_PROTOCOL);
                Bytes::copy_from_slice(name.get(..end).unwrap_or_default())
            })
        };
        self.discovery.found.accept_conf = Some(AcceptConf { sub_protocol, ..conf });
        advertised
    }

    fn advertised_version(&self) -> Version {
        let conf = self.discovery.found.accept_conf.as_ref();
        let (major, minor) = conf.map_or((0, 0), |conf| (conf.major, conf.minor));
        Version::new(&format!("{major}.{minor}"))
    }

    fn other_sub_protocol(&self) -> ConnectError {
        let conf = self.discovery.found.accept_conf.as_ref();
        ConnectError::IncompatibleSubProtocol {
            server: conf.and_then(|conf| conf.sub_protocol.as_deref()).map(for_logs),
            client: self.config.sub_protocol.as_deref().map(for_logs),
        }
    }

    /// Sends the settings of this side, before anything else.
    fn state_settings(&mut self, out: &mut Actions<Action>) {
        let instance = self.state_instance();
        let frame = out.encoder.client_settings(ClientSettings {
            max_message_size: self.config.max_message_size,
            max_questions: self.config.max_open_questions,
            resumes_signals: self.config.resume_signals,
            instance,
        });
        self.transmit(frame, out);
    }

    /// The server sent an accept-conf that suits, after advertising 2.0 or agreeing on `wwr.1`.
    fn advertised(&mut self, out: &mut Actions<Action>) {
        let route = core::mem::replace(&mut self.discovery.route, Route::Known);
        self.discovery.advertises = true;
        self.discovery.found.dialect = match self.discovery.agreed {
            Some(SubProtocol::Wwr1) => Dialect::Wwr1,
            None => Dialect::V2_0,
        };
        let conf = self.discovery.found.accept_conf.as_ref();
        let read_timeout = conf.map_or(Duration::ZERO, AcceptConf::read_timeout);
        self.arm_heartbeat(read_timeout);
        // A server that saw a preflight takes the client for 1.x until a heartbeat comes.
        if let (Route::Open(_), Some(_)) = (route, &self.heartbeat) {
            let heartbeat = wire::Encoder::heartbeat();
            self.transmit(heartbeat, out);
        }
        if let Link::AwaitingConf { .. } = self.link {
            self.start(out);
        }
    }

    /// The server speaks 1.x.
    fn speak_1_x(&mut self, metadata: Metadata, out: &mut Actions<Action>) {
        self.discovery.found.dialect = metadata.dialect();
        self.arm_heartbeat(match metadata {
            Metadata::V1_4 => Duration::ZERO,
            Metadata::V1_5 { read_timeout } => read_timeout,
        });
        self.start(out);
    }

    fn arm_heartbeat(&mut self, read_timeout: Duration) {
        self.heartbeat = match self.discovery.found.dialect.rules().liveness {
            Liveness::ReadTimeout => Heartbeat::new(read_timeout, self.discovery.opened),
            Liveness::Pings => None,
        };
    }
}

/// Returns a name that a peer chose in a form for logs: printable ASCII, not too long.
fn for_logs(name: &[u8]) -> Box<str> {
    let kept = name.get(..MAX_LOGGED).unwrap_or(name);
    let more = if kept.len() < name.len() { "..." } else { "" };
    format!("{}{more}", kept.escape_ascii()).into()
}
