//! The yardsticks: WebSocket echoes, with or without TLS, and nothing else.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::tungstenite::{Error, Message};
use async_tungstenite::{WebSocketStream, accept_async_with_config};
use futures_rustls::rustls::ServerConfig;
use futures_util::{AsyncRead, AsyncWrite, Sink, Stream, StreamExt, TryStreamExt, future};
use smol::LocalExecutor;
use tokio::runtime::Runtime;

use crate::support::host::Failure;
use crate::support::process;

/// Serves on this thread until the process ends, and reads this many bytes at a time.
pub(crate) fn serve_on_smol(
    read_buffer: u32,
    tls: Option<Arc<ServerConfig>>,
) -> Result<(), Failure> {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let listener = smol::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        process::listens_on(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // Two tasks of two types: that without TLS takes no memory for it.
            match &tls {
                None => executor.spawn(connection(stream, config(read_buffer))).detach(),
                Some(tls) => {
                    let accept = futures_rustls::TlsAcceptor::from(tls.clone()).accept(stream);
                    let config = config(read_buffer);
                    executor.spawn(async move { connection(accept.await?, config).await }).detach();
                }
            }
        }
    }))
}

/// Serves until the process ends, as the example of tokio-tungstenite does: all that is ready is fed
/// back, then flushed once.
pub(crate) fn serve_on_tokio(
    runtime: &Runtime,
    read_buffer: u32,
    tls: Option<Arc<ServerConfig>>,
) -> Result<(), Failure> {
    let serve = async move {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        process::listens_on(listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            match &tls {
                None => {
                    tokio::spawn(tokio_connection(stream, config(read_buffer)));
                }
                Some(tls) => {
                    let accept = tokio_rustls::TlsAcceptor::from(tls.clone()).accept(stream);
                    let config = config(read_buffer);
                    tokio::spawn(async move { tokio_connection(accept.await?, config).await });
                }
            }
        }
    };
    runtime.block_on(runtime.spawn(serve))?
}

fn config(read_buffer: u32) -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(read_buffer as usize)
}

async fn tokio_connection(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    config: WebSocketConfig,
) -> Result<(), Error> {
    let socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    let (write, read) = socket.split();
    read.try_filter(|message| future::ready(message.is_binary())).forward(write).await
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    config: WebSocketConfig,
) -> Result<(), Error> {
    let socket = accept_async_with_config(stream, Some(config)).await?;
    let mut echo = Echo { socket, unflushed: false };
    poll_fn(|cx| echo.poll(cx)).await
}

struct Echo<S> {
    socket: WebSocketStream<S>,
    unflushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Echo<S> {
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
