//! Servers and clients in one test, with virtual time: reconnects, timeouts and shutdowns are tested without
//! sleeping. Needs the feature `testing`, in the `dev-dependencies` of an application:
//!
//! ```toml
//! [dev-dependencies]
//! wwr-smol = { version = "0.1", features = ["testing"] } # or wwr-tokio, or wwr-async
//! ```
//!
//! A [`Simulation`] is a runtime of its own, whichever runtime the application uses otherwise. It has
//! [hosts](Host) with names, connected by a network in memory. A handler, a router, and all settings are the same as
//! on smol and tokio.
//!
//! ```
//! use std::time::Duration;
//!
//! use wwr_async::client::Event;
//! use wwr_async::server::{Connection, Handler, RequestError};
//! use wwr_async::testing::Simulation;
//! use wwr_async::{Content, Payload};
//!
//! /// The application. It knows nothing of tests.
//! struct Echo;
//!
//! impl Handler for Echo {
//!     async fn request(&self, _: &Connection, said: Content) -> Result<Payload, RequestError> {
//!         Ok(said.into_payload())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let simulation = Simulation::new(1);
//! let server = simulation.host("chat.test");
//! server.serve(server.server(Echo))?;
//! let ada = simulation.host("ada");
//!
//! simulation.run(async {
//!     let client = ada.client("ws://chat.test/")?.connect().await?;
//!     let mut events = client.events();
//!     assert_eq!(client.request("echo", "hello").await?.text()?, "hello");
//!
//!     // The network fails for ten minutes. The client tries again and again.
//!     server.refuse();
//!     ada.cut();
//!     simulation.sleep(Duration::from_secs(600)).await;
//!     server.accept();
//!     while !matches!(events.next().await, Some(Event::Connected)) {}
//!     assert_eq!(client.request("echo", "again").await?.text()?, "again");
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! // All of that took milliseconds.
//! assert!(simulation.elapsed() >= Duration::from_secs(600));
//! # Ok(())
//! # }
//! ```
//!
//! # Time
//!
//! All tasks run on the thread of the test, one after the other. When none can run, time jumps to the next timer. So
//! no time passes while a task computes, and [`Simulation::sleep`] returns at once, with everything done that happens
//! until then. A test for which nothing is left to wait, and one that takes too long, ends with [`Stopped`], which says
//! why.
//!
//! Servers and clients have virtual time. An application that waits by itself must do so with the
//! timers of its [`Runtime`](crate::Runtime), not with those of smol or tokio: [`sleep`](crate::sleep()),
//! [`timeout`](crate::timeout()) and [`Runtime::clock`](crate::Runtime::clock). It is generic over the runtime then:
//!
//! ```
//! use std::time::Duration;
//!
//! use wwr_async::server::{Connection, Handler, RequestError};
//! use wwr_async::testing::Simulation;
//! use wwr_async::{Content, Payload, Runtime, sleep};
//!
//! struct Kitchen<R>(R);
//!
//! impl<R: Runtime> Handler for Kitchen<R> {
//!     async fn request(&self, _: &Connection, _: Content) -> Result<Payload, RequestError> {
//!         sleep(&self.0, Duration::from_secs(30)).await;
//!         Ok(Payload::utf8("soup"))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let simulation = Simulation::new(1);
//! let server = simulation.host("kitchen.test");
//! server.serve(server.server(Kitchen(server.runtime())))?;
//! simulation.run(async {
//!     let client = simulation.host("guest").client("ws://kitchen.test/")?.connect().await?;
//!     assert_eq!(client.request("order", "soup").await?.text()?, "soup");
//!     assert_eq!(simulation.elapsed(), Duration::from_secs(30));
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! With smol, it is `Kitchen(Smol::default())`, and with tokio the same with its runtime. A handler that is a client of
//! another server makes that [on its runtime](crate::client::Client::builder_on) as well: the names of hosts are those of
//! the simulation there. [`Runtime::without_executor`](crate::Runtime::without_executor) is for handlers on an executor that they
//! should not keep alive.
//!
//! # The network
//!
//! Without more ado it takes no time and loses nothing. A test can [cut](Host::cut) connections,
//! [partition](Host::partition) a host without an error for its peers, set [latency](Host::set_latency) and
//! [jitter](Host::set_jitter), let a host [stop reading](Host::stop_reading), [refuse](Host::refuse) connections, and
//! [crash](Host::crash) a host. A host that serves again with the same store has been restarted:
//!
//! ```
//! use wwr_async::server::Handler;
//! use wwr_async::testing::Host;
//! use wwr_async::{MemoryStore, SharedStore};
//!
//! # fn restart<H: Handler + Clone>(host: &Host, app: H) -> Result<(), Box<dyn std::error::Error>> {
//! let store = SharedStore::new(MemoryStore::new());
//! host.serve(host.server(app.clone()).store(store.clone()))?;
//! host.crash();
//! host.serve(host.server(app).store(store))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Chance
//!
//! The same seed leads to the same run: session keys, the backoff of clients and the jitter come from it, and the order
//! of tasks is fixed. The wall clock begins at the same time in each run, 2025-01-01T00:00:00Z. An
//! application that uses other chance, threads, or the order of a `HashMap` has to see to that itself.
//!
//! # Stores
//!
//! [`check_store`] checks that a [`SessionStore`](crate::SessionStore) of one's own does what servers rely on, and [`check_engine`]
//! that an [`Engine`](crate::cluster::Engine) of a cluster answers as the one in memory does.
//!
//! # What it is not
//!
//! There are no TLS, no sockets of the system, no threads, and no blocking clients. Functions that
//! [block](crate::Runtime::unblock), such as those of a [`FileStore`](crate::FileStore), run at once; files have the time of the
//! system, so expiry of sessions is tested with a [`MemoryStore`](crate::MemoryStore). A listener can neither fail nor
//! run out of file descriptors here.

