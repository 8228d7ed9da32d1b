//! A client on blocking sockets of the standard library: how to drive the machine without a runtime.
//!
//! The loop below does what the machine wants, then waits for what happens next. A thread reads the
//! socket and passes on what comes.
//!
//! ```text
//! cargo run --example client -- 127.0.0.1:7777 echo hello
//! ```

use std::error::Error;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant as SystemInstant};

use wwr::client::{Action, Client, Config, Outcome};
use wwr::handshake::InvalidAnswer;
use wwr::preflight::ProbeFailed;
use wwr::{Actions, CloseFrame, Instant, Name, Payload};

#[path = "support/dial.rs"]
mod dial;
#[cfg(not(test))]
#[path = "support/socket.rs"]
mod socket;
// The test of both programs has it once.
#[cfg(test)]
use crate::socket;

use socket::Incoming;

struct Host {
    server: SocketAddr,
    epoch: SystemInstant,
    client: Client,
    out: Actions<Action>,
    /// The WebSocket, with what its reading thread has read.
    socket: Option<(TcpStream, Receiver<Incoming>)>,
    written: Vec<u8>,
}

/// Makes one request.
pub(crate) fn request(
    server: SocketAddr,
    name: Name,
    payload: Payload,
) -> Result<Payload, Box<dyn Error>> {
    let seed = u64::from_ne_bytes(random()?);
    let mut config = Config::default();
    // This client answers no questions.
    config.max_open_questions = 0;
    config.max_message_size = socket::MAX_MESSAGE as u32;
    let client = Client::new(&config.validate()?, seed);
    let (out, epoch, written) = (Actions::new(), SystemInstant::now(), Vec::new());
    let mut host = Host { server, epoch, client, out, socket: None, written };
    let now = host.now();
    host.client.connect(now, &mut host.out);
    let asked = host.client.request(now, name, payload, None, &mut host.out)?;
    let outcome = loop {
        if let Some((_, outcome)) = host.carry_out()?.into_iter().find(|(id, _)| *id == asked) {
            break outcome;
        }
        host.wait();
    };
    host.client.close(host.now(), &mut host.out);
    host.carry_out()?;
    Ok(outcome?)
}

impl Host {
    fn now(&self) -> Instant {
        Instant::EPOCH + self.epoch.elapsed()
    }

    /// Does what the machine wants. Returns the outcomes of requests.
    fn carry_out(&mut self) -> io::Result<Vec<(wwr::client::RequestId, Outcome)>> {
        let mut outcomes = Vec::new();
        while let Some(action) = self.out.pop() {
            match action {
                Action::Probe => {
                    let answer = dial::probe(self.server, self.client.offers());
                    if let Ok((_, Some(promise))) = &answer {
                        self.client.expect_accept_conf(*promise);
                    }
                    let answer = answer.map(|(answer, _)| answer).map_err(|_| ProbeFailed);
                    self.client.handle_probed(self.now(), answer, &mut self.out);
                }
                Action::Dial => match dial::open(self.server, random()?, self.client.offers()) {
                    Ok(Ok(opened)) => {
                        self.socket = Some((opened.stream, opened.inbox));
                        self.client.handle_opened(self.now(), opened.agreed, &mut self.out);
                    }
                    Ok(Err(InvalidAnswer::Status(status))) => {
                        self.client.handle_refused(self.now(), status, None, &mut self.out);
                    }
                    Ok(Err(_)) | Err(_) => self.client.handle_disconnect(self.now(), &mut self.out),
                },
                Action::Send(frame) => self.append(socket::BINARY, &frame)?,
                Action::Ping => self.append(socket::PING, &[])?,
                Action::Hangup => {
                    self.append(socket::CLOSE, &socket::close_payload(&CloseFrame::NORMAL))?;
                    self.flush();
                    if let Some((stream, _)) = self.socket.take() {
                        // The reading thread ends, too.
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                }
                Action::Done { id, outcome } => outcomes.push((id, outcome)),
                Action::Event(event) => eprintln!("{event:?}"),
            }
        }
        self.flush();
        Ok(outcomes)
    }

    /// Waits for the socket or for time to pass, and tells the machine.
    fn wait(&mut self) {
        let left = self.client.next_timeout().map(|at| at.saturating_since(self.now()));
        let left = left.unwrap_or(Duration::from_secs(3600));
        let event = match &self.socket {
            Some((_, inbox)) => inbox.recv_timeout(left),
            None => {
                thread::sleep(left);
                Err(RecvTimeoutError::Timeout)
            }
        };
        let now = self.now();
        match event {
            Ok(Incoming::Binary(frame) | Incoming::Text(frame)) => {
                self.client.handle_message(now, frame, &mut self.out)
            }
            Ok(Incoming::Pong) => self.client.handle_pong(now),
            Ok(Incoming::Ping(payload)) => {
                self.client.handle_activity(now);
                // Without random bytes there is no answer, and the server notices.
                let _ = self.append(socket::PONG, &payload);
            }
            Ok(Incoming::Closed(frame)) => {
                self.socket = None;
                self.client.handle_closed(now, frame, &mut self.out);
            }
            Err(RecvTimeoutError::Disconnected) => {
                self.socket = None;
                self.client.handle_disconnect(now, &mut self.out);
            }
            Err(RecvTimeoutError::Timeout) => self.client.handle_timeout(now, &mut self.out),
        }
    }

    fn append(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        socket::append(&mut self.written, opcode, payload, Some(random()?));
        Ok(())
    }

    fn flush(&mut self) {
        if let Some((stream, _)) = &mut self.socket {
            // The reading thread finds out as well if the socket is of no use any more.
            let _ = socket::write(stream, &mut self.written);
        }
        self.written.clear();
    }
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [server, name, payload] = arguments.as_slice() else {
        return Err("usage: client ADDRESS:PORT NAME PAYLOAD".into());
    };
    let reply = request(server.parse()?, name.parse()?, Payload::utf8(payload.clone()))?;
    println!("{}", reply.text()?);
    Ok(())
}
