//! Handlers and others that wait until the client has room for more signals.

use std::num::NonZeroU16;
use std::sync::mpsc;
use std::time::Duration;

use smol::future::yield_now;
use wwr::server::RequestError;
use wwr::{Content, Payload, PreparedSignal};

use crate::adapter::runtime;
use crate::adapter::server::{Config, Connection, Handler, Server, SignalError};
use crate::suite::support::message::{BINARY, answer, ask, signal};
use crate::suite::support::peer::{self, Peer, frame};
use crate::suite::support::{Running, SAFETY, configured};

/// What the systems of both sides may keep for a connection, at the very most.
const IN_SOCKETS: usize = 32 << 20;

/// Sends as many signals of as many bytes as a request says, and tells how that ended.
struct Stream {
    /// Whether it waits for something else first, so that it does not run within its start.
    yields: bool,
    /// How many signals were sent, and what came of the last.
    ended: mpsc::Sender<(usize, Result<(), SignalError>)>,
    connected: mpsc::Sender<Connection>,
}

async fn stream(
    to: &Connection,
    name: &str,
    count: usize,
    size: usize,
) -> (usize, Result<(), SignalError>) {
    for sent in 0..count {
        let result = match to.ready().await {
            Ok(()) => to.signal(name.to_owned(), vec![sent as u8; size]),
            Err(error) => Err(error),
        };
        if result.is_err() {
            return (sent, result);
        }
    }
    (count, Ok(()))
}

impl Handler for Stream {
    async fn request(&self, from: &Connection, asked: Content) -> Result<Payload, RequestError> {
        if self.yields {
            yield_now().await;
        }
        let text = asked.text().unwrap().into_owned();
        let (count, size) = text.split_once(' ').unwrap();
        let (count, size) = (count.parse().unwrap(), size.parse().unwrap());
        let name = std::str::from_utf8(asked.name()).unwrap();
        self.ended.send(stream(from, name, count, size).await).unwrap();
        Ok(Payload::utf8("that was all"))
    }

    async fn signal(&self, from: &Connection, asked: Content) {
        let name = std::str::from_utf8(asked.name()).unwrap();
        self.ended.send(stream(from, name, 1000, 8192).await).unwrap();
    }

    async fn connected(&self, connection: &Connection) {
        self.ended.send(stream(connection, "hello", 300, 8192).await).unwrap();
        self.connected.send(connection.clone()).unwrap();
    }
}

/// A server, what its handlers tell, and its connections.
struct Scene {
    server: Running,
    ended: mpsc::Receiver<(usize, Result<(), SignalError>)>,
    connected: mpsc::Receiver<Connection>,
}

impl Scene {
    fn new(yields: bool, concurrency: u16, limits: impl FnOnce(&mut Config)) -> Self {
        let (ended, has_ended) = mpsc::channel();
        let (connected, has_connected) = mpsc::channel();
        let builder = Server::builder_on(runtime(), Stream { yields, ended, connected }).config(
            configured(|config| {
                config.connection.concurrency = NonZeroU16::new(concurrency).unwrap();
                limits(config);
            }),
        );
        let server = Running::new(builder);
        Self { server, ended: has_ended, connected: has_connected }
    }

    /// A client that has read all that the hook for new connections sends.
    fn connect(&self) -> (Peer, Connection) {
        let mut peer = Peer::connect(self.server.address);
        expect(&mut peer, "hello", 300, 8192);
        assert_eq!(self.ended(), (300, Ok(())));
        (peer, self.connected.recv_timeout(SAFETY).unwrap())
    }

    fn ended(&self) -> (usize, Result<(), SignalError>) {
        self.ended.recv_timeout(SAFETY).unwrap()
    }
}

fn expect(peer: &mut Peer, name: &str, count: usize, size: usize) {
    for number in 0..count {
        let expected = signal(BINARY, name, &vec![number as u8; size]);
        assert!(peer.message() == expected, "signal {number} of {count}");
    }
}

