//! The client whose calls block.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt as _;

use crate::adapter::client::blocking::{Client, Events};
use crate::adapter::client::{
    Config, ConnectError, DisconnectReason, Error, Event, Protocol, RequestError, StartError,
    Status,
};
use crate::adapter::server::{self, Connection, Handler, RequestError as Answer};
use crate::adapter::{Content, Manual, Payload, SessionInfo, runtime};
use crate::suite::support::{Running, SAFETY};

/// Tells which requests and signals come.
struct App(Mutex<Sender<String>>);

impl App {
    fn tell(&self, content: &Content) {
        let name = content.name_str().unwrap_or_default();
        // A test that is over does not listen any more.
        let _ = self.0.lock().unwrap().send(name.to_owned());
    }
}

impl Handler for App {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, Answer> {
        self.tell(&request);
        match request.name() {
            b"login" => {
                let info = SessionInfo::new().public("user", "ada");
                Ok(Payload::utf8(from.create_session(info).await?.key.as_str()))
            }
            b"whoami" => Ok(Payload::utf8(from.session().is_some().to_string())),
            b"leave" => {
                from.close();
                Ok(Payload::EMPTY)
            }
            b"never" => std::future::pending().await,
            _ => Ok(request.into_payload()),
        }
    }

    async fn signal(&self, from: &Connection, signal: Content) {
        self.tell(&signal);
        if signal.name() == b"back" {
            from.signal("back", signal.into_payload()).unwrap();
        }
    }
}

/// A server that runs until it is dropped.
struct Server {
    url: String,
    running: Running,
    told: Receiver<String>,
}

impl Server {
    fn start() -> Self {
        let (sender, told) = channel();
        let running = Running::new(server::Server::builder_on(runtime(), App(Mutex::new(sender))));
        Self { url: format!("ws://{}/", running.address), running, told }
    }

    fn connect(&self) -> Client {
        Client::connect_to(&self.url).unwrap()
    }

    fn connect_with(&self, change: impl FnOnce(&mut Config)) -> Client {
        Client::builder(&self.url).unwrap().config(changed(change)).connect().unwrap()
    }

    /// Waits until a request or a signal of this name has come.
    fn wait_for(&self, name: &str) {
        while self.told.recv_timeout(SAFETY).expect("it does not come") != name {}
    }

    fn shut_down(&self) {
        smol::block_on(self.running.handle.shut_down(Duration::ZERO));
    }
}

/// Settings that differ from the default ones in this.
fn changed(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// Waits for something that happens by itself.
fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < SAFETY, "it never happens");
        thread::sleep(Duration::from_millis(1));
    }
}

fn next(events: &mut Events) -> Event {
    events.recv_timeout(SAFETY).expect("nothing happens")
}

