use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Wake, Waker};
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
        socket_addr: (Ipv4Addr::LOCALHOST, 1).into(),
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

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits with `future` while `work` is done; how often it was woken by that, and whether it is done.
fn woken_by(future: impl Future<Output = ()>, work: impl FnOnce()) -> (usize, bool) {
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(wakes.clone());
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    assert!(future.as_mut().poll(&mut context).is_pending());
    work();
    let woken = wakes.0.load(Ordering::Relaxed);
    (woken, future.as_mut().poll(&mut context).is_ready())
}

#[test]
fn who_waits_for_a_stage_is_not_woken_by_connections_that_come_and_go() {
    let hub = hub();
    let staying = enter(&hub);
    let come_and_go = || (0..100).for_each(|_| drop(enter(&hub)));
    assert_eq!(woken_by(hub.reaches(Stage::Overdue), come_and_go), (0, false));
    // Nor when the last one goes, which only a shutdown waits for.
    assert_eq!(woken_by(hub.reaches(Stage::Overdue), || drop(staying)), (0, false));
    assert_eq!(woken_by(hub.reaches(Stage::Overdue), || hub.advance(Stage::Overdue)), (1, true));
}

#[test]
fn a_shutdown_is_woken_once_when_the_last_of_a_crowd_has_gone() {
    let hub = hub();
    let crowd: Vec<_> = (0..100).map(|_| enter(&hub)).collect();
    let empties = wait_until(&hub.emptied, || lock(&hub.roster).is_empty());
    assert_eq!(woken_by(empties, || drop(crowd)), (1, true));
    let arriving = hub.admit(1);
    let empties = wait_until(&hub.emptied, || lock(&hub.roster).is_empty());
    assert_eq!(woken_by(empties, || drop(arriving)), (1, true));
}
