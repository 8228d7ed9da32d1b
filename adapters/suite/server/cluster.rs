//! Servers that are one service: sessions, limits, changes and signals over nodes, and an engine that fails.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use wwr::{CloseFrame, PreparedSignal, SessionInfo, SessionKey};

use super::broadcast::sent;
use super::sessions::{login, resume};
use crate::adapter::client::Client;
use crate::adapter::cluster::{
    Answer, Audience, ClusterConfig, ClusterState, Engine, EngineError, EngineErrorKind, Epoch,
    MemoryCluster, News, Request, SendOutcome,
};
use crate::adapter::server::{Broadcast, Config, Connection, Connections, Server, SlowReader};
use crate::adapter::{MemoryStore, block_on, runtime};
use crate::suite::support::app::{App, Event};
use crate::suite::support::message::{
    INTERNAL, MAX_CONNECTIONS, SESSION_CLOSED, UTF8, answer, restore, signal, special,
};
use crate::suite::support::peer::Peer;
use crate::suite::support::{Fixture, configured, until};

/// What an engine does when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Works,
    Fails,
    Panics,
    /// Never answers.
    Hangs,
}

/// An engine in memory with a switch. Clones share both.
#[derive(Clone)]
struct Switched {
    inner: MemoryCluster,
    mood: Arc<Mutex<Mood>>,
    /// How often news end, before there are more.
    ends: Arc<Mutex<usize>>,
    /// How many requests it is working on.
    pending: Arc<()>,
    /// What it has of this session cannot be read.
    broken: Arc<Mutex<Option<SessionKey>>>,
}

impl Switched {
    fn new() -> Self {
        let mood = Arc::new(Mutex::new(Mood::Works));
        let (ends, pending, broken) = Default::default();
        Self { inner: MemoryCluster::new(), mood, ends, pending, broken }
    }

    fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    async fn act(&self) -> Result<(), EngineError> {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Works => Ok(()),
            Mood::Fails => Err(EngineError::new(EngineErrorKind::Refused, "in a bad mood")),
            Mood::Panics => panic!("an engine of a test panics on purpose"),
            Mood::Hangs => std::future::pending().await,
        }
    }
}

impl Engine for Switched {
    async fn perform(&self, request: Request) -> Result<Answer, EngineError> {
        let _pending = self.pending.clone();
        self.act().await?;
        let of = match &request {
            Request::Session(request) => Some(&request.key),
            Request::Send { to: Audience::Session(key), .. } => Some(key),
            _ => None,
        };
        if of.is_some() && of == self.broken.lock().unwrap().as_ref() {
            return Err(EngineError::new(EngineErrorKind::Broken, "it is of a newer release"));
        }
        self.inner.perform(request).await
    }

    async fn next_news(&self, epoch: Epoch) -> Option<News> {
        let news = self.inner.next_news(epoch).await;
        let mut ends = self.ends.lock().unwrap();
        if *ends > 0 {
            *ends -= 1;
            return None;
        }
        news
    }
}

/// A node that takes part.
fn node(name: &str, engine: &Switched, change: impl FnOnce(&mut Config)) -> Fixture {
    node_with(ClusterConfig::new(name), engine, change)
}

fn node_with(
    cluster: ClusterConfig,
    engine: &Switched,
    change: impl FnOnce(&mut Config),
) -> Fixture {
    let fixture = Fixture::built(|builder| {
        builder.config(configured(change)).cluster(engine.clone(), cluster)
    });
    until(|| is_member(&fixture));
    fixture
}

fn state(node: &Fixture) -> ClusterState {
    node.server.handle.stats().cluster.unwrap().state
}

fn is_member(node: &Fixture) -> bool {
    matches!(state(node), ClusterState::Member { confirms: false, .. })
}

/// A node that is fenced within a second.
fn hasty(name: &str) -> ClusterConfig {
    let mut config = ClusterConfig::new(name);
    config.lease = Duration::from_secs(1);
    config.request_timeout = Duration::from_millis(200);
    config
}