#[test]
fn requests_signals_and_events_need_no_async() {
    let server = Server::start();
    let client = server.connect();
    let mut events = client.events();
    assert_eq!(events.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
    assert_eq!(client.status(), Status::Connected);
    assert_eq!(client.request("echo", "hello"), Ok("hello".into()));
    assert_eq!(client.request_within(SAFETY, "echo", "again"), Ok("again".into()));
    assert_eq!(client.signal("back", "news"), Ok(()));
    assert_eq!(client.ready(), Ok(()));
    let Event::Signal(signal) = next(&mut events) else { panic!() };
    assert_eq!((signal.name(), signal.payload()), (&b"back"[..], &b"news"[..]));
    assert_eq!(events.recv_timeout(Duration::from_millis(10)), Err(RecvTimeoutError::Timeout));
    assert!(matches!(client.request("", ""), Err(Error::Misuse(_))));
    client.close();
    assert_eq!(client.status(), Status::Closed);
    client.connect().unwrap();
    assert_eq!(client.request("echo", "back"), Ok("back".into()));
}

#[test]
fn an_event_is_waited_for_with_a_timeout_of_any_length() {
    let server = Server::start();
    let client = server.connect();
    let mut events = client.events();
    let waiting = thread::spawn(move || {
        let mut longest = || events.recv_timeout(Duration::MAX);
        [longest(), longest()]
    });
    client.close();
    drop(client);
    let reason = DisconnectReason::Closed;
    let closed = Event::Disconnected { reason, retry_in: None };
    assert_eq!(waiting.join().unwrap(), [Ok(closed), Err(RecvTimeoutError::Disconnected)]);
}

#[test]
fn a_request_ends_in_its_own_time() {
    let server = Server::start();
    let client = server.connect();
    let ended = client.request_within(Duration::from_millis(10), "never", "");
    assert!(matches!(ended, Err(Error::Request(RequestError::TimedOut { .. }))), "{ended:?}");
    assert_eq!(client.pending_requests(), 0);
}

#[test]
fn a_session_survives_its_connection_and_can_be_taken_over() {
    let server = Server::start();
    let client = server.connect();
    let mut events = client.events();
    client.request("login", "").unwrap();
    let session = client.session().unwrap();
    assert_eq!(next(&mut events), Event::SessionCreated(session.clone()));
    let key = session.key;
    client.request("leave", "").unwrap();
    assert!(matches!(next(&mut events), Event::Disconnected { retry_in: Some(_), .. }));
    let Event::SessionRestored(restored) = next(&mut events) else { panic!() };
    assert_eq!(restored.key, key);
    assert_eq!(next(&mut events), Event::Connected);
    assert_eq!(client.request("whoami", ""), Ok("true".into()));

    let other = server.connect();
    assert_eq!(other.restore_session(key.clone()).unwrap().key, key);
    assert_eq!(other.request("whoami", ""), Ok("true".into()));
    other.close_session().unwrap();
    assert_eq!((other.session(), other.request("whoami", "")), (None, Ok("false".into())));
    let unknown = other.restore_session("no-such-session".parse().unwrap());
    assert_eq!(unknown, Err(RequestError::SessionNotFound.into()));
}

#[test]
fn many_threads_use_one_client_and_one_thread_in_the_background() {
    let server = Server::start();
    let client = server.connect();
    thread::scope(|scope| {
        for number in 0..8 {
            // Some with a clone, some with the client itself.
            let clone = (number % 2 == 0).then(|| client.clone());
            let client = &client;
            scope.spawn(move || {
                let client = clone.as_ref().unwrap_or(client);
                for request in 0..50 {
                    let payload = Payload::utf8(format!("{number} {request}"));
                    assert_eq!(client.request("echo", payload.clone()), Ok(payload));
                }
            });
        }
    });
    assert_eq!(client.pending_requests(), 0);
    let others: Vec<_> = (0..20).map(|_| server.connect()).collect();
    until(|| server.running.handle.connection_count() == 21);
    // Clients of other tests share it as well. One that has ended just now may still be there.
    #[cfg(target_os = "linux")]
    until(|| {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let name = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join("comm"));
        let names = threads.flat_map(|thread| name(thread.unwrap()));
        names.filter(|name| name.trim() == "wwr-blocking").count() == 1
    });
    drop(others);
    assert_eq!(client.request("echo", "still there"), Ok("still there".into()));
}

#[test]
fn dropping_one_clone_leaves_the_requests_of_others_and_closing_ends_them() {
    let server = Server::start();
    let client = server.connect();
    let clone = client.clone();
    let waiting = thread::spawn(move || clone.request("never", ""));
    server.wait_for("never");
    let closing = client.clone();
    drop(client);
    assert_eq!((closing.pending_requests(), waiting.is_finished()), (1, false));
    closing.close();
    let ended = waiting.join().unwrap();
    assert!(matches!(ended, Err(Error::Request(_))), "{ended:?}");
}

#[test]
fn dropping_the_client_ends_the_events_of_other_threads() {
    let server = Server::start();
    let client = server.connect();
    let events = client.events();
    let listening = thread::spawn(move || events.collect::<Vec<_>>());
    client.signal("back", "news").unwrap();
    client.request("echo", "").unwrap();
    drop(client);
    let heard = listening.join().unwrap();
    assert!(matches!(&heard[..], [Event::Signal(_), Event::Disconnected { .. }]), "{heard:?}");
}

