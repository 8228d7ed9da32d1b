//! Idempotent requests whose outcomes several nodes share (protocol §10.6).

use alloc::boxed::Box;

use bytes::Bytes;

use super::{Hub, HubAction, Out};
use crate::server::RequestId;
use crate::server::recovery::{RecoveryCommand, RecoveryNews, decode, encode};
use crate::session::{Begun, ConnectionId};
use crate::time::Instant;

impl Hub {
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
