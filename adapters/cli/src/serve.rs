//! `wwr serve`: the playground, until a signal ends it.

mod certificates;
mod inspection;
mod metrics;
mod sockets;

use core::time::Duration;
use std::io;
use std::process::ExitCode;

use smol::future::or;
use wwr_redis::{Cluster, RedisConfig, RedisStore};
use wwr_smol::cluster::ClusterConfig;
use wwr_smol::inspect::{Hosts, Page};
use wwr_smol::server::{
    Builder, Config, ConnectionConfig, Expiry, IdleConnections, Origin, Origins, Server,
    ServerHandle, Sessions, Tls,
};
use wwr_smol::{FileStore, Listen, Smol, SocketAddress};

use crate::args::{
    AllowedOrigin, ClusterEngine, ListenOn, LogLevel, PageOn, PlaygroundPage, ServeArguments,
    SessionStorage, SpokenArguments, protocol_name,
};
use crate::playground::{self, Playground};
use crate::runtime::Tasks;
use crate::stop::Stop;
use crate::{environment, files, log, output, runtime, stderr};
use certificates::Renewal;
use sockets::Inherited;

/// How long sessions in memory are kept by default.
const MEMORY_KEEPS: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a server that has to end at once waits for a standard error that does not accept
/// anything.
const LOG_TIMEOUT: Duration = Duration::from_millis(100);

/// The longest time between two rounds that remove expired sessions.
const EXPIRY_EVERY: Duration = Duration::from_secs(3600);

pub(crate) fn run(arguments: &ServeArguments) -> io::Result<ExitCode> {
    let inherited = Inherited::take(arguments)?;
    log::start(&arguments.log, LogLevel::Info)?;
    files::raise_limit();
    let tasks = runtime::start(environment::threads()?)?;
    let served = smol::block_on(async {
        // From here on, a signal means a graceful shutdown.
        let mut stop = Stop::new()?;
        // Resolving a name, or a slow disk, may take time.
        let told_to_stop = async { stop.next().await.map(|_| None) };
        let Some(Listening { server, renewal, metrics, inspection }) =
            or(async { listen(arguments, inherited, &tasks).await.map(Some) }, told_to_stop)
                .await?
        else {
            return Ok(());
        };
        say_what_is_spoken(&arguments.spoken);
        let scheme = if renewal.is_some() { "wss" } else { "http" };
        if let Some(renewal) = renewal {
            tasks.spawn(renewal.run()).detach();
        }
        // Clients are served even if standard output is not read.
        let mut pages = playground_lines(arguments, scheme, server.local_addrs());
        pages.extend(metrics.iter().flat_map(metrics_lines));
        let handle = server.handle();
        if let Some(page) = metrics {
            metrics::serve(page, &handle, &tasks, &arguments.metrics_host)?;
        }
        if let Some(page) = inspection {
            pages.extend(inspection::serve(page, &handle, &tasks, &arguments.inspect_host)?);
        }
        tasks.spawn(advertise(scheme, server.local_addrs().to_vec(), pages)).detach();
        let running = async {
            server.run().await;
            Ok(())
        };
        or(running, stopped(stop, handle, arguments.shutdown_timeout)).await
    });
    log::end();
    served.map(|()| ExitCode::SUCCESS)
}

/// A server that listens, with what belongs to it.
struct Listening {
    server: Server<Playground>,
    /// What renews the certificates, if there are any.
    renewal: Option<Renewal>,
    metrics: Option<Page<Smol>>,
    inspection: Option<Page<Smol>>,
}

/// Listens for a page of operators, if it is wanted.
async fn page(
    on: Option<&PageOn>,
    argument: &str,
    tasks: &Tasks,
) -> io::Result<Option<Page<Smol>>> {
    let Some(on) = on else { return Ok(None) };
    let page = Page::bind(Smol::from(tasks.clone()), Listen::from(on.address())).await;
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("{argument} {}: {error}", on.address()))
    };
    page.map(Some).map_err(named)
}

