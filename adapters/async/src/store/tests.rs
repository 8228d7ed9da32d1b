//! The stores of this crate against what every store has to do, and what else they do.

use core::time::Duration;
use std::sync::Arc;

use smol::block_on;
use wwr::{Session, SessionInfo, SessionKey, UnixTime};

use super::*;
use crate::test_runtime::TestRuntime;
use crate::testing::{StoreExpiry, check_store};

pub(super) use crate::testing::store::{beside, key, seconds, session};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn the_memory_store_behaves() {
    check_store(StoreExpiry::InRounds, || (MemoryStore::new(), ()));
}

#[test]
fn the_file_store_behaves() {
    check_store(StoreExpiry::InRounds, || {
        let directory = tempfile::tempdir().unwrap();
        let store = block_on(FileStore::<TestRuntime>::open(directory.path())).unwrap();
        (store, directory)
    });
}

#[test]
fn the_durable_file_store_behaves() {
    check_store(StoreExpiry::InRounds, || {
        let directory = tempfile::tempdir().unwrap();
        let store = block_on(FileStore::<TestRuntime>::open(directory.path())).unwrap().durable();
        (store, directory)
    });
}

#[test]
fn a_memory_store_in_use_can_be_inspected() {
    let watched = Arc::new(MemoryStore::new());
    let used = SharedStore::new(Arc::clone(&watched));
    assert!(watched.is_empty());
    block_on(used.create(&session("k"))).unwrap();
    assert_eq!(watched.len(), 1);
    block_on(used.destroy(&key("k"))).unwrap();
    assert!(watched.is_empty());
}

#[test]
fn a_store_with_its_own_expiry_needs_no_rounds() {
    struct Expiring;

    impl SessionStore for Expiring {
        async fn create(&self, _: &Session) -> Result<(), StoreError> {
            Ok(())
        }

        async fn look_up(
            &self,
            _: &SessionKey,
            _: UnixTime,
        ) -> Result<Option<Session>, StoreError> {
            Ok(None)
        }

        async fn destroy(&self, _: &SessionKey) -> Result<(), StoreError> {
            Ok(())
        }
    }

    let store = SharedStore::new(Expiring);
    let update = block_on(store.update(&key("k"), &SessionInfo::new())).unwrap_err();
    assert_eq!(update.kind(), StoreErrorKind::Unsupported);
    assert_eq!(block_on(store.remove_expired(seconds(1), DAY)).unwrap(), Removed::default());
}
