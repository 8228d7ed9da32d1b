//! Where connections come from.

use std::sync::Arc;
#[cfg(feature = "cluster")]
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use event_listener::Event;
use redis::aio::MultiplexedConnection;
#[cfg(feature = "cluster")]
use redis::cluster::{ClusterClient, ClusterClientBuilder};
#[cfg(feature = "cluster")]
use redis::cluster_async::ClusterConnection;
#[cfg(feature = "sentinel")]
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, PushInfo, PushKind, RedisResult, Value,
};

use crate::config::RedisConfig;
use crate::engine::Addresses;

/// How many requests a connection takes before the first is written: more than a node has under way. Those that found no
/// room would be let in later, in any order.
const WAITING: usize = 1 << 16;

/// Whether a connection was lost, and whether it brings answers. It is the identity of the connection, too.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lost(Arc<Loss>);

#[derive(Debug, Default)]
struct Loss {
    happened: AtomicBool,
    happens: Event,
    /// How often it has brought an answer.
    answers: AtomicU64,
}

impl Lost {
    pub(crate) fn get(&self) -> bool {
        self.0.happened.load(Ordering::Acquire)
    }

    pub(crate) fn set(&self) {
        self.0.happened.store(true, Ordering::Release);
        self.0.happens.notify(usize::MAX);
    }

