//! What the page asks to be decoded: lines of hexadecimal digits, answered as `wwr decode` prints them.

use anstream::StripStream;
use clap::ValueEnum as _;
use wwr::{Dialect, wire};
use wwr_smol::http::StatusCode;
use wwr_smol::http::request::Parts;
use wwr_smol::server::RequestBody;

use crate::args::Protocol;
use crate::dissect::dissect;
use crate::hex;

/// The longest body, in bytes.
pub(super) const LONGEST: usize = 256 * 1024;

/// How many lines a body may have.
pub(super) const MOST: usize = 256;

/// Reads the body of a request and decodes it. The query names the version of the protocol, as in
/// `protocol=2.0`; it is `wwr.1` without one.
pub(super) async fn answer(request: &Parts) -> (StatusCode, String) {
    let refuse = |status, text: &str| (status, format!("{text}\n"));
    let Some(protocol) = protocol(request.uri.query()) else {
        return refuse(StatusCode::BAD_REQUEST, "protocol= is 1.4, 1.5, 2.0 or wwr.1");
    };
    let body = match request.extensions.get::<RequestBody>() {
        Some(body) => body.read(LONGEST).await,
        None => Ok(bytes::Bytes::new()),
    };
    let body = match body {
        Ok(body) => body,
        Err(error) if error.is_too_long() => {
            let text = format!("A body has {LONGEST} bytes at most");
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, &text);
        }
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    match decode(protocol, &body) {
        Ok(text) => (StatusCode::OK, text),
        Err(Wrong::TooMany) => {
            refuse(StatusCode::PAYLOAD_TOO_LARGE, &format!("A body has {MOST} lines at most"))
        }
        Err(Wrong::NotHex(number, error)) => {
            refuse(StatusCode::BAD_REQUEST, &format!("line {number}: {error}"))
        }
    }
}

fn protocol(query: Option<&str>) -> Option<Protocol> {
    match query {
        None => Some(Protocol::Wwr1),
        Some(query) => Protocol::from_str(query.strip_prefix("protocol=")?, false).ok(),
    }
}

/// Why a body is not decoded.
#[derive(Debug)]
enum Wrong {
    TooMany,
    /// The number of the line, from 1.
    NotHex(u64, hex::NotHex),
}

fn decode(protocol: Protocol, body: &[u8]) -> Result<String, Wrong> {
    let lines = || body.strip_suffix(b"\n").unwrap_or(body).split(|byte| *byte == b'\n');
    if lines().count() > MOST {
        return Err(Wrong::TooMany);
    }
    let mut out = StripStream::new(Vec::new());
    for (number, line) in (1..).zip(lines()) {
        let frame = hex::parse(line).map_err(|error| Wrong::NotHex(number, error))?;
        let decoded = wire::decode(Dialect::from(protocol), frame.clone());
        // Memory accepts everything.
        let _ = dissect(&mut out, number, &frame, &decoded);
    }
    Ok(String::from_utf8_lossy(&out.into_inner()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_message() {
        let text = decode(Protocol::V2_0, b"ff\n0a\n").unwrap();
        assert!(text.starts_with("message 1: "), "{text}");
        assert!(text.contains("\n\nmessage 2: "), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains("message 3"), "{text}");
    }

    #[test]
    fn what_is_no_message_and_too_much_are_refused() {
        assert!(matches!(decode(Protocol::V1_4, b"00\nxyz\n"), Err(Wrong::NotHex(2, _))));
        let most = "00\n".repeat(MOST);
        assert!(decode(Protocol::V1_4, most.as_bytes()).is_ok());
        assert!(matches!(decode(Protocol::V1_4, (most + "00").as_bytes()), Err(Wrong::TooMany)));
        assert!(matches!(decode(Protocol::V1_4, &[b'\n'; LONGEST]), Err(Wrong::TooMany)));
    }

    #[test]
    fn the_query_names_the_version() {
        assert!(matches!(protocol(None), Some(Protocol::Wwr1)));
        assert!(matches!(protocol(Some("protocol=1.5")), Some(Protocol::V1_5)));
        for query in ["", "protocol=", "protocol=3.0", "protocol=2.0&x=1"] {
            assert!(protocol(Some(query)).is_none(), "{query}");
        }
    }
}
