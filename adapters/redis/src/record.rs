//! The form in which a session is stored.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the version: 1, or 2 |
//! | 12 | when the session was created: seconds since 1970 (8 bytes, signed), nanoseconds (4), both big-endian |
//! | 12 | when it was last looked up, likewise |
//! | 1 | version 2: `o`, or `c` for a session that is closed and has no info |
//! | 8 | version 2: the revision, big-endian |
//! | the rest | the info: JSON with the members `i` and `p` of protocol §3.3 |
//!
//! A store writes version 1, and a cluster version 2. Both read both; a record of version 1 has revision 0. A look-up
//! writes the second time where it is, so that nothing is copied. A record of another version is left alone: while servers
//! are upgraded, some of them know a version that others do not.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wwr_async::cluster::Revision;
use wwr_async::{Session, SessionInfo, SessionKey, UnixTime};

/// The version that a store writes.
pub(crate) const VERSION: u8 = 1;

/// The version that a cluster writes, and the last that is read.
pub(crate) const CLUSTER_VERSION: u8 = 2;

/// How long a time is.
const TIME: usize = 12;

/// Where the time of the last look-up is.
pub(crate) const LAST_LOOKUP: usize = 1 + TIME;

/// What is before the info.
pub(crate) const HEAD: usize = LAST_LOOKUP + TIME;

/// What is before the info in version 2.
pub(crate) const CLUSTER_HEAD: usize = HEAD + 1 + size_of::<u64>();

/// The longest record that is read.
pub(crate) const LONGEST: usize = CLUSTER_HEAD + Session::MAX_STORED;

/// Of a session that is open, in version 2.
const OPEN: u8 = b'o';

/// Why a stored value is not a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokenRecord {
    #[error(
        "it has version {0} of the format, and this release knows those until {CLUSTER_VERSION}"
    )]
    Version(u8),
    #[error("it is too short or too long for one")]
    Length,
    #[error("a time in it does not exist")]
    Time,
    #[error("its info cannot be read")]
    Info,
    #[error("it does not say whether the session is open")]
    State,
    #[error("what is stored beside it cannot be read")]
    Beside,
}

/// The info as it is stored.
#[derive(Serialize, Deserialize)]
struct Info<'a> {
    #[serde(borrow)]
    i: Option<&'a RawValue>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    p: Option<&'a RawValue>,
}

/// Returns the bytes of a time.
pub(crate) fn time(time: UnixTime) -> [u8; TIME] {
    let nanos =
        u32::try_from(time.saturating_since(UnixTime::from_seconds(time.seconds())).as_nanos());
    let mut bytes = [0; TIME];
    bytes[..8].copy_from_slice(&time.seconds().to_be_bytes());
    bytes[8..].copy_from_slice(&nanos.unwrap_or_default().to_be_bytes());
    bytes
}

/// Returns the JSON of an info.
pub(crate) fn info(info: &SessionInfo) -> Result<String, BrokenRecord> {
    // Times and a key of no meaning: what is stored has its own times, and never a key.
    let Ok(key) = SessionKey::new("-") else { return Err(BrokenRecord::Info) };
    let stored = Session::new(key.clone(), UnixTime::NEVER, info.clone()).to_stored();
    // What could not be read back is not written.
    if stored.len() > Session::MAX_STORED {
        return Err(BrokenRecord::Length);
    }
    Session::from_stored(key, stored.as_bytes()).map_err(|_| BrokenRecord::Info)?;
    let info: Info<'_> = serde_json::from_str(&stored).map_err(|_| BrokenRecord::Info)?;
    serde_json::to_string(&info).map_err(|_| BrokenRecord::Info)
}

/// Returns the record of a session for a store.
pub(crate) fn write(session: &Session) -> Result<Vec<u8>, BrokenRecord> {
    write_with(session, VERSION, &[])
}

/// Returns the record of a new session for a cluster.
pub(crate) fn write_new(session: &Session) -> Result<Vec<u8>, BrokenRecord> {
    let mut more = [OPEN; CLUSTER_HEAD - HEAD];
    more[1..].copy_from_slice(&1_u64.to_be_bytes());
    write_with(session, CLUSTER_VERSION, &more)
}

fn write_with(session: &Session, version: u8, more: &[u8]) -> Result<Vec<u8>, BrokenRecord> {
    let info = info(&session.info)?;
    let mut record = Vec::with_capacity(HEAD + more.len() + info.len());
    record.push(version);
    record.extend_from_slice(&time(session.created));
    record.extend_from_slice(&time(session.last_lookup));
    record.extend_from_slice(more);
    record.extend_from_slice(info.as_bytes());
    Ok(record)
}

