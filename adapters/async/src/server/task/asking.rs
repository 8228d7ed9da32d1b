//! Questions of the application to the client.

use std::collections::BTreeMap;

use wwr::server::{Answered, QuestionError, QuestionId};

use super::Task;
use super::rare::Rare;
use crate::runtime::Runtime;
use crate::server::ask::{AskId, Asked, Asker};
use crate::server::handler::Handler;

/// The open questions of a connection.
#[derive(Debug, Default)]
pub(super) struct Asking {
    askers: BTreeMap<u64, (AskId, Asker)>,
    ids: BTreeMap<AskId, QuestionId>,
}

impl Asking {
    pub(super) fn is_empty(&self) -> bool {
        self.askers.is_empty()
    }
}

impl<H: Handler, R: Runtime> Task<'_, H, R> {
    pub(super) fn ask(&mut self, asked: Asked) {
        self.fed_signals += asked.len();
        let Asked { id: ask, name, payload, timeout, asker } = asked;
        if asker.is_canceled() {
            return;
        }
        if !self.reading {
            // The hook for new connections waits for the answer, and the socket has to be read for it.
            self.machine.hold_messages();
        }
        let now = self.hub.clock.now();
        match self.machine.ask(now, name, payload, timeout, &mut self.out) {
            Ok(id) => {
                let asking = &mut self.rare().asking;
                asking.askers.insert(id.as_u64(), (ask, asker));
                asking.ids.insert(ask, id);
            }
            // The caller may have dropped its future.
            Err(misuse) => drop(asker.send(Err(QuestionError::NotAsked(misuse)))),
        }
    }

    pub(super) fn cancel_ask(&mut self, ask: AskId) {
        let id = self.rare.as_ref().and_then(|rare| rare.asking.ids.get(&ask));
        if let Some(id) = id {
            self.machine.cancel_question(*id, &mut self.out);
        }
    }

    pub(super) fn answered(&mut self, id: QuestionId, outcome: Answered) {
        let asked = self.take_rare(|Rare { asking, .. }| {
            let (ask, asker) = asking.askers.remove(&id.as_u64())?;
            asking.ids.remove(&ask);
            Some(asker)
        });
        if let Some(asker) = asked {
            // The caller may have dropped its future.
            let _ = asker.send(outcome);
        }
    }
}
