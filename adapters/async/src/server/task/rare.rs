//! What most connections do not have, or only for a moment: a box for all of it, which is freed when
//! it is empty.

use std::collections::VecDeque;

use futures_channel::oneshot;
use wwr::Session;

use super::Task;
use super::asking::Asking;
use super::changes::Hooks;
use crate::runtime::Runtime;
use crate::server::connection::SessionError;
use crate::server::handler::Handler;
use crate::websocket::Incoming;

#[derive(Debug, Default)]
pub(super) struct Rare {
    /// What came from the client during the detection.
    pub(super) first: Option<Box<Incoming>>,
    pub(super) creating: Option<oneshot::Sender<Result<Session, SessionError>>>,
    pub(super) closing: Option<oneshot::Sender<Result<bool, SessionError>>>,
    /// The callers that wait for changes of the session, in the order in which these end.
    pub(super) editing: VecDeque<oneshot::Sender<Result<Session, SessionError>>>,
    /// The open questions.
    pub(super) asking: Asking,
    /// The hook for changes of the session, while it runs.
    pub(super) hooks: Option<Hooks>,
    /// The groups that the connection was in when it ended.
    pub(super) groups: Vec<String>,
}

impl Rare {
    fn is_empty(&self) -> bool {
        let Self { first, creating, closing, editing, asking, hooks, groups } = self;
        let waits = first.is_some() || creating.is_some() || closing.is_some();
        let waits = waits || !editing.is_empty() || !asking.is_empty();
        !waits && hooks.is_none() && groups.is_empty()
    }
}

impl<H: Handler, R: Runtime> Task<'_, H, R> {
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Takes something out of the box, and frees it if it is empty then.
    pub(super) fn take_rare<T>(&mut self, take: impl FnOnce(&mut Rare) -> Option<T>) -> Option<T> {
        let rare = self.rare.as_mut()?;
        let taken = take(rare);
        if rare.is_empty() {
            self.rare = None;
        }
        taken
    }

    pub(super) fn has_hooks(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.hooks.is_some())
    }
}
