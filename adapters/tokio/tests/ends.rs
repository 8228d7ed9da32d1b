//! What happens when the runtime under a server or client ends, or is not fit for it.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use wwr_tokio::client::Client;
use wwr_tokio::server::{Connection, Connections, Handler, RequestError, Server};
use wwr_tokio::{Content, FileStore, Payload, SessionKey, Tokio};

/// Ends a test that hangs.
const SAFETY: Duration = Duration::from_secs(60);

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Waits for a future on a thread without a runtime.
fn wait<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(smol::block_on(future)));
    result.recv_timeout(SAFETY).expect("it hangs")
}

#[test]
fn calls_of_a_server_end_with_its_runtime() {
    let runtime = runtime();
    let builder = Server::builder(Echo).executor(runtime.handle().clone());
    let handle = builder.headless().unwrap().handle();
    let key = SessionKey::from_entropy([7; 48]);
    drop(runtime);
    let closing = handle.clone();
    assert!(wait(async move { closing.close_session(key, Connections::Keep).await }).is_err());
    wait(async move { handle.shut_down(SAFETY).await });
}

#[test]
fn a_shutdown_under_way_ends_with_the_runtime() {
    let runtime = runtime();
    let builder = Server::builder(Echo).executor(runtime.handle().clone());
    let server = wait(builder.listen("127.0.0.1:0")).unwrap();
    let (url, handle) = (format!("ws://{}/", server.local_addr()), server.handle());
    runtime.spawn(server.run());
    runtime.block_on(async {
        let client = Client::connect_to(&url).await.unwrap();
        assert_eq!(client.request("echo", "a").await.unwrap().text().unwrap(), "a");
    });
    let (stopped, told) = mpsc::channel();
    let stopping = handle.clone();
    thread::spawn(move || {
        smol::block_on(stopping.shut_down(SAFETY * 60));
        stopped.send(()).unwrap();
    });
    while !handle.is_shutting_down() {
        thread::yield_now();
    }
    drop(runtime);
    told.recv_timeout(SAFETY).expect("the shutdown goes on");
}

#[test]
fn files_and_names_are_out_of_reach_without_the_runtime() {
    let runtime = runtime();
    let ended = Tokio::from(runtime.handle().clone());
    drop(runtime);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let opened = FileStore::open_on(ended.clone(), path);
    assert!(wait(opened).unwrap_err().to_string().contains("keep the runtime running"));
    let listening = Server::builder_on(ended, Echo).listen("localhost:0");
    assert!(wait(listening).unwrap_err().to_string().contains("the runtime has shut down"));
}

#[test]
fn a_client_is_built_outside_of_a_runtime_with_its_handle() {
    let runtime = runtime();
    let server =
        wait(Server::builder(Echo).executor(runtime.handle().clone()).listen("127.0.0.1:0"));
    let server = server.unwrap();
    let (url, handle) = (format!("ws://{}/", server.local_addr()), server.handle());
    let executor = runtime.handle().clone();
    let driver = thread::spawn(move || runtime.block_on(server.run()));
    let talk = async move {
        let client = Client::builder(&url).unwrap().executor(executor).connect().await.unwrap();
        assert_eq!(client.request("echo", "a").await.unwrap().text().unwrap(), "a");
        client.close().await;
        handle.shut_down(SAFETY).await;
    };
    wait(talk);
    driver.join().unwrap();
}

#[test]
fn a_runtime_without_timers_is_refused_at_once() {
    let runtime = Builder::new_current_thread().enable_io().build().unwrap();
    let handle: Handle = runtime.handle().clone();
    assert!(catch_unwind(AssertUnwindSafe(|| Tokio::from(handle))).is_err());
}

/// A handler whose resources are always ready uses up the budget of its task.
#[test]
fn a_busy_handler_does_not_stop_its_connection() {
    struct Busy;

    impl Handler for Busy {
        async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
            if request.name() == b"busy" {
                poll_fn::<(), _>(|cx| {
                    while let Poll::Ready(turn) = tokio::task::coop::poll_proceed(cx) {
                        turn.made_progress();
                    }
                    // There is always more to do.
                    cx.waker().wake_by_ref();
                    Poll::Pending
                })
                .await;
            }
            Ok(request.into_payload())
        }
    }

    let runtime = runtime();
    let mut config = wwr_tokio::server::Config::default();
    config.connection.concurrency = 2.try_into().unwrap();
    let builder = Server::builder(Busy).config(config).executor(runtime.handle().clone());
    let server = wait(builder.listen("127.0.0.1:0")).unwrap();
    let url = format!("ws://{}/", server.local_addr());
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    runtime.spawn(server.run());
    let driver = thread::spawn(move || runtime.block_on(stopped.recv()));
    wait(async move {
        let client = wwr_smol::client::Client::connect_to(&url).await.unwrap();
        let busy = client.request("busy", "");
        let others = async {
            for _ in 0..100 {
                assert_eq!(client.request("echo", "a").await.unwrap().text().unwrap(), "a");
            }
        };
        smol::future::or(others, async { drop(busy.await) }).await;
    });
    drop(stop);
    assert!(driver.join().unwrap().is_err());
}