/// A server of 2.0 with nothing of ours, for one connection. Returns its URL.
fn by_hand(
    serve: impl AsyncFnOnce(WebSocketStream<smol::Async<TcpStream>>) + Send + 'static,
) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        smol::block_on(async {
            let listener = smol::Async::new(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = async_tungstenite::accept_async(stream).await.unwrap();
            let conf = [23, 2, 0, 0x60, 0xea, 0, 0, 0, 0x20, 0, 0];
            socket.send(Message::binary(conf.to_vec())).await.unwrap();
            serve(socket).await;
        });
    });
    (url, server)
}

/// A client that does not expect more of a server than 2.0.
fn connect_to_hand(url: &str, close_timeout: Duration) -> Client {
    let config = changed(|config| {
        config.machine.protocol = Protocol::V2_0;
        (config.machine.wwr1, config.close_timeout) = (false, close_timeout);
    });
    Client::builder(url).unwrap().config(config).connect().unwrap()
}

#[test]
fn what_was_sent_has_arrived_when_the_client_was_dropped() {
    let read = Arc::new(AtomicBool::new(false));
    let all_read = read.clone();
    let (url, server) = by_hand(async move |mut socket| {
        let mut bytes = 0;
        while bytes < 2_000_000 {
            match socket.next().await.unwrap().unwrap() {
                Message::Binary(message) => bytes += message.len(),
                other => panic!("{other:?}"),
            }
        }
        all_read.store(true, Ordering::SeqCst);
        while let Some(Ok(_)) = socket.next().await {}
    });
    let client = connect_to_hand(&url, SAFETY);
    for _ in 0..250 {
        client.signal("part", vec![0; 8_000]).unwrap();
    }
    drop(client);
    assert!(read.load(Ordering::SeqCst));
    server.join().unwrap();
}

#[test]
fn a_server_that_never_closes_holds_up_the_drop_no_longer_than_the_timeout() {
    let (leave, left) = smol::channel::bounded::<()>(1);
    let (url, server) = by_hand(async move |socket| {
        // Ends with an error when the test is over.
        let _ = left.recv().await;
        drop(socket);
    });
    let client = connect_to_hand(&url, Duration::from_millis(10));
    client.signal("part", "").unwrap();
    drop(client);
    assert!(!server.is_finished());
    drop(leave);
    server.join().unwrap();
}

#[test]
fn closing_ends_the_call_that_waits_for_a_server_that_does_not_read() {
    let (leave, left) = smol::channel::bounded::<()>(1);
    let (url, server) = by_hand(async move |socket| {
        // Ends with an error when the test is over.
        let _ = left.recv().await;
        drop(socket);
    });
    let client = connect_to_hand(&url, Duration::from_millis(10));
    let clone = client.clone();
    let (sender, sent) = channel();
    let sending = thread::spawn(move || {
        while clone.signal("part", vec![0; 8_000]).is_ok() {
            sender.send(()).unwrap();
        }
    });
    // More than the buffers of sockets hold at first.
    (0..100).for_each(|_| sent.recv_timeout(SAFETY).unwrap());
    client.close();
    sending.join().unwrap();
    drop(leave);
    server.join().unwrap();
}

/// Needs nothing of the runtime that calls it.
fn converse(url: &str) {
    let client = Client::connect_to(url).unwrap();
    let mut events = client.events();
    assert_eq!(client.request("echo", "hello"), Ok("hello".into()));
    client.signal("back", "news").unwrap();
    assert!(matches!(next(&mut events), Event::Signal(_)));
    client.close();
    assert!(matches!(events.next(), Some(Event::Disconnected { .. })));
}

#[test]
fn it_works_inside_of_async_runtimes() {
    let server = Server::start();
    smol::block_on(async { converse(&server.url) });
    smol::block_on(smol::LocalExecutor::new().run(async { converse(&server.url) }));
    let mut one = tokio::runtime::Builder::new_current_thread();
    let mut several = tokio::runtime::Builder::new_multi_thread();
    for runtime in [one.build().unwrap(), several.worker_threads(2).build().unwrap()] {
        runtime.block_on(async { converse(&server.url) });
    }
    // On a thread that runs tasks of the runtime.
    let (runtime, url) = (several.build().unwrap(), server.url.clone());
    runtime.block_on(runtime.spawn(async move { converse(&url) })).unwrap();
    smol::future::block_on(async { converse(&server.url) });
}

