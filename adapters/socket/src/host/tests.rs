//! A host and clients of bytes.

mod handshakes;
mod turns;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use std::println;

use bytes::Bytes;
use wwr::server::{Protocol, SessionEvent};
use wwr::{CloseFrame, Name};

use super::*;
use crate::memory::Memory;
use crate::server::{Ended, Handshake};
use crate::websocket::{Incoming, Role, Violation, WebSocket, WebSocketLimits};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// A host whose application answers requests and tells what it saw.
struct World {
    host: Host,
    now: Instant,
    seen: Vec<String>,
    /// Requests that are answered later.
    held: Vec<(SocketId, RequestId)>,
    logins: Vec<(SocketId, RequestId)>,
    entropy: u8,
}

/// A client that has opened a WebSocket.
struct Client {
    id: SocketId,
    socket: WebSocket,
    memory: Memory,
    /// What it sends next, in pieces of this size.
    piece: usize,
}

impl World {
    fn new(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::default();
        config.connection.protocol = Protocol::V1_4;
        change(&mut config);
        let host = Host::new(config, at(0), UnixTime::from_seconds(1_800_000_000)).unwrap();
        Self {
            host,
            now: at(0),
            seen: Vec::new(),
            held: Vec::new(),
            logins: Vec::new(),
            entropy: 0,
        }
    }

    fn accept(&mut self) -> SocketId {
        self.host.accepted(self.now, CLIENT).0
    }

    /// Lets the application handle what came.
    fn work(&mut self) {
        while let Some(event) = self.host.poll_event(self.now) {
            match event {
                HostEvent::Socket { id, event: Event::Request(request) } => {
                    self.request(id, &request);
                }
                HostEvent::Socket { id, event: Event::Session(event) } => {
                    if let SessionEvent::Created(..) = event
                        && let Some((_, request)) = self.logins.pop()
                    {
                        self.host.reply(self.now, id, request, Ok("welcome".into())).unwrap();
                    }
                    let event = format!("{event:?}");
                    let end = event.find(['(', ' ']).unwrap_or(event.len());
                    self.seen.push(format!("session {}", &event[..end]));
                }
                HostEvent::Socket { event: Event::Signal(content), .. } => {
                    self.seen.push(format!("signal {}", String::from_utf8_lossy(content.name())));
                }
                HostEvent::Socket { event, .. } => self.seen.push(format!("{event:?}")),
                other => self.seen.push(format!("{other:?}")),
            }
        }
    }

    fn request(&mut self, id: SocketId, request: &wwr::server::Request) {
        match request.content.name() {
            b"hold" => self.held.push((id, request.id)),
            b"login" => {
                self.entropy += 1;
                let info = SessionInfo::new().public("user", "ada");
                self.host.create_session(self.now, id, [self.entropy; 48], info).unwrap();
                self.logins.push((id, request.id));
            }
            b"join" => {
                self.host.join(id, "room");
                self.host.reply(self.now, id, request.id, Ok("".into())).unwrap();
            }
            _ => {
                let reply = request.content.clone().into_payload();
                self.host.reply(self.now, id, request.id, Ok(reply)).unwrap();
            }
        }
    }

    /// Sends text in pieces, and returns the text that comes back.
    fn raw(&mut self, id: SocketId, bytes: &[u8], piece: usize) -> String {
        String::from_utf8(self.raw_bytes(id, bytes, piece)).unwrap()
    }

    /// Sends raw bytes in pieces, and returns what comes back.
    fn raw_bytes(&mut self, id: SocketId, bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut answer = Vec::new();
        for piece in bytes.chunks(piece) {
            self.host.received(self.now, id, piece);
            self.work();
            answer.extend(self.take(id));
        }
        answer
    }

    /// Takes all output of a socket.
    fn take(&mut self, id: SocketId) -> Bytes {
        let output = Bytes::copy_from_slice(self.host.output(id));
        self.host.sent(self.now, id, output.len());
        output
    }

