//! Which redirects are followed (RFC 9110 §15.4), as pure functions.

use std::borrow::Cow;
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
    /// It leads to another server, which is not to see the key of the client's session.
    Session,
    /// The target cannot be one.
    Target(InvalidUrl),
    /// The status is not one that can be followed.
    Status,
}

/// What a client may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// How many redirects it has followed.
    pub(super) followed: u32,
    /// How many it may follow.
    pub(super) most: u32,
    /// Whether it stays at the server, because it has a session there.
    pub(super) stays: bool,
}

/// Decides about an answer to a request for a URL. Returns where to ask instead. `None` if it does not
/// redirect.
pub(super) fn follow(
    asked: Asked,
    answer: &Parts,
    url: &ServerUrl,
    limits: Limits,
) -> Option<Result<ServerUrl, NotFollowed>> {
    let location = answer.headers.get(LOCATION).filter(|_| answer.status.is_redirection())?;
    let location = String::from_utf8_lossy(location.as_bytes());
    let location = location.trim();
    let not_followed = |target: &str, reason| {
        let target = shown(&without_credentials(target), MAX_SHOWN);
        Some(Err(NotFollowed { target, reason }))
    };
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
    } else if limits.followed < limits.most && limits.stays && !target.is_at(url) {
        Reason::Session
    } else if limits.followed < limits.most {
        return Some(Ok(target));
    } else if limits.most == 0 {
        Reason::Off
    } else {
        Reason::TooMany
    };
    not_followed(&target.to_string(), reason)
}

/// Returns a target without user name and password, as it may end in a log.
fn without_credentials(target: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = target.split_once("//") else { return target.into() };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    match rest.get(..end).and_then(|authority| authority.rfind('@')) {
        Some(at) => format!("{scheme}//{}", rest.get(at + 1..).unwrap_or_default()).into(),
        None => target.into(),
    }
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
            Reason::Session => f.write_str(
                "; that is another server, and the key of the session is not for it; close the session, \
                 or connect there",
            ),
            Reason::Target(error) => write!(f, "; this client cannot go there: {error}"),
            Reason::Status => f.write_str("; clients do not follow this status"),
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
        let limits = Limits { followed: left.0, most: left.1, stays: false };
        let decided = follow(asked, &answer, &from.parse().unwrap(), limits);
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
    fn a_client_with_a_session_stays_at_its_server() {
        let limits = Limits { followed: 0, most: 9, stays: true };
        for (location, stays) in [("/b", true), ("http://a/c", true), ("http://b/", false)] {
            let answer = Response::builder().status(302).header(LOCATION, location).body(());
            let answer = answer.unwrap().into_parts().0;
            let url = "ws://a/".parse().unwrap();
            let decided = follow(Asked::Preflight, &answer, &url, limits).unwrap();
            assert_eq!(decided.is_ok(), stays, "{location}: {decided:?}");
        }
    }

    #[test]
    fn passwords_of_targets_are_not_shown() {
        for (status, location) in [
            (303, "http://u:secret@b/"),
            (302, "ftp://u:secret@b/"),
            (302, "//u:secret@[::1"),
            (302, "http://u:x@secret@b:0/"),
        ] {
            let sent = sent(Asked::Preflight, status, "ws://a/", location, (0, 1)).unwrap();
            let error = sent.unwrap_err();
            assert!(!error.contains("secret"), "{error}");
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
