//! The server and the client that block, on sockets of the system.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use wwr::client::{Config, Protocol};
use wwr::server::gate::{Answer, Decision, Head, HttpVersion, Origins, Terms, decide};
use wwr::server::{RequestError, SessionEvent};
use wwr::{Name, SessionInfo};
use wwr_socket::blocking::{CallError, Client, EventLoop, NotConnected, Stop};
use wwr_socket::host::HostEvent;
use wwr_socket::server::{Ended, Event, ServerConfig};

const SAFETY: Duration = Duration::from_secs(60);

/// A server that echoes, on a thread of its own.
struct Server {
    address: SocketAddr,
    stop: Stop,
    thread: Option<thread::JoinHandle<()>>,
    /// How connections ended.
    ends: mpsc::Receiver<Ended>,
}

impl Server {
    fn start() -> Self {
        Self::on("127.0.0.1:0".parse().unwrap())
    }

    fn on(address: SocketAddr) -> Self {
        let mut event_loop = EventLoop::bind(address, ServerConfig::default()).unwrap();
        let (address, stop) = (event_loop.local_addr(), event_loop.stop());
        let (ended, ends) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut logins = Vec::new();
            let served = event_loop.run(|host, now, event| {
                let HostEvent::Socket { id, event } = event else { return };
                match event {
                    Event::Request(request) => match request.content.name() {
                        b"login" => {
                            let info = SessionInfo::new().public("user", "ada");
                            EventLoop::create_session(host, now, id, info).unwrap();
                            logins.push((id, request.id));
                        }
                        b"fail" => {
                            let error = RequestError::failed("FAILED", "on purpose");
                            host.reply(now, id, request.id, Err(error)).unwrap();
                        }
                        b"tell" => {
                            let name = Name::new("told").unwrap();
                            let payload = request.content.clone().into_payload();
                            host.signal(now, id, &name, &payload).unwrap();
                            host.reply(now, id, request.id, Ok("".into())).unwrap();
                        }
                        _ => {
                            let payload = request.content.into_payload();
                            host.reply(now, id, request.id, Ok(payload)).unwrap();
                        }
                    },
                    Event::Session(SessionEvent::Created(..)) => {
                        let (id, request) = logins.pop().unwrap();
                        host.reply(now, id, request, Ok("welcome".into())).unwrap();
                    }
                    Event::Disconnected(end) => drop(ended.send(end)),
                    _ => {}
                }
            });
            served.unwrap();
        });
        Self { address, stop, thread: Some(thread), ends }
    }

    fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.shut_down(Duration::ZERO).unwrap();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking());
    }
}

#[test]
fn requests_are_answered_and_signals_come() {
    let server = Server::start();
    let client = Client::connect(&server.url()).unwrap();
    assert_eq!(client.request("echo", "hello").unwrap().as_bytes(), b"hello");
    let large = "x".repeat(500_000);
    assert_eq!(client.request("echo", large.as_str()).unwrap().as_bytes(), large.as_bytes());
    assert!(matches!(client.request("fail", ""), Err(CallError::Request(_))));
    client.request("tell", "news").unwrap();
    let signal = client.next_signal(SAFETY).unwrap();
    assert_eq!((signal.name(), signal.text().unwrap().as_ref()), (&b"told"[..], "news"));
    drop(client);
    let end = server.ends.recv_timeout(SAFETY).unwrap();
    assert!(matches!(end, Ended::ByClient(_)), "{end:?}");
}

#[test]
fn many_clients_are_served_on_one_thread() {
    let server = Server::start();
    thread::scope(|scope| {
        for client in 0..8 {
            let url = server.url();
            scope.spawn(move || {
                let connected = Client::connect(&url).unwrap();
                for request in 0..100 {
                    let payload = format!("{client} {request}");
                    let reply = connected.request("echo", payload.as_str()).unwrap();
                    assert_eq!(reply.as_bytes(), payload.as_bytes());
                }
            });
        }
    });
}

