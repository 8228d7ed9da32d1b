use std::net::Ipv4Addr;
use std::time::SystemTime;

use wwr::Dialect;

use super::super::connection::{ConnectionInfo, Reads};
use super::*;
use crate::executor::GlobalExecutor;
use crate::key::RandomKeys;
use crate::store::MemoryStore;

fn hub() -> Arc<Hub> {
    let store = SharedStore::new(MemoryStore::new());
    let (keys, executor) = (Box::new(RandomKeys), Box::new(GlobalExecutor));
    let timeout = Duration::from_secs(1);
    Arc::new(Hub::new(executor, keys, store, timeout, RegistryConfig::default()))
}

fn enter(hub: &Arc<Hub>) -> Presence {
    let info = ConnectionInfo {
        connected_at: SystemTime::UNIX_EPOCH,
        user_agent: None,
        remote_addr: (Ipv4Addr::LOCALHOST, 1).into(),
    };
    hub.enter(Connection::new(hub.clone(), info, Reads::new(Dialect::Unknown, 8192), 100))
}

#[test]
fn a_walk_meets_everybody_once() {
    for count in [0, 1, PORTION - 1, PORTION, PORTION + 1, 3 * PORTION] {
        let hub = hub();
        let present: Vec<_> = (0..count).map(|_| enter(&hub)).collect();
        let met = hub.walk().map(|connection| connection.connection_id());
        let ids = present.iter().map(|presence| presence.connection.connection_id());
        assert!(met.eq(ids), "{count} connections");
    }
}

#[test]
fn a_walk_goes_on_while_others_come_and_go() {
    let hub = hub();
    let mut present: Vec<_> = (0..4 * PORTION).map(|_| Some(enter(&hub))).collect();
    let mut newcomers = Vec::new();
    let mut met = Vec::new();
    for connection in hub.walk() {
        let id = connection.id() as usize;
        met.push(id);
        // The one just met and one far ahead go, somebody else comes.
        present[id - 1] = None;
        if let Some(ahead) = present.get_mut(id + PORTION) {
            *ahead = None;
        }
        newcomers.push(enter(&hub));
    }
    assert!(met.is_sorted_by(|one, next| one < next), "nobody is met twice");
    assert!(met.len() < present.len() && met.iter().all(|id| *id <= present.len()));
    assert!(present.iter().all(Option::is_none), "who stayed was met");
    assert_eq!(hub.connection_count(), newcomers.len());
}
