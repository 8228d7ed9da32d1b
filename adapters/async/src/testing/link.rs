//! A connection between two simulated hosts.

use std::collections::VecDeque;
use std::fmt;
use std::io::{Error, ErrorKind, Result};
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

use super::runtime::VirtualTimer;
use super::world::{State, World};
use crate::runtime::{Stream, Timer as _};

/// How many bytes are under way at most in each direction, as in the buffers of two sockets.
pub(super) const CAPACITY: usize = 64 * 1024;

/// The number of a connection.
pub(super) type LinkId = u64;

/// A connection. The host at side 0 has opened it.
pub(super) struct Link {
    pub(super) hosts: [String; 2],
    /// What the side of the same number sends.
    flows: [Flow; 2],
    /// The side that has broken the connection.
    reset_by: Option<usize>,
    /// Whether the end of the side was dropped.
    dropped: [bool; 2],
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// What is under way, and when it arrives.
    chunks: VecDeque<(Duration, VecDeque<u8>)>,
    bytes: usize,
    /// When the last of it arrives.
    last: Duration,
    /// When the end arrives, which comes after everything else.
    end: Option<Duration>,
    /// When the sender learns that nothing reads any more.
    unread: Option<Duration>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What a side sees of its connection.
enum Seen {
    Broken,
    /// Nothing gets through to this side.
    Held,
    Whole,
}

impl Link {
    pub(super) fn new(hosts: [String; 2]) -> Self {
        let flows = [Flow::default(), Flow::default()];
        Self { hosts, flows, reset_by: None, dropped: [false; 2] }
    }

    /// Breaks the connection at this host. Returns the wakers to call.
    pub(super) fn reset(&mut self, host: &str) -> Vec<Waker> {
        if let Some(side) = self.hosts.iter().position(|name| name == host)
            && self.reset_by.is_none()
        {
            self.reset_by = Some(side);
        }
        self.wakers()
    }

    /// Takes the wakers of all that wait.
    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        let take = |flow: &mut Flow| [flow.reader.take(), flow.writer.take()];
        self.flows.iter_mut().flat_map(take).flatten().collect()
    }
}

impl State {
    /// Returns the wakers of all that wait for connections of a host.
    pub(super) fn wakers_of(&mut self, host: &str) -> Vec<Waker> {
        let of_host = |link: &&mut Link| link.hosts.iter().any(|name| name == host);
        self.links.values_mut().filter(of_host).flat_map(Link::wakers).collect()
    }

    fn seen(&self, link: &Link, side: usize) -> Seen {
        let parted = self.is_parted(&link.hosts);
        match link.reset_by {
            Some(by) if by == side || !parted => Seen::Broken,
            _ if parted => Seen::Held,
            _ => Seen::Whole,
        }
    }
}

/// One end of a connection between two hosts of a [`Simulation`](super::Simulation). 64 KiB are under way at most in
/// each direction.
pub struct VirtualStream {
    world: Arc<World>,
    id: LinkId,
    side: usize,
    /// Ends when something arrives here.
    arrival: VirtualTimer,
    /// Ends when this side learns that nothing reads what it writes.
    departure: VirtualTimer,
}

impl VirtualStream {
    /// Returns both ends of a new connection.
    pub(super) fn pair(world: &Arc<World>, hosts: [String; 2]) -> [Self; 2] {
        let mut state = world.lock();
        let id = state.number();
        state.links.insert(id, Link::new(hosts));
        drop(state);
        [0, 1].map(|side| {
            let timer = || VirtualTimer::new(world.clone());
            Self { world: world.clone(), id, side, arrival: timer(), departure: timer() }
        })
    }

