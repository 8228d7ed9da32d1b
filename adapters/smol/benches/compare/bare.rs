//! The yardstick: a WebSocket echo, and nothing else.

use std::future::poll_fn;
use std::io;
use std::net::Ipv4Addr;
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::tungstenite::{Error, Message};
use async_tungstenite::{WebSocketStream, accept_async_with_config};
use futures_util::{Sink, Stream};
use smol::LocalExecutor;
use smol::net::{TcpListener, TcpStream};
use std::pin::Pin;

use super::process;

/// Serves on this thread until the process ends, and reads this many bytes at a time.
pub(crate) fn serve(read_buffer: usize) -> io::Result<()> {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        process::listens_on(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            executor.spawn(connection(stream, read_buffer)).detach();
        }
    }))
}

async fn connection(stream: TcpStream, read_buffer: usize) -> Result<(), Error> {
    let config = WebSocketConfig::default().read_buffer_size(read_buffer);
    let socket = accept_async_with_config(stream, Some(config)).await?;
    let mut echo = Echo { socket, unflushed: false };
    poll_fn(|cx| echo.poll(cx)).await
}

struct Echo {
    socket: WebSocketStream<TcpStream>,
    unflushed: bool,
}

impl Echo {
    /// Feeds back all that is ready, then flushes once.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        loop {
            ready!(Pin::new(&mut self.socket).poll_ready(cx))?;
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Ready(Some(message)) => {
                    let message = message?;
                    self.unflushed = true;
                    if matches!(message, Message::Binary(_)) {
                        Pin::new(&mut self.socket).start_send(message)?;
                    }
                }
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Pending
    }
}
