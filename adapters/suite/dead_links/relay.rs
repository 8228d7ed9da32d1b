//! A relay between client and server that can stop forwarding without closing anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use smol::Task;
use smol::future::or;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

/// A direction of all connections.
#[derive(Debug, Default)]
pub(crate) struct Way {
    cut: AtomicBool,
    passed: AtomicUsize,
}

impl Way {
    /// From now on, what is sent is taken and lost. So is the news that a side has closed.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    /// How many bytes were forwarded.
    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }

    async fn forward(&self, from: &TcpStream, to: &TcpStream) {
        let (mut from, mut to) = (from.clone(), to.clone());
        let mut buffer = [0; 4096];
        loop {
            let read = from.read(&mut buffer).await.unwrap_or_default();
            if self.cut.load(Ordering::SeqCst) {
                if read == 0 {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            self.passed.fetch_add(read, Ordering::SeqCst);
        }
    }
}

pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// To the server.
    pub(crate) up: Arc<Way>,
    /// To the client.
    pub(crate) down: Arc<Way>,
    _running: Task<()>,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (up, down) = (Arc::new(Way::default()), Arc::new(Way::default()));
        let ways = (up.clone(), down.clone());
        let running = smol::spawn(async move {
            let mut pairs = Vec::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (up, down) = ways.clone();
                pairs.push(smol::spawn(async move {
                    let server = TcpStream::connect(server).await.unwrap();
                    or(up.forward(&client, &server), down.forward(&server, &client)).await;
                }));
            }
        });
        Self { address, up, down, _running: running }
    }
}
