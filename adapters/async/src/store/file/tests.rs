//! Behaviour that only files have.

#[cfg(unix)]
mod unix;

use core::error::Error;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs::{self, File};
use std::thread;
use std::time::SystemTime;

use serde_json::Value;
use smol::block_on;
use tempfile::TempDir;
use wwr::{SessionInfo, UnixTime};

use super::*;
use crate::store::StoreErrorKind;
use crate::store::tests::{key, seconds, session};
use crate::test_runtime::TestRuntime;

type FileStore = super::FileStore<TestRuntime>;

/// What the 1.4 reference server writes.
const GO_1_4: &str =
    r#"{"c":"2026-11-22T12:31:06.249976669Z","l":"0001-01-01T00:00:00Z","i":{"n":1,"u":"bob"}}"#;

fn open(directory: &Path) -> FileStore {
    block_on(FileStore::open(directory)).unwrap()
}

/// Returns a store in a directory of its own, which lives as long as the first value.
fn fresh() -> (TempDir, FileStore) {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    (directory, store)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns the error and all its causes, in both forms a log may show.
fn told(error: &dyn Error) -> String {
    let cause = error.source().map(told).unwrap_or_default();
    format!("{error} {error:?} {cause}")
}

#[test]
fn files_have_the_name_and_content_of_the_format() {
    let (directory, store) = fresh();
    block_on(store.create(&session("KEY1"))).unwrap();
    assert_eq!(names(directory.path()), ["KEY1.wwrsess"]);
    let content = || fs::read_to_string(directory.path().join("KEY1.wwrsess")).unwrap();
    assert_eq!(
        content(),
        r#"{"c":"1970-01-01T00:01:40Z","l":"1970-01-01T00:01:40Z","i":{"user":"ada"},"p":{"quota":7}}"#
    );
    block_on(store.look_up(&key("KEY1"), seconds(200))).unwrap();
    assert!(content().contains(r#""l":"1970-01-01T00:03:20Z""#));
    block_on(store.destroy(&key("KEY1"))).unwrap();
    assert!(names(directory.path()).is_empty());
}

#[test]
fn files_of_the_reference_servers_are_read_as_they_are() {
    let (directory, store) = fresh();
    let bob = SessionInfo::new().public("n", 1).public("u", "bob");
    for (content, created, last_lookup, info) in [
        (GO_1_4, "2026-11-22T12:31:06.249976669Z", "0001-01-01T00:00:00Z", bob.clone()),
        (
            r#"{"c":"2026-11-22T14:31:06+02:00","l":"2026-11-22T14:31:06+02:00","i":null}"#,
            "2026-11-22T12:31:06Z",
            "2026-11-22T12:31:06Z",
            SessionInfo::new(),
        ),
        (
            r#"{"x":[1],"c":"2026-11-22T12:31:06.5Z","l":"2026-11-23T00:00:00Z","i":{"n":1,"u":"bob"}}"#,
            "2026-11-22T12:31:06.5Z",
            "2026-11-23T00:00:00Z",
            bob,
        ),
    ] {
        fs::write(directory.path().join("go.wwrsess"), content).unwrap();
        let found = block_on(store.look_up(&key("go"), seconds(7))).unwrap().unwrap();
        assert_eq!(found.created.to_string(), created);
        assert_eq!(found.last_lookup.to_string(), last_lookup);
        assert_eq!(found.info, info);
        let again = block_on(store.look_up(&key("go"), seconds(8))).unwrap();
        assert_eq!(again, Some(Session { last_lookup: seconds(7), ..found }));
    }
}

#[test]
fn numbers_of_other_servers_keep_every_digit_however_often_they_are_looked_up() {
    let (directory, store) = fresh();
    let numbers = r#"{"a":18446744073709551616,"b":[0.10000000000000000001,{"c":1e-400}],"d":1}"#;
    let content =
        format!(r#"{{"c":"2026-11-22T12:31:06Z","l":"2026-11-22T12:31:06Z","i":{numbers}}}"#);
    let path = directory.path().join("go.wwrsess");
    fs::write(&path, content).unwrap();
    for now in [7, 8] {
        let found = block_on(store.look_up(&key("go"), seconds(now))).unwrap().unwrap();
        assert!(found.to_json().contains(numbers), "{}", found.to_json());
        assert!(fs::read_to_string(&path).unwrap().contains(numbers));
    }
}

#[test]
fn a_file_that_no_value_can_hold_is_refused_and_left_alone() {
    let (directory, store) = fresh();
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for field in [&*deep, "1e400", r#""\ud800""#] {
        let content = format!(r#"{{"c":"2026-11-22T12:31:06Z","l":null,"i":{{"a":{field}}}}}"#);
        let path = directory.path().join("k.wwrsess");
        fs::write(&path, &content).unwrap();
        let error = block_on(store.look_up(&key("k"), seconds(1))).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Broken);
        assert!(told(&error).contains("nested more than 125 levels"), "{}", told(&error));
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[test]
fn a_relative_directory_stays_where_it_was() {
    let here = std::env::current_dir().unwrap();
    let directory = tempfile::tempdir_in(&here).unwrap();
    let relative = directory.path().strip_prefix(&here).unwrap();
    assert_eq!(open(relative).directory(), directory.path());
}

#[test]
fn only_a_directory_can_be_opened() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below"), PathBuf::new()] {
        let error = block_on(FileStore::open(path)).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Failed);
        assert!(error.source().is_some());
    }
}

#[test]
fn keys_that_cannot_be_file_names_touch_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("sessions");
    let store = open(&directory);
    fs::create_dir(directory.join("a")).unwrap();
    for outside in [parent.path().join("evil.wwrsess"), directory.join("a/b.wwrsess")] {
        fs::write(outside, GO_1_4).unwrap();
    }
    fs::write(directory.join(".hidden.wwrsess"), GO_1_4).unwrap();
    let absolute = parent.path().join("evil");
    let odd = ["../evil", "a/b", "a\\b", "k\0", ".", "..", ".hidden", "naïve", "a:b", "a b"];
    let odd = odd.map(String::from).into_iter();
    for odd in odd.chain(["k".repeat(201), "k".repeat(300), absolute.display().to_string()]) {
        assert!(!FileStore::accepts(&odd));
        assert_eq!(block_on(store.look_up(&key(&odd), seconds(1))).unwrap(), None, "{odd:?}");
        block_on(store.destroy(&key(&odd))).unwrap();
        let error = block_on(store.create(&session(&odd))).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::InvalidKey, "{odd:?}");
    }
    assert!(!FileStore::accepts(""));
    assert_eq!(names(parent.path()), ["evil.wwrsess", "sessions"]);
    assert_eq!(names(&directory), [".hidden.wwrsess", "a"]);
    assert_eq!(fs::read_to_string(parent.path().join("evil.wwrsess")).unwrap(), GO_1_4);
    assert_eq!(fs::read_to_string(directory.join("a/b.wwrsess")).unwrap(), GO_1_4);

    let longest = "k".repeat(FileStore::MAX_KEY_LENGTH);
    block_on(store.create(&session(&longest))).unwrap();
    assert!(block_on(store.look_up(&key(&longest), seconds(1))).unwrap().is_some());
}

#[test]
fn a_broken_file_is_named_and_left_alone() {
    let (directory, store) = fresh();
    let long_key = "abcdefghijklmnopqrstuvwxyz0123456789";
    let path = directory.path().join(format!("{long_key}.wwrsess"));
    for broken in [&GO_1_4[..40], "", "[]", r#"{"c":1}"#, "\u{0}"] {
        fs::write(&path, broken).unwrap();
        let error = block_on(store.look_up(&key(long_key), seconds(1))).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Broken);
        assert!(error.to_string().contains("abcdefgh….wwrsess"), "{error}");
        assert!(error.source().is_some());
        assert!(!told(&error).contains(long_key));
        let removed = block_on(store.remove_expired(seconds(1 << 40), Duration::ZERO)).unwrap();
        assert_eq!(removed, Removed { examined: 1, failed: 1, ..Removed::default() });
        assert_eq!(fs::read_to_string(&path).unwrap(), broken);
    }
    File::create(&path).unwrap().set_len(directory::MAX_FILE_LENGTH + 1).unwrap();
    let error = block_on(store.look_up(&key(long_key), seconds(1))).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Broken);

    block_on(store.destroy(&key(long_key))).unwrap();
    assert_eq!(block_on(store.look_up(&key(long_key), seconds(1))).unwrap(), None);
}

