//! The subscription of a node.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use futures_lite::future::or;
use redis::aio::MultiplexedConnection;
use wwr_async::cluster::News;
use wwr_async::{Runtime, timeout};

use super::feed::Ears;
use crate::link::{FIRST_PAUSE, LONGEST_PAUSE, Link};
use crate::source::Lost;

/// The news of a node, with the connection that brings them.
pub(super) struct Feed {
    pub(super) ears: Arc<Ears>,
    channel: String,
    subscription: async_lock::Mutex<Subscription>,
}

enum Subscription {
    /// The connection ends when it is dropped.
    Live { connection: MultiplexedConnection, lost: Lost },
    /// There is no connection. The next attempt to make one is due at this time.
    Waiting { pause: Duration, until: Option<Instant> },
}

const NONE: Subscription = Subscription::Waiting { pause: Duration::ZERO, until: None };

/// What a wait ended with.
enum End {
    News(Option<News>),
    Lost,
}

impl Feed {
    pub(super) fn new(channel: String) -> Self {
        Self { ears: Arc::new(Ears::new()), channel, subscription: async_lock::Mutex::new(NONE) }
    }

    /// Waits for news, and sees to it that there is a subscription. `None` once the queue is closed.
    pub(super) async fn next<R: Runtime>(&self, link: &Link<R>) -> Option<News> {
        // One task listens. What is lost if this future is dropped is an attempt to connect.
        let mut subscription = self.subscription.lock().await;
        loop {
            if let Some(news) = self.ears.queue.try_next() {
                return Some(news);
            }
            let news = async { End::News(self.ears.queue.next().await) };
            match &mut *subscription {
                Subscription::Live { connection, lost } => {
                    let gone = async {
                        lost.wait().await;
                        End::Lost
                    };
                    // It asks for a sign of life, now and then.
                    match timeout(&link.runtime, link.timeout, or(news, gone)).await {
                        Some(End::News(news)) => return news,
                        Some(End::Lost) => {}
                        None if link.is_alive(connection).await => continue,
                        None => lost.set(),
                    }
                    tracing::warn!(
                        engine = %link.engine,
                        "lost the connection that brings the news of other nodes"
                    );
                    *subscription = NONE;
                }
                Subscription::Waiting { until: Some(until), pause } => {
                    let left = until.saturating_duration_since(Instant::now());
                    if !left.is_zero()
                        && let Some(End::News(news)) = timeout(&link.runtime, left, news).await
                    {
                        return news;
                    }
                    let pause = *pause;
                    *subscription = Subscription::Waiting { pause, until: None };
                }
                Subscription::Waiting { until: None, pause } => {
                    let pause = *pause;
                    *subscription = self.subscribe(link, pause).await;
                }
            }
        }
    }

    /// Makes a subscription, or says when to try again.
    async fn subscribe<R: Runtime>(&self, link: &Link<R>, pause: Duration) -> Subscription {
        let lost = Lost::default();
        let (ears, heard_by) = (self.ears.clone(), lost.clone());
        let hear = move |push| ears.hear(push, &heard_by);
        match link.subscribe(&self.channel, hear).await {
            Ok(connection) => {
                tracing::info!(engine = %link.engine, "listens to the news of other nodes");
                Subscription::Live { connection, lost }
            }
            Err(answer) => {
                // A connection that was under way says nothing any more.
                lost.set();
                if pause.is_zero() {
                    tracing::warn!(
                        engine = %link.engine, cause = %answer,
                        "cannot listen to the news of other nodes; {}", answer.reason.advice()
                    );
                }
                let pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                Subscription::Waiting { pause, until: Some(Instant::now() + pause) }
            }
        }
    }
}
