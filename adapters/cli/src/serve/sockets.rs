//! The sockets that `--listen` names.

use std::io;

use wwr_smol::Listen;

use crate::args::{ListenOn, ServeArguments};

/// The sockets that systemd has opened, if the arguments want them. Taken before there are threads: it
/// changes the environment.
#[derive(Debug)]
pub(super) struct Inherited(Option<Listen>);

impl Inherited {
    pub(super) fn take(arguments: &ServeArguments) -> io::Result<Self> {
        let wanted = arguments.listen.iter().filter(|on| matches!(on, ListenOn::Systemd)).count();
        match wanted {
            0 => Ok(Self(None)),
            1 => inherited().map(Some).map(Self).map_err(|error| {
                io::Error::new(error.kind(), format!("--listen systemd: {error}"))
            }),
            _ => Err(invalid(
                "--listen systemd is there twice; it stands for all sockets of systemd",
            )),
        }
    }
}

/// Returns what the server is to listen on.
pub(super) fn listen(arguments: &ServeArguments, inherited: Inherited) -> io::Result<Listen> {
    let (on, unix_mode) = (&arguments.listen, arguments.unix_mode);
    if unix_mode.is_some() && !on.iter().any(|one| matches!(one, ListenOn::Unix(_))) {
        return Err(invalid(
            "--unix-mode is for unix:PATH; sockets with an abstract name have no mode, and those of \
             systemd have its SocketMode=",
        ));
    }
    let mut inherited = inherited.0;
    on.iter().map(|one| listen_on(one, unix_mode, &mut inherited)).collect()
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(unix)]
fn listen_on(
    on: &ListenOn,
    unix_mode: Option<u32>,
    inherited: &mut Option<Listen>,
) -> io::Result<Listen> {
    match on {
        ListenOn::Address(address) => Ok(address.into()),
        ListenOn::Unix(path) => {
            let listen = Listen::unix(path);
            Ok(if let Some(mode) = unix_mode { listen.mode(mode) } else { listen })
        }
        ListenOn::Abstract(name) => abstract_name(name),
        ListenOn::Systemd => {
            inherited.take().ok_or_else(|| invalid("systemd has passed no sockets"))
        }
    }
}

#[cfg(not(unix))]
fn listen_on(on: &ListenOn, _: Option<u32>, _: &mut Option<Listen>) -> io::Result<Listen> {
    match on {
        ListenOn::Address(address) => Ok(address.into()),
        ListenOn::Unix(_) | ListenOn::Abstract(_) | ListenOn::Systemd => Err(unsupported()),
    }
}

#[cfg(not(unix))]
fn inherited() -> io::Result<Listen> {
    Err(unsupported())
}

#[cfg(not(target_os = "linux"))]
fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this system has no such sockets")
}

#[cfg(all(unix, not(target_os = "linux")))]
fn abstract_name(_: &str) -> io::Result<Listen> {
    Err(unsupported())
}

/// Listens on an abstract name.
#[cfg(target_os = "linux")]
fn abstract_name(name: &str) -> io::Result<Listen> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixListener};

    let bound = SocketAddr::from_abstract_name(name)
        .and_then(|address| UnixListener::bind_addr(&address))
        .map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on unix:@{name}: {error}"))
        })?;
    Ok(bound.into())
}

/// Takes the sockets that systemd has opened. Each is taken once.
#[cfg(unix)]
fn inherited() -> io::Result<Listen> {
    let mut sockets = listenfd::ListenFd::from_env();
    if sockets.len() == 0 {
        let error =
            "systemd has passed no sockets: the variables LISTEN_FDS and LISTEN_PID name none";
        return Err(io::Error::new(io::ErrorKind::NotFound, error));
    }
    let count = sockets.len();
    let listen = |index| {
        // A socket of another family is left for the second attempt.
        let listen = match sockets.take_tcp_listener(index) {
            Ok(listener) => listener.map(Listen::from),
            Err(_) => sockets.take_unix_listener(index)?.map(Listen::from),
        };
        listen.ok_or_else(|| io::Error::other("a socket of systemd is missing"))
    };
    (0..count).map(listen).collect()
}
