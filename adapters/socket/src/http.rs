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

/// Returns whether an answer says that it is the last on its socket.
pub(crate) fn closes(answer: &Answer) -> bool {
    connection_options(answer).any(|option| option.eq_ignore_ascii_case("close"))
}

/// Returns what the headers `Connection` of an answer have (RFC 9110 section 7.6.1).
fn connection_options(answer: &Answer) -> impl Iterator<Item = &str> {
    let is_connection = |(name, _): &&(&str, _)| name.eq_ignore_ascii_case("connection");
    let lines = answer.headers.iter().filter(is_connection);
    lines.flat_map(|(_, value)| value.split(',')).map(str::trim).filter(|option| !option.is_empty())
}

/// Appends an answer. `ends` says that it is the last on its socket. How long it is and whether it is the last is
/// said once, whatever its headers say of that.
pub(crate) fn write_answer(answer: &Answer, method: &str, ends: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    write_number(answer.status.into(), out);
    out.push(b' ');
    out.extend_from_slice(phrase(answer.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in &answer.headers {
        let is_ours = ["connection", "content-length", "transfer-encoding"];
        if !is_ours.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            write_header(name, value.as_bytes(), out);
        }
    }
    let lasts = ["close", "keep-alive"];
    let options = connection_options(answer)
        .filter(|option| !lasts.iter().any(|lasts| option.eq_ignore_ascii_case(lasts)))
        .chain((ends || closes(answer)).then_some("close"));
    let options: Vec<_> = options.collect();
    if !options.is_empty() {
        write_header("Connection", options.join(", ").as_bytes(), out);
    }
    // Without a body, and without a word about its length (RFC 9110 section 8.6).
    if matches!(answer.status, 101 | 204) {
        return out.extend_from_slice(b"\r\n");
    }
    // Never with a body (RFC 9110 sections 15.3.6 and 15.4.5).
    let body = match answer.status {
        205 | 304 => &[],
        _ => &answer.body[..],
    };
    if answer.status != 304 {
        out.extend_from_slice(b"Content-Length: ");
        write_number(body.len(), out);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if method != "HEAD" {
        out.extend_from_slice(body);
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
        assert_eq!(answer(204, false, "GET"), "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n");
        assert_eq!(answer(205, false, "GET"), "HTTP/1.1 205 \r\nA: b\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(answer(304, false, "GET"), "HTTP/1.1 304 \r\nA: b\r\n\r\n");
    }

    #[test]
    fn headers_of_an_answer_do_not_contradict_how_it_is_sent() {
        for (headers, ends, expected) in [
            (&[("content-length", "77")][..], false, "Content-Length: 2\r\n"),
            (&[("Transfer-Encoding", "chunked")], false, "Content-Length: 2\r\n"),
            (&[("Connection", "Close")], false, "Connection: close\r\nContent-Length: 2\r\n"),
            (&[("Connection", "keep-alive")], true, "Connection: close\r\nContent-Length: 2\r\n"),
            (&[("Connection", "closed")], false, "Connection: closed\r\nContent-Length: 2\r\n"),
            (
                &[("Upgrade", "websocket"), ("CONNECTION", "Upgrade , CLOSE")],
                true,
                "Upgrade: websocket\r\nConnection: Upgrade, close\r\nContent-Length: 2\r\n",
            ),
        ] {
            let headers = headers.iter().map(|(name, value)| (*name, (*value).into())).collect();
            let answer = Answer { status: 200, headers, body: "ok".into() };
            let mut out = Vec::new();
            write_answer(&answer, "GET", ends, &mut out);
            let out = String::from_utf8(out).unwrap();
            assert_eq!(out, alloc::format!("HTTP/1.1 200 OK\r\n{expected}\r\nok"));
        }
    }
}