#[test]
fn a_client_returns_after_its_server_does() {
    let server = Server::start();
    let client = Client::connect(&server.url()).unwrap();
    client.request("echo", "before").unwrap();
    let address = server.address;
    drop(server);
    let server = Server::on(address);
    let reply = client.request_within(SAFETY, "echo", "after").unwrap();
    assert_eq!(reply.as_bytes(), b"after");
    drop(client);
    drop(server);
}

#[test]
fn a_request_ends_in_time_if_nobody_listens() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::connect(&format!("ws://{nobody}/")).unwrap();
    let ended = client.request_within(Duration::from_millis(10), "echo", "x");
    assert!(matches!(ended, Err(CallError::Request(_))), "{ended:?}");
    assert!(Client::connect("http://localhost/").is_err());
}

#[test]
fn a_client_that_waits_for_its_connection_hears_why_there_is_none() {
    let server = Server::start();
    let client = Client::connect(&format!("ws://{}/", server.address)).unwrap();
    assert_eq!(client.wait_connected(SAFETY), Ok(()));
    client.signal("news", "x").unwrap();

    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = Client::connect(&format!("ws://{}/", elsewhere.local_addr().unwrap())).unwrap();
    assert_eq!(client.wait_connected(Duration::ZERO), Err(NotConnected::Pending));
    let redirects = thread::spawn(move || {
        // The preflight, then the handshake.
        for _ in 0..2 {
            let (mut socket, _) = elsewhere.accept().unwrap();
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                socket.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let answer =
                b"HTTP/1.1 301 Moved\r\nLocation: ws://other/\r\nContent-Length: 0\r\n\r\n";
            socket.write_all(answer).unwrap();
        }
    });
    redirects.join().unwrap();
    let redirected = NotConnected::Redirected { status: 301, location: "ws://other/".to_owned() };
    let waits = std::time::Instant::now();
    loop {
        match client.wait_connected(Duration::from_millis(1)) {
            Err(why) if why == redirected => break,
            other => assert!(waits.elapsed() < SAFETY, "{other:?}"),
        }
    }
}

#[test]
fn a_client_that_only_writes_stops_nobody() {
    let server = Server::start();
    let mut flood = TcpStream::connect(server.address).unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address
    );
    flood.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 12];
    flood.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    // Requests without end, until the server reads no more. It does not buffer their replies for ever.
    flood.set_nonblocking(true).unwrap();
    let frame =
        [&b"\x82\xfe\x04\x0a\0\0\0\0\x7f\x01\0\0\0\0\0\0\0\x04echo"[..], &[0; 1020]].concat();
    let frame = &frame[..8 + 0x40a];
    let client = Client::connect(&server.url()).unwrap();
    let (mut sent, mut idle) = (0, 0);
    while idle < 20 {
        // A write goes on where the last one stopped.
        match flood.write(&frame[sent % frame.len()..]) {
            Ok(length) => (sent, idle) = (sent + length, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => idle += 1,
            Err(error) => panic!("the server has closed the connection: {error}"),
        }
        assert!(sent < 100 << 20, "the server reads what it cannot answer");
        client.request("echo", "still there").unwrap();
    }
}

#[test]
fn the_end_of_a_client_is_noticed_although_it_comes_with_its_last_bytes() {
    let server = Server::start();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address
    );
    for _ in 0..50 {
        let mut client = TcpStream::connect(server.address).unwrap();
        client.write_all(head.as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(server.ends.recv_timeout(Duration::from_secs(10)), Ok(Ended::Lost));
    }
}

/// A server that has opened a WebSocket, and reads when the test does.
fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let headers = lines.map(|(name, value)| (name, value.as_bytes()));
    let head = Head::new("GET", "/", HttpVersion::Http11, headers);
    let terms =
        Terms { metadata: None, origins: &Origins::Any, selects_wwr1: false, shutting_down: false };
    let Decision::Ask { upgrade: Ok(accept) } = decide(&head, &terms) else { panic!("{head:?}") };
    let mut answer = String::from("HTTP/1.1 101 Switching Protocols\r\n");
    for (name, value) in Answer::switching(&accept).headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all((answer + "\r\n").as_bytes()).unwrap();
    stream
}

