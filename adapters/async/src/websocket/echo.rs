//! An echo of WebSocket messages, text as text and binary as binary. For the tests of conformance:
//! WebWire itself has no use for a message that only comes back.

use std::ops::ControlFlow;

use async_tungstenite::tungstenite::Utf8Bytes;

use super::*;

/// How long an echo waits for the end of the close handshake: as long as servers and clients do.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How an echo ends, as the connection of a server or a client does.
enum End {
    Left,
    Violated(CloseFrame),
    Broken,
}

impl<R: Runtime> WebSocket<R> {
    /// Queues a text message behind those that wait to be flushed.
    pub(crate) fn feed_text(&mut self, text: Bytes) -> Result<(), Error> {
        self.queue(Message::Text(Utf8Bytes::try_from(text)?))
    }

    /// Sends back what comes, until the peer closes the WebSocket or breaks its rules.
    pub(crate) async fn echo(mut self) {
        match poll_fn(|cx| self.poll_echo(cx)).await {
            End::Left => self.finish(CLOSE_TIMEOUT).await,
            End::Violated(frame) => self.close(frame, CLOSE_TIMEOUT).await,
            End::Broken => {}
        }
    }

    /// Reads and flushes in turns, as the tasks of servers and clients do.
    fn poll_echo(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            while self.is_writable() && !self.wants_flush() {
                let Poll::Ready(incoming) = self.poll_incoming(cx) else { break };
                if let ControlFlow::Break(end) = self.send_back(incoming) {
                    return Poll::Ready(end);
                }
            }
            let was_flushed = !self.unflushed;
            match self.poll_flush(cx) {
                Poll::Ready(Ok(())) if was_flushed => return Poll::Pending,
                // Now there is room for more.
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(End::Broken),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn send_back(&mut self, incoming: Incoming) -> ControlFlow<End> {
        let fed = match incoming {
            Incoming::Message(message) => self.feed(message),
            Incoming::Text(text) => self.feed_text(text),
            Incoming::Ping | Incoming::Pong => Ok(()),
            Incoming::Closed(_) => return ControlFlow::Break(End::Left),
            Incoming::Failed(error) => {
                let end = violation(&error).map_or(End::Left, End::Violated);
                return ControlFlow::Break(end);
            }
        };
        match fed {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(End::Broken),
        }
    }
}