    fn handshake(path: &str) -> String {
        format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        )
    }

    fn connect(&mut self) -> Client {
        self.connect_in_pieces(usize::MAX)
    }

    fn connect_in_pieces(&mut self, piece: usize) -> Client {
        let id = self.accept();
        let answer = self.raw_bytes(id, Self::handshake("/").as_bytes(), piece);
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 2;
        let (head, rest) = (String::from_utf8(answer[..end].into()).unwrap(), &answer[end + 2..]);
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        assert!(head.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        let socket = WebSocket::new(Role::Client, WebSocketLimits::default());
        let mut client = Client { id, socket, memory: Memory::new(), piece };
        client.socket.receive(rest, &mut client.memory);
        client
    }

    /// Lets a client send what it has queued, and returns what comes to it.
    fn exchange(&mut self, client: &mut Client) -> Vec<Incoming> {
        client.socket.mask(|| [1, 2, 3, 4]);
        let output = client.socket.output().to_vec();
        client.socket.sent(self.now, output.len(), &mut client.memory);
        for piece in output.chunks(client.piece) {
            self.host.received(self.now, client.id, piece);
            self.work();
        }
        self.work();
        let bytes = self.take(client.id);
        client.socket.receive(&bytes, &mut client.memory);
        core::iter::from_fn(|| client.socket.poll(&mut client.memory)).collect()
    }

    fn ask(&mut self, client: &mut Client, id: u64, name: &str, payload: &str) -> Vec<Incoming> {
        client.request(id, name, payload);
        self.exchange(client)
    }
}

impl Client {
    /// Queues a request of 1.4 in UTF-8 (protocol §5.3).
    fn request(&mut self, id: u64, name: &str, payload: &str) {
        let mut message = Vec::from([128]);
        message.extend(id.to_le_bytes());
        message.push(name.len() as u8);
        message.extend(name.as_bytes());
        message.extend(payload.as_bytes());
        self.socket.send(&message, &mut self.memory);
    }
}

fn reply(id: u64, payload: &str) -> Incoming {
    let mut message = Vec::from([0xc0]);
    message.extend(id.to_le_bytes());
    message.extend(payload.as_bytes());
    Incoming::Message(message.into())
}

#[test]
fn requests_are_answered_however_their_bytes_are_cut() {
    for piece in [1, 2, 7, 100, usize::MAX] {
        let mut world = World::new(|_| {});
        let mut client = world.connect_in_pieces(piece);
        assert_eq!(world.seen, ["Connected"]);
        for id in 1..=100 {
            client.request(id, "echo", &format!("hello {id}"));
        }
        let expected: Vec<_> = (1..=100).map(|id| reply(id, &format!("hello {id}"))).collect();
        assert_eq!(world.exchange(&mut client), expected, "in pieces of {piece}");
        assert_eq!(world.seen.len(), 1);
    }
}

#[test]
fn requests_of_http_are_answered_on_one_socket_until_one_is_the_last() {
    let mut world = World::new(|_| {});
    let id = world.accept();
    let preflight = "WEBWIRE / HTTP/1.1\r\nHost: h\r\n\r\n";
    let options = "OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n";
    let head = "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answers = world.raw(id, [preflight, options, head, preflight].concat().as_bytes(), 3);
    let statuses: Vec<_> =
        answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "426"], "{answers}");
    assert!(answers.contains("{\"protocol-version\":\"1.4\"}\n"), "{answers}");
    assert!(answers.contains("Access-Control-Allow-Methods: WEBWIRE\r\n"), "{answers}");
    assert!(answers.ends_with("\r\n\r\n"), "no body for HEAD: {answers}");
    assert_eq!(world.host.disposition(id), Disposition::ShutDownWrite);
    world.host.end_of_input(id);
    world.work();
    assert_eq!(world.host.disposition(id), Disposition::Close);
    world.host.closed(world.now, id);
    assert_eq!(world.host.socket_count(), 0);
}

#[test]
fn what_is_no_request_is_refused() {
    let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(20_000));
    let lines = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(101));
    for (bytes, status, refusal) in [
        ("\u{16}\u{3}\u{1}\u{2}\0\r\n", "400", Refusal::NoHttp),
        ("GET / HTTP/1.1\r\n\r\n", "400", Refusal::NoHost),
        (&long, "431", Refusal::HeadTooLong),
        (&lines, "431", Refusal::HeadTooLong),
    ] {
        let mut world = World::new(|_| {});
        let id = world.accept();
        let answer = world.raw(id, bytes.as_bytes(), 1000);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes:.40}: {answer}");
        assert_eq!(world.seen, [format!("Refused({refusal:?})")]);
        assert_eq!(world.host.disposition(id), Disposition::ShutDownWrite);
    }
}

