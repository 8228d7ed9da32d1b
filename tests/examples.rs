//! The example programs, against each other.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use wwr::server::gate::CORS;
use wwr::{Name, Payload};

#[path = "../examples/client.rs"]
mod client;
#[path = "../examples/server.rs"]
mod server;
#[path = "../examples/support/socket.rs"]
mod socket;

// They are programs as well.
const _: fn() -> io::Result<()> = server::main;
const _: fn() -> Result<(), Box<dyn Error>> = client::main;

/// Sends bytes on a socket of their own. Returns what comes until the server closes it.
fn exchange(address: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    // Only ends a hang.
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(bytes)?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // It has closed the socket without reading everything.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(answer),
        read => read.map(|_| answer),
    }
}

#[test]
fn the_client_is_served_by_the_server() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = server::Server::new();
    let running = thread::spawn({
        let server = server.clone();
        move || server.run(&listener)
    });
    let ask = |name: &str, payload: &str| {
        client::request(address, name.parse::<Name>()?, Payload::utf8(payload))
    };

    assert_eq!(ask("echo", "hello")?.text()?, "hello");
    // A key of 48 random bytes in base64; each login has another one.
    let (one, other) = (ask("login", "ada")?, ask("login", "ada")?);
    assert_eq!(one.text()?.len(), 64);
    assert_ne!(one.text()?, other.text()?);
    // Longer than what the length in a frame's first byte can say; and than the message buffer of 2.0,
    // which does not hold between these two.
    for length in [8000, 16_000, 100_000] {
        let long = "x".repeat(length);
        assert_eq!(ask("echo", &long)?.text()?, long);
    }
    assert!(ask("echo", &"x".repeat(2 << 20)).is_err(), "longer than what both read");

    // Pages may send the preflight (protocol §4.2).
    let answer = exchange(address, b"OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n")?;
    let answer = String::from_utf8(answer)?;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    for (name, value) in CORS {
        assert!(answer.contains(&format!("\r\n{name}: {value}\r\n")), "{answer}");
    }

    // Text that is not UTF-8 ends the connection, so the close frame behind it is not answered (RFC 6455 §8.1).
    let handshake = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: wwr.1\r\n\r\n";
    let frame = |first: u8, payload: &[u8]| {
        [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
    };
    let text = [handshake.as_bytes(), &frame(0x81, b"\xff"), &frame(0x88, b"")].concat();
    let answer = exchange(address, &text)?;
    let close = [0x88, 2, 3, 0xe8];
    assert!(!answer.ends_with(&close), "the text was taken: {answer:x?}");
    let text = [handshake.as_bytes(), &frame(0x81, b"\xc3\xa4"), &frame(0x88, b"")].concat();
    let answer = exchange(address, &text)?;
    assert!(answer.ends_with(&close), "the text was not taken: {answer:x?}");

    server.shut_down(address, Duration::from_secs(10));
    assert!(running.join().is_ok_and(|ended| ended.is_ok()));
    Ok(())
}
