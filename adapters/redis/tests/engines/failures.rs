//! Engines that are down, hang, are killed, and come back.

use core::time::Duration;
use std::net::TcpListener;
use std::thread;
use std::time::Instant;

use futures_util::future::join_all;
use smol::block_on;
use wwr_async::{SessionStore as _, StoreErrorKind};
use wwr_redis::RedisStore;
use wwr_smol::Smol;

use crate::support::{
    Engine, Program, SAFETY, configured, free_port, impatient, key, seconds, session, store,
    until_it_works, whole_text,
};

fn open(url: &str) -> RedisStore<Smol> {
    block_on(RedisStore::open(url, impatient())).unwrap()
}

#[test]
fn an_engine_that_is_down_is_an_error_at_once_and_is_found_when_it_is_up() {
    let Some(mut engine) = Engine::start(Program::Redis) else { return };
    engine.kill();
    let url = engine.url();
    let error = block_on(RedisStore::<Smol>::connect(url.as_str(), impatient())).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Failed);
    let text = whole_text(&error);
    let host = engine.address().to_string();
    assert!(text.contains(&host) && text.contains("refused"), "{text}");

    // A server may start all the same.
    let store = open(&url);
    for _ in 0..100 {
        block_on(store.look_up(&key("k"), seconds(1))).unwrap_err();
    }
    engine.restart();
    until_it_works(&store);
    block_on(store.create(&session("k"))).unwrap();
}

#[test]
fn an_engine_that_is_killed_and_comes_back_empty_has_no_sessions() {
    let Some(mut engine) = Engine::start(Program::Redis) else { return };
    let store = store(&engine, impatient());
    block_on(store.create(&session("k"))).unwrap();
    for _ in 0..3 {
        engine.kill();
        let error = block_on(store.look_up(&key("k"), seconds(200))).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Failed);
        block_on(store.create(&session("other"))).unwrap_err();
        block_on(store.destroy(&key("k"))).unwrap_err();
        engine.restart();
        until_it_works(&store);
        assert_eq!(block_on(store.look_up(&key("k"), seconds(200))).unwrap(), None);
        block_on(store.create(&session("k"))).unwrap();
    }
}

/// Not the kernel, which accepts connections for it.
#[test]
fn calls_of_an_engine_that_hangs_end_and_it_is_used_again_when_it_goes_on() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let store = store(&engine, impatient());
    block_on(store.create(&session("k"))).unwrap();
    engine.pause();
    let started = Instant::now();
    let calls = (0..1000).map(|_| async {
        let key = key("k");
        store.look_up(&key, seconds(200)).await.unwrap_err()
    });
    let errors = block_on(join_all(calls));
    assert!(started.elapsed() < SAFETY);
    for error in errors {
        assert_eq!(error.kind(), StoreErrorKind::Failed);
        let text = whole_text(&error);
        let late = text.contains("did not answer EVALSHA within 500ms");
        assert!(late && text.contains("RedisConfig::timeout"), "{text}");
    }
    // Now there is no connection, and none can be made.
    let error = block_on(store.look_up(&key("k"), seconds(200))).unwrap_err();
    let text = whole_text(&error);
    assert!(text.contains("RedisConfig::connect_timeout"), "{text}");
    engine.resume();
    until_it_works(&store);
    let found = block_on(store.look_up(&key("k"), seconds(300))).unwrap();
    assert_eq!(found.map(|session| session.info), Some(session("k").info));
}

#[test]
fn something_that_accepts_and_says_nothing_is_no_engine() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let accepting = thread::spawn(move || listener.accept());
    let error = block_on(RedisStore::<Smol>::connect(url, impatient())).unwrap_err();
    let text = whole_text(&error);
    assert!(text.contains("took too long") && text.contains("connect_timeout"), "{text}");
    accepting.join().unwrap().unwrap();
}

#[test]
fn something_that_speaks_otherwise_is_no_engine() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://:hunter2@{}", listener.local_addr().unwrap());
    let answering = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut socket, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Until the other side closes.
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    });
    let error = block_on(RedisStore::<Smol>::connect(url, impatient())).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Failed);
    assert!(!whole_text(&error).contains("hunter2"));
    answering.join().unwrap();
}

#[test]
fn a_connection_that_the_engine_closed_is_replaced() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let store = store(&engine, configured(|_| ()));
    block_on(store.create(&session("k"))).unwrap();
    for _ in 0..20 {
        engine.tell("CLIENT KILL TYPE normal SKIPME yes");
        // A call may be on its way just then. The next one is not.
        until_it_works(&store);
        assert!(block_on(store.look_up(&key("k"), seconds(200))).unwrap().is_some());
    }
}

/// One that nobody listens on: an attempt is refused at once, so only the pause keeps calls from trying.
#[test]
fn an_engine_that_is_down_is_not_tried_at_each_call() {
    let store = open(&format!("redis://127.0.0.1:{}", free_port()));
    let started = Instant::now();
    let mut calls = 0_u32;
    let mut waits = 0_u32;
    while started.elapsed() < Duration::from_millis(300) {
        let error = block_on(store.look_up(&key("k"), seconds(1))).unwrap_err();
        assert!(whole_text(&error).contains("no connection"), "{error}");
        calls += 1;
        waits += u32::from(error.to_string().contains("again 100ms after"));
    }
    // Thousands, of which some two tried. A machine that is slow makes fewer.
    assert!(calls >= 1 && waits >= 1, "{calls} {waits}");
}

#[test]
fn many_calls_wait_for_one_connection() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let store = block_on(RedisStore::<Smol>::open(engine.url(), configured(|_| ()))).unwrap();
    let calls = (0..1000).map(|number| {
        let store = store.clone();
        async move { store.create(&session(&number.to_string())).await }
    });
    for created in block_on(join_all(calls)) {
        created.unwrap();
    }
    let stats = format!("{:?}", engine.tell("INFO stats"));
    // The other one is that of the test, and the first was the look whether it is up.
    assert!(stats.contains("total_connections_received:3"), "{stats}");
}
