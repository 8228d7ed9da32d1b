//! What a server speaks: asked for, heard, and remembered (protocol §7.3).

use alloc::boxed::Box;
use alloc::format;
use core::time::Duration;

use bytes::Bytes;

use super::action::Action;
use super::error::ConnectError;
use super::heartbeat::Heartbeat;
use super::link::Link;
use super::machine::Client;
use super::protocol::Protocol;
use super::pulse::Pulse;
use crate::actions::Actions;
use crate::dialect::{Dialect, Liveness};
use crate::handshake::SubProtocol;
use crate::preflight::{self, Metadata, ProbeFailed, Verdict, Version};
use crate::time::Instant;
use crate::wire::{self, AcceptConf, ClientSettings, Message};

/// The major version in the accept-conf of the servers that a client speaks 2.0 with. The minor one
/// does not matter (protocol §4.5).
const MAJOR: u8 = 2;

/// How long an accept-conf is waited for that the server promised, with its preflight or by the one on
/// the last connection. It should come with the opening, but the server may be another by now, of 1.x.
const PROMISED: Duration = Duration::from_secs(1);

/// The most that errors show of a sub-protocol, in bytes.
const MAX_LOGGED: usize = 64;

/// What a client has found out about its server.
///
/// Kept when an attempt to connect fails, and when the connection is lost. Forgotten when the client
/// begins to find out anew, with [`Action::Probe`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Discovered {
    /// What the server's answer to the latest preflight means. `None` without an HTTP answer, and
    /// if the client did not ask.
    pub preflight: Option<Verdict>,
    /// The latest accept-conf that came first on a connection, whether or not it suits the client.
    /// Of a sub-protocol that is not the client's, the first [`MAX_SUB_PROTOCOL`] bytes.
    ///
    /// [`MAX_SUB_PROTOCOL`]: Self::MAX_SUB_PROTOCOL
    pub accept_conf: Option<AcceptConf>,
    /// What is spoken on this connection, or was on the latest one.
    /// [`Unknown`](Dialect::Unknown) from the beginning of an attempt until that is settled.
    pub dialect: Dialect,
}

impl Discovered {
    /// The most that is kept of a sub-protocol other than the client's own, in bytes.
    pub const MAX_SUB_PROTOCOL: usize = 256;

    const NOTHING: Self = Self { preflight: None, accept_conf: None, dialect: Dialect::Unknown };
}

/// How a client is to find out, with what it has found out.
#[derive(Debug)]
pub(super) struct Discovery {
    pub(super) found: Discovered,
    route: Route,
    /// Whether the preflight of this attempt said that an accept-conf comes.
    promised: bool,
    /// What the handshake of this connection has agreed on.
    agreed: Option<SubProtocol>,
    /// Whether the server announced 2.0 on the last connection, maybe in `wwr.1`. It matters to clients
    /// of all versions only.
    announces: bool,
    /// When the WebSocket was opened: a server's read timeout counts from then.
    opened: Instant,
}

impl Discovery {
    pub(super) const fn new() -> Self {
        Self {
            found: Discovered::NOTHING,
            route: Route::Settled,
            promised: false,
            agreed: None,
            announces: false,
            opened: Instant::EPOCH,
        }
    }
}

/// What the first message of a connection decides.
#[derive(Debug)]
enum Route {
    /// Nothing: this version is spoken.
    Plain(Metadata),
    /// 2.0 is spoken if it is an accept-conf, this version if not.
    Open(Metadata),
    /// 2.0 is spoken if it is an accept-conf, nothing if not.
    Required(Doubt),
    /// Nothing any more.
    Settled,
}

/// Why an accept-conf may not come that has to.
#[derive(Debug)]
enum Doubt {
    /// No reason: the client is set to 2.0.
    None,
    /// No reason: it came on the last connection.
    Remembered,
    /// The preflight's answer names a version that is none of the client's.
    Version(Version),
    /// The preflight's answer is none of a 1.x server.
    NotWebWire,
    /// The preflight got no answer.
    NoAnswer,
    /// The preflight got no answer in time.
    NoAnswerInTime,
}

/// How it did not come.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// It is not waited for: the client is set to 1.x.
    Preflight,
    /// The WebSocket could not be opened.
    Dial,
    /// The server answered the WebSocket handshake with something else.
    Refused,
    /// It did with a status that a server of any version may have for this client.
    Denied,
    /// Nothing came in time.
    Silence,
    /// The connection was lost before anything came, which may be the network's fault.
    Lost,
    /// Another message came first.
    OtherMessage,
}

