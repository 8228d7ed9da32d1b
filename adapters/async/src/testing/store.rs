//! What every session store has to do, as a check that runs against any of them.

use core::time::Duration;
use std::sync::Barrier;
use std::thread;

use futures_lite::future::block_on;
use wwr::{Session, SessionInfo, SessionKey, UnixTime};

use crate::store::{Removed, SessionStore, SharedStore, StoreErrorKind};

/// How a store removes sessions that are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreExpiry {
    /// By [`SessionStore::remove_expired`].
    InRounds,
    /// By itself, so that `remove_expired` has nothing to do. That sessions expire in it is not checked.
    ByItself,
}

/// Checks that a store does what [`SessionStore`] says: for the tests of stores. Each behaviour gets a new store
/// from `fresh`, and what `fresh` returns beside it lives as long, for example a directory that removes itself. The
/// store is used from several threads at once, outside of any runtime.
///
/// ```
/// use wwr_async::MemoryStore;
/// use wwr_async::testing::{StoreExpiry, check_store};
///
/// check_store(StoreExpiry::InRounds, || (MemoryStore::new(), ()));
/// ```
///
/// # Panics
///
/// If the store behaves otherwise. Standard output says what it was to do.
#[track_caller]
pub fn check_store<S: SessionStore, G>(expiry: StoreExpiry, fresh: impl Fn() -> (S, G)) {
    let rounds = match expiry {
        StoreExpiry::InRounds => ROUNDS,
        StoreExpiry::ByItself => &[],
    };
    for (behaviour, check) in BEHAVIOURS.iter().chain(rounds) {
        println!("{behaviour}");
        let (store, _guard) = fresh();
        check(&SharedStore::new(store));
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn key(text: &str) -> SessionKey {
    SessionKey::new(text).unwrap()
}

pub(crate) fn seconds(seconds: i64) -> UnixTime {
    UnixTime::from_seconds(seconds)
}

/// Returns a session created 100 seconds after the epoch.
pub(crate) fn session(text: &str) -> Session {
    let info = SessionInfo::new().public("user", "ada").private("quota", 7);
    Session::new(key(text), seconds(100), info)
}

fn with_last_lookup(session: Session, last_lookup: UnixTime) -> Session {
    Session { last_lookup, ..session }
}

/// A behaviour of a store, and its check on a new one.
type Behaviour = (&'static str, fn(&SharedStore));

const BEHAVIOURS: &[Behaviour] = &[
    ("a session that was never created is not found", |store| {
        assert_eq!(block_on(store.look_up(&key("nobody"), seconds(1))).unwrap(), None);
    }),
    ("a look-up returns the time of the one before", |store| {
        block_on(store.create(&session("k"))).unwrap();
        for (now, before) in [(200, 100), (300, 200), (250, 300), (400, 250)] {
            let found = block_on(store.look_up(&key("k"), seconds(now))).unwrap();
            assert_eq!(found, Some(with_last_lookup(session("k"), seconds(before))));
        }
    }),
    ("a session is kept as it was created", |store| {
        let bare = Session::new(key("bare"), UnixTime::NEVER, SessionInfo::new());
        let odd = SessionInfo::new().public("</a>\u{2028}", "\"\n\u{1f600}").private("", true);
        let odd = Session { last_lookup: seconds(-1), ..Session::new(key("o"), seconds(9), odd) };
        for session in [bare, odd] {
            block_on(store.create(&session)).unwrap();
            let found = block_on(store.look_up(&session.key, seconds(1))).unwrap();
            assert_eq!(found, Some(session));
        }
    }),
    ("creating a session twice fails and keeps the first", |store| {
        block_on(store.create(&session("k"))).unwrap();
        let second = Session::new(key("k"), seconds(500), SessionInfo::new());
        let error = block_on(store.create(&second)).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::KeyExists);
        let found = block_on(store.look_up(&key("k"), seconds(600))).unwrap();
        assert_eq!(found, Some(session("k")));
    }),
    ("a destroyed session is not found, and may be created again", |store| {
        block_on(store.create(&session("k"))).unwrap();
        block_on(store.create(&session("other"))).unwrap();
        block_on(store.destroy(&key("k"))).unwrap();
        assert_eq!(block_on(store.look_up(&key("k"), seconds(1))).unwrap(), None);
        assert!(block_on(store.look_up(&key("other"), seconds(1))).unwrap().is_some());
        block_on(store.create(&session("k"))).unwrap();
        assert!(block_on(store.look_up(&key("k"), seconds(1))).unwrap().is_some());
    }),
    ("an update replaces the info and nothing else", |store| {
        block_on(store.create(&session("k"))).unwrap();
        block_on(store.look_up(&key("k"), seconds(200))).unwrap();
        let info = SessionInfo::new().public("user", "bob").private("role", "admin");
        assert!(block_on(store.update(&key("k"), &info)).unwrap());
        let found = block_on(store.look_up(&key("k"), seconds(300))).unwrap();
        let expected = Session { info, last_lookup: seconds(200), ..session("k") };
        assert_eq!(found, Some(expected));
    }),
    ("an update brings nothing into being", |store| {
        for nobody in ["nobody", "../evil", &"k".repeat(300)] {
            let updated = block_on(store.update(&key(nobody), &SessionInfo::new())).unwrap();
            assert!(!updated);
        }
        block_on(store.create(&session("k"))).unwrap();
        block_on(store.destroy(&key("k"))).unwrap();
        assert!(!block_on(store.update(&key("k"), &SessionInfo::new())).unwrap());
        assert_eq!(block_on(store.look_up(&key("k"), seconds(1))).unwrap(), None);
    }),
    (
        "a look-up beside an update does not undo it, and a destroyed session stays destroyed",
        |store| {
            for number in 0..100 {
                block_on(store.create(&session("k"))).unwrap();
                let info = SessionInfo::new().public("number", number);
                beside(4, |index| {
                    match index {
                        0 => drop(block_on(store.update(&key("k"), &info)).unwrap()),
                        _ => drop(block_on(store.look_up(&key("k"), seconds(200))).unwrap()),
                    }
                    0
                });
                let found = block_on(store.look_up(&key("k"), seconds(300))).unwrap();
                assert_eq!(found.map(|session| session.info), Some(info.clone()));
                beside(2, |index| {
                    match index {
                        0 => drop(block_on(store.update(&key("k"), &info)).unwrap()),
                        _ => block_on(store.destroy(&key("k"))).unwrap(),
                    }
                    0
                });
                assert_eq!(block_on(store.look_up(&key("k"), seconds(300))).unwrap(), None);
            }
        },
    ),
    ("destroying what is not there succeeds", |store| {
        block_on(store.destroy(&key("nobody"))).unwrap();
        block_on(store.create(&session("k"))).unwrap();
        block_on(store.destroy(&key("k"))).unwrap();
        block_on(store.destroy(&key("k"))).unwrap();
    }),
    ("keys that cannot be file names are never found", |store| {
        for odd in ["../evil", "a/b", "nul\0", ".", "..", ".hidden", "naïve", &"k".repeat(300)] {
            assert_eq!(block_on(store.look_up(&key(odd), seconds(1))).unwrap(), None);
            block_on(store.destroy(&key(odd))).unwrap();
        }
    }),
    ("one of many that create the same session succeeds", |store| {
        let created = beside(8, |_| usize::from(block_on(store.create(&session("k"))).is_ok()));
        assert_eq!(created, 1);
    }),
    ("a session destroyed beside look-ups does not come back", |store| {
        for _ in 0..100 {
            block_on(store.create(&session("k"))).unwrap();
            beside(4, |index| {
                match index {
                    0 => block_on(store.destroy(&key("k"))).unwrap(),
                    _ => drop(block_on(store.look_up(&key("k"), seconds(200))).unwrap()),
                }
                0
            });
            assert_eq!(block_on(store.look_up(&key("k"), seconds(300))).unwrap(), None);
        }
    }),
];

/// What stores do besides in which sessions do not expire by themselves.
const ROUNDS: &[Behaviour] = &[
    ("sessions expire by their last look-up, else by their creation", |store| {
        for name in ["stale", "at-the-limit", "looked-up"] {
            block_on(store.create(&session(name))).unwrap();
        }
        let go = with_last_lookup(session("go-1.4"), UnixTime::NEVER);
        block_on(store.create(&go)).unwrap();
        block_on(store.look_up(&key("at-the-limit"), seconds(101))).unwrap();
        block_on(store.look_up(&key("looked-up"), seconds(200))).unwrap();

        let now = seconds(101 + 24 * 60 * 60);
        let expected = Removed { examined: 4, removed: 2, failed: 0, leftovers: 0 };
        assert_eq!(block_on(store.remove_expired(now, DAY)).unwrap(), expected);
        for (name, kept) in
            [("stale", false), ("go-1.4", false), ("at-the-limit", true), ("looked-up", true)]
        {
            let found = block_on(store.look_up(&key(name), now)).unwrap();
            assert_eq!(found.is_some(), kept, "{name}");
        }
    }),
    ("sessions from the future do not expire", |store| {
        block_on(store.create(&session("k"))).unwrap();
        let removed = block_on(store.remove_expired(seconds(50), Duration::ZERO)).unwrap();
        assert_eq!(removed, Removed { examined: 1, ..Removed::default() });
    }),
    ("a session looked up while sessions expire stays or was not found", |store| {
        let now = seconds(1_000_000);
        for _ in 0..100 {
            block_on(store.create(&session("k"))).unwrap();
            let found = beside(2, |index| match index {
                0 => {
                    block_on(store.remove_expired(now, DAY)).unwrap();
                    0
                }
                _ => usize::from(block_on(store.look_up(&key("k"), now)).unwrap().is_some()),
            });
            let stayed = block_on(store.look_up(&key("k"), now)).unwrap().is_some();
            assert_eq!(stayed, found == 1);
            block_on(store.destroy(&key("k"))).unwrap();
        }
    }),
];

/// Runs `work` on this many threads at once and adds up the results.
pub(crate) fn beside(threads: usize, work: impl Fn(usize) -> usize + Sync) -> usize {
    let start = Barrier::new(threads);
    let (start, work) = (&start, &work);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|index| {
                scope.spawn(move || {
                    start.wait();
                    work(index)
                })
            })
            .collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}
