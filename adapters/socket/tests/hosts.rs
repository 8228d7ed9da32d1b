//! The examples of hosts, each with clients. `wwr check` of them all is in `adapters/cli/tests/network/check`.

use std::net::{SocketAddr, TcpListener};
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
const _: fn() -> std::io::Result<()> = event_loop::main;
const _: fn() -> std::io::Result<()> = threads::main;

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
        scope.spawn(|| drop(std::net::TcpStream::connect(address).unwrap()));
    });
    let after = Client::connect(&url).unwrap();
    assert_eq!(after.request("echo", "after").unwrap().as_bytes(), b"after");
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
        ready(host.local_addr().unwrap());
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
