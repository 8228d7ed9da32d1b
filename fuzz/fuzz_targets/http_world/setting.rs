//! The settings of the server, with small bounds, so that short inputs meet them.

use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Arc;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use smol::Executor;
use wwr::server::{Advertised, Protocol};
use wwr_smol::server::{
    Limits, Origins, ProxyHeaders, Server, Service, TrustedProxies, parse_origin,
};

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
    pub(crate) fn max_message(&self) -> usize {
        let advertised = self.advertised().message_buffer_size();
        if self.flag(4) { advertised + usize::from(self.max_message) } else { 1 << 20 }
    }

    fn advertised(&self) -> Advertised {
        let advertised = Advertised::default();
        advertised.clone().message_buffer(u32::from(self.buffer) * 4).unwrap_or(advertised)
    }

    fn limits(&self) -> Limits {
        Limits {
            max_connections: if self.flag(6) { 1 } else { 2 },
            max_message_size: self.max_message(),
            max_signal_backlog: usize::from(self.waiting) * 8,
            ..Limits::default()
        }
    }

    fn origins(&self) -> Origins {
        match (self.flag(3), parse_origin("http://localhost")) {
            (true, Ok(origin)) if self.flag(0) => Origins::List(vec![origin]),
            (true, _) => Origins::Any,
            (false, _) => Origins::SameHost,
        }
    }

    pub(crate) fn service(&self, executor: Arc<Executor<'static>>) -> Service<App> {
        let mut builder = Server::builder(App)
            .executor(executor)
            .key_generator(Keys::new())
            .protocol(self.protocol)
            .protocol_at("/other", self.elsewhere)
            .advertise(self.advertised())
            .limits(self.limits())
            .concurrency(NonZeroU16::MIN.saturating_add(u16::from(self.concurrency) % 4))
            .origins(self.origins());
        if self.flag(7) {
            let proxies = ["10.0.0.1", "192.0.2.0/24"].map(|network| network.parse());
            let networks = proxies.into_iter().flatten().collect();
            let headers = ProxyHeaders::Either;
            builder = builder.trusted_proxies(TrustedProxies { networks, headers });
        }
        if let Some(most) = NonZeroUsize::new(usize::from(self.session_connections) % 3) {
            builder = builder.max_session_connections(most);
        }
        if self.flag(0) {
            builder = builder.strict();
        }
        if self.flag(1) {
            builder = builder.without_sessions();
        }
        if self.flag(2) {
            builder = builder.durable_sessions();
        }
        builder.headless().expect("the settings can work")
    }
}
