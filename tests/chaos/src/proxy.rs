//! A TCP proxy whose connections can be cut, or carry nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a proxy does with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It is passed on.
    Open,
    /// It waits, and so do new connections.
    Stalled,
    /// Connections break, and new ones are closed at once.
    Cut,
}

/// A proxy that runs as long as this lives.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    flow: Arc<watch::Sender<Flow>>,
}

impl Proxy {
    /// Starts one before this port of the machine.
    pub(crate) async fn start(to: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let (flow, _) = watch::channel(Flow::Open);
        let flow = Arc::new(flow);
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, to));
        tokio::spawn(accept(listener, to, flow.subscribe()));
        Ok(Self { port, flow })
    }

    pub(crate) fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }
}

/// Waits until it flows again. An error if it is cut, or the proxy has ended.
async fn open(flow: &mut watch::Receiver<Flow>) -> io::Result<()> {
    match flow.wait_for(|flow| *flow != Flow::Stalled).await.map(|flow| *flow) {
        Ok(Flow::Open) => Ok(()),
        _ => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Waits until it is cut.
async fn cut(flow: &mut watch::Receiver<Flow>) {
    // An error: the proxy has ended.
    let _ = flow.wait_for(|flow| *flow == Flow::Cut).await;
}

async fn accept(listener: TcpListener, to: SocketAddr, mut flow: watch::Receiver<Flow>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            ended = flow.wait_for(|_| false) => match ended { Ok(_) => continue, Err(_) => return },
        };
        let Ok((socket, _)) = accepted else { continue };
        let (mut watched, flow) = (flow.clone(), flow.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = carry(socket, to, flow) => {}
                () = cut(&mut watched) => {}
            }
        });
    }
}

async fn carry(from: TcpStream, to: SocketAddr, mut flow: watch::Receiver<Flow>) -> io::Result<()> {
    open(&mut flow).await?;
    let to = TcpStream::connect(to).await?;
    from.set_nodelay(true)?;
    to.set_nodelay(true)?;
    let (from_reads, from_writes) = from.into_split();
    let (to_reads, to_writes) = to.into_split();
    // If one direction ends by an error, the other one does as well.
    tokio::try_join!(
        pump(from_reads, to_writes, flow.clone()),
        pump(to_reads, from_writes, flow.clone())
    )
    .map(drop)
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut flow: watch::Receiver<Flow>,
) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = from.read(&mut buffer).await?;
        open(&mut flow).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_stalled_comes_later_and_what_is_cut_never() {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(echo.local_addr().unwrap().port()).await.unwrap();
        let mut near = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        let (mut far, _) = echo.accept().await.unwrap();
        let mut byte = [0];
        near.write_all(b"a").await.unwrap();
        far.read_exact(&mut byte).await.unwrap();
        proxy.set(Flow::Stalled);
        near.write_all(b"b").await.unwrap();
        // A connection that is stalled is accepted by the system, and not passed on.
        let mut later = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        proxy.set(Flow::Open);
        far.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"b");
        let (mut later_far, _) = echo.accept().await.unwrap();
        later_far.write_all(b"c").await.unwrap();
        later.read_exact(&mut byte).await.unwrap();
        proxy.set(Flow::Cut);
        assert_eq!(near.read(&mut byte).await.unwrap_or(0), 0);
        assert_eq!(far.read(&mut byte).await.unwrap_or(0), 0);
        let mut refused = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        assert_eq!(refused.read(&mut byte).await.unwrap_or(0), 0);
    }
}
