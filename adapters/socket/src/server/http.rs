//! What comes before the WebSocket: requests of HTTP, answered by the gate.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Buf;
use wwr::Instant;
use wwr::server::gate::{Accept, Answer, CORS, Decision, Refusal, decide, may_be_set};

use super::event::{Event, Handshake};
use super::socket::{HandshakeOptions, Phase, ServerSocket};
use super::{Limits, Server};
use crate::http::{Request, closes, is_header, unread, write_answer, write_header};

/// A socket on which requests may come.
pub(super) struct Http {
    /// When the head of the next request has to be there.
    head_until: Instant,
    /// When the WebSocket has to be open.
    until: Instant,
    /// Whether a request was answered.
    answered: bool,
    /// Whether there may be bytes that were not looked at. A head that comes in many pieces is read again with
    /// each of them: at most so long a head for one piece, which costs no more than receiving it.
    has_input: bool,
}

/// A request about which the application is asked.
pub(super) struct Asking {
    http: Http,
    upgrade: Result<Accept, Refusal>,
    endpoint: usize,
    method: String,
    /// The answer of the server to a request that the application does not refuse.
    refusal: Option<Answer>,
    /// The offered sub-protocols.
    offers: Vec<(String, Vec<u8>)>,
    ends: bool,
}

impl Http {
    pub(super) fn new(now: Instant, limits: &Limits) -> Self {
        Self {
            head_until: now + limits.header_timeout,
            until: now + limits.handshake_timeout,
            answered: false,
            has_input: true,
        }
    }

    pub(super) const fn heard(&mut self) {
        self.has_input = true;
    }

    pub(super) fn next_timeout(&self) -> Instant {
        self.head_until.min(self.until)
    }

    /// Returns why the time was over. `None` for a socket that was of use.
    pub(super) fn refusal_at(&self, now: Instant) -> Option<Refusal> {
        match () {
            () if self.answered => None,
            () if self.until <= now => Some(Refusal::HandshakeTimeout),
            () => Some(Refusal::HeadTimeout),
        }
    }
}

impl Asking {
    pub(super) const fn until(&self) -> Instant {
        self.http.until
    }
}

impl ServerSocket {
    /// Answers the next request. Returns whether there may be another one.
    pub(super) fn poll_http(&mut self, now: Instant, server: &mut Server) -> bool {
        let Phase::Http(http) = &mut self.phase else { return true };
        if !http.has_input || !self.socket.is_writable() {
            return false;
        }
        let mut input = self.socket.take_raw();
        let most = server.limits.max_header_size;
        let refusal = match Request::parse(&input) {
            Ok(Some(request)) if request.length <= most => {
                let length = request.length;
                self.answer_request(now, &request, server);
                drop(request);
                input.advance(length);
                if !matches!(self.phase, Phase::Ending { .. }) {
                    self.socket.put_raw(input);
                }
                return !matches!(self.phase, Phase::Asking(_));
            }
            Ok(None) if input.len() <= most => {
                http.has_input = false;
                self.socket.put_raw(input);
                self.socket.settle();
                return false;
            }
            Ok(_) => Refusal::HeadTooLong,
            Err(refusal) => refusal,
        };
        let head = unread();
        let answer = Answer::refusal(refusal, &head, &server.terms(0));
        self.refuse(now, refusal, &answer, "", true, server);
        false
    }

