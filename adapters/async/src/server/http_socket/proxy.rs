//! The PROXY protocol of balancers without HTTP, versions 1 and 2.

use std::io;
use std::net::SocketAddr;

use futures_lite::io::{AsyncRead, AsyncReadExt};
use proxy_header::{ParseConfig, ProxyHeader};

/// How version 2 begins.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// How version 1 begins.
const WORD: &[u8] = b"PROXY ";

/// The longest header of version 1, with its line end.
const MAX_LINE: usize = 107;

/// The longest header of version 2. Addresses take at most 52 bytes, or 232 for Unix sockets. The
/// rest is for what balancers add, such as the name in a certificate.
const MAX_HEADER: usize = 4096;

/// Reads the header with which a trusted proxy begins, and nothing behind it. Returns the address
/// of its client. `None` if the proxy connects for itself, or names no address.
///
/// # Errors
///
/// The error of the socket, or [`InvalidData`](io::ErrorKind::InvalidData) if it does not begin
/// with such a header.
pub(super) async fn client(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<SocketAddr>> {
    // Every header of either version is longer.
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        read_version_2(stream, &mut header).await?;
    } else if header.starts_with(WORD) {
        read_version_1(stream, &mut header).await?;
    } else {
        return Err(no_header());
    }
    let (parsed, length) =
        ProxyHeader::parse(&header, ParseConfig::default()).map_err(|_| no_header())?;
    if length != header.len() {
        return Err(no_header());
    }
    Ok(parsed.proxied_address().map(|address| {
        let client = address.source;
        SocketAddr::new(client.ip().to_canonical(), client.port())
    }))
}

async fn read_version_2(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
) -> io::Result<()> {
    let mut rest = [0; 4];
    stream.read_exact(&mut rest).await?;
    header.extend(rest);
    let [_, _, length @ ..] = rest;
    let end = header.len() + usize::from(u16::from_be_bytes(length));
    if end > MAX_HEADER {
        return Err(no_header());
    }
    read_until(stream, header, end).await
}

async fn read_version_1(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
) -> io::Result<()> {
    while !header.ends_with(b"\n") {
        if header.len() >= MAX_LINE {
            return Err(no_header());
        }
        // One byte, as what is behind the line stays in the socket.
        read_until(stream, header, header.len() + 1).await?;
    }
    Ok(())
}

/// Reads until there are that many bytes.
async fn read_until(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut Vec<u8>,
    end: usize,
) -> io::Result<()> {
    let begin = header.len();
    header.resize(end, 0);
    stream.read_exact(header.get_mut(begin..).unwrap_or_default()).await
}

fn no_header() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no header of the PROXY protocol")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;
    use crate::test_runtime::TestStream;

    /// Returns the result for these bytes, sent at once or one by one, and what is left in the
    /// socket.
    fn read(sent: &[u8], slowly: bool) -> (io::Result<Option<SocketAddr>>, Vec<u8>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_nodelay(true).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let sent = sent.to_vec();
        let writer = std::thread::spawn(move || {
            let size = if slowly { 1 } else { sent.len().max(1) };
            for piece in sent.chunks(size) {
                // Fails once the reader has given up.
                let _ = peer.write_all(piece);
            }
        });
        let mut left = stream.try_clone().unwrap();
        let mut stream = smol::Async::new(stream).map(TestStream).unwrap();
        let client = smol::block_on(client(&mut stream));
        drop(stream);
        writer.join().unwrap();
        left.set_nonblocking(false).unwrap();
        let mut rest = Vec::new();
        let _ = left.read_to_end(&mut rest);
        (client, rest)
    }

    fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, addresses].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80];

    #[test]
    fn headers_of_both_versions_name_the_client_and_nothing_behind_them_is_read() {
        let mut v6 = [0; 36];
        v6[..2].copy_from_slice(&[0x20, 0x01]);
        v6[15] = 1;
        v6[33] = 7;
        let mapped = "PROXY TCP6 ::ffff:192.0.2.1 ::1 7 80\r\n";
        let more = [&V4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\r\n".to_vec(), Some("192.0.2.1:4660")),
            (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".to_vec(), Some("[2001:db8::1]:1")),
            (mapped.into(), Some("192.0.2.1:7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
            (version_2(0x21, 0x11, &V4), Some("192.0.2.1:4660")),
            (version_2(0x21, 0x11, &more), Some("192.0.2.1:4660")),
            (version_2(0x21, 0x21, &v6), Some("[2001::1]:7")),
            (version_2(0x20, 0x11, &V4), None),
            (version_2(0x20, 0x00, b""), None),
            (version_2(0x21, 0x00, b""), None),
            (version_2(0x21, 0x31, &[0; 216]), None),
        ] {
            for (slowly, behind) in
                [(false, &b"GET / HTTP/1.1\r\n"[..]), (true, b"\n\r\n"), (false, b"")]
            {
                let (found, left) = read(&[&header[..], behind].concat(), slowly);
                let shown = String::from_utf8_lossy(&header);
                assert_eq!(
                    found.unwrap().map(|client| client.to_string()).as_deref(),
                    client,
                    "{shown}"
                );
                assert_eq!(left, behind, "{shown}");
            }
        }
    }

    #[test]
    fn anything_but_a_header_is_an_error() {
        let long = [b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat();
        for sent in [
            &b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..],
            b"PROXY",
            b"PROXY TCP4 192.0.2.1",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80 \r\n",
            b"PROXY TCP4 ::1 ::1 1 1\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 66000 80\r\n",
            b"PROXY TCP4 192.0.2.1 10.0.0.1 4660 80\n",
            b"PROXY TCP5 192.0.2.1 10.0.0.1 4660 80\r\n",
            b"proxy unknown\r\n\r\n\r\n",
            b"PROXYUNKNOWN\r\n\r\n\r\n",
            b"PROXY \r\n\r\n\r\n\r\n\r\n",
            &long,
            &version_2(0x31, 0x11, &V4),
            &version_2(0x22, 0x11, &V4),
            &version_2(0x21, 0x44, &V4),
            &version_2(0x21, 0x11, &V4[..11]),
            &version_2(0x21, 0x21, &V4),
            &version_2(0x21, 0x11, &V4)[..20],
            &version_2(0x21, 0x11, &[0; MAX_HEADER]),
            &SIGNATURE[..],
            b"",
        ] {
            for slowly in [false, true] {
                let (found, _) = read(sent, slowly);
                assert!(found.is_err(), "{}: {found:?}", String::from_utf8_lossy(sent));
            }
        }
    }
}
