//! Which redirects are followed (RFC 9110 §15.4), as pure functions.

use std::fmt;

use hyper::header::LOCATION;
use hyper::http::response::Parts;

use super::text::shown;
use super::url::{InvalidUrl, ServerUrl};

/// The most characters that are shown of a target.
const MAX_SHOWN: usize = 200;

/// A request that may be answered with a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The preflight, which has a method of its own.
    Preflight,
    /// The handshake of the WebSocket, a `GET`.
    Handshake,
}

/// A redirect that is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotFollowed {
    /// The target, in a form for logs.
    target: String,
    reason: Reason,
}

/// Why a redirect is not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Reason {
    /// The client follows none.
    Off,
    /// It has followed as many as it may.
    TooMany,
    /// What comes from TLS would go on without.
    Downgrade,
    /// The target cannot be one.
    Target(InvalidUrl),
    /// The status is not one that can be followed.
    Status,
}

/// Decides about an answer to a request for a URL, after `followed` of at most `most` redirects. Returns
/// where to ask instead. `None` if it does not redirect.
pub(super) fn follow(
    asked: Asked,
    answer: &Parts,
    url: &ServerUrl,
    followed: u32,
    most: u32,
) -> Option<Result<ServerUrl, NotFollowed>> {
    let location = answer.headers.get(LOCATION).filter(|_| answer.status.is_redirection())?;
    let location = String::from_utf8_lossy(location.as_bytes());
    let location = location.trim();
    let not_followed =
        |target: &str, reason| Some(Err(NotFollowed { target: shown(target, MAX_SHOWN), reason }));
    let is_followed = match answer.status.as_u16() {
        301 | 302 | 307 | 308 => true,
        // It asks for a GET, which the preflight is not.
        303 => asked == Asked::Handshake,
        _ => false,
    };
    if !is_followed {
        return not_followed(location, Reason::Status);
    }
    let target = match url.redirected(location) {
        Ok(target) => target,
        Err(error) => return not_followed(location, Reason::Target(error)),
    };
    let reason = if url.is_secure() && !target.is_secure() {
        Reason::Downgrade
    } else if followed < most {
        return Some(Ok(target));
    } else if most == 0 {
        Reason::Off
    } else {
        Reason::TooMany
    };
    not_followed(&target.to_string(), reason)
}

impl fmt::Display for NotFollowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sends clients to {}", self.target)?;
        match &self.reason {
            Reason::Off => f.write_str("; connect there, or set max_redirects"),
            Reason::TooMany => f.write_str("; that is one redirect more than max_redirects allows"),
            Reason::Downgrade => {
                f.write_str("; that has no TLS, so clients of wss:// are not sent there")
            }
            Reason::Target(error) => write!(f, "; this client cannot go there: {error}"),
            Reason::Status => f.write_str(", which this one does not follow"),
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::Response;

    use super::*;

    /// Where a client is sent, or why it does not go.
    fn sent(
        asked: Asked,
        status: u16,
        from: &str,
        location: &str,
        left: (u32, u32),
    ) -> Option<Result<String, String>> {
        let answer = Response::builder().status(status).header(LOCATION, location).body(());
        let answer = answer.unwrap().into_parts().0;
        let decided = follow(asked, &answer, &from.parse().unwrap(), left.0, left.1);
        let shown = |error: NotFollowed| error.to_string();
        decided.map(|decided| decided.map(|url| url.to_string()).map_err(shown))
    }

    #[test]
    fn the_status_and_the_method_decide() {
        for (status, preflight, handshake) in [
            (200, None, None),
            (101, None, None),
            (404, None, None),
            (300, Some(false), Some(false)),
            (301, Some(true), Some(true)),
            (302, Some(true), Some(true)),
            (303, Some(false), Some(true)),
            (304, Some(false), Some(false)),
            (305, Some(false), Some(false)),
            (307, Some(true), Some(true)),
            (308, Some(true), Some(true)),
        ] {
            for (asked, follows) in [(Asked::Preflight, preflight), (Asked::Handshake, handshake)] {
                let sent = sent(asked, status, "ws://a/", "http://b/", (0, 1));
                assert_eq!(sent.map(|sent| sent.is_ok()), follows, "{asked:?} {status}");
            }
        }
    }

    #[test]
    fn targets_are_read_against_the_url_of_the_request() {
        for (from, location, to) in [
            ("ws://a:1/b/c", "/d?e", "ws://a:1/d?e"),
            ("ws://a:1/b/c", "d", "ws://a:1/b/d"),
            ("ws://a:1/b", "//c/", "ws://c/"),
            ("ws://a/", "http://b:80/x#y", "ws://b/x"),
            ("ws://a/", " http://u:p@b/ ", "ws://b/"),
            ("ws://u:p@localhost/", "/x", "ws://localhost/x"),
        ] {
            let sent = sent(Asked::Handshake, 302, from, location, (0, 1));
            assert_eq!(sent, Some(Ok(to.into())), "{from} {location}");
        }
        for location in ["ftp://b/", "http://b:0/", "http://[::1", "javascript:x"] {
            let sent = sent(Asked::Handshake, 302, "ws://a/", location, (0, 1)).unwrap();
            assert!(sent.unwrap_err().contains("; this client cannot go there: "), "{location}");
        }
    }

    #[test]
    fn redirects_are_counted() {
        let sent = |left| sent(Asked::Preflight, 301, "ws://a/", "http://b/", left).unwrap();
        let off = "sends clients to ws://b/; connect there, or set max_redirects";
        assert_eq!(sent((0, 0)), Err(off.into()));
        assert_eq!(sent((0, 2)), Ok("ws://b/".into()));
        assert_eq!(sent((1, 2)), Ok("ws://b/".into()));
        let too_many =
            "sends clients to ws://b/; that is one redirect more than max_redirects allows";
        assert_eq!(sent((2, 2)), Err(too_many.into()));
    }

    #[cfg(feature = "rustls")]
    #[test]
    fn tls_is_never_left() {
        let sent = |from, to| sent(Asked::Handshake, 302, from, to, (0, 9)).unwrap();
        assert_eq!(sent("ws://a/", "https://a/"), Ok("wss://a/".into()));
        assert_eq!(sent("wss://a/", "/b"), Ok("wss://a/b".into()));
        for to in ["http://a/", "ws://a/"] {
            let error = sent("wss://a/", to).unwrap_err();
            assert!(error.ends_with("so clients of wss:// are not sent there"), "{error}");
        }
    }
}
