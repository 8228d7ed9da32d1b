use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Wake, Waker};
use std::time::SystemTime;

use wwr::Dialect;

use super::*;
use crate::executor::GlobalExecutor;
use crate::key::RandomKeys;
use crate::server::connection::{ConnectionInfo, Reads};
use crate::store::MemoryStore;

fn hub() -> Arc<Hub> {
    let store = SharedStore::new(MemoryStore::new());
    let config = RegistryConfig::default();
    let executor = Box::new(GlobalExecutor);
    Arc::new(Hub::new(executor, Box::new(RandomKeys), store, GOODBYE, config))
}

fn enter(hub: &Arc<Hub>) -> Presence {
    let arrival = hub.admit(usize::MAX).expect("there is room");
    let remote_addr = SocketAddr::from(([127, 0, 0, 1], 1));
    let info = ConnectionInfo { connected_at: SystemTime::now(), user_agent: None, remote_addr };
    let connection = Connection::new(hub.clone(), info, Reads::new(Dialect::V2_0, 8192), 1024);
    let presence = hub.enter(connection);
    drop(arrival);
    presence
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

#[test]
fn the_room_that_a_crowd_has_needed_is_given_back() {
    let hub = hub();
    let crowd: Vec<_> = (0..10_000).map(|_| enter(&hub)).collect();
    assert_eq!(hub.connection_count(), 10_000);
    drop(crowd);
    assert_eq!(hub.connection_count(), 0);
    let room = lock(&hub.roster).connections.capacity();
    assert!(room <= 2 * Roster::SMALL, "room for {room}");
}
