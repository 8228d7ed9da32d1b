//! A client, and servers of bytes.

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use wwr::client::{Config, Protocol};
use wwr::server::gate::{Answer, Decision, Head, HttpVersion, Origins, Terms, decide};
use wwr::{Instant, Name, Valid};
use wwr_socket::client::{ClientEvent, ClientSocket, Target};

use super::{Accepts, NOW, served};

/// The bytes of the random source, from which the key of `served::HANDSHAKE` is made.
const ENTROPY: [u8; 16] = [1; 16];

/// How many streams a client gets.
const STREAMS: usize = 4;

const METADATA: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"protocol-version\":\"1.4\"}\n";

/// What a client speaks.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Setting {
    Auto,
    V1_4 { preflight: bool },
    V1_5,
    V2_0,
}

/// The answer that opens a WebSocket.
pub(crate) fn opening() -> Vec<u8> {
    let lines = std::str::from_utf8(served::HANDSHAKE).unwrap().lines().skip(1);
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name, value.as_bytes()));
    let head = Head::new("GET", "/", HttpVersion::Http11, headers);
    let terms =
        Terms { metadata: None, origins: &Origins::Any, selects_wwr1: false, shutting_down: false };
    let Decision::Ask { upgrade: Ok(accept) } = decide(&head, &terms) else { unreachable!() };
    let mut answer = String::from("HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in Answer::switching(&accept).headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    (answer + "\r\n").into()
}

/// Returns whether an answer may open a WebSocket.
pub(crate) fn opens(answer: &[u8]) -> bool {
    let opening = opening();
    let name = b"Sec-WebSocket-Accept: ";
    let at = opening.windows(name.len()).position(|bytes| bytes == name).unwrap() + name.len();
    let accept = &opening[at..at + 28];
    answer.windows(accept.len()).any(|bytes| bytes == accept)
}

impl Setting {
    fn config(self) -> Valid<Config> {
        let mut config = Config::default();
        config.protocol = match self {
            Self::Auto => Protocol::Auto,
            Self::V1_4 { .. } => Protocol::V1_4,
            Self::V1_5 => Protocol::V1_5,
            Self::V2_0 => Protocol::V2_0,
        };
        config.skip_preflight = matches!(self, Self::V1_4 { preflight: false });
        config.max_message_size = 8192;
        config.validate().unwrap()
    }

    /// Connects to servers that send these pieces, behind metadata to each request for that. Returns what happens.
    pub(crate) fn run(self, pieces: &[&[u8]], accepts: &[u8]) -> (Vec<String>, Vec<u8>) {
        let target = Target::parse("ws://h/").unwrap();
        let mut seen = Run {
            client: ClientSocket::new(&self.config(), target, 7).with_receive_chunk(256),
            now: NOW,
            accepts: Accepts::new(accepts),
            events: Vec::new(),
            sent: Vec::new(),
            wants_stream: false,
            outcomes: 0,
        };
        seen.client.connect(NOW);
        seen.client.request(NOW, Name::new("echo").unwrap(), "hello".into(), None).unwrap();
        for _ in 0..STREAMS {
            seen.settle();
            if !std::mem::take(&mut seen.wants_stream) {
                // The next attempt.
                let Some(due) = seen.client.next_timeout() else { break };
                seen.now = seen.now.max(due);
                seen.client.handle_timeout(seen.now);
                assert!(seen.client.next_timeout().is_none_or(|next| next > seen.now));
                continue;
            }
            seen.client.connected(seen.now, ENTROPY);
            let asks = seen.client.output().starts_with(b"WEBWIRE");
            seen.settle();
            if asks {
                seen.client.received(seen.now, METADATA);
                seen.settle();
            }
            for piece in pieces {
                if seen.wants_stream {
                    break;
                }
                assert!(seen.client.wants_input());
                seen.client.received(seen.now, piece);
                seen.settle();
            }
            if !seen.wants_stream {
                seen.client.ended(seen.now);
            }
        }
        seen.client.close(seen.now);
        seen.settle();
        assert_eq!(seen.outcomes, 1);
        (seen.events, seen.sent)
    }
}

struct Run<'a> {
    client: ClientSocket,
    now: Instant,
    accepts: Accepts<'a>,
    events: Vec<String>,
    sent: Vec<u8>,
    wants_stream: bool,
    outcomes: usize,
}

impl Run<'_> {
    /// Goes on until nothing happens any more.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            if let Some(event) = self.client.poll_event(self.now) {
                moved = true;
                match &event {
                    ClientEvent::Connect => self.wants_stream = true,
                    ClientEvent::Done { .. } => self.outcomes += 1,
                    _ => {}
                }
                self.events.push(format!("{event:?}"));
            }
            self.client.mask(|| [1, 2, 3, 4]);
            let output = self.client.output();
            if !output.is_empty() {
                moved = true;
                let length = self.accepts.next(output.len());
                self.sent.extend(&output[..length]);
                self.client.sent(self.now, length);
            }
            if !moved {
                return;
            }
        }
    }
}
