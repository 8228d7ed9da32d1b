//! Heads of HTTP/1.1 (RFC 9112), by httparse.

use alloc::vec::Vec;

use bytes::Bytes;
use wwr::server::gate::{Answer, Head, HttpVersion, Refusal};

/// The most header lines that are read.
const MAX_HEADERS: usize = 100;

/// A header line.
pub(crate) type Header<'a> = (&'a str, &'a [u8]);

/// A request head, borrowed from the bytes that were received.
pub(crate) struct Request<'a> {
    /// For the gate.
    pub(crate) head: Head<'a>,
    /// As it was sent.
    pub(crate) method: &'a str,
    /// As it was sent.
    pub(crate) target: &'a str,
    pub(crate) headers: Vec<Header<'a>>,
    /// The length of the head in bytes.
    pub(crate) length: usize,
}

impl<'a> Request<'a> {
    /// Reads a head. `None` if its end has not come.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoHttp`], or [`Refusal::HeadTooLong`] for one of too many lines.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Option<Self>, Refusal> {
        let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut lines);
        let length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLong),
            Err(_) => return Err(Refusal::NoHttp),
        };
        let version = match request.version {
            Some(0) => HttpVersion::Http10,
            _ => HttpVersion::Http11,
        };
        let (method, target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
        let headers: Vec<_> = request.headers.iter().map(|line| (line.name, line.value)).collect();
        let head = Head::new(method, target, version, headers.iter().copied());
        Ok(Some(Self { head, method, target, headers, length }))
    }
}

/// Returns the head that stands for a request that cannot be read.
pub(crate) fn unread<'a>() -> Head<'a> {
    Head::new("", "/", HttpVersion::Http11, [])
}

/// Appends an answer. `ends` says that it is the last on its socket.
pub(crate) fn write_answer(answer: &Answer, method: &str, ends: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_number(answer.status.into(), out);
    out.push(b' ');
    out.extend_from_slice(phrase(answer.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    let mut closes = false;
    for (name, value) in &answer.headers {
        let is_connection = name.eq_ignore_ascii_case("connection");
        closes |= is_connection && value.to_ascii_lowercase().contains("close");
        write_header(name, value.as_bytes(), out);
    }
    if ends && !closes {
        write_header("Connection", b"close", out);
    }
    if answer.status == 101 {
        return out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"Content-Length: ");
    write_number(answer.body.len(), out);
    out.extend_from_slice(b"\r\n\r\n");
    if method != "HEAD" {
        out.extend_from_slice(&answer.body);
    }
}

/// Returns whether this is a header line, and only one (RFC 9110 section 5.5).
pub(crate) fn is_header(name: &str, value: &[u8]) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_text = |byte: u8| byte == b'\t' || byte >= b' ' && byte != 0x7f;
    !name.is_empty() && name.bytes().all(is_token) && value.iter().copied().all(is_text)
}

/// Appends a header line. Leaves out one that would be something else for its reader.
pub(crate) fn write_header(name: &str, value: &[u8], out: &mut Vec<u8>) {
    if !is_header(name, value) {
        return;
    }
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

fn write_number(mut number: usize, out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            return out[start..].reverse();
        }
    }
}

/// Returns the phrase of a status, for people who read what was sent. Programs ignore it (RFC 9112 section
/// 4).
const fn phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}

/// The head of an answer, borrowed from the bytes that were received.
pub(crate) struct Response<'a> {
    pub(crate) version: (u8, u8),
    pub(crate) status: u16,
    pub(crate) headers: Vec<Header<'a>>,
    /// The length of the head in bytes.
    pub(crate) length: usize,
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoHttp;

impl<'a> Response<'a> {
    /// Reads a head. `None` if its end has not come.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Option<Self>, NoHttp> {
        let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut lines);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(NoHttp),
        };
        let headers = response.headers.iter().map(|line| (line.name, line.value)).collect();
        let version = (1, response.version.unwrap_or(0));
        Ok(Some(Self { version, status: response.code.unwrap_or(0), headers, length }))
    }

    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&'a [u8]> {
        let line = self.headers.iter().find(|(line, _)| line.eq_ignore_ascii_case(name))?;
        Some(line.1.trim_ascii())
    }

    /// Returns how the body ends. Only the body of a preflight is read, and it is short.
    pub(crate) fn body(&self) -> Body {
        if self.status == 204 || self.status == 304 {
            return Body::Bytes(0);
        }
        let chunked = self.header("transfer-encoding");
        if chunked.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked")) {
            return Body::Chunked;
        }
        let length = self.header("content-length").and_then(|length| {
            core::str::from_utf8(length).ok().and_then(|length| length.parse().ok())
        });
        length.map_or(Body::UntilEnd, Body::Bytes)
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// After so many bytes.
    Bytes(usize),
    /// With an empty chunk (RFC 9112 section 7.1).
    Chunked,
    /// With the socket.
    UntilEnd,
}

