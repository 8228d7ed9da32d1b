//! The stages of a shutdown (protocol §5.10).

use alloc::vec::Vec;
use core::time::Duration;

use super::action::HubAction;
use super::config::IdleConnections;
use super::expiry::Rounds;
use super::{Hub, Out, Phase};
use crate::session::ConnectionId;
use crate::time::Instant;

/// The stage of a server's life. Stages never go back.
///
/// ```text
///            shut_down       nothing runs any more,        not all have left     not all have left
///                            or the deadline              in time               in time
///   Serving ──────────▶ Draining ──────────▶ Closing ──────────▶ Aborting ──────────▶ Stopped
///                          │ all have left      │ all have left     │ all have left     ▲
///                          └────────────────────┴───────────────────┴───────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Serving,
    /// Running handlers may finish until the deadline, new requests are refused.
    Draining {
        deadline: Instant,
    },
    /// All connections were told to close, and have until `abort` to do so. `deadline` is that of
    /// handlers whose client has gone.
    Closing {
        deadline: Instant,
        abort: Instant,
    },
    /// All connections are being dropped, at the latest by then.
    Aborting {
        stop: Instant,
    },
    Stopped,
}

impl Stage {
    pub(super) const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Serving | Self::Stopped => None,
            Self::Draining { deadline } => Some(deadline),
            Self::Closing { abort, .. } => Some(abort),
            Self::Aborting { stop } => Some(stop),
        }
    }
}

impl Hub {
    /// Shuts the server down: no connection is admitted any more, and the open ones are told.
    /// Running handlers have `within` to finish. When the last handler of the server has ended, or
    /// at the deadline, all connections are closed; with [`IdleConnections::Close`], each one as
    /// soon as no handler runs on it. The hub ends with [`HubAction::Stopped`], at the latest after
    /// `within` and two times [`HubConfig::abort_after`](super::HubConfig::abort_after), whatever
    /// the store, the clients and the handlers do.
    ///
    /// Another call counts only if it makes the deadline earlier.
    pub fn shut_down(&mut self, now: Instant, within: Duration, out: &mut Out) {
        let deadline = self.advance(now) + within;
        match self.stage {
            Stage::Serving => {}
            Stage::Draining { deadline: earlier } if deadline < earlier => {}
            Stage::Draining { .. }
            | Stage::Closing { .. }
            | Stage::Aborting { .. }
            | Stage::Stopped => return,
        }
        self.stage = Stage::Draining { deadline };
        for id in self.open_connections() {
            self.tell_stage(id, out);
        }
        self.proceed(out);
    }

    /// Records that no handler runs on a connection that was told to [shut
    /// down](HubAction::ShutDown). Call it when the machine reports
    /// [`Action::Drained`](crate::server::Action::Drained), and the host knows of no other work.
    /// Nothing new can begin on the connection.
    pub fn drained(&mut self, now: Instant, id: ConnectionId, out: &mut Out) {
        self.advance(now);
        let Some(member) = self.connections.get_mut(&id) else { return };
        if let (Stage::Draining { .. }, Phase::Open { since }) = (self.stage, member.phase) {
            member.phase = Phase::Drained { since };
            self.drained += 1;
            self.proceed(out);
        }
    }

    /// Returns whether the server serves: false from the first call of
    /// [`shut_down`](Self::shut_down).
    pub const fn is_serving(&self) -> bool {
        matches!(self.stage, Stage::Serving)
    }

    /// Returns whether [`HubAction::Stopped`] was appended.
    pub const fn is_stopped(&self) -> bool {
        matches!(self.stage, Stage::Stopped)
    }

    /// Tells an open connection the stage of the server.
    pub(super) fn tell_stage(&self, id: ConnectionId, out: &mut Out) {
        let idle = self.config.idle_connections;
        match self.stage {
            Stage::Serving => {}
            Stage::Draining { deadline } => {
                out.push(HubAction::ShutDown { to: id, deadline, idle });
            }
            Stage::Closing { deadline, .. } => {
                out.push(HubAction::ShutDown { to: id, deadline, idle: IdleConnections::Close });
            }
            Stage::Aborting { .. } | Stage::Stopped => out.push(HubAction::Abort { to: id }),
        }
    }

    /// Enters the next stage if this one has nothing more to wait for.
    pub(super) fn proceed(&mut self, out: &mut Out) {
        if let Stage::Draining { deadline } = self.stage
            && self.drained == self.open
        {
            self.close_all(deadline, out);
        }
        let is_ending = !matches!(self.stage, Stage::Serving | Stage::Stopped);
        if is_ending && self.connections.is_empty() {
            self.stop(out);
        }
    }

    pub(super) fn stage_timeout(&mut self, out: &mut Out) {
        if self.stage.deadline().is_none_or(|deadline| deadline > self.now) {
            return;
        }
        match self.stage {
            Stage::Serving | Stage::Stopped => {}
            Stage::Draining { deadline } => self.close_all(deadline, out),
            Stage::Closing { .. } => {
                self.stage = Stage::Aborting { stop: self.now + self.config.abort_after };
                for id in self.open_connections() {
                    self.tell_stage(id, out);
                }
            }
            Stage::Aborting { .. } => self.stop(out),
        }
        // Without any time, the next stage is due at once.
        self.stage_timeout(out);
    }

    fn close_all(&mut self, deadline: Instant, out: &mut Out) {
        let abort = deadline.max(self.now) + self.config.abort_after;
        self.stage = Stage::Closing { deadline, abort };
        for to in self.open_connections() {
            out.push(HubAction::Close { to });
        }
    }

    fn stop(&mut self, out: &mut Out) {
        self.stage = Stage::Stopped;
        self.rounds = Rounds::Off;
        self.retire_node(out);
        out.push(HubAction::Stopped);
    }

    fn open_connections(&self) -> Vec<ConnectionId> {
        let open = self.connections.iter().filter(|(_, member)| member.phase.since().is_some());
        open.map(|(id, _)| *id).collect()
    }
}
