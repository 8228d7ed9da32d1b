//! A whole conversation with a client that shares nothing with this project.

use rustix::process::Signal;

use crate::hand::Hand;
use crate::support::Server;

#[test]
fn a_client_made_by_hand_gets_through() {
    let mut server = Server::start(&["--log", "debug"]);
    let address = server.address;

    // The preflight.
    let mut probe = Hand::dial(address);
    let head = probe.preflight("/");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("access-control-allow-origin: *\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    assert_eq!(probe.read(27), b"{\"protocol-version\":\"1.4\"}\n");

    // Echo in three encodings, named and nameless; an odd name has UTF-16 padded.
    let mut first = Hand::open(address, "/");
    first.request(0x7f, 1, "echo", b"\x00\xff");
    assert_eq!(first.reply(0xbf, 1), b"\x00\xff");
    first.request(0x80, 2, "echo", "h\u{e9}".as_bytes());
    assert_eq!(first.reply(0xc0, 2), "h\u{e9}".as_bytes());
    first.request(0x81, 3, "echo", b"h\0i\0");
    assert_eq!(first.reply(0xc1, 3), b"\0h\0i\0");
    first.request(0x81, 4, "", b"h\0");
    assert_eq!(first.reply(0xc1, 4), b"\0h\0");

    // Login: the session comes before the reply, which is its key.
    first.request(0x80, 5, "login", br#"{"user":"ada"}"#);
    let created = first.message();
    assert_eq!(created[0], 0x15);
    let session: serde_json::Value = serde_json::from_slice(&created[1..]).unwrap();
    assert_eq!(session["i"], serde_json::json!({ "user": "ada" }));
    let key = first.reply(0xc0, 5);
    assert_eq!(session["k"].as_str().unwrap().as_bytes(), key);
    assert_eq!(key.len(), 64);
    first.request(0x7f, 6, "whoami", b"");
    assert_eq!(first.reply(0xc0, 6), &created[1..]);

    // A second connection restores it.
    let mut second = Hand::open(address, "/");
    let mut restore = vec![0x20, 7, 7, 7, 7, 7, 7, 7, 7];
    restore.extend(&key);
    second.send(&restore);
    let restored: serde_json::Value = serde_json::from_slice(&second.reply(0xc0, 7)).unwrap();
    assert_eq!((&restored["k"], &restored["i"]), (&session["k"], &session["i"]));

    // A third kicks both, and the session is gone for good.
    let mut third = Hand::open(address, "/");
    third.request(0x80, 8, "kick", &key);
    assert_eq!(third.reply(0xc0, 8), b"2");
    assert_eq!((first.message(), second.message()), (vec![0x16], vec![0x16]));
    third.send(&restore);
    assert_eq!(third.reply(0x03, 7), b"");
    first.request(0x7f, 9, "whoami", b"");
    let message = first.message();
    assert_eq!((message[0], &message[9..20]), (0x00, &b"\x0aNO_SESSION"[..]), "{message:02x?}");

    // A message that cannot be read is a protocol error, and the connection goes on.
    first.send(&[0x7f, 1, 1, 1, 1, 1, 1, 1, 1, 9, b'x', b'y']);
    assert_eq!(first.reply(0x06, 1), b"");

    // A graceful shutdown: what runs is answered, what is new is refused, all is closed when it ends.
    first.request(0x80, 10, "sleep", b"1000");
    server.running.wait_for_log("sleep begins");
    server.running.signal(Signal::TERM);
    server.running.wait_for_log("shutting down");
    // The idle ones stay while it runs, and are told.
    let mut late = 11;
    while {
        second.request(0x80, late, "echo", b"late");
        second.message()[0] != 0x01
    } {
        late += 1;
    }
    first.request(0x80, 11, "echo", b"too late");
    assert_eq!(first.reply(0x01, 11), b"");
    assert_eq!(first.reply(0xc0, 10), b"1000");
    assert_eq!((first.closed(), second.closed(), third.closed()), (1001, 1001, 1001));
    assert_eq!(server.running.finish().code, Some(0));
}
