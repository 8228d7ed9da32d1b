//! What the scripts answer.
//!
//! Errors are what is stored and cannot be read, or `None` for an answer that makes no sense.

use core::num::NonZeroU64;
use core::str::FromStr;

use bytes::Bytes;
use wwr_async::SessionKey;
use wwr_async::cluster::{
    Answer, Batch, DataId, Epoch, HistoryAnswer, Lease, Node, Position, Revision, SessionAnswer,
};

use crate::record::{self, BrokenRecord};

pub(super) type Read<T> = Result<T, Option<BrokenRecord>>;

/// How many hexadecimal digits of the engine's identity become that of its data.
const ID_DIGITS: usize = 16;

/// Reads what `history.lua` answers.
pub(super) fn history(reply: &[Vec<u8>]) -> Read<HistoryAnswer> {
    let (word, rest) = split(reply)?;
    match (word, rest) {
        ("appended", [incarnation, offset, nodes]) => {
            let end = position(incarnation, offset)?;
            Ok(HistoryAnswer::Appended { end, nodes: number(nodes)? })
        }
        ("read", [incarnation, first, gap, last, signals @ ..]) => {
            let (incarnation, first, last) = (number(incarnation)?, number(first)?, number(last)?);
            let gap = match gap.as_slice() {
                b"0" => false,
                b"1" => true,
                _ => return Err(None),
            };
            let signals = signals.iter().map(|signal| Bytes::copy_from_slice(signal)).collect();
            let batch = Batch { incarnation, first, gap, signals, last };
            // Offsets begin with 1, and go on.
            let end = batch.first.checked_add(batch.signals.len() as u64);
            if batch.first == 0 || end.is_none_or(|end| end - 1 > batch.last) {
                return Err(None);
            }
            Ok(HistoryAnswer::Read(Box::new(batch)))
        }
        ("none", []) => Ok(HistoryAnswer::NotFound),
        ("broken", [byte, ..]) => Err(Some(broken(byte))),
        ("broken history", _) => Err(Some(BrokenRecord::Beside)),
        _ => Err(None),
    }
}

fn position(incarnation: &[u8], offset: &[u8]) -> Read<Position> {
    Ok(Position { incarnation: number(incarnation)?, offset: number(offset)? })
}

/// Reads where the history of the session ends, if `session.lua` says so.
pub(super) fn history_end(reply: &[Vec<u8>]) -> Read<Option<Position>> {
    match reply {
        [_, _, incarnation, offset] => position(incarnation, offset).map(Some),
        _ => Ok(None),
    }
}

/// Reads what `session.lua` answers.
pub(super) fn session(key: &SessionKey, reply: &[Vec<u8>]) -> Read<SessionAnswer> {
    let (word, rest) = split(reply)?;
    Ok(match word {
        "created" => SessionAnswer::Created,
        "exists" => SessionAnswer::Exists,
        "found" => {
            let (session, revision) = record::read(key, first(rest)?).map_err(Some)?;
            SessionAnswer::Found { session: Box::new(session), revision }
        }
        "none" => SessionAnswer::NotFound,
        "limit" => SessionAnswer::LimitReached,
        "placed" => SessionAnswer::Placed,
        "closed" => SessionAnswer::Closed,
        "detached" => SessionAnswer::Detached,
        "changed" => SessionAnswer::Changed,
        "edited" => SessionAnswer::Edited { revision: Revision(number(first(rest)?)?) },
        "same" => SessionAnswer::Same,
        "fenced" => SessionAnswer::Fenced,
        "overtaken" => SessionAnswer::Overtaken,
        "broken" => return Err(Some(broken(first(rest)?))),
        "broken holders" => return Err(Some(BrokenRecord::Beside)),
        _ => return Err(None),
    })
}

/// Why a record with this first byte, if it has one, cannot be read.
fn broken(first: &[u8]) -> BrokenRecord {
    match first.first() {
        None => BrokenRecord::Length,
        Some(record::VERSION..=record::CLUSTER_VERSION) => BrokenRecord::Info,
        Some(version) => BrokenRecord::Version(*version),
    }
}

/// Reads what `node.lua` answers.
pub(super) fn node(reply: &[Vec<u8>]) -> Read<Answer> {
    let (word, rest) = split(reply)?;
    match (word, rest) {
        ("done", _) => Ok(Answer::Done),
        ("dead", _) => Ok(Answer::Dead),
        ("broken nodes", _) => Err(Some(BrokenRecord::Beside)),
        ("lease", [info, own, last, nodes @ ..]) => {
            let mut nodes = nodes
                .chunks_exact(2)
                .map(|node| {
                    let name = String::from_utf8_lossy(&node[1]).into_owned();
                    Ok(Node { epoch: epoch(&node[0])?, name })
                })
                .collect::<Read<Vec<Node>>>()?;
            nodes.sort_unstable_by_key(|node| node.epoch);
            let (epoch, through) = (epoch(own)?, number(last)?);
            Ok(Answer::Lease(Lease { epoch, data: data(info).ok_or(None)?, through, nodes }))
        }
        _ => Err(None),
    }
}

