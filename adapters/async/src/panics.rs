//! Messages of panics in the application, for the log.

use std::any::Any;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;
use hyper::http::request::Parts;
use wwr::names::Names;

/// How many characters of a message are shown.
const MESSAGE: usize = 512;

/// How many bytes of a name are shown. They are copied for each message, so the number is small.
const NAME: usize = 47;

/// A panic in code of the application. Shows its message, in one line of bounded length.
#[derive(Debug)]
pub(crate) struct Panic {
    message: String,
}

impl Panic {
    #[cold]
    pub(crate) fn new(payload: Box<dyn Any + Send>) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = match text {
            Some(text) => Bounded::<MESSAGE>(text.as_bytes()).to_string(),
            None => "no text".to_owned(),
        };
        // The payload belongs to the application as well. A payload that panics again is leaked.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(again);
        }
        Self { message }
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Runs code of the application.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    catch_unwind(AssertUnwindSafe(work)).map_err(Panic::new)
}

/// Runs asynchronous code of the application. It may panic before its future exists.
pub(crate) async fn caught_async<F: Future>(work: impl FnOnce() -> F) -> Result<F::Output, Panic> {
    AssertUnwindSafe(async { work().await }).catch_unwind().await.map_err(Panic::new)
}

/// Asks the application for the names of its handlers. There are none if it panics.
pub(crate) fn listed_names(listed_names: impl FnOnce() -> Option<Names>) -> Option<Names> {
    caught(listed_names).unwrap_or_else(|panic| {
        tracing::error!(%panic, "`listed_names` panicked; the names of the handlers are not listed");
        None
    })
}

/// Logs the panic of a hook that was called for an HTTP request.
pub(crate) fn note_http_panic(hook: &str, parts: &Parts, remote: SocketAddr, panic: &Panic) {
    let (method, path) = (&parts.method, ShortName::new(parts.uri.path().as_bytes()));
    tracing::error!(%remote, %method, %path, hook, %panic, "a hook panicked; the client gets a 500");
}

/// The beginning of a name or a path that a client has chosen, for the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShortName {
    bytes: [u8; NAME + 1],
    length: u8,
}

impl ShortName {
    #[inline]
    pub(crate) fn new(name: &[u8]) -> Self {
        let mut bytes = [0; NAME + 1];
        let length = name.len().min(bytes.len());
        bytes[..length].copy_from_slice(&name[..length]);
        Self { bytes, length: length as u8 }
    }
}

impl fmt::Display for ShortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Bounded::<NAME>(&self.bytes[..usize::from(self.length)]).fmt(f)
    }
}

/// At most this many bytes of a text, in a form that is safe for a log.
struct Bounded<'a, const MOST: usize>(&'a [u8]);

impl<const MOST: usize> fmt::Display for Bounded<'_, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shown, rest) = self.0.split_at(self.0.len().min(MOST));
        for chunk in shown.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    // Quotation marks need no escape here.
                    '\'' | '"' => f.write_char(character)?,
                    _ => write!(f, "{}", character.escape_debug())?,
                }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        if rest.is_empty() { Ok(()) } else { f.write_char('…') }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_panic_is_one_bounded_line() {
        let text = |work: fn()| caught(work).unwrap_err().to_string();
        assert_eq!(text(|| panic!("plain")), "plain");
        let number = std::hint::black_box(7);
        let formatted = caught(|| panic!("it is \"{number}\"\n\u{1b}[31m\u{202e}")).unwrap_err();
        assert_eq!(formatted.to_string(), "it is \"7\"\\n\\u{1b}[31m\\u{202e}");
        assert_eq!(text(|| std::panic::panic_any(7)), "no text");
        let long = text(|| panic!("{}", "ab".repeat(1000)));
        assert_eq!(long, format!("{}…", "ab".repeat(MESSAGE / 2)));
    }

    #[test]
    fn names_that_cannot_be_listed_are_not() {
        let names = Names::default();
        assert_eq!(listed_names(|| Some(names.clone())), Some(names.clone()));
        assert_eq!(listed_names(|| None), None);
        assert_eq!(listed_names(|| panic!("a list of a test panics on purpose")), None);
    }

    #[test]
    fn a_payload_that_panics_on_drop_is_survived() {
        struct Twice;
        impl Drop for Twice {
            fn drop(&mut self) {
                std::panic::panic_any(Once);
            }
        }
        struct Once;
        impl Drop for Once {
            fn drop(&mut self) {
                panic!("a third time");
            }
        }
        assert_eq!(caught(|| std::panic::panic_any(Twice)).unwrap_err().to_string(), "no text");
    }

    #[test]
    fn names_are_shortened_and_escaped() {
        for (name, shown) in [
            (&b"echo"[..], "echo".to_owned()),
            (b"", String::new()),
            (b"a\n\x80", "a\\n\\x80".to_owned()),
            (&[b'x'; NAME], "x".repeat(NAME)),
            (&[b'x'; NAME + 1], format!("{}…", "x".repeat(NAME))),
            (&[b'x'; 255], format!("{}…", "x".repeat(NAME))),
        ] {
            assert_eq!(ShortName::new(name).to_string(), shown);
        }
    }
}
