//! Clients of each version, made by hand, at one server that speaks all of them, and at servers
//! that do not.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::hand::Hand;
use crate::support::{SAFETY, Server};

const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Accept-conf with a read timeout of 1 s and a message buffer of 8192 bytes.
const ANNOUNCED: [u8; 11] = [0x17, 2, 0, 0xe8, 3, 0, 0, 0, 0x20, 0, 0];

const HEARTBEAT: &[u8] = &[0x21];

/// One server for all of them: the clients are told apart on one port, by what they do.
#[test]
fn clients_of_all_versions_live_at_one_server() {
    let mut server = Server::start(&[
        "--read-timeout",
        "1s",
        "--ping-after",
        "250ms",
        "--ping-timeout",
        "60s",
        "--log",
        "debug",
    ]);
    let address = server.address;
    server.running.wait_for_log("protocol=\"any\"");

    // 1.4 sends a preflight. 2.0 does not, and gets the advertised settings before anything else.
    let head = Hand::dial(address).preflight("/");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    let mut old = Hand::open_quietly(address, "/");
    server.running.wait_for_log("connected dialect=1.4");
    let mut silent_from_the_start = Hand::open_quietly(address, "/");
    let mut beating = Hand::open_quietly(address, "/");
    for hand in [&mut old, &mut silent_from_the_start, &mut beating] {
        assert_eq!(hand.message(), ANNOUNCED);
    }

    thread::scope(|scope| {
        // Sends nothing but what a ping asks for; each comes after a quarter of a read timeout.
        scope.spawn(|| {
            (0..13).for_each(|_| old.answer_ping());
            old.is_served();
        });
        // 2.0, but the server does not know that yet: no heartbeat is missed.
        scope.spawn(|| {
            (0..13).for_each(|_| silent_from_the_start.answer_ping());
            silent_from_the_start.is_served();
        });
        scope.spawn(|| {
            let longest = beat_for(&mut beating, 3 * READ_TIMEOUT);
            // If this thread was kept from running for so long, the server was right to hang up.
            if longest < READ_TIMEOUT {
                beating.is_served();
            }
        });
    });
    server.running.wait_for_log("dialect=2.0");
    old.is_served();

    // Known by its first heartbeat, and then silent: no ping, but the end. The server hears of the
    // heartbeat no earlier than it is sent.
    let mut falling_silent = Hand::open(address, "/");
    let start = Instant::now();
    falling_silent.send(HEARTBEAT);
    assert_eq!(falling_silent.closed(), 1008);
    assert!(start.elapsed() >= READ_TIMEOUT);
    old.is_served();
}

/// Sends heartbeats; returns the longest time between two of them.
fn beat_for(hand: &mut Hand, time: Duration) -> Duration {
    let start = Instant::now();
    let (mut last, mut longest) = (start, Duration::ZERO);
    while start.elapsed() < time {
        hand.send(HEARTBEAT);
        longest = longest.max(last.elapsed());
        last = Instant::now();
        thread::sleep(READ_TIMEOUT / 20);
    }
    longest.max(last.elapsed())
}

#[test]
fn a_reply_that_2_0_clients_cannot_read_becomes_an_internal_error_and_is_logged() {
    let mut server = Server::start(&[]);
    let payload = vec![b'x'; 20_000];
    let mut large = vec![0x80, 7, 7, 7, 7, 7, 7, 7, 7, 4];
    large.extend(b"echo");
    large.extend(&payload);

    Hand::dial(server.address).preflight("/");
    let mut old = Hand::open(server.address, "/");
    old.send(&large);
    assert_eq!(old.reply(0xc0, 7), payload);

    let mut unknown = Hand::open(server.address, "/");
    unknown.send(&large);
    assert_eq!(unknown.reply(0x02, 7), b"");
    server.running.wait_for_log("length=20009 buffer=8192");
    unknown.is_served();
}

#[test]
fn a_path_may_have_a_version_of_its_own() {
    let server = Server::start(&[
        "--protocol",
        "1.4",
        "--path",
        "/new=2.0",
        "--path",
        "/newer=any-as-1.5",
        "--read-timeout",
        "2s",
        "--message-buffer",
        "1024",
        "--sub-protocol",
        "chat/1",
    ]);
    let address = server.address;
    for (path, status, body) in [
        ("/", 200, &b"{\"protocol-version\":\"1.4\"}\n"[..]),
        ("/newer", 200, b"{\"protocol-version\":\"1.5\",\"read-timeout\":2}\n"),
        ("/new", 400, b"This server speaks WebWire 2.0 only"),
    ] {
        let mut hand = Hand::dial(address);
        let head = hand.preflight(path);
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{path}: {head}");
        assert_eq!(hand.read(body.len()), body, "{path}");
    }
    Hand::open_quietly(address, "/").is_served();
    for path in ["/new", "/newer?query"] {
        let mut new = Hand::open_quietly(address, path);
        assert_eq!(new.message(), b"\x17\x02\0\xd0\x07\0\0\0\x04\0\0chat/1", "{path}");
        new.is_served();
    }
}

#[test]
fn a_strict_server_hangs_up_as_the_reference_does() {
    let server = Server::start(&["--protocol", "2.0", "--strict", "--message-buffer", "32"]);
    for (opcode, message, code) in
        [(2, &b"\x07"[..], 1002), (1, b"\x7fIDIDIDID\x04echo", 1003), (2, &[0x7f; 33], 1009)]
    {
        let mut hand = Hand::open(server.address, "/");
        hand.frame(opcode, message);
        assert_eq!(hand.closed(), code);
    }
}

#[test]
fn messages_that_fit_into_a_large_advertised_buffer_are_accepted() {
    let server = Server::start(&["--message-buffer", "3000000"]);
    let mut hand = Hand::open(server.address, "/");
    hand.request(0x80, 1, "echo", &vec![b'x'; 2_000_000]);
    assert_eq!(hand.reply(0xc0, 1).len(), 2_000_000);
}

/// A client whose connection is still there but that does not answer any more.
#[test]
fn a_client_that_does_not_answer_pings_makes_room_for_the_next() {
    let server = Server::start(&[
        "--max-session-connections",
        "1",
        "--ping-after",
        "500ms",
        "--ping-timeout",
        "1500ms",
    ]);
    let mut gone = Hand::open(server.address, "/");
    gone.request(0x80, 1, "login", b"");
    assert_eq!(gone.message()[0], 0x15);
    let key = gone.reply(0xc0, 1);
    let mut restore = vec![0x20, 2, 2, 2, 2, 2, 2, 2, 2];
    restore.extend(&key);

    // Nothing is read or written on the first connection any more.
    let mut next = Hand::open(server.address, "/");
    let start = Instant::now();
    loop {
        next.send(&restore);
        let answer = next.message();
        match answer[0] {
            0xc0 => break,
            refused => assert_eq!(refused, 0x04, "{answer:02x?}"),
        }
        assert!(start.elapsed() < SAFETY, "its slot is never freed");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What waits in the socket counts, however late the server gets to see it.
#[test]
fn a_server_that_was_asleep_does_not_blame_its_clients() {
    let mut server = Server::start(&["--read-timeout", "2s", "--log", "debug"]);
    let mut hand = Hand::open(server.address, "/");
    hand.send(HEARTBEAT);
    server.running.wait_for_log("dialect=2.0");
    server.running.signal(Signal::STOP);
    thread::sleep(Duration::from_millis(2500));
    hand.send(HEARTBEAT);
    server.running.signal(Signal::CONT);
    hand.is_served();
}
