//! TCP connections to a name that may have several addresses.

use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::dialer::Destination;
use super::race::{Race, Step};
use crate::addresses::Addresses;
use crate::clock::Timer;
use crate::runtime::{Runtime, SocketAddress};

/// How many addresses an error names.
const MAX_SHOWN: usize = 4;

/// What an attempt to connect waits for.
enum Wake<S> {
    Resolved(io::Result<Vec<SocketAddr>>),
    Ended(SocketAddr, io::Result<S>),
    Timeout,
}

/// Connects to the first of the addresses that answers, as RFC 8305 §5 says, and begins with the one that was
/// reached before. Those that were no help come last. Dropping the future closes what is under way, and so does success for the others.
pub(super) async fn connect<R: Runtime>(
    runtime: &R,
    addresses: Addresses,
    to: &Destination,
) -> io::Result<(R::Stream, SocketAddr)> {
    let clock = runtime.clock();
    let mut timer = Timer::new(runtime.timer());
    let mut race = Race::new(clock.now(), to.reached(), to.unhelpful().to_vec());
    let mut attempts = FuturesUnordered::new();
    let mut name = std::pin::pin!(addresses.resolve(runtime));
    let mut asked = false;
    let mut failures = Failures::default();
    loop {
        let until = match race.step(clock.now()) {
            Step::Start(address) => {
                attempts.push(async move {
                    (address, runtime.connect(SocketAddress::Tcp(address)).await)
                });
                continue;
            }
            Step::Resolve => {
                asked = true;
                continue;
            }
            Step::Wait(until) => until,
            Step::Failed => return Err(failures.into()),
        };
        timer.set(until, &clock);
        let wake = poll_fn(|cx| {
            if let Poll::Ready(Some((address, ended))) = attempts.poll_next_unpin(cx) {
                return Poll::Ready(Wake::Ended(address, ended));
            }
            if asked && let Poll::Ready(resolved) = name.as_mut().poll(cx) {
                return Poll::Ready(Wake::Resolved(resolved));
            }
            timer.poll(cx).map(|()| Wake::Timeout)
        });
        match wake.await {
            Wake::Ended(address, Ok(stream)) => {
                return Ok((stream, address));
            }
            Wake::Ended(address, Err(error)) => {
                failures.add(address, error);
                race.failed(clock.now());
            }
            Wake::Resolved(resolved) => {
                asked = false;
                race.resolved(failures.of_name(resolved));
            }
            Wake::Timeout => {}
        }
    }
}

/// Why no address was reached.
#[derive(Default)]
struct Failures {
    /// The addresses that failed, the first ones only, in the order of their failures.
    addresses: Vec<(SocketAddr, io::Error)>,
    count: usize,
    name: Option<io::Error>,
}

impl Failures {
    fn add(&mut self, address: SocketAddr, error: io::Error) {
        self.count += 1;
        if self.addresses.len() < MAX_SHOWN {
            self.addresses.push((address, error));
        }
    }

    fn of_name(&mut self, resolved: io::Result<Vec<SocketAddr>>) -> Vec<SocketAddr> {
        resolved.unwrap_or_else(|error| {
            self.name = Some(error);
            Vec::new()
        })
    }
}

impl From<Failures> for io::Error {
    /// One failure as it is, several in one text.
    fn from(mut failures: Failures) -> Self {
        let first = failures.addresses.first();
        let Some(kind) = first.map(|(_, error)| error.kind()) else {
            return failures.name.unwrap_or_else(|| {
                Self::new(io::ErrorKind::InvalidInput, "the name of the server has no address")
            });
        };
        if failures.count == 1 && failures.addresses.len() == 1 {
            return failures.addresses.remove(0).1;
        }
        let mut text = format!("none of {} addresses was reached", failures.count);
        for (index, (address, error)) in failures.addresses.iter().enumerate() {
            let separator = if index == 0 { ": " } else { ", " };
            // A text takes everything.
            let _ = write!(text, "{separator}{address} ({error})");
        }
        Self::new(kind, text)
    }
}

#[cfg(test)]
mod tests;