#[test]
fn a_socket_that_opens_nothing_is_closed() {
    for (bytes, times, refused) in [
        ("GET / HT", &[10_000][..], Some(Refusal::HeadTimeout)),
        ("", &[10_000], Some(Refusal::HeadTimeout)),
        ("OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n", &[10_000], None),
    ] {
        let mut world = World::new(|_| {});
        let id = world.accept();
        world.raw(id, bytes.as_bytes(), 100);
        for time in times {
            assert_eq!(world.host.next_timeout(), Some(at(*time)));
            world.host.handle_timeout(at(time - 1));
            assert_eq!(world.host.disposition(id), Disposition::Keep);
            world.host.handle_timeout(at(*time));
        }
        world.work();
        assert_eq!(world.host.disposition(id), Disposition::Close);
        assert_eq!(world.host.next_timeout(), None);
        let refused: Vec<_> = refused.iter().map(|why| format!("Refused({why:?})")).collect();
        assert_eq!(world.seen, refused);
    }
}

#[test]
fn a_flood_of_sockets_of_one_address_takes_no_slot_of_another() {
    let mut world = World::new(|config| config.limits.max_handshakes = 2);
    let other = world.host.accepted(at(0), IpAddr::V4(Ipv4Addr::LOCALHOST)).0;
    let first = world.accept();
    let (second, evicted) = world.host.accepted(at(0), CLIENT);
    assert_eq!(evicted, Some(first));
    assert_eq!(world.host.disposition(first), Disposition::Close);
    assert_eq!(world.host.poll_output(), Some(first));
    world.work();
    assert_eq!(world.seen, ["Refused(Evicted)"]);
    world.host.closed(at(0), first);
    // One that only lingers has a slot until it is closed.
    world.raw(second, b"x\r\n\r\n", 100);
    assert_eq!(world.host.disposition(second), Disposition::ShutDownWrite);
    let (third, evicted) = world.host.accepted(at(0), CLIENT);
    assert_eq!(evicted, Some(second));
    world.host.closed(at(0), second);
    let second = third;
    // Those that have a WebSocket take none.
    for id in [other, second] {
        let answer = world.raw(id, World::handshake("/").as_bytes(), 100);
        assert!(answer.starts_with("HTTP/1.1 101 "));
    }
    for _ in 0..2 {
        assert_eq!(world.host.accepted(at(0), CLIENT).1, None);
    }
}

#[test]
fn a_socket_with_a_handler_that_runs_is_not_read_beyond_its_queue() {
    let mut world = World::new(|_| {});
    let mut client = world.connect();
    client.request(1, "hold", "");
    for id in 2..=100 {
        client.request(id, "echo", "");
    }
    assert_eq!(world.exchange(&mut client), []);
    assert!(!world.host.wants_input(client.id));
    let (id, request) = world.held.pop().unwrap();
    world.host.reply(world.now, id, request, Ok("late".into())).unwrap();
    let replies = world.exchange(&mut client);
    assert_eq!(replies.len(), 100);
    assert_eq!(replies[0], reply(1, "late"));
    assert!(world.host.wants_input(client.id));
}

#[test]
fn a_client_that_does_not_read_is_not_served_any_more_and_then_disconnected() {
    let mut world = World::new(|config| config.limits.max_write_backlog = 1000);
    let mut client = world.connect();
    for id in 1..=100 {
        client.request(id, "echo", &"x".repeat(100));
    }
    client.socket.mask(|| [1, 2, 3, 4]);
    let bytes = client.socket.output().to_vec();
    world.host.received(at(0), client.id, &bytes);
    world.work();
    let waiting = world.host.output(client.id).len();
    assert!((1000..1200).contains(&waiting), "{waiting}");
    assert!(!world.host.wants_input(client.id));
    let name = Name::new("news").unwrap();
    let signal = |world: &mut World, id| world.host.signal(at(0), id, &name, &"x".into());
    assert_eq!(signal(&mut world, client.id), Err(SignalError::TooSlow));
    // It takes something, then the rest.
    world.host.sent(at(0), client.id, 10);
    assert_eq!(world.host.next_timeout(), Some(at(30_000)));
    world.host.sent(at(20_000), client.id, waiting - 10);
    world.work();
    assert!(world.host.output(client.id).len() >= 1000);
    world.host.sent(at(20_000), client.id, 0);
    world.host.handle_timeout(at(50_000));
    world.work();
    assert_eq!(world.seen, ["Connected", "Disconnected(Stalled)"]);
    assert_eq!(world.host.disposition(client.id), Disposition::Close);
    world.host.closed(at(50_000), client.id);
    assert_eq!((world.host.socket_count(), world.host.hub().connection_count()), (0, 0));
}

