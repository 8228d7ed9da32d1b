//! Unix sockets with a path: replacing stale ones, and removing them at the end.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

/// The file of a listening socket. Dropping it removes the file, unless another one is there by now.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// What tells a file from others that have its path: device and inode.
type Identity = (u64, u64);

/// Listens on a path. Connects to a socket that is already there, which replaces it only if no process
/// listens on it.
///
/// # Errors
///
/// [`AddrInUse`](ErrorKind::AddrInUse) if a process listens there, and
/// [`AlreadyExists`](ErrorKind::AlreadyExists) if the file is no socket.
pub(super) fn bind(path: &Path, mode: Option<u32>) -> io::Result<(UnixListener, SocketFile)> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            remove_stale(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    listener.set_nonblocking(true)?;
    if let Some(mode) = mode {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok((listener, file))
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
