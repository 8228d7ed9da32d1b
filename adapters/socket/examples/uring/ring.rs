//! io_uring, so that it can be used safely. What is unsafe about it is that the system uses a buffer and a file
//! while the program goes on. Here they belong to the operation, and nobody has them until it is done.

use std::io::{Error, Result};
use std::mem;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::ptr::null_mut;
use std::rc::Rc;
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};
use libc::{EBUSY, EINTR, ETIME, MSG_DONTWAIT, MSG_NOSIGNAL, SOCK_CLOEXEC};
use slab::Slab;
use wwr_socket::server::SocketId;

/// How many operations are handed over at once.
const ENTRIES: u32 = 256;

pub(crate) struct Ring {
    ring: IoUring,
    /// What is under way, with its buffer, and with its file, so that it stays open.
    running: Slab<(What, Vec<u8>, Rc<dyn AsRawFd>)>,
}

/// What the system is to do.
#[derive(Clone, Copy)]
pub(crate) enum What {
    Accept,
    /// Fill the buffer, at least in part.
    Receive(SocketId),
    /// Take something of the buffer, or fail at once if that cannot be done now.
    Send(SocketId),
    /// Take something of the buffer as soon as that can be done.
    SendLater(SocketId),
}

/// What the system has done.
pub(crate) enum Done {
    Accepted(Result<TcpStream>),
    /// So many bytes of the buffer were filled; none at the end.
    Received(SocketId, Result<(Vec<u8>, usize)>),
    Sent(SocketId, Result<usize>),
}

impl Ring {
    pub(crate) fn new() -> Result<Self> {
        let needed = "needs Linux 5.11, sysctl kernel.io_uring_disabled = 0, and a container \
                      that allows io_uring_setup";
        let failed = |error: Error| Error::new(error.kind(), format!("{error}: {needed}"));
        let ring = IoUring::new(ENTRIES).map_err(failed)?;
        if !ring.params().is_feature_ext_arg() {
            return Err(Error::other(needed));
        }
        Ok(Self { ring, running: Slab::new() })
    }

    /// Has something done with a file.
    pub(crate) fn start(
        &mut self,
        what: What,
        file: &Rc<impl AsRawFd + 'static>,
        buffer: Vec<u8>,
    ) -> Result<()> {
        let (fd, key) = (Fd(file.as_raw_fd()), self.running.insert((what, buffer, file.clone())));
        let buffer = &mut self.running[key].1;
        let (start, length) = (buffer.as_mut_ptr(), buffer.len() as u32);
        let send = |flags| opcode::Send::new(fd, start, length).flags(MSG_NOSIGNAL | flags);
        let entry = match what {
            What::Accept => {
                opcode::Accept::new(fd, null_mut(), null_mut()).flags(SOCK_CLOEXEC).build()
            }
            What::Receive(_) => opcode::Recv::new(fd, start, length).build(),
            What::Send(_) => send(MSG_DONTWAIT).build(),
            What::SendLater(_) => send(0).build(),
        };
        let entry = entry.user_data(key as u64);
        // SAFETY: the file stays open and the buffer where it is as long as the operation is in `running`.
        // `wait` takes it out when the system has done it, and nobody else does; dropping the ring leaks it.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.ring.submit()?;
        }
        Ok(())
    }

    /// Hands over what was started, and waits until something is done, but not longer than that.
    pub(crate) fn wait(&mut self, most: Option<Duration>) -> Result<Vec<Done>> {
        let most = most.map(Timespec::from);
        let args = most.as_ref().map_or(SubmitArgs::new(), |t| SubmitArgs::new().timespec(t));
        let waited = self.ring.submitter().submit_with_args(1, &args);
        match waited.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) | Err((Some(ETIME | EINTR | EBUSY), _)) => {}
            Err((_, error)) => return Err(error),
        }
        let running = &mut self.running;
        let done = self.ring.completion().map(|entry| {
            let (what, buffer, _) = running.remove(entry.user_data() as usize);
            let failed = |_| Error::from_raw_os_error(-entry.result());
            let result = usize::try_from(entry.result()).map_err(failed);
            match what {
                // SAFETY: the system has just made this file for us, and nobody else knows of it.
                What::Accept => Done::Accepted(
                    result.map(|file| unsafe { TcpStream::from_raw_fd(file as RawFd) }),
                ),
                What::Receive(id) => Done::Received(id, result.map(|length| (buffer, length))),
                What::Send(id) | What::SendLater(id) => Done::Sent(id, result),
            }
        });
        Ok(done.collect())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The system may still use them.
        mem::forget(mem::take(&mut self.running));
    }
}
