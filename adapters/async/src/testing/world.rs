//! What simulated hosts share: time, chance, tasks, and the network.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

use event_listener::Event;

use super::link::{Link, LinkId};
use super::network::PORTS;
use super::server::Serve;
use super::tasks::Tasks;
use crate::clock::TimeSource;

/// The wall clock at the beginning, in seconds since 1970: 2025-01-01T00:00:00Z.
const WALL_CLOCK: u64 = 1_735_689_600;

/// A timer that is set: when it ends, and its number.
pub(super) type TimerId = (Duration, u64);

/// What the hosts of a simulation share.
pub(super) struct World {
    /// The moment at which virtual time begins.
    start: Instant,
    state: Mutex<State>,
    /// They hold the world, so it drops them at the end.
    pub(super) tasks: Tasks,
    /// Notified when the network has changed.
    pub(super) changed: Event,
}

/// The state behind the lock. No waker is called or dropped while it is locked: both may run foreign code.
pub(super) struct State {
    /// How much virtual time has passed.
    pub(super) now: Duration,
    timers: BTreeMap<TimerId, Waker>,
    last_number: u64,
    pub(super) random: fastrand::Rng,
    pub(super) hosts: BTreeMap<String, HostState>,
    pub(super) links: BTreeMap<LinkId, Link>,
}

/// The state of a host.
pub(super) struct HostState {
    /// The number of the host, from which its address is made.
    pub(super) number: u32,
    /// The port of its last outgoing connection.
    pub(super) last_port: u16,
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    pub(super) partitioned: bool,
    pub(super) reads: bool,
    pub(super) refuses: bool,
    pub(super) server: Option<Arc<dyn Serve>>,
    pub(super) process: Arc<Process>,
}

/// The tasks of a host, from its start to its crash.
#[derive(Debug, Default)]
pub(super) struct Process {
    crashed: Mutex<bool>,
    event: Event,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let state = State {
            now: Duration::ZERO,
            timers: BTreeMap::new(),
            last_number: 0,
            random: fastrand::Rng::with_seed(seed),
            hosts: BTreeMap::new(),
            links: BTreeMap::new(),
        };
        Self {
            start: Instant::now(),
            state: Mutex::new(state),
            tasks: Tasks::new(),
            changed: Event::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Converts a moment to the virtual time that will have passed by then.
    pub(super) fn time_at(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.start)
    }

    /// Lets time pass until the next timer ends, and wakes all that wait until then. Returns the time at which that
    /// is, and changes nothing, if it is later than `limit`; `Err(None)` if no timer is set.
    pub(super) fn advance(&self, limit: Duration) -> Result<(), Option<Duration>> {
        let mut state = self.lock();
        let next = state.timers.first_key_value().map(|((at, _), _)| *at).ok_or(None)?;
        if next > limit {
            return Err(Some(next));
        }
        state.now = state.now.max(next);
        let later = state.timers.split_off(&(next, u64::MAX));
        let ended = std::mem::replace(&mut state.timers, later);
        drop(state);
        ended.into_values().for_each(Waker::wake);
        Ok(())
    }

    /// Drops the tasks and the servers.
    pub(super) fn end(&self) {
        self.tasks.end();
        let mut state = self.lock();
        let hosts = std::mem::take(&mut state.hosts);
        let timers = std::mem::take(&mut state.timers);
        drop(state);
        drop((hosts, timers));
    }
}

impl TimeSource for World {
    fn now(&self) -> Instant {
        // The limit of time of a run is far below what an `Instant` can express.
        self.start.checked_add(self.lock().now).unwrap_or(self.start)
    }

    fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(WALL_CLOCK) + self.lock().now
    }
}

impl State {
    /// Returns a number that was never used before.
    pub(super) const fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Sets a timer, or replaces the waker of the one that is set. Returns a waker to drop.
    pub(super) fn set_timer(&mut self, id: TimerId, waker: Waker) -> Option<Waker> {
        self.timers.insert(id, waker)
    }

    /// Turns off a timer. Returns a waker to drop.
    pub(super) fn stop_timer(&mut self, id: TimerId) -> Option<Waker> {
        self.timers.remove(&id)
    }

    /// Returns whether nothing gets from one of the hosts to the other.
    pub(super) fn is_parted(&self, hosts: &[String; 2]) -> bool {
        hosts.iter().any(|host| self.hosts.get(host).is_some_and(|host| host.partitioned))
    }

    /// Returns how long the way takes from one of the hosts to the other.
    pub(super) fn latency(&mut self, hosts: &[String; 2]) -> Duration {
        let of = |host| self.hosts.get(host).map_or_else(Default::default, HostState::latency);
        let [(one, jitter), (other, more)] = hosts.each_ref().map(of);
        let most = u64::try_from(jitter.saturating_add(more).as_nanos()).unwrap_or(u64::MAX);
        let chance = if most == 0 { 0 } else { self.random.u64(0..=most) };
        one.saturating_add(other).saturating_add(Duration::from_nanos(chance))
    }
}

impl HostState {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            last_port: PORTS,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            partitioned: false,
            reads: true,
            refuses: false,
            server: None,
            process: Arc::default(),
        }
    }

    const fn latency(&self) -> (Duration, Duration) {
        (self.latency, self.jitter)
    }
}

impl Process {
    /// Ends the tasks: they are dropped before they run again.
    pub(super) fn crash(&self) {
        *self.crashed.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.event.notify(usize::MAX);
    }

    /// Waits for the crash.
    pub(super) async fn crashes(&self) {
        loop {
            let crash = self.event.listen();
            if *self.crashed.lock().unwrap_or_else(PoisonError::into_inner) {
                return;
            }
            crash.await;
        }
    }
}
