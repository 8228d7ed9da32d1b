//! Modes, links, pipes and locks: what files are on Unix.

use core::time::Duration;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use smol::block_on;

use super::{GO_1_4, fresh, names, open, told};
use crate::store::StoreErrorKind;
use crate::store::file::directory::Directory;
use crate::store::file::{Path, Removed, SessionStore};
use crate::store::tests::{beside, key, seconds, session};

#[test]
fn only_the_owner_can_read_what_the_store_creates() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/b");
    let store = open(&directory);
    assert_eq!(mode(&directory), 0o700);
    let file = directory.join("k.wwrsess");
    block_on(store.create(&session("k"))).unwrap();
    assert_eq!(mode(&file), 0o600);

    fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    block_on(store.look_up(&key("k"), seconds(200))).unwrap();
    assert_eq!(mode(&file), 0o600);

    fs::set_permissions(&directory, PermissionsExt::from_mode(0o755)).unwrap();
    open(&directory);
    assert_eq!(mode(&directory), 0o755);
}

#[test]
fn a_directory_that_others_may_enter_is_warned_about() {
    for (mode, warned) in [(0o700, None), (0o711, Some(0o711)), (0o740, Some(0o740))] {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(Directory::open(directory.path()).unwrap().1, warned, "{mode:03o}");
    }
}

/// As on a disk that the system has made read-only. Root can write every file, so the test shows
/// nothing there.
#[test]
fn a_file_that_may_only_be_read_is_found() {
    let (directory, store) = fresh();
    block_on(store.create(&session("k"))).unwrap();
    let read_only = PermissionsExt::from_mode(0o400);
    fs::set_permissions(directory.path().join("k.wwrsess"), read_only).unwrap();
    assert!(block_on(store.look_up(&key("k"), seconds(200))).unwrap().is_some());
    block_on(store.destroy(&key("k"))).unwrap();
    assert!(names(directory.path()).is_empty());
}

#[test]
fn links_are_not_followed() {
    let parent = tempfile::tempdir().unwrap();
    let store = open(&parent.path().join("sessions"));
    let target = parent.path().join("target");
    fs::write(&target, GO_1_4).unwrap();
    let link = store.directory().join("k.wwrsess");
    symlink(&target, &link).unwrap();
    symlink("nowhere", store.directory().join("dangling.wwrsess")).unwrap();

    for name in ["k", "dangling"] {
        let error = block_on(store.look_up(&key(name), seconds(1))).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Failed);
        assert!(told(&error).contains("not a regular file"), "{}", told(&error));
        let error = block_on(store.create(&session(name))).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::KeyExists);
        block_on(store.destroy(&key(name))).unwrap_err();
    }
    let removed = block_on(store.remove_expired(seconds(1 << 40), Duration::ZERO)).unwrap();
    assert_eq!(removed, Removed { examined: 2, failed: 2, ..Removed::default() });
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(target).unwrap(), GO_1_4);
    assert!(!parent.path().join("nowhere").exists());
}

#[test]
fn a_pipe_or_directory_in_place_of_a_file_is_an_error_at_once() {
    let (directory, store) = fresh();
    fs::create_dir(directory.path().join("folder.wwrsess")).unwrap();
    let pipe = directory.path().join("pipe.wwrsess");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    for name in ["folder", "pipe"] {
        let error = block_on(store.look_up(&key(name), seconds(1))).unwrap_err();
        assert!(told(&error).contains("not a regular file"), "{}", told(&error));
    }
}

/// Stores of one directory share no mutex, as if they were in different processes.
#[test]
fn stores_that_share_a_directory_do_not_bring_sessions_back() {
    let (directory, first) = fresh();
    let stores = [first, open(directory.path()), open(directory.path())];
    let mut found = 0;
    for _ in 0..300 {
        block_on(stores[0].create(&session("k"))).unwrap();
        found += beside(stores.len(), |index| match index {
            0 => {
                block_on(stores[0].destroy(&key("k"))).unwrap();
                0
            }
            _ => usize::from(
                block_on(stores[index].look_up(&key("k"), seconds(200))).unwrap().is_some(),
            ),
        });
        assert!(names(directory.path()).is_empty());
    }
    println!("{found} look-ups were first");
}