fn connect(node: &Fixture) -> (Peer, Connection) {
    let peer = Peer::connect(node.address());
    loop {
        if let Event::Connected(connection) = node.event() {
            return (peer, connection);
        }
    }
}

fn key(text: &str) -> SessionKey {
    SessionKey::new(text).unwrap()
}

/// Checks the part of this node, and waits for that of the others.
fn forwarded(told: Broadcast, here: usize) -> SendOutcome {
    let forwarded = told.forwarded.clone().expect("there is a cluster");
    assert_eq!(Broadcast { forwarded: None, ..told }, sent(here));
    smol::block_on(forwarded.outcome())
}

const TO: fn(u32) -> SendOutcome = |nodes| SendOutcome::Sent { nodes };

#[test]
fn sessions_and_their_limits_are_those_of_all_nodes() {
    let engine = Switched::new();
    let limit = |config: &mut Config| {
        config.hub.sessions.max_connections = Some(2.try_into().unwrap());
    };
    let [a, b, c] = ["a", "b", "c"].map(|name| node(name, &engine, limit));
    let (mut first, _) = connect(&a);
    let key = login(&mut first);
    let (mut second, _) = connect(&b);
    resume(&mut second, &key);
    let (mut third, _) = connect(&c);
    third.send(&restore(1, &key));
    assert_eq!(third.message(), special(MAX_CONNECTIONS, 1));
    // Also on a node that has the session already.
    let (mut fourth, _) = connect(&a);
    fourth.send(&restore(1, &key));
    assert_eq!(fourth.message(), special(MAX_CONNECTIONS, 1));

    drop(first);
    until(|| {
        third.send(&restore(2, &key));
        third.message()[0] != MAX_CONNECTIONS
    });
    assert_eq!(c.server.handle.active_sessions(), 1);
    let stats = c.server.handle.stats().cluster.unwrap();
    assert_eq!((stats.name.as_str(), stats.nodes.len()), ("c", 3));
}

#[test]
fn changes_and_closings_reach_the_connections_on_all_nodes() {
    let engine = Switched::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| node(name, &engine, |_| {}));
    for connections in [Connections::Keep, Connections::Close] {
        let (mut on_a, of_a) = connect(&a);
        let key = key(&login(&mut on_a));
        let (mut on_b, of_b) = connect(&b);
        resume(&mut on_b, key.as_str());
        let info = SessionInfo::new().public("user", "bob").private("hidden", "secret");
        block_on(of_a.update_session(info)).unwrap();
        let user = |of: &Connection| of.session().and_then(|of| of.info.value("user").cloned());
        until(|| user(&of_b) == Some("bob".into()));

        // The third node has no connection of it.
        let told = block_on(c.server.handle.close_session(key.clone(), connections.clone()));
        assert_eq!(told, Ok(0));
        for (peer, of) in [(&mut on_a, &of_a), (&mut on_b, &of_b)] {
            until(|| of.session().is_none());
            while peer.message() != SESSION_CLOSED {}
            match connections {
                Connections::Keep => peer.is_served(),
                _ => peer.closed_with(1000),
            }
        }
        let (mut late, _) = connect(&b);
        late.send(&restore(1, key.as_str()));
        assert_eq!(late.message()[0], 3, "it is not found");
    }
}

#[test]
fn a_close_frame_of_the_application_is_for_its_own_node() {
    let engine = Switched::new();
    let [a, b] = ["a", "b"].map(|name| node(name, &engine, |_| {}));
    let (mut on_a, _) = connect(&a);
    let key = login(&mut on_a);
    let (mut on_b, _) = connect(&b);
    resume(&mut on_b, &key);
    let frame = CloseFrame::new(4003, "banned").unwrap();
    let closed =
        a.server.handle.close_session(super::cluster::key(&key), Connections::CloseWith(frame));
    assert_eq!(block_on(closed), Ok(1));
    assert_eq!(on_a.message(), SESSION_CLOSED);
    on_a.closed_with(4003);
    assert_eq!(on_b.message(), SESSION_CLOSED);
    on_b.closed_with(1000);
}

