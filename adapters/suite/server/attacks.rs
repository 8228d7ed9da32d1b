//! Clients that mean harm: their attacks cost little, and other clients are served.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use wwr::{KeyFormat, SessionKey};

use crate::adapter::{FileStore, KeyError, KeyGenerator, RandomKeys};
use crate::suite::support::Fixture;
use crate::suite::support::message::{
    BINARY as REQUEST, HEARTBEAT, INTERNAL, NOT_FOUND, answer, ask, request, restore, signal,
    special,
};
use crate::suite::support::peer::{BINARY, PING, PONG, Peer, TEXT, code_of, frame, handshake};

/// Few slots, and no client is closed for being slow.
fn crowded(most: usize) -> Fixture {
    Fixture::with(|config| {
        config.limits.max_handshakes = most;
        config.limits.header_timeout = Duration::MAX;
        config.limits.handshake_timeout = Duration::MAX;
    })
}

#[test]
fn a_flood_of_half_open_handshakes_keeps_no_client_out() {
    let fixture = crowded(20);
    let whole = handshake("/", "");
    let mut flood = Vec::new();
    for length in 0..200 {
        let mut half = Peer::dial(fixture.address());
        // One that came before may have been closed meanwhile, this one not.
        half.write(&whole.as_bytes()[..length % (whole.len() - 1)]);
        flood.push(half);
        if length % 20 == 19 {
            Peer::connect(fixture.address()).is_served();
        }
    }
    for half in &mut flood[..180] {
        assert!(half.rest().is_empty(), "its place was given to others");
    }
}

/// A client that was answered and keeps its connection for later has a slot, too.
#[test]
fn a_flood_of_preflights_that_stay_keeps_no_client_out() {
    let fixture = crowded(5);
    let mut flood = Vec::new();
    for _ in 0..50 {
        let mut peer = Peer::dial(fixture.address());
        assert_eq!(peer.preflight("/").status, 200);
        flood.push(peer);
    }
    Peer::connect(fixture.address()).is_served();
    flood[..45].iter_mut().for_each(|peer| assert!(peer.rest().is_empty()));
}

#[cfg(target_os = "linux")]
#[test]
fn a_flood_from_one_host_evicts_no_other_host() {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
    use std::net::{SocketAddrV4, TcpStream};

    let fixture = crowded(5);
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    bind(&socket, &SocketAddrV4::new([127, 0, 0, 2].into(), 0)).unwrap();
    connect(&socket, &fixture.address()).unwrap();
    let mut slow = Peer::on(TcpStream::from(socket));
    let whole = handshake("/", "");
    let (beginning, rest) = whole.as_bytes().split_at(whole.len() / 2);
    slow.write(beginning);

    let mut flood: Vec<_> = (0..50).map(|_| Peer::dial(fixture.address())).collect();
    flood[..46].iter_mut().for_each(|peer| assert!(peer.rest().is_empty()));
    slow.write(rest);
    assert_eq!(slow.http_answer().status, 101);
    slow.advertised();
    slow.is_served();
}

#[test]
fn a_body_is_neither_waited_for_nor_read() {
    let fixture = Fixture::new();
    let mut bystander = Peer::connect(fixture.address());
    for length in ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"] {
        let mut peer = Peer::dial(fixture.address());
        let head = format!("POST / HTTP/1.1\r\nHost: h\r\n{length}\r\n\r\n");
        assert_eq!(peer.http(&head).status, 400, "{length}");
        // For ever, if the server went on reading.
        while peer.try_write(b"1000\r\n").and_then(|()| peer.try_write(&[b'x'; 0x1000])).is_ok() {}
        bystander.is_served();
    }
}

#[test]
fn floods_of_small_messages_hold_up_no_other_connection() {
    let fixture = Fixture::new();
    let mut bystander = Peer::connect(fixture.address());
    for (what, one) in [
        ("pings", frame(PING, b"")),
        ("long pings", frame(PING, &[7; 125])),
        ("pongs", frame(PONG, b"nobody asked")),
        ("heartbeats", frame(BINARY, HEARTBEAT)),
        ("signals nobody knows", frame(BINARY, &signal(REQUEST, "unknown", b"x"))),
        ("fragments of one byte", in_bytes(&signal(REQUEST, "unknown", b"x"))),
    ] {
        let mut peer = Peer::connect_unasked(fixture.address());
        let many = one.repeat(1000);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // What was asked last is answered, so all before it was read.
                    peer.write(&[&many[..], &frame(BINARY, &ask(1, "echo", "x"))].concat());
                    while peer.frame().expect(what).first != BINARY {}
                }
            });
            (0..20).for_each(|_| bystander.is_served());
            over.store(true, Ordering::Relaxed);
        });
        peer.is_served();
    }
}