#[test]
fn a_session_that_could_not_be_read_back_is_not_written() {
    let (directory, store) = fresh();
    let deep = (0..200).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    for (value, why) in [(Value::from("x".repeat(4 << 20)), "4 MiB"), (deep, "nested")] {
        let info = SessionInfo::new().public("note", value);
        let error = block_on(store.create(&Session::new(key("k"), seconds(1), info))).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Failed);
        assert!(error.to_string().contains(why), "{error}");
        assert!(names(directory.path()).is_empty());
    }
}

#[test]
fn a_missing_directory_is_an_error_and_not_a_missing_session() {
    let parent = tempfile::tempdir().unwrap();
    let store = open(&parent.path().join("sessions"));
    let long_key = "abcdefghijklmnopqrstuvwxyz0123456789";
    let check = || {
        let errors = [
            block_on(store.create(&session(long_key))).unwrap_err(),
            block_on(store.look_up(&key(long_key), seconds(1))).unwrap_err(),
            block_on(store.destroy(&key(long_key))).unwrap_err(),
            block_on(store.remove_expired(seconds(1), Duration::ZERO)).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), StoreErrorKind::Failed);
            assert!(error.source().is_some());
            assert!(error.to_string().contains("sessions"), "{error}");
            assert!(!told(&error).contains(long_key), "{}", told(&error));
        }
    };
    fs::remove_dir(store.directory()).unwrap();
    check();
    fs::write(store.directory(), "").unwrap();
    check();
}