mod engine;
mod host;
mod link;
mod network;
mod runtime;
mod server;
pub(crate) mod store;
mod tasks;
#[cfg(test)]
mod tests;
mod world;

use std::fmt;
use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

pub use engine::check_engine;
pub use host::Host;
pub use link::VirtualStream;
pub use runtime::{VirtualRuntime, VirtualTimer};
pub use store::{StoreExpiry, check_store};
use tasks::Woken;
use world::World;

use crate::{client, clock};

/// How many rounds of steps tasks may take until the future of a run has its turn.
const TURN: u32 = 1000;

/// A [client](client::Client) in a simulation.
pub type Client = client::Client<VirtualRuntime>;

/// Hosts with servers and clients, the network between them, and their time. The [module](self) has examples.
///
/// When it is dropped, all tasks are.
pub struct Simulation {
    world: Arc<World>,
    time_limit: Duration,
    step_limit: u64,
}

/// Why a [run](Simulation::try_run) of a simulation was ended before its future was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Stopped {
    /// No task can run, and no timer is set.
    #[error(
        "deadlock after {at:?} of virtual time: no task can run and no timer is set, so what the test waits for never \
         comes; or it waits for something outside of the simulation, such as a thread, a socket, or a timer of \
         another runtime"
    )]
    Deadlock {
        /// How much virtual time had passed since the simulation was made.
        at: Duration,
    },
    /// The run took more virtual time than [`Simulation::with_time_limit`] allows.
    #[error(
        "the test waits for more than {limit:?} of virtual time: what it waits for never comes, or \
         Simulation::with_time_limit has to allow more"
    )]
    TimeLimit {
        /// How much was allowed.
        limit: Duration,
    },
    /// The run took more steps than [`Simulation::with_step_limit`] allows.
    #[error(
        "more than {limit} steps, and the virtual time is {at:?}: a task runs again and again without waiting, or \
         Simulation::with_step_limit has to allow more"
    )]
    StepLimit {
        /// How much virtual time had passed since the simulation was made.
        at: Duration,
        /// How many were allowed.
        limit: u64,
    },
}

