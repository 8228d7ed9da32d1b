//! Tests what is below WebWire: the Ethernet controller and TCP, in both directions.
//!
//! `echo PORT SEED`, the seed as 64 hexadecimal digits: connects to an echo server at the host's port twice, and each time sends a megabyte and
//! compares what comes back; the server closes the connections. Then serves two connections as an echo server,
//! at port 7, and ends.
#![no_std]
#![no_main]

use core::panic::PanicInfo;

use cortex_m::singleton;
use cortex_m_rt::entry;
use cortex_m_semihosting::hprintln;
use smoltcp::iface::SocketHandle;
use wwr_firmware::board::{Board, CommandLine, exit, panicked};
use wwr_firmware::memory::{self, Usage};
use wwr_firmware::network::{BUFFER, Buffers, Network};
use wwr_firmware::random::Random;

/// What is sent over each connection.
const BYTES: usize = 1 << 20;
const CONNECTIONS: usize = 2;
const ECHO: u16 = 7;

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
    let port = arguments.word(1).and_then(|word| word.parse().ok()).ok_or("no port")?;
    let mut random = arguments.word(2).and_then(Random::from_hex).ok_or("no seed")?;
    let mut network =
        Network::new(Board::take(), random.number()).map_err(|_| "no Ethernet controller")?;
    let buffers = singleton!(: Buffers = [[0; BUFFER]; 2]).ok_or("started twice")?;
    let socket = network.socket(buffers);
    for number in 1..=CONNECTIONS {
        let began = network.instant();
        exchange(&mut network, socket, port)?;
        let took = network.instant().saturating_since(began).as_millis();
        hprintln!("connection {}: {} bytes there and back in {} ms", number, BYTES, took);
    }
    for number in 1..=CONNECTIONS {
        network.tcp(socket).listen(ECHO).map_err(|_| "cannot listen")?;
        hprintln!("listening {}", number);
        let bytes = serve(&mut network, socket)?;
        hprintln!("served {}: {} bytes", number, bytes);
    }
    hprintln!("{}", Usage::now());
    Ok(())
}

/// The byte at a place of the stream. The period is a prime number: nothing that is lost goes unnoticed.
fn pattern(place: usize) -> u8 {
    (place % 251) as u8
}

/// Connects, sends, compares, and waits for the end.
fn exchange(network: &mut Network, handle: SocketHandle, port: u16) -> Result<(), &'static str> {
    network.connect(handle, port).map_err(|_| "cannot connect")?;
    let (mut sent, mut received) = (0, 0);
    let mut same = true;
    loop {
        network.poll();
        let socket = network.tcp(handle);
        if socket.can_send() && sent < BYTES {
            sent += socket
                .send(|room| {
                    let length = room.len().min(BYTES - sent);
                    for (place, byte) in (sent..).zip(&mut room[..length]) {
                        *byte = pattern(place);
                    }
                    (length, length)
                })
                .map_err(|_| "not connected")?;
        }
        while socket.can_recv() {
            received += socket
                .recv(|bytes| {
                    same &= (received..).zip(&*bytes).all(|(place, byte)| *byte == pattern(place));
                    (bytes.len(), bytes.len())
                })
                .map_err(|_| "not connected")?;
        }
        if !same {
            return Err("received something else than what was sent");
        }
        if !socket.may_recv() && socket.may_send() && received == BYTES {
            // The server has closed its side.
            socket.close();
        }
        if !socket.is_open() {
            return if received == BYTES { Ok(()) } else { Err("the connection ended early") };
        }
        network.wait(None);
    }
}

/// Sends back what comes, until the client closes its side. Returns how much that was.
fn serve(network: &mut Network, handle: SocketHandle) -> Result<usize, &'static str> {
    let mut bytes = 0;
    loop {
        network.poll();
        let socket = network.tcp(handle);
        let mut buffer = [0; BUFFER];
        while socket.can_recv() && socket.can_send() {
            let room = buffer.len().min(socket.send_capacity() - socket.send_queue());
            let length = socket.recv_slice(&mut buffer[..room]).map_err(|_| "not connected")?;
            bytes += socket.send_slice(&buffer[..length]).map_err(|_| "not connected")?;
        }
        if socket.may_send() && !socket.may_recv() && !socket.is_listening() {
            socket.close();
        }
        if !socket.is_open() {
            return Ok(bytes);
        }
        network.wait(None);
    }
}