/// Otherwise, a loop that reads when it is told to never reads again what has come meanwhile.
#[test]
fn a_socket_is_named_to_be_read_again_when_its_client_reads_again() {
    let mut world = World::new(|_| {});
    let mut client = world.connect();
    client.request(1, "echo", "hello");
    client.socket.mask(|| [1, 2, 3, 4]);
    world.host.received(at(0), client.id, client.socket.output());
    world.work();
    while world.host.poll_output().is_some() {}
    // The socket takes nothing, then everything.
    world.host.sent(at(0), client.id, 0);
    assert!(!world.host.wants_input(client.id));
    world.take(client.id);
    assert!(world.host.wants_input(client.id));
    world.work();
    assert_eq!(world.host.poll_output(), Some(client.id));
    assert_eq!(world.host.poll_output(), None);
}

#[test]
fn how_a_connection_ends_is_told_once() {
    let close = CloseFrame::new(4001, "bye").unwrap();
    let mut world = World::new(|_| {});
    let mut client = world.connect();
    client.socket.close(&close, &mut client.memory);
    let answered = world.exchange(&mut client);
    assert_eq!(answered, [Incoming::Closed(close.clone())]);
    assert_eq!(world.host.disposition(client.id), Disposition::Close);
    world.host.closed(world.now, client.id);
    let by_client = Ended::ByClient(close);

    let mut client = world.connect();
    world.host.close(world.now, client.id);
    let closed = CloseFrame::new(1000, "closed by the server").unwrap();
    assert_eq!(world.exchange(&mut client), [Incoming::Closed(closed)]);
    assert_eq!(world.host.disposition(client.id), Disposition::Keep);
    world.exchange(&mut client);
    assert_eq!(world.host.disposition(client.id), Disposition::Close);
    world.host.closed(world.now, client.id);
    let by_server = Ended::ByServer(wwr::server::CloseReason::Requested);

    let client = world.connect();
    world.host.received(world.now, client.id, b"\x82\x00");
    world.work();
    assert_eq!(&world.take(client.id)[..4], b"\x88\x1c\x03\xea");
    assert_eq!(world.host.disposition(client.id), Disposition::ShutDownWrite);
    world.host.end_of_input(client.id);
    world.work();
    assert_eq!(world.host.disposition(client.id), Disposition::Close);
    world.host.closed(world.now, client.id);
    let violated = Ended::Violated(Violation::Masking);

    let mut client = world.connect();
    client.request(1, "echo", "last words");
    client.socket.mask(|| [0; 4]);
    world.host.received(world.now, client.id, client.socket.output());
    world.host.end_of_input(client.id);
    world.work();
    let last = world.take(client.id);
    assert!(last.ends_with(b"last words"), "what came before the end is answered");
    assert_eq!(world.host.disposition(client.id), Disposition::Close);
    world.host.closed(world.now, client.id);

    let client = world.connect();
    world.host.closed(world.now, client.id);
    world.work();
    let ends = [by_client, by_server, violated, Ended::Lost, Ended::Lost];
    let expected: Vec<_> = ends
        .iter()
        .flat_map(|end| ["Connected".into(), format!("Disconnected({end:?})")])
        .collect();
    assert_eq!(world.seen, expected);
    assert_eq!((world.host.socket_count(), world.host.hub().connection_count()), (0, 0));
}

