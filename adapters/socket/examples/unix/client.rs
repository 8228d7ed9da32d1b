//! A client that blocks until its one request is answered.

use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use wwr::{Name, Payload, Valid};
use wwr_socket::client::{ClientEvent, ClientSocket, Target};

/// Sends a request, and waits for its reply.
pub(crate) fn call(path: &Path, name: &str, payload: Payload) -> Result<Payload, Box<dyn Error>> {
    let started = Instant::now();
    let now = || wwr::Instant::EPOCH + started.elapsed();
    // HTTP wants the name of a host.
    let target = Target::parse("ws://localhost/")?;
    let mut client =
        ClientSocket::new(&Valid::default(), target, started.elapsed().as_nanos() as u64);
    client.connect(now());
    let call = client.request(now(), Name::new(name)?, payload, Some(Duration::from_secs(10)))?;
    let (mut stream, mut buffer) = (None, [0; 4096]);
    loop {
        while let Some(event) = client.poll_event(now()) {
            match event {
                ClientEvent::Connect => match UnixStream::connect(path) {
                    Ok(opened) => {
                        stream = Some(opened);
                        client.connected(now(), random()?);
                    }
                    Err(_) => client.ended(now()),
                },
                ClientEvent::Disconnect => stream = None,
                ClientEvent::Done { id, outcome } if id == call => return Ok(outcome?),
                _ => {}
            }
        }
        // Randomness of the system fails only where nothing else works.
        client.mask(|| random().unwrap_or_default());
        let wait = client.next_timeout().map(|due| due.saturating_since(now()));
        let wait = wait.unwrap_or(Duration::MAX).max(Duration::from_millis(1));
        match &mut stream {
            None => thread::sleep(wait),
            Some(stream) => match exchange(stream, &mut client, now(), wait, &mut buffer) {
                Ok(0) => client.ended(now()),
                Ok(length) => client.received(now(), &buffer[..length]),
                Err(error)
                    if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
                Err(_) => client.ended(now()),
            },
        }
        if client.next_timeout().is_some_and(|due| due <= now()) {
            client.handle_timeout(now());
        }
    }
}

/// Sends what there is, then waits for an answer.
fn exchange(
    stream: &mut UnixStream,
    client: &mut ClientSocket,
    now: wwr::Instant,
    wait: Duration,
    buffer: &mut [u8],
) -> io::Result<usize> {
    stream.set_read_timeout(Some(wait))?;
    stream.write_all(client.output())?;
    client.sent(now, client.output().len());
    stream.read(buffer)
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}
