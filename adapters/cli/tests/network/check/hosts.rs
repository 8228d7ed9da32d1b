//! The hosts that are examples of `wwr-socket` keep to the protocol. They run until the process ends.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::channel;
use std::thread;

use super::{PATIENT, check, named, names, report, url};

#[path = "../../../../socket/examples/event_loop.rs"]
mod event_loop;
#[cfg(target_os = "linux")]
#[path = "../../../../socket/examples/uring/ring.rs"]
mod ring;
#[path = "../../../../socket/examples/threads.rs"]
mod threads;
#[cfg(unix)]
#[path = "../../../../socket/examples/unix/server.rs"]
mod unix;
#[cfg(target_os = "linux")]
#[path = "../../../../socket/examples/uring/server.rs"]
mod uring;

// They are programs as well.
const _: [fn() -> std::io::Result<()>; 2] = [event_loop::main, threads::main];

fn anywhere() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Checks a host that says where it listens.
fn passes(run: impl FnOnce(&dyn Fn(SocketAddr)) + Send + 'static) {
    let (ready, address) = channel();
    thread::spawn(move || run(&|address| ready.send(address).unwrap()));
    let url = url(address.recv().unwrap());
    let ran = check(&url, &[&["--echo", "echo", "--json"][..], &PATIENT].concat());
    let report = report(&ran);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{report:#}");
    assert_eq!(named(&report, &["fail", "not-run", "quirk", "warn"]), names(&[]), "{report:#}");
}

#[test]
fn the_event_loop_passes() {
    passes(|ready| {
        let mut host = event_loop::EventLoop::new(anywhere()).unwrap();
        ready(host.listener.local_addr().unwrap());
        host.run().unwrap();
    });
}

#[test]
fn blocking_threads_pass() {
    passes(|ready| {
        let listener = TcpListener::bind(anywhere()).unwrap();
        ready(listener.local_addr().unwrap());
        threads::serve(&listener).unwrap();
    });
}

#[test]
#[cfg(target_os = "linux")]
fn io_uring_passes() {
    if let Err(why) = ring::Ring::new() {
        return println!("skipped: {why}");
    }
    passes(|ready| {
        let mut host = uring::Server::bind(ring::Ring::new().unwrap(), anywhere()).unwrap();
        ready(host.listener.local_addr().unwrap());
        host.run().unwrap();
    });
}

/// The check connects by TCP: something has to carry its bytes to the unix socket.
#[test]
#[cfg(unix)]
fn a_unix_socket_passes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let mut host = unix::Server::bind(&path).unwrap();
    thread::spawn(move || host.run().unwrap());
    passes(move |ready| {
        let listener = TcpListener::bind(anywhere()).unwrap();
        ready(listener.local_addr().unwrap());
        for stream in listener.incoming() {
            relay(stream.unwrap(), std::os::unix::net::UnixStream::connect(&path).unwrap());
        }
    });
}

/// Carries bytes both ways, and the end of each.
#[cfg(unix)]
fn relay(tcp: std::net::TcpStream, unix: std::os::unix::net::UnixStream) {
    use std::net::Shutdown::Write;

    let (tcp, unix) = (std::sync::Arc::new(tcp), std::sync::Arc::new(unix));
    let there = (tcp.clone(), unix.clone());
    thread::spawn(move || {
        let _ = std::io::copy(&mut &*there.0, &mut &*there.1);
        let _ = there.1.shutdown(Write);
    });
    thread::spawn(move || {
        let _ = std::io::copy(&mut &*unix, &mut &*tcp);
        let _ = tcp.shutdown(Write);
    });
}
