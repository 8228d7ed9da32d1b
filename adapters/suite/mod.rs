//! The tests of servers and clients on real sockets. They are the same for each adapter, and compiled into
//! a test binary for each runtime and each of its flavours. Such a binary has a module `adapter` beside this
//! one, which has everything of the crate under test and:
//!
//! * `runtime()`: the runtime under test, which lives as long as the process;
//! * `block_on(future)`: runs a future where the defaults of the crate mean that runtime, as the main
//!   function of an application does;
//! * `Threads`: a runtime of the same kind for one test, which runs until it is dropped, and `Threads::one()`,
//!   which has one thread in each flavour;
//! * `Manual`: a runtime of one thread that runs only while the test waits for something on it.
//!
//! Only what is under test runs there. The other side of a test is made by hand, on blocking sockets or on
//! smol, and so is what a test does in the background.

mod blocking;
mod both_sides;
mod client;
mod dead_links;
mod questions;
mod recovery;
mod roaming;
pub(crate) mod server;
pub(crate) mod support;
mod testing;
mod typed;
