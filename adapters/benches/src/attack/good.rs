//! The good client: it makes requests on a connection it has, and now and then comes anew.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::wire::{BINARY, GOOD, IDENTIFIER, PING, REPLY, dial, echo, frame};
use crate::support::handshake::{self, unexpected};

/// As many requests as a client makes, not as many as a server can take.
const PAUSE: Duration = Duration::from_millis(1);

/// One request in this many comes from a client that was not there before.
const NEWCOMER: usize = 20;

/// An open WebSocket.
pub(crate) struct Socket(BufReader<TcpStream>);

/// How long it had to wait.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    /// For replies on a connection that is open.
    pub(crate) requests: Vec<Duration>,
    /// For a connection and a first reply.
    pub(crate) newcomers: Vec<Duration>,
    /// How many newcomers were not served.
    pub(crate) turned_away: usize,
}

impl Socket {
    pub(crate) fn open(to: SocketAddr) -> io::Result<Self> {
        let stream = dial(GOOD, to)?;
        handshake::ask(&stream, to)?;
        let mut stream = BufReader::with_capacity(512, stream);
        handshake::take_answer(&mut stream)?;
        handshake::take_accept_conf(&mut stream)?;
        Ok(Self(stream))
    }

    /// Makes a request and checks the reply.
    pub(crate) fn request(&mut self) -> io::Result<()> {
        const PAYLOAD: &[u8] = b"good";
        self.0.get_mut().write_all(&frame(BINARY, &echo(PAYLOAD)))?;
        loop {
            let mut header = [0; 2];
            self.0.read_exact(&mut header)?;
            let mut message = vec![0; usize::from(header[1])];
            self.0.read_exact(&mut message)?;
            match header[0] {
                PING => self.0.get_mut().write_all(&frame(0x8a, &message))?,
                BINARY if message == [&[REPLY][..], &IDENTIFIER, PAYLOAD].concat() => {
                    return Ok(());
                }
                _ => return Err(unexpected("reply")),
            }
        }
    }
}

/// Makes requests for that long; fails if one on the open connection is not answered.
pub(crate) fn live(socket: &mut Socket, to: SocketAddr, time: Duration) -> io::Result<Latencies> {
    let mut latencies = Latencies::default();
    let start = Instant::now();
    while start.elapsed() < time || latencies.newcomers.is_empty() {
        for _ in 1..NEWCOMER {
            let asked = Instant::now();
            socket.request()?;
            latencies.requests.push(asked.elapsed());
            sleep(PAUSE);
        }
        let came = Instant::now();
        match Socket::open(to).and_then(|mut newcomer| newcomer.request()) {
            Ok(()) => latencies.newcomers.push(came.elapsed()),
            Err(_) => latencies.turned_away += 1,
        }
        if latencies.newcomers.is_empty() && start.elapsed() > 2 * time {
            break;
        }
    }
    Ok(latencies)
}

/// A percentile, in milliseconds; not a number if there is nothing.
pub(crate) fn percentile(latencies: &[Duration], percent: usize) -> f64 {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    sorted.get(last * percent / 100).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}
