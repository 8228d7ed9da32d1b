//! A runtime with virtual time, without sockets.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_lite::future::or;

use super::link::VirtualStream;
use super::world::{Process, TimerId, World};
use crate::clock::Clock;
use crate::runtime::{ListeningSocket, Runtime, SocketAddress, Timer};

/// The runtime of the servers and clients in a [`Simulation`](super::Simulation). All tasks run on the thread that
/// runs the simulation, one after the other. [`unblock`](Runtime::unblock) runs the function at once. The random
/// bytes come from the seed.
///
/// It has no sockets of the system. Simulated [hosts](super::Host) connect to each other, by name or address; anything
/// else cannot be reached.
#[derive(Clone)]
pub struct VirtualRuntime {
    world: Arc<World>,
    /// The host that the tasks run on, by its name, and its start. `None`: no host, and they go on for ever.
    host: Option<(String, Arc<Process>)>,
}

impl VirtualRuntime {
    pub(super) const fn new(world: Arc<World>, host: Option<(String, Arc<Process>)>) -> Self {
        Self { world, host }
    }
}

impl Runtime for VirtualRuntime {
    type Timer = VirtualTimer;
    type Stream = VirtualStream;
    type Listener = Infallible;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.host {
            None => self.world.tasks.spawn(task),
            Some((_, process)) => {
                let process = process.clone();
                self.world.tasks.spawn(async move { or(process.crashes(), task).await });
            }
        }
    }

    fn timer(&self) -> VirtualTimer {
        VirtualTimer::new(self.world.clone())
    }

    fn clock(&self) -> Clock {
        Clock::of(self.world.clone())
    }

    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        self.world.lock().random.fill(bytes);
        Ok(())
    }

    async fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        Ok(work())
    }

    async fn resolve(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::new(self.world.resolve(&host)?, port)])
    }

    async fn connect(&self, to: SocketAddress) -> io::Result<VirtualStream> {
        match (to, &self.host) {
            (SocketAddress::Tcp(to), Some((from, _))) => {
                self.world.connect(from, to, self.timer()).await
            }
            (SocketAddress::Tcp(_), None) => Err(unsupported(
                "Simulation::runtime is on no host and cannot connect: use Host::runtime",
            )),
            #[cfg(unix)]
            (SocketAddress::Unix(_), _) => Err(unsupported("a simulation has no unix sockets")),
        }
    }

    fn listen(&self, listener: ListeningSocket) -> io::Result<Infallible> {
        let _ = listener;
        Err(unsupported("a simulation has no listening sockets: use Host::serve"))
    }

    async fn accept(
        &self,
        listener: &Infallible,
    ) -> io::Result<(VirtualStream, Option<SocketAddr>)> {
        match *listener {}
    }
}

fn unsupported(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, why)
}

impl fmt::Debug for VirtualRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualRuntime").finish_non_exhaustive()
    }
}

/// A timer in virtual time.
pub struct VirtualTimer {
    world: Arc<World>,
    /// When it ends. `None`: never.
    at: Option<Duration>,
    /// The same, while a task waits for it.
    waiting: Option<TimerId>,
}

impl VirtualTimer {
    pub(super) const fn new(world: Arc<World>) -> Self {
        Self { world, at: None, waiting: None }
    }

    /// Sets the timer to a virtual time.
    pub(super) fn set_to(&mut self, at: Option<Duration>) {
        if at != self.at {
            self.stop();
            self.at = at;
        }
    }

    fn stop(&mut self) {
        if let Some(id) = self.waiting.take() {
            let waker = self.world.lock().stop_timer(id);
            drop(waker);
        }
    }
}

impl Timer for VirtualTimer {
    fn set(&mut self, at: Option<Instant>) {
        self.set_to(at.map(|at| self.world.time_at(at)));
    }

    fn set_after(&mut self, duration: Duration) {
        let now = self.world.lock().now;
        self.set_to(now.checked_add(duration));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let mut state = self.world.lock();
        if state.now < at {
            let id = *self.waiting.get_or_insert_with(|| (at, state.number()));
            let waker = state.set_timer(id, cx.waker().clone());
            drop(state);
            drop(waker);
            return Poll::Pending;
        }
        drop(state);
        self.set_to(None);
        Poll::Ready(())
    }
}

impl Drop for VirtualTimer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for VirtualTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualTimer").field("at", &self.at).finish_non_exhaustive()
    }
}
