//! Detection of a client's version by what came from its address.

mod host;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::protocol::Observed;
use crate::time::Instant;
use crate::wire::Kind;
use host::Host;

/// Remembers what came recently from which address, to tell 1.x clients from 2.0 clients (protocol
/// §7.2). Clients of 1.x send a preflight before each connection, except JavaScript 1.5 in Node,
/// which sends none. Clients of 2.0 never send one. The client of this crate sends one as long as
/// it does not know what the server speaks, and then shows what it speaks.
///
/// `A` is what a host knows about a client before its WebSocket is open, such as its IP address
/// without the port. Use one value for all connections of a server that can see each other's
/// preflights. Memory is bounded, however many clients send preflights.
///
/// # What is known, and what is only likely
///
/// A client of 2.0 sends nothing before it has received the accept-conf, the server's first
/// message. A client of 1.x does not wait for it. So, on a WebSocket that follows a preflight, the
/// server first sends nothing for a moment. A client that sends a message meanwhile **is** one of
/// 1.x ([`spoke`](Self::spoke)), whatever other clients have the same address.
///
/// A silent client is taken for one of 1.x only if nothing contradicts it. Its preflight came
/// within [`PRESUMED`](Self::PRESUMED), and nothing else came from the address since. For
/// [`MEMORY`](Self::MEMORY), every WebSocket from the address followed a preflight, and none turned
/// out to be of 2.0. While its preflight counts, no client of the address agreed on `wwr.1`: it may be the one of a
/// page, which cannot say what it offers. For [`STRAY_MEMORY`](Self::STRAY_MEMORY), each preflight was followed by a
/// WebSocket, and no two clients of the address came at once while one was silent. In all other
/// cases the version is "not known", which harms no client.
///
/// One error remains possible: the first client of 2.0 at an address, if it comes within a second
/// of the preflight of another client that does not connect within the wait.
///
/// # How a host uses it
///
/// ```
/// use core::time::Duration;
/// use wwr::Instant;
/// use wwr::server::{Detection, Observed, Preflights};
///
/// let mut preflights = Preflights::default();
/// let now = Instant::EPOCH;
/// preflights.asked(now, "192.0.2.1");
///
/// // A WebSocket was opened. Its handshake has not agreed on wwr.1, and no preflight came from its
/// // address:
/// let shown = Observed::Nothing;
/// assert_eq!(preflights.arrived(now, &"192.0.2.2", shown), Detection::Known(Observed::Nothing));
///
/// // Another one, from the address of a preflight. Wait for its first message.
/// let Detection::Wait { until } = preflights.arrived(now, &"192.0.2.1", shown) else { panic!() };
/// // The message comes: the client speaks 1.x. If none comes `until` then, call `silent`.
/// assert_eq!(preflights.spoke(until, &"192.0.2.1", b"\x1f12345678"), Observed::Preflight);
/// ```
#[derive(Clone, Debug)]
pub struct Preflights<A> {
    hosts: BTreeMap<A, Host>,
    /// The addresses by when they were last heard of: the numbers of [`Host::touched`].
    order: BTreeMap<u64, A>,
    count: u64,
    most: usize,
    now: Instant,
}

/// Whether the version of a client has been decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// It has: serve the client as this.
    Known(Observed),
    /// Not yet: send nothing, and wait for the first message. If it comes, call
    /// [`spoke`](Preflights::spoke), otherwise [`silent`](Preflights::silent) at this time.
    Wait {
        /// How long to wait.
        until: Instant,
    },
}

impl<A> Preflights<A> {
    /// How long a preflight counts: 3 s. From the answer to the handshake a client needs two round
    /// trips, one to connect and one for the answer and the handshake: 1.2 s in a network where
    /// each takes 600 ms. A packet lost while connecting costs another second.
    pub const VALIDITY: Duration = Duration::from_secs(3);

    /// How recent a preflight has to be for a silent client to be taken for 1.x: 1 s. A preflight
    /// with `Connection: close` also counts for this time only: clients of the references do not
    /// close the connection, but proxies and health checks do.
    pub const PRESUMED: Duration = Duration::from_secs(1);

    /// How long the server remembers that an address has shown 2.0: an hour.
    pub const MEMORY: Duration = Duration::from_secs(60 * 60);

    /// How long the server remembers a preflight without a WebSocket: a minute.
    pub const STRAY_MEMORY: Duration = Duration::from_secs(60);

    /// The longest wait for the first message of a client: 200 ms, about a round trip to the other
    /// side of the world, and less than clients wait for an accept-conf. A nearby client that comes
    /// soon after its preflight gets less: 20 ms, plus four times the age of the oldest preflight
    /// that may be its own, and at least 50 ms if it could be presumed to be 1.x.
    pub const LONGEST_WAIT: Duration = Duration::from_millis(200);

