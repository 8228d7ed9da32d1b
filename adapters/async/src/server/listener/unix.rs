//! Unix sockets with a path: replacing stale ones, and removing them at the end.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

/// The file of a listening socket. Dropping it removes the file, unless another one is there by now.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// What tells a file from others that have its path: device and inode.
type Identity = (u64, u64);

/// How long other servers that begin to listen in the same directory may take.
const LOCK_ATTEMPTS: u32 = 200;

/// How long to wait between attempts to lock the directory.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// How many clients may wait to be accepted; the system may allow fewer.
const QUEUE: i32 = 4096;

/// Listens on a path. Connects to a socket that is already there, which replaces it only if no process
/// listens on it. Nobody can connect before the file has its mode.
///
/// # Errors
///
/// [`AddrInUse`](ErrorKind::AddrInUse) if a process listens there, and
/// [`AlreadyExists`](ErrorKind::AlreadyExists) if the file is no socket.
pub(super) fn bind(path: &Path, mode: Option<u32>) -> io::Result<(UnixListener, SocketFile)> {
    // Until this listens, another process would take the file for stale, and two that find a stale one
    // would each remove that of the other.
    let _lock = lock(path)?;
    let socket = socket()?;
    let address = SocketAddrUnix::new(path)?;
    match rustix::net::bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            remove_stale(path)?;
            rustix::net::bind(&socket, &address)?;
        }
        bound => bound?,
    }
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    if let Some(mode) = mode {
        set_mode(path, mode)?;
    }
    rustix::net::listen(&socket, QUEUE)?;
    ioctl_fionbio(&socket, true)?;
    Ok((socket.into(), file))
}

/// Locks the directory of a path against other servers that begin to listen there, until the result is
/// dropped. Without a right to read the directory, nothing is locked.
fn lock(path: &Path) -> io::Result<Option<OwnedFd>> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = match rustix::fs::open(directory, flags, Mode::empty()) {
        Err(Errno::ACCESS) => return Ok(None),
        opened => opened?,
    };
    for _ in 0..LOCK_ATTEMPTS {
        match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => thread::sleep(LOCK_PAUSE),
            // Not every file system has locks.
            _ => return Ok(Some(directory)),
        }
    }
    Err(in_use("another process keeps the directory locked"))
}

/// Sets the mode of a socket that was just bound, and of nothing else that may have its path by now.
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::os::fd::AsRawFd as _;

        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
        if !file.metadata()?.file_type().is_socket() {
            return Err(in_use("another file has this path by now"));
        }
        let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
        fs::set_permissions(descriptor, fs::Permissions::from_mode(mode))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let mode = Mode::from_raw_mode(mode as rustix::fs::RawMode);
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::chmodat(rustix::fs::CWD, path, mode, flags)?)
    }
}

/// Returns a socket that other programs do not inherit.
fn socket() -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    Ok(socket)
}

/// Removes the file of a socket on which nothing listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if !found.file_type().is_socket() {
        let what = "a file that is no socket has this path";
        return Err(io::Error::new(ErrorKind::AlreadyExists, what));
    }
    match connect(path) {
        Err(Errno::CONNREFUSED) => {}
        // A socket whose queue is full belongs to a process as well.
        Ok(()) | Err(Errno::AGAIN) => return Err(in_use("a process listens there")),
        Err(error) => return Err(in_use(&format!("cannot find out whether it is used: {error}"))),
    }
    // Another process may have replaced it meanwhile.
    if identity(path)? != (found.dev(), found.ino()) {
        return Err(in_use("another process has begun to listen there"));
    }
    fs::remove_file(path)
}

/// Connects without waiting.
fn connect(path: &Path) -> Result<(), Errno> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&socket, true)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
}

fn in_use(why: &str) -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, why)
}

/// Returns how the address of a socket is shown: its path, or an abstract name behind an at sign, as other
/// programs show it.
pub(super) fn name(address: &SocketAddr) -> PathBuf {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        #[cfg(target_os = "android")]
        use std::os::android::net::SocketAddrExt as _;
        #[cfg(target_os = "linux")]
        use std::os::linux::net::SocketAddrExt as _;
        if let Some(name) = address.as_abstract_name() {
            return format!("@{}", name.escape_ascii()).into();
        }
    }
    address.as_pathname().map(Path::to_owned).unwrap_or_default()
}

fn identity(path: &Path) -> io::Result<Identity> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove the unix socket");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_file_is_removed_at_the_end_and_a_stale_one_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let (listener, file) = bind(&path, Some(0o640)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        UnixStream::connect(&path).unwrap();
        // As if the process had been killed.
        std::mem::forget(file);
        drop(listener);
        let (_listener, file) = bind(&path, None).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_live_socket_and_other_files_stay() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let (_listener, _file) = bind(&path, None).unwrap();
        assert_eq!(bind(&path, None).unwrap_err().kind(), ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();

        let text = directory.path().join("text");
        fs::write(&text, "precious").unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&text, &link).unwrap();
        for path in [&text, &link] {
            assert_eq!(bind(path, None).unwrap_err().kind(), ErrorKind::AlreadyExists);
        }
        assert_eq!(fs::read_to_string(&text).unwrap(), "precious");
    }

    #[test]
    fn servers_that_find_a_stale_socket_at_once_do_not_remove_each_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        for _ in 0..50 {
            let (listener, file) = bind(&path, None).unwrap();
            // As if the process had been killed.
            std::mem::forget(file);
            drop(listener);
            let begin = std::sync::Barrier::new(4);
            let bound: Vec<_> = thread::scope(|scope| {
                let bind = || {
                    begin.wait();
                    bind(&path, None)
                };
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(bind)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            UnixStream::connect(&path).expect("the one that listens can be reached");
            let errors: Vec<_> = bound.iter().filter_map(|bound| bound.as_ref().err()).collect();
            assert_eq!(errors.len(), 3, "{errors:?}");
            assert!(errors.iter().all(|error| error.kind() == ErrorKind::AddrInUse), "{errors:?}");
        }
    }

    #[test]
    fn a_link_that_takes_the_place_of_the_socket_does_not_pass_on_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let (path, text) = (directory.path().join("link"), directory.path().join("text"));
        fs::write(&text, "private").unwrap();
        let before = fs::metadata(&text).unwrap().mode();
        std::os::unix::fs::symlink(&text, &path).unwrap();
        let _ = set_mode(&path, 0o777);
        assert_eq!(fs::metadata(&text).unwrap().mode(), before);
    }

    #[test]
    fn a_socket_of_another_process_at_the_same_path_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let (_old, file) = bind(&path, None).unwrap();
        // The inode of the old file is not used again while it has another name.
        fs::rename(&path, directory.path().join("kept")).unwrap();
        let (_new, _kept) = bind(&path, None).unwrap();
        drop(file);
        UnixStream::connect(&path).unwrap();
    }
}
