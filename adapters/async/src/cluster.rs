//! One service on many nodes: the engine that they share.
//!
//! A server becomes a node with [`Builder::cluster`](crate::server::Builder::cluster).
//!
//! [`wwr::cluster`] has what nodes ask and what it means. Here are the interface to an engine, [`Engine`], the
//! queue in which its news wait, and [`MemoryCluster`], for nodes in one process. `wwr_redis::Cluster` is Redis or Valkey.

mod error;
mod memory;
mod news;
mod shared;
#[cfg(test)]
mod tests;

use core::future::Future;
use std::sync::Arc;

pub use wwr::cluster::{
    Answer, Audience, Closing, ClusterConfig, ClusterCounters, ClusterState, DataId, Epoch,
    HistoryAnswer, HistoryRequest, HistoryStep, Lease, LostBy, Membership, News, Node,
    OutcomeAnswer, OutcomeLimits, OutcomeRequest, OutcomeStep, REMEMBERED, Request, Revision,
    SendOutcome, SessionAnswer, SessionRequest, Step,
};
pub use wwr::session::{Batch, Begun, Fingerprint, HistoryConfig, Instance, Position, Scope};

pub use error::{EngineError, EngineErrorKind};
pub use memory::MemoryCluster;
pub use news::NewsQueue;
pub use shared::SharedEngine;

/// What nodes share: it carries out their requests, one after the other, and tells them news.
///
/// What each request means is said by [`wwr::cluster::MemoryEngine`]: others answer as it does, which
/// `testing::check_engine` checks.
///
/// Implementations write the methods as `async fn`; their futures must be [`Send`]. Both methods end in bounded
/// time, whatever the engine does, except that [`next_news`](Self::next_news) waits for news.
///
/// ```
/// use core::time::Duration;
/// use wwr_async::cluster::{Answer, Audience, Engine, EngineError, MemoryCluster, News, Request};
///
/// # smol::block_on(async {
/// let engine = MemoryCluster::new();
/// let enter = |name: &str| Request::Enter { name: name.into(), lease: Duration::from_secs(10) };
/// let Answer::Lease(a) = engine.perform(enter("a")).await? else { unreachable!() };
/// let Answer::Lease(b) = engine.perform(enter("b")).await? else { unreachable!() };
/// assert_eq!(b.nodes.len(), 2);
///
/// // From here on, it hears all.
/// assert_eq!(engine.next_news(b.epoch).await, Some(News::Interrupted));
/// let (to, message) = (Audience::All, "hello".into());
/// engine.perform(Request::Send { from: a.epoch, to, message }).await?;
/// assert!(matches!(engine.next_news(b.epoch).await, Some(News::Message { .. })));
/// # Ok::<(), EngineError>(())
/// # }).unwrap();
/// ```
pub trait Engine: Send + Sync + 'static {
    /// Carries out a request. If its future is dropped, it has either happened or not, never half.
    ///
    /// # Errors
    ///
    /// [`EngineError`]. [`EngineError::may_have_happened`] says whether the request may have been carried out, or may
    /// yet be.
    fn perform(&self, request: Request)
    -> impl Future<Output = Result<Answer, EngineError>> + Send;

    /// Waits for news of a node that has [entered](Request::Enter) through this value or a clone of it. `None` if it
    /// has not, or its run is over: it has retired, or a lease that was given since shows that it is dead.
    ///
    /// The first news is [`News::Interrupted`]: what happens after it is heard. It is told again each time that news
    /// may have been lost, before those that came later. News wait in a bounded queue; what does not fit is dropped.
    /// One task at a time waits. A future that is dropped loses nothing.
    fn next_news(&self, epoch: Epoch) -> impl Future<Output = Option<News>> + Send;
}

impl<E: Engine> Engine for Arc<E> {
    async fn perform(&self, request: Request) -> Result<Answer, EngineError> {
        E::perform(self, request).await
    }

    async fn next_news(&self, epoch: Epoch) -> Option<News> {
        E::next_news(self, epoch).await
    }
}
