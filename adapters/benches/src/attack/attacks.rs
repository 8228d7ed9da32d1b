//! The attacks.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use wwr_async::server::ConnectionConfig;

use super::wire::{
    BEGINNING, BINARY, EVIL, HEARTBEAT, MIDDLE, PING, TEXT, dial, echo, frame, header, restore,
};
use crate::support::handshake;

/// One attack.
#[derive(Debug)]
pub(crate) struct Attack {
    /// What `--case` calls it.
    pub(crate) name: &'static str,
    /// What it counts.
    pub(crate) unit: &'static str,
    /// Does it until it is over.
    pub(crate) make: fn(&Field) -> io::Result<()>,
    /// How many MiB of memory the server may have at most, and the bytes for each connection that
    /// are added to it.
    pub(crate) mebibytes: u64,
    pub(crate) each: u64,
    /// How many files the server may have open; 0 for as many as may be.
    pub(crate) files: u64,
    /// Whether others can come meanwhile.
    pub(crate) others_come: bool,
}

/// Where an attack happens.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) server: SocketAddr,
    /// How many connections crowds have.
    pub(crate) crowd: u32,
    pub(crate) over: AtomicBool,
    /// What was done, in units of the attack.
    pub(crate) done: AtomicU64,
}

const fn attack(
    name: &'static str,
    unit: &'static str,
    make: fn(&Field) -> io::Result<()>,
    mebibytes: u64,
) -> Attack {
    Attack { name, unit, make, mebibytes, each: 0, files: 0, others_come: true }
}

pub(crate) const ATTACKS: [Attack; 17] = [
    attack("slow-heads", "bytes", |field| drip(field, "GET / HTTP/1.1\r\nX: "), 64),
    attack("slow-bodies", "bytes", |field| drip(field, SLOW_BODY), 64),
    attack("half-open", "sockets", |field| come(field, b"GET / HTTP/1.1\r\nHost"), 64),
    attack("preflights", "sockets", |field| come(field, PREFLIGHT), 64),
    attack("cross-site", "handshakes", |field| come(field, CROSS_SITE), 64),
    attack("declared", "sockets", declare, 64),
    attack("oversized", "messages", oversized, 64),
    attack("endless", "bytes", endless, 96),
    attack("fragments", "bytes", |field| flood(field, &in_bytes(&echo(b"x"))), 64),
    attack("pings", "bytes", |field| flood(field, &frame(PING, &[7; 125])), 64),
    attack("heartbeats", "bytes", |field| flood(field, &frame(BINARY, &[HEARTBEAT])), 64),
    attack("unread", "bytes", unread, 96),
    attack("text", "bytes", |field| flood(field, &frame(TEXT, &echo(b"x"))), 64),
    attack("broken", "sockets", broken, 64),
    attack("guesses", "keys", guess, 64),
    Attack { each: 4 << 10, ..attack("idle", "sockets", idle, 64) },
    Attack { files: 256, others_come: false, ..attack("descriptors", "sockets", idle, 64) },
];

const SLOW_BODY: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000\r\n\r\n";

const PREFLIGHT: &[u8] = b"WEBWIRE / HTTP/1.1\r\nHost: h\r\n\r\n";

const CROSS_SITE: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\nOrigin: https://evil.example\r\n\
    Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// How many sockets those attacks have that need some.
const SOME: usize = 16;

/// How many bytes are sent at a time where there are many.
const PORTION: usize = 64 << 10;

const TINY_PAUSE: Duration = Duration::from_millis(1);

impl Field {
    fn goes_on(&self) -> bool {
        !self.over.load(Ordering::Relaxed)
    }

