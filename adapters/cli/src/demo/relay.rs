//! A relay between client and server, which can cut connections and show what passes.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smol::future::or;
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::{TcpListener, TcpStream};

use super::tap::{Sight, Tap, Way};
use crate::runtime::Tasks;

/// Passes bytes on between a port of its own and a server, until it is dropped.
#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: smol::Task<()>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing gets through: new connections are closed.
    is_cut: bool,
    open: Vec<TcpStream>,
    sights: Vec<Sight>,
}

impl Relay {
    pub(super) async fn start(server: SocketAddr, tasks: &Tasks) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { server, state: Mutex::default() });
        let accepting = tasks.spawn(accept(listener, shared.clone(), tasks.clone()));
        Ok(Self { address, shared, _accepting: accepting })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections, and accepts none until [`mend`](Self::mend).
    pub(super) fn cut(&self) {
        let mut state = self.shared.lock();
        state.is_cut = true;
        for stream in state.open.drain(..) {
            // An error means that it is already broken.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn mend(&self) {
        self.shared.lock().is_cut = false;
    }

    /// Returns what passed since the last call.
    pub(super) fn take_sights(&self) -> Vec<Sight> {
        std::mem::take(&mut self.shared.lock().sights)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers connections for cutting them, unless the relay is already cut.
    fn admit(&self, streams: [&TcpStream; 2]) -> bool {
        let mut state = self.lock();
        if !state.is_cut {
            state.open.extend(streams.map(Clone::clone));
        }
        !state.is_cut
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, tasks: Tasks) {
    // An error here makes the client fail to connect, and the story reports that.
    while let Ok((client, _)) = listener.accept().await {
        let shared = shared.clone();
        let passing = async move {
            // However it ends, both streams are closed.
            let _ = pass(client, &shared).await;
        };
        tasks.spawn(passing).detach();
    }
}

async fn pass(client: TcpStream, shared: &Shared) -> io::Result<()> {
    let server = TcpStream::connect(shared.server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    if !shared.admit([&client, &server]) {
        return Ok(());
    }
    let there = copy(client.clone(), server.clone(), Tap::new(Way::ToServer), shared);
    let back = copy(server.clone(), client.clone(), Tap::new(Way::ToClient), shared);
    let result = or(there, back).await;
    // The copies for cutting would keep them open.
    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
    result
}

async fn copy(
    mut from: TcpStream,
    mut to: TcpStream,
    mut tap: Tap,
    shared: &Shared,
) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        // Recorded before it is passed on, so that a message is recorded before its answer.
        tap.feed(bytes, &mut shared.lock().sights);
        to.write_all(bytes).await?;
    }
}
