//! What a server listens on.

use std::net::TcpListener;
#[cfg(unix)]
use std::os::unix::net::UnixListener;
#[cfg(unix)]
use std::path::{Path, PathBuf};

use crate::addresses::Addresses;
use crate::runtime::ListeningSocket;

/// What a server listens on: one thing or several. Made of
///
/// * what [`Addresses`] are made of, such as `"127.0.0.1:7777"` and `"localhost:7777"`;
/// * a listening socket of the standard library, TCP or unix: one that the service manager has opened
///   (systemd socket activation, with the crate `listenfd`), or one with options of your own, such as
///   `SO_REUSEPORT` (with the crate `socket2`), or a unix socket with an abstract name;
/// * the path of a unix socket: [`Listen::unix`];
/// * several of these: an array or a `Vec` of `Listen`, or [`collect`](Iterator::collect).
///
/// ```
/// use wwr_async::Listen;
///
/// # fn main() -> std::io::Result<()> {
/// let inherited = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let listen = Listen::from([
///     Listen::from("0.0.0.0:7777"),
///     Listen::from("127.0.0.1:7778").plain(),
///     Listen::from(inherited),
/// # #[cfg(unix)]
///     Listen::unix("/run/wwr.sock").mode(0o660),
/// ]);
/// # Ok(())
/// # }
/// ```
///
/// With TLS (the feature `rustls` and `Builder::tls` of a server), TCP sockets have it unless they are
/// [`plain`](Self::plain). Unix sockets never have: what is sent on them does not leave the machine. The mode
/// of their file says which users may connect. Sockets with abstract names have no mode: every process in
/// the network namespace may connect.
#[derive(Debug)]
pub struct Listen {
    pub(crate) all: Vec<Wanted>,
}

/// One thing to listen on.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) at: Place,
    /// Whether it has no TLS even if the server has.
    pub(crate) plain: bool,
}

/// Where to listen.
#[derive(Debug)]
pub(crate) enum Place {
    Addresses(Addresses),
    Socket(ListeningSocket),
    #[cfg(unix)]
    Path(PathBuf, Option<u32>),
}

impl Listen {
    /// A unix socket with this path. Its file is removed when the server ends. A file that a process
    /// has left behind that lives no more is replaced. It is an error if another process listens there,
    /// or if the file is no socket: nothing is removed then.
    ///
    /// The file belongs to the user of the process. Clients have to be allowed to write to it:
    /// [`mode`](Self::mode).
    #[cfg(unix)]
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self::at(Place::Path(path.as_ref().to_owned(), None))
    }

    /// Sets which users may connect to the [unix socket](Self::unix), as a file mode: `0o600` for the
    /// user of the process only, `0o660` for its group, `0o666` for everybody. Does nothing for other
    /// sockets. Default: as the umask of the process says, most often its own user only.
    #[cfg(unix)]
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        for wanted in &mut self.all {
            if let Place::Path(_, chosen) = &mut wanted.at {
                *chosen = Some(mode);
            }
        }
        self
    }

    /// Listens there without TLS, even if the server has TLS. For example
    /// for clients on the same machine.
    #[must_use]
    pub fn plain(mut self) -> Self {
        for wanted in &mut self.all {
            wanted.plain = true;
        }
        self
    }

    fn at(at: Place) -> Self {
        Self { all: vec![Wanted { at, plain: false }] }
    }
}

impl<T: Into<Addresses>> From<T> for Listen {
    fn from(addresses: T) -> Self {
        Self::at(Place::Addresses(addresses.into()))
    }
}

impl From<TcpListener> for Listen {
    fn from(listener: TcpListener) -> Self {
        ListeningSocket::Tcp(listener).into()
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listen {
    fn from(listener: UnixListener) -> Self {
        ListeningSocket::Unix(listener).into()
    }
}

impl From<ListeningSocket> for Listen {
    fn from(listener: ListeningSocket) -> Self {
        Self::at(Place::Socket(listener))
    }
}

impl<const N: usize> From<[Self; N]> for Listen {
    fn from(several: [Self; N]) -> Self {
        several.into_iter().collect()
    }
}

impl From<Vec<Self>> for Listen {
    fn from(several: Vec<Self>) -> Self {
        several.into_iter().collect()
    }
}

impl FromIterator<Self> for Listen {
    fn from_iter<I: IntoIterator<Item = Self>>(several: I) -> Self {
        Self { all: several.into_iter().flat_map(|listen| listen.all).collect() }
    }
}
