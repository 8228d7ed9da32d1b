//! The arguments of `wwr serve`.

use core::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use core::time::Duration;
use std::path::PathBuf;

use clap::Args;
use wwr_smol::server::Network;

use super::LogArguments;
use super::spoken::SpokenArguments;
use super::value::{
    AllowedOrigin, ClusterEngine, ListenOn, PageOn, PlaygroundPage, ProxyHeader, SessionStorage,
    allowed_origin, concurrency, file_mode, positive_duration, positive_number,
};

/// Serve a playground for trying out clients
///
/// Prints `listening on http://ADDRESS` on standard output as soon as clients can connect, with TLS
/// `listening on wss://ADDRESS`, and for a unix socket `listening on unix:PATH`; then the addresses of the
/// page for browsers, and of the metrics and the inspection page, if they are wanted. Speaks all versions of
/// the protocol on one port, unless told otherwise. The playground is for trying things out, not for
/// the public: every client may signal to all others.
#[derive(Debug, Args)]
#[command(after_help = "\
Serves on one thread unless the environment variable SMOL_THREADS says how many, from 1 to 1024.

Requests, by name (counts and keys are replied as UTF-8):
  echo, or none  replies with the payload, in its encoding
  time           replies with the time of the server, RFC 3339 in UTC
  sleep          payload: milliseconds, up to 60000; replies with its payload after that time
  error          payload: CODE message; fails with this code and message, or with an internal
                 error if the code cannot be sent
  fail           fails with an internal error
  login          payload: a JSON object of up to 32 KiB, or nothing; creates a session with this
                 information and replies with its key; error SESSION_EXISTS if there is one
  logout         closes the session; replies with true, or with false if there was none
  whoami         replies with the session as JSON, or fails with NO_SESSION
  signal-me      sends the signal `signal-me` with the payload, in its encoding, then replies
  broadcast      sends the signal `broadcast` with the payload, in its encoding, to all clients,
                 the sender included; replies with their number, those of other nodes not included
  kick           payload: a session key; closes the session on all connections, which stay open;
                 replies with their number
  close          replies, then closes the connection
  anything else  fails with UNKNOWN_NAME
Payloads that make no sense fail with BAD_PAYLOAD. A signal named echo comes back, others are
ignored.

