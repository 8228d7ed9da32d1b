//! What nodes store, for how long, and beside a store.

use core::time::Duration;
use std::collections::BTreeMap;

use redis::{Value, cmd};
use smol::block_on;
use wwr_async::cluster::{
    Answer, Audience, Begun, Closing, Engine as _, EngineError, EngineErrorKind, Fingerprint,
    HistoryStep, News, OutcomeAnswer, OutcomeStep, Position, Request, Revision, Scope,
    SessionAnswer, Step,
};
use wwr_async::{SessionInfo, SessionKey, SessionStore as _, StoreErrorKind};
use wwr_redis::{Cluster, RedisConfig};
use wwr_smol::Smol;

use super::{JOIN, LEASE, Node, create, open};
use crate::support::{
    Engine, HOUR, Program, configured, key, seconds, session, store, tell, whole_text,
};

fn edit(user: &str) -> Step {
    Step::Edit { info: SessionInfo::new().public("user", user) }
}

fn confirm(known: u64) -> Step {
    Step::Confirm { places: 1, limit: None, known: Revision(known) }
}

fn edited(revision: u64) -> SessionAnswer {
    SessionAnswer::Edited { revision: Revision(revision) }
}

/// The user of the session that was found, and its revision.
fn found(answer: SessionAnswer) -> (String, u64) {
    let SessionAnswer::Found { session, revision } = answer else { panic!("{answer:?}") };
    (session.info.value("user").unwrap().as_str().unwrap().to_string(), revision.0)
}

/// How long each value lives, in milliseconds; -1: for ever. By the name up to the second colon.
fn lives(engine: &Engine) -> BTreeMap<String, i64> {
    let redis = &mut engine.connection();
    let kind = |name: &str| name.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
    let lives = |name: &String| cmd("PTTL").arg(name).query(redis).unwrap();
    let names = engine.names();
    names.iter().map(|name| kind(name)).zip(names.iter().map(lives)).collect()
}

#[test]
fn what_is_not_needed_any_more_is_removed_by_the_engine() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let expiring = configured(|config| config.expire_after = Some(HOUR));
    let mut a = Node::enter(open(engine.url(), expiring), "a");
    let hour = 3_600_000;
    a.ask("k", create("k")).unwrap();
    let life = lives(&engine);
    assert!((hour / 2..=hour).contains(&life["wwr:session"]), "{life:?}");
    // Nodes confirm the places that they have.
    assert!((1..=60_000).contains(&life["wwr:holders"]), "{life:?}");
    // Only what uses the session begins its time anew.
    let name = engine.names().into_iter().find(|name| name.starts_with("wwr:session:")).unwrap();
    for (step, anew) in [
        (Step::Place { places: 1 }, false),
        (edit("ada"), false),
        (confirm(2), true),
        (confirm(1), true),
        (JOIN, true),
    ] {
        engine.tell(&format!("PEXPIRE {name} 100000"));
        a.ask("k", step.clone()).unwrap();
        assert_eq!(lives(&engine)["wwr:session"] > 100_000, anew, "{step:?}");
    }
    // Places that were given up are remembered for a while, and so is that a session is closed.
    a.ask("k", Step::Place { places: 0 }).unwrap();
    let life = lives(&engine);
    assert!((1..=60_000).contains(&life["wwr:holders"]), "{life:?}");
    a.ask("k", JOIN).unwrap();
    // Signals go after their age, and what their offsets are stays as long as the session.
    a.append("k", "one");
    let life = lives(&engine);
    assert!((hour / 2..=hour).contains(&life["wwr:history"]), "{life:?}");
    assert!((1..=300_000).contains(&life["wwr:signals"]), "{life:?}");
    let history = engine.names().into_iter().find(|name| name.starts_with("wwr:history:")).unwrap();
    engine.tell(&format!("PEXPIRE {history} 100000"));
    a.ask("k", confirm(2)).unwrap();
    assert!(lives(&engine)["wwr:history"] > 100_000);
    a.ask("k", Step::Close).unwrap();
    let life = lives(&engine);
    assert!(!life.contains_key("wwr:history") && !life.contains_key("wwr:signals"), "{life:?}");
    assert!((1..=60_000).contains(&life["wwr:holders"]), "{life:?}");
    assert!((1..=60_000).contains(&life["wwr:session"]), "{life:?}");
    // Of a session that is closed, there is no info.
    let size: usize = cmd("STRLEN").arg(&name).query(&mut engine.connection()).unwrap();
    assert_eq!(size, 34);

    // Without a time, a session stays.
    let mut b = Node::enter(open(engine.url(), configured(|_| ())), "b");
    b.ask("other", create("other")).unwrap();
    assert!(engine.names().iter().any(|name| tell(
        &mut engine.connection(),
        &format!("PTTL {name}")
    ) == Value::Int(-1)
        && name.starts_with("wwr:session:")));
}

