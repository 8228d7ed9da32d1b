//! A process whose file descriptors are used up. Its limit holds for all its threads, so this is the only test in
//! its process.
#![cfg(unix)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use wwr_socket::blocking::{EventLoop, Stop};
use wwr_socket::host::HostEvent;
use wwr_socket::server::{Event, ServerConfig};

/// Only ends a hang.
const SAFETY: Duration = Duration::from_secs(60);

#[test]
fn a_flood_that_takes_all_descriptors_keeps_nobody_out() {
    // They wait in the system until the server begins: then they have descriptors, and it has few.
    let event_loop = bind();
    let address = event_loop.local_addr();
    let flood: Vec<_> = (0..80).map(|_| connect(address)).collect();
    let mut client = connect(address);
    ask(&mut client, address);
    set_limit(client.as_raw_fd() + 20);
    let server = Server::start(event_loop);
    assert!(is_open(&mut client), "some of the flood make room");
    drop((flood, client));
    let events = server.stop();
    assert_eq!(events.first(), Some(&"cannot accept"), "{events:?}");
    assert!(events.contains(&"connected"), "{events:?}");
    assert!(events.iter().filter(|event| **event == "evicted").count() > 40, "{events:?}");

    // With WebSockets only, nobody makes room: a newcomer is refused, and does not wait for ever.
    let event_loop = bind();
    let address = event_loop.local_addr();
    let server = Server::start(event_loop);
    let mut client = connect(address);
    ask(&mut client, address);
    assert!(is_open(&mut client));
    // The system gives out the lowest free one, so there is one left.
    let free = client.as_fd().try_clone_to_owned().unwrap().as_raw_fd();
    set_limit(free + 1);
    let mut newcomer = connect(address);
    assert_eq!(newcomer.as_raw_fd(), free);
    ask(&mut newcomer, address);
    assert!(!is_open(&mut newcomer));
    client.write_all(b"\x89\x80\0\0\0\0").unwrap();
    // Behind whatever else was sent.
    let mut sent = Vec::new();
    while !sent.ends_with(b"\x8a\0") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        sent.extend(byte);
    }
    drop((client, newcomer));
    assert!(server.stop().starts_with(&["connected", "cannot accept"]));
}

fn bind() -> EventLoop {
    let mut config = ServerConfig::default();
    // Time does not help.
    config.limits.header_timeout = Duration::from_secs(3600);
    config.limits.handshake_timeout = Duration::from_secs(3600);
    EventLoop::bind("127.0.0.1:0", config).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SAFETY)).unwrap();
    stream
}

/// Asks for a WebSocket.
fn ask(client: &mut TcpStream, address: SocketAddr) {
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    // An error is the end of the socket, which is seen when it is read.
    let _ = client.write_all(head.as_bytes());
}

/// Returns whether the WebSocket is opened, and not the socket closed.
fn is_open(client: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if client.read_exact(&mut byte).is_err() {
            return false;
        }
        head.extend(byte);
    }
    head.starts_with(b"HTTP/1.1 101 ")
}

/// Allows descriptors below this number.
fn set_limit(descriptors: i32) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = u64::try_from(descriptors).ok();
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// A server on a thread of its own.
struct Server {
    stop: Stop,
    thread: JoinHandle<std::io::Result<()>>,
    events: Receiver<&'static str>,
}

impl Server {
    fn start(mut event_loop: EventLoop) -> Self {
        let (seen, events) = mpsc::channel();
        let stop = event_loop.stop();
        let thread = thread::spawn(move || {
            event_loop.run(|_, _, event| {
                let told = match event {
                    HostEvent::CannotAccept { .. } => "cannot accept",
                    HostEvent::Socket { event: Event::Refused(_), .. } => "evicted",
                    HostEvent::Socket { event: Event::Connected, .. } => "connected",
                    _ => return,
                };
                let _ = seen.send(told);
            })
        });
        Self { stop, thread, events }
    }

    /// Stops it. Returns what has happened.
    fn stop(self) -> Vec<&'static str> {
        self.stop.shut_down(Duration::ZERO).unwrap();
        self.thread.join().unwrap().unwrap();
        self.events.iter().collect()
    }
}
