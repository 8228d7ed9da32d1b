//! Engines that are down, hang, are killed, come back, and are replaced.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use smol::block_on;
use tokio::runtime::Builder;
use wwr_async::cluster::{
    Answer, Audience, Engine as _, EngineError, EngineErrorKind, HistoryAnswer, HistoryStep, News,
    Request, Revision, SessionAnswer, Step,
};
use wwr_async::timeout;
use wwr_redis::Cluster;
use wwr_smol::Smol;
use wwr_tokio::Tokio;

use super::{JOIN, LEASE, Node, create, message, open};
use crate::sentinel::place;
use crate::support::{Engine, Program, SAFETY, configured, impatient, session, whole_text};
use wwr_engines::Watched;

/// Asks until there is an answer. Returns it, and the kinds of errors before.
fn insist<T>(mut ask: impl FnMut() -> Result<T, EngineError>) -> (T, Vec<EngineErrorKind>) {
    let started = Instant::now();
    let mut kinds = Vec::new();
    loop {
        match ask() {
            Ok(answer) => return (answer, kinds),
            Err(error) => {
                assert!(started.elapsed() < SAFETY, "{error}");
                kinds.push(error.kind());
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn an_engine_that_is_killed_and_comes_back_empty_is_noticed() {
    let Some(mut engine) = Engine::start(Program::Redis) else { return };
    let mut a = Node::enter(open(engine.url(), impatient()), "a");
    a.ask("k", create("k")).unwrap();
    for _ in 0..3 {
        engine.kill();
        for _ in 0..3 {
            let error = a.ask("k", JOIN).unwrap_err();
            let kinds = [EngineErrorKind::Unanswered, EngineErrorKind::Unreachable];
            assert!(kinds.contains(&error.kind()), "{error:?}");
            assert_eq!(error.may_have_happened(), error.kind() == EngineErrorKind::Unanswered);
            let text = whole_text(&error);
            assert!(text.contains(&engine.address().to_string()), "{text}");
        }
        engine.restart();
        // The subscription comes back by itself.
        assert_eq!(a.hear(), Some(News::Interrupted));
        let (answer, _) = insist(|| a.renew());
        assert_eq!(answer, Answer::Dead);
        assert_eq!(block_on(a.cluster.next_news(a.epoch())), None);
        let again = Node::enter(a.cluster.clone(), "a");
        assert!(again.epoch() > a.epoch(), "an epoch was given twice");
        assert_ne!(again.lease.data, a.lease.data);
        a = again;
        assert_eq!(a.ask("k", JOIN).unwrap(), SessionAnswer::NotFound);
        assert_eq!(a.ask("k", create("k")).unwrap(), SessionAnswer::Created);
    }
}

#[test]
fn an_engine_that_hangs_is_an_error_in_time_and_its_news_are_known_to_be_lost() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let mut a = Node::enter(open(engine.url(), impatient()), "a");
    let mut b = Node::enter(open(engine.url(), impatient()), "b");
    a.ask("k", create("k")).unwrap();
    let edit = || Step::Edit { info: session("k").info };
    let started = Instant::now();
    for revision in 2.. {
        engine.pause();
        let error = a.ask("k", edit()).unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Unanswered);
        assert!(error.may_have_happened());
        let text = whole_text(&error);
        assert!(text.contains("within 500ms") && text.contains("RedisConfig::timeout"), "{text}");
        let hearing = thread::spawn(move || (b.hear(), b));
        // Long enough to ask for a sign of life, if nothing else keeps it from that.
        thread::sleep(Duration::from_millis(1500));
        engine.resume();
        // The request has been carried out meanwhile, or is now; not twice.
        let (answer, _) = insist(|| a.again("k", edit()));
        assert_eq!(answer, SessionAnswer::Edited { revision: Revision(revision) });
        let (sent, _) = insist(|| a.send(Audience::All, "after"));
        assert_eq!(sent, Answer::Sent { nodes: 1 });
        let heard;
        (heard, b) = hearing.join().unwrap();
        // Otherwise it did not notice.
        if heard == Some(News::Interrupted) {
            break;
        }
        assert!(started.elapsed() < SAFETY);
        assert_eq!(heard, message(a.epoch(), "after"));
    }
    // The same data.
    let Ok(Answer::Lease(lease)) = a.renew() else { panic!() };
    assert_eq!(lease.data, a.lease.data);
}

#[test]
fn a_subscription_that_breaks_comes_back_and_says_so_first() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let a = Node::enter(open(engine.url(), configured(|_| ())), "a");
    let mut b = Node::enter(open(engine.url(), configured(|_| ())), "b");
    for _ in 0..3 {
        a.send(Audience::All, "before").unwrap();
        assert_eq!(b.hear(), message(a.epoch(), "before"));
        engine.tell("CLIENT KILL TYPE pubsub");
        assert_eq!(b.hear(), Some(News::Interrupted));
        a.send(Audience::All, "after").unwrap();
        assert_eq!(b.hear(), message(a.epoch(), "after"));
    }
}

#[test]
fn an_engine_that_forgot_the_scripts_gets_them_again() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let mut a = Node::enter(open(engine.url(), configured(|_| ())), "a");
    for name in ["one", "two"] {
        engine.tell("SCRIPT FLUSH");
        assert_eq!(a.ask(name, create(name)).unwrap(), SessionAnswer::Created);
        engine.tell("SCRIPT FLUSH");
        assert_eq!(a.send(Audience::All, "m").unwrap(), Answer::Sent { nodes: 0 });
        engine.tell("SCRIPT FLUSH");
        assert!(matches!(a.renew(), Ok(Answer::Lease(_))));
    }
}

