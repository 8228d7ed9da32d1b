//! What both examples need of HTTP and WebSocket on a blocking socket (RFC 6455 §5).

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use wwr::CloseFrame;

/// The longest head of a request or of an answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The longest message that is read, in bytes.
pub(crate) const MAX_MESSAGE: usize = 1024 * 1024;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// What the peer sent.
#[derive(Debug)]
pub(crate) enum Incoming {
    Binary(Bytes),
    Text(Bytes),
    Ping(Vec<u8>),
    Pong,
    Closed(CloseFrame),
}

/// Reads a head of HTTP with the empty line at its end. The rest stays in the socket, since what
/// follows may be WebSocket frames: hence one byte at a time.
pub(crate) fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
        if head.len() > MAX_HEAD {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    Ok(head)
}

/// Reads one message, or one control frame. `partial` is what has come of a fragmented message, and
/// belongs to the socket. `masked`: whether the peer is a client, whose frames have to be masked.
pub(crate) fn read(
    stream: &mut TcpStream,
    partial: &mut Option<(bool, Vec<u8>)>,
    masked: bool,
) -> io::Result<Incoming> {
    loop {
        let mut start = [0; 2];
        stream.read_exact(&mut start)?;
        let (fin, opcode) = (start[0] & FIN != 0, start[0] & !FIN);
        let length = match start[1] & !MASKED {
            126 => usize::from(u16::from_be_bytes(read_array(stream)?)),
            127 => usize::try_from(u64::from_be_bytes(read_array(stream)?)).unwrap_or(usize::MAX),
            short => usize::from(short),
        };
        let so_far = partial.as_ref().map_or(0, |(_, bytes)| bytes.len());
        let is_control = opcode >= CLOSE;
        let most = if is_control { 125 } else { MAX_MESSAGE - so_far };
        if length > most || (start[1] & MASKED != 0) != masked || is_control && !fin {
            return Err(ErrorKind::InvalidData.into());
        }
        let mask: [u8; 4] = if masked { read_array(stream)? } else { [0; 4] };
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload)?;
        apply(mask, &mut payload);
        match (opcode, partial.take()) {
            (PING, before) => {
                *partial = before;
                return Ok(Incoming::Ping(payload));
            }
            (PONG, before) => {
                *partial = before;
                return Ok(Incoming::Pong);
            }
            (CLOSE, _) => {
                let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default());
                return Ok(Incoming::Closed(CloseFrame::received(code, &reason)));
            }
            (TEXT | BINARY, None) => *partial = Some((opcode == TEXT, payload)),
            (CONTINUATION, Some((text, mut before))) => {
                before.append(&mut payload);
                *partial = Some((text, before));
            }
            _ => return Err(ErrorKind::InvalidData.into()),
        }
        if fin && let Some((text, frame)) = partial.take() {
            // RFC 6455 §8.1: text that is not UTF-8 ends the connection.
            if text && std::str::from_utf8(&frame).is_err() {
                return Err(ErrorKind::InvalidData.into());
            }
            let frame = frame.into();
            return Ok(if text { Incoming::Text(frame) } else { Incoming::Binary(frame) });
        }
    }
}

/// Appends a frame to what is to be written. Clients mask their frames, with a random `mask`.
pub(crate) fn append(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) {
    out.push(FIN | opcode);
    let masked = if mask.is_some() { MASKED } else { 0 };
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..126), _) => out.push(masked | length),
        (_, Ok(length)) => {
            out.push(masked | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask.unwrap_or_default()[..mask.map_or(0, |mask| mask.len())]);
    let start = out.len();
    out.extend_from_slice(payload);
    apply(mask.unwrap_or_default(), &mut out[start..]);
}

/// The payload of a close frame.
pub(crate) fn close_payload(frame: &CloseFrame) -> Vec<u8> {
    [&frame.code().to_be_bytes(), frame.reason().as_bytes()].concat()
}

/// Writes everything at once.
pub(crate) fn write(stream: &mut TcpStream, out: &mut Vec<u8>) -> io::Result<()> {
    stream.write_all(out)?;
    out.clear();
    Ok(())
}

fn read_array<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}