    /// Calls a function with the state, this connection, and what this side sees of it. Wakes and drops what it
    /// returns.
    fn with<T>(
        &self,
        call: impl FnOnce(&mut State, &mut Link, Seen) -> (T, Option<Waker>),
    ) -> Result<T> {
        let mut state = self.world.lock();
        // Taken out for the call, because this needs the state as well.
        let Some(mut link) = state.links.remove(&self.id) else {
            return Err(ErrorKind::NotConnected.into());
        };
        let seen = state.seen(&link, self.side);
        let (answer, waker) = call(&mut state, &mut link, seen);
        if link.dropped != [true; 2] {
            state.links.insert(self.id, link);
            drop(state);
        } else {
            drop(state);
            drop(link);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(answer)
    }

    /// Ends the direction in which this side writes. The peer learns it after all that was written before.
    fn finish(&self) -> Result<()> {
        let side = self.side;
        self.with(|state, link, _| {
            let arrives = state.now.saturating_add(state.latency(&link.hosts));
            let flow = &mut link.flows[side];
            let reader = match flow.end {
                Some(_) => None,
                None => {
                    flow.end = Some(flow.last.max(arrives));
                    flow.reader.take()
                }
            };
            ((), reader)
        })
    }
}

/// Waits, with a timer if something happens by itself.
fn wait<T>(timer: &mut VirtualTimer, until: Option<Duration>, cx: &mut Context<'_>) -> Poll<T> {
    timer.set_to(until);
    if timer.poll(cx).is_ready() {
        // Time does not pass while a task runs; so this is never reached, and harmless.
        cx.waker().wake_by_ref();
    }
    Poll::Pending
}

impl Stream for VirtualStream {
    fn set_nodelay(&self, _: bool) -> Result<()> {
        Ok(())
    }

    fn is_tcp(&self) -> bool {
        false
    }

    #[cfg(unix)]
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl AsyncRead for VirtualStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        let (side, mut old) = (self.side, None);
        let read = self.with(|state, link, seen| {
            let held = match seen {
                Seen::Broken => return (Ok(Err(ErrorKind::ConnectionReset.into())), None),
                Seen::Held => true,
                Seen::Whole => {
                    state.hosts.get(&link.hosts[side]).is_some_and(|reader| !reader.reads)
                }
            };
            let flow = &mut link.flows[1 - side];
            let next = flow.chunks.front().map(|(at, _)| *at).or(flow.end).filter(|_| !held);
            if next.is_none_or(|at| at > state.now) {
                old = flow.reader.replace(cx.waker().clone());
                return (Err(next), None);
            }
            let read = flow.read(buffer);
            // The waker of the writer is not dropped in here.
            (Ok(Ok(read)), if read > 0 { flow.writer.take() } else { None })
        });
        drop(old);
        match read? {
            Ok(read) => Poll::Ready(read),
            Err(next) => wait(&mut self.arrival, next, cx),
        }
    }
}

impl Flow {
    /// Moves what comes first into the buffer; nothing at the end.
    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let Some((_, chunk)) = self.chunks.front_mut() else { return 0 };
        let count = chunk.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(chunk.drain(..count)) {
            *to = from;
        }
        if chunk.is_empty() {
            self.chunks.pop_front();
        }
        self.bytes -= count;
        count
    }
}

impl AsyncWrite for VirtualStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        let (side, mut old) = (self.side, None);
        let written = self.with(|state, link, seen| {
            let latency = state.latency(&link.hosts);
            let flow = &mut link.flows[side];
            let unread = match seen {
                Seen::Broken => return (Ok(Err(ErrorKind::ConnectionReset.into())), None),
                Seen::Held => None,
                Seen::Whole => flow.unread,
            };
            if flow.end.is_some() || unread.is_some_and(|at| at <= state.now) {
                return (Ok(Err(Error::from(ErrorKind::BrokenPipe))), None);
            }
            let count = buffer.len().min(CAPACITY - flow.bytes);
            if count == 0 && !buffer.is_empty() {
                old = flow.writer.replace(cx.waker().clone());
                return (Err(unread), None);
            }
            if count > 0 {
                flow.last = flow.last.max(state.now.saturating_add(latency));
                flow.bytes += count;
                flow.chunks.push_back((flow.last, buffer[..count].iter().copied().collect()));
            }
            (Ok(Ok(count)), flow.reader.take())
        });
        drop(old);
        match written? {
            Ok(written) => Poll::Ready(written),
            Err(unread) => wait(&mut self.departure, unread, cx),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(self.finish())
    }
}

impl Drop for VirtualStream {
    fn drop(&mut self) {
        // An error means that the simulation has ended.
        let _ = self.finish();
        let side = self.side;
        let _ = self.with(|state, link, _| {
            let arrives = state.now.saturating_add(state.latency(&link.hosts));
            link.dropped[side] = true;
            link.flows[1 - side].unread = Some(arrives);
            ((), link.flows[1 - side].writer.take())
        });
    }
}

impl fmt::Debug for VirtualStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualStream").field("side", &self.side).finish_non_exhaustive()
    }
}
