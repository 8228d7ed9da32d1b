//! News as nodes send them to each other.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the kind: `c` changed, `x` closed, `h` appended to the history, `s` message to a session, `g` to a group, `a` to all |
//! | 1 | the version: 1 |
//! | 8 | `s`, `g`, `a`: the epoch of the node that sends, big-endian |
//! | 43 | `c`, `x`, `h`, `s`: the digest of the session's key |
//! | 4 | `g`: how long the name of the group is, big-endian; the name follows |
//! | the rest | `c`: the revision, 8 bytes, big-endian; `x`: `1` if connections are closed, `o` if the session has another key, else `0`; `h`: the incarnation and the offset, in decimal, with a space between them; otherwise the message |
//!
//! Those of another version are left out: while nodes are upgraded, some of them know a version that others do not.

use core::num::NonZeroU64;

use bytes::Bytes;
use wwr_async::SessionKey;
use wwr_async::cluster::{Audience, Closing, Epoch, News, Position, Revision};

const VERSION: u8 = b'1';

/// How long a digest is.
pub(super) const DIGEST: usize = 43;

/// What the script of a session puts behind the kind of its news.
pub(super) fn about(digest: &str) -> Vec<u8> {
    [&[VERSION], digest.as_bytes()].concat()
}

/// Returns what a message of this node to this audience is on its way. `digest` is that of the session, if it is for
/// one.
pub(super) fn message(from: Epoch, to: &Audience, digest: &str, message: &[u8]) -> Vec<u8> {
    let from = from.0.get().to_be_bytes();
    let version = [VERSION];
    match to {
        Audience::Session(_) => [b"s", &version[..], &from, digest.as_bytes(), message].concat(),
        Audience::Group(name) => {
            let length = u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes();
            [b"g", &version[..], &from, &length, name.as_bytes(), message].concat()
        }
        Audience::All => [b"a", &version[..], &from, message].concat(),
    }
}

/// Returns how news say why a session was closed. What is not known counts as `0`.
pub(super) const fn closing(closing: Closing) -> u8 {
    match closing {
        Closing::ByKey { disconnect: false } => b'0',
        Closing::ByKey { disconnect: true } => b'1',
        Closing::ByOther => b'o',
    }
}

/// Reads news. `key` finds the key of a digest if this node has places of its session. `None` if it does not concern
/// this node, or cannot be read.
pub(super) fn read(news: Bytes, key: impl Fn(&str) -> Option<SessionKey>) -> Option<News> {
    let (head, rest) = news.split_first_chunk::<2>()?;
    let [kind, VERSION] = *head else { return None };
    let at = |rest: &[u8]| news.slice(news.len() - rest.len()..);
    let session = |rest: &[u8]| -> Option<(SessionKey, Bytes)> {
        let (digest, rest) = rest.split_first_chunk::<DIGEST>()?;
        Some((key(core::str::from_utf8(digest).ok()?)?, at(rest)))
    };
    Some(match kind {
        b'c' => {
            let (key, rest) = session(rest)?;
            let revision = u64::from_be_bytes(rest.as_ref().try_into().ok()?);
            News::Changed { key, revision: Revision(revision) }
        }
        b'x' => {
            let (key, rest) = session(rest)?;
            let closing = match rest.as_ref() {
                b"o" => Closing::ByOther,
                said => Closing::ByKey { disconnect: said == b"1" },
            };
            News::Closed { key, closing }
        }
        b'h' => {
            let (key, rest) = session(rest)?;
            let (incarnation, offset) = core::str::from_utf8(&rest).ok()?.split_once(' ')?;
            let (incarnation, offset) = (incarnation.parse().ok()?, offset.parse().ok()?);
            News::Appended { key, end: Position { incarnation, offset } }
        }
        b's' => {
            let (from, rest) = sender(rest)?;
            let (key, message) = session(rest)?;
            News::Message { from, to: Audience::Session(key), message }
        }
        b'g' => {
            let (from, rest) = sender(rest)?;
            let (length, rest) = rest.split_first_chunk()?;
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let (name, message) = rest.split_at_checked(length)?;
            let name = core::str::from_utf8(name).ok()?.to_string();
            News::Message { from, to: Audience::Group(name), message: at(message) }
        }
        b'a' => {
            let (from, message) = sender(rest)?;
            News::Message { from, to: Audience::All, message: at(message) }
        }
        _ => return None,
    })
}

