//! The servers that are compared.

use std::io;

use clap::ValueEnum;

use super::args::Args;
use super::{bare, event_loop, jsonrpc, webwire};
use crate::support::host::{Failure, Host};
use crate::support::process::{self, Process};
use crate::support::tls;
use crate::support::traffic::Protocol;

/// A server: what it speaks, on which runtime, with or without TLS. It is compared with the bare echo on
/// this runtime, which has TLS if it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    /// A bare echo on epoll, in as few system calls as there can be
    BareEpoll,
    /// The host of wwr-socket in its event loop
    WwrSocket,
    /// A bare echo by async-tungstenite, on smol
    BareSmol,
    /// The server of wwr-smol
    WwrSmol,
    /// The bare echo on smol, with TLS by futures-rustls
    BareSmolTls,
    /// The server of wwr-smol, with TLS
    WwrSmolTls,
    /// A bare echo by tokio-tungstenite, on tokio's `current_thread`
    BareTokio,
    /// The server of wwr-tokio, on `current_thread`
    WwrTokio,
    /// The server of jsonrpsee, on `current_thread`
    Jsonrpsee,
    /// The bare echo on `current_thread`, with TLS by tokio-rustls
    BareTokioTls,
    /// The server of wwr-tokio, on `current_thread`, with TLS
    WwrTokioTls,
    /// A bare echo by tokio-tungstenite, on tokio's `multi_thread`
    BareTokioMulti,
    /// The server of wwr-tokio, on `multi_thread`
    WwrTokioMulti,
    /// The server of jsonrpsee, on `multi_thread`
    JsonrpseeMulti,
}

/// What a server runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A loop of its own, on one thread.
    EventLoop,
    Runtime(Host),
}

impl System {
    const fn facts(self) -> (Protocol, Place) {
        let (protocol, host) = match self {
            Self::BareEpoll => return (Protocol::Echo, Place::EventLoop),
            Self::WwrSocket => return (Protocol::WebWire, Place::EventLoop),
            Self::BareSmol | Self::BareSmolTls => (Protocol::Echo, Host::Smol),
            Self::WwrSmol | Self::WwrSmolTls => (Protocol::WebWire, Host::Smol),
            Self::BareTokio | Self::BareTokioTls => (Protocol::Echo, Host::Tokio),
            Self::WwrTokio | Self::WwrTokioTls => (Protocol::WebWire, Host::Tokio),
            Self::Jsonrpsee => (Protocol::JsonRpc, Host::Tokio),
            Self::BareTokioMulti => (Protocol::Echo, Host::TokioMulti),
            Self::WwrTokioMulti => (Protocol::WebWire, Host::TokioMulti),
            Self::JsonrpseeMulti => (Protocol::JsonRpc, Host::TokioMulti),
        };
        (protocol, Place::Runtime(host))
    }

    const fn has_tls(self) -> bool {
        matches!(
            self,
            Self::BareSmolTls | Self::WwrSmolTls | Self::BareTokioTls | Self::WwrTokioTls
        )
    }

    /// Returns what `--system` calls it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) const fn protocol(self) -> Protocol {
        self.facts().0
    }

    /// Returns what it is compared with: the bare echo on the same runtime, with TLS if it has TLS.
    pub(crate) fn yardstick(self) -> Self {
        let is_it = |other: &&Self| {
            other.facts() == (Protocol::Echo, self.facts().1) && other.has_tls() == self.has_tls()
        };
        Self::value_variants().iter().find(is_it).copied().unwrap_or(self)
    }

    /// Starts it in a process of its own. The read buffer, in bytes, is that of a bare echo; the others
    /// have their own.
    pub(crate) fn start(self, args: &Args, read_buffer: u32) -> io::Result<Process> {
        let (read_buffer, workers) = (read_buffer.to_string(), args.workers.to_string());
        let (name, workers) = (self.name(), ["--workers", &workers]);
        Process::start(&[&["--serve", &name, "--read-buffer", &read_buffer], &workers[..]].concat())
    }

    /// Serves until the process ends.
    pub(crate) fn serve(self, args: &Args) -> Result<(), Failure> {
        process::end_with_parent();
        let (protocol, place) = self.facts();
        let host = match (place, protocol) {
            (Place::Runtime(host), _) => host,
            (Place::EventLoop, Protocol::WebWire) => return event_loop::serve(),
            (Place::EventLoop, _) => return event_loop::serve_bare(),
        };
        let workers = args.workers as usize;
        let tls = if self.has_tls() { Some(tls::server_config()?) } else { None };
        match (protocol, host) {
            (Protocol::Echo, Host::Smol) => bare::serve_on_smol(args.read_buffer, tls),
            (Protocol::Echo, _) => {
                bare::serve_on_tokio(&host.tokio(workers)?, args.read_buffer, tls)
            }
            (Protocol::WebWire, _) => webwire::serve(host, workers, tls),
            (Protocol::JsonRpc, _) => jsonrpc::serve(&host.tokio(workers)?),
        }
    }
}