    fn answer_request(&mut self, now: Instant, request: &Request<'_>, server: &mut Server) {
        let head = &request.head;
        let endpoint = server.endpoint_at(head.path());
        let terms = server.terms(endpoint);
        let decision = decide(head, &terms);
        let ends = head.closes() || head.has_body();
        match decision {
            Decision::Refuse(refusal) => {
                let answer = Answer::refusal(refusal, head, &terms);
                self.refuse(now, refusal, &answer, request.method, ends, server);
            }
            Decision::Preflight { metadata, noted } => {
                let endpoint = &mut server.endpoints[endpoint];
                match noted {
                    true if head.closes() => endpoint.preflights.asked_briefly(now, self.from),
                    true => endpoint.preflights.asked(now, self.from),
                    false => {}
                }
                let answer = Answer::preflight(&metadata, endpoint.machine.promise());
                self.send_answer(now, &answer, request.method, ends, server);
            }
            Decision::Options { names } => {
                let mut answer = match &server.config.names {
                    Some(listed) if names => Answer::names(listed),
                    _ => Answer::options(),
                };
                answer.headers.extend(CORS.map(|(name, value)| (name, value.into())));
                self.send_answer(now, &answer, request.method, ends, server);
            }
            Decision::Ask { upgrade } if server.config.asks_application => {
                let refusal =
                    upgrade.as_ref().err().map(|refusal| Answer::refusal(*refusal, head, &terms));
                let Phase::Http(http) = core::mem::replace(&mut self.phase, Phase::Ended) else {
                    return;
                };
                let headers = request.headers.iter();
                let headers = headers.map(|(name, value)| ((*name).into(), (*value).into()));
                let handshake = Handshake {
                    method: request.method.into(),
                    target: request.target.into(),
                    headers: headers.collect(),
                    upgrade: upgrade.as_ref().map(drop).map_err(|refusal| *refusal),
                };
                let offers = handshake.headers.iter();
                let offers = offers
                    .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))
                    .cloned();
                let method = request.method.into();
                let offers = offers.collect();
                let asking =
                    Asking { http: *http, upgrade, endpoint, method, refusal, offers, ends };
                self.phase = Phase::Asking(Box::new(asking));
                server.events.push_back((self.id, Event::Handshake(Box::new(handshake))));
            }
            Decision::Ask { upgrade: Err(refusal) } => {
                let answer = Answer::refusal(refusal, head, &terms);
                self.refuse(now, refusal, &answer, request.method, ends, server);
            }
            Decision::Ask { upgrade: Ok(accept) } => {
                let options = HandshakeOptions::default();
                let admitted = server.hub.admit(now);
                match admitted {
                    Ok(id) => {
                        self.switch(&accept, &options, server);
                        self.upgraded(now, id, endpoint, &accept, None, server);
                    }
                    Err(full) => {
                        let refusal = full.into();
                        let answer = Answer::refusal(refusal, head, &server.terms(endpoint));
                        self.refuse(now, refusal, &answer, request.method, ends, server);
                    }
                }
            }
        }
    }

    pub(super) fn answer_handshake(
        &mut self,
        now: Instant,
        decision: Result<HandshakeOptions, Answer>,
        server: &mut Server,
    ) {
        let before = core::mem::replace(&mut self.phase, Phase::Ended);
        let Phase::Asking(asking) = before else {
            self.phase = before;
            return;
        };
        let Asking { http, upgrade, endpoint, method, refusal, offers, ends } = *asking;
        self.phase = Phase::Http(Box::new(http));
        let options = match (decision, &upgrade, refusal) {
            (Err(answer), ..) => {
                if upgrade.is_ok() {
                    server.events.push_back((self.id, Event::Refused(Refusal::ByApplication)));
                }
                let is_final = (200..1000).contains(&answer.status);
                let answer = if is_final { answer } else { failure() };
                return self.send_answer(now, &answer, &method, ends, server);
            }
            (Ok(_), Err(refused), Some(answer)) => {
                return self.refuse(now, *refused, &answer, &method, ends, server);
            }
            (Ok(options), ..) => options,
        };
        let Ok(mut accept) = upgrade else { return };
        let may_set = |(name, value): &(String, String)| {
            may_be_set(name) && is_header(name, value.as_bytes())
        };
        let may_set = options.headers.iter().all(may_set);
        let offers = offers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let selects =
            options.sub_protocol.as_ref().is_none_or(|name| accept.select(name, offers).is_ok());
        if !may_set || !selects {
            return self.send_answer(now, &failure(), &method, ends, server);
        }
        match server.hub.admit(now) {
            Ok(id) => {
                self.switch(&accept, &options, server);
                self.upgraded(now, id, endpoint, &accept, options.concurrency, server);
            }
            Err(full) => {
                let refusal = full.into();
                let answer = Answer::refusal(refusal, &unread(), &server.terms(endpoint));
                self.refuse(now, refusal, &answer, &method, ends, server);
            }
        }
    }

    /// Queues the answer that opens the WebSocket.
    fn switch(&mut self, accept: &Accept, options: &HandshakeOptions, server: &mut Server) {
        let answer = Answer::switching(accept);
        self.socket.send_raw(&mut server.memory, |out| {
            write_answer(&answer, "GET", false, out);
            // Before the empty line.
            out.truncate(out.len() - 2);
            for (name, value) in &options.headers {
                write_header(name, value.as_bytes(), out);
            }
            out.extend_from_slice(b"\r\n");
        });
    }

    fn refuse(
        &mut self,
        now: Instant,
        refusal: Refusal,
        answer: &Answer,
        method: &str,
        ends: bool,
        server: &mut Server,
    ) {
        server.events.push_back((self.id, Event::Refused(refusal)));
        self.send_answer(now, answer, method, ends, server);
    }

    /// Queues an answer. Afterwards the next request may come, or the socket is closed.
    fn send_answer(
        &mut self,
        now: Instant,
        answer: &Answer,
        method: &str,
        ends: bool,
        server: &mut Server,
    ) {
        let ends = ends || closes(answer);
        self.socket.send_raw(&mut server.memory, |out| write_answer(answer, method, ends, out));
        match &mut self.phase {
            Phase::Http(http) if !ends => {
                http.answered = true;
                http.has_input = true;
                http.head_until = now + server.limits.header_timeout;
            }
            _ => self.end(now, None, true, server),
        }
    }
}

/// Returns what is sent in place of an answer that the application must not give.
fn failure() -> Answer {
    Answer { status: 500, headers: [].into(), body: [][..].into() }
}
