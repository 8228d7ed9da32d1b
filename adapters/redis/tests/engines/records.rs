//! What is stored, and for how long.

use core::time::Duration;
use std::time::Instant;

use redis::{Connection, Value, cmd};
use smol::block_on;
use wwr_async::{Removed, SessionInfo, SessionKey, SessionStore as _, StoreErrorKind};

use crate::support::{
    Engine, HOUR, Program, SAFETY, configured, key, seconds, session, store, tell, whole_text,
};

/// How long a value still lives, in milliseconds; -1: for ever.
fn lives(connection: &mut Connection, name: &str) -> i64 {
    cmd("PTTL").arg(name).query(connection).unwrap()
}

#[test]
fn nothing_in_the_engine_has_the_key() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    engine.tell("CONFIG SET slowlog-log-slower-than 0");
    engine.tell("CONFIG SET rdbcompression no");
    let store = store(&engine, configured(|_| ()));
    let secret = SessionKey::from_entropy([0xa5; SessionKey::ENTROPY]);
    let mut session = session("k");
    session.key = secret.clone();
    block_on(async {
        store.create(&session).await.unwrap();
        store.look_up(&secret, seconds(200)).await.unwrap().unwrap();
        assert!(store.update(&secret, &SessionInfo::new().public("a", 1)).await.unwrap());
    });
    engine.tell("SAVE");
    let dump = std::fs::read(engine.directory.path().join("dump.rdb")).unwrap();
    let has = |text: &str| dump.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(has("wwr:session:") && has(r#"{"i":{"a":1}}"#));
    let name = engine.only_name();
    let log = format!("{:?}", engine.tell("SLOWLOG GET 100"));
    assert!(log.contains("EVALSHA") && log.contains(&name));
    // Any eight letters of it would be too many.
    for start in 0..secret.as_str().len() - 8 {
        let part = &secret.as_str()[start..start + 8];
        assert!(!has(part) && !log.contains(part) && !name.contains(part));
    }
}

#[test]
fn a_record_of_another_version_is_an_error_and_left_as_it_is() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let store = store(&engine, configured(|config| config.expire_after = Some(HOUR)));
    let redis = &mut engine.connection();
    block_on(store.create(&session("k"))).unwrap();
    let name = engine.only_name();
    tell(redis, &format!("SETRANGE {name} 0 \u{3}"));
    tell(redis, &format!("PEXPIRE {name} 100000"));
    let before = tell(redis, &format!("GET {name}"));

    let found = block_on(store.look_up(&key("k"), seconds(200))).unwrap_err();
    let updated = block_on(store.update(&key("k"), &SessionInfo::new())).unwrap_err();
    for error in [found, updated] {
        assert_eq!(error.kind(), StoreErrorKind::Broken);
        let text = whole_text(&error);
        assert!(text.contains("newer release") && text.contains("version 3"), "{text}");
    }
    let created = block_on(store.create(&session("k"))).unwrap_err();
    assert_eq!(created.kind(), StoreErrorKind::KeyExists);
    assert_eq!(tell(redis, &format!("GET {name}")), before);
    assert!(lives(redis, &name) <= 100_000);
    // It can be ended nevertheless.
    block_on(store.destroy(&key("k"))).unwrap();
    assert!(engine.names().is_empty());
}

#[test]
fn what_is_no_record_is_an_error_and_left_as_it_is() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let store = store(&engine, configured(|_| ()));
    let redis = &mut engine.connection();
    block_on(store.create(&session("k"))).unwrap();
    let name = engine.only_name();
    for (index, make) in [
        &["SET {} x"][..],
        &["SET {} "],
        &["SET {} \u{1}234567890123456789012345"],
        &["SET {} \u{1}", "SETRANGE {} 5000000 x"],
        &["DEL {}", "RPUSH {} x"],
        &["DEL {}", "HSET {} x y"],
    ]
    .into_iter()
    .enumerate()
    {
        for command in make {
            tell(redis, &command.replace("{}", &name));
        }
        let dump = |redis: &mut Connection| tell(redis, &format!("DUMP {name}"));
        let before = dump(redis);
        let error = block_on(store.look_up(&key("k"), seconds(200))).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Broken, "{index}: {error}");
        let error = block_on(store.update(&key("k"), &SessionInfo::new())).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Broken, "{index}: {error}");
        let error = block_on(store.create(&session("k"))).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::KeyExists, "{index}");
        assert_eq!(dump(redis), before, "{index}");
    }
    let error = block_on(store.look_up(&key("k"), seconds(200))).unwrap_err();
    let text = whole_text(&error);
    assert!(text.contains("WRONGTYPE") && text.contains("RedisConfig::prefix"), "{text}");
}

