//! How a WebSocket is opened, by hand: what it costs is not to be that of a client's library.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

const ACCEPT_CONF: u8 = 23;

/// Asks for a WebSocket.
pub(crate) fn ask(mut to: impl Write, address: SocketAddr) -> io::Result<()> {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    to.write_all(request.as_bytes())?;
    to.flush()
}

/// Reads the answer, byte by byte, so that nothing of what follows is taken.
pub(crate) fn take_answer(mut from: impl Read) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    if head.starts_with(b"HTTP/1.1 101 ") { Ok(()) } else { Err(unexpected("handshake")) }
}

/// Reads the first message of a server that speaks 2.0; short, so its frame has a header of two
/// bytes.
pub(crate) fn take_accept_conf(mut from: impl Read) -> io::Result<()> {
    let mut header = [0; 2];
    from.read_exact(&mut header)?;
    let mut message = vec![0; usize::from(header[1])];
    from.read_exact(&mut message)?;
    if message.first() == Some(&ACCEPT_CONF) { Ok(()) } else { Err(unexpected("accept-conf")) }
}

/// The server has sent another thing than this.
pub(crate) fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server sent another {what}"))
}
