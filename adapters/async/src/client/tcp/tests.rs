use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::future::{self, poll_once};
use smol::block_on;

use super::*;
use crate::runtime::ListeningSocket;
use crate::test_runtime::{TestRuntime, TestStream, TestTimer};

/// A network in which IPv6 packets vanish and some ports refuse.
#[derive(Clone, Default)]
struct Network {
    tried: Arc<Mutex<Vec<SocketAddr>>>,
    /// How many attempts go on.
    open: Arc<AtomicUsize>,
}

/// An attempt, until it ends or is dropped.
struct Attempt(Arc<AtomicUsize>);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The port that refuses.
const REFUSES: u16 = 1;

impl Runtime for Network {
    type Timer = TestTimer;
    type Stream = TestStream;
    type Listener = <TestRuntime as Runtime>::Listener;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        TestRuntime.spawn(task);
    }

    fn timer(&self) -> TestTimer {
        TestRuntime.timer()
    }

    fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + Send {
        TestRuntime.unblock(work)
    }

    async fn connect(&self, to: SocketAddress) -> io::Result<TestStream> {
        let SocketAddress::Tcp(address) = to.clone() else { panic!() };
        self.tried.lock().unwrap().push(address);
        self.open.fetch_add(1, Ordering::SeqCst);
        let _attempt = Attempt(self.open.clone());
        match address {
            _ if address.is_ipv6() => future::pending().await,
            _ if address.port() == REFUSES => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => TestRuntime.connect(to).await,
        }
    }

    fn listen(&self, listener: ListeningSocket) -> io::Result<Self::Listener> {
        TestRuntime.listen(listener)
    }

    async fn accept(
        &self,
        listener: &Self::Listener,
    ) -> io::Result<(TestStream, Option<SocketAddr>)> {
        TestRuntime.accept(listener).await
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn dead() -> SocketAddr {
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 80).into()
}

fn to(reached: Option<SocketAddr>) -> Destination {
    Destination::of(&"ws://server.invalid/".parse().unwrap(), reached)
}

fn refusing() -> SocketAddr {
    ([127, 0, 0, 1], REFUSES).into()
}

/// Connects. Returns the address and the ones that were tried. Nothing goes on after that.
fn reach(
    addresses: &[SocketAddr],
    known: Option<SocketAddr>,
) -> (io::Result<SocketAddr>, Vec<SocketAddr>) {
    let network = Network::default();
    let connected = block_on(connect(&network, Addresses::from(addresses), &to(known)));
    assert_eq!(network.open.load(Ordering::SeqCst), 0, "the others are closed");
    let tried = network.tried.lock().unwrap().clone();
    (connected.map(|(_, address)| address), tried)
}

#[test]
fn a_dead_address_does_not_keep_the_next_from_being_reached() {
    let (_listener, live) = listener();
    let (reached, tried) = reach(&[dead(), live], None);
    assert_eq!((reached.unwrap(), tried), (live, vec![dead(), live]));
}

#[test]
fn a_refusal_is_followed_by_the_next_and_the_rest_is_left_alone() {
    let (_listener, live) = listener();
    let (reached, tried) = reach(&[refusing(), live, dead()], None);
    assert_eq!(reached.unwrap(), live);
    // The families take turns, and the dead address is given its time.
    assert_eq!(tried, [refusing(), dead(), live]);
}

#[test]
fn an_address_that_was_reached_before_is_the_only_one_unless_it_fails() {
    let (_listener, live) = listener();
    let (_other, other) = listener();
    let (reached, tried) = reach(&[other], Some(live));
    assert_eq!((reached.unwrap(), tried), (live, vec![live]));
    for known in [dead(), refusing()] {
        let (reached, tried) = reach(&[known, other], Some(known));
        assert_eq!((reached.unwrap(), tried), (other, vec![known, other]));
    }
}

#[test]
fn failures_are_shown_with_their_addresses() {
    let (reached, _) = reach(&[refusing()], None);
    let error = reached.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(error.to_string(), io::Error::from(error.kind()).to_string());
    let many: Vec<SocketAddr> =
        (1..=9).map(|last| SocketAddr::from(([127, 0, 0, last], REFUSES))).collect();
    let (reached, tried) = reach(&many, None);
    let text = reached.unwrap_err().to_string();
    assert_eq!(tried, many);
    assert!(text.starts_with("none of 9 addresses was reached: 127.0.0.1:1 ("), "{text}");
    assert!(text.contains("127.0.0.4:1") && !text.contains("127.0.0.5:1"), "{text}");
    let (reached, _) = reach(&[], None);
    assert_eq!(reached.unwrap_err().to_string(), "the name of the server has no address");
    let network = Network::default();
    let unnamed = block_on(connect(&network, Addresses::from(("", 80)), &to(None))).map(drop);
    assert_ne!(unnamed.unwrap_err().to_string(), "");
}

#[test]
fn dropping_the_attempt_closes_everything() {
    let network = Network::default();
    let other = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 2], 80));
    let (addresses, direct) = ([dead(), other], to(None));
    let mut connecting = Box::pin(connect(&network, Addresses::from(&addresses), &direct));
    while network.open.load(Ordering::SeqCst) < 2 {
        assert!(block_on(poll_once(&mut connecting)).is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(connecting);
    assert_eq!(network.open.load(Ordering::SeqCst), 0);
}