/// Reads what `send.lua` answers.
pub(super) fn sent(reply: &[Vec<u8>]) -> Option<Answer> {
    match split(reply).ok()? {
        ("sent", [nodes]) => Some(Answer::Sent { nodes: number(nodes).ok()? }),
        _ => None,
    }
}

/// Returns the identity of the data: that of the run of the server, which another server does not have, and the same
/// neither when it starts again.
fn data(info: &[u8]) -> Option<DataId> {
    let info = core::str::from_utf8(info).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("run_id:"))?;
    u64::from_str_radix(id.get(..ID_DIGITS)?, 16).ok().map(DataId)
}

pub(super) fn split(reply: &[Vec<u8>]) -> Read<(&str, &[Vec<u8>])> {
    let (word, rest) = reply.split_first().ok_or(None)?;
    Ok((text(word)?, rest))
}

pub(super) fn first(rest: &[Vec<u8>]) -> Read<&[u8]> {
    rest.first().map(Vec::as_slice).ok_or(None)
}

fn text(bytes: &[u8]) -> Read<&str> {
    core::str::from_utf8(bytes).map_err(|_| None)
}

pub(super) fn number<T: FromStr>(bytes: &[u8]) -> Read<T> {
    text(bytes)?.parse().map_err(|_| None)
}

pub(super) fn epoch(bytes: &[u8]) -> Read<Epoch> {
    Ok(Epoch(number::<NonZeroU64>(bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(words: &[&str]) -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    }

    #[test]
    fn a_lease_is_read_and_its_nodes_are_in_order() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrun_id:00000000000000ff0123\r\n";
        let words = ["lease", info, "9", "12", "12", "b", "9", "a"];
        let Ok(Answer::Lease(lease)) = node(&reply(&words)) else { panic!() };
        assert_eq!((lease.data, lease.through), (DataId(255), 12));
        let nodes: Vec<_> =
            lease.nodes.iter().map(|node| (node.epoch.0.get(), &*node.name)).collect();
        assert_eq!((lease.epoch.0.get(), nodes), (9, vec![(9, "a"), (12, "b")]));
    }

    #[test]
    fn what_a_history_has_is_read() {
        let words = ["read", "18446744073709551615", "2", "1", "4", "two", "three"];
        let Ok(HistoryAnswer::Read(batch)) = history(&reply(&words)) else { panic!() };
        let signals = vec![Bytes::from_static(b"two"), Bytes::from_static(b"three")];
        let expected = Batch { incarnation: u64::MAX, first: 2, gap: true, signals, last: 4 };
        assert_eq!(*batch, expected);
        let end = Position { incarnation: 7, offset: 9 };
        let appended = HistoryAnswer::Appended { end, nodes: 3 };
        assert_eq!(history(&reply(&["appended", "7", "9", "3"])), Ok(appended));
        assert_eq!(history(&reply(&["none"])), Ok(HistoryAnswer::NotFound));
        assert_eq!(history_end(&reply(&["same", "0", "7", "9"])), Ok(Some(end)));
        assert_eq!(history_end(&reply(&["same", "0"])), Ok(None));
    }

    #[test]
    fn answers_that_make_no_sense_are_errors() {
        let key = SessionKey::new("k").unwrap();
        for words in [&[][..], &["hello"], &["edited"], &["edited", "-1"], &["found"]] {
            assert_eq!(session(&key, &reply(words)), Err(None), "{words:?}");
        }
        for words in [
            &[][..],
            &["lease"],
            &["lease", "run_id:0", "1", "1"],
            &["lease", "run_id:0123456789abcdef", "0", "1"],
            &["lease", "run_id:0123456789abcdef", "1", "x"],
        ] {
            assert_eq!(node(&reply(words)), Err(None), "{words:?}");
        }
        assert_eq!(sent(&reply(&["sent", "x"])), None);
        for words in [
            &["appended", "1", "1"][..],
            &["appended", "-1", "1", "1"],
            &["read", "1", "0", "0", "0"],
            &["read", "1", "1", "2", "0"],
            &["read", "1", "1", "0", "1", "one", "two"],
            &["read", "1", "18446744073709551615", "0", "1", "one"],
            &["none", "1"],
        ] {
            assert_eq!(history(&reply(words)), Err(None), "{words:?}");
        }
        assert_eq!(history_end(&reply(&["same", "0", "1", "x"])), Err(None));
        for (byte, cause) in [
            ("", BrokenRecord::Length),
            ("\u{1}", BrokenRecord::Info),
            ("\u{2}", BrokenRecord::Info),
            ("\u{3}", BrokenRecord::Version(3)),
        ] {
            assert_eq!(session(&key, &reply(&["broken", byte])), Err(Some(cause)));
        }
    }
}
