//! Byte streams in memory.

use std::fmt;
use std::io::{ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

/// One end of a [`pipe`]: what one end writes, the other one reads. An end that is dropped is a
/// connection that its side has closed.
pub struct Pipe {
    reader: piper::Reader,
    /// `None` once this end was closed.
    writer: Option<piper::Writer>,
}

/// Returns the two ends of a connection in memory, in which up to `capacity` bytes (at least one) wait
/// in each direction. So a server and its clients can talk without sockets. For tests, the module `testing` has a
/// whole network, with the feature of that name.
///
/// ```
/// use wwr_async::client::{Client, Destination};
/// use wwr_async::server::{Handler, Service};
/// use wwr_async::{Runtime, pipe};
///
/// # async fn test<H: Handler, R: Runtime + Default>(
/// #     service: Service<H, R>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let connect = move |_: Destination| {
///     let (ours, theirs) = pipe(64 * 1024);
///     service.serve_stream(theirs, ([127, 0, 0, 1], 0).into());
///     async { Ok(ours) }
/// };
/// let client: Client<R> = Client::builder("ws://test/")?.dial(connect).connect().await?;
/// let reply = client.request("echo", "hello").await?;
/// # Ok(())
/// # }
/// ```
pub fn pipe(capacity: usize) -> (Pipe, Pipe) {
    let capacity = capacity.max(1);
    let ((here, to_here), (there, to_there)) = (piper::pipe(capacity), piper::pipe(capacity));
    let end = |reader, writer| Pipe { reader, writer: Some(writer) };
    (end(here, to_there), end(there, to_here))
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.reader).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        let Some(writer) = &mut self.writer else {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        };
        match ready!(Pin::new(writer).poll_write(cx, buffer))? {
            // Nobody reads any more.
            0 if !buffer.is_empty() => Poll::Ready(Err(ErrorKind::BrokenPipe.into())),
            written => Poll::Ready(Ok(written)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        // What was written can still be read.
        self.writer = None;
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{poll_once, zip};
    use futures_lite::{AsyncReadExt, AsyncWriteExt};
    use smol::block_on;

    use super::*;

    #[test]
    fn each_end_reads_what_the_other_writes_in_bounded_memory() {
        let (mut one, mut other) = pipe(4);
        block_on(async {
            assert!(poll_once(one.write_all(b"hello")).await.is_none(), "four bytes fit");
            let mut read = [0; 4];
            other.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"hell");
            other.write_all(b"back").await.unwrap();
            one.read_exact(&mut read).await.unwrap();
            assert_eq!(&read, b"back");
            let data = vec![7; 100_000];
            let mut copy = vec![0; data.len()];
            let (sent, came) = zip(one.write_all(&data), other.read_exact(&mut copy)).await;
            sent.and(came).unwrap();
            assert_eq!(copy, data);
        });
    }

    #[test]
    fn an_end_that_closes_can_still_read_and_one_that_is_gone_cannot_be_written_to() {
        let (mut one, mut other) = pipe(0);
        block_on(async {
            one.write_all(b"x").await.unwrap();
            one.close().await.unwrap();
            assert_eq!(one.write(b"y").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            let mut read = Vec::new();
            other.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, b"x");
            other.write_all(b"z").await.unwrap();
            drop(other);
            one.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, b"xz");
            let (mut one, other) = pipe(1);
            drop(other);
            assert_eq!(one.write(b"y").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        });
    }
}
