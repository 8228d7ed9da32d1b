//! Idempotent requests whose outcomes several nodes share (protocol §10.6).

use alloc::boxed::Box;

use bytes::Bytes;

use super::{Hub, HubAction, Out};
use crate::server::RequestId;
use crate::server::recovery::{RecoveryCommand, RecoveryConfig, RecoveryNews, decode, encode};
use crate::session::{Begun, ConnectionId};
use crate::time::Instant;
use crate::valid::Valid;

impl Hub {
    /// Has the nodes of the [cluster](Self::clustered) share the outcomes of idempotent requests, if `recovery` says
    /// that they are kept at all: a request that a client repeats on another node is not executed again. All nodes
    /// have the same settings. `secret` is random, and another one in each run of a node. Call it before the first
    /// connection is admitted. Without a cluster, nothing changes.
    ///
    /// A client that is not connected is remembered for twice the window, or four leases, if that is longer, and
    /// [`max_clients`](crate::session::OutcomesConfig::max_clients) does not count: the engine forgets what it has no
    /// room for.
    ///
    /// While the node takes no part, or the engine does not answer, idempotent requests are refused at once
    /// ([`Begun::NotNow`]). Others never touch the engine.
    ///
    /// ```
    /// use wwr::Valid;
    /// use wwr::cluster::ClusterConfig;
    /// use wwr::server::{Hub, RecoveryConfig};
    /// use wwr::session::OutcomesConfig;
    ///
    /// let mut recovery = RecoveryConfig::default();
    /// recovery.outcomes = Some(OutcomesConfig::default());
    /// let mut hub = Hub::clustered(&Valid::default(), &ClusterConfig::new("a").validate()?);
    /// hub.share_outcomes(&recovery.validate()?, [7; 16]);
    /// # Ok::<(), wwr::InvalidConfig>(())
    /// ```
    pub fn share_outcomes(&mut self, recovery: &Valid<RecoveryConfig>, secret: [u8; 16]) {
        if let (Some(node), Some(outcomes)) = (&mut self.node, recovery.outcomes) {
            node.share_outcomes(outcomes, secret);
        }
    }

    /// Carries out the command of a connection if it is about what nodes share. Returns any other.
    pub(super) fn recover_shared_outcomes(
        &mut self,
        now: Instant,
        id: ConnectionId,
        command: RecoveryCommand,
        out: &mut Out,
    ) -> Option<RecoveryCommand> {
        if !self.node.as_ref().is_some_and(|node| node.shares_outcomes())
            || !self.connections.contains_key(&id)
        {
            return Some(command);
        }
        self.watch(out);
        match command {
            RecoveryCommand::Attach(instance) => {
                self.with_node(|node, _, _| node.attach(now, id, instance));
            }
            RecoveryCommand::Begin { request, token, content } => {
                let of = (id, request.as_u64());
                self.with_node(|node, _, _| node.begin_request(now, of, token, content));
            }
            RecoveryCommand::Finish { token, outcome } => {
                let outcome = Some(encode(&outcome));
                self.with_node(|node, _, _| node.finish_request(id, token, outcome));
            }
            RecoveryCommand::Undo { request, token: _ } => {
                let of = (id, request.as_u64());
                self.with_node(|node, _, _| node.undo_request(now, of));
            }
            RecoveryCommand::Follow | RecoveryCommand::Read { .. } => return Some(command),
        }
        self.route(out);
        None
    }
}

/// Returns the news for a connection whether to execute a request.
pub(super) fn begun(to: ConnectionId, request: u64, begun: Begun<Bytes>) -> HubAction {
    let begun = match begun {
        Begun::Fresh => Begun::Fresh,
        Begun::Running => Begun::Running,
        Begun::Done(outcome) => match decode(&outcome) {
            Some(outcome) => Begun::Done(Box::new(outcome)),
            // Another release has kept it.
            None => Begun::Unknown,
        },
        Begun::Unknown => Begun::Unknown,
        Begun::OtherRequest => Begun::OtherRequest,
        Begun::NotNow => Begun::NotNow,
    };
    let request = RequestId::from_u64(request);
    HubAction::Recover { to, news: RecoveryNews::Begun { request, begun } }
}