#[test]
fn groups_of_dead_nodes_are_removed_in_bounded_steps() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let a = Node::enter(open(engine.url(), configured(|_| ())), "a");
    let b = Node::enter(open(engine.url(), configured(|_| ())), "b");
    let groups = 250;
    for number in 0..groups {
        for node in [&a, &b] {
            let follow = Request::Follow { epoch: node.epoch(), group: number.to_string() };
            block_on(node.cluster.perform(follow)).unwrap();
        }
    }
    let followers = || -> usize {
        let names = engine.names();
        let groups = names.iter().filter(|name| name.starts_with("wwr:group:"));
        let redis = &mut engine.connection();
        groups.map(|name| cmd("SCARD").arg(name).query::<usize>(redis).unwrap()).sum()
    };
    assert_eq!(followers(), 2 * groups);
    block_on(b.cluster.perform(Request::Retire { epoch: b.epoch() })).unwrap();
    for left in [400, 300, 250, 250] {
        a.renew().unwrap();
        assert_eq!(followers(), left);
    }
    // Nothing else is left of it, and what comes late does not come back.
    let follow = Request::Follow { epoch: b.epoch(), group: "late".into() };
    block_on(b.cluster.perform(follow)).unwrap();
    assert!(!engine.names().iter().any(|name| name.ends_with("late")));
    let nodes = format!("{:?}", engine.tell("HGETALL wwr:nodes:{wwr:session:}"));
    assert!(!nodes.contains(&b.epoch().0.to_string()) || nodes.contains("last"), "{nodes}");
    assert!(!nodes.contains("dead:"), "{nodes}");
}

#[test]
fn nothing_in_the_engine_has_the_key() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    engine.tell("CONFIG SET slowlog-log-slower-than 0");
    engine.tell("CONFIG SET rdbcompression no");
    let secret = SessionKey::from_entropy([0xa5; SessionKey::ENTROPY]);
    let mut a = Node::enter(open(engine.url(), configured(|_| ())), "a");
    let mut b = Node::enter(open(engine.url(), configured(|_| ())), "b");
    let mut made = session("k");
    made.key = secret.clone();
    let name = secret.as_str();
    let mut heard = engine.connection();
    let mut heard = heard.as_pubsub();
    heard.psubscribe("*").unwrap();
    heard.set_read_timeout(Some(crate::support::SAFETY)).unwrap();
    a.ask(name, Step::Create { session: Box::new(made), places: 1 }).unwrap();
    b.ask(name, JOIN).unwrap();
    a.ask(name, edit("bob")).unwrap();
    a.send(Audience::Session(secret.clone()), "hello").unwrap();
    assert_eq!(b.hear(), Some(News::Changed { key: secret.clone(), revision: Revision(2) }));
    engine.tell("SAVE");
    let dump = std::fs::read(engine.directory.path().join("dump.rdb")).unwrap();
    let log = format!("{:?}", engine.tell("SLOWLOG GET 1000"));
    assert!(log.contains("EVALSHA") && log.contains("wwr:holders:{wwr:session:"));
    let mut texts = vec![dump, log.into_bytes(), engine.names().join(" ").into_bytes()];
    for _ in 0..2 {
        texts.push(heard.get_message().unwrap().get_payload_bytes().to_vec());
    }
    // Any eight letters of it would be too many.
    for start in 0..name.len() - 8 {
        let part = &name.as_bytes()[start..start + 8];
        assert!(texts.iter().all(|text| !text.windows(8).any(|window| window == part)));
    }
}

