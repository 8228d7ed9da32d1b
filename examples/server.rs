//! A server on blocking sockets of the standard library: how to drive the machines without a
//! runtime.
//!
//! Two threads serve a connection: one reads its socket, the other drives its machine
//! (`support/driver.rs`). One lock holds what the connections share (`support/shared.rs`).
//!
//! ```text
//! cargo run --example server -- 127.0.0.1:7777     until standard input ends
//! cargo run --example client -- 127.0.0.1:7777 echo hello
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wwr::Valid;
use wwr::server::Config;
use wwr::server::gate::{
    Answer, CORS, Decision, Head, HttpVersion, Origins, Refusal, Terms, decide,
};

#[path = "support/driver.rs"]
mod driver;
#[path = "support/shared.rs"]
mod shared;
#[cfg(not(test))]
#[path = "support/socket.rs"]
mod socket;
// The test of both programs has it once.
#[cfg(test)]
use crate::socket;

use shared::Shared;

/// How long a client may take to send a request, to take what is sent, and to answer a close frame.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A server: its settings, and what its connections share.
pub(crate) struct Server {
    config: Valid<Config>,
    shared: Shared,
}

impl Server {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { config: Valid::default(), shared: Shared::new() })
    }

    /// Accepts connections until the server shuts down.
    pub(crate) fn run(self: Arc<Self>, listener: &TcpListener) -> io::Result<()> {
        loop {
            let (stream, client) = listener.accept()?;
            if !self.shared.is_serving() {
                return Ok(());
            }
            let server = self.clone();
            thread::spawn(move || {
                // An error is that of a client that has gone, or did not speak HTTP.
                let _ = server.answer(stream, client);
            });
        }
    }

    /// Shuts the server down, which listens on this address. Returns when all connections have
    /// ended.
    pub(crate) fn shut_down(&self, address: SocketAddr, within: Duration) {
        self.shared.control(|hub, now, out| hub.shut_down(now, within, out));
        while !self.shared.is_stopped() {
            thread::sleep(Duration::from_millis(5));
            self.shared.control(|hub, now, out| hub.handle_timeout(now, out));
        }
        // Accepting ends with the next socket. If none can be opened, no thread accepts any more.
        let _ = TcpStream::connect(address);
    }

    /// Answers one request, and serves the WebSocket if that opens one.
    fn answer(&self, mut stream: TcpStream, client: SocketAddr) -> io::Result<()> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let bytes = socket::read_head(&mut stream)?;
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(&bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let version = match request.version {
            Some(0) => HttpVersion::Http10,
            _ => HttpVersion::Http11,
        };
        let (method, target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
        let headers = request.headers.iter().map(|header| (header.name, header.value));
        let head = Head::new(method, target, version, headers);
        let terms = Terms {
            metadata: self.config.metadata(),
            origins: &Origins::SameHost,
            selects_wwr1: self.config.selects_wwr1(),
            shutting_down: !self.shared.is_serving(),
        };
        let refuse = |refusal| Answer::refusal(refusal, &head, &terms);
        let answer = match decide(&head, &terms) {
            Decision::Refuse(refusal) | Decision::Ask { upgrade: Err(refusal) } => refuse(refusal),
            // Pages of any origin may send the preflight. This server lists no names.
            Decision::Options { .. } => {
                let headers = CORS.map(|(name, value)| (name, value.into())).into();
                Answer { headers, ..Answer::options() }
            }
            Decision::Preflight { metadata, noted } => {
                if noted {
                    self.shared.asked(client.ip(), head.closes());
                }
                Answer::preflight(&metadata, self.config.promise())
            }
            Decision::Ask { upgrade: Ok(accept) } => match self.shared.admit() {
                Some(id) => {
                    if write_answer(&mut stream, &Answer::switching(&accept)).is_ok() {
                        let seen = accept.observed();
                        driver::serve(
                            &self.shared,
                            &self.config,
                            id,
                            &mut stream,
                            client.ip(),
                            seen,
                        );
                    }
                    self.shared.leave(id);
                    return Ok(());
                }
                None => refuse(Refusal::TooManyConnections),
            },
        };
        write_answer(&mut stream, &answer)?;
        // The end of what is sent; a socket that is closed with unread data could lose the answer.
        stream.shutdown(std::net::Shutdown::Write)?;
        io::copy(&mut stream.take(64 * 1024), &mut io::sink())?;
        Ok(())
    }
}

/// Writes an answer. All but 101 are the last on their socket.
fn write_answer(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} \r\n", answer.status);
    let is_last = answer.status != 101;
    for (name, value) in &answer.headers {
        if !(is_last && name.eq_ignore_ascii_case("connection")) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    if is_last {
        let length = answer.body.len();
        head.push_str(&format!("Connection: close\r\nContent-Length: {length}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(&[head.as_bytes(), &answer.body].concat())
}

pub(crate) fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".into());
    let listener = TcpListener::bind(address)?;
    let address = listener.local_addr()?;
    println!("listening on ws://{address}/");
    let server = Server::new();
    let running = thread::spawn({
        let server = server.clone();
        move || server.run(&listener)
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    server.shut_down(address, Duration::from_secs(10));
    running.join().unwrap_or_else(|_| Err(io::Error::other("the listening thread has panicked")))
}
