//! The arguments about the way to a server: TLS, proxies, unix sockets, redirects.

use core::fmt::Display;
use core::time::Duration;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use clap::Args;
#[cfg(unix)]
use wwr_smol::client::UnixSocket;
use wwr_smol::client::{Builder, Config, EnvironmentProxies, InvalidTls, Proxy, ServerUrl, Tls};

use super::url::Hidden;
use crate::stderr;

/// The most bytes of a file with certificates or a key. The roots of a system have less than a tenth.
const MOST: u64 = 4 << 20;

/// The way to a server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Way to the server")]
pub(crate) struct ReachArguments {
    /// For wss://, trust the root certificates in this PEM file, and not those of the system
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    cacert: Option<PathBuf>,
    /// Show the server this certificate, a PEM file, if it wants one
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The key of the certificate, a PEM file [default: that of --cert]
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Do not verify the certificate of the server: everybody on the way can read and change
    /// what is sent
    #[arg(long)]
    insecure: bool,
    /// Connect through a proxy, http://HOST:PORT or socks5://HOST:PORT, perhaps with USER:PASSWORD@
    /// before HOST. By default http_proxy, https_proxy, all_proxy and no_proxy count, as for curl
    #[arg(long, value_name = "URL", value_parser = Hidden::<Proxy>::default())]
    proxy: Option<Proxy>,
    /// Connect directly, even if the environment names a proxy
    #[arg(long, conflicts_with = "proxy")]
    no_proxy: bool,
    /// Connect to a unix socket; the URL still counts for TLS and the header Host
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", conflicts_with_all = ["proxy", "no_proxy"])]
    unix_socket: Option<PathBuf>,
    /// Follow so many redirects of each HTTP request
    #[arg(long, value_name = "N", default_value = "0")]
    max_redirects: u32,
}

/// The way to a server, with all that has to be read for it.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    tls: Tls,
    route: Route,
    max_redirects: u32,
}

/// How to get a byte stream.
#[derive(Clone, Debug)]
enum Route {
    Direct,
    Proxy(Proxy),
    Environment(EnvironmentProxies),
    #[cfg(unix)]
    Unix(UnixSocket),
}

impl ReachArguments {
    /// Reads the files, within this time, and the environment. Says so if servers are not verified.
    pub(crate) fn prepare(&self, url: &ServerUrl, within: Duration) -> io::Result<Reach> {
        let until = Instant::now().checked_add(within);
        let read = |option, file| read(option, file, until);
        let mut tls = match &self.cacert {
            Some(file) => Tls::roots_pem(&read("--cacert", file)?)
                .map_err(|error| invalid("--cacert", file, &error))?,
            None if self.insecure => {
                stderr::say(
                    "wwr: --insecure: the certificate of the server is not verified; everybody on \
                     the way can read and change what is sent",
                );
                Tls::without_verification()
            }
            None => Tls::system_roots(),
        };
        if let Some(chain) = &self.cert {
            let (option, key) = match &self.key {
                Some(key) => ("--key", key),
                None => ("--cert", chain),
            };
            let identity = tls.with_identity_pem(&read("--cert", chain)?, &read(option, key)?);
            tls = identity.map_err(|error| match error {
                InvalidTls::Missing { what: "client certificate" }
                | InvalidTls::Pem { what: "client certificate", .. } => {
                    invalid("--cert", chain, &error)
                }
                error => invalid(option, key, &error),
            })?;
        }
        Ok(Reach { tls, route: self.route(url)?, max_redirects: self.max_redirects })
    }

    fn route(&self, url: &ServerUrl) -> io::Result<Route> {
        #[cfg(unix)]
        if let Some(path) = &self.unix_socket {
            return Ok(Route::Unix(UnixSocket::new(path)));
        }
        if let Some(proxy) = &self.proxy {
            return Ok(Route::Proxy(proxy.clone()));
        }
        if self.no_proxy {
            return Ok(Route::Direct);
        }
        let proxies = EnvironmentProxies::read();
        let checked = proxies.for_url(url).map(drop);
        checked.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Route::Environment(proxies))
    }
}

impl Reach {
    /// Begins to set up a client that goes this way.
    pub(crate) fn builder(&self, url: &ServerUrl, mut config: Config) -> Builder {
        config.tls = self.tls.clone();
        config.max_redirects = self.max_redirects;
        let builder = Builder::new(url.clone()).config(config);
        match self.route.clone() {
            Route::Direct => builder,
            Route::Proxy(proxy) => builder.dial(proxy),
            Route::Environment(proxies) => builder.dial(proxies),
            #[cfg(unix)]
            Route::Unix(socket) => builder.dial(socket),
        }
    }
}

/// Reads a file, which may be a pipe that has no end.
fn read(option: &str, file: &Path, until: Option<Instant>) -> io::Result<Vec<u8>> {
    let (read, bytes) = mpsc::channel();
    let path = file.to_owned();
    // If it does not come to its end, the process does without it.
    let reader = thread::Builder::new().name("read".into()).spawn(move || {
        let mut bytes = Vec::new();
        let opened = File::open(path);
        let length = opened.and_then(|opened| opened.take(MOST + 1).read_to_end(&mut bytes));
        let _ = read.send(length.map(|_| bytes));
    });
    reader.map_err(|error| invalid(option, file, &error))?;
    let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
    match bytes.recv_timeout(left) {
        Ok(Ok(bytes)) if bytes.len() as u64 > MOST => Err(invalid(option, file, &"it is too long")),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(invalid(option, file, &error)),
        Err(_) => Err(invalid(option, file, &"it did not come to its end in time")),
    }
}

fn invalid(option: &str, file: &Path, error: &dyn Display) -> io::Error {
    let message = format!("{option} {}: {error}", file.display());
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