/// Many are on their way when it forgets them, on several threads.
#[test]
fn messages_keep_their_order_when_the_engine_forgets_the_scripts() {
    const ROUNDS: u32 = 5;
    // More than a connection of the library has room for by itself.
    const SENT: u32 = 1_000;
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let mut b = Node::enter(open(engine.url(), configured(|_| ())), "b");
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = Cluster::<Tokio>::connect(engine.url(), configured(|_| ())).await.unwrap();
        let enter = Request::Enter { name: "a".into(), lease: LEASE };
        let Ok(Answer::Lease(a)) = cluster.perform(enter).await else { panic!() };
        for round in 0..ROUNDS {
            engine.tell("SCRIPT FLUSH");
            let mut rest = Vec::new();
            for number in 0..SENT {
                let message = (round * SENT + number).to_be_bytes().to_vec().into();
                let send = Request::Send { from: a.epoch, to: Audience::All, message };
                let cluster = cluster.clone();
                let mut sent = Box::pin(async move { cluster.perform(send).await });
                // As a node does: in this order, some at a time, and it does not wait for the answers.
                if number % 16 == 0 {
                    tokio::task::yield_now().await;
                }
                if futures_lite::future::poll_once(&mut sent).await.is_none() {
                    rest.push(runtime.spawn(sent));
                }
            }
            for sent in rest {
                assert_eq!(sent.await.unwrap().unwrap(), Answer::Sent { nodes: 1 });
            }
        }
    });
    for expected in 0..ROUNDS * SENT {
        let Some(News::Message { message, .. }) = b.hear() else { panic!() };
        assert_eq!(message[..], expected.to_be_bytes());
    }
}

/// The network drops what is sent, without a word. The node waits for less time than the link would.
#[test]
fn a_connection_that_is_silent_is_replaced_when_nobody_waits_for_it_any_more() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let network = Network::before(&engine);
    let a = Node::enter(open(network.url(), configured(|_| ())), "a");
    let patience = Duration::from_millis(500);
    let runtime = Smol::default();
    let renew = || {
        let renewed = timeout(&runtime, patience, async {
            let (epoch, lease) = (a.epoch(), LEASE);
            a.cluster.perform(Request::Renew { epoch, lease }).await
        });
        block_on(renewed)
    };
    for _ in 0..3 {
        network.swallow();
        assert!(renew().is_none());
        let started = Instant::now();
        while renew().is_none_or(|renewed| renewed.is_err()) {
            assert!(started.elapsed() < SAFETY, "the connection is never replaced");
        }
    }
}

/// What lies between a node and its engine.
struct Network {
    port: u16,
    /// Connections with a lower number bring nothing any more, and stay open.
    first: Arc<AtomicUsize>,
    next: Arc<AtomicUsize>,
}

impl Network {
    fn before(engine: &Engine) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (first, next) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let network = Self { port: listener.local_addr().unwrap().port(), first, next };
        let (first, next, engine) = (network.first.clone(), network.next.clone(), engine.address());
        // It ends with the process.
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(engine).unwrap());
                let number = next.fetch_add(1, Ordering::SeqCst);
                for (mut from, mut to) in
                    [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)]
                {
                    let first = first.clone();
                    thread::spawn(move || {
                        let mut bytes = [0; 4096];
                        while let Ok(length @ 1..) = from.read(&mut bytes) {
                            if number >= first.load(Ordering::SeqCst)
                                && to.write_all(&bytes[..length]).is_err()
                            {
                                break;
                            }
                        }
                    });
                }
            }
        });
        network
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn swallow(&self) {
        self.first.store(self.next.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

#[test]
fn a_replica_refuses_and_changes_nothing() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let mut a = Node::enter(open(engine.url(), configured(|_| ())), "a");
    a.ask("k", create("k")).unwrap();
    engine.tell("REPLICAOF 127.0.0.1 1");
    for step in [JOIN, Step::Close, create("k")] {
        let error = a.ask("k", step).unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Refused);
        let text = whole_text(&error);
        assert!(text.contains("Engine::sentinel"), "{text}");
    }
    engine.tell("REPLICAOF NO ONE");
    assert!(matches!(a.ask("k", JOIN), Ok(SessionAnswer::Found { .. })));
}