#[test]
fn a_reader_never_sees_half_a_session() {
    let (directory, store) = fresh();
    let info = SessionInfo::new().public("note", "x".repeat(10_000));
    block_on(store.create(&Session::new(key("k"), seconds(0), info.clone()))).unwrap();
    let path = directory.path().join("k.wwrsess");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let content = fs::read(&path).unwrap();
                assert_eq!(Session::from_stored(key("k"), &content).unwrap().info, info);
            }
        });
        let writer = scope.spawn(|| {
            for now in 1..300 {
                block_on(store.look_up(&key("k"), seconds(now))).unwrap().unwrap();
            }
        });
        let written = writer.join();
        done.store(true, Ordering::Release);
        written.unwrap();
    });
    assert_eq!(names(directory.path()), ["k.wwrsess"]);
}

#[test]
fn expiry_removes_old_leftovers_and_ignores_foreign_files() {
    let (directory, store) = fresh();
    let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for name in [
        ".old.wwrsess-new",
        ".new.wwrsess-new",
        "foreign.wwrsess-new",
        ".foreign.wwrsess",
        "foreign.json",
        "fo reign.wwrsess",
    ] {
        let file = File::create(directory.path().join(name)).unwrap();
        let age = Duration::from_secs(u64::from(name == ".old.wwrsess-new"));
        file.set_modified(written - age).unwrap();
    }
    fs::create_dir(directory.path().join(".folder.wwrsess-new")).unwrap();
    block_on(store.create(&session("k"))).unwrap();

    let hour_later = UnixTime::from_seconds(1_000_000 + 60 * 60);
    let removed = block_on(store.remove_expired(hour_later, Duration::MAX)).unwrap();
    let expected = Removed { examined: 1, removed: 0, failed: 0, leftovers: 1 };
    assert_eq!(removed, expected);
    assert_eq!(
        names(directory.path()),
        [
            ".folder.wwrsess-new",
            ".foreign.wwrsess",
            ".new.wwrsess-new",
            "fo reign.wwrsess",
            "foreign.json",
            "foreign.wwrsess-new",
            "k.wwrsess",
        ]
    );
}

/// Expiry recognizes the names of temporary files.
#[test]
fn an_unfinished_write_is_a_leftover() {
    let (directory, store) = fresh();
    let mut builder = tempfile::Builder::new();
    builder.prefix(name::TEMPORARY_PREFIX).suffix(name::TEMPORARY_SUFFIX).disable_cleanup(true);
    drop(builder.tempfile_in(directory.path()).unwrap());
    assert_eq!(names(directory.path()).len(), 1);
    let removed = block_on(store.remove_expired(seconds(1 << 37), Duration::MAX)).unwrap();
    assert_eq!(removed, Removed { leftovers: 1, ..Removed::default() });
    assert!(names(directory.path()).is_empty());
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let (directory, store) = fresh();
    block_on(store.create(&session("k"))).unwrap();
    block_on(store.create(&session("k"))).unwrap_err();
    assert_eq!(names(directory.path()), ["k.wwrsess"]);
}

#[test]
fn a_future_that_is_dropped_leaves_whole_sessions() {
    let (_directory, store) = fresh();
    block_on(store.create(&session("k"))).unwrap();
    for now in 200..250 {
        drop(smol::future::poll_once(store.look_up(&key("k"), seconds(now))));
        block_on(smol::future::poll_once(store.look_up(&key("k"), seconds(now))));
    }
    assert!(block_on(store.look_up(&key("k"), seconds(300))).unwrap().is_some());
}
