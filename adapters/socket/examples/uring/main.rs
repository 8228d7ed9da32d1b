//! A server on one thread, on io_uring: the system is told what to do, and says when it is done.
//!
//! It needs Linux 5.11, and a system that allows it: `sysctl kernel.io_uring_disabled` is 0, and the container does
//! not forbid `io_uring_setup` (the default profiles of Docker and Kubernetes do). A receive owns its buffer while it
//! waits, so an idle connection costs 4 KiB more than with readiness.
//!
//! ```text
//! cargo run --release -p wwr-socket --example uring -- 127.0.0.1:7777
//! wwr request ws://127.0.0.1:7777/ echo hello
//! ```

#[cfg(target_os = "linux")]
mod ring;
#[cfg(target_os = "linux")]
mod server;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".into());
    let address = address.parse().map_err(std::io::Error::other)?;
    let mut server = server::Server::bind(ring::Ring::new()?, address)?;
    println!("listening on ws://{}/", server.listener.local_addr()?);
    server.run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("io_uring is a part of Linux");
}
