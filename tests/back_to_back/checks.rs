//! What holds in every world.

use std::collections::BTreeSet;

use wwr::SessionKey;
use wwr::client::{Outcome, RequestError, Status};

use crate::application::Token;
use crate::client::{Call, Node};
use crate::world::World;

impl World {
    /// What holds whenever nothing is under way: the registry knows exactly what the connections
    /// hold, and clients hold what their connections do.
    pub(crate) fn check_at_rest(&self) {
        let server = &self.server;
        let mut active = 0;
        for key in &server.keys {
            let known: BTreeSet<_> = server.registry.connections(key).map(|id| id.0).collect();
            assert_eq!(known, server.holders(key), "who holds {}", key.as_str());
            active += usize::from(!known.is_empty());
        }
        assert_eq!(server.registry.active_sessions(), active);
        assert!(server.store.is_idle() && server.registry.is_idle() == (active == 0));
        for node in self.clients.iter().filter(|node| node.is_connected()) {
            let socket = node.socket().expect("it is connected");
            let there = server.keys.iter().find(|key| server.holders(key).contains(&socket));
            let here = node.machine.session().map(|session| &session.key);
            assert_eq!(here.map(SessionKey::as_str), there.map(SessionKey::as_str), "two sessions");
        }
        for node in &self.clients {
            assert!(node.open_calls().is_empty(), "without an outcome: {:?}", node.open_calls());
            assert_eq!((node.machine.pending_requests(), node.machine.queued_bytes()), (0, 0));
            assert!(matches!(
                node.machine.status(),
                Status::Connected | Status::Idle | Status::Closed
            ));
        }
    }

    /// Ends everything, and sees that nothing is left.
    pub(crate) fn finish(&mut self) {
        for client in 0..self.clients.len() {
            self.close(client);
        }
        self.run();
        self.check_at_rest();
        assert!(self.server.connections.is_empty(), "connections outlive their clients");
        assert!(self.server.registry.is_idle() && self.server.registry.active_sessions() == 0);
        assert!(self.fabric.sockets().is_empty(), "sockets outlive both sides");
        for node in &self.clients {
            self.check_outcomes(node);
        }
    }

    /// Each call has its outcome, and that is true.
    fn check_outcomes(&self, node: &Node) {
        assert!(node.calls.keys().eq(node.outcomes.keys()), "one outcome for each call");
        for (id, call) in &node.calls {
            let outcome = &node.outcomes[id];
            if let Call::Request(token) = call {
                self.check_outcome(*token, outcome);
            }
        }
    }

    fn check_outcome(&self, token: Token, outcome: &Outcome) {
        let record = &self.server.record;
        let replied = record.reply(token);
        match outcome {
            Ok(payload) => assert_eq!(replied, Some(&Ok(payload.clone())), "{token:?}"),
            Err(
                RequestError::NotSent
                | RequestError::TimedOut { sent: false }
                | RequestError::TooLarge { .. },
            ) => {
                assert!(!record.has_reached(token), "{token:?} was sent after all");
            }
            Err(RequestError::Failed(error)) => {
                let Some(Err(wwr::server::RequestError::Failed { code, .. })) = replied else {
                    panic!("{token:?}: {error:?} came from nowhere, not from {replied:?}");
                };
                assert_eq!(error.code(), code.as_str());
            }
            Err(RequestError::Internal) => {
                use wwr::server::RequestError::{Internal, Protocol};
                assert!(matches!(replied, Some(Err(Internal | Protocol))), "{token:?}");
            }
            Err(RequestError::Protocol) => {
                assert_eq!(replied, Some(&Err(wwr::server::RequestError::Protocol)), "{token:?}");
            }
            Err(RequestError::ServerShutdown) => {
                assert!(!record.has_reached(token), "{token:?} was refused, then handled");
            }
            Err(
                RequestError::ConnectionLost
                | RequestError::Cancelled
                | RequestError::TimedOut { sent: true },
            ) => {}
            Err(
                error @ (RequestError::SessionNotFound
                | RequestError::MaxSessionConnections
                | RequestError::SessionsDisabled
                | RequestError::InvalidSession(_)),
            ) => panic!("{token:?}: {error} is no answer to a plain request"),
            Err(other) => panic!("{other:?} is not checked"),
        }
    }
}
