//! The application's handler for questions of the server.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_channel::oneshot;
use futures_lite::future::or;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use wwr::client::{AnswerError, QuestionId};
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

/// The handlers that work on questions, and their answers that cannot be sent yet: at most as many as the
/// machine has open questions, and handlers that were just cancelled.
pub(super) struct Answering<I = QuestionId> {
    handler: Option<AnswerHandler>,
    running: FuturesUnordered<BoxFuture<'static, Ended<I>>>,
    cancels: HashMap<I, oneshot::Sender<()>>,
    /// What the server does not get before it reads.
    held: VecDeque<(I, Answered)>,
}

/// A handler that has ended, without an answer if it was cancelled.
struct Ended<I> {
    id: I,
    answer: Option<Answered>,
}

impl<I: Copy + Eq + Hash + Send + 'static> Answering<I> {
    pub(super) fn new(handler: Option<AnswerHandler>) -> Self {
        Self {
            handler,
            running: FuturesUnordered::new(),
            cancels: HashMap::new(),
            held: VecDeque::new(),
        }
    }

    /// Starts to answer a question.
    pub(super) fn start(&mut self, id: I, content: Content) {
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

    /// Drops the handler of a question whose answer is not wanted any more, or the answer.
    pub(super) fn cancel(&mut self, id: I) {
        match self.cancels.remove(&id) {
            Some(cancel) => drop(cancel.send(())),
            // The handler has ended. A server that reads nothing must not make the client keep answers.
            None => self.held.retain(|(held, _)| *held != id),
        }
    }

    /// Lets the handlers work. Returns the next answer if it may be sent.
    pub(super) fn poll(&mut self, may_send: bool, cx: &mut Context<'_>) -> Poll<(I, Answered)> {
        while !self.running.is_empty()
            && let Poll::Ready(Some(Ended { id, answer })) =
                Pin::new(&mut self.running).poll_next(cx)
        {
            // One that was cancelled may have found an answer at that very moment.
            if self.cancels.remove(&id).is_some() {
                self.held.extend(answer.map(|answer| (id, answer)));
            }
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn question() -> Content {
        Content::new(b"q", &Payload::utf8("?")).unwrap()
    }

    /// A server that asks, cancels and reads nothing, for ever.
    #[test]
    fn answers_that_nobody_wants_are_not_kept() {
        let mut cx = Context::from_waker(Waker::noop());
        let at_once = || AnswerHandler::new(async |_| Ok(Payload::utf8("!")));
        let never = || AnswerHandler::new(async |_| std::future::pending().await);
        for handler in [None, Some(at_once()), Some(never())] {
            let mut answering = Answering::new(handler);
            // Before and after the handler has run.
            for id in 0..100 {
                answering.start(2 * id, question());
                answering.cancel(2 * id);
                answering.start(2 * id + 1, question());
                assert!(answering.poll(false, &mut cx).is_pending());
                answering.cancel(2 * id + 1);
                assert!(answering.poll(false, &mut cx).is_pending());
            }
            assert_eq!((answering.held.len(), answering.running.len()), (0, 0));
            assert!(answering.cancels.is_empty());
        }
    }

    #[test]
    fn answers_wait_until_the_server_reads() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut answering =
            Answering::new(Some(AnswerHandler::new(async |_| Ok(Payload::utf8("!")))));
        answering.start(7, question());
        assert!(answering.poll(false, &mut cx).is_pending());
        let answered = Poll::Ready((7, Ok(Payload::utf8("!"))));
        assert_eq!(answering.poll(true, &mut cx), answered);
        assert!(answering.poll(true, &mut cx).is_pending());
    }
}