#[test]
fn nodes_and_a_store_use_the_same_sessions() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let store = store(&engine, configured(|_| ()));
    let mut a = Node::enter(open(engine.url(), configured(|_| ())), "a");
    // What a store has made has revision 0, until a node changes it.
    block_on(store.create(&session("old"))).unwrap();
    assert_eq!(a.ask("old", create("old")).unwrap(), SessionAnswer::Exists);
    assert_eq!(found(a.ask("old", JOIN).unwrap()), ("ada".into(), 0));
    assert_eq!(a.ask("old", confirm(0)).unwrap(), SessionAnswer::Same);
    let stored = block_on(store.look_up(&key("old"), seconds(400))).unwrap().unwrap();
    assert_eq!(stored.last_lookup, seconds(300));
    assert!(block_on(store.update(&key("old"), &session("old").info)).unwrap());
    assert_eq!(a.ask("old", edit("bob")).unwrap(), edited(1));
    let stored = block_on(store.look_up(&key("old"), seconds(500))).unwrap().unwrap();
    assert_eq!(stored.info.value("user").unwrap().as_str(), Some("bob"));
    assert_eq!((stored.created, stored.last_lookup), (seconds(100), seconds(400)));
    // A change by the store is one that nodes see when they confirm.
    assert!(block_on(store.update(&key("old"), &session("old").info)).unwrap());
    assert_eq!(found(a.ask("old", confirm(1)).unwrap()), ("ada".into(), 2));
    // Destroyed by the store, it is closed.
    block_on(store.destroy(&key("old"))).unwrap();
    block_on(store.destroy(&key("old"))).unwrap();
    assert_eq!(a.ask("old", confirm(2)).unwrap(), SessionAnswer::NotFound);
    assert_eq!(a.ask("old", create("old")).unwrap(), SessionAnswer::Exists);
    let again = block_on(store.create(&session("old"))).unwrap_err();
    assert_eq!(again.kind(), StoreErrorKind::KeyExists);

    // One that no node has changed is closed by a node, too.
    block_on(store.create(&session("older"))).unwrap();
    assert_eq!(a.ask("older", Step::Close).unwrap(), SessionAnswer::Closed);
    assert_eq!(block_on(store.look_up(&key("older"), seconds(400))).unwrap(), None);

    // And what a node has made is there for a store.
    a.ask("new", create("new")).unwrap();
    assert_eq!(block_on(store.look_up(&key("new"), seconds(400))).unwrap(), Some(session("new")));
    let closing = Closing::ByKey { disconnect: true };
    let close = Step::CloseForAll { expected: Some(Revision(1)), closing };
    assert_eq!(a.ask("new", close).unwrap(), SessionAnswer::Closed);
    assert_eq!(block_on(store.look_up(&key("new"), seconds(400))).unwrap(), None);
    assert!(!block_on(store.update(&key("new"), &SessionInfo::new())).unwrap());
}

#[test]
fn what_a_newer_release_has_stored_is_an_error_and_left_as_it_is() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let mut a = Node::enter(open(engine.url(), configured(|_| ())), "a");
    let steps = || [JOIN, edit("bob"), Step::Close, confirm(1), create("k")];
    let fails = |a: &mut Node, says: &str| {
        let dump = |name: &str| engine.tell(&format!("DUMP {name}"));
        let all =
            || engine.names().iter().map(|name| (name.clone(), dump(name))).collect::<Vec<_>>();
        let mut before = all();
        before.sort_by(|a, b| a.0.cmp(&b.0));
        for step in steps() {
            let error = a.ask("k", step).unwrap_err();
            assert_eq!(error.kind(), EngineErrorKind::Broken, "{error:?}");
            let text = whole_text(&error);
            assert!(text.contains(says), "{text}");
        }
        let mut after = all();
        after.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(after, before);
    };
    a.ask("k", create("k")).unwrap();
    let names = engine.names();
    let [record, holders] = ["wwr:session:", "wwr:holders:"]
        .map(|start| names.iter().find(|name| name.starts_with(start)).unwrap());
    engine.tell(&format!("SETRANGE {record} 0 \u{3}"));
    fails(&mut a, "newer release");
    engine.tell(&format!("SETRANGE {record} 0 \u{2}"));
    engine.tell(&format!("SETRANGE {record} 25 z"));
    fails(&mut a, "does anything else");
    engine.tell(&format!("SETRANGE {record} 25 o"));
    engine.tell(&format!("HSET {holders} {} newer", a.epoch().0));
    fails(&mut a, "newer release");
    engine.tell(&format!("DEL {holders}"));
    assert_eq!(found(a.ask("k", JOIN).unwrap()), ("ada".into(), 1));
    engine.tell(&format!("DEL {holders}"));
    engine.tell(&format!("SET {holders} x"));
    fails(&mut a, "WRONGTYPE");
    // What is beside the nodes is for others.
    engine.tell("HSET wwr:nodes:{wwr:session:} newer:thing x");
    assert!(matches!(a.renew(), Ok(Answer::Lease(_))));
    assert_eq!(a.send(Audience::All, "m").unwrap(), Answer::Sent { nodes: 0 });
    engine.tell(&format!("HSET wwr:nodes:{{wwr:session:}} {} newer", a.epoch().0));
    let error = a.renew().unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Broken, "{error:?}");
}

