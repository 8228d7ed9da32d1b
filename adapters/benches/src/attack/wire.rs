//! Bytes for the server, good ones and bad ones.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::sockets;

/// How long the server may take for anything.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

/// First bytes of frames.
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const PING: u8 = 0x89;
pub(crate) const BEGINNING: u8 = 0x02;
pub(crate) const MIDDLE: u8 = 0x00;

pub(crate) const IDENTIFIER: [u8; 8] = *b"8 bytes.";

/// Types of messages.
pub(crate) const RESTORE: u8 = 32;
pub(crate) const HEARTBEAT: u8 = 33;
pub(crate) const REQUEST: u8 = 127;
pub(crate) const REPLY: u8 = 191;

/// Where the good client comes from.
pub(crate) const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);

/// Where the attack comes from.
pub(crate) const EVIL: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

/// A TCP connection from an address of this host.
pub(crate) fn dial(from: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    sockets::dial(from, to, TIMEOUT)
}

/// A frame with a mask of zeros, which changes nothing but is one as well.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend(payload);
    frame
}

/// The header of a frame that may never come.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => header.push(0x80 | length),
        (_, Ok(length)) => {
            header.push(0x80 | 126);
            header.extend(length.to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header.extend([0; 4]);
    header
}

/// A request to have the payload back.
pub(crate) fn echo(payload: &[u8]) -> Vec<u8> {
    [&[REQUEST][..], &IDENTIFIER, b"\x04echo", payload].concat()
}

/// A request for the session of a key.
pub(crate) fn restore(key: &[u8]) -> Vec<u8> {
    [&[RESTORE][..], &IDENTIFIER, key].concat()
}
