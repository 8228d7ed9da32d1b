//! The HTTP of a client: the request for metadata, and the handshake.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Buf;
use wwr::Instant;
use wwr::handshake::{self, Key, SubProtocol};
use wwr::preflight::{self, ProbeFailed, Promise};

use super::target::Target;
use super::{ClientEvent, ClientSocket, Phase};
use crate::http::{Response, write_header};

/// The longest head of an answer in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The longest body that is read of an answer in bytes: one that is longer than the longest, to see that it is.
const MAX_BODY: usize = preflight::MAX_BODY + 1;

/// The longest answer in bytes, as it is sent: the heads of chunks are a part of it.
const MAX_ANSWER: usize = MAX_HEAD + 4 * MAX_BODY;

/// Returns the request for metadata (protocol §4.1).
pub(super) fn probe(target: &Target, offers: Option<SubProtocol>) -> Vec<u8> {
    request(preflight::METHOD, target, &[("Connection", "close")], offers)
}

/// Returns the handshake (RFC 6455 section 4.1).
pub(super) fn handshake(target: &Target, key: &Key, offers: Option<SubProtocol>) -> Vec<u8> {
    let headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", handshake::VERSION),
        ("Sec-WebSocket-Key", key.as_str()),
    ];
    request("GET", target, &headers, offers)
}

fn request(
    method: &str,
    target: &Target,
    headers: &[(&str, &str)],
    offers: Option<SubProtocol>,
) -> Vec<u8> {
    let mut head = Vec::new();
    for part in [method, " ", target.path(), " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    write_header("Host", target.authority().as_bytes(), &mut head);
    for (name, value) in headers {
        write_header(name, value.as_bytes(), &mut head);
    }
    if let Some(offered) = offers {
        write_header(SubProtocol::HEADER, offered.as_str().as_bytes(), &mut head);
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// What an answer means.
enum Answered {
    /// Its end has not come.
    Partly,
    /// There is no answer, or not one of HTTP.
    Failed,
    /// One to the request for metadata.
    Metadata { answer: preflight::Answer, promise: Option<Promise> },
    /// The WebSocket is open. The head has so many bytes.
    Opened { agreed: Option<SubProtocol>, length: usize },
    /// It is not, for this reason, with a place to go to.
    Refused { status: u16, retry_after: Option<Duration>, location: Option<String> },
    /// An interim answer of so many bytes (RFC 9110 section 15.2).
    Interim { length: usize },
}

impl ClientSocket {
    /// Reads an answer. Returns whether something came of it.
    pub(super) fn read_answer(&mut self, now: Instant) -> bool {
        let mut input = self.socket.take_raw();
        let answered = match &self.phase {
            Phase::Dialing(key) => self.read_handshake(&input, key),
            _ => self.read_metadata(&input),
        };
        match answered {
            Answered::Partly => {
                self.socket.put_raw(input);
                self.socket.settle();
                return false;
            }
            Answered::Interim { length } => {
                input.advance(length);
                self.socket.put_raw(input);
            }
            Answered::Metadata { answer, promise } => {
                self.lose();
                if let Some(promise) = promise {
                    self.client.expect_accept_conf(promise);
                }
                self.client.handle_probed(now, Ok(answer), &mut self.out);
            }
            Answered::Opened { agreed, length } => {
                input.advance(length);
                self.socket.put_raw(input);
                self.phase = Phase::Open { settled: false };
                self.client.handle_opened(now, agreed, &mut self.out);
            }
            Answered::Refused { status, retry_after, location } => {
                self.lose();
                if let Some(location) = location {
                    self.events.push_back(ClientEvent::Redirected { status, location });
                }
                self.client.handle_refused(now, status, retry_after, &mut self.out);
            }
            Answered::Failed => {
                let is_probe = matches!(self.phase, Phase::Probing);
                self.lose();
                if is_probe {
                    self.client.handle_probed(now, Err(ProbeFailed), &mut self.out);
                } else {
                    self.client.handle_disconnect(now, &mut self.out);
                }
            }
        }
        true
    }

    /// What is behind the limit does not count, even if it has come together with the rest.
    fn read_head<'a>(&self, input: &'a [u8]) -> Result<Response<'a>, Answered> {
        match Response::parse(&input[..input.len().min(MAX_HEAD)]) {
            Ok(Some(head)) if is_interim(head.status) => {
                Err(Answered::Interim { length: head.length })
            }
            Ok(Some(head)) => Ok(head),
            Ok(None) if !self.end_of_input && input.len() < MAX_HEAD => Err(Answered::Partly),
            Ok(None) | Err(_) => Err(Answered::Failed),
        }
    }

    fn read_metadata(&self, input: &[u8]) -> Answered {
        let head = match self.read_head(input) {
            Ok(head) => head,
            Err(answered) => return answered,
        };
        let body = &input[head.length..input.len().min(MAX_ANSWER)];
        // The body does not matter then, and may be a long page of a proxy.
        let body = match preflight::is_unavailable(head.status) {
            true => Ok(Some(Vec::new().into())),
            false => head.body().read(body, self.end_of_input, MAX_BODY),
        };
        match body {
            Ok(Some(body)) => Answered::Metadata {
                answer: preflight::Answer {
                    status: head.status,
                    body,
                    retry_after: retry_after(&head),
                },
                promise: head.header(preflight::ACCEPT_CONF).map(Promise::read),
            },
            Ok(None) if input.len() < MAX_ANSWER => Answered::Partly,
            Ok(None) | Err(_) => Answered::Failed,
        }
    }

    fn read_handshake(&self, input: &[u8], key: &Key) -> Answered {
        let head = match self.read_head(input) {
            Ok(head) => head,
            Err(answered) => return answered,
        };
        let Response { version, status, length, .. } = head;
        let headers = head.headers.iter().copied();
        match key.check(version, status, headers, self.client.offers()) {
            Ok(agreed) => Answered::Opened { agreed, length },
            Err(handshake::InvalidAnswer::Status(status)) => {
                let location = head.header("location").filter(|_| (300..400).contains(&status));
                let location = location.map(|url| String::from_utf8_lossy(url).into_owned());
                Answered::Refused { status, retry_after: retry_after(&head), location }
            }
            Err(_) => Answered::Failed,
        }
    }
}

/// Returns whether the final answer follows this one.
const fn is_interim(status: u16) -> bool {
    matches!(status, 100 | 102..=199)
}

/// Returns how long the server wants the client to wait. Dates do not count: there is no wall clock here.
fn retry_after(head: &Response<'_>) -> Option<Duration> {
    let seconds = core::str::from_utf8(head.header("retry-after")?).ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}