/// What nodes have, they keep and give up. What needs more is refused, and nobody hears of it.
#[test]
fn without_memory_nodes_and_their_sessions_go_on_and_may_be_closed() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let mut a = Node::enter(open(engine.url(), configured(|_| ())), "a");
    let mut b = Node::enter(open(engine.url(), configured(|_| ())), "b");
    for name in ["k", "l"] {
        a.ask(name, create(name)).unwrap();
        b.ask(name, JOIN).unwrap();
    }
    engine.tell("CONFIG SET maxmemory 1");
    assert!(matches!(a.renew(), Ok(Answer::Lease(_))));
    assert_eq!(a.ask("k", confirm(1)).unwrap(), SessionAnswer::Same);
    assert_eq!(a.send(Audience::Session(key("k")), "m").unwrap(), Answer::Sent { nodes: 1 });
    assert!(matches!(b.hear(), Some(News::Message { .. })));
    let follow = Request::Follow { epoch: a.epoch(), group: "red".into() };
    let refused = [
        a.ask("new", create("new")).unwrap_err(),
        a.ask("k", JOIN).unwrap_err(),
        block_on(a.cluster.perform(follow)).unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), EngineErrorKind::Full, "{error:?}");
        let text = whole_text(&error);
        assert!(text.contains("maxmemory"), "{text}");
    }
    assert_eq!(a.ask("l", Step::Place { places: 0 }).unwrap(), SessionAnswer::Placed);
    assert_eq!(b.ask("l", Step::Close).unwrap(), SessionAnswer::Closed);
    let closing = Closing::ByKey { disconnect: true };
    let close = Step::CloseForAll { expected: None, closing };
    assert_eq!(a.ask("k", close).unwrap(), SessionAnswer::Closed);
    assert_eq!(b.hear(), Some(News::Closed { key: key("k"), closing }));
    assert_eq!(b.ask("k", confirm(1)).unwrap(), SessionAnswer::NotFound);
}

/// What was begun has an end, and its outcome is known.
#[test]
fn without_memory_requests_that_were_begun_end_and_no_others_begin() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let mut a = Node::enter(open(engine.url(), configured(|_| ())), "a");
    let fresh = Scope(7);
    let attach = OutcomeStep::Attach { fresh, data: a.lease.data };
    let begin = |token| OutcomeStep::Begin { scope: fresh, token, content: Fingerprint([1; 16]) };
    assert_eq!(a.outcome(1, attach.clone()).unwrap(), OutcomeAnswer::Attached { scope: fresh });
    let mut begun = Vec::new();
    for token in 1..=2 {
        assert_eq!(a.outcome(1, begin(token)).unwrap(), OutcomeAnswer::Begun(Begun::Fresh));
        begun.push(a.number);
    }
    engine.tell("CONFIG SET maxmemory 1");
    for refused in [a.outcome(1, begin(3)), a.outcome(2, attach.clone())] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), EngineErrorKind::Full, "{error:?}");
    }
    assert_eq!(a.outcome(1, attach).unwrap(), OutcomeAnswer::Attached { scope: fresh });
    let outcome = Some("tea".into());
    let finish = OutcomeStep::Finish { scope: fresh, token: 1, begun: begun[0], outcome };
    assert_eq!(a.outcome(1, finish).unwrap(), OutcomeAnswer::Done);
    let undo = OutcomeStep::Undo { scope: fresh, token: 2, begun: begun[1] };
    assert_eq!(a.outcome(1, undo).unwrap(), OutcomeAnswer::Done);
    engine.tell("CONFIG SET maxmemory 0");
    let known = OutcomeAnswer::Begun(Begun::Done("tea".into()));
    assert_eq!(a.outcome(1, begin(1)).unwrap(), known);
    assert_eq!(a.outcome(1, begin(2)).unwrap(), OutcomeAnswer::Begun(Begun::Fresh));
}