fn expiry_of(program: Program) {
    let Some(engine) = Engine::start(program) else { return };
    let expiring = store(&engine, configured(|config| config.expire_after = Some(HOUR)));
    let keeping = store(&engine, configured(|_| ()));
    let redis = &mut engine.connection();
    let hour = 3_600_000;
    block_on(expiring.create(&session("k"))).unwrap();
    let name = engine.only_name();
    let new = lives(redis, &name);
    assert!((hour / 2..=hour).contains(&new), "{new}");

    // A look-up begins the time anew, an update does not.
    tell(redis, &format!("PEXPIRE {name} 100000"));
    assert!(block_on(expiring.update(&key("k"), &SessionInfo::new())).unwrap());
    assert!((1..=100_000).contains(&lives(redis, &name)));
    block_on(expiring.look_up(&key("k"), seconds(200))).unwrap().unwrap();
    assert!((hour / 2..=hour).contains(&lives(redis, &name)));
    // What the settings say holds from the next look-up on.
    block_on(keeping.look_up(&key("k"), seconds(200))).unwrap().unwrap();
    assert_eq!(lives(redis, &name), -1);
    assert!(block_on(keeping.update(&key("k"), &SessionInfo::new())).unwrap());
    assert_eq!(lives(redis, &name), -1);
    block_on(expiring.look_up(&key("k"), seconds(200))).unwrap().unwrap();

    // One whose time is over is gone, and nothing but a creation brings it back.
    tell(redis, &format!("PEXPIRE {name} 1"));
    let started = Instant::now();
    while tell(redis, &format!("EXISTS {name}")) == Value::Int(1) {
        assert!(started.elapsed() < SAFETY);
    }
    assert!(!block_on(expiring.update(&key("k"), &SessionInfo::new())).unwrap());
    assert_eq!(block_on(expiring.look_up(&key("k"), seconds(200))).unwrap(), None);
    assert!(engine.names().is_empty());
    block_on(expiring.create(&session("k"))).unwrap();
}

#[test]
fn the_engine_removes_sessions_that_nobody_looks_up() {
    expiry_of(Program::Redis);
}

#[test]
fn valkey_removes_them_too() {
    expiry_of(Program::Valkey);
}

#[test]
fn rounds_of_expiry_check_that_the_engine_has_the_same_time() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    for (after, unused_for, fine) in [
        (Some(HOUR), HOUR, true),
        (Some(HOUR), HOUR * 2, false),
        (None, HOUR, false),
        (None, Duration::MAX, false),
    ] {
        let store = store(&engine, configured(|config| config.expire_after = after));
        let round = block_on(store.remove_expired(seconds(200), unused_for));
        match round {
            Ok(removed) => assert!(fine && removed == Removed::default()),
            Err(error) => {
                let error = error.to_string();
                let names = error.contains("hub.expiry") && error.contains("::expire_after");
                assert!(!fine && names, "{error}");
            }
        }
    }
}

#[test]
fn an_engine_that_forgot_the_scripts_gets_them_again() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let store = store(&engine, configured(|_| ()));
    block_on(store.create(&session("k"))).unwrap();
    for _ in 0..3 {
        engine.tell("SCRIPT FLUSH");
        assert!(block_on(store.look_up(&key("k"), seconds(200))).unwrap().is_some());
        engine.tell("SCRIPT FLUSH");
        assert!(block_on(store.update(&key("k"), &SessionInfo::new())).unwrap());
    }
    let stats = format!("{:?}", engine.tell("INFO commandstats"));
    assert!(stats.contains("cmdstat_evalsha") && stats.contains("cmdstat_eval:"), "{stats}");
}

#[test]
fn an_info_that_could_not_be_read_back_is_not_stored() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let store = store(&engine, configured(|_| ()));
    let long = SessionInfo::new().public("long", "x".repeat(5_000_000));
    let mut too_long = session("k");
    too_long.info = long.clone();
    let error = block_on(store.create(&too_long)).unwrap_err();
    assert!(whole_text(&error).contains("too long"), "{error}");
    block_on(store.create(&session("k"))).unwrap();
    block_on(store.update(&key("k"), &long)).unwrap_err();
    let found = block_on(store.look_up(&key("k"), seconds(200))).unwrap();
    assert_eq!(found, Some(session("k")));
}
