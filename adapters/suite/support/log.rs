//! What a server writes to the log.

use std::fmt::{Debug, Write};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

use crate::adapter::Manual;
use crate::adapter::server::{Builder, Handler, ServerHandle};

/// A line of the log: its message, then its fields as `name=value`.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) text: String,
}

/// With a single subscriber in the process, `tracing` asks only that of the thread on which a line is
/// met first, and remembers the answer. A thread of another test has none.
static ANOTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// What was written.
#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Log(Mutex<Vec<Line>>);

/// Shuts the server down however the clients end.
struct Stop(ServerHandle);

impl Drop for Stop {
    fn drop(&mut self) {
        smol::block_on(self.0.shut_down(Duration::ZERO));
    }
}

/// Runs a server while the clients do what they do. Returns what it logs of its own accord.
pub(crate) fn logged<H: Handler>(
    builder: Builder<H>,
    clients: impl FnOnce(SocketAddr) + Send,
) -> Vec<Line> {
    let executor = Manual::new();
    let server = builder.executor(executor.runtime()).listen("127.0.0.1:0");
    let server = smol::block_on(server).unwrap();
    let (address, stop) = (server.local_addr(), Stop(server.handle()));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _stop = stop;
            clients(address);
        });
        captured(|| executor.run(server.run()))
    })
}

/// The same, as `tracing_subscriber` writes it at this level and above: the lines, with the spans that they are
/// in.
pub(crate) fn written<H: Handler>(
    level: Level,
    builder: Builder<H>,
    clients: impl FnOnce(SocketAddr, ServerHandle) + Send,
) -> Vec<String> {
    LazyLock::force(&ANOTHER);
    let text = Text::default();
    let writer = text.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(level)
        .with_writer(move || writer.clone())
        .finish();
    let executor = Manual::new();
    tracing::subscriber::with_default(subscriber, || {
        let server = builder.executor(executor.runtime()).listen("127.0.0.1:0");
        let server = smol::block_on(server).unwrap();
        let (address, handle) = (server.local_addr(), server.handle());
        let stop = Stop(handle.clone());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _stop = stop;
                clients(address, handle);
            });
            executor.run(server.run());
        });
    });
    let bytes = text.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

/// What is logged by what runs on this thread meanwhile.
pub(crate) fn captured(run: impl FnOnce()) -> Vec<Line> {
    LazyLock::force(&ANOTHER);
    let log = Arc::new(Log::default());
    tracing::subscriber::with_default(log.clone(), run);
    let lines = log.0.lock().unwrap();
    lines.clone()
}

impl Subscriber for Log {
    fn enabled(&self, about: &Metadata<'_>) -> bool {
        about.target().starts_with("wwr_")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let text = fields.message + &fields.rest;
        self.0.lock().unwrap().push(Line { level: *event.metadata().level(), text });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => write!(self.message, "{value:?}").unwrap(),
            name => write!(self.rest, " {name}={value:?}").unwrap(),
        }
    }
}
