//! Any bytes as a session that a server sends, that is stored, or that lies in a file of the store;
//! and any session to both forms and back.
#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use wwr::{KeyFormat, Session, SessionInfo, SessionKey, UnixTime};
use wwr_smol::{FileStore, SessionStore, StoreErrorKind};

// The first byte of the input chooses what the rest is.
fuzz_target!(|input: &[u8]| {
    let Some((choice, rest)) = input.split_first() else { return };
    match choice % 4 {
        0 => from_server(rest),
        1 => from_store(rest),
        2 => from_file(rest),
        _ => {
            if let Ok(made) = Made::arbitrary_take_rest(arbitrary::Unstructured::new(rest)) {
                make(&made);
            }
        }
    }
});

fn key() -> SessionKey {
    SessionKey::new("KEY").expect("not empty")
}

fn from_server(json: &[u8]) {
    let Ok(session) = Session::from_json(json) else { return };
    assert!(!session.key.as_str().is_empty());
    let written = session.to_json();
    let again = Session::from_json(written.as_bytes()).expect("what is written can be read");
    assert_eq!(again.info.to_public(), session.info.to_public());
    let times = |session: &Session| (session.created, session.last_lookup);
    assert_eq!((&again.key, times(&again)), (&session.key, times(&session)));
    assert_eq!(again.to_json(), written);
    // Whatever they are, keys can be asked for their format.
    let _ = KeyFormat::Generated.accepts(session.key.as_str());
}

fn from_store(json: &[u8]) {
    let Ok(session) = Session::from_stored(key(), json) else { return };
    let stored = session.to_stored();
    let again = Session::from_stored(key(), stored.as_bytes());
    assert_eq!(again.as_ref(), Ok(&session), "{stored}");
    assert!(!stored.contains(['<', '>', '&', '\u{2028}', '\u{2029}']), "{stored}");
}

/// The store finds what the file says, or says that it is broken and leaves it alone.
fn from_file(content: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let file = directory.path().join("KEY.wwrsess");
    fs::write(&file, content).expect("space for a small file");
    let now = UnixTime::from_seconds(1_600_000_000);
    smol::block_on(async {
        let store = FileStore::open(directory.path()).await.expect("it is a directory");
        let found = store.look_up(&key(), now).await;
        match Session::from_stored(key(), content) {
            Ok(session) => {
                assert_eq!(found.ok().flatten().as_ref(), Some(&session));
                let again = store.look_up(&key(), now).await.ok().flatten();
                assert_eq!(again, Some(Session { last_lookup: now, ..session.clone() }));
                let kind = store.create(&session).await.map_err(|error| error.kind());
                assert_eq!(kind, Err(StoreErrorKind::KeyExists));
            }
            Err(_) => {
                assert_eq!(found.map_err(|error| error.kind()), Err(StoreErrorKind::Broken));
                assert_eq!(fs::read(&file).ok().as_deref(), Some(content), "it was changed");
            }
        }
        store.destroy(&key()).await.expect("it can be removed");
        assert_eq!(store.look_up(&key(), now).await.ok(), Some(None));
    });
    assert_eq!(files(directory.path()), 0, "something was left behind");
}

fn files(directory: &Path) -> usize {
    fs::read_dir(directory).expect("it is still there").count()
}

/// A session of an application.
#[derive(Arbitrary, Debug)]
struct Made<'a> {
    key: &'a str,
    created: (i64, u32),
    last_lookup: (i64, u32),
    public: Vec<(&'a str, Value<'a>)>,
    private: Vec<(&'a str, Value<'a>)>,
    stores: bool,
}

#[derive(Arbitrary, Debug)]
enum Value<'a> {
    Text(&'a str),
    Number(f64),
    Integer(i64),
    Natural(u64),
    Bool(bool),
    List(Vec<i8>),
    /// A list in a list, this many times.
    Nested(u8),
}

impl Value<'_> {
    /// In how many lists it lies.
    const fn depth(&self) -> u8 {
        match self {
            Self::Nested(depth) => *depth,
            _ => 1,
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => (*text).into(),
            Self::Number(number) => (*number).into(),
            Self::Integer(number) => (*number).into(),
            Self::Natural(number) => (*number).into(),
            Self::Bool(truth) => (*truth).into(),
            Self::List(numbers) => numbers.clone().into(),
            Self::Nested(depth) => {
                (0..*depth).fold(serde_json::Value::Null, |inner, _| [inner].into_iter().collect())
            }
        }
    }
}

/// Values that are nested no more than this can be read back: JSON is read to a depth of 127, and
/// two of it are the session and its info.
const MAX_DEPTH: u8 = 125;

fn make(made: &Made<'_>) {
    let Ok(key) = SessionKey::new(made.key) else { return };
    let mut info = SessionInfo::new();
    for (name, value) in &made.public {
        info = info.public(*name, value.json());
    }
    for (name, value) in &made.private {
        info = info.private(*name, value.json());
    }
    let time = |(seconds, nanos)| UnixTime::from_parts(seconds, nanos);
    let mut session = Session::new(key.clone(), time(made.created), info);
    session.last_lookup = time(made.last_lookup);

    let depth = |fields: &[(&str, Value<'_>)]| fields.iter().map(|(_, value)| value.depth()).max();
    let is_deep = depth(&made.public).max(depth(&made.private)) > Some(MAX_DEPTH);
    match Session::from_json(session.to_json().as_bytes()) {
        Ok(sent) => {
            if !is_deep {
                // Of what a server sends, a client leaves out what it cannot read.
                assert_eq!(sent.info.to_public(), session.info.to_public());
            }
            assert!(sent.info.to_private().is_empty(), "private fields were sent");
            assert_eq!((&sent.key, sent.created), (&key, session.created));
        }
        Err(error) => assert!(is_deep, "{error}"),
    }
    match Session::from_stored(key, session.to_stored().as_bytes()) {
        Ok(stored) => assert_eq!(stored, session),
        Err(error) => assert!(is_deep, "{error}"),
    }
    if made.stores {
        keep(&session, is_deep);
    }
}

/// Through the store, under a key that may be any text.
fn keep(session: &Session, is_deep: bool) {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let inner = directory.path().join("sessions");
    smol::block_on(async {
        let store = FileStore::open(&inner).await.expect("it can be made");
        let created = store.create(session).await.map_err(|error| error.kind());
        let found = store.look_up(&session.key, session.last_lookup).await.ok().flatten();
        if is_deep {
            assert!(created.is_ok() == found.is_some(), "it was stored, but cannot be read");
        } else if FileStore::accepts(session.key.as_str()) {
            assert_eq!((created, found.as_ref()), (Ok(()), Some(session)));
        } else {
            assert_eq!((created, found), (Err(StoreErrorKind::InvalidKey), None));
            assert_eq!(files(&inner), 0);
        }
        store.destroy(&session.key).await.expect("it can be removed");
    });
    assert_eq!((files(&inner), files(directory.path())), (0, 1), "only there, and gone again");
}