/// Many clients may come only once.
#[test]
fn the_record_of_a_client_without_requests_is_small() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let mut a = Node::enter(open(engine.url(), configured(|_| ())), "a");
    let attach = OutcomeStep::Attach { fresh: Scope(u64::MAX), data: a.lease.data };
    a.outcome(1, attach).unwrap();
    let name: Vec<String> = engine.ask("KEYS wwr:outcomes:*");
    let bytes: u64 = engine.ask(&format!("MEMORY USAGE {}", name[0]));
    assert!(name.len() == 1 && bytes <= 400, "{bytes} bytes");
}

#[test]
fn services_with_different_prefixes_are_apart() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let prefix = |prefix: &str| configured(|config| config.prefix = prefix.into());
    let mut a = Node::enter(open(engine.url(), prefix("one:")), "a");
    let mut b = Node::enter(open(engine.url(), prefix("one:two:")), "b");
    assert_eq!((a.lease.nodes.len(), b.lease.nodes.len()), (1, 1));
    a.ask("k", create("k")).unwrap();
    assert_eq!(b.ask("k", JOIN).unwrap(), SessionAnswer::NotFound);
    assert_eq!(a.send(Audience::All, "m").unwrap(), Answer::Sent { nodes: 0 });
}

#[test]
fn settings_that_do_not_fit_nodes_are_refused_by_name() {
    let connect = |config: RedisConfig| -> EngineError {
        block_on(Cluster::<Smol>::open("redis://127.0.0.1", config)).unwrap_err()
    };
    for (setting, config) in [
        ("RedisConfig::prefix", configured(|config| config.prefix = String::new())),
        ("RedisConfig::prefix", configured(|config| config.prefix = "{".into())),
        ("RedisConfig::timeout", configured(|config| config.timeout = Duration::from_secs(21))),
        // Sessions in use would expire between two confirmations.
        (
            "RedisConfig::expire_after",
            configured(|config| config.expire_after = Some(Duration::from_secs(59))),
        ),
    ] {
        let error = connect(config);
        assert_eq!(error.kind(), EngineErrorKind::Invalid);
        assert!(error.to_string().contains(setting), "{error}");
    }
}

#[test]
fn a_user_needs_the_permissions_that_the_documentation_names_and_no_others() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let readme = include_str!("../../../README.md");
    let rule = readme.lines().find(|line| line.starts_with("ACL SETUSER wwr-node")).unwrap();
    engine.tell(&rule.replace("PASSWORD", "secret"));
    let url = format!("redis://wwr-node:secret@{}/", engine.address());
    let expiring = configured(|config| config.expire_after = Some(HOUR));
    let mut a = Node::enter(open(url.as_str(), expiring.clone()), "a");
    let mut b = Node::enter(open(url.as_str(), expiring), "b");
    for step in [create("k"), JOIN, edit("bob"), confirm(1), Step::Place { places: 1 }] {
        a.ask("k", step).unwrap();
    }
    b.ask("k", JOIN).unwrap();
    for node in [&a, &b] {
        let follow = Request::Follow { epoch: node.epoch(), group: "red".into() };
        block_on(node.cluster.perform(follow)).unwrap();
    }
    for to in [Audience::All, Audience::Group("red".into()), Audience::Session(key("k"))] {
        assert_eq!(a.send(to, "m").unwrap(), Answer::Sent { nodes: 1 });
        assert!(matches!(b.hear(), Some(News::Message { .. })));
    }
    for _ in 0..2 {
        a.append("k", "one");
        assert!(matches!(b.hear(), Some(News::Appended { .. })));
    }
    let none = Position { incarnation: 0, offset: 0 };
    let read = HistoryStep::Read { after: none, most: 1, max_bytes: 1 };
    b.history("k", read).unwrap();
    let retire = Request::Retire { epoch: b.epoch() };
    block_on(b.cluster.perform(retire)).unwrap();
    a.renew().unwrap();
    let unfollow = Request::Unfollow { epoch: a.epoch(), group: "red".into() };
    block_on(a.cluster.perform(unfollow)).unwrap();
    let close = Step::CloseForAll { expected: None, closing: Closing::ByOther };
    assert_eq!(a.ask("k", close).unwrap(), SessionAnswer::Closed);

    // One that may not publish is found at once.
    engine.tell("ACL SETUSER wwr-node -publish");
    let error = block_on(Cluster::<Smol>::connect(url.as_str(), configured(|_| ()))).unwrap_err();
    assert_eq!(error.kind(), EngineErrorKind::Refused);
    let text = whole_text(&error);
    assert!(text.contains("README"), "{text}");
    let enter = Request::Enter { name: "c".into(), lease: LEASE };
    block_on(a.cluster.perform(enter)).unwrap();
}