#[test]
fn signals_reach_sessions_groups_and_all_on_other_nodes_in_order_and_once() {
    let engine = Switched::new();
    let [a, b, c] = ["a", "b", "c"].map(|name| node(name, &engine, |_| {}));
    let (mut on_a, of_a) = connect(&a);
    let key = login(&mut on_a);
    let (mut on_b, of_b) = connect(&b);
    resume(&mut on_b, &key);
    let (mut on_c, of_c) = connect(&c);
    assert_eq!([&of_a, &of_b].map(|of| of.join("tea")), [Ok(true), Ok(true)]);
    let handle = &a.server.handle;
    // The engine learns by and by who follows a group.
    until(|| forwarded(handle.group("tea").signal("x", "x").unwrap(), 1) == TO(1));
    while on_b.message() != signal(UTF8, "x", b"x") {}
    let tea = || handle.group("tea");
    let session = || handle.session_group(&super::cluster::key(&key));
    let all = PreparedSignal::new("all", "0").unwrap();
    assert_eq!(forwarded(session().signal("first", "1").unwrap(), 1), TO(1));
    assert_eq!(forwarded(tea().except(&of_a).signal("tea", "2").unwrap(), 0), TO(1));
    assert_eq!(forwarded(handle.signal_all(&all), 1), TO(2));
    assert_eq!(tea().on_this_node().signal("here", "3").unwrap(), sent(1));
    let nobody = handle.session_group(&super::cluster::key("unknown"));
    assert_eq!(forwarded(nobody.signal("nobody", "4").unwrap(), 0), TO(0));
    for message in
        [signal(UTF8, "first", b"1"), signal(UTF8, "tea", b"2"), signal(UTF8, "all", b"0")]
    {
        assert_eq!(on_b.message(), message);
    }
    assert_eq!(on_c.message(), signal(UTF8, "all", b"0"));
    // Their policy goes with them.
    let latest = tea().slow_readers(SlowReader::Disconnect);
    let last = (0..500).map(|number: u32| latest.signal("count", number.to_string()).unwrap());
    let last: Vec<_> = last.map(|told| told.forwarded.unwrap()).collect();
    for forwarded in last {
        assert_eq!(block_on(forwarded.outcome()), TO(1));
    }
    for number in 0..500 {
        assert_eq!(on_b.message(), signal(UTF8, "count", number.to_string().as_bytes()));
    }
    on_b.is_served();
    on_c.is_served();
    drop((of_c, on_a));
}

#[test]
fn a_server_alone_passes_nothing_on() {
    let fixture = Fixture::new();
    let (_peer, _) = connect(&fixture);
    let all = PreparedSignal::new("all", "0").unwrap();
    let told = fixture.server.handle.signal_all(&all);
    assert_eq!((&told.forwarded, &told), (&None, &sent(1)));
    assert_eq!(fixture.server.handle.stats().cluster, None);
}

#[test]
fn without_the_engine_local_work_goes_on_and_sessions_fail_at_once() {
    for mood in [Mood::Fails, Mood::Panics, Mood::Hangs] {
        let engine = Switched::new();
        let mut config = ClusterConfig::new("a");
        config.lease = Duration::from_secs(15);
        config.request_timeout = Duration::from_millis(100);
        let a = node_with(config.clone(), &engine, |_| {});
        let (mut ada, of_ada) = connect(&a);
        let key = login(&mut ada);
        engine.becomes(mood);
        let (mut bob, _) = connect(&a);
        // The first one finds out. It may have been carried out.
        assert_eq!(bob.ask(1, "login", "bob"), special(INTERNAL, 1), "{mood:?}");
        until(|| matches!(state(&a), ClusterState::Away { .. }));
        bob.send(&restore(2, &key));
        assert_eq!(bob.message(), special(INTERNAL, 2), "{mood:?}");
        assert_eq!(bob.ask(3, "login", "bob"), special(INTERNAL, 3), "{mood:?}");
        let refused = a.server.handle.stats().cluster.unwrap().counters.refused;
        assert!(refused >= 2, "{mood:?}: {refused}");

        // Requests, and signals here.
        assert_eq!(ada.ask(4, "echo", "x"), answer(4, "x"));
        assert!(of_ada.session().is_some());
        let all = PreparedSignal::new("all", "0").unwrap();
        assert_eq!(forwarded(a.server.handle.signal_all(&all), 2), SendOutcome::Unavailable);
        for peer in [&mut ada, &mut bob] {
            assert_eq!(peer.message(), signal(UTF8, "all", b"0"));
        }

        engine.becomes(Mood::Works);
        until(|| is_member(&a));
        let (mut cat, _) = connect(&a);
        resume(&mut cat, &key);
        assert_eq!(forwarded(a.server.handle.signal_all(&all), 3), TO(0));
    }
}