    fn did(&self, count: usize) {
        self.done.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn dial(&self) -> io::Result<TcpStream> {
        dial(EVIL, self.server)
    }

    /// Opens a WebSocket.
    fn open(&self) -> io::Result<TcpStream> {
        let stream = self.dial()?;
        handshake::ask(&stream, self.server)?;
        handshake::take_answer(&stream)?;
        handshake::take_accept_conf(&stream)?;
        Ok(stream)
    }
}

/// Keeps many sockets busy with one byte after another.
fn drip(field: &Field, beginning: &str) -> io::Result<()> {
    let mut sockets = VecDeque::new();
    while field.goes_on() {
        if sockets.len() < field.crowd as usize / 5 {
            let mut socket = field.dial()?;
            socket.set_nonblocking(true)?;
            // Sockets that the server has closed are replaced.
            if socket.write_all(beginning.as_bytes()).is_ok() {
                sockets.push_back(socket);
            }
        }
        sockets.rotate_left(1.min(sockets.len()));
        if let Some(mut socket) = sockets.pop_front()
            && socket.write_all(b"x").is_ok()
        {
            field.did(1);
            sockets.push_back(socket);
        }
    }
    Ok(())
}

/// Comes again and again, says something and stays.
fn come(field: &Field, words: &[u8]) -> io::Result<()> {
    let mut sockets = VecDeque::new();
    while field.goes_on() {
        let mut socket = field.dial()?;
        // The server may have closed it already.
        let _ = socket.write_all(words);
        field.did(1);
        sockets.push_back(socket);
        if sockets.len() > field.crowd as usize / 5 {
            sockets.pop_front();
        }
    }
    Ok(())
}

/// Declares the largest messages there may be, on many connections, and never sends them.
fn declare(field: &Field) -> io::Result<()> {
    let largest = u64::from(ConnectionConfig::default().max_message_size);
    let mut sockets = Vec::new();
    while field.goes_on() {
        if sockets.len() < field.crowd as usize / 5 {
            let mut socket = field.open()?;
            socket.write_all(&header(BINARY, largest))?;
            sockets.push(socket);
            field.did(1);
        } else {
            sleep(TINY_PAUSE);
        }
    }
    Ok(())
}

/// Sends messages that are longer than any may be.
fn oversized(field: &Field) -> io::Result<()> {
    while field.goes_on() {
        let mut socket = field.open()?;
        // The server closes while this is written.
        let _ = socket.write_all(&header(BINARY, 1 << 40));
        let _ = socket.write_all(&[0; PORTION]);
        field.did(1);
    }
    Ok(())
}

/// Sends messages of which there is always one more fragment, until the server has had enough.
fn endless(field: &Field) -> io::Result<()> {
    let more = frame(MIDDLE, &[0; PORTION]);
    while field.goes_on() {
        let mut socket = field.open()?;
        socket.write_all(&frame(BEGINNING, b"x"))?;
        while field.goes_on() && socket.write_all(&more).is_ok() {
            field.did(more.len());
        }
    }
    Ok(())
}

/// Sends the same again and again, as fast as the server takes it, and reads what it says.
fn flood(field: &Field, one: &[u8]) -> io::Result<()> {
    let many = one.repeat(PORTION.div_ceil(one.len()));
    let mut socket = field.open()?;
    socket.set_nonblocking(true)?;
    let (mut dropped, mut sent) = (vec![0; PORTION], 0);
    while field.goes_on() {
        let written = ready(socket.write(&many[sent..]))?;
        field.did(written.unwrap_or(0));
        sent = (sent + written.unwrap_or(0)) % many.len();
        let read = ready(socket.read(&mut dropped))?;
        if read == Some(0) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if written.or(read).is_none() {
            sleep(TINY_PAUSE);
        }
    }
    Ok(())
}

/// Asks and never listens.
fn unread(field: &Field) -> io::Result<()> {
    let request = frame(BINARY, &echo(&[7; 8000]));
    let mut sockets = Vec::new();
    for _ in 0..SOME {
        let socket = field.open()?;
        socket.set_nonblocking(true)?;
        sockets.push((socket, 0));
    }
    while field.goes_on() {
        for (socket, sent) in &mut sockets {
            let written = ready(socket.write(&request[*sent..]))?.unwrap_or(0);
            *sent = (*sent + written) % request.len();
            field.did(written);
        }
        sleep(TINY_PAUSE / 10);
    }
    Ok(())
}

/// Breaks the rules of WebSocket in one way after another.
fn broken(field: &Field) -> io::Result<()> {
    let message = echo(b"x");
    let ways = [
        frame(TEXT, &[0xff; 100]),
        frame(BINARY | 0x40, &message),
        [&[BINARY, 100][..], &[0; 100]].concat(),
        frame(0x83, &message),
        frame(MIDDLE, &message),
        frame(PING, &[0; 126]),
    ];
    let mut dropped = [0; 64];
    for way in ways.iter().cycle() {
        if !field.goes_on() {
            break;
        }
        let mut socket = field.open()?;
        socket.write_all(way)?;
        while matches!(socket.read(&mut dropped), Ok(1..)) {}
        field.did(1);
    }
    Ok(())
}

/// Asks for sessions by keys it makes up, every other one a path.
fn guess(field: &Field) -> io::Result<()> {
    let mut socket = field.open()?;
    let mut answer = [0; 11];
    let mut number = 0_u64;
    while field.goes_on() {
        let path = format!("../../../../../../../../etc/passwd{number}\0");
        for key in [format!("{number:064}"), path] {
            socket.write_all(&frame(BINARY, &restore(key.as_bytes())))?;
            socket.read_exact(&mut answer)?;
            if answer[2] != 3 {
                return Err(handshake::unexpected("answer to a guess"));
            }
        }
        number += 1;
        field.did(2);
    }
    Ok(())
}

/// Asks for many WebSockets and does nothing with them.
fn idle(field: &Field) -> io::Result<()> {
    let mut sockets = Vec::new();
    while field.goes_on() {
        if sockets.len() < field.crowd as usize {
            let socket = field.dial()?;
            handshake::ask(&socket, field.server)?;
            sockets.push(socket);
            field.did(1);
        } else {
            sleep(TINY_PAUSE);
        }
    }
    Ok(())
}

/// A message in fragments of one byte and an empty one.
fn in_bytes(message: &[u8]) -> Vec<u8> {
    let mut frames = frame(BEGINNING, &message[..1]);
    message[1..].iter().for_each(|byte| frames.extend(frame(MIDDLE, &[*byte])));
    frames.extend(frame(0x80 | MIDDLE, b""));
    frames
}

/// What could be done without waiting.
fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
