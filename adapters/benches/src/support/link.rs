//! The socket of a client, encrypted or not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use futures_rustls::rustls::pki_types::ServerName;
use futures_rustls::rustls::{ClientConfig, ClientConnection};

/// A connected socket. If it does not block, reading and writing end with
/// [`WouldBlock`](ErrorKind::WouldBlock) as those of the socket do.
#[derive(Debug)]
pub(crate) struct Link {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

impl Link {
    /// Takes over a socket that blocks, and makes a handshake of TLS on it if there is a configuration.
    pub(crate) fn new(mut socket: TcpStream, tls: Option<Arc<ClientConfig>>) -> io::Result<Self> {
        let Some(config) = tls else { return Ok(Self { socket, tls: None }) };
        let name = ServerName::from(socket.peer_addr()?.ip());
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self { socket, tls: Some(Box::new(tls)) })
    }

    pub(crate) const fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

/// Calls the system once, unless something is left that was decrypted before. Then the buffer was
/// smaller than a few records of TLS.
impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            if tls.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

/// Under TLS, all that was written has left after [`flush`](Write::flush).
impl Write for Link {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.tls.is_none() {
            return self.socket.write(data);
        }
        // What was taken before, of which there is a bounded amount, leaves first.
        self.flush()?;
        self.tls.as_mut().map_or(Ok(0), |tls| tls.writer().write(data))
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}
