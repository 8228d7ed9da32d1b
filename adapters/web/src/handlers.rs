//! Handlers for questions of the server that are futures.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use futures_channel::oneshot;
use wasm_bindgen_futures::spawn_local;
use wwr::client::{AnswerError, Question, QuestionId};
use wwr::{Content, Payload};

use crate::host::{Handlers, Host};

/// A handler whose futures are dropped when nobody waits for their answers.
pub(crate) struct Futures<Handler> {
    handler: Handler,
    /// Ends the futures that work.
    cancels: Rc<RefCell<HashMap<QuestionId, oneshot::Sender<()>>>>,
}

impl<Handler> Futures<Handler> {
    pub(crate) fn new(handler: Handler) -> Self {
        Self { handler, cancels: Rc::default() }
    }
}

impl<Handler, Answer> Handlers for Futures<Handler>
where
    Handler: Fn(Content) -> Answer,
    Answer: Future<Output = Result<Payload, AnswerError>> + 'static,
{
    fn start(&self, host: &Rc<Host>, question: Question) {
        let (cancel, cancelled) = oneshot::channel();
        self.cancels.borrow_mut().insert(question.id, cancel);
        let (host, cancels) = (Rc::downgrade(host), self.cancels.clone());
        let answer = (self.handler)(question.content);
        spawn_local(async move {
            let answer = unless(cancelled, answer).await;
            cancels.borrow_mut().remove(&question.id);
            if let (Some(answer), Some(host)) = (answer, host.upgrade()) {
                host.answer(question.id.as_u64(), answer);
            }
        });
    }

    fn cancel(&self, id: QuestionId) -> bool {
        if let Some(cancel) = self.cancels.borrow_mut().remove(&id) {
            // One that has ended meanwhile does not mind.
            let _ = cancel.send(());
        }
        true
    }
}

/// Waits for a future until it is cancelled, and drops it then.
async fn unless<Output>(
    mut cancelled: oneshot::Receiver<()>,
    future: impl Future<Output = Output>,
) -> Option<Output> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if Pin::new(&mut cancelled).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn what_is_cancelled_is_dropped_and_has_no_outcome() {
        let mut cx = Context::from_waker(Waker::noop());
        let (cancel, cancelled) = oneshot::channel();
        let alive = Rc::new(());
        let held = alive.clone();
        let mut work = Box::pin(unless(cancelled, async move {
            let _held = held;
            std::future::pending::<()>().await;
        }));
        assert!(work.as_mut().poll(&mut cx).is_pending());
        assert_eq!(Rc::strong_count(&alive), 2);
        cancel.send(()).unwrap();
        assert_eq!(work.as_mut().poll(&mut cx), Poll::Ready(None));
        drop(work);
        assert_eq!(Rc::strong_count(&alive), 1);

        let (_cancel, cancelled) = oneshot::channel();
        let work = pin!(unless(cancelled, async { 7 }));
        assert_eq!(work.poll(&mut cx), Poll::Ready(Some(7)));
    }
}