/// Reads the record of the session with this key, which is open.
pub(crate) fn read(key: &SessionKey, record: &[u8]) -> Result<(Session, Revision), BrokenRecord> {
    let (version, rest) = record.split_first().ok_or(BrokenRecord::Length)?;
    if !(VERSION..=CLUSTER_VERSION).contains(version) {
        return Err(BrokenRecord::Version(*version));
    }
    let (created, rest) = rest.split_first_chunk().ok_or(BrokenRecord::Length)?;
    let (last_lookup, mut info) = rest.split_first_chunk().ok_or(BrokenRecord::Length)?;
    let mut revision = Revision(0);
    if *version == CLUSTER_VERSION {
        let (state, rest) = info.split_first().ok_or(BrokenRecord::Length)?;
        let (number, rest) = rest.split_first_chunk().ok_or(BrokenRecord::Length)?;
        if *state != OPEN {
            return Err(BrokenRecord::State);
        }
        (info, revision) = (rest, Revision(u64::from_be_bytes(*number)));
    }
    let session = Session::from_stored(key.clone(), info).map_err(|_| BrokenRecord::Info)?;
    let created = read_time(created)?;
    Ok((Session { created, last_lookup: read_time(last_lookup)?, ..session }, revision))
}

fn read_time(bytes: &[u8; TIME]) -> Result<UnixTime, BrokenRecord> {
    let [a, b, c, d, e, f, g, h, nanos @ ..] = *bytes;
    let seconds = i64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let nanos = u32::from_be_bytes(nanos);
    let read = UnixTime::from_parts(seconds, nanos);
    // Times that do not exist are clamped.
    if time(read) == *bytes { Ok(read) } else { Err(BrokenRecord::Time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SessionKey {
        SessionKey::new("a-secret-key").unwrap()
    }

    fn session() -> Session {
        let info = SessionInfo::new().public("user", "ada").private("quota", 7);
        let session = Session::new(key(), UnixTime::from_parts(1_500_000_000, 5), info);
        Session { last_lookup: UnixTime::NEVER, ..session }
    }

    #[test]
    fn a_record_is_the_same_in_every_release() {
        let record = write(&session()).unwrap();
        let (head, info) = record.split_at(HEAD);
        let expected = "01 0000000059682f00 00000005 fffffff1886e0900 00000000".replace(' ', "");
        assert_eq!(data_encoding::HEXLOWER.encode(head), expected);
        assert_eq!(info, br#"{"i":{"user":"ada"},"p":{"quota":7}}"#);
        assert_eq!(read(&key(), &record), Ok((session(), Revision(0))));
    }

    #[test]
    fn a_record_does_not_contain_the_key() {
        let record = write(&session()).unwrap();
        let key = key();
        assert!(!record.windows(key.as_str().len()).any(|part| part == key.as_str().as_bytes()));
    }

    #[test]
    fn all_times_and_infos_come_back() {
        let big = r#"{"n":123456789012345678901234567890,"f":1.10}"#;
        let infos = [SessionInfo::new(), SessionInfo::from_public_json(big).unwrap()];
        for info in infos {
            for (seconds, nanos) in [(0, 0), (-1, 999_999_999), (253_402_207_199, 999_999_999)] {
                let created = UnixTime::from_parts(seconds, nanos);
                let session = Session::new(key(), created, info.clone());
                let stored = write(&session).unwrap();
                assert_eq!(read(&key(), &stored), Ok((session.clone(), Revision(0))));
                let stored = write_new(&session).unwrap();
                assert_eq!(read(&key(), &stored), Ok((session, Revision(1))));
            }
        }
    }

    #[test]
    fn a_record_of_a_cluster_is_the_same_in_every_release() {
        let record = write_new(&session()).unwrap();
        let (head, info) = record.split_at(CLUSTER_HEAD);
        let expected = "02 0000000059682f00 00000005 fffffff1886e0900 00000000 6f 0000000000000001";
        assert_eq!(data_encoding::HEXLOWER.encode(head), expected.replace(' ', ""));
        assert_eq!(info, br#"{"i":{"user":"ada"},"p":{"quota":7}}"#);
    }

    #[test]
    fn what_is_no_record_is_an_error_wherever_it_is_cut() {
        for (record, head) in [(write(&session()), HEAD), (write_new(&session()), CLUSTER_HEAD)] {
            let record = record.unwrap();
            for length in 0..record.len() {
                let expected = match length < head {
                    true => BrokenRecord::Length,
                    false => BrokenRecord::Info,
                };
                assert_eq!(read(&key(), &record[..length]), Err(expected), "{length}");
            }
            let mut newer = record.clone();
            newer[0] = 3;
            assert_eq!(read(&key(), &newer), Err(BrokenRecord::Version(3)));
            let mut late = record.clone();
            late[LAST_LOOKUP] = 0x7f;
            assert_eq!(read(&key(), &late), Err(BrokenRecord::Time));
        }
        let mut closed = write_new(&session()).unwrap();
        closed[HEAD] = b'c';
        assert_eq!(read(&key(), &closed), Err(BrokenRecord::State));
    }
}