#[test]
fn a_handler_sends_its_reading_client_any_amount() {
    let long = "n".repeat(255);
    for yields in [false, true] {
        let scene = Scene::new(yields, 1, |_| {});
        let (mut peer, _) = scene.connect();
        for (name, count, size) in
            [("a", 1000, 8192), ("b", 30, 1 << 20), (&long[..], 20_000, 1), ("", 5, 3 << 20)]
        {
            peer.send(&ask(7, name, &format!("{count} {size}")));
            expect(&mut peer, name, count, size);
            assert_eq!(peer.message(), answer(7, "that was all"));
            assert_eq!(scene.ended(), (count, Ok(())));
        }
        peer.send(&signal(BINARY, "s", b"x"));
        expect(&mut peer, "s", 1000, 8192);
        assert_eq!(scene.ended(), (1000, Ok(())));
    }
}

#[test]
fn several_handlers_of_a_client_take_turns() {
    const EACH: usize = 20;
    let scene = Scene::new(false, 4, |_| {});
    let (mut peer, _) = scene.connect();
    let names = ["a", "b", "c", "d"];
    let text = format!("{EACH} {}", 1 << 20);
    let requests = (0..).zip(names).map(|(id, name)| frame(peer::BINARY, &ask(id, name, &text)));
    // They come together, so that none has sent much before the others begin.
    peer.write(&requests.collect::<Vec<_>>().concat());
    let (mut counts, mut replies) = ([0; 4], 0);
    while replies < names.len() {
        let message = peer.message();
        if message[0] == BINARY - 64 {
            let name = std::str::from_utf8(&message[2..3]).unwrap();
            let index = names.iter().position(|one| *one == name).unwrap();
            assert!(message == signal(BINARY, name, &vec![counts[index] as u8; 1 << 20]));
            counts[index] += 1;
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            // One after another begins while those before have sent some already.
            assert!(most - least <= 5, "{counts:?}");
        } else {
            replies += 1;
        }
    }
    assert_eq!(counts, [EACH; 4]);
    names.iter().for_each(|_| assert_eq!(scene.ended(), (EACH, Ok(()))));
}

#[test]
fn others_wait_for_room_from_anywhere() {
    let scene = Scene::new(false, 1, |_| {});
    let (mut peer, connection) = scene.connect();
    let prepared = PreparedSignal::new("p", vec![0; 8192]).unwrap();
    let senders: Vec<_> = (0..3)
        .map(|_| {
            let (connection, prepared) = (connection.clone(), prepared.clone());
            std::thread::spawn(move || {
                smol::block_on(async {
                    for _ in 0..500 {
                        connection.ready().await.unwrap();
                        connection.signal_prepared(&prepared).unwrap();
                    }
                });
            })
        })
        .collect();
    for _ in 0..1500 {
        assert!(peer.message() == signal(BINARY, "p", &[0; 8192]));
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap());
}

#[test]
fn a_handler_waits_for_a_client_that_does_not_read_until_that_is_disconnected() {
    let limits = |config: &mut Config| config.limits.stall_timeout = Duration::from_millis(300);
    for size in [8192, 1 << 20] {
        let scene = Scene::new(false, 1, limits);
        let (mut peer, connection) = scene.connect();
        peer.send(&ask(1, "a", &format!("1000000 {size}")));
        let (sent, result) = scene.ended();
        assert_eq!(result, Err(SignalError::Disconnected));
        assert!(sent * size < IN_SOCKETS, "{sent} signals of {size} bytes were taken");
        let late = smol::block_on(connection.ready());
        assert_eq!(late, Err(SignalError::Disconnected));
    }
}

#[test]
fn a_waiting_caller_learns_that_the_connection_has_ended() {
    let limits = |config: &mut Config| config.limits.stall_timeout = Duration::from_secs(3600);
    let scene = Scene::new(false, 1, limits);
    let (mut peer, _connection) = scene.connect();
    peer.send(&ask(1, "a", "1000000 8192"));
    // It is under way.
    assert!(peer.message() == signal(BINARY, "a", &[0; 8192]));
    drop(peer);
    assert_eq!(scene.ended().1, Err(SignalError::Disconnected));
}

#[test]
fn a_handler_that_stops_waiting_leaves_the_line() {
    let limits = |config: &mut Config| config.limits.max_signal_backlog = 1000;
    let scene = Scene::new(false, 1, limits);
    let (mut peer, connection) = scene.connect();
    for round in 0..200_u8 {
        smol::block_on(async {
            let _ = smol::future::poll_once(connection.ready()).await;
            connection.ready().await.unwrap();
            connection.signal("r", vec![round; 5000]).unwrap();
        });
        assert!(peer.message() == signal(BINARY, "r", &[round; 5000]));
    }
}