#[test]
fn a_client_that_breaks_the_rules_is_closed_at_once_and_then_forgotten() {
    let fixture = Fixture::with(|config| config.limits.close_timeout = Duration::MAX);
    let mut peer = Peer::connect(fixture.address());
    peer.write(&frame(TEXT, &[0xff; 10]));
    assert_eq!(peer.frame().map(|close| code_of(&close)), Some(1007));
    // The server does not wait for its answer: there is no telling its answer from anything else.
    peer.closed();
    drop(peer);
    fixture.wait_for_disconnected();
}

/// A message in fragments of one byte and an empty one.
fn in_bytes(message: &[u8]) -> Vec<u8> {
    let rest = message[1..].chunks(1).map(|byte| frame(0x00, byte));
    [frame(0x02, &message[..1]), rest.collect::<Vec<_>>().concat(), frame(0x80, b"")].concat()
}

/// Lets any text pass for a key, as a careless application might.
struct AnyKey;

impl KeyGenerator for AnyKey {
    fn generate(&self) -> Result<SessionKey, KeyError> {
        RandomKeys.generate()
    }

    fn format(&self) -> KeyFormat {
        KeyFormat::Custom(|_| true)
    }
}

#[test]
fn no_key_leads_out_of_the_directory_of_sessions() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("sessions");
    let store = crate::adapter::block_on(FileStore::open(&directory)).unwrap();
    let fixture = Fixture::built(|builder| builder.store(store).key_generator(AnyKey));
    let mut peer = Peer::connect(fixture.address());
    peer.send(&ask(1, "login", "ada"));
    peer.message();
    let key = String::from_utf8(peer.message()[9..].to_vec()).unwrap();
    drop(peer);

    // A session that would be found if keys were paths.
    let file = |directory: &std::path::Path| directory.join(format!("{key}.wwrsess"));
    let outside = temporary.path().join("outside.wwrsess");
    std::fs::copy(file(&directory), &outside).unwrap();
    let before = std::fs::metadata(&outside).unwrap().modified().unwrap();
    let absolute = temporary.path().join("outside");
    let mut peer = Peer::connect(fixture.address());
    for odd in [
        "../outside",
        "..\\outside",
        "./../outside",
        "../sessions/../outside",
        "%2e%2e/outside",
        "..%2foutside",
        absolute.to_str().unwrap(),
        ".",
        "..",
        "/",
        "~",
        "CON",
        &format!("./{key}"),
        &format!("{key}\0"),
        &format!("{key}.wwrsess"),
        &format!("{key}\n"),
        &"x".repeat(100_000),
        "\u{202e}\u{e9}",
    ] {
        peer.send(&restore(1, odd));
        assert_eq!(peer.message(), special(NOT_FOUND, 1), "{odd:?}");
    }
    peer.send(&[&special(32, 1)[..], &[0xff, 0xfe, 0x80]].concat());
    assert_eq!(peer.message(), special(NOT_FOUND, 1));
    assert_eq!(std::fs::metadata(&outside).unwrap().modified().unwrap(), before);
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 2);
    // The key itself still is one.
    peer.send(&restore(2, &key));
    assert_eq!(peer.message()[..9], special(192, 2));
}

/// A handler that panics for one client and one that hangs for another are nothing to a third.
#[test]
fn handlers_that_hang_or_panic_are_nothing_to_others() {
    let fixture = Fixture::new();
    let mut bystander = Peer::connect(fixture.address());
    let mut hanging: Vec<_> = (0..50).map(|_| Peer::connect_unasked(fixture.address())).collect();
    for peer in &mut hanging {
        peer.send(&ask(1, "wait", "never opened"));
        // It waits behind the other, at no cost to other connections.
        peer.send(&request(REQUEST, 2, "echo", b"x"));
        fixture.wait_for_start("wait");
        let mut panicking = Peer::connect_unasked(fixture.address());
        assert_eq!(panicking.ask(1, "panic", "x"), special(INTERNAL, 1));
        assert_eq!(panicking.ask(2, "echo", "x"), answer(2, "x"));
        bystander.is_served();
    }
}
