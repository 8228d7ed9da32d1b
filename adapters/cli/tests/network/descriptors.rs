//! A server that has no file descriptors left.

use std::net::TcpStream;

use crate::hand::Hand;
use crate::support::Server;

/// A playground that may have 64 files open.
fn poor() -> Server {
    let script = r#"ulimit -n 64 && exec "$0" "$@""#;
    Server::start_in(&["sh", "-c", script], &["--log", "warn"])
}

const REFUSED: &str = "cannot accept connections";

#[test]
fn a_server_without_descriptors_serves_open_connections_and_recovers() {
    let mut server = poor();
    let mut early = Hand::open(server.address, "/");
    // The system takes them all in. Some become WebSockets, and they stay.
    let crowd: Vec<_> = (0..200).map(|_| Hand::ask(server.address, "/")).collect();
    server.running.wait_for_log(REFUSED);
    early.is_served();

    // Between two lines lies a second: it does not try again and again without a pause.
    let line = server.running.wait_for_log(REFUSED);
    let (_, attempts) = line.split_once("attempts=").unwrap();
    let attempts = attempts.split(' ').next().unwrap();
    assert!(attempts.parse::<u32>().unwrap() <= 110, "{line}");
    early.is_served();

    drop(crowd);
    Hand::open(server.address, "/").is_served();
    early.is_served();
}

#[test]
fn handshakes_that_never_end_do_not_keep_the_descriptors() {
    let mut server = poor();
    let mut early = Hand::open(server.address, "/");
    let half: Vec<_> = (0..200).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    server.running.wait_for_log(REFUSED);
    Hand::open(server.address, "/").is_served();
    early.is_served();
    drop(half);
}

#[test]
fn sessions_are_found_without_free_descriptors() {
    let sessions = tempfile::tempdir().unwrap();
    let script = r#"ulimit -n 64 && exec "$0" "$@""#;
    let arguments = ["--log", "warn", "--sessions", sessions.path().to_str().unwrap()];
    let mut server = Server::start_in(&["sh", "-c", script], &arguments);
    let mut early = Hand::open(server.address, "/");
    let crowd: Vec<_> = (0..200).map(|_| Hand::ask(server.address, "/")).collect();
    server.running.wait_for_log(REFUSED);
    // There is no such session, and the store can say so.
    early.send(&[&[0x20][..], &[1; 8], "A".repeat(64).as_bytes()].concat());
    assert_eq!(early.message(), [&[3][..], &[1; 8]].concat());
    drop(crowd);
}
