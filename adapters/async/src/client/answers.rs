//! The application's handler for questions of the server.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_channel::oneshot;
use futures_lite::future::or;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use wwr::client::{AnswerError, Question, QuestionId};
use wwr::{Content, Payload};

use crate::panics::{ShortName, caught, caught_async};

/// What a handler answers.
pub(super) type Answered = Result<Payload, AnswerError>;

/// A handler for questions of the server.
#[derive(Clone)]
pub(super) struct AnswerHandler(Arc<dyn Fn(Content) -> BoxFuture<'static, Answered> + Send + Sync>);

impl AnswerHandler {
    pub(super) fn new<H, F>(handler: H) -> Self
    where
        H: Fn(Content) -> F + Send + Sync + 'static,
        F: Future<Output = Answered> + Send + 'static,
    {
        Self(Arc::new(move |question| Box::pin(handler(question))))
    }
}

/// The handlers that work on questions: at most as many as the machine has open questions, and those
/// that were just cancelled.
pub(super) struct Answering {
    handler: Option<AnswerHandler>,
    running: FuturesUnordered<BoxFuture<'static, Ended>>,
    cancels: HashMap<QuestionId, oneshot::Sender<()>>,
    /// What the server does not get before it reads.
    held: VecDeque<(QuestionId, Answered)>,
}

/// A handler that has ended, without an answer if it was cancelled.
struct Ended {
    id: QuestionId,
    answer: Option<Answered>,
}

impl Answering {
    pub(super) fn new(handler: Option<AnswerHandler>) -> Self {
        Self {
            handler,
            running: FuturesUnordered::new(),
            cancels: HashMap::new(),
            held: VecDeque::new(),
        }
    }

    /// Starts to answer a question.
    pub(super) fn start(&mut self, question: Question) {
        let Question { id, content } = question;
        let Some(AnswerHandler(handler)) = self.handler.clone() else {
            return self.held.push_back((id, Err(AnswerError::NoHandler)));
        };
        let (cancel, cancelled) = oneshot::channel();
        self.cancels.insert(id, cancel);
        let name = ShortName::new(content.name());
        self.running.push(Box::pin(async move {
            // Cancelled or not, the future of the application is dropped in here, where a panic is
            // caught.
            let work = || async move {
                let answer = async { Some(handler(content).await) };
                or(answer, async {
                    let _ = cancelled.await;
                    None
                })
                .await
            };
            let answer = caught_async(work).await.unwrap_or_else(|panic| {
                tracing::error!(
                    %name, %panic,
                    "the handler of a question panicked; the server gets an internal error"
                );
                Some(Err(AnswerError::Internal))
            });
            Ended { id, answer }
        }));
    }

    /// Drops the handler of a question whose answer is not wanted any more.
    pub(super) fn cancel(&mut self, id: QuestionId) {
        // Without one, it has ended.
        if let Some(cancel) = self.cancels.remove(&id) {
            let _ = cancel.send(());
        }
    }

    /// Lets the handlers work. Returns the next answer if it may be sent.
    pub(super) fn poll(
        &mut self,
        may_send: bool,
        cx: &mut Context<'_>,
    ) -> Poll<(QuestionId, Answered)> {
        while !self.running.is_empty()
            && let Poll::Ready(Some(Ended { id, answer })) =
                Pin::new(&mut self.running).poll_next(cx)
        {
            self.cancels.remove(&id);
            self.held.extend(answer.map(|answer| (id, answer)));
        }
        match self.held.pop_front() {
            Some(answer) if may_send => Poll::Ready(answer),
            Some(answer) => {
                self.held.push_front(answer);
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }

    /// Drops all handlers. Futures of the application may panic at that.
    pub(super) fn stop(&mut self) {
        let running = std::mem::take(&mut self.running);
        for handler in running {
            if let Err(panic) = caught(|| drop(handler)) {
                tracing::error!(%panic, "the handler of a question panicked when it was dropped");
            }
        }
    }
}
