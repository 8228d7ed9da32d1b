//! A server, and clients on streams in memory.

mod app;
mod duplex;
pub(crate) mod script;
pub(crate) mod setting;
mod transcript;

use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::Executor;
use wwr_smol::server::Service;

use app::App;
use duplex::Duplex;
use script::Pieces;
use setting::Setting;

/// How often the executor runs a task before it is taken for one that never rests.
const TICKS: usize = 1_000_000;

/// What a byte of a client may cause at most: a request of eleven bytes may be answered with a
/// signal, a session and a reply, and the close frame comes once.
const GAIN: usize = 64;

/// What a connection may be sent without having said much.
const BASE: usize = 4096;

pub(crate) struct World {
    executor: Arc<Executor<'static>>,
    service: Service<App>,
    /// How many bytes a client takes before it has sent all.
    reads: usize,
}

impl World {
    pub(crate) fn new(setting: &Setting) -> Self {
        let executor = Arc::new(Executor::new());
        let service = setting.service(executor.clone());
        Self { executor, service, reads: setting.reads() }
    }

    /// Runs whatever can run.
    fn run(&self) {
        let mut ticks = 0;
        while self.executor.try_tick() {
            ticks += 1;
            assert!(ticks < TICKS, "it never rests");
        }
    }

    /// A client of the address that its number gives it.
    fn connect(&self, number: u8) -> Duplex {
        let duplex = Duplex::new(self.reads);
        let remote = SocketAddr::from((Ipv4Addr::new(10, 0, 0, number), 1000));
        let (service, stream) = (self.service.clone(), duplex.clone());
        let serve = async move {
            let answer = service_fn(|request| {
                let service = service.clone();
                async move { Ok::<_, Infallible>(service.answer(request, remote).await) }
            });
            // A client that does not speak HTTP is refused.
            let _ = http1::Builder::new().serve_connection(stream, answer).with_upgrades().await;
        };
        self.executor.spawn(serve).detach();
        duplex
    }

    /// The clients send in turn, piece by piece, and then hang up.
    pub(crate) fn play(&mut self, scripts: &[Pieces; 2]) {
        let clients = [self.connect(1), self.connect(2)];
        let longest = scripts.iter().map(Pieces::len).max().unwrap_or_default();
        for at in 0..longest {
            for (client, script) in clients.iter().zip(scripts) {
                if let Some(piece) = script.get(at) {
                    client.send(piece);
                    self.run();
                }
            }
        }
        let sent: usize = scripts.iter().map(Pieces::bytes).sum();
        for client in &clients {
            client.read_all();
            self.run();
            client.hang_up();
            self.run();
            // Signals go to all: each counts what both have sent.
            let received = client.received();
            assert!(received.len() <= BASE + GAIN * sent, "{} for {sent}", received.len());
            transcript::check(&received);
        }
        let handle = self.service.handle();
        assert_eq!((handle.connection_count(), handle.active_sessions()), (0, 0));
    }

    /// Whatever the others did, a client that comes after them is admitted, and served if it may
    /// send as much.
    pub(crate) fn serve_another(&self, max_message: usize) {
        let client = self.connect(3);
        client.read_all();
        let (id, request) = script::last_request();
        client.send(&script::open_and_send(&request));
        self.run();
        let served = transcript::is_answered(&client.received(), id);
        assert!(served || request.len() > max_message, "it is not served");
        client.hang_up();
        self.run();
        assert_eq!(self.service.handle().connection_count(), 0);
    }

    /// A shutdown has nothing to wait for, and without the server there is nothing left to run.
    pub(crate) fn finish(self) {
        self.shut_down();
        let Self { executor, service, .. } = self;
        drop(service);
        while executor.try_tick() {}
        assert!(executor.is_empty(), "a task is left behind");
    }

    fn shut_down(&self) {
        let handle = self.service.handle();
        let mut shutdown = pin!(handle.shut_down(Duration::from_secs(60)));
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..TICKS {
            if shutdown.as_mut().poll(&mut cx).is_ready() {
                return;
            }
            self.run();
        }
        panic!("it waits for nobody");
    }
}
