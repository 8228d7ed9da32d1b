//! Which version a client speaks, by what came from its address.

mod host;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use core::time::Duration;

use super::protocol::Observed;
use crate::time::Instant;
use crate::wire::Kind;
use host::Host;

/// What came from which address lately, to tell 1.x clients from those of 2.0 (protocol §7.2). The
/// former send a preflight before each connection, except JavaScript 1.5 in Node, which sends none.
/// Clients of 2.0 never send one; the client of this crate sends one as long as it does not know what
/// the server speaks, and then shows what it speaks.
///
/// `A` is whatever a host knows of a client before its WebSocket is open, such as its IP address
/// without the port. One for all connections of a server that can meet each other's preflights;
/// memory is bounded, however many ask.
///
/// # What is known, and what is only likely
///
/// A client of 2.0 sends nothing before it has the server's first message, accept-conf. One of 1.x
/// does not wait for it. So nothing is sent for a moment on a WebSocket that follows a preflight: a
/// client that sends a message meanwhile **is** one of 1.x ([`spoke`](Self::spoke)), whoever else is
/// at its address.
///
/// A client that is silent is taken for one of 1.x only if nothing speaks against it. Its preflight
/// came within [`PRESUMED`](Self::PRESUMED), and nothing else came from the address since. For [`MEMORY`](Self::MEMORY) no WebSocket came from the
/// address without a preflight, and none turned out to be of 2.0. For
/// [`STRAY_MEMORY`](Self::STRAY_MEMORY) each preflight was followed by a WebSocket, and no silent
/// client came while somebody else did. In all other cases the version is "not known", which harms
/// no client.
///
/// What remains: the first client of 2.0 at an address, if it comes within a second of the preflight
/// of somebody who then does not connect while it is waited for.
///
/// # How a host asks
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
/// // A WebSocket was opened. Nothing came from there before:
/// assert_eq!(preflights.arrived(now, &"192.0.2.2"), Detection::Known(Observed::Nothing));
///
/// // Another, from where somebody has asked. Wait for its first message.
/// let Detection::Wait { until } = preflights.arrived(now, &"192.0.2.1") else { panic!() };
/// // It comes: the client speaks 1.x. Had nothing come `until` then, ask `silent`.
/// assert_eq!(preflights.spoke(until, &"192.0.2.1", b"\x1f12345678"), Observed::Preflight);
/// ```
#[derive(Clone, Debug)]
pub struct Preflights<A> {
    hosts: BTreeMap<A, Host>,
    /// Who was heard of when, by the numbers of [`Host::touched`].
    order: BTreeMap<u64, A>,
    count: u64,
    now: Instant,
}

/// Whether it is decided what a client is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// It is: begin to serve it as such.
    Known(Observed),
    /// Not yet: send nothing, and wait for its first message. If one comes, ask
    /// [`spoke`](Preflights::spoke), else [`silent`](Preflights::silent) at this time.
    Wait {
        /// How long to wait.
        until: Instant,
    },
}

impl<A> Preflights<A> {
    /// For how long a preflight counts: 3 s. From the answer to the handshake a client needs two round
    /// trips, one to connect and one for the answer and the handshake: 1.2 s in a network where each
    /// takes 600 ms. A packet that is lost when it connects costs another second.
    pub const VALIDITY: Duration = Duration::from_secs(3);

    /// How recent a preflight has to be for a silent client to be taken for one of 1.x: 1 s. For as
    /// long a preflight counts whose sender closes the connection, which the clients of the
    /// references do not, but proxies and health checks do.
    pub const PRESUMED: Duration = Duration::from_secs(1);

    /// For how long it is remembered that an address has shown 2.0: an hour.
    pub const MEMORY: Duration = Duration::from_secs(60 * 60);

    /// For how long it is remembered that somebody asked and never connected: a minute.
    pub const STRAY_MEMORY: Duration = Duration::from_secs(60);

    /// How long a client is given to speak at most: 200 ms, about a round trip to the other side of
    /// the world, and less than clients wait for accept-conf. One that comes soon after its preflight, from near by, is given less: 20 ms, and four
    /// times as long as the oldest preflight is ago that it may have sent; 50 ms if it might be
    /// presumed to have sent it.
    pub const LONGEST_WAIT: Duration = Duration::from_millis(200);

    /// How many addresses are remembered at most.
    pub const MOST: usize = 16_384;
}

impl<A: Ord + Clone> Preflights<A> {
    /// A preflight came from this address, and was answered.
    pub fn asked(&mut self, now: Instant, from: A) {
        let now = self.tick(now);
        self.host(&from).asked(now, false);
    }

    /// The same with `Connection: close`: it counts for a shorter time.
    pub fn asked_briefly(&mut self, now: Instant, from: A) {
        let now = self.tick(now);
        self.host(&from).asked(now, true);
    }

    /// A WebSocket was opened from this address.
    pub fn arrived(&mut self, now: Instant, from: &A) -> Detection {
        let now = self.tick(now);
        match self.host(from).arrived(now) {
            Some(wait) => Detection::Wait { until: now + wait },
            None => Detection::Known(Observed::Nothing),
        }
    }

    /// A client that was waited for has sent its first message, `frame`.
    pub fn spoke(&mut self, now: Instant, from: &A, frame: &[u8]) -> Observed {
        let now = self.tick(now);
        // Only 1.5 and 2.0 have heartbeats, and a client of 1.5 that asks sends none so soon.
        let is_1_x = frame != [Kind::Heartbeat.as_byte()];
        self.host(from).spoke(now, is_1_x)
    }

    /// A client that was waited for since `arrived` has not sent anything, or is gone.
    pub fn silent(&mut self, now: Instant, arrived: Instant, from: &A) -> Observed {
        let now = self.tick(now);
        self.host(from).silent(now, arrived)
    }

    /// A WebSocket was opened from this address, and cannot be waited for: decides at once.
    pub fn connected(&mut self, now: Instant, from: &A) -> Observed {
        let now = self.tick(now);
        let host = self.host(from);
        match host.arrived(now) {
            Some(_) => host.decide(now),
            None => Observed::Nothing,
        }
    }

    /// A client that was taken for one of 1.x because it had nothing to say sends heartbeats.
    pub fn turned_out_newer(&mut self, now: Instant, from: &A) {
        let now = self.tick(now);
        self.host(from).shows_2_0(now);
    }

    fn tick(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// What is known of an address, which now is the last that was heard of.
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

    /// Forgets addresses of which nothing was heard for long, one or two at a time, and the longest
    /// known if there are too many.
    fn make_room(&mut self) {
        for _ in 0..2 {
            let Some((&number, from)) = self.order.first_key_value() else { return };
            let full = self.hosts.len() >= Self::MOST;
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
    fn default() -> Self {
        Self { hosts: BTreeMap::new(), order: BTreeMap::new(), count: 0, now: Instant::EPOCH }
    }
}