#[test]
fn a_server_that_needs_the_blocked_thread_cannot_answer_and_the_call_ends() {
    let runtime = Manual::new();
    runtime.run(async {
        let app = App(Mutex::new(channel().0));
        let server = server::Server::builder_on(runtime.runtime(), app);
        let server = server.listen("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", server.local_addr());
        let config = changed(|config| {
            config.machine.protocol = Protocol::V2_0;
            config.machine.dial_timeout = Duration::from_millis(10);
        });
        let connected = Client::builder(&url).unwrap().config(config).connect();
        assert!(matches!(connected, Err(StartError::Connect(_))), "{connected:?}");
        server.handle().shut_down(Duration::ZERO).await;
        server.run().await;
    });
}

#[test]
fn a_server_that_is_gone_is_an_error_and_holds_up_nothing() {
    let server = Server::start();
    let once = server.connect_with(|config| config.machine.reconnect = false);
    let client = server.connect();
    let (mut ended, mut events) = (once.events(), client.events());
    server.shut_down();
    assert!(matches!(next(&mut ended), Event::Disconnected { retry_in: None, .. }));
    assert!(matches!(next(&mut events), Event::Disconnected { retry_in: Some(_), .. }));
    assert!(matches!(once.request("echo", ""), Err(Error::Misuse(_))));
    assert!(matches!(once.connect(), Err(ConnectError::Failed { .. })));
    let unsent = client.request_within(Duration::from_millis(10), "echo", "");
    assert!(matches!(unsent, Err(Error::Request(_))), "{unsent:?}");
    let refused = Client::connect_to(&server.url);
    assert!(matches!(refused, Err(StartError::Connect(ConnectError::Failed { .. }))));
    // Dropping a client without a connection does not wait for one.
    let start = Instant::now();
    drop((once, client));
    assert!(start.elapsed() < SAFETY);
}

#[test]
fn a_client_that_starts_in_the_background_waits_for_its_server() {
    let server = Server::start();
    let client = Client::builder(&server.url).unwrap().start().unwrap();
    assert_eq!(client.request("echo", "hello"), Ok("hello".into()));
    let idle = Client::builder(&server.url).unwrap().build().unwrap();
    assert_eq!(idle.status(), Status::Idle);
    idle.connect().unwrap();
    assert_eq!(idle.request("echo", "hello"), Ok("hello".into()));
}

#[test]
fn wrong_settings_are_named() {
    assert!(matches!(Client::connect_to("ftp://localhost/"), Err(StartError::Url(_))));
    let config = changed(|config| config.max_events = 0);
    let client = Client::builder("ws://localhost/").unwrap().config(config).build();
    assert!(matches!(client, Err(StartError::Config(_))));
}

#[cfg(unix)]
#[test]
fn it_reaches_a_unix_socket() {
    use crate::adapter::Listen;
    use crate::adapter::client::UnixSocket;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let builder = server::Server::builder_on(runtime(), App(Mutex::new(channel().0)));
    let (_running, _) = Running::listening(builder, Listen::unix(&path));
    let client = Client::builder("ws://localhost/").unwrap().dial(UnixSocket::new(&path));
    assert_eq!(client.connect().unwrap().request("echo", "hello"), Ok("hello".into()));
}

/// The last values of a thread are dropped in an order that nobody chooses.
#[test]
fn a_client_in_a_thread_local_ends_with_its_thread() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<Client>> = const { std::cell::RefCell::new(None) };
    }

    let server = Server::start();
    let url = server.url.clone();
    let thread = thread::spawn(move || {
        KEPT.with(|kept| drop(kept.borrow_mut().take()));
        let client = Client::connect_to(&url).unwrap();
        assert_eq!(client.request("echo", "hello"), Ok("hello".into()));
        KEPT.with(|kept| *kept.borrow_mut() = Some(client));
    });
    thread.join().unwrap();
    until(|| server.running.handle.connection_count() == 0);
}