/// Begins to listen.
async fn listen(
    arguments: &ServeArguments,
    inherited: Inherited,
    tasks: &Tasks,
) -> io::Result<Listening> {
    let metrics = page(arguments.metrics.as_ref(), "--metrics", tasks).await?;
    let inspection = page(arguments.inspect.as_ref(), "--inspect", tasks).await?;
    let mut builder = builder(arguments).await?.executor(tasks.clone());
    let mut renewal = None;
    if let (Some(certificate), Some(key)) = (&arguments.tls_cert, &arguments.tls_key) {
        let (certificate, key) = (certificate.clone(), key.clone());
        let tls = smol::unblock(|| Tls::from_pem_files(certificate, key)).await?;
        renewal = Some(Renewal::of(tls.clone())?);
        builder = builder.tls(tls);
    }
    let listened = match sockets::listen(arguments, inherited) {
        Ok(listen) => builder.listen(listen).await,
        Err(error) => Err(error),
    };
    match listened {
        Ok(server) => Ok(Listening { server, renewal, metrics, inspection }),
        Err(error) => {
            let on: Vec<_> = arguments.listen.iter().map(ListenOn::to_string).collect();
            Err(io::Error::new(error.kind(), format!("{}: {error}", on.join(", "))))
        }
    }
}

async fn builder(arguments: &ServeArguments) -> io::Result<Builder<Playground>> {
    let playground = Playground::new(playground_page(arguments)?);
    let builder = Server::builder(playground).config(config(arguments)?);
    if let Some(engine) = &arguments.cluster {
        return cluster(builder, engine, arguments).await;
    }
    Ok(match &arguments.sessions {
        SessionStorage::Memory | SessionStorage::Off => builder,
        SessionStorage::Directory(directory) => {
            let store = FileStore::open(directory).await.map_err(|error| with_cause(&error))?;
            builder.store(if arguments.durable { store.durable() } else { store })
        }
        SessionStorage::Redis(url) => {
            let url = match url {
                Some(url) => url.clone(),
                None => environment::redis("--sessions")?,
            };
            let mut config = RedisConfig::default();
            config.expire_after = arguments.expire_after;
            let store = RedisStore::<Smol>::connect(url.as_str(), config).await;
            builder.store(store.map_err(|error| with_cause(&error))?)
        }
    })
}

/// Makes the server a node of several.
async fn cluster(
    builder: Builder<Playground>,
    ClusterEngine(url): &ClusterEngine,
    arguments: &ServeArguments,
) -> io::Result<Builder<Playground>> {
    let url = match url {
        Some(url) => url.clone(),
        None => environment::redis("--cluster")?,
    };
    let mut config = RedisConfig::default();
    config.expire_after = arguments.expire_after;
    let engine = Cluster::<Smol>::connect(url.as_str(), config).await;
    let engine = engine.map_err(|error| with_cause(&error))?;
    let name = arguments.node.clone().unwrap_or_else(|| format!("wwr-{}", std::process::id()));
    Ok(builder.cluster(engine, ClusterConfig::new(name)))
}

/// The page for browsers. It may be reached by the names by which pages may connect: a page of another site can
/// have a name of its own stand for any address. The page itself may always connect, by those names.
fn playground_page(arguments: &ServeArguments) -> io::Result<Option<playground::Page>> {
    let directory = match &arguments.playground {
        Some(PlaygroundPage::Off) => return Ok(None),
        Some(PlaygroundPage::Directory(directory)) => Some(directory.as_path()),
        None => None,
    };
    let names = listed(&arguments.allow_origin).map(|origins| {
        let named = arguments.allow_origin.iter().filter_map(AllowedOrigin::host);
        let named = named.chain(arguments.playground_host.iter().cloned());
        let hosts = named.fold(Hosts::new(), |hosts, name| hosts.allow(&name));
        playground::PageNames { hosts, origins }
    });
    playground::Page::new(directory, names).map(Some)
}

/// The settings that follow from the arguments.
fn config(arguments: &ServeArguments) -> io::Result<Config> {
    let spoken = &arguments.spoken;
    let mut config = Config::default();
    config.connection = spoken.config();
    config.connection.max_message_size = max_message_size(arguments, &config.connection)?;
    config.connection.concurrency = arguments.concurrency;
    for (path, protocol) in &spoken.path {
        if config.paths.insert(path.clone(), *protocol).is_some() {
            return Err(invalid(format!("--path {path}= is given twice; a path speaks one thing")));
        }
    }
    config.origins = origins(arguments);
    config.trusted_proxies.networks = arguments.trusted_proxy.clone();
    config.trusted_proxies.headers = arguments.proxy_header.into();
    config.proxy_protocol = arguments.proxy_protocol;
    if matches!(arguments.sessions, SessionStorage::Off) {
        config.connection.sessions = Sessions::Disabled;
    }
    config.hub.sessions.durable = arguments.durable;
    config.hub.sessions.max_connections = arguments.max_session_connections;
    if arguments.close_idle {
        config.hub.idle_connections = IdleConnections::Close;
    }
    let in_memory = matches!(arguments.sessions, SessionStorage::Memory);
    let expire_after = arguments.expire_after.or(in_memory.then_some(MEMORY_KEEPS));
    // An engine removes them by itself.
    let expire_after = expire_after.filter(|_| arguments.cluster.is_none());
    config.hub.expiry = expire_after.map(|age| Expiry::new(age, age.min(EXPIRY_EVERY)));
    Ok(config)
}