Examples:
  wwr serve --listen 127.0.0.1:0 --sessions ./sessions --expire-after 30days
  wwr serve --sessions redis://localhost --expire-after 30days
  wwr serve --cluster redis://localhost --node one
  wwr serve --allow-origin http://localhost:3000 --concurrency unlimited
  wwr serve --trusted-proxy 127.0.0.1 --proxy-header x-forwarded-for
  wwr serve --listen 0.0.0.0:7777 --trusted-proxy 10.0.0.0/8 --proxy-protocol
  wwr serve --listen 0.0.0.0:443 --tls-cert chain.pem --tls-key key.pem
  wwr serve --listen 127.0.0.1:7777 --listen unix:/run/wwr.sock --unix-mode 660
  wwr serve --protocol 1.4 --path /new=2.0 --read-timeout 30s --sub-protocol chat/1
  wwr serve --ping-after 5s --ping-timeout 5s
  wwr serve                    (then: open http://127.0.0.1:7777/ in a browser)
  wwr serve --metrics 9100     (then: curl http://127.0.0.1:9100/metrics)
  wwr serve --inspect 9200     (then: open the address that it prints, in a browser)
  wwr serve --log debug        (shows each connection and request)

Logs hold nothing up: if standard error is not read, lines are dropped, and how many is told there
when it is read again and at the end, or else on standard output.

Signals:
  SIGINT and SIGTERM shut down gracefully: requests that run may finish, for --shutdown-timeout;
  the second one ends the server at once.
  SIGHUP reads --tls-cert and --tls-key again. New connections have the new certificate, others stay.
  Without a signal, that happens within a minute. If it fails, the old certificate stays in use, and
  the log says why.

Exit codes:
  0    shut down
  2    called wrongly; or an address, the certificate, the store of sessions or the
       engine of the cluster cannot be used
  130  ended at once by a second signal, SIGINT
  143  ended at once by a second signal, SIGTERM")]
pub(crate) struct ServeArguments {
    /// Where to listen; may be repeated. An address: a name stands for all its addresses, port 0 lets
    /// the system choose one. `unix:PATH` for a unix socket, `unix:@NAME` for an abstract one (Linux).
    /// `systemd` for the sockets that systemd has opened (LISTEN_FDS)
    #[arg(long, value_name = "ADDRESS|unix:PATH|systemd", default_value = "127.0.0.1:7777")]
    pub(crate) listen: Vec<ListenOn>,
    /// Which users may connect to unix sockets, as an octal file mode such as 660 [default: as the
    /// umask says]
    #[arg(long, value_name = "MODE", value_parser = file_mode)]
    pub(crate) unix_mode: Option<u32>,
    /// Serve wss:// on all TCP addresses, with the certificate in this PEM file, which those follow that
    /// clients need to trust it. Unix sockets have no TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of the certificate, a PEM file without a password
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Where to store sessions: a directory, the URL of a Redis or Valkey engine, `memory` or `off` (no
    /// sessions at all). Every user of this machine can see arguments: `redis` takes the URL from the
    /// environment variable WWR_REDIS
    #[arg(long, value_name = "DIR|redis://HOST|memory|off", default_value = "memory")]
    pub(crate) sessions: SessionStorage,
    /// Be a node of several that share a Redis or Valkey engine and are one service: sessions, their limits and
    /// signals are those of all nodes. `redis` takes the URL from the environment variable WWR_REDIS
    #[arg(long, value_name = "redis://HOST", conflicts_with = "sessions")]
    pub(crate) cluster: Option<ClusterEngine>,
    /// The name of this node, for people [default: `wwr-` and the number of the process]
    #[arg(long, value_name = "NAME", requires = "cluster")]
    pub(crate) node: Option<String>,
    /// Store a session before its client hears of it, and make files reach the disk
    #[arg(long)]
    pub(crate) durable: bool,
    /// Remove sessions that no client has restored for this long, such as 30days [default: never,
    /// or 1day with sessions in memory]
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub(crate) expire_after: Option<Duration>,
    /// How many connections may share a session [default: any number]
    #[arg(long, value_name = "N", value_parser = positive_number::<NonZeroUsize>)]
    pub(crate) max_session_connections: Option<NonZeroUsize>,
    /// How many requests of one connection are handled at once: a number or `unlimited`
    #[arg(long, value_name = "N", default_value = "1", value_parser = concurrency)]
    pub(crate) concurrency: NonZeroU16,
    /// The longest message of a client; a client that sends a longer one is disconnected [default:
    /// 1048576, or the message buffer if that is larger]
    #[arg(long, value_name = "BYTES", value_parser = positive_number::<NonZeroU32>)]
    pub(crate) max_message_size: Option<NonZeroU32>,
    /// An origin whose pages may connect, such as https://example.com, `null` for pages without an address, or
    /// `any`; may be repeated. Pages of the same host may then only connect if there is a page for browsers
    /// (--playground), and by the names of that
    #[arg(long, value_name = "ORIGIN", value_parser = allowed_origin)]
    pub(crate) allow_origin: Vec<AllowedOrigin>,
    /// A proxy that is trusted to name its clients, by the headers Forwarded or X-Forwarded-For:
    /// its address, or a network such as 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "ADDRESS[/N]")]
    pub(crate) trusted_proxy: Vec<Network>,
    /// Which header of trusted proxies counts; `either` ignores both if both are present and differ
    #[arg(long, value_name = "HEADER", default_value = "either", requires = "trusted_proxy")]
    pub(crate) proxy_header: ProxyHeader,
    /// Trusted proxies begin with a header of the PROXY protocol, version 1 or 2, as balancers of TCP
    /// send it (HAProxy: send-proxy)
    #[arg(long, requires = "trusted_proxy")]
    pub(crate) proxy_protocol: bool,
    /// How long a graceful shutdown waits for running requests
    #[arg(long, value_name = "DURATION", default_value = "10s",
          value_parser = humantime::parse_duration)]
    pub(crate) shutdown_timeout: Duration,
    /// Close idle connections at once in a graceful shutdown, so that their clients connect to
    /// another server: for servers behind a load balancer. Otherwise they stay until no request
    /// runs any more, and new requests on them are refused
    #[arg(long)]
    pub(crate) close_idle: bool,
    /// The page for browsers at `/`, which shows what the playground does: `off`, or the directory of a client
    /// for it, as `.ci/web` builds one [default: on, with the client that the command was built with]
    #[arg(long, value_name = "DIR|off")]
    pub(crate) playground: Option<PlaygroundPage>,
    /// A name by which browsers may reach the page for browsers and connect from it, for example that of this
    /// host; may be repeated. Addresses, `localhost` and the hosts of --allow-origin always work
    #[arg(long, value_name = "HOST")]
    pub(crate) playground_host: Vec<String>,
    /// Show metrics for Prometheus at http://ADDRESS/metrics; a port alone is one of 127.0.0.1, port 0 lets
    /// the system choose one. Everybody who can connect there can read them
    #[arg(long, value_name = "ADDRESS|PORT")]
    pub(crate) metrics: Option<PageOn>,
    /// A name by which the page of --metrics may be read, for example that of this host; may be repeated.
    /// Addresses and `localhost` always work
    #[arg(long, value_name = "HOST", requires = "metrics")]
    pub(crate) metrics_host: Vec<String>,
    /// Show what the server does as a web page, and close connections there; ADDRESS as for --metrics. Prints
    /// the address of the page with a token, which everybody needs
    #[arg(long, value_name = "ADDRESS|PORT")]
    pub(crate) inspect: Option<PageOn>,
    /// A name by which browsers may reach the page of --inspect, for example through a proxy; may be repeated.
    /// Addresses and `localhost` always work
    #[arg(long, value_name = "HOST", requires = "inspect")]
    pub(crate) inspect_host: Vec<String>,
    #[command(flatten)]
    pub(crate) log: LogArguments,
    #[command(flatten)]
    pub(crate) spoken: SpokenArguments,
}