/// A client of 1.4 that sends no preflight, and its server.
fn connected() -> (Client, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = Config::default();
    config.protocol = Protocol::V1_4;
    config.skip_preflight = true;
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let client = Client::with(&url, &config.validate().unwrap()).unwrap();
    (client, accept(&listener))
}

/// Sends a signal as soon as the client is connected.
fn signal(client: &Client, payload: &str) {
    while let Err(error) = client.signal("news", payload) {
        assert!(matches!(error, CallError::Misuse(_)), "{error}");
        thread::yield_now();
    }
}

#[test]
fn the_close_frame_comes_behind_all_that_the_server_has_yet_to_read() {
    let (client, mut server) = connected();
    // More than the system takes.
    let sent = 24 << 20;
    signal(&client, &"x".repeat(sent));
    let (closing, closes) = mpsc::channel();
    let reading = thread::spawn(move || {
        closes.recv().unwrap();
        let mut received = Vec::new();
        server.read_to_end(&mut received).unwrap();
        received
    });
    closing.send(()).unwrap();
    drop(client);
    let received = reading.join().unwrap();
    assert!(received.len() > sent, "{} bytes", received.len());
    // A masked close frame with a code and no reason.
    let [.., first, second, key_0, key_1, _, _, code_0, code_1] = received[..] else { panic!() };
    assert_eq!([first, second, key_0 ^ code_0, key_1 ^ code_1], [0x88, 0x82, 0x03, 0xe8]);
}

#[test]
fn a_signal_waits_while_the_server_does_not_read() {
    const COUNT: usize = 1000;
    let (client, mut server) = connected();
    signal(&client, "first");
    let payload = "x".repeat(64 * 1024);
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..COUNT {
                client.signal("news", payload.as_str()).unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Until nothing moves any more.
        let (mut before, mut same) = (0, 0);
        while same < 100 {
            thread::sleep(Duration::from_millis(5));
            let now = sent.load(Ordering::Relaxed);
            same = if now == before && now > 0 { same + 1 } else { 0 };
            before = now;
        }
        assert!(before < COUNT, "the client keeps all that the server does not read");
        let (mut received, mut buffer) = (0, vec![0; 1 << 20]);
        while received < COUNT * payload.len() {
            received += server.read(&mut buffer).unwrap();
        }
    });
    assert_eq!(sent.into_inner(), COUNT);
}

#[test]
fn one_thread_that_waits_for_a_signal_holds_up_no_other() {
    let server = Server::start();
    let client = Client::connect(&server.url()).unwrap();
    client.request("echo", "").unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| client.next_signal(SAFETY));
        for _ in 0..100 {
            assert_eq!(client.next_signal(Duration::from_millis(1)), None);
        }
        client.request("tell", "news").unwrap();
        assert_eq!(waiting.join().unwrap().unwrap().payload(), b"news");
    });
}

#[test]
fn signals_that_nobody_takes_are_dropped_and_counted() {
    let server = Server::start();
    let client = Client::connect(&server.url()).unwrap();
    for number in 0..1030 {
        client.request("tell", number.to_string()).unwrap();
    }
    assert_eq!(client.missed_signals(), 6);
    for number in 0..1024 {
        let signal = client.next_signal(Duration::ZERO).unwrap();
        assert_eq!(signal.payload(), number.to_string().as_bytes());
    }
    assert_eq!(client.next_signal(Duration::ZERO), None);
    // Few large ones count as well: 4 MiB wait.
    let large = "x".repeat(900_000);
    for _ in 0..6 {
        client.request("tell", large.as_str()).unwrap();
    }
    assert_eq!(client.missed_signals(), 8);
}