impl Doubt {
    /// What is wrong with the server.
    fn error(self, failure: Failure, client: Protocol) -> ConnectError {
        use Failure::{Denied, Dial, Lost, OtherMessage, Preflight, Refused, Silence};
        match (self, failure) {
            (Self::Version(server), Preflight | Refused | Denied | Silence | OtherMessage) => {
                ConnectError::IncompatibleVersion { server, client }
            }
            (Self::NotWebWire, Preflight | Refused | OtherMessage) => {
                ConnectError::NotWebWire { client }
            }
            // Had the preflight got its answer, the message might make sense.
            (Self::NoAnswer, Preflight | Dial | OtherMessage) => ConnectError::ProbeFailed,
            (Self::NoAnswerInTime, Preflight | Dial | OtherMessage) => ConnectError::ProbeTimedOut,
            (_, Preflight | Dial | Refused | Denied) => ConnectError::DialFailed,
            (_, Silence | Lost) => ConnectError::NoAcceptConf,
            (_, OtherMessage) => ConnectError::NotAcceptConf,
        }
    }
}

/// What the host reports until the version is settled.
impl Client {
    /// The answer to [`Action::Probe`] has the header [`preflight::ACCEPT_CONF`]: to be told before
    /// [`handle_probed`](Self::handle_probed). An accept-conf is waited for then, though not for long,
    /// even if the answer names 1.x. Ignored unless a probe is under way.
    pub const fn expect_accept_conf(&mut self) {
        if let Link::Probing { .. } = self.link {
            self.discovery.promised = true;
        }
    }

    /// The answer to [`Action::Probe`], or that there is none. Ignored unless a probe is under way.
    pub fn handle_probed(
        &mut self,
        now: Instant,
        answer: Result<preflight::Answer, ProbeFailed>,
        out: &mut Actions<Action>,
    ) {
        self.advance(now);
        let Link::Probing { .. } = self.link else { return };
        let verdict = answer.as_ref().map(preflight::Answer::evaluate);
        self.discovery.found.preflight = verdict.ok();
        if let (Ok(Verdict::TryLater), Ok(answer)) = (verdict, &answer) {
            return self.fail_for(ConnectError::Unavailable, answer.retry_after, out);
        }
        self.conclude(verdict.map_err(|ProbeFailed| Doubt::NoAnswer), out);
    }

    /// The WebSocket that [`Action::Dial`] asked for is open. If no socket is wanted at all, the
    /// host is told to hang up; in the remaining states, ignored.
    ///
    /// `agreed` is the sub-protocol that the server has selected: what
    /// [`Key::check`](crate::handshake::Key::check) returns. Then nothing is left to be found out. The
    /// settings of this side are sent at once, those of the server follow its answer (protocol §10.2).
    ///
    /// [`next_timeout`](Self::next_timeout) may be `now` after this: the host hands over the messages
    /// that have come already, then calls [`handle_timeout`](Self::handle_timeout).
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
        self.pulse = self.config.pings.map(|pings| Pulse::new(pings, now));
        self.discovery.agreed = agreed.filter(|_| agreed == self.offers());
        if let Some(SubProtocol::Wwr1) = self.discovery.agreed {
            // It is one of ours, whatever it answered to the preflight.
            self.discovery.route = Route::Required(Doubt::None);
            self.discovery.found.dialect = Dialect::Wwr1;
            self.state_settings(out);
        }
        match self.discovery.route {
            // An accept-conf often comes with the answer to the handshake (protocol §4.5), and is
            // worth a look before anything is sent. It is worth no waiting: there may be none.
            Route::Open(_) if !self.discovery.promised => {
                self.link = Link::AwaitingConf { deadline: now };
            }
            Route::Open(_) | Route::Required(Doubt::Remembered) => {
                let deadline = dial_deadline.min(now + PROMISED);
                self.link = Link::AwaitingConf { deadline };
            }
            Route::Required(_) => self.link = Link::AwaitingConf { deadline: dial_deadline },
            Route::Plain(metadata) => self.settle(metadata, out),
            // No dial without a route.
            Route::Settled => self.start(out),
        }
    }

    /// The server answered the WebSocket handshake with this HTTP status instead of 101. Ignored
    /// unless a WebSocket was asked for and is not open. `retry_after` is its header of that name, as
    /// [`Answer::retry_after`](preflight::Answer::retry_after): the client does not try again before.
    ///
    /// With 429, 502, 503 and 504 the server is not available at the moment. Any other status is a
    /// failed dial, or confirms what was suspected after the preflight, unless it is one with which
    /// WebWire servers refuse too: 401, 403, 500. Where no preflight was asked for because the server
    /// spoke 2.0 on the last connection, it is another by now, and is asked.
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
        if let Route::Required(Doubt::Remembered) = self.discovery.route {
            return self.find_out_anew(out);
        }
        let error = self.route_error(match status {
            401 | 403 | 500 => Failure::Denied,
            _ => Failure::Refused,
        });
        self.fail_for(error, retry_after, out);
    }
}

