//! The examples of hosts, each with clients. `wwr check` of them all is in `adapters/cli/tests/network/check`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use wwr::client::Status;
use wwr_socket::blocking::Client;

#[path = "../examples/event_loop.rs"]
mod event_loop;
#[path = "../examples/pipes.rs"]
mod pipes;
#[cfg(target_os = "linux")]
#[path = "../examples/uring/ring.rs"]
mod ring;
#[path = "../examples/threads.rs"]
mod threads;
#[cfg(unix)]
#[path = "../examples/unix/client.rs"]
mod unix_client;
#[cfg(unix)]
#[path = "../examples/unix/server.rs"]
mod unix_server;
#[cfg(target_os = "linux")]
#[path = "../examples/uring/server.rs"]
mod uring;

// They are programs as well.
const _: [fn() -> std::io::Result<()>; 2] = [event_loop::main, threads::main];

/// Eight clients at once, with payloads of all sizes; then one that leaves without a word, while the others go on.
fn serves(address: SocketAddr) {
    let url = format!("ws://{address}/");
    thread::scope(|scope| {
        for client in 0..8 {
            let url = &url;
            scope.spawn(move || {
                let connected = Client::connect(url).unwrap();
                for size in [0, 1, 125, 126, 4096, 70_000, 300_000] {
                    let payload = format!("{client}{}", "x".repeat(size));
                    let reply = connected.request("echo", payload.as_str()).unwrap();
                    assert_eq!(reply.as_bytes(), payload.as_bytes());
                }
            });
        }
        scope.spawn(|| drop(TcpStream::connect(address).unwrap()));
    });
    floods(address, &Client::connect(&url).unwrap());
    let after = Client::connect(&url).unwrap();
    assert_eq!(after.request("echo", "after").unwrap().as_bytes(), b"after");
}

/// One client sends requests and reads no reply, until the host reads no more of it. The other one is served
/// meanwhile. Then the first one reads.
fn floods(address: SocketAddr, other: &Client) {
    let mut flood = TcpStream::connect(address).unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    flood.write_all(head.as_bytes()).unwrap();
    flood.set_nonblocking(true).unwrap();
    // A frame with a mask of zeros: a request with the name echo, and a payload of 1020 bytes.
    let request = [&b"\x7f\x01\0\0\0\0\0\0\0\x04echo"[..], &[0; 1020]].concat();
    let frame =
        [&b"\x82\xfe"[..], &(request.len() as u16).to_be_bytes(), &[0; 4], &request].concat();
    let (mut sent, mut refused) = (0, 0);
    while refused < 20 {
        match flood.write(&frame[sent % frame.len()..]) {
            Ok(length) => (sent, refused) = (sent + length, 0),
            Err(_) => refused += 1,
        }
        assert!(sent < 100 << 20, "the host reads what it cannot answer");
        other.request("echo", "still there").unwrap();
    }
    // Now it reads, and has a reply to each. In front of the payload are a head of 4 bytes, a type and an identifier.
    let requests = sent / frame.len() + 1;
    let mut left = requests * (4 + 1 + 8 + 1020);
    flood.set_nonblocking(false).unwrap();
    flood.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| (&flood).write_all(&frame[sent % frame.len()..]).unwrap());
        let mut buffer = [0; 4096];
        while left > 0 {
            let length = (&flood).read(&mut buffer).unwrap();
            assert_ne!(length, 0, "{left} bytes are missing of {requests} replies");
            left = left.saturating_sub(length);
        }
    });
}

/// Starts a host on a thread of its own, where it runs until the process ends.
fn start<T: Send + 'static>(run: impl FnOnce(&dyn Fn(T)) + Send + 'static) -> T {
    let (ready, address) = channel();
    thread::spawn(move || run(&|address| ready.send(address).unwrap()));
    address.recv().unwrap()
}

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn the_event_loop_serves() {
    serves(start(|ready| {
        let mut host = event_loop::EventLoop::new(anywhere()).unwrap();
        ready(host.listener.local_addr().unwrap());
        host.run().unwrap();
    }));
}

#[test]
fn threads_serve() {
    serves(start(|ready| {
        let listener = TcpListener::bind(anywhere()).unwrap();
        ready(listener.local_addr().unwrap());
        threads::serve(&listener).unwrap();
    }));
}

#[test]
#[cfg(target_os = "linux")]
fn io_uring_serves() {
    if let Err(why) = ring::Ring::new() {
        return println!("skipped: {why}");
    }
    serves(start(|ready| {
        let mut host = uring::Server::bind(ring::Ring::new().unwrap(), anywhere()).unwrap();
        ready(host.listener.local_addr().unwrap());
        host.run().unwrap();
    }));
}

#[test]
#[cfg(unix)]
fn a_unix_socket_is_served_again_after_its_server_has_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    // What a server leaves behind that has ended.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut server = unix_server::Server::bind(&path).unwrap();
    thread::spawn(move || server.run().unwrap());
    assert!(unix_server::Server::bind(&path).is_err(), "it is in use");
    thread::scope(|scope| {
        for client in 0..8 {
            let path = &path;
            scope.spawn(move || {
                for size in [0, 200, 300_000] {
                    let payload = format!("{client}{}", "x".repeat(size));
                    let reply = unix_client::call(path, "echo", payload.clone().into()).unwrap();
                    assert_eq!(reply.as_bytes(), payload.as_bytes());
                }
            });
        }
    });
}

#[test]
fn a_session_lives_on_when_pipes_are_cut_and_time_is_virtual() {
    pipes::main().unwrap();
    let run = || {
        let mut pair = pipes::Pair::new().unwrap();
        let long = "x".repeat(10_000);
        assert_eq!(pair.request("echo", &long).unwrap().unwrap().as_bytes(), long.as_bytes());
        pair.request("login", "ada").unwrap().unwrap();
        let key = pair.client.client().session().unwrap().key.clone();
        pair.cut();
        while pair.client.client().status() != Status::Connected {
            pair.wait(None);
        }
        assert_eq!(pair.client.client().session().unwrap().key, key);
        let later = pair.now + Duration::from_secs(3600);
        while pair.now < later {
            pair.wait(Some(later));
        }
        assert_eq!(pair.client.client().status(), Status::Connected);
        pair.carried
    };
    assert_eq!(run(), run(), "nothing is left to chance");
}
