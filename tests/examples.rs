//! The example programs, against each other.

use std::error::Error;
use std::io;
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

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

    server.shut_down(address, Duration::from_secs(10));
    assert!(running.join().is_ok_and(|ended| ended.is_ok()));
    Ok(())
}
