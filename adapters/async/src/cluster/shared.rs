//! An engine whose type is only known at run time.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use std::sync::Arc;

use wwr::cluster::{Answer, Epoch, News, Request};

use super::{Engine, EngineError};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What [`Engine`] would be if futures of unknown type could be returned from a `dyn` trait.
trait ErasedEngine: Send + Sync {
    fn perform_boxed(&self, request: Request) -> Boxed<'_, Result<Answer, EngineError>>;
    fn next_news_boxed(&self, epoch: Epoch) -> Boxed<'_, Option<News>>;
}

impl<E: Engine> ErasedEngine for E {
    fn perform_boxed(&self, request: Request) -> Boxed<'_, Result<Answer, EngineError>> {
        Box::pin(self.perform(request))
    }

    fn next_news_boxed(&self, epoch: Epoch) -> Boxed<'_, Option<News>> {
        Box::pin(self.next_news(epoch))
    }
}

/// Any engine, with its type erased: for a choice made at run time. Clones share the engine.
///
/// ```
/// use wwr_async::cluster::{MemoryCluster, SharedEngine};
///
/// let engine = SharedEngine::new(MemoryCluster::new());
/// # drop(engine);
/// ```
#[derive(Clone)]
pub struct SharedEngine(Arc<dyn ErasedEngine>);

impl SharedEngine {
    /// Erases the type of `engine`.
    pub fn new(engine: impl Engine) -> Self {
        Self(Arc::new(engine))
    }
}

impl Engine for SharedEngine {
    async fn perform(&self, request: Request) -> Result<Answer, EngineError> {
        self.0.perform_boxed(request).await
    }

    async fn next_news(&self, epoch: Epoch) -> Option<News> {
        self.0.next_news_boxed(epoch).await
    }
}

impl fmt::Debug for SharedEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedEngine").finish_non_exhaustive()
    }
}
