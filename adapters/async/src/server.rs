//! A WebWire server: implement [`Handler`], build a [`Server`], run it.

mod ask;
mod body;
mod broadcast;
mod builder;
mod change;
mod config;
mod connection;
mod context;
mod counts;
mod detection;
#[cfg(test)]
pub(crate) mod echo;
mod edit;
mod endpoint;
mod forwarded;
mod groups;
mod handle;
mod handler;
mod http;
mod http_socket;
mod hub;
#[cfg(feature = "inspect")]
mod inspected;
mod listener;
mod local;
#[cfg(feature = "metrics")]
mod metrics;
mod origin;
#[cfg(feature = "inspect")]
pub(crate) mod recorder;
mod refusals;
mod router;
mod service;
mod slots;
mod slow_reader;
mod stats;
mod task;
pub(crate) mod throttle;
#[cfg(feature = "rustls")]
mod tls;
#[cfg(not(feature = "rustls"))]
mod tls {
    /// Without the feature `rustls`, there are no certificates.
    #[derive(Clone, Debug)]
    pub(super) enum Tls {}
}
#[cfg(feature = "tower")]
mod tower;

#[cfg(feature = "inspect")]
pub(crate) use listener::{Bound, bind};

pub use ask::AskError;
pub use body::{BodyError, RequestBody};
pub use broadcast::{Broadcast, Refused};
pub use builder::Builder;
pub use change::SessionChange;
pub use config::{Config, InvalidConfig, Limits};
pub use connection::{
    Connection, ConnectionInfo, Ended, SessionError, SignalError, TlsInfo, TlsVersion,
};
pub use context::{ConnectionOptions, offered_sub_protocols};
pub use edit::SessionEdit;
pub use forwarded::Forwarded;
pub use groups::Group;
pub use handle::{Connections, ServerHandle};
pub use handler::{Handler, Response};
pub use listener::Server;
pub use local::{Local, LocalHandler};
#[cfg(feature = "metrics")]
pub use metrics::Metrics;
pub use origin::parse_origin;
pub use router::{
    Call, CallKind, FromCall, IntoReply, InvalidRouter, Next, NoReply, RouteFn, Router, Routes,
    SessionOf, State, Unrouted,
};
pub use service::Service;
pub use stats::{
    ByDialect, ClusterStats, ConnectionStats, Load, RefusalStats, RequestStats, ServerStats,
    Traffic,
};
#[cfg(feature = "rustls")]
pub use tls::{Tls, TlsError};
#[cfg(feature = "tower")]
pub use tower::TowerService;
pub use wwr::SlowReader;
pub use wwr::names::Names;
pub use wwr::server::gate::{
    EndpointPath, InvalidNetwork, InvalidOrigin, InvalidPath, Network, Origin, Origins,
    ProxyHeaders, Refusal, TrustedProxies,
};
pub use wwr::server::{
    Advertised, CloseReason, ClosedBy, Config as ConnectionConfig, Expiry, FORMER_KEYS, Fate,
    GroupError, HubConfig, IdleConnections, JobCounters, MAX_GROUP_NAME, Misuse, Pings, Protocol,
    RequestError, SessionCounters, Sessions, StoreCounters,
};
pub use wwr::session::{HistoryConfig, OutcomesConfig, RegistryConfig, StoreFailed};