/// From the start of an attempt to the version.
impl Client {
    /// Begins to connect, with what is known of the server.
    pub(super) fn attempt(&mut self, out: &mut Actions<Action>) {
        self.discovery.found.dialect = Dialect::Unknown;
        match (self.config.protocol, self.discovery.announces) {
            (Protocol::Auto, true) => self.dial(Route::Required(Doubt::Remembered), out),
            (Protocol::Auto, false) => self.probe(out),
            (Protocol::V2_0, _) => self.dial(Route::Required(Doubt::None), out),
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
        self.discovery.promised = false;
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
        self.conclude(Err(Doubt::NoAnswerInTime), out);
    }

    fn conclude(&mut self, verdict: Result<Verdict, Doubt>, out: &mut Actions<Action>) {
        let doubt = match verdict {
            Ok(Verdict::TryLater) => return self.fail(ConnectError::Unavailable, out),
            Ok(Verdict::Speaks(metadata)) => match self.config.protocol.metadata() {
                None => return self.dial(Route::Open(metadata), out),
                Some(only) if only.dialect() == metadata.dialect() => {
                    return self.dial(Route::Plain(metadata), out);
                }
                Some(_) => Doubt::Version(Version::new(&format!("{}", metadata.dialect()))),
            },
            Ok(Verdict::Unknown(version)) => Doubt::Version(version),
            Ok(Verdict::NotWebWire) => Doubt::NotWebWire,
            Err(doubt) => doubt,
        };
        match self.config.protocol {
            Protocol::Auto | Protocol::V2_0 => self.dial(Route::Required(doubt), out),
            client @ (Protocol::V1_4 | Protocol::V1_5) => {
                self.fail(doubt.error(Failure::Preflight, client), out);
            }
        }
    }

    pub(super) const fn forget_server(&mut self) {
        self.discovery.announces = false;
    }

    /// The WebSocket could not be opened.
    pub(super) fn dial_failed(&mut self, out: &mut Actions<Action>) {
        let error = self.route_error(Failure::Dial);
        self.fail(error, out);
    }

    /// The connection was lost before the version was settled.
    pub(super) fn lost_before_settled(&mut self, out: &mut Actions<Action>) {
        let error = match self.discovery.route {
            Route::Required(_) => self.route_error(Failure::Lost),
            Route::Plain(_) | Route::Open(_) | Route::Settled => ConnectError::LostBeforeReady,
        };
        self.forget_server();
        self.fail(error, out);
    }

    /// No message has come that could be the accept-conf, and it is time to go on without.
    pub(super) fn conf_timed_out(&mut self, out: &mut Actions<Action>) {
        match self.discovery.route {
            // A first message that comes later still decides.
            Route::Open(metadata) | Route::Plain(metadata) => self.settle(metadata, out),
            Route::Required(_) => self.refuse_route(Failure::Silence, out),
            Route::Settled => self.start(out),
        }
    }

    /// What is wrong if the attempt ends here.
    fn route_error(&mut self, failure: Failure) -> ConnectError {
        let route = core::mem::replace(&mut self.discovery.route, Route::Settled);
        let doubt = match route {
            Route::Required(doubt) => doubt,
            Route::Plain(_) | Route::Open(_) | Route::Settled => Doubt::None,
        };
        doubt.error(failure, self.config.protocol)
    }

    /// No accept-conf came although one has to. If that was only expected because of the last
    /// connection, the server is another by now, and the client finds out anew.
    fn refuse_route(&mut self, failure: Failure, out: &mut Actions<Action>) {
        if let Route::Required(Doubt::Remembered) = self.discovery.route {
            return self.rediscover(out);
        }
        let error = self.route_error(failure);
        self.refuse(error, out);
    }

    fn rediscover(&mut self, out: &mut Actions<Action>) {
        out.push(Action::Hangup);
        self.find_out_anew(out);
    }

    fn find_out_anew(&mut self, out: &mut Actions<Action>) {
        self.forget_server();
        self.attempt(out);
    }
}

/// What an accept-conf says, as far as it decides.
struct Announced {
    major: u8,
    /// The sub-protocol is the client's own.
    suits: bool,
}

/// The first message.
impl Client {
    /// Looks at the first message of the connection, and gives it back if it is to be handled like
    /// any other. Later messages are just given back.
    pub(super) fn look_at_first(
        &mut self,
        frame: Bytes,
        out: &mut Actions<Action>,
    ) -> Option<Bytes> {
        if let Route::Settled | Route::Plain(_) = self.discovery.route {
            return Some(frame);
        }
        let announced = match wire::decode(Dialect::V2_0, frame.clone()) {
            Ok(Message::AcceptConf(conf)) => Some(self.record(conf)),
            Ok(_) | Err(_) => None,
        };
        match (&self.discovery.route, announced) {
            (_, Some(Announced { major: MAJOR, suits: true })) => self.announced(out),
            (_, Some(Announced { major: MAJOR, suits: false })) => {
                let error = self.other_sub_protocol();
                self.refuse(error, out);
            }
            (Route::Required(Doubt::Remembered), _) => self.rediscover(out),
            (Route::Required(_), Some(Announced { .. })) => {
                let (server, client) = (self.announced_version(), self.config.protocol);
                self.refuse(ConnectError::IncompatibleVersion { server, client }, out);
            }
            (Route::Required(_), None) => self.refuse_route(Failure::OtherMessage, out),
            (Route::Open(metadata) | Route::Plain(metadata), _) => {
                let metadata = *metadata;
                self.discovery.route = Route::Settled;
                if let Link::AwaitingConf { .. } = self.link {
                    self.settle(metadata, out);
                }
                return Some(frame);
            }
            (Route::Settled, _) => return Some(frame),
        }
        None
    }