#[test]
fn a_session_is_created_restored_and_closed_by_its_key() {
    let mut world = World::new(|_| {});
    let mut client = world.connect();
    let told = world.ask(&mut client, 1, "login", "");
    let Incoming::Message(created) = &told[0] else { panic!("{told:?}") };
    assert_eq!(created[0], 21);
    assert_eq!(told[1], reply(1, "welcome"));
    let key = world.host.socket(client.id).unwrap().session().unwrap().key.clone();
    assert_eq!(world.host.stored_sessions(), 1);
    world.host.closed(world.now, client.id);

    let mut again = world.connect();
    let mut restore = Vec::from([32]);
    restore.extend(2_u64.to_le_bytes());
    restore.extend(key.as_str().as_bytes());
    again.socket.send(&restore, &mut again.memory);
    let restored = world.exchange(&mut again);
    let Incoming::Message(reply) = &restored[0] else { panic!("{restored:?}") };
    assert!(String::from_utf8_lossy(reply).contains("ada"), "{restored:?}");
    let waiter = world.host.close_session(world.now, key, true);
    let told = world.exchange(&mut again);
    assert_eq!(told[0], Incoming::Message(Bytes::from_static(&[22])));
    assert!(matches!(told[1], Incoming::Closed(_)));
    assert_eq!(world.host.stored_sessions(), 0);
    let done = HostEvent::SessionClosed { waiter, told: 1, result: Ok(()) };
    assert!(world.seen.contains(&format!("{done:?}")), "{:?}", world.seen);
}

#[test]
fn members_of_a_group_get_its_signals() {
    let mut world = World::new(|_| {});
    let (mut one, mut two, mut three) = (world.connect(), world.connect(), world.connect());
    for client in [&mut one, &mut two] {
        world.ask(client, 1, "join", "");
    }
    let news = PreparedSignal::new("news", "tea").unwrap();
    let sent = world.host.signal_group(world.now, "room", &news);
    assert_eq!(sent, GroupSignal { sent: 2, ..Default::default() });
    for (client, count) in [(&mut one, 1), (&mut two, 1), (&mut three, 0)] {
        let told = world.exchange(client);
        assert_eq!(told, std::vec![Incoming::Message(news.frame().clone()); count]);
    }
}

#[test]
fn a_shutdown_waits_for_handlers_and_closes_everything() {
    let mut world = World::new(|_| {});
    let (mut busy, mut idle, http) = (world.connect(), world.connect(), world.accept());
    world.ask(&mut busy, 1, "hold", "");
    world.host.shut_down(world.now, Duration::from_secs(5));
    let refused = world.ask(&mut idle, 2, "echo", "x");
    assert!(matches!(&refused[..], [Incoming::Message(reply)] if reply.len() == 9), "{refused:?}");
    let (id, request) = world.held.pop().unwrap();
    world.host.reply(world.now, id, request, Ok("done".into())).unwrap();
    let last = world.exchange(&mut busy);
    assert_eq!(last[0], reply(1, "done"));
    let going =
        |incoming: &Incoming| matches!(incoming, Incoming::Closed(frame) if frame.code() == 1001);
    assert!(going(&last[1]), "{last:?}");
    assert!(world.exchange(&mut idle).iter().any(going));
    for client in [&mut busy, &mut idle] {
        world.exchange(client);
        assert_eq!(world.host.disposition(client.id), Disposition::Close);
        world.host.closed(world.now, client.id);
    }
    world.work();
    assert_eq!(world.seen.last().map(String::as_str), Some("Stopped"), "{:?}", world.seen);
    assert_eq!(world.host.disposition(http), Disposition::Close);
}

