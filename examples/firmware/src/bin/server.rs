//! A server without an operating system.
//!
//! `server SEED`, the seed as 64 hexadecimal digits: serves at port 7777 until a client sends the request
//! `stop`. Other requests: `echo`; `login`, which creates a session; `whoami`, which replies with its name;
//! `memory`.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::ToString;
use core::panic::PanicInfo;
use core::time::Duration;

use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use wwr::server::{Request, RequestError, RequestId, SessionEvent};
use wwr::{Payload, SessionInfo, UnixTime};
use wwr_firmware::board::{Board, CommandLine, exit, panicked};
use wwr_firmware::memory::{self, Usage};
use wwr_firmware::network::{Network, SOCKETS};
use wwr_firmware::random::Random;
use wwr_firmware::server::Server;
use wwr_socket::Host;
use wwr_socket::host::HostEvent;
use wwr_socket::server::{Event, ServerConfig, SocketId};

const PORT: u16 = 7777;
/// The wall clock at the start. The board has none; a product asks somebody.
const START: UnixTime = UnixTime::from_seconds(1_800_000_000);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    panicked(info)
}

#[entry]
fn main() -> ! {
    memory::init();
    exit(run().map_err(|why| hprintln!("failed: {}", why)))
}

fn run() -> Result<(), &'static str> {
    let arguments = CommandLine::get();
    let mut random = arguments.word(1).and_then(Random::from_hex).ok_or("no seed")?;
    let mut network = Network::new(Board::take(), random.number()).map_err(|_| "no Ethernet")?;
    let host = Host::new(config(), network.instant(), START).map_err(|_| "wrong settings")?;
    let mut server = Server::new(network, host, PORT);
    hprintln!("listening");
    // Logins that wait for their sessions: one for each connection, as one request is handled at a time.
    let mut logins: [Option<(SocketId, RequestId)>; SOCKETS] = [None; SOCKETS];
    loop {
        let event = server.event();
        let now = server.now();
        let host = &mut server.host;
        match event {
            HostEvent::Stopped => break,
            HostEvent::Socket { id, event: Event::Request(request) } => {
                match request.content.name() {
                    b"login" => {
                        let info = SessionInfo::new().public("name", &*name(&request));
                        let free = logins.iter_mut().find(|login| login.is_none());
                        match free {
                            Some(free)
                                if host.create_session(now, id, random.bytes(), info).is_ok() =>
                            {
                                *free = Some((id, request.id));
                            }
                            _ => reply(host, now, id, request.id, Err(failure("NO_LOGIN"))),
                        }
                    }
                    b"stop" => {
                        reply(host, now, id, request.id, Ok("stops".into()));
                        host.shut_down(now, Duration::from_secs(1));
                    }
                    _ => {
                        let answer = answer(host, id, &request);
                        reply(host, now, id, request.id, answer);
                    }
                }
            }
            HostEvent::Socket { id, event: Event::Session(event) } => {
                let result = match event {
                    SessionEvent::Created(..) => Ok("welcome".into()),
                    SessionEvent::CreateFailed(_) => Err(failure("NO_LOGIN")),
                    _ => continue,
                };
                let login = logins.iter_mut().find(|login| login.is_some_and(|(of, _)| of == id));
                if let Some((id, request)) = login.and_then(Option::take) {
                    reply(host, now, id, request, result);
                }
            }
            HostEvent::Socket { id, event: Event::Disconnected(_) } => {
                for login in logins.iter_mut().filter(|login| login.is_some_and(|(of, _)| of == id))
                {
                    *login = None;
                }
            }
            _ => {}
        }
    }
    hprintln!("{}", Usage::now());
    Ok(())
}

/// Settings of a server that has little memory.
fn config() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.hub.max_connections = SOCKETS;
    config.limits.max_handshakes = SOCKETS;
    config.limits.max_header_size = 2048;
    config.limits.max_write_backlog = 4096;
    config.limits.max_remembered_addresses = 16;
    config.limits.receive_chunk = 2048;
    config.connection.max_message_size = 8192;
    config.connection.max_queued_bytes = 4096;
    config
}

fn name(request: &Request) -> alloc::string::String {
    match request.content.text() {
        Ok(name) if !name.is_empty() => name.into_owned(),
        Ok(_) | Err(_) => "nobody".to_string(),
    }
}

fn answer(host: &Host, id: SocketId, request: &Request) -> Result<Payload, RequestError> {
    match request.content.name() {
        b"echo" => Ok(request.content.clone().into_payload()),
        b"memory" => Ok(Usage::now().to_string().into()),
        b"whoami" => {
            let session = host.socket(id).and_then(|socket| socket.session());
            let name = session.and_then(|session| session.info.value("name")?.as_str());
            name.map(|name| name.to_string().into()).ok_or_else(|| failure("NO_SESSION"))
        }
        _ => Err(failure("UNKNOWN_NAME")),
    }
}

fn failure(code: &'static str) -> RequestError {
    RequestError::failed(code, code)
}

fn reply(
    host: &mut Host,
    now: wwr::Instant,
    id: SocketId,
    request: RequestId,
    result: Result<Payload, RequestError>,
) {
    // The client may have gone in the meantime.
    let _ = host.reply(now, id, request, result);
}
