//! The input from the server.

use std::task::{Context, Poll};

use super::{Link, Task};
use crate::runtime::Runtime;
use crate::websocket::{Incoming, violation};

impl<R: Runtime> Task<R> {
    /// Returns what has come by now, before the server is taken for silent: a process can be
    /// stopped anywhere, and a machine suspended. Data that the server has accepted is a sign of
    /// life as well.
    pub(super) fn hear(&mut self, cx: &mut Context<'_>) -> Option<Incoming> {
        let Link::Open(socket) = &mut self.link else { return None };
        socket.ask_kernel();
        let incoming = match socket.poll_incoming(cx) {
            Poll::Ready(incoming) => Some(incoming),
            Poll::Pending => None,
        };
        let (heard, taken) = (socket.was_active(), socket.was_taken_from());
        if heard || taken {
            self.machine.handle_activity(self.clock.now());
        }
        incoming
    }

    pub(super) fn take_incoming(&mut self, incoming: Incoming) {
        let now = self.clock.now();
        match incoming {
            Incoming::Message(frame) | Incoming::Text(frame) => {
                self.machine.handle_message(now, frame, &mut self.out);
            }
            Incoming::Ping => self.machine.handle_activity(now),
            Incoming::Pong => self.machine.handle_pong(now),
            Incoming::Closed(frame) => self.closed(frame),
            Incoming::Failed(error) => {
                tracing::debug!(url = %self.target.url, %error, "socket failed");
                if let Some(frame) = violation(&error) {
                    self.part(frame);
                }
                self.disconnected();
            }
        }
    }
}
