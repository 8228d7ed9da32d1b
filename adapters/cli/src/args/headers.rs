//! The arguments about the HTTP requests that open a connection.

use core::fmt;
use core::str::FromStr;
use std::io;

use clap::Args;
use data_encoding::BASE64;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use wwr_smol::client::ServerUrl;

use crate::environment;

/// How many headers may be added. Servers do not take very long heads.
const MOST: usize = 64;

/// The additional headers of the preflight and the handshake.
#[derive(Debug, Args)]
pub(crate) struct HeaderArguments {
    /// Send a header with both HTTP requests, the preflight and the handshake, as in
    /// 'X-Tenant: blue'; may be repeated
    #[arg(long, value_name = "NAME:VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Connect as a page of this origin would, such as https://example.com
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    origin: Option<HeaderValue>,
    /// Log in with HTTP Basic authentication, unencrypted unless the URL is wss://. Other users of this
    /// machine can see arguments; the environment variable WWR_USER hides them
    #[arg(long, value_name = "USER:PASSWORD")]
    user: Option<Credentials>,
}

impl HeaderArguments {
    /// Returns all headers for a server, from the options or else the environment.
    pub(crate) fn all(&self, url: &ServerUrl) -> io::Result<HeaderMap> {
        let mut all = self.header.clone();
        all.extend(self.origin.clone().map(|origin| (ORIGIN, origin)));
        let is_said = url.has_credentials() || all.iter().any(|(name, _)| *name == AUTHORIZATION);
        let user = match &self.user {
            Some(user) => Some(user.clone()),
            // An option takes precedence over the environment.
            None if is_said => None,
            None => environment::user()?,
        };
        all.extend(user.map(|user| (AUTHORIZATION, user.0)));
        if all.len() > MOST {
            return Err(invalid(format!("{} headers are too many; {MOST} can be sent", all.len())));
        }
        for (name, options) in [
            (AUTHORIZATION, "--user and --header Authorization"),
            (HOST, "--header Host"),
            (ORIGIN, "--origin and --header Origin"),
        ] {
            if all.iter().filter(|(other, _)| *other == name).count() > 1 {
                return Err(invalid(format!("{options}: a request has one of them; give one")));
            }
        }
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(name, value);
        }
        Ok(headers)
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Parses a header.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it like NAME:VALUE")?;
    let name = HeaderName::from_str(name.trim_end())
        .map_err(|_| "the name of a header has letters, digits and - and no spaces")?;
    let mut value = HeaderValue::from_bytes(value.trim().as_bytes())
        .map_err(|_| "the value of a header has no control characters, such as ends of lines")?;
    // It may be a secret, so it must not get into logs.
    value.set_sensitive(true);
    Ok((name, value))
}

/// Parses an origin as browsers write it.
fn origin(text: &str) -> Result<HeaderValue, &'static str> {
    const FORM: &str = "write it like https://example.com or https://example.com:8443, or null";
    let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic());
    let is_origin = match text.split_once("://") {
        Some((scheme, host)) => {
            !scheme.is_empty()
                && !host.is_empty()
                && !host.contains(['/', '?', '#', '@'])
                && is_plain(text)
        }
        None => text == "null",
    };
    if is_origin { HeaderValue::from_str(text).map_err(|_| FORM) } else { Err(FORM) }
}

/// A user and a password, in the form of a header (RFC 7617).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials(HeaderValue);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Why a text is not a user and a password. Does not show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoCredentials {
    #[error("write it like USER:PASSWORD")]
    NoColon,
    #[error("user and password have no control characters")]
    Control,
}

impl FromStr for Credentials {
    type Err = NoCredentials;