/// Reads which node has sent a message.
fn sender(rest: &[u8]) -> Option<(Epoch, &[u8])> {
    let (from, rest) = rest.split_first_chunk()?;
    Some((Epoch(NonZeroU64::new(u64::from_be_bytes(*from))?), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "JDvg09gnNJpxACiZ9vVNFWIv47T0TI1TLB7lSJXxeVY";

    const FROM: Epoch = Epoch(NonZeroU64::new(258).unwrap());

    fn key() -> SessionKey {
        SessionKey::new("secret").unwrap()
    }

    fn read_here(news: &[u8]) -> Option<News> {
        read(Bytes::copy_from_slice(news), |digest| (digest == ONE).then(key))
    }

    #[test]
    fn messages_arrive_as_they_were_sent() {
        for to in [
            Audience::All,
            Audience::Session(key()),
            Audience::Group("red".into()),
            Audience::Group(String::new()),
        ] {
            for text in ["", "\0hello"] {
                let sent = message(FROM, &to, ONE, text.as_bytes());
                let expected = News::Message { from: FROM, to: to.clone(), message: text.into() };
                assert_eq!(read_here(&sent), Some(expected));
            }
        }
    }

    #[test]
    fn news_are_the_same_in_every_release() {
        let changed = format!("c1{ONE}\0\0\0\0\0\0\x01\x02");
        let expected = News::Changed { key: key(), revision: Revision(258) };
        assert_eq!(read_here(changed.as_bytes()), Some(expected));
        let by_key = |disconnect| Closing::ByKey { disconnect };
        for (said, expected) in
            [(b'0', by_key(false)), (b'1', by_key(true)), (b'o', Closing::ByOther)]
        {
            let closed = format!("x1{ONE}{}", char::from(said));
            let news = News::Closed { key: key(), closing: expected };
            assert_eq!((read_here(closed.as_bytes()), closing(expected)), (Some(news), said));
        }
        // Of a later release.
        let closed = format!("x1{ONE}?");
        let news = News::Closed { key: key(), closing: by_key(false) };
        assert_eq!(read_here(closed.as_bytes()), Some(news));
        let appended = format!("h1{ONE}18446744073709551615 258");
        let end = Position { incarnation: u64::MAX, offset: 258 };
        assert_eq!(read_here(appended.as_bytes()), Some(News::Appended { key: key(), end }));
        let sent = |to, digest| message(FROM, &to, digest, b"m");
        let to_group = b"g1\0\0\0\0\0\0\x01\x02\0\0\0\x03redm";
        assert_eq!(sent(Audience::Group("red".into()), ""), to_group);
        assert_eq!(sent(Audience::All, ""), b"a1\0\0\0\0\0\0\x01\x02m");
        let to_session = format!("s1\0\0\0\0\0\0\x01\x02{ONE}m");
        assert_eq!(sent(Audience::Session(key()), ONE), to_session.as_bytes());
    }

    #[test]
    fn what_is_no_news_and_news_of_others_are_left_out() {
        let other = ONE.replace('J', "K");
        for news in [
            String::new(),
            "a".into(),
            "a1".into(),
            "a1\0\0\0\0\0\0\x01".into(),
            "a1\0\0\0\0\0\0\0\0m".into(),
            "a2\0\0\0\0\0\0\x01\x02m".into(),
            "z1\0\0\0\0\0\0\x01\x02m".into(),
            format!("c1{ONE}"),
            format!("c1{ONE}123456789"),
            format!("h1{ONE}1"),
            format!("h1{ONE}1 -1"),
            format!("h1{ONE}18446744073709551616 1"),
            format!("s1\0\0\0\0\0\0\x01\x02{}", &ONE[1..]),
            format!("s1\0\0\0\0\0\0\x01\x02{other}m"),
            "g1\0\0\0\0\0\0\x01\x02\0\0\0\x03re".into(),
            "g1\0\0\0\0\0\0\x01\x02\0\0".into(),
        ] {
            assert_eq!(read_here(news.as_bytes()), None, "{news:?}");
        }
    }
}
