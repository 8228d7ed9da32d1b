use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::SystemTime;

use hyper::header::HeaderMap;
use wwr::Dialect;
use wwr::{SlowReader, Valid};

use super::super::connection::{ConnectionInfo, Reads};
use super::super::context::Data;
use super::*;
use crate::key::RandomKeys;
use crate::store::MemoryStore;
use crate::test_runtime::TestRuntime;

pub(in crate::server) fn hub() -> Arc<Hub> {
    let store = SharedStore::new(MemoryStore::new());
    let (hub, recovery) = (Valid::default(), Valid::default());
    Hub::new(&TestRuntime, Box::new(RandomKeys), store, &hub, &recovery, [0; 16], None)
}

fn open(hub: &Arc<Hub>) -> OpenGuard {
    let (admission, connection) = admitted(hub);
    Hub::open(admission, connection)
}

/// Returns a connection that is not open yet.
pub(in crate::server) fn admitted(hub: &Arc<Hub>) -> (Admission, Connection) {
    let info = ConnectionInfo {
        connected_at: SystemTime::UNIX_EPOCH,
        user_agent: None,
        remote_addr: (Ipv4Addr::LOCALHOST, 1).into(),
        socket_addr: (Ipv4Addr::LOCALHOST, 1).into(),
        tls: None,
        path: "/".into(),
        query: None,
        headers: HeaderMap::new(),
        sub_protocol: None,
    };
    let admission = hub.admit().unwrap();
    let reads = Reads::new(Dialect::Unknown, 8192);
    let connection = Connection::new(
        hub.clone(),
        admission.id(),
        info,
        Data::default(),
        reads,
        100,
        SlowReader::Refuse,
    );
    (admission, connection)
}

/// Returns a connection that has ended.
pub(in crate::server) fn connection() -> Connection {
    open(&hub()).connection.clone()
}

#[test]
fn a_walk_visits_each_connection_once() {
    for count in [0, 1, PORTION - 1, PORTION, PORTION + 1, 3 * PORTION] {
        let hub = hub();
        let open: Vec<_> = (0..count).map(|_| open(&hub)).collect();
        let met = hub.walk().map(|connection| connection.connection_id());
        let ids = open.iter().map(|guard| guard.connection.connection_id());
        assert!(met.eq(ids), "{count} connections");
    }
}

#[test]
fn a_walk_goes_on_while_others_come_and_go() {
    let hub = hub();
    let mut present: Vec<_> = (0..4 * PORTION).map(|_| Some(open(&hub))).collect();
    let mut newcomers = Vec::new();
    let mut met = Vec::new();
    for connection in hub.walk() {
        let id = connection.id() as usize;
        met.push(id);
        // The current connection and one far ahead end, and another one opens.
        present[id - 1] = None;
        if let Some(ahead) = present.get_mut(id + PORTION) {
            *ahead = None;
        }
        newcomers.push(open(&hub));
    }
    assert!(met.is_sorted_by(|one, next| one < next), "no connection is visited twice");
    assert!(met.len() < present.len() && met.iter().all(|id| *id <= present.len()));
    assert!(present.iter().all(Option::is_none), "all that stayed were visited");
    assert_eq!(hub.connection_count(), newcomers.len());
}

/// Opens a connection that has received this many bytes.
fn open_with(hub: &Arc<Hub>, bytes: usize) -> OpenGuard {
    let guard = open(hub);
    guard.connection.note_received(&vec![0; bytes]);
    guard
}

#[test]
fn counters_are_added_up_over_any_number_of_portions() {
    for count in [0, 1, PORTION - 1, PORTION, PORTION + 1, 3 * PORTION] {
        let hub = hub();
        let mut present: Vec<_> = (0..count).map(|_| open_with(&hub, 1)).collect();
        // Each portion is followed by another look at the table.
        let mut portions = 0;
        let stats = hub.stats_in_portions(|| portions += 1);
        assert_eq!(portions, count.div_ceil(PORTION));
        let (open, ended) = (stats.open.total(), stats.ended.total());
        assert_eq!((open, ended, stats.traffic.bytes_received), (count as u64, 0, count as u64));
        present.truncate(count / 2);
        let stats = hub.stats();
        let half = (count / 2) as u64;
        assert_eq!((stats.open.total(), stats.opened()), (half, count as u64));
        assert_eq!(stats.traffic.bytes_received, count as u64, "those that have ended included");
    }
}

#[test]
fn a_connection_that_ends_while_counters_are_added_up_counts_once() {
    let hub = hub();
    let count = 3 * PORTION;
    drop(open_with(&hub, 7));
    let mut present: Vec<_> = (0..count).map(|_| Some(open_with(&hub, 1))).collect();
    let mut newcomers = Vec::new();
    let mut portion = 0;
    let stats = hub.stats_in_portions(|| {
        // Some that were visited end, the next one that was not, and the last ones.
        let visited = portion * PORTION;
        for gone in [visited + 1, visited + PORTION - 1, visited + PORTION, count - 1 - portion] {
            if let Some(gone) = present.get_mut(gone) {
                *gone = None;
            }
        }
        // Others come, and some of them go again: they are not of this walk.
        newcomers.push(open_with(&hub, 1000));
        drop(open_with(&hub, 1000));
        portion += 1;
    });
    assert_eq!(portion, 3);
    assert_eq!(stats.opened(), count as u64 + 1);
    assert_eq!(stats.traffic.bytes_received, count as u64 + 7);
    // Three have ended before the walk came to them: the next one after the first portion, and two at the
    // end.
    assert_eq!(stats.open.total(), count as u64 - 3);
    // The next walk begins anew, and nothing is kept for it.
    let stats = hub.stats();
    assert_eq!(stats.opened(), count as u64 + 1 + 6);
    assert_eq!(stats.traffic.bytes_received, count as u64 + 7 + 6000);
    let left = present.iter().flatten().count() + newcomers.len();
    assert_eq!(stats.open.total(), left as u64);
    assert_eq!(hub.connection_count(), left);
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits with `future` while `work` runs. Returns how often that woke it, and whether it has ended.
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
fn connections_that_come_and_go_do_not_wake_callers_that_wait_for_the_end() {
    let hub = hub();
    let staying = open(&hub);
    let come_and_go = || (0..100).for_each(|_| drop(open(&hub)));
    assert_eq!(woken_by(hub.stops(), come_and_go), (0, false));
    assert_eq!(woken_by(hub.stops(), || drop(staying)), (0, false));
}

#[test]
fn a_shutdown_ends_once_with_the_last_connection_or_handshake() {
    let hub = hub();
    let crowd: Vec<_> = (0..100).map(|_| open(&hub)).collect();
    let handshake = hub.admit().ok();
    let long = Duration::from_secs(1000);
    assert_eq!(woken_by(hub.shut_down(long), || drop(crowd)), (0, false));
    assert!(hub.is_shutting_down() && hub.admit().is_err());
    assert_eq!(woken_by(hub.stops(), || drop(handshake)), (1, true));
}

#[test]
fn an_unused_hub_is_dropped_with_its_timer() {
    let hub = hub();
    let (weak, earlier) = (Arc::downgrade(&hub), Arc::downgrade(&hub.earlier));
    drop(hub);
    assert!(weak.upgrade().is_none());
    let started = std::time::Instant::now();
    while earlier.strong_count() > 0 {
        assert!(started.elapsed().as_secs() < 30, "its task is still there");
        std::thread::yield_now();
    }
}