    fn from_str(text: &str) -> Result<Self, NoCredentials> {
        if !text.contains(':') {
            return Err(NoCredentials::NoColon);
        }
        if text.contains(char::is_control) {
            return Err(NoCredentials::Control);
        }
        let value = format!("Basic {}", BASE64.encode(text.as_bytes()));
        let mut value = HeaderValue::from_str(&value).map_err(|_| NoCredentials::Control)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

/// Returns arguments without anything that could be a secret.
pub(crate) fn without_secrets(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut shown: Vec<String> = Vec::new();
    for argument in arguments {
        let (option, value) = match argument.split_once('=') {
            Some((option, value)) if matches!(option, "--user" | "--header" | "--proxy") => {
                (option.to_owned(), Some(value.to_owned()))
            }
            _ => match shown.last().map(String::as_str) {
                Some(option @ ("--user" | "--header" | "--proxy")) => {
                    (option.to_owned(), Some(argument.clone()))
                }
                _ => (String::new(), None),
            },
        };
        let hidden = value.map(|value| match value.split_once(':') {
            Some((name, _)) if option == "--header" => format!("{name}:..."),
            _ if option == "--proxy" => without_user(value),
            _ => "...".into(),
        });
        shown.push(match hidden {
            Some(hidden) if argument.starts_with(&format!("{option}=")) => {
                format!("{option}={hidden}")
            }
            Some(hidden) => hidden,
            None if argument.contains("://") => without_user(argument),
            None => argument,
        });
    }
    shown
}

/// Returns a URL without its user and password. That of a proxy needs no scheme.
fn without_user(url: String) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), &*url),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest.get(..end).and_then(|authority| authority.rfind('@')) {
        Some(at) => format!("{scheme}...{}", rest.get(at..).unwrap_or_default()),
        None => url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_a_name_and_a_value() {
        for (text, name, value) in [
            ("X-Tenant: blue", "x-tenant", "blue"),
            ("x:a:b", "x", "a:b"),
            ("x:", "x", ""),
            ("Cookie:  a=b; c=d ", "cookie", "a=b; c=d"),
            ("Host: example.com", "host", "example.com"),
        ] {
            let (found, given) = header(text).unwrap();
            assert_eq!((found.as_str(), given.to_str().unwrap()), (name, value), "{text}");
        }
        assert_eq!(header("x: \u{e9}").unwrap().1.as_bytes(), "\u{e9}".as_bytes());
        for text in ["", "x", ":x", "a b: c", "\u{e9}: x", "x: a\r\nb: c", "x\r\ny: z", "x: \0"] {
            assert!(header(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn origins_are_written_as_browsers_do() {
        for text in ["https://example.com", "http://[::1]:80", "null", "moz-extension://a-b-c"] {
            assert_eq!(origin(text).unwrap(), text);
        }
        for text in [
            "",
            "example.com",
            "https://",
            "://x",
            "https://example.com/",
            "https://a b",
            "https://\u{e9}.com",
            "https://u@x",
            "Null",
            "any",
        ] {
            assert!(origin(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn credentials_are_encoded_and_not_shown() {
        // The examples of RFC 7617, sections 2 and 2.1.
        for (text, expected) in [
            ("Aladdin:open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("test:123\u{a3}", "Basic dGVzdDoxMjPCow=="),
            ("a:b:c", "Basic YTpiOmM="),
            (":", "Basic Og=="),
        ] {
            let credentials: Credentials = text.parse().unwrap();
            assert_eq!(credentials.0, expected);
            assert_eq!(format!("{credentials:?} {:?}", credentials.0), "Credentials(..) Sensitive");
        }
        for text in ["", "ada", "ada:\n", "a\0:b"] {
            assert!(text.parse::<Credentials>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_report_shows_no_secrets() {
        let arguments = [
            "wwr",
            "bench",
            "--user",
            "ada:secret",
            "--user=ada:secret",
            "--header",
            "Cookie: secret",
            "--header=X-Key: secret",
            "--depth=4",
            "ws://ada:secret@localhost:7777/a@b",
            "ws://localhost/a@b",
            "a@b",
            "--proxy",
            "ada:secret@proxy:1",
            "--proxy=socks5://ada:secret@proxy",
        ];
        let shown = without_secrets(arguments.into_iter().map(str::to_owned));
        assert_eq!(
            shown,
            [
                "wwr",
                "bench",
                "--user",
                "...",
                "--user=...",
                "--header",
                "Cookie:...",
                "--header=X-Key:...",
                "--depth=4",
                "ws://...@localhost:7777/a@b",
                "ws://localhost/a@b",
                "a@b",
                "--proxy",
                "...@proxy:1",
                "--proxy=socks5://...@proxy",
            ]
        );
    }
}
