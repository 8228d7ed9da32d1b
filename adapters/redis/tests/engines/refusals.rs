//! Engines that refuse: passwords, permissions, memory.

use smol::block_on;
use wwr_async::{SessionStore as _, StoreError, StoreErrorKind};
use wwr_redis::{Engine as Place, RedisConfig, RedisStore};
use wwr_smol::Smol;

use crate::support::{Engine, Program, configured, key, seconds, session, whole_text};

fn connect(url: &str) -> Result<RedisStore<Smol>, StoreError> {
    block_on(RedisStore::connect(url, RedisConfig::default()))
}

#[test]
fn a_wrong_password_is_an_error_that_does_not_show_it() {
    let Some(engine) =
        Engine::with(Program::Redis, |_, _| vec!["--requirepass".into(), "right-password".into()])
    else {
        return;
    };
    let host = engine.address();
    for (user, what) in
        [(":wrong-password@", "WRONGPASS"), ("", "NOAUTH"), ("ada:wrong-password@", "")]
    {
        let error = connect(&format!("redis://{user}{host}")).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Failed);
        let text = whole_text(&error);
        assert!(text.contains("the user and the password in the URL"), "{text}");
        assert!(text.contains(what) && text.contains(&host.to_string()), "{text}");
        assert!(!text.contains("wrong-password"), "{text}");
    }
    let url = format!("redis://:right-password@{host}");
    let store = connect(&url).unwrap();
    block_on(store.create(&session("k"))).unwrap();
    let shown = format!("{store:?} {:?}", Place::at(url));
    assert!(shown.contains(&host.to_string()) && !shown.contains("right"), "{shown}");
}

#[test]
fn a_user_needs_the_permissions_that_the_error_names_and_no_others() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let host = engine.address();
    engine.tell("ACL SETUSER ada on >secret +@connection ~wwr:session:*");
    let url = format!("redis://ada:secret@{host}/");
    let error = connect(&url).unwrap_err();
    let text = whole_text(&error);
    assert!(text.contains("NoPerm") || text.contains("NOPERM"), "{text}");
    let (_, list) = text.split_once("the commands ").unwrap();
    let (list, _) = list.split_once(" on names").unwrap();
    let allowed: Vec<_> =
        list.replace(" and ", ", ").split(", ").map(|c| format!("+{}", c.to_lowercase())).collect();
    engine.tell(&format!("ACL SETUSER ada {}", allowed.join(" ")));

    let config = configured(|config| config.expire_after = Some(crate::support::HOUR));
    let expiring = block_on(RedisStore::<Smol>::connect(url.as_str(), config)).unwrap();
    for store in [connect(&url).unwrap(), expiring] {
        block_on(async {
            store.create(&session("k")).await.unwrap();
            store.look_up(&key("k"), seconds(200)).await.unwrap().unwrap();
            assert!(store.update(&key("k"), &session("k").info).await.unwrap());
            store.destroy(&key("k")).await.unwrap();
        });
    }
    let elsewhere = configured(|config| config.prefix = "elsewhere:".into());
    block_on(RedisStore::<Smol>::connect(url, elsewhere)).unwrap_err();
}

#[test]
fn an_engine_without_memory_says_so() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let store = connect(&engine.url()).unwrap();
    engine.tell("CONFIG SET maxmemory 1");
    let error = block_on(store.create(&session("k"))).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Failed);
    let text = whole_text(&error);
    assert!(text.contains("maxmemory") && text.contains("failed at SET"), "{text}");
    engine.tell("CONFIG SET maxmemory 0");
    block_on(store.create(&session("k"))).unwrap();
}

#[test]
fn a_replica_is_refused_with_the_reason() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let store = connect(&engine.url()).unwrap();
    block_on(store.create(&session("k"))).unwrap();
    engine.tell("REPLICAOF 127.0.0.1 1");
    for error in [
        block_on(store.create(&session("other"))).unwrap_err(),
        block_on(store.look_up(&key("k"), seconds(200))).unwrap_err(),
    ] {
        let text = whole_text(&error);
        assert!(text.contains("Engine::sentinel"), "{text}");
    }
    engine.tell("REPLICAOF NO ONE");
    assert!(block_on(store.look_up(&key("k"), seconds(200))).unwrap().is_some());
}

#[test]
fn a_unix_socket_is_as_good() {
    let Some(engine) = Engine::with(Program::Redis, |_, directory| {
        let socket = directory.path().join("socket");
        vec!["--unixsocket".into(), socket.to_str().unwrap().into()]
    }) else {
        return;
    };
    let socket = engine.directory.path().join("socket");
    let store = connect(&format!("redis+unix://{}?db=3", socket.display())).unwrap();
    block_on(store.create(&session("k"))).unwrap();
    let databases = format!("{:?}", engine.tell("INFO keyspace"));
    assert!(databases.contains("db3:keys=1"), "{databases}");
}
