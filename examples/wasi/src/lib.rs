//! A server as a component of WASI 0.2: sockets, clocks and the application are all that the sandbox has to offer,
//! and all that a host needs. `run.py` runs it, as `wasmtime run -S inherit-network` does.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

use wasip2::cli::{environment, stderr, stdout};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::exports::cli::run::Guest;
use wasip2::io::poll;
use wasip2::io::streams::{InputStream, OutputStream, StreamError};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Network,
};
use wasip2::sockets::tcp::{ShutdownType, TcpSocket};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wwr::{Instant, UnixTime};
use wwr_socket::host::{Host, HostEvent};
use wwr_socket::server::{Disposition, Event, ServerConfig, SocketId};

/// How much is read at once.
const READ: u64 = 64 * 1024;

struct Component;

wasip2::cli::command::export!(Component);

impl Guest for Component {
    fn run() -> Result<(), ()> {
        let address = environment::get_arguments().into_iter().nth(1);
        let address = address.unwrap_or_else(|| "127.0.0.1:7777".into());
        let Ok(address) = address.parse::<SocketAddrV4>() else {
            let _ =
                stderr::get_stderr().blocking_write_and_flush(b"not an IPv4 address and port\n");
            return Err(());
        };
        let Err(error) = serve(address);
        let _ = stderr::get_stderr().blocking_write_and_flush(format!("{error}\n").as_bytes());
        Err(())
    }
}

/// An accepted socket. Its streams have to be dropped before it.
struct Socket {
    input: InputStream,
    output: OutputStream,
    tcp: TcpSocket,
    /// Whether the client sends nothing more.
    ended: bool,
}

struct Server {
    listener: TcpSocket,
    sockets: BTreeMap<SocketId, Socket>,
    host: Host,
}

/// Serves until the system fails.
fn serve(address: SocketAddrV4) -> Result<core::convert::Infallible, ErrorCode> {
    let listener = listen(&instance_network(), address)?;
    let unix = UnixTime::from_seconds(wall_clock::now().seconds.try_into().unwrap_or(i64::MAX));
    // The default settings are valid.
    let host = Host::new(ServerConfig::default(), now(), unix).map_err(|_| ErrorCode::Unknown)?;
    let mut server = Server { listener, sockets: BTreeMap::new(), host };
    loop {
        let now = server.wait();
        server.accept(now);
        let ids: Vec<_> = server.sockets.keys().copied().collect();
        ids.into_iter().for_each(|id| server.read(now, id));
        if server.host.next_timeout().is_some_and(|due| due <= now) {
            server.host.handle_timeout(now);
        }
        server.handle(now);
        while let Some(id) = server.host.poll_output() {
            server.write(now, id);
        }
    }
}

fn now() -> Instant {
    Instant::EPOCH + Duration::from_nanos(monotonic_clock::now())
}

fn listen(network: &Network, address: SocketAddrV4) -> Result<TcpSocket, ErrorCode> {
    let [a, b, c, d] = address.ip().octets();
    let local = Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) };
    let listener = create_tcp_socket(IpAddressFamily::Ipv4)?;
    listener.start_bind(network, IpSocketAddress::Ipv4(local))?;
    listener.subscribe().block();
    listener.finish_bind()?;
    listener.start_listen()?;
    listener.subscribe().block();
    listener.finish_listen()?;
    if let IpSocketAddress::Ipv4(bound) = listener.local_address()? {
        let line = format!("listening on ws://{}:{}/\n", address.ip(), bound.port);
        let _ = stdout::get_stdout().blocking_write_and_flush(line.as_bytes());
    }
    Ok(listener)
}

impl Server {
    /// Waits until there is something to do. Returns when that is.
    fn wait(&self) -> Instant {
        let mut waits = vec![self.listener.subscribe()];
        for (id, socket) in &self.sockets {
            if self.host.wants_input(*id) && !socket.ended {
                waits.push(socket.input.subscribe());
            }
            if !self.host.output(*id).is_empty() {
                waits.push(socket.output.subscribe());
            }
        }
        let due = if self.host.has_work() { Some(now()) } else { self.host.next_timeout() };
        if let Some(due) = due {
            let wait = due.saturating_since(now()).as_nanos();
            waits.push(monotonic_clock::subscribe_duration(wait.try_into().unwrap_or(u64::MAX)));
        }
        poll::poll(&waits.iter().collect::<Vec<_>>());
        now()
    }

    fn accept(&mut self, now: Instant) {
        // An error is that of one client, or passes, for example when files are freed.
        while let Ok((tcp, input, output)) = self.listener.accept() {
            let from = match tcp.remote_address() {
                Ok(IpSocketAddress::Ipv4(Ipv4SocketAddress { address: (a, b, c, d), .. })) => {
                    IpAddr::from([a, b, c, d])
                }
                // It has gone already.
                _ => continue,
            };
            let (id, _) = self.host.accepted(now, from);
            self.sockets.insert(id, Socket { input, output, tcp, ended: false });
        }
    }

    /// Reads what there is, and writes what did not go before.
    fn read(&mut self, now: Instant, id: SocketId) {
        self.write(now, id);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        if socket.ended || !self.host.wants_input(id) {
            return;
        }
        match socket.input.read(READ) {
            Ok(bytes) if bytes.is_empty() => {}
            Ok(bytes) => self.host.received(now, id, &bytes),
            Err(StreamError::Closed) => {
                socket.ended = true;
                self.host.end_of_input(id);
            }
            Err(StreamError::LastOperationFailed(_)) => self.close(now, id),
        }
    }

    fn write(&mut self, now: Instant, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        while !self.host.output(id).is_empty() {
            let output = self.host.output(id);
            let sent = socket.output.check_write().and_then(|most| {
                let length = output.len().min(usize::try_from(most).unwrap_or(usize::MAX));
                socket.output.write(&output[..length]).map(|()| length)
            });
            let Ok(length) = sent else { return self.close(now, id) };
            self.host.sent(now, id, length);
            if length == 0 {
                break;
            }
        }
        match self.host.disposition(id) {
            Disposition::Keep => {}
            Disposition::ShutDownWrite => drop(socket.tcp.shutdown(ShutdownType::Send)),
            Disposition::Close => self.close(now, id),
        }
    }

    fn close(&mut self, now: Instant, id: SocketId) {
        self.sockets.remove(&id);
        self.host.closed(now, id);
    }

    /// The application.
    fn handle(&mut self, now: Instant) {
        while let Some(event) = self.host.poll_event(now) {
            let HostEvent::Socket { id, event: Event::Request(request) } = event else { continue };
            // An error means that the client has gone.
            let _ = self.host.reply(now, id, request.id, Ok(request.content.into_payload()));
        }
    }
}
