//! Output that is caused together leaves in one write, whatever its causes.
//!
//! The runtime has one thread and runs tasks in the order in which they were woken, and all are
//! woken by one task at once, so that the numbers do not depend on time.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll};

use smol::channel::{Receiver, Sender, bounded};
use smol::future;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::unix::UnixStream;
use wwr::server::RequestError;
use wwr::{Content, Payload, PreparedSignal};

use crate::adapter::server::{Connection, Handler, Server, Service};
use crate::adapter::{Runtime as _, Threads, UnderTest};
use crate::suite::support::message::{UTF8, answer, ask, signal};
use crate::suite::support::peer::{self, Peer, frame};
use crate::suite::support::{SAFETY, configured};

use super::headless::mount_wrapped;

/// How many messages are caused together.
const TOGETHER: u64 = 100;

/// A stream that counts how often something is written to it.
struct Counting {
    stream: UnixStream,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Answers once it is released: `wait` in the handler, `task` in a task of its own, which has more
/// to do then.
struct Waiting {
    runtime: UnderTest,
    released: Receiver<()>,
    begun: mpsc::Sender<()>,
    connected: mpsc::Sender<Connection>,
}

impl Handler for Waiting {
    async fn request(
        &self,
        _: &Connection,
        request: Content,
    ) -> std::result::Result<Payload, RequestError> {
        let released = self.released.clone();
        let wait = async move { assert!(released.recv().await.is_err(), "it is only closed") };
        self.begun.send(()).unwrap();
        if request.name() == b"task" {
            let (done, ended) = bounded::<()>(1);
            self.runtime.spawn(async {
                wait.await;
                future::yield_now().await;
                drop(done);
            });
            assert!(ended.recv().await.is_err(), "it is only closed");
        } else {
            wait.await;
        }
        Ok(request.into_payload())
    }

    async fn connected(&self, connection: &Connection) {
        self.connected.send(connection.clone()).unwrap();
    }
}

/// A server with one connection.
struct Scene {
    peer: Peer,
    connection: Connection,
    writes: Arc<AtomicUsize>,
    release: Sender<()>,
    begun: mpsc::Receiver<()>,
    service: Service<Waiting>,
    threads: Threads,
}

impl Scene {
    fn new() -> Self {
        let threads = Threads::one();
        let (release, released) = bounded(1);
        let (begun, has_begun) = mpsc::channel();
        let (connected, has_connected) = mpsc::channel();
        let runtime = threads.borrowed_runtime();
        let handler = Waiting { runtime: runtime.clone(), released, begun, connected };
        let concurrency = (TOGETHER as u16).try_into().unwrap();
        let builder = Server::builder_on(runtime, handler)
            .config(configured(|config| config.connection.concurrency = concurrency));
        let service = builder.headless().unwrap();
        let writes = Arc::new(AtomicUsize::new(0));
        let mut peer =
            mount_wrapped(&service, &threads, |stream| Counting { stream, writes: writes.clone() });
        peer.upgrade("/", "");
        let connection = has_connected.recv_timeout(SAFETY).unwrap();
        Self { peer, connection, writes, release, begun: has_begun, service, threads }
    }

    /// Makes requests whose handlers wait.
    fn ask(&mut self, name: &str) {
        let requests: Vec<_> =
            (0..TOGETHER).flat_map(|id| frame(peer::BINARY, &ask(id, name, "x"))).collect();
        self.peer.write(&requests);
        (0..TOGETHER).for_each(|_| self.begun.recv_timeout(SAFETY).unwrap());
    }

    /// Does something in one task on the server's thread.
    fn at_once(&self, work: impl FnOnce() + Send + 'static) {
        self.threads.spawn(async move { work() });
    }

    /// How many writes it takes for this many messages to come, and the messages in any order.
    fn receive(&mut self, messages: u64) -> (usize, Vec<Vec<u8>>) {
        let mut received: Vec<_> = (0..messages).map(|_| self.peer.message()).collect();
        received.sort_unstable();
        (self.writes.swap(0, Ordering::SeqCst), received)
    }
}

fn answers() -> Vec<Vec<u8>> {
    (0..TOGETHER).map(|id| answer(id, "x")).collect()
}

#[test]
fn replies_of_handlers_that_end_together() {
    for name in ["wait", "task"] {
        let mut scene = Scene::new();
        scene.ask(name);
        scene.writes.store(0, Ordering::SeqCst);
        let release = scene.release.clone();
        scene.at_once(move || assert!(release.close()));
        assert_eq!(scene.receive(TOGETHER), (1, answers()), "{name}");
    }
}

#[test]
fn signals_that_others_send_together() {
    let mut scene = Scene::new();
    scene.writes.store(0, Ordering::SeqCst);
    let (connection, handle) = (scene.connection.clone(), scene.service.handle());
    scene.at_once(move || {
        let all = PreparedSignal::new("s", "x").unwrap();
        for _ in 0..TOGETHER / 2 {
            connection.signal("s", "x").unwrap();
            assert_eq!(handle.signal_all(&all).sent, 1);
        }
    });
    let expected = vec![signal(UTF8, "s", b"x"); TOGETHER as usize];
    assert_eq!(scene.receive(TOGETHER), (1, expected));
}

#[test]
fn signals_of_many_tasks_and_replies_together() {
    let mut scene = Scene::new();
    scene.ask("task");
    scene.writes.store(0, Ordering::SeqCst);
    let (connection, release) = (scene.connection.clone(), scene.release.clone());
    let runtime = scene.threads.borrowed_runtime();
    scene.at_once(move || {
        for _ in 0..TOGETHER {
            let connection = connection.clone();
            runtime.spawn(async move { connection.signal("s", "x").unwrap() });
        }
        release.close();
    });
    let (writes, received) = scene.receive(2 * TOGETHER);
    let signals = vec![signal(UTF8, "s", b"x"); TOGETHER as usize];
    assert_eq!(received, [signals, answers()].concat());
    // The signals need not wait for what the replies need longer for.
    assert!(writes <= 3, "{writes} writes");
}