impl Body {
    /// Reads a body. `None` if its end has not come. A body of more than `most` bytes is cut behind that.
    pub(crate) fn read(
        self,
        bytes: &[u8],
        socket_ended: bool,
        most: usize,
    ) -> Result<Option<Bytes>, NoHttp> {
        let cut = |body: &[u8]| Bytes::copy_from_slice(&body[..body.len().min(most)]);
        match self {
            Self::Bytes(length) => match bytes.get(..length) {
                Some(body) => Ok(Some(cut(body))),
                None if bytes.len() >= most => Ok(Some(cut(bytes))),
                None if socket_ended => Err(NoHttp),
                None => Ok(None),
            },
            Self::UntilEnd => Ok((socket_ended || bytes.len() >= most).then(|| cut(bytes))),
            Self::Chunked => {
                let (mut rest, mut body) = (bytes, Vec::new());
                loop {
                    let (start, length) = match httparse::parse_chunk_size(rest) {
                        Ok(httparse::Status::Complete(found)) => found,
                        Ok(httparse::Status::Partial) if socket_ended => return Err(NoHttp),
                        Ok(httparse::Status::Partial) => return Ok(None),
                        Err(_) => return Err(NoHttp),
                    };
                    let length = usize::try_from(length).map_err(|_| NoHttp)?;
                    if length == 0 {
                        return Ok(Some(body.into()));
                    }
                    let chunk = &rest[start..];
                    body.extend_from_slice(&chunk[..chunk.len().min(length)]);
                    if body.len() >= most {
                        return Ok(Some(cut(&body)));
                    }
                    rest = match length.checked_add(2).and_then(|end| chunk.get(end..)) {
                        Some(rest) => rest,
                        None if socket_ended => return Err(NoHttp),
                        None => return Ok(None),
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    #[test]
    fn a_body_is_read_however_it_ends() {
        let read = |body: Body, bytes: &[u8], ended| {
            body.read(bytes, ended, 8)
                .map(|body| body.map(|body| String::from_utf8(body.into()).unwrap()))
        };
        let some = |body: &str| Ok(Some(String::from(body)));
        for (body, bytes, ended, expected) in [
            (Body::Bytes(3), &b"abcdef"[..], false, some("abc")),
            (Body::Bytes(0), b"", false, some("")),
            (Body::Bytes(3), b"ab", false, Ok(None)),
            (Body::Bytes(3), b"ab", true, Err(NoHttp)),
            (Body::Bytes(usize::MAX), b"abcdefghij", false, some("abcdefgh")),
            (Body::UntilEnd, b"abc", false, Ok(None)),
            (Body::UntilEnd, b"abc", true, some("abc")),
            (Body::UntilEnd, b"abcdefghij", false, some("abcdefgh")),
            (Body::Chunked, b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", false, some("abcde")),
            (Body::Chunked, b"3\r\nabc\r\n", false, Ok(None)),
            (Body::Chunked, b"3\r\nabc\r\n", true, Err(NoHttp)),
            (Body::Chunked, b"a\r\nabcdefghij", false, some("abcdefgh")),
            (Body::Chunked, b"x\r\n", false, Err(NoHttp)),
            (Body::Chunked, b"ffffffffffffffff\r\nab", false, Ok(None)),
            (Body::Chunked, b"ffffffffffffffff\r\nabcdefghij", false, some("abcdefgh")),
        ] {
            assert_eq!(read(body, bytes, ended), expected, "{body:?} {bytes:?} {ended}");
        }
    }

    #[test]
    fn answers_say_how_long_they_are_and_whether_they_are_the_last() {
        let answer = |status, ends, method| {
            let headers = alloc::vec![("A", "b".into())];
            let answer = Answer { status, headers, body: "hello".into() };
            let mut out = Vec::new();
            write_answer(&answer, method, ends, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            answer(404, true, "GET"),
            "HTTP/1.1 404 Not Found\r\nA: b\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
        );
        assert_eq!(
            answer(200, false, "HEAD"),
            "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\n"
        );
        assert_eq!(answer(101, false, "GET"), "HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n");
    }
}