impl Simulation {
    /// A simulation without hosts. Chance is decided by the seed.
    pub fn new(seed: u64) -> Self {
        Self {
            world: Arc::new(World::new(seed)),
            time_limit: Duration::from_secs(24 * 60 * 60),
            step_limit: 10_000_000,
        }
    }

    /// Sets how much virtual time each [run](Self::run) may take. Default: one day.
    #[must_use]
    pub const fn with_time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Sets how many steps each [run](Self::run) may take. A step is one poll of a task. A task that never returns
    /// from a step cannot be ended. Default: ten million, some seconds to a minute.
    #[must_use]
    pub const fn with_step_limit(mut self, limit: u64) -> Self {
        self.step_limit = limit;
        self
    }

    /// Returns the host of this name, which is made if there is none yet. Upper and lower case are the same.
    pub fn host(&self, name: &str) -> Host {
        Host::new(self.world.clone(), name)
    }

    /// Returns a runtime whose tasks run on no host: they cannot connect, and go on until the simulation is dropped.
    pub fn runtime(&self) -> VirtualRuntime {
        VirtualRuntime::new(self.world.clone(), None)
    }

    /// Runs a future and all tasks until the future has ended, and returns what it returns. Tasks that have not ended
    /// by then go on in the next run.
    ///
    /// # Panics
    ///
    /// With a text that says why, if the future cannot end or takes too long: see [`Stopped`]. A panic of the future,
    /// or of a task that the test has spawned, is one of this call. Those of handlers are not: their request fails.
    #[track_caller]
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        match self.try_run(future) {
            Ok(output) => output,
            Err(stopped) => panic!("{stopped}"),
        }
    }

    /// The same, with an error instead of a panic if the future cannot end or takes too long. The future is dropped
    /// then.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    ///
    /// # Panics
    ///
    /// If it is called inside of a run of the same simulation.
    #[track_caller]
    pub fn try_run<T>(&self, future: impl Future<Output = T>) -> Result<T, Stopped> {
        let Some(mut running) = self.world.tasks.run() else {
            panic!("a run inside of a run of the same simulation: await the future there instead")
        };
        let mut future = pin!(future);
        let woken = Arc::new(Woken::default());
        woken.set();
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let latest = self.elapsed().saturating_add(self.time_limit);
        let (earlier, mut own, mut turn) = (self.world.tasks.polls(), 0_u64, 0);
        loop {
            // The future sees what all tasks have done, unless they never rest.
            if turn < TURN && running.step() {
                turn += 1;
                if let Some(panic) = running.take_panic() {
                    resume_unwind(panic);
                }
            } else if woken.take() {
                (own, turn) = (own + 1, 0);
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return Ok(output);
                }
            } else if turn == TURN {
                turn = 0;
            } else if let Err(next) = self.world.advance(latest) {
                return Err(match next {
                    Some(_) => Stopped::TimeLimit { limit: self.time_limit },
                    None => Stopped::Deadlock { at: self.elapsed() },
                });
            }
            if self.world.tasks.polls() - earlier + own > self.step_limit {
                return Err(Stopped::StepLimit { at: self.elapsed(), limit: self.step_limit });
            }
        }
    }

    /// Lets this much time pass, from outside of a [run](Self::run). The same as a run of [`sleep`](Self::sleep).
    ///
    /// # Panics
    ///
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn advance(&self, duration: Duration) {
        self.run(self.sleep(duration));
    }

    /// Waits for this long, in virtual time.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + use<> {
        clock::sleep(&self.runtime(), duration)
    }

    /// Waits for a future, but not longer than this, in virtual time. `None` if it has not ended by then.
    pub async fn timeout<T>(
        &self,
        duration: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        clock::timeout(&self.runtime(), duration, future).await
    }

    /// Returns how much virtual time has passed since the simulation was made.
    pub fn elapsed(&self) -> Duration {
        self.world.lock().now
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.world.end();
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("elapsed", &self.elapsed())
            .field("time_limit", &self.time_limit)
            .field("step_limit", &self.step_limit)
            .finish_non_exhaustive()
    }
}
