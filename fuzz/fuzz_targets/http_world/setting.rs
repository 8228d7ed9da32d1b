//! The settings of the server, with small bounds, so that short inputs meet them.

use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Arc;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use smol::Executor;
use wwr::server::{Advertised, Protocol};
use wwr_smol::server::{Config, Origins, ProxyHeaders, Server, Service, Sessions, parse_origin};

use super::app::{App, Keys};

#[derive(Arbitrary, Debug)]
pub(crate) struct Setting {
    protocol: Protocol,
    elsewhere: Protocol,
    flags: u8,
    concurrency: u8,
    session_connections: u8,
    buffer: u8,
    max_message: u8,
    waiting: u8,
    reads: u8,
}

impl Setting {
    fn flag(&self, number: u8) -> bool {
        self.flags & 1 << number != 0
    }

    /// How many bytes the clients take before they have sent all.
    pub(crate) fn reads(&self) -> usize {
        if self.flag(5) { usize::from(self.reads) * 4 } else { usize::MAX }
    }

    /// How long messages of clients may be: no less than what is advertised.
    pub(crate) fn max_message(&self) -> u32 {
        if self.flag(4) { self.message_buffer() + u32::from(self.max_message) } else { 1 << 20 }
    }

    fn message_buffer(&self) -> u32 {
        (u32::from(self.buffer) * 4).max(Advertised::MIN_MESSAGE_BUFFER)
    }

    fn origins(&self) -> Origins {
        match (self.flag(3), parse_origin("http://localhost")) {
            (true, Ok(origin)) if self.flag(0) => Origins::List(vec![origin]),
            (true, _) => Origins::Any,
            (false, _) => Origins::SameHost,
        }
    }

    pub(crate) fn service(&self, executor: Arc<Executor<'static>>) -> Service<App> {
        let mut config = Config::default();
        config.connection.protocol = self.protocol;
        config.paths.insert("/other".into(), self.elsewhere);
        config.connection.advertised.message_buffer = self.message_buffer();
        config.connection.max_message_size = self.max_message();
        config.hub.max_connections = if self.flag(6) { 1 } else { 2 };
        config.limits.max_signal_backlog = usize::from(self.waiting) * 8;
        config.connection.concurrency =
            NonZeroU16::MIN.saturating_add(u16::from(self.concurrency) % 4);
        config.origins = self.origins();
        if self.flag(7) {
            let proxies = ["10.0.0.1", "192.0.2.0/24"].map(|network| network.parse());
            config.trusted_proxies.networks = proxies.into_iter().flatten().collect();
            config.trusted_proxies.headers = ProxyHeaders::Either;
        }
        config.hub.sessions.max_connections =
            NonZeroUsize::new(usize::from(self.session_connections) % 3);
        config.connection.strict = self.flag(0);
        if self.flag(1) {
            config.connection.sessions = Sessions::Disabled;
        }
        config.hub.sessions.durable = self.flag(2);
        let builder = Server::builder(App).executor(executor).key_generator(Keys::new());
        builder.config(config).headless().expect("the settings can work")
    }
}