    /// Keeps an accept-conf, without the frame that it is a slice of.
    fn record(&mut self, conf: AcceptConf) -> Announced {
        let suits = conf.sub_protocol == self.config.sub_protocol;
        let announced = Announced { major: conf.major, suits };
        let sub_protocol = if suits {
            self.config.sub_protocol.clone()
        } else {
            conf.sub_protocol.as_deref().map(|name| {
                let end = name.len().min(Discovered::MAX_SUB_PROTOCOL);
                Bytes::copy_from_slice(name.get(..end).unwrap_or_default())
            })
        };
        self.discovery.found.accept_conf = Some(AcceptConf { sub_protocol, ..conf });
        announced
    }

    fn announced_version(&self) -> Version {
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

    /// Sends what the server has to know of this side: before anything else.
    fn state_settings(&mut self, out: &mut Actions<Action>) {
        let max_message_size = self.config.max_message_size;
        let frame = out.encoder.client_settings(ClientSettings { max_message_size });
        self.transmit(frame, out);
    }

    /// The server announced 2.0, or began `wwr.1`, and what it announced suits.
    fn announced(&mut self, out: &mut Actions<Action>) {
        let route = core::mem::replace(&mut self.discovery.route, Route::Settled);
        self.discovery.announces = true;
        self.discovery.found.dialect = match self.discovery.agreed {
            Some(SubProtocol::Wwr1) => Dialect::Wwr1,
            None => Dialect::V2_0,
        };
        let conf = self.discovery.found.accept_conf.as_ref();
        let read_timeout = conf.map_or(Duration::ZERO, AcceptConf::read_timeout);
        self.arm_heartbeat(read_timeout);
        // A server that saw a preflight takes the client for one of 1.x until a heartbeat comes.
        if let (Route::Open(_), Some(_)) = (route, &self.heartbeat) {
            let heartbeat = wire::Encoder::heartbeat();
            self.transmit(heartbeat, out);
        }
        if let Link::AwaitingConf { .. } = self.link {
            self.start(out);
        }
    }

    /// The server speaks 1.x.
    fn settle(&mut self, metadata: Metadata, out: &mut Actions<Action>) {
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

/// A name of a peer's choice as it may stand in a log: printable ASCII, not too long.
fn for_logs(name: &[u8]) -> Box<str> {
    let kept = name.get(..MAX_LOGGED).unwrap_or(name);
    let more = if kept.len() < name.len() { "..." } else { "" };
    format!("{}{more}", kept.escape_ascii()).into()
}