#[test]
fn a_node_that_has_lost_its_part_closes_connections_with_a_session_and_they_come_back() {
    let engine = Switched::new();
    let a = node_with(hasty("a"), &engine, |_| {});
    let (mut bystander, _) = connect(&a);
    let (mut ada, _) = connect(&a);
    let key = login(&mut ada);
    let url = format!("ws://{}/", a.address());
    let client = block_on(Client::connect_to(&url)).unwrap();
    block_on(client.request("login", "bob")).unwrap();
    let session = client.session().unwrap().key;

    engine.becomes(Mood::Hangs);
    ada.closed_with(1012);
    bystander.is_served();
    assert_eq!(state(&a), ClusterState::Outside);
    let (mut late, _) = connect(&a);
    late.send(&restore(1, &key));
    assert_eq!(late.message(), special(INTERNAL, 1));

    engine.becomes(Mood::Works);
    until(|| is_member(&a));
    late.send(&restore(2, &key));
    assert_eq!(late.message()[..9], special(192, 2));
    // The client restores its session before it asks.
    let who = r#"Some("bob") Some("secret")"#;
    until(|| {
        let asked = block_on(client.request("whoami", ""));
        asked.is_ok_and(|reply| reply.text().is_ok_and(|text| text == who))
    });
    assert_eq!(client.session().unwrap().key, session);
    bystander.is_served();
    assert!(a.server.handle.stats().cluster.unwrap().counters.dropped >= 2);
}

/// It may be of a newer release. Other sessions and signals go on, on all nodes.
#[test]
fn a_session_that_the_engine_cannot_serve_fails_alone() {
    let engine = Switched::new();
    let [a, b] = ["a", "b"].map(|name| node(name, &engine, |_| {}));
    let (mut ada, of_ada) = connect(&a);
    let broken = login(&mut ada);
    *engine.broken.lock().unwrap() = Some(key(&broken));
    let (mut bob, of_bob) = connect(&b);
    bob.send(&restore(1, &broken));
    assert_eq!(bob.message(), special(INTERNAL, 1));
    let info = of_ada.session().unwrap().info;
    assert!(block_on(of_ada.update_session(info.clone())).is_err());
    let closed = b.server.handle.close_session(key(&broken), Connections::Keep);
    assert!(block_on(closed).is_err());
    let group = b.server.handle.session_group(&key(&broken));
    assert_eq!(forwarded(group.signal("x", "x").unwrap(), 0), SendOutcome::Unavailable);

    // The one that holds it goes on, and so do all others.
    assert_eq!(ada.ask(2, "echo", "x"), answer(2, "x"));
    assert!(of_ada.session().is_some());
    let other = login(&mut bob);
    block_on(of_bob.update_session(info)).unwrap();
    let (mut cat, _) = connect(&a);
    resume(&mut cat, &other);
    let group = b.server.handle.session_group(&key(&other));
    assert_eq!(forwarded(group.signal("x", "x").unwrap(), 1), TO(1));
    for node in [&a, &b] {
        let counters = node.server.handle.stats().cluster.unwrap().counters;
        assert_eq!((counters.away, counters.failed), (0, 0));
    }
    // Until it can be read again.
    *engine.broken.lock().unwrap() = None;
    let (mut dan, _) = connect(&b);
    resume(&mut dan, &broken);
}