#[test]
fn a_failover_is_another_engine_with_what_has_reached_it() {
    let Some(mut watched) = Watched::start() else { return };
    let config = configured(|config| config.timeout = Duration::from_secs(4));
    let mut a = Node::enter(open(place(&watched, "mymaster"), config.clone()), "a");
    let mut b = Node::enter(open(place(&watched, "mymaster"), config), "b");
    a.ask("k", create("k")).unwrap();
    let place = a.append("k", "one");
    crate::support::until("the replica has it all", || {
        let offset = |engine: &Engine| {
            let info = format!("{:?}", engine.tell("INFO replication"));
            let (_, offset) = info.split_once("master_repl_offset:").unwrap();
            offset.split('\\').next().unwrap().to_string()
        };
        offset(&watched.master) == offset(&watched.replica)
    });
    watched.fail_over();
    assert_eq!(a.hear(), Some(News::Interrupted));
    assert_eq!(b.hear(), Some(News::Interrupted));
    let (answer, _) = insist(|| a.renew());
    let Answer::Lease(lease) = answer else { panic!("{answer:?}") };
    assert_ne!(lease.data, a.lease.data);
    assert_eq!((lease.epoch, lease.nodes.len()), (a.epoch(), 2));
    assert!(matches!(b.ask("k", JOIN), Ok(SessionAnswer::Found { .. })));
    // What it had may be lost: offsets are not given to others.
    let other = b.append("k", "other");
    assert_ne!(other.incarnation, place.incarnation);
    assert_eq!(other.offset, 1);
    assert!(matches!(a.hear(), Some(News::Appended { end, .. }) if end == other));
    let read = HistoryStep::Read { after: place, most: 9, max_bytes: 99 };
    let HistoryAnswer::Read(batch) = b.history("k", read).unwrap() else { panic!() };
    assert_eq!((batch.gap, batch.first, batch.signals), (true, 1, vec!["other".into()]));
    b.send(Audience::All, "after").unwrap();
    assert_eq!(a.hear(), message(b.epoch(), "after"));
}

#[test]
fn a_node_that_does_not_listen_loses_news_and_no_memory() {
    const SENT: usize = 12_000;
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let a = Node::enter(open(engine.url(), configured(|_| ())), "a");
    let mut b = Node::enter(open(engine.url(), configured(|_| ())), "b");
    let send = || Request::Send { from: a.epoch(), to: Audience::All, message: "m".into() };
    block_on(async {
        let sent = stream::iter(0..SENT).map(|_| a.cluster.perform(send())).buffer_unordered(256);
        sent.for_each(|sent| async { assert_eq!(sent.unwrap(), Answer::Sent { nodes: 1 }) }).await;
    });
    let mut heard = 0;
    while b.hear() == message(a.epoch(), "m") {
        heard += 1;
    }
    // That was `Interrupted`. While it read, others arrived.
    let dropped = usize::try_from(b.cluster.dropped_news(b.epoch()).unwrap()).unwrap();
    assert!(dropped > 0 && heard < SENT, "{heard} and {dropped} of {SENT}");
    a.send(Audience::All, "after").unwrap();
    while b.hear() != message(a.epoch(), "after") {}
}

#[test]
fn nodes_on_different_runtimes_hear_each_other() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let mut a = Node::enter(open(engine.url(), configured(|_| ())), "a");
    a.ask("k", create("k")).unwrap();
    let url = engine.url();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sent = runtime.block_on(async {
        let cluster = Cluster::<Tokio>::connect(url, configured(|_| ())).await.unwrap();
        let enter = Request::Enter { name: "b".into(), lease: LEASE };
        let Ok(Answer::Lease(b)) = cluster.perform(enter).await else { panic!() };
        let to = Audience::Session(crate::support::key("k"));
        let send = Request::Send { from: b.epoch, to: to.clone(), message: "hello".into() };
        assert_eq!(cluster.perform(send).await.unwrap(), Answer::Sent { nodes: 1 });
        News::Message { from: b.epoch, to, message: "hello".into() }
    });
    assert_eq!(a.hear(), Some(sent));
}

#[test]
fn an_engine_that_is_down_does_not_keep_a_node_from_starting() {
    let Some(mut engine) = Engine::start(Program::Redis) else { return };
    engine.kill();
    let url = engine.url();
    let error = block_on(Cluster::<Smol>::connect(url.as_str(), impatient())).unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Unreachable);
    let cluster = block_on(Cluster::<Smol>::open(url.as_str(), impatient())).unwrap();
    let enter = || Request::Enter { name: "a".into(), lease: LEASE };
    block_on(cluster.perform(enter())).unwrap_err();
    engine.restart();
    let (answer, _) = insist(|| block_on(cluster.perform(enter())));
    assert!(matches!(answer, Answer::Lease(_)));
}
