//! What pages that a server has of its own are made of: answers that keep other sites out, files that browsers
//! keep, and the style and the script that the inspection page has in common with others.
//!
//! ```
//! use wwr_async::http::{Request, StatusCode};
//! use wwr_async::inspect::assets;
//!
//! let asked = Request::get("/base.css").body(()).unwrap().into_parts().0;
//! let [style, ..] = assets::SHARED;
//! let first = assets::file(&asked, style.kind, style.text);
//! assert_eq!(first.status(), StatusCode::OK);
//!
//! let known = Request::get("/base.css").header("if-none-match", &first.headers()["etag"]);
//! let asked = known.body(()).unwrap().into_parts().0;
//! assert_eq!(assets::file(&asked, style.kind, style.text).status(), StatusCode::NOT_MODIFIED);
//! ```

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

/// What a page may do: load its own files and ask its own server. Nothing becomes markup or script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// A file of a page.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Asset {
    /// Its name, without a path.
    pub name: &'static str,
    /// Its media type.
    pub kind: &'static str,
    /// What is in it.
    pub text: &'static str,
}

impl Asset {
    /// Describes a file.
    pub const fn new(name: &'static str, kind: &'static str, text: &'static str) -> Self {
        Self { name, kind, text }
    }
}

/// The media type of pages.
pub const HTML: &str = "text/html; charset=utf-8";

/// The media type of styles.
pub const CSS: &str = "text/css; charset=utf-8";

/// The media type of scripts.
pub const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What pages have in common: `base.css` with colours, controls and the top, `elements.js`, which makes elements
/// of texts that somebody else has chosen, and `icon.svg`.
pub const SHARED: [Asset; 3] = [
    Asset::new("base.css", CSS, include_str!("assets/base.css")),
    Asset::new("elements.js", SCRIPT, include_str!("assets/elements.js")),
    Asset::new("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Returns an answer with this content, which nobody keeps. Its headers allow a page its own files and its own
/// server, no markup from text and no frame around it; the caller may replace them.
pub fn answer(kind: &'static str, content: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(content.into());
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Answers a `GET` or `HEAD` of a file that is the same for everybody. Browsers keep it and ask each time whether
/// it is the same: another version of the server may have another. The answer is then 304, without content
/// (RFC 9110 §13.1.2). Otherwise it is as [`answer`].
pub fn file(request: &Parts, kind: &'static str, content: impl Into<Bytes>) -> Response<Bytes> {
    let content = content.into();
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let tag = format!("{:016x}", hasher.finish());
    let mut response = if has(&request.headers, tag.as_bytes()) {
        let mut response = answer(kind, Bytes::new());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        answer(kind, content)
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        headers.insert(ETAG, tag);
    }
    response
}

/// Returns whether a client has the version with this tag, or any.
fn has(headers: &HeaderMap, tag: &[u8]) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().any(|line| lists(line.as_bytes(), tag))
}

/// Returns whether a line of `If-None-Match` has a tag, weak or not. What follows something else is not read.
fn lists(line: &[u8], tag: &[u8]) -> bool {
    let is_between = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
    if line.trim_ascii() == b"*" {
        return true;
    }
    let mut rest = line;
    loop {
        let start = rest.iter().position(|byte| !is_between(byte)).unwrap_or(rest.len());
        rest = rest.get(start..).unwrap_or_default();
        // A tag may have commas.
        let Some(one) = rest.strip_prefix(b"W/").unwrap_or(rest).strip_prefix(b"\"") else {
            return false;
        };
        let mut parts = one.splitn(2, |byte| *byte == b'"');
        let (Some(one), Some(more)) = (parts.next(), parts.next()) else { return false };
        if one == tag {
            return true;
        }
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn a_client_that_has_the_file_is_told_so_however_it_says_that() {
        let status = |lines: &[String]| {
            let mut request = Request::get("/");
            for line in lines {
                request = request.header(IF_NONE_MATCH, line);
            }
            let request = request.body(()).unwrap().into_parts().0;
            let answer = file(&request, CSS, "a {}");
            assert_eq!(answer.headers()[CACHE_CONTROL], "no-cache");
            let is_empty = answer.body().is_empty();
            assert_eq!(is_empty, answer.status() == StatusCode::NOT_MODIFIED);
            (answer.status().as_u16(), answer.headers()[ETAG].to_str().unwrap().to_owned())
        };
        let (first, tag) = status(&[]);
        assert_eq!(first, 200);
        let inner = tag.trim_matches('"');
        for (lines, expected) in [
            (vec![tag.clone()], 304),
            (vec![format!("W/{tag}")], 304),
            (vec![format!("\"a,b\", W/\"c\",{tag}")], 304),
            (vec![format!(" ,\t,{tag} , \"x\"")], 304),
            (vec!["\"x\"".into(), tag.clone()], 304),
            (vec!["*".into()], 304),
            (vec![" * ".into()], 304),
            (vec![String::new()], 200),
            (vec!["\"x\"".into()], 200),
            (vec!["\"*\"".into()], 200),
            (vec![inner.into()], 200),
            (vec![format!("\"{inner}")], 200),
            (vec![format!("w/{tag}")], 200),
            (vec![format!("\",{inner},\"")], 200),
            (vec![format!("x, {tag}")], 200),
        ] {
            assert_eq!(status(&lines).0, expected, "{lines:?}");
        }
    }

    #[test]
    fn answers_may_be_framed_and_kept_by_nobody() {
        let answer = answer(HTML, "a");
        for (name, value) in HEADERS {
            assert_eq!(answer.headers()[&name], value, "{name}");
        }
    }
}