#[test]
fn an_engine_that_never_answers_keeps_nothing_of_a_node_that_has_lost_its_part() {
    let engine = Switched::new();
    let a = node_with(hasty("a"), &engine, |_| {});
    for _ in 0..3 {
        engine.becomes(Mood::Hangs);
        until(|| matches!(state(&a), ClusterState::Outside));
        engine.becomes(Mood::Works);
        until(|| is_member(&a));
        // This test has one, and the node.
        until(|| Arc::strong_count(&engine.pending) == 2);
    }
}

#[test]
fn a_node_listens_again_when_its_news_end() {
    let engine = Switched::new();
    let [a, b] = ["a", "b"].map(|name| node(name, &engine, |_| {}));
    let (mut on_b, _) = connect(&b);
    *engine.ends.lock().unwrap() = 1;
    let all = PreparedSignal::new("all", "0").unwrap();
    assert_eq!(forwarded(a.server.handle.signal_all(&all), 0), TO(1));
    until(|| *engine.ends.lock().unwrap() == 0);
    let interruptions = || b.server.handle.stats().cluster.unwrap().counters.interruptions;
    until(|| interruptions() >= 2);
    let all = PreparedSignal::new("all", "1").unwrap();
    assert_eq!(forwarded(a.server.handle.signal_all(&all), 0), TO(1));
    assert_eq!(on_b.message(), signal(UTF8, "all", b"1"));
}

#[test]
fn a_shutdown_gives_the_places_free_also_if_the_engine_does_not_answer() {
    let engine = Switched::new();
    let one = |config: &mut Config| {
        config.hub.sessions.max_connections = Some(1.try_into().unwrap());
    };
    let [a, b] = ["a", "b"].map(|name| node(name, &engine, one));
    let (mut ada, _) = connect(&a);
    let key = login(&mut ada);
    block_on(a.server.handle.shut_down(Duration::ZERO));
    // At once, and not after a lease: the engine knows when the call returns.
    let enter = Request::Enter { name: "c".into(), lease: Duration::from_secs(1) };
    let Ok(Answer::Lease(lease)) = block_on(engine.inner.perform(enter)) else { panic!() };
    let names: Vec<_> = lease.nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(names, ["b", "c"]);
    // The other node learns of it when it renews its lease.
    let (mut bob, _) = connect(&b);
    until(|| {
        bob.send(&restore(1, &key));
        bob.message()[0] != MAX_CONNECTIONS
    });
    engine.becomes(Mood::Hangs);
    block_on(b.server.handle.shut_down(Duration::ZERO));
    b.server.wait_for_end();
}

#[test]
fn a_server_has_a_store_or_a_cluster_and_not_both() {
    let build = |name: &str| {
        let builder = Server::builder_on(runtime(), App::new().0);
        builder.cluster(MemoryCluster::new(), ClusterConfig::new(name))
    };
    let both = build("a").store(MemoryStore::new()).headless();
    let error = both.err().unwrap().to_string();
    assert!(error.contains("Builder::store") && error.contains("Builder::cluster"), "{error}");
    let error = build("").headless().err().unwrap().to_string();
    assert_eq!(error, "cluster.name has 0 bytes; it has to have 1 to 255");
}

#[test]
fn a_hub_that_waits_for_its_engine_ends_with_its_runtime() {
    let engine = Switched::new();
    let a = node("a", &engine, |_| {});
    engine.becomes(Mood::Hangs);
    let all = PreparedSignal::new("all", "0").unwrap();
    let told = a.server.handle.signal_all(&all).forwarded.unwrap();
    drop(a);
    let outcome = block_on(told.outcome());
    assert!(matches!(outcome, SendOutcome::Unknown | SendOutcome::Unavailable), "{outcome:?}");
}
