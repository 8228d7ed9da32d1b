//! A client and a host, byte for byte.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use wwr::client::{ConnectError, DisconnectReason, Protocol};
use wwr::server::{self, Protocol as ServerProtocol};
use wwr::{SessionInfo, UnixTime};

use super::*;
use crate::host::{Host, HostEvent};
use crate::server::{Disposition, Event as ServerEvent, ServerConfig, SocketId};

/// A client, a host, and the stream between them.
struct Pair {
    client: ClientSocket,
    host: Host,
    now: Instant,
    stream: Option<SocketId>,
    /// How many bytes go at once.
    piece: usize,
    events: Vec<ClientEvent>,
    logins: Vec<(SocketId, server::RequestId)>,
    connects: usize,
}

impl Pair {
    fn new(server: ServerProtocol, client: Protocol, piece: usize) -> Self {
        let mut config = ServerConfig::default();
        config.connection.protocol = server;
        let host =
            Host::new(config, Instant::EPOCH, UnixTime::from_seconds(1_800_000_000)).unwrap();
        let mut config = Config::default();
        config.protocol = client;
        let target = Target::parse("ws://localhost/").unwrap();
        let client = ClientSocket::new(&config.validate().unwrap(), target, 7);
        Self {
            client,
            host,
            now: Instant::EPOCH,
            stream: None,
            piece,
            events: Vec::new(),
            logins: Vec::new(),
            connects: 0,
        }
    }

