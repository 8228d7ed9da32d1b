//! The text of an answer that refuses a request.

use std::fmt;

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use hyper::http::response::Parts;

use super::redirect::NotFollowed;
use super::text::shown;

/// The most characters that are shown of the server's text.
const MAX_SAID: usize = 120;

/// A refusal, as text for people: its status, the target of a redirect, and the server's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: u16,
    redirect: Option<NotFollowed>,
    /// The first line of the text, or the title of the page; may be empty.
    said: String,
}

impl Refusal {
    /// Adds where the server sends clients.
    pub(super) fn redirecting(self, redirect: Option<NotFollowed>) -> Self {
        Self { redirect, ..self }
    }

    /// Returns status and text, without the target of a redirect.
    pub(super) fn text(&self) -> String {
        let separator = if self.said.is_empty() { "" } else { ": " };
        format!("{}{separator}{}", self.status, self.said)
    }

    /// `body` may be only the beginning of it.
    pub(super) fn new(head: &Parts, body: &[u8]) -> Self {
        Self { status: head.status.as_u16(), redirect: None, said: said(&head.headers, body) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answers with status {}", self.status)?;
        if let Some(redirect) = &self.redirect {
            write!(f, " and {redirect}")?;
        }
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}

/// Returns the first line of a text that is not empty, or the title of a page. Empty for anything
/// but text.
fn said(headers: &HeaderMap, body: &[u8]) -> String {
    let text_of = |name| headers.get(name).map(|value| value.as_bytes().to_ascii_lowercase());
    let plain = text_of(CONTENT_ENCODING).is_none_or(|coding| coding.trim_ascii() == b"identity");
    let kind = text_of(CONTENT_TYPE).unwrap_or_default();
    let is_text = [&b"image/"[..], b"audio/", b"video/", b"font/", b"application/octet-stream"]
        .iter()
        .all(|other| !kind.starts_with(other));
    // Compressed, without a header that says so.
    let is_gzip = body.starts_with(b"\x1f\x8b");
    if !plain || !is_text || is_gzip {
        return String::new();
    }
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim();
    let is_page = text.starts_with('<') || kind.windows(4).any(|part| part == b"html");
    if is_page {
        return shown(&title(text).unwrap_or_default(), MAX_SAID);
    }
    let line = text.split(['\r', '\n']).next().unwrap_or_default();
    shown(line.trim_end(), MAX_SAID)
}

/// Returns the title of an HTML page.
fn title(page: &str) -> Option<String> {
    // Only ASCII changes, so that positions stay the same.
    let lower = page.to_ascii_lowercase();
    let begin = lower.find("<title")?;
    let begin = begin + lower.get(begin..)?.find('>')? + 1;
    let end = lower.get(begin..)?.find("</title").map_or(page.len(), |length| begin + length);
    let words: Vec<_> = page.get(begin..end)?.split_whitespace().collect();
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    let title = words.join(" ");
    Some(entities.iter().fold(title, |title, (entity, text)| title.replace(entity, text)))
}

#[cfg(test)]
mod tests {
    use hyper::Response;

    use super::super::redirect::{Asked, Limits, follow};
    use super::*;

    fn refusal(status: u16, headers: &[(&str, &str)], body: &[u8]) -> String {
        let mut builder = Response::builder().status(status);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let head = builder.body(()).unwrap().into_parts().0;
        let redirect = follow(
            Asked::Preflight,
            &head,
            &"ws://host/".parse().unwrap(),
            Limits { followed: 0, most: 0, stays: false },
        );
        Refusal::new(&head, body).redirecting(redirect.and_then(Result::err)).to_string()
    }

    fn of_body(headers: &[(&str, &str)], body: &[u8]) -> String {
        let text = refusal(403, headers, body);
        let said = text.strip_prefix("the server answers with status 403").unwrap();
        said.strip_prefix(": ").unwrap_or(said).into()
    }

    #[test]
    fn the_text_of_a_server_is_one_line_of_bounded_length() {
        for (body, line) in [
            (&b""[..], ""),
            (b"\r\n\r\nsecond", "second"),
            (b" no entry \nsecond", "no entry"),
            (b"no entry\rsecond", "no entry"),
            (b"\xef\xbb\xbfno entry", "no entry"),
            (b"\x1b[2J\xff", "\\u{1b}[2J\u{fffd}"),
            (b"{\"error\":\"it's \\\\\"}", "{\"error\":\"it's \\\\\"}"),
            (b"\x1f\x8b\x08\0garbage", ""),
        ] {
            assert_eq!(of_body(&[], body), line);
        }
        let long = of_body(&[], "ä".repeat(100_000).as_bytes());
        assert_eq!(long, "ä".repeat(MAX_SAID) + "...");
    }

    #[test]
    fn pages_show_their_title_and_binary_data_nothing() {
        let page = b"<!DOCTYPE html>\n<HTML><head><Title lang=en>\n 502  Bad\nGateway &amp; so on \
                     </TITLE></head><body>no";
        assert_eq!(of_body(&[("Content-Type", "text/html")], page), "502 Bad Gateway & so on");
        assert_eq!(of_body(&[], page), "502 Bad Gateway & so on");
        assert_eq!(of_body(&[], b"<title>cut sho"), "cut sho");
        assert_eq!(of_body(&[], b"<html><h1>no title"), "");
        assert_eq!(of_body(&[], b"<title"), "");
        assert_eq!(of_body(&[("Content-Type", "Text/HTML; charset=utf-8")], b"no page"), "");
        assert_eq!(of_body(&[("Content-Type", "image/png")], b"\x89PNG"), "");
        assert_eq!(of_body(&[("Content-Encoding", "br")], b"\x0b\x02\x80"), "");
        assert_eq!(of_body(&[("Content-Encoding", "Identity")], b"no"), "no");
        assert_eq!(of_body(&[("Content-Type", "application/json")], b"{}"), "{}");
    }

    #[test]
    fn redirects_say_where_to() {
        let to = [("Location", "http://example.com/\tx")];
        assert_eq!(
            refusal(302, &to, b"Found"),
            "the server answers with status 302 and sends clients to ws://example.com/x; connect \
             there, or set max_redirects: Found"
        );
        assert_eq!(
            refusal(300, &to, b"Found"),
            "the server answers with status 300 and sends clients to http://example.com/\\tx; \
             clients do not follow this status: Found"
        );
        assert_eq!(refusal(404, &to, b""), "the server answers with status 404");
        let long = "x".repeat(10_000);
        assert!(refusal(301, &[("Location", &long)], b"").len() < 400);
    }
}