#[test]
fn the_application_decides_on_requests_if_it_is_asked() {
    let mut world = World::new(|config| config.asks_application = true);
    let ask = |world: &mut World, decision: Result<HandshakeOptions, _>| {
        let id = world.accept();
        let offer = "\r\nSec-WebSocket-Protocol: chat, other\r\n\r\n";
        let head = World::handshake("/room?token=7").replace("\r\n\r\n", offer);
        world.host.received(at(0), id, head.as_bytes());
        let Some(HostEvent::Socket { event: Event::Handshake(asked), .. }) =
            world.host.poll_event(at(0))
        else {
            panic!("the application is not asked");
        };
        let Handshake { method, target, headers, upgrade } = *asked;
        assert_eq!((&*method, &*target, upgrade), ("GET", "/room?token=7", Ok(())));
        assert!(headers.contains(&("Sec-WebSocket-Version".into(), b"13".into())));
        world.host.answer(at(0), id, decision);
        world.work();
        String::from_utf8_lossy(&world.take(id)).into_owned()
    };
    let mut options = HandshakeOptions::default();
    options.headers.push(("Set-Cookie".into(), "a=b".into()));
    options.sub_protocol = Some("other".into());
    let answer = ask(&mut world, Ok(options.clone()));
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    for line in ["Set-Cookie: a=b\r\n", "Sec-WebSocket-Protocol: other\r\n"] {
        assert!(answer.contains(line), "{answer}");
    }
    for spoiled in [("X", "a\r\nY: b"), ("Sec-WebSocket-Accept", "x"), ("X Y", "z")] {
        let mut options = options.clone();
        options.headers.push((spoiled.0.into(), spoiled.1.into()));
        assert!(ask(&mut world, Ok(options)).starts_with("HTTP/1.1 500 "), "{spoiled:?}");
    }
    options.sub_protocol = Some("unheard".into());
    assert!(ask(&mut world, Ok(options)).starts_with("HTTP/1.1 500 "));
    let own = wwr::server::gate::Answer { status: 401, headers: [].into(), body: "no".into() };
    assert!(ask(&mut world, Err(own)).starts_with("HTTP/1.1 401 Unauthorized\r\n"));
    assert!(world.seen.contains(&"Refused(ByApplication)".into()));
}

#[test]
fn clients_of_all_versions_are_told_apart() {
    let mut world = World::new(|config| config.connection.protocol = Protocol::Any);
    let id = world.accept();
    world.raw(id, b"WEBWIRE / HTTP/1.1\r\nHost: h\r\n\r\n", 100);
    // From the address of a preflight: nothing is sent until it is known what it speaks.
    let mut client = world.connect();
    assert_eq!(world.host.socket(client.id).unwrap().dialect(), None);
    assert_eq!(world.ask(&mut client, 1, "echo", "x").last(), Some(&reply(1, "x")));
    assert_eq!(world.host.socket(client.id).unwrap().dialect(), Some(wwr::Dialect::V1_4));
    // The next one follows no preflight.
    let mut client = world.connect();
    assert_ne!(world.host.socket(client.id).unwrap().dialect(), Some(wwr::Dialect::V1_4));
    let conf: Vec<_> = core::iter::from_fn(|| client.socket.poll(&mut client.memory)).collect();
    assert!(matches!(&conf[..], [Incoming::Message(_)]), "{conf:?}");
}

#[test]
fn an_idle_connection_is_small_and_requests_allocate_nothing() {
    let mut world = World::new(|_| {});
    let mut clients = Vec::new();
    let held = allocation_counter::measure(|| {
        for _ in 0..1000 {
            let mut client = world.connect();
            assert_eq!(world.ask(&mut client, 1, "echo", "x"), [reply(1, "x")]);
            clients.push(client.id);
        }
        world.seen = Vec::new();
    });
    let each = held.bytes_current / 1000;
    println!("an idle connection: {each} bytes of heap");
    assert!(each < 1536, "{each} bytes");

    let mut client = world.connect();
    client.request(1, "echo", "hello");
    client.socket.mask(|| [1, 2, 3, 4]);
    let bytes = client.socket.output().to_vec();
    let (host, now) = (&mut world.host, world.now);
    let mut round = || {
        host.received(now, client.id, &bytes);
        while let Some(event) = host.poll_event(now) {
            let HostEvent::Socket { id, event: Event::Request(request) } = event else { continue };
            let (request, payload) = (request.id, request.content.into_payload());
            host.reply(now, id, request, Ok(payload)).unwrap();
        }
        while let Some(id) = host.poll_output() {
            let sent = host.output(id).len();
            host.sent(now, id, sent);
        }
    };
    (0..1000).for_each(|_| round());
    let allocated = allocation_counter::measure(|| (0..10_000).for_each(|_| round()));
    println!("10 000 requests: {} allocations", allocated.count_total);
    assert_eq!(allocated.count_total, 0, "{allocated:?}");
}
