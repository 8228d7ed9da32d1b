//! How the example client reaches its server: preflight and WebSocket handshake by hand.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use wwr::handshake::{self, InvalidAnswer, Key, SubProtocol};
use wwr::preflight::{self, Promise};

use super::socket::{self, Incoming};

/// How long the server may take to be reached, and for each part of its answers.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Asks for the metadata. Also returns what the server promises of an accept-conf.
pub(super) fn probe(
    server: SocketAddr,
    offers: Option<SubProtocol>,
) -> io::Result<(preflight::Answer, Option<Promise>)> {
    let headers = format!("Connection: close\r\n{}", offer(offers));
    let (stream, head) = ask(server, preflight::METHOD, &headers)?;
    let (status, promise) = parse(&head, |answer| {
        let is_promise = |header: &&httparse::Header<'_>| {
            header.name.eq_ignore_ascii_case(preflight::ACCEPT_CONF)
        };
        let promise = answer.headers.iter().find(is_promise);
        (answer.code.unwrap_or_default(), promise.map(|header| Promise::read(header.value)))
    })?;
    let mut body = Vec::new();
    stream.take(preflight::MAX_BODY as u64 + 1).read_to_end(&mut body)?;
    Ok((preflight::Answer { status, body: body.into(), retry_after: None }, promise))
}

/// An open WebSocket.
pub(super) struct Opened {
    pub(super) stream: TcpStream,
    /// What comes on it.
    pub(super) inbox: Receiver<Incoming>,
    /// The sub-protocol that the server has selected.
    pub(super) agreed: Option<SubProtocol>,
}

/// Opens the WebSocket.
pub(super) fn open(
    server: SocketAddr,
    nonce: [u8; Key::ENTROPY],
    offers: Option<SubProtocol>,
) -> io::Result<Result<Opened, InvalidAnswer>> {
    let key = Key::from_entropy(nonce);
    let headers = format!(
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: {}\r\n\
         Sec-WebSocket-Key: {}\r\n{}",
        handshake::VERSION,
        key.as_str(),
        offer(offers)
    );
    let (stream, head) = ask(server, "GET", &headers)?;
    let checked = parse(&head, |answer| {
        let headers = answer.headers.iter().map(|header| (header.name, header.value));
        let version = (1, answer.version.unwrap_or_default());
        key.check(version, answer.code.unwrap_or_default(), headers, offers)
    })?;
    let agreed = match checked {
        Ok(agreed) => agreed,
        Err(invalid) => return Ok(Err(invalid)),
    };
    let (events, inbox) = mpsc::channel();
    let mut reading = stream.try_clone()?;
    reading.set_read_timeout(None)?;
    thread::spawn(move || {
        let mut partial = None;
        while let Ok(incoming) = socket::read(&mut reading, &mut partial, false) {
            if events.send(incoming).is_err() {
                return;
            }
        }
    });
    Ok(Ok(Opened { stream, inbox, agreed }))
}

/// The header that offers a sub-protocol.
fn offer(offers: Option<SubProtocol>) -> String {
    offers.map_or_else(String::new, |offered| {
        format!("{}: {}\r\n", SubProtocol::HEADER, offered.as_str())
    })
}

/// Sends a request on a new connection. Returns that with the head of the answer.
fn ask(server: SocketAddr, method: &str, headers: &str) -> io::Result<(TcpStream, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&server, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let head = format!("{method} / HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", server);
    stream.write_all(head.as_bytes())?;
    let head = socket::read_head(&mut stream)?;
    Ok((stream, head))
}

fn parse<T>(head: &[u8], read: impl FnOnce(&httparse::Response<'_, '_>) -> T) -> io::Result<T> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    answer.parse(head).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
    Ok(read(&answer))
}
