//! What `tracing` is told: a span for each connection, an event for each request.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::adapter::server::Server;
use crate::adapter::{Manual, Runtime as _};
use crate::suite::support::app::App;
use crate::suite::support::log::another_subscriber;
use crate::suite::support::message::{INTERNAL, answer, ask, error, special};
use crate::suite::support::peer::Peer;

/// The spans and the events of requests, each event with the number of the span that it is in.
#[derive(Default)]
struct Trace {
    level: Option<Level>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    spans: Vec<String>,
    entered: Vec<u64>,
    requests: Vec<(Option<u64>, String)>,
}

#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Trace {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.target().starts_with("wwr_") && self.level.is_some_and(|level| *about.level() <= level)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        let mut told = self.told.lock().unwrap();
        told.spans.push(fields.0);
        Id::from_u64(told.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.told.lock().unwrap().spans[span.into_u64() as usize - 1] += &fields.0;
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() == "wwr_async::request" {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let mut told = self.told.lock().unwrap();
            let within = told.entered.last().copied();
            told.requests.push((within, fields.0));
        }
    }

    fn enter(&self, span: &Id) {
        self.told.lock().unwrap().entered.push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        assert_eq!(self.told.lock().unwrap().entered.pop(), Some(span.into_u64()));
    }

    fn current_span(&self) -> tracing_core::span::Current {
        let told = self.told.lock().unwrap();
        match (told.entered.last(), CALLSITE.get()) {
            (Some(id), Some(metadata)) => tracing_core::span::Current::new(Id::from_u64(*id), metadata),
            _ => tracing_core::span::Current::none(),
        }
    }
}
