//! What happens step by step between clients and a server, to the millisecond: scripts with exact
//! expectations.

mod connections;
mod liveness;
mod requests;
mod sessions;
mod wwr1;

use std::num::NonZeroUsize;
use std::time::Duration;

use wwr::server::{Config, HubConfig, IdleConnections};
use wwr_world::{Script, with};

const SECOND: Duration = Duration::from_secs(1);

/// The default settings, but for `wwr.1`, which has scenarios of its own.
fn config() -> Config {
    with(Config::default(), |config| config.wwr1 = false)
}

/// By the default settings, but for idle connections: a shutdown closes them at once.
fn calm() -> Script {
    Script::new(config(), hub())
}

fn hub() -> HubConfig {
    with(HubConfig::default(), |hub| hub.idle_connections = IdleConnections::Close)
}

/// As [`hub`], with a limit of connections for each session.
fn limited(max_connections: usize) -> HubConfig {
    let max_connections = NonZeroUsize::new(max_connections);
    with(hub(), |hub| hub.sessions.max_connections = max_connections)
}
