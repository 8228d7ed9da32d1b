//! TCP on the board: smoltcp with a static address, and the loop that drives it.

use cortex_m::singleton;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp;
use smoltcp::storage::RingBuffer;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{IpAddress, IpCidr, Ipv4Address};

use crate::board::Board;
use crate::lan9118::{Fault, Lan9118};

/// The address that QEMU's network for users expects; it has the host's loopback at `HOST`.
const ADDRESS: IpCidr = IpCidr::new(IpAddress::v4(10, 0, 2, 15), 24);
/// The host, and the way to everywhere else.
pub const HOST: Ipv4Address = Ipv4Address::new(10, 0, 2, 2);

/// A TCP socket's buffer for either direction, in bytes. What is received at a time has to fit into the
/// controller's FIFO of 10 KiB, or it is sent again after a second.
pub const BUFFER: usize = 4096;
/// The buffers of a TCP socket: for what is received, and for what is sent.
pub type Buffers = [[u8; BUFFER]; 2];
/// How long a peer may be silent while something is under way to it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The TCP sockets of a program, at most.
pub const SOCKETS: usize = 4;
/// Ports of connections that begin here.
const EPHEMERAL: core::ops::Range<u16> = 49152..65535;

/// The network: its board, and TCP sockets in a set.
pub struct Network {
    board: Board,
    device: Lan9118,
    interface: Interface,
    sockets: SocketSet<'static>,
    /// Of the next connection that begins here.
    port: u16,
}

impl Network {
    /// Starts the network. The seed is to differ from start to start: numbers of TCP come from it, which
    /// others should not guess.
    ///
    /// # Errors
    ///
    /// There is no Ethernet controller that works.
    ///
    /// # Panics
    ///
    /// If it was called before.
    pub fn new(mut board: Board, seed: u64) -> Result<Self, Fault> {
        // SAFETY: the board has this controller there, and there is one `Board`.
        let mut device = unsafe { Lan9118::new(Lan9118::MPS2)? };
        let mut config = Config::new(device.address()?.into());
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut device, instant(board.now()));
        // There is room for two addresses and two routes.
        interface.update_ip_addrs(|addresses| addresses.extend([ADDRESS]));
        let _ = interface.routes_mut().add_default_ipv4_route(HOST);
        let storage =
            singleton!(: [SocketStorage<'static>; SOCKETS] = [SocketStorage::EMPTY; SOCKETS]);
        let sockets = SocketSet::new(&mut storage.expect("the network is started once")[..]);
        let ports = EPHEMERAL.end - EPHEMERAL.start;
        // Not the same as before the last reset, whose connections the others may still have.
        let port = EPHEMERAL.start + (seed % u64::from(ports)) as u16;
        Ok(Self { board, device, interface, sockets, port })
    }

    /// The time since the start.
    pub fn instant(&mut self) -> wwr::Instant {
        wwr::Instant::from_nanos(self.board.now() * 1000)
    }

    /// Adds a TCP socket with these buffers. There is room for [`SOCKETS`].
    pub fn socket(&mut self, buffers: &'static mut Buffers) -> SocketHandle {
        let [incoming, outgoing] = buffers;
        let [incoming, outgoing] =
            [incoming, outgoing].map(|buffer| RingBuffer::new(&mut buffer[..]));
        let mut socket = tcp::Socket::new(incoming, outgoing);
        // What is written goes out at once: it is whole messages.
        socket.set_nagle_enabled(false);
        // Peers that vanish.
        socket.set_timeout(Some(TIMEOUT));
        self.sockets.add(socket)
    }

    /// A TCP socket. What is asked of it happens with the next [`poll`](Self::poll).
    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Begins to connect a socket to a port of the host. It is done when the socket `may_send`, and has failed
    /// when it no longer `is_active`.
    ///
    /// # Errors
    ///
    /// The socket has a connection already.
    pub fn connect(&mut self, handle: SocketHandle, port: u16) -> Result<(), tcp::ConnectError> {
        self.port = if self.port + 1 < EPHEMERAL.end { self.port + 1 } else { EPHEMERAL.start };
        let socket = self.sockets.get_mut::<tcp::Socket>(handle);
        socket.connect(self.interface.context(), (HOST, port), self.port)
    }

    /// Receives and sends what there is.
    pub fn poll(&mut self) {
        let now = instant(self.board.now());
        self.interface.poll(now, &mut self.device, &mut self.sockets);
    }

    /// Sleeps until something arrives, TCP has something to do, or until the deadline; half a second at most.
    pub fn wait(&mut self, deadline: Option<wwr::Instant>) {
        let deadline = deadline.map(|at| at.as_nanos().div_ceil(1000));
        let now = instant(self.board.now());
        let own =
            self.interface.poll_at(now, &self.sockets).map(|at| at.total_micros().max(0) as u64);
        let earlier = [own, deadline].into_iter().flatten().min();
        self.board.sleep(earlier, || self.device.is_idle());
    }
}

fn instant(microseconds: u64) -> Instant {
    // Wraps around after 292 000 years.
    Instant::from_micros(microseconds as i64)
}
