//! The arguments of `wwr serve` about versions and pings.

use core::time::Duration;

use clap::Args;
use wwr_smol::server::{ConnectionConfig, Pings, Protocol};

use super::value::{message_buffer, path_protocol, ping_after, ping_time, protocol, read_timeout};

/// What a server speaks.
#[derive(Debug, Args)]
#[command(next_help_heading = "Protocol")]
pub(crate) struct SpokenArguments {
    /// Versions to speak: `any` of 1.4, 1.5 and 2.0, or one of them. The preflight of `any` names
    /// 1.4; that of `any-as-1.5` names 1.5, for 1.5 clients that refuse anything else
    #[arg(long, value_name = "VERSION", default_value = "any", value_parser = protocol)]
    pub(crate) protocol: Protocol,
    /// Speak another protocol on a path, as in `/new=2.0`; may be repeated
    #[arg(long, value_name = "PATH=VERSION", value_parser = path_protocol)]
    pub(crate) path: Vec<(String, Protocol)>,
    /// How long a client that sends heartbeats may be silent; advertised to 1.5 and 2.0 clients
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = read_timeout)]
    pub(crate) read_timeout: Duration,
    /// The longest message to and from 2.0 clients; advertised to them, and some insist on 8192
    #[arg(long, value_name = "BYTES", default_value = "8192", value_parser = message_buffer)]
    pub(crate) message_buffer: u32,
    /// The name of the application's own protocol; 2.0 clients have to be set to the same [default:
    /// no name; 2.0 clients must not have one either]
    #[arg(long, value_name = "NAME")]
    pub(crate) sub_protocol: Option<String>,
    /// Disconnect 2.0 clients for text, unreadable messages and messages longer than the buffer
    #[arg(long)]
    pub(crate) strict: bool,
    /// Do not speak wwr.1 with clients of this project; they are then served like all others
    #[arg(long)]
    pub(crate) no_wwr1: bool,
    /// Ping a client that sends no heartbeats after this much silence; `off`: never
    #[arg(long, value_name = "DURATION|off", default_value = "30s", value_parser = ping_after)]
    pub(crate) ping_after: PingAfter,
    /// How long a client that was pinged may stay silent before it is disconnected
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = ping_time)]
    pub(crate) ping_timeout: Duration,
}

/// The silence after which pings are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PingAfter {
    Off,
    Silence(Duration),
}

impl SpokenArguments {
    /// The settings of connections that follow from that.
    pub(crate) fn config(&self) -> ConnectionConfig {
        let mut config = ConnectionConfig::default();
        config.protocol = self.protocol;
        config.advertised.read_timeout = self.read_timeout;
        config.advertised.message_buffer = self.message_buffer;
        config.advertised.sub_protocol = self.sub_protocol.clone().map(Into::into);
        config.strict = self.strict;
        config.wwr1 = !self.no_wwr1;
        config.pings = match self.ping_after {
            PingAfter::Off => None,
            PingAfter::Silence(after) => Some(Pings::new(after, self.ping_timeout)),
        };
        config
    }
}