    /// The most addresses that [`Preflights::default`] remembers.
    pub const MOST: usize = 16_384;

    /// Creates a memory of so many addresses at most, and of one at least. Beyond that it forgets those of
    /// which it has heard nothing for the longest.
    pub const fn with_most(most: usize) -> Self {
        Self { hosts: BTreeMap::new(), order: BTreeMap::new(), count: 0, most, now: Instant::EPOCH }
    }
}

impl<A: Ord + Clone> Preflights<A> {
    /// Records a preflight that came from this address and was answered.
    pub fn asked(&mut self, now: Instant, from: A) {
        let now = self.tick(now);
        self.host(&from).asked(now, false);
    }

    /// Records a preflight with `Connection: close`, which counts for a shorter time.
    pub fn asked_briefly(&mut self, now: Instant, from: A) {
        let now = self.tick(now);
        self.host(&from).asked(now, true);
    }

    /// Records a WebSocket that was opened from this address. `shown` is what its handshake shows:
    /// [`Accept::observed`](super::gate::Accept::observed).
    pub fn arrived(&mut self, now: Instant, from: &A, shown: Observed) -> Detection {
        let now = self.tick(now);
        if shown != Observed::Nothing {
            return Detection::Known(self.shown(from, shown));
        }
        match self.host(from).arrived(now) {
            Some(wait) => Detection::Wait { until: now + wait },
            None => Detection::Known(Observed::Nothing),
        }
    }

    /// Decides on a client that has sent its first message, `frame`, while it was waited for.
    pub fn spoke(&mut self, now: Instant, from: &A, frame: &[u8]) -> Observed {
        let now = self.tick(now);
        // Only 1.5 and 2.0 have heartbeats, and a client of 1.5 that sends a preflight sends none
        // so soon.
        let is_1_x = frame != [Kind::Heartbeat.as_byte()];
        self.host(from).spoke(now, is_1_x)
    }

    /// Decides on a client that came at `arrived` and has sent nothing during the wait, or has
    /// gone.
    pub fn silent(&mut self, now: Instant, arrived: Instant, from: &A) -> Observed {
        let now = self.tick(now);
        self.host(from).silent(now, arrived)
    }

    /// Decides at once on a WebSocket that was opened from this address and cannot be waited for. `shown` is as for
    /// [`arrived`](Self::arrived).
    pub fn connected(&mut self, now: Instant, from: &A, shown: Observed) -> Observed {
        let now = self.tick(now);
        if shown != Observed::Nothing {
            return self.shown(from, shown);
        }
        let host = self.host(from);
        match host.arrived(now) {
            Some(_) => host.decide(now),
            None => Observed::Nothing,
        }
    }

    /// Records that a client that was presumed to be 1.x because it was silent sends heartbeats.
    pub fn turned_out_newer(&mut self, now: Instant, from: &A) {
        let now = self.tick(now);
        self.host(from).shows_2_0(now);
    }

    /// Records a client whose handshake shows what it speaks. At an address without a preflight, that says nothing,
    /// and is not remembered.
    fn shown(&mut self, from: &A, shown: Observed) -> Observed {
        if let Some(host) = self.hosts.get_mut(from) {
            host.doubt_asks();
        }
        shown
    }

    fn tick(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// Returns what is known of an address, and makes it the last one that was heard of.
    fn host(&mut self, from: &A) -> &mut Host {
        self.count += 1;
        let touched = self.count;
        if !self.hosts.contains_key(from) {
            self.make_room();
        }
        let host = self.hosts.entry(from.clone()).or_default();
        self.order.remove(&core::mem::replace(&mut host.touched, touched));
        self.order.insert(touched, from.clone());
        host.expire(self.now);
        host
    }

    /// Forgets one or two addresses that were not heard of for a long time, or the longest unheard
    /// one if there are too many.
    fn make_room(&mut self) {
        for _ in 0..2 {
            let Some((&number, from)) = self.order.first_key_value() else { return };
            let full = self.hosts.len() >= self.most;
            if !full && self.hosts.get(from).is_some_and(|host| host.is_of_use(self.now)) {
                return;
            }
            if let Some(from) = self.order.remove(&number) {
                self.hosts.remove(&from);
            }
        }
    }
}

impl<A> Default for Preflights<A> {
    /// A memory of [`MOST`](Self::MOST) addresses.
    fn default() -> Self {
        Self::with_most(Self::MOST)
    }
}