    /// Goes on until nothing happens any more.
    fn settle(&mut self) {
        loop {
            let mut moved = self.client_events() | self.host_events();
            if let Some(id) = self.stream {
                let mut counter = 0;
                self.client.mask(|| {
                    counter += 1;
                    [counter, 2, 3, 4]
                });
                let output = self.client.output();
                let piece = output[..output.len().min(self.piece)].to_vec();
                if !piece.is_empty() {
                    self.client.sent(self.now, piece.len());
                    self.host.received(self.now, id, &piece);
                    moved = true;
                }
                let output = self.host.output(id);
                let piece = output[..output.len().min(self.piece)].to_vec();
                if !piece.is_empty() {
                    self.host.sent(self.now, id, piece.len());
                    self.client.received(self.now, &piece);
                    moved = true;
                }
                if self.host.disposition(id) != Disposition::Keep {
                    self.cut();
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn client_events(&mut self) -> bool {
        let mut moved = false;
        while let Some(event) = self.client.poll_event(self.now) {
            moved = true;
            match event {
                ClientEvent::Connect => {
                    self.connects += 1;
                    assert_eq!(self.stream, None, "one stream at a time");
                    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
                    self.stream = Some(self.host.accepted(self.now, from).0);
                    self.client.connected(self.now, [self.connects as u8; 16]);
                }
                ClientEvent::Disconnect => {
                    if let Some(id) = self.stream.take() {
                        self.client.mask(|| [9; 4]);
                        let last = self.client.output().to_vec();
                        self.host.received(self.now, id, &last);
                        self.host.end_of_input(id);
                        self.host_events();
                        self.host.closed(self.now, id);
                    }
                }
                event => self.events.push(event),
            }
        }
        moved
    }

    fn host_events(&mut self) -> bool {
        let mut moved = false;
        while let Some(event) = self.host.poll_event(self.now) {
            moved = true;
            let HostEvent::Socket { id, event } = event else { continue };
            match event {
                ServerEvent::Request(request) if request.content.name() == b"login" => {
                    let info = SessionInfo::new().public("user", "ada");
                    self.host.create_session(self.now, id, [7; 48], info).unwrap();
                    self.logins.push((id, request.id));
                }
                ServerEvent::Request(request) => {
                    let reply = Ok(request.content.into_payload());
                    self.host.reply(self.now, id, request.id, reply).unwrap();
                }
                ServerEvent::Session(server::SessionEvent::Created(..)) => {
                    let (id, request) = self.logins.pop().unwrap();
                    self.host.reply(self.now, id, request, Ok("welcome".into())).unwrap();
                }
                _ => {}
            }
        }
        moved
    }

    /// The network fails.
    fn cut(&mut self) {
        if let Some(id) = self.stream.take() {
            self.host.closed(self.now, id);
            self.client.ended(self.now);
        }
    }

    /// Lets time pass until the client has something to do.
    fn wait(&mut self) {
        self.now = self.client.next_timeout().expect("the client waits for something");
        self.client.handle_timeout(self.now);
        self.settle();
    }

    fn ask(&mut self, name: &str, payload: &'static str) -> RequestId {
        let name = Name::new(name).unwrap();
        self.client.request(self.now, name, payload.into(), None).unwrap()
    }

    fn outcome(&self, of: RequestId) -> &Outcome {
        let mut outcomes = self.events.iter().filter_map(|event| match event {
            ClientEvent::Done { id, outcome } if *id == of => Some(outcome),
            _ => None,
        });
        let outcome = outcomes.next().expect("no outcome");
        assert!(outcomes.next().is_none(), "one outcome");
        outcome
    }

    fn has(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(|event| matches!(event, ClientEvent::Event(event) if wanted(event)))
    }
}

const PAIRS: [(ServerProtocol, Protocol); 7] = [
    (ServerProtocol::Any, Protocol::Auto),
    (ServerProtocol::V1_4, Protocol::Auto),
    (ServerProtocol::V1_5, Protocol::Auto),
    (ServerProtocol::V2_0, Protocol::Auto),
    (ServerProtocol::Any, Protocol::V1_4),
    (ServerProtocol::AnyAs1_5, Protocol::V1_5),
    (ServerProtocol::Any, Protocol::V2_0),
];

#[test]
fn every_version_is_spoken_however_the_bytes_are_cut() {
    for (server, client) in PAIRS {
        for piece in [1, 7, usize::MAX] {
            let mut pair = Pair::new(server, client, piece);
            pair.client.connect(Instant::EPOCH);
            // Sent before there is a connection: queued.
            let early = pair.ask("echo", "early");
            pair.settle();
            while pair.client.client().status() != wwr::client::Status::Connected {
                pair.wait();
            }
            let late = pair.ask("echo", "late");
            pair.settle();
            for (id, payload) in [(early, "early"), (late, "late")] {
                let outcome = pair.outcome(id).as_ref().unwrap();
                assert_eq!(
                    outcome.as_bytes(),
                    payload.as_bytes(),
                    "{server:?}, {client:?}, {piece}"
                );
            }
            pair.client.close(pair.now);
            pair.settle();
            assert_eq!(pair.stream, None);
            assert_eq!(pair.host.hub().connection_count(), 0);
        }
    }
}

#[test]
fn a_session_survives_a_cut_and_requests_end_once() {
    let mut pair = Pair::new(ServerProtocol::Any, Protocol::Auto, 100);
    pair.client.connect(Instant::EPOCH);
    let login = pair.ask("login", "ada");
    pair.settle();
    assert!(pair.outcome(login).is_ok());
    let key = pair.client.client().session().unwrap().key.clone();
    let before = pair.ask("echo", "before");
    pair.cut();
    pair.settle();
    let during = pair.ask("echo", "during");
    pair.settle();
    let lost = |event: &Event| {
        matches!(event, Event::Disconnected { reason: DisconnectReason::Lost, retry: Some(_) })
    };
    assert!(pair.has(lost));
    while pair.client.client().status() != wwr::client::Status::Connected {
        pair.wait();
    }
    let lost = Err(wwr::client::RequestError::ConnectionLost);
    assert_eq!(*pair.outcome(before), lost, "it may have arrived");
    assert!(pair.outcome(during).is_ok(), "{:?}", pair.events);
    assert!(pair.has(|event| matches!(event, Event::SessionRestored(_))));
    assert_eq!(pair.client.client().session().unwrap().key, key);
}

#[test]
fn a_server_that_is_none_of_webwire_is_told_as_such() {
    let mut pair = Pair::new(ServerProtocol::Any, Protocol::Auto, 1000);
    let now = Instant::EPOCH;
    for (answer, redirected) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", None),
        (
            "HTTP/1.1 302 Found\r\nLocation: ws://other/\r\nContent-Length: 0\r\n\r\n",
            Some("ws://other/"),
        ),
        ("SSH-2.0-OpenSSH\r\n", None),
        ("", None),
    ] {
        pair.client.close(now);
        while pair.client.poll_event(now).is_some() {}
        pair.client.connect(now);
        let mut failed = None;
        let mut location = None;
        for _ in 0..10 {
            match pair.client.poll_event(now) {
                Some(ClientEvent::Connect) => {
                    pair.client.connected(now, [1; 16]);
                    // In two pieces, behind an interim answer.
                    pair.client.received(now, b"HTTP/1.1 100 Continue\r\n\r\nHTTP");
                    if let Some(rest) = answer.strip_prefix("HTTP") {
                        pair.client.received(now, rest.as_bytes());
                    } else {
                        pair.client.received(now, answer.as_bytes());
                    }
                    pair.client.ended(now);
                }
                Some(ClientEvent::Event(Event::ConnectFailed { error, .. })) => {
                    failed = Some(error);
                    break;
                }
                Some(ClientEvent::Redirected { location: to, .. }) => location = Some(to),
                _ => {}
            }
        }
        assert!(
            matches!(
                failed,
                Some(
                    ConnectError::NotWebWire { .. }
                        | ConnectError::ProbeFailed
                        | ConnectError::DialFailed
                )
            ),
            "{answer}: {failed:?}"
        );
        assert_eq!(location.as_deref(), redirected, "{answer}");
    }
}

#[test]
fn an_answer_without_an_end_is_given_up() {
    let mut pair = Pair::new(ServerProtocol::Any, Protocol::Auto, 1000);
    let now = Instant::EPOCH;
    // A chunk whose extension goes on for ever, chunks of one byte with long extensions, trailers, a head.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let small_chunk = alloc::format!("1;{}\r\nx\r\n", "y".repeat(1000));
    for (head, more) in [
        (alloc::format!("{chunked}1;"), "y".repeat(1000)),
        (chunked.into(), small_chunk),
        ("HTTP/1.1 200 OK\r\n".into(), "a: b\r\n".into()),
        ("HTTP/1.1 200 OK\r\nA: ".into(), "b".repeat(1000)),
        ("HTTP/1.1 200 OK\r\n\r\n".into(), "y".repeat(1000)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n".into(), "y".repeat(1000)),
    ] {
        pair.client.close(now);
        while pair.client.poll_event(now).is_some() {}
        pair.client.connect(now);
        assert_eq!(pair.client.poll_event(now), Some(ClientEvent::Connect));
        pair.client.connected(now, [1; 16]);
        pair.client.received(now, head.as_bytes());
        assert_eq!(pair.client.poll_event(now), None);
        let mut received = head.len();
        while pair.client.poll_event(now) != Some(ClientEvent::Disconnect) {
            assert!(received < 300_000, "{head}: {received} bytes are kept");
            pair.client.received(now, more.as_bytes());
            received += more.len();
        }
    }
}

#[test]
fn a_reply_that_is_kept_holds_a_chunk_of_the_chosen_size() {
    for size in [1024, 16 * 1024] {
        let mut pair = Pair::new(ServerProtocol::V1_4, Protocol::V1_4, usize::MAX);
        pair.client = core::mem::replace(
            &mut pair.client,
            ClientSocket::new(&Valid::default(), Target::parse("ws://localhost/").unwrap(), 1),
        )
        .with_receive_chunk(size);
        pair.client.connect(Instant::EPOCH);
        pair.ask("echo", "first");
        pair.settle();
        // A reply of two thirds of a chunk: the next one does not fit behind it.
        let kept = allocation_counter::measure(|| {
            for _ in 0..20 {
                let name = Name::new("echo").unwrap();
                let payload = Payload::utf8("x".repeat(size * 2 / 3));
                pair.client.request(pair.now, name, payload, None).unwrap();
                pair.settle();
            }
        });
        let each = kept.bytes_current as usize / 20;
        assert!((size..size + size / 2).contains(&each), "{size}: {each}");
    }
}

/// Otherwise its pings would fill the memory of the client.
#[test]
fn a_server_that_takes_little_and_pings_is_read_as_much_as_its_pings_are_answered() {
    let mut pair = Pair::new(ServerProtocol::V2_0, Protocol::V2_0, usize::MAX);
    pair.client = pair.client.with_max_backlog(1000);
    pair.client.connect(pair.now);
    pair.settle();
    assert!(pair.has(|event| *event == Event::Connected));
    let ping = [&[0x89, 125][..], &[7; 125]].concat();
    let (mut received, mut taken) = (0, 0);
    for _ in 0..10_000 {
        while pair.client.wants_input() {
            pair.client.received(pair.now, &ping);
            received += 1;
            assert_eq!(pair.client.poll_event(pair.now), None);
            pair.client.mask(|| [1, 2, 3, 4]);
        }
        assert!(pair.client.backlog() < 1200);
        pair.client.sent(pair.now, 1);
        taken += 1;
    }
    // A pong is as long as a masked frame is: 131 bytes.
    assert!(received <= 10 + taken / 131, "{received} pings for {taken} bytes");
}
