//! What holds for a client and a server that falls silent.

use std::time::Duration;

use wwr::{Dialect, Instant};

use super::Node;
use crate::invariants::Invariant;
use crate::stage::Stage;

impl Node {
    /// Something came from the server.
    pub(super) fn hears(&mut self, stage: &Stage) {
        self.clock.read(stage.now);
        (self.heard, self.unheard) = (self.clock.latest(), 0);
    }

    /// For how long nothing came.
    fn silence(&self) -> Duration {
        self.clock.latest().saturating_since(self.heard)
    }

    /// A server that is silent is left in time, if it can be told from a slow one.
    pub(super) fn check_silence(&self, stage: &mut Stage) {
        let Some(pings) = self.settings.pings.filter(|_| self.is_connected()) else { return };
        let most = match self.machine.dialect() {
            Dialect::V1_4 => 2 * (pings.total() + self.settings.request_timeout),
            _ if self.ponged => pings.total(),
            Dialect::Wwr1 => 2 * pings.total(),
            _ => return,
        };
        let (actor, silence, socket) = (self.actor(), self.silence(), self.socket());
        let counts = !stage.time_is_torn && self.timers_rest_until == Instant::EPOCH;
        stage.check(silence < most || !counts, Invariant::SilenceIsNoticed, || {
            format!("{actor}: nothing came for {silence:?} on {socket:?}, and it stays")
        });
    }

    /// A server was left because it is silent: it is, and it is not just slow.
    pub(super) fn check_end(&self, stage: &mut Stage) {
        let (actor, silence, unheard) = (self.actor(), self.silence(), self.unheard);
        let Some(pings) = self.settings.pings else {
            return stage.check(false, Invariant::LifeIsNoticed, || {
                format!("{actor}: left a server for its silence, of which it knows nothing")
            });
        };
        let answers = matches!(self.machine.dialect(), Dialect::V1_4 | Dialect::Wwr1);
        let is_known = self.ponged || answers;
        let fits = if is_known {
            silence >= pings.timeout
        } else {
            silence >= 2 * pings.total() && unheard >= 2
        };
        let counts = !stage.time_is_torn;
        stage.check(fits || !counts, Invariant::LifeIsNoticed, || {
            format!("{actor}: left a server after {silence:?}, {unheard} requests ran out of time")
        });
        let Some(socket) = self.left else { return };
        let is_true = !stage.network.is_healthy(socket) || !is_known || stage.is_deceptive;
        stage.check(is_true, Invariant::LifeIsNoticed, || {
            format!("{actor}: left #{socket}, which works, after {silence:?}")
        });
    }
}