/// The longest message that is read: as long as the advertised buffer at least.
fn max_message_size(arguments: &ServeArguments, config: &ConnectionConfig) -> io::Result<u32> {
    let (spoken, buffer) = (&arguments.spoken, config.advertised.message_buffer);
    let advertises = spoken.protocol.sends_accept_conf()
        || spoken.path.iter().any(|(_, protocol)| protocol.sends_accept_conf());
    match arguments.max_message_size {
        Some(most) if advertises && most.get() < buffer => Err(invalid(format!(
            "--max-message-size {most} is less than the message buffer of {buffer} bytes that \
             clients are told of; raise it, or lower --message-buffer"
        ))),
        Some(most) => Ok(most.get()),
        None => Ok(config.max_message_size.max(buffer)),
    }
}

fn invalid(error: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// Returns the error with the system's message.
fn with_cause(error: &dyn core::error::Error) -> io::Error {
    io::Error::other(match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    })
}

fn origins(arguments: &ServeArguments) -> Origins {
    match listed(&arguments.allow_origin) {
        None => Origins::Any,
        Some(list) if list.is_empty() => Origins::SameHost,
        Some(list) if has_page(arguments) => Origins::SameHostAnd(list),
        Some(list) => Origins::List(list),
    }
}

/// Returns the origins that may connect besides the default, or `None` if all may.
fn listed(allowed: &[AllowedOrigin]) -> Option<Vec<Origin>> {
    let one = |allowed: &AllowedOrigin| match allowed {
        AllowedOrigin::Any => None,
        AllowedOrigin::Origin(origin) => Some(origin.clone()),
    };
    allowed.iter().map(one).collect()
}

const fn has_page(arguments: &ServeArguments) -> bool {
    !matches!(arguments.playground, Some(PlaygroundPage::Off))
}

/// Logs the protocols and the advertised settings.
fn say_what_is_spoken(spoken: &SpokenArguments) {
    tracing::info!(
        protocol = protocol_name(spoken.protocol),
        read_timeout = ?spoken.read_timeout,
        message_buffer = spoken.message_buffer,
        sub_protocol = spoken.sub_protocol,
        strict = spoken.strict,
        "speaking"
    );
    for (path, protocol) in &spoken.path {
        tracing::info!(path, protocol = protocol_name(*protocol), "speaking on a path");
    }
}

/// Returns where a browser finds the playground.
fn playground_lines(
    arguments: &ServeArguments,
    scheme: &str,
    addresses: &[SocketAddress],
) -> Vec<String> {
    if !has_page(arguments) {
        return Vec::new();
    }
    let scheme = if scheme == "wss" { "https" } else { "http" };
    let addresses = addresses.iter().filter_map(SocketAddress::tcp);
    addresses.map(|address| format!("playground on {scheme}://{address}/\n")).collect()
}

/// Returns where the metrics are.
fn metrics_lines(page: &Page<Smol>) -> Vec<String> {
    page.addresses().map(|address| format!("metrics on http://{address}/metrics\n")).collect()
}

/// Prints that clients can connect, and where: one line for each address. Then the lines of the pages.
async fn advertise(scheme: &str, addresses: Vec<SocketAddress>, pages: Vec<String>) {
    let line = |address: &SocketAddress| match address.tcp() {
        Some(address) => format!("listening on {scheme}://{address}\n"),
        None => format!("listening on {address}\n"),
    };
    let lines: String = addresses.iter().map(line).chain(pages).collect();
    if let Err(error) = output::print(lines.into_bytes()).await {
        tracing::warn!(%error, ?addresses, "listening, but cannot print that on standard output");
    }
}

/// Shuts the server down at the first signal, and ends the process at the second. Never returns:
/// the server does when the shutdown ends.
async fn stopped(mut stop: Stop, handle: ServerHandle, within: Duration) -> io::Result<()> {
    stop.next().await?;
    let connections = handle.connection_count();
    tracing::info!(connections, within = ?within, "shutting down; a second signal ends at once");
    let again = async {
        let code = stop.next().await?;
        tracing::warn!("ended by a second signal");
        let _ = stderr::end(LOG_TIMEOUT);
        std::process::exit(code.into())
    };
    let shut_down = async {
        handle.shut_down(within).await;
        tracing::info!("shut down");
        std::future::pending().await
    };
    or(shut_down, again).await
}