    /// Records that the connection has brought an answer.
    pub(crate) fn answered(&self) {
        self.0.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many answers it has brought.
    pub(crate) fn answers(&self) -> u64 {
        self.0.answers.load(Ordering::Relaxed)
    }

    /// Waits until it is lost.
    pub(crate) async fn wait(&self) {
        loop {
            let happens = self.0.happens.listen();
            if self.get() {
                return;
            }
            happens.await;
        }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// A connection. Clones share it.
#[derive(Clone)]
pub(crate) enum Live {
    One(MultiplexedConnection),
    /// It replaces connections to its nodes by itself.
    #[cfg(feature = "cluster")]
    Cluster(ClusterConnection),
}

impl Live {
    /// Whether it is of no use any more once a call on it has had no answer in time. A cluster has other nodes.
    pub(crate) const fn ends_with_silence(&self) -> bool {
        match self {
            Self::One(_) => true,
            #[cfg(feature = "cluster")]
            Self::Cluster(_) => false,
        }
    }

    /// Sends a command and waits for its answer.
    pub(crate) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection) => command.query_async(connection).await,
            #[cfg(feature = "cluster")]
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

/// Where connections come from.
pub(crate) enum Source {
    Single(Box<Client>),
    #[cfg(feature = "sentinel")]
    Sentinel(Box<async_lock::Mutex<SentinelClient>>),
    #[cfg(feature = "cluster")]
    Cluster {
        client: Box<ClusterClient>,
        /// The nodes that were named, for news: each of them brings all.
        nodes: Vec<Client>,
        /// Which of them is asked next.
        next: AtomicUsize,
    },
}

/// Certificates for TLS, where the connection has it.
#[cfg(feature = "rustls")]
pub(crate) type Certificates = Option<redis::TlsCertificates>;
/// Certificates of a build without TLS: there are none.
#[cfg(not(feature = "rustls"))]
#[derive(Clone)]
pub(crate) struct Certificates;

impl Source {
    pub(crate) fn new(
        addresses: Addresses,
        config: &RedisConfig,
        certificates: Certificates,
    ) -> RedisResult<Self> {
        #[cfg(not(feature = "cluster"))]
        let _ = config;
        match addresses {
            Addresses::Single(info) => Ok(Self::Single(Box::new(client(*info, certificates)?))),
            #[cfg(feature = "sentinel")]
            Addresses::Sentinel { sentinels, master } => {
                let client = sentinel(sentinels, &master, certificates)?;
                Ok(Self::Sentinel(Box::new(async_lock::Mutex::new(client))))
            }
            #[cfg(feature = "cluster")]
            Addresses::Cluster(nodes) => {
                let single = |info: &ConnectionInfo| client(info.clone(), certificates.clone());
                let listening = nodes.iter().map(single).collect::<RedisResult<_>>()?;
                let client = Box::new(cluster(nodes, config, certificates)?);
                Ok(Self::Cluster { client, nodes: listening, next: AtomicUsize::new(0) })
            }
        }
    }

    /// Makes a connection, which says in `lost` when it ends.
    pub(crate) async fn connect(&self, lost: Lost) -> RedisResult<Live> {
        #[cfg(feature = "cluster")]
        if let Self::Cluster { client, .. } = self {
            return client.get_async_connection().await.map(Live::Cluster);
        }
        let hear = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                lost.set();
            }
        };
        self.listen(hear).await.map(Live::One)
    }

    /// Makes a connection to one server, which tells what it hears besides answers, and when it ends.
    pub(crate) async fn listen(
        &self,
        hear: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        // Each call has a timeout of ours, with a timer of our runtime.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(WAITING)
            .set_push_sender(move |push: PushInfo| -> Result<(), redis::aio::SendError> {
                hear(push);
                Ok(())
            });
        match self {
            Self::Single(client) => {
                client.get_multiplexed_async_connection_with_config(&config).await
            }
            #[cfg(feature = "sentinel")]
            Self::Sentinel(client) => {
                let mut client = client.lock().await;
                client.get_async_connection_with_config(&config).await
            }
            #[cfg(feature = "cluster")]
            Self::Cluster { nodes, next, .. } => {
                let turn = next.fetch_add(1, Ordering::Relaxed) % nodes.len().max(1);
                let Some(client) = nodes.get(turn) else {
                    return Err(
                        (redis::ErrorKind::InvalidClientConfig, "no nodes are named").into()
                    );
                };
                client.get_multiplexed_async_connection_with_config(&config).await
            }
        }
    }
}

#[cfg(feature = "rustls")]
fn client(info: ConnectionInfo, certificates: Certificates) -> RedisResult<Client> {
    match certificates {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

#[cfg(not(feature = "rustls"))]
fn client(info: ConnectionInfo, Certificates: Certificates) -> RedisResult<Client> {
    Client::open(info)
}

/// A client of sentinels.
#[cfg(feature = "sentinel")]
fn sentinel(
    sentinels: Vec<ConnectionInfo>,
    master: &ConnectionInfo,
    certificates: Certificates,
) -> RedisResult<SentinelClient> {
    #[cfg(not(feature = "rustls"))]
    let Certificates = certificates;
    let name = crate::engine::host(master.addr()).unwrap_or_default();
    let own = sentinels.first().map(|info| info.redis_settings().clone()).unwrap_or_default();
    let addresses: Vec<_> = sentinels.iter().map(|info| info.addr().clone()).collect();
    #[cfg(feature = "rustls")]
    let sentinels_have_tls = addresses.iter().all(has_tls);
    let settings = master.redis_settings();
    let mut builder = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master)?
        .set_client_to_redis_db(settings.db())
        .set_client_to_redis_protocol(settings.protocol())
        .set_client_to_redis_tcp_settings(master.tcp_settings().clone());
    if let Some(user) = settings.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = settings.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = own.username() {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = own.password() {
        builder = builder.set_client_to_sentinel_password(password);
    }
    #[cfg(feature = "rustls")]
    if let Some(certificates) = certificates {
        if has_tls(master.addr()) {
            builder = builder
                .set_client_to_redis_tls_mode(redis::TlsMode::Secure)
                .set_client_to_redis_certificates(certificates.clone());
        }
        if sentinels_have_tls {
            builder = builder.set_client_to_sentinel_certificates(certificates);
        }
    }
    builder.build()
}

#[cfg(all(feature = "sentinel", feature = "rustls"))]
fn has_tls(address: &redis::ConnectionAddr) -> bool {
    matches!(address, redis::ConnectionAddr::TcpTls { .. })
}

/// A client of a cluster.
#[cfg(feature = "cluster")]
fn cluster(
    nodes: Vec<ConnectionInfo>,
    config: &RedisConfig,
    certificates: Certificates,
) -> RedisResult<ClusterClient> {
    #[cfg(not(feature = "rustls"))]
    let Certificates = certificates;
    let builder = ClusterClientBuilder::new(nodes)
        .use_protocol(redis::ProtocolVersion::RESP3)
        // A node that hangs must not keep the others from being used: it is waited for twice, once
        // because it was named here, and once because the others name it.
        .connection_timeout(config.connect_timeout / 4)
        .response_timeout(config.timeout)
        // It follows moved slots in these attempts, within our timeout.
        .retries(8)
        .min_retry_wait(10)
        .max_retry_wait(500);
    #[cfg(feature = "rustls")]
    let builder = match certificates {
        Some(certificates) => builder.certs(certificates),
        None => builder,
    };
    builder.build()
}
