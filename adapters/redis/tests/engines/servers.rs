//! Servers that share an engine.

use core::time::Duration;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Instant;

use redis::cmd;
use smol::block_on;
use wwr_async::server::{Connection, Handler, RequestError};
use wwr_async::{Content, Payload, SessionInfo, SessionKey, SharedStore};
use wwr_redis::RedisStore;
use wwr_smol::Smol;
use wwr_smol::client::{Client, Error};
use wwr_smol::server::{Config, Expiry, ServerHandle};
use wwr_tokio::Tokio;

use crate::support::{Engine, HOUR, Program, SAFETY, configured, impatient};

/// Creates, shows and changes sessions.
struct App;

impl Handler for App {
    async fn request(&self, client: &Connection, asked: Content) -> Result<Payload, RequestError> {
        let failed =
            |error: &dyn std::error::Error| RequestError::failed("FAILED", error.to_string());
        match asked.name() {
            b"login" => {
                let info = SessionInfo::new().public("user", "ada").private("rank", 1);
                let session = client.create_session(info).await.map_err(|error| failed(&error))?;
                Ok(Payload::utf8(session.key.as_str()))
            }
            b"promote" => {
                let info = SessionInfo::new().public("user", "ada").private("rank", 2);
                client.update_session(info).await.map_err(|error| failed(&error))?;
                Ok(Payload::utf8("done"))
            }
            b"logout" => {
                client.close_session().await.map_err(|error| failed(&error))?;
                Ok(Payload::utf8("done"))
            }
            b"rank" => {
                let session = client.session();
                let rank = session.as_ref().and_then(|session| session.info.value("rank"));
                Ok(Payload::utf8(rank.map_or("none".into(), ToString::to_string)))
            }
            _ => Ok(asked.into_payload()),
        }
    }
}

fn config(expiry: Option<Expiry>) -> Config {
    let mut config = Config::default();
    config.hub.sessions.durable = true;
    config.hub.expiry = expiry;
    config
}

/// A server on smol, with its URL.
fn on_smol(store: SharedStore, config: Config) -> (String, ServerHandle) {
    let server = wwr_smol::server::Server::builder(App).config(config).store(store);
    let server = block_on(server.listen("127.0.0.1:0")).unwrap();
    let (url, handle) = (format!("ws://{}/", server.local_addr()), server.handle());
    smol::spawn(server.run()).detach();
    (url, handle)
}

fn connect(url: &str) -> Client {
    block_on(Client::connect_to(url)).unwrap()
}

fn ask(client: &Client, name: &str) -> Result<String, Error> {
    block_on(client.request(name, "")).map(|reply| reply.text().unwrap().to_string())
}

#[test]
fn a_session_of_a_server_on_smol_is_restored_on_tokio_and_back() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let store = block_on(RedisStore::<Smol>::connect(engine.url(), configured(|_| ()))).unwrap();
    let (on_smol, _) = on_smol(SharedStore::new(store), config(None));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let on_tokio = runtime.block_on(async {
        let store = RedisStore::<Tokio>::connect(engine.url(), configured(|_| ())).await.unwrap();
        let server = wwr_tokio::server::Server::builder(App).config(config(None)).store(store);
        let server = server.listen("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", server.local_addr());
        tokio::spawn(server.run());
        url
    });

    let mut here = connect(&on_smol);
    let key = SessionKey::new(ask(&here, "login").unwrap()).unwrap();
    for url in [&on_tokio, &on_smol, &on_tokio] {
        block_on(here.close());
        here = connect(url);
        let session = block_on(here.restore_session(key.clone())).unwrap();
        assert_eq!(session.key, key);
        assert_eq!(session.info.value("user").and_then(|user| user.as_str()), Some("ada"));
    }
    // What one server changes, the other finds.
    assert_eq!(ask(&here, "rank").unwrap(), "1");
    assert_eq!(ask(&here, "promote").unwrap(), "done");
    block_on(here.close());
    let there = connect(&on_smol);
    block_on(there.restore_session(key.clone())).unwrap();
    assert_eq!(ask(&there, "rank").unwrap(), "2");
    // What one server ends, is over on the other.
    assert_eq!(ask(&there, "logout").unwrap(), "done");
    let again = block_on(connect(&on_tokio).restore_session(key));
    assert!(matches!(again, Err(Error::Request(_))), "{again:?}");
    assert!(engine.names().is_empty());
}

#[test]
fn a_server_goes_on_while_its_engine_hangs_and_is_dead() {
    let Some(mut engine) = Engine::start(Program::Redis) else { return };
    let store = block_on(RedisStore::<Smol>::connect(engine.url(), impatient())).unwrap();
    let (url, handle) = on_smol(SharedStore::new(store.clone()), config(None));
    let ada = connect(&url);
    let key = SessionKey::new(ask(&ada, "login").unwrap()).unwrap();
    let goes_on = || {
        assert_eq!(ask(&ada, "rank").unwrap(), "1");
        assert_eq!(handle.session_connections(&key).len(), 1);
        let bob = connect(&url);
        assert_eq!(block_on(bob.request("echo", "hello")).unwrap().text().unwrap(), "hello");
        ask(&bob, "login").unwrap_err();
        block_on(bob.restore_session(SessionKey::from_entropy([9; 48]))).unwrap_err();
        // The others find their session as it was.
        ask(&ada, "promote").unwrap_err();
        assert_eq!(ask(&ada, "rank").unwrap(), "1");
        assert_eq!(block_on(bob.request("echo", "hello")).unwrap().text().unwrap(), "hello");
    };
    engine.pause();
    goes_on();
    engine.resume();
    crate::support::until_it_works(&store);
    let eve = connect(&url);
    block_on(eve.restore_session(key.clone())).unwrap();
    block_on(eve.close());
    engine.kill();
    goes_on();
    engine.restart();
    crate::support::until_it_works(&store);
    ask(&connect(&url), "login").unwrap();
    // A session that only the server has now.
    assert_eq!(ask(&ada, "rank").unwrap(), "1");
}

#[test]
fn a_session_in_use_does_not_expire() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    // Half of it passes until the first renewal.
    let after = Duration::from_secs(4);
    let settings = configured(|config| config.expire_after = Some(after));
    let store = block_on(RedisStore::<Smol>::connect(engine.url(), settings)).unwrap();
    let expiry = Expiry::new(after, Duration::from_secs(1));
    let (url, _) = on_smol(SharedStore::new(store), config(Some(expiry)));
    let ada = connect(&url);
    ask(&ada, "login").unwrap();
    let name = engine.only_name();
    let lives = || cmd("PTTL").arg(&name).query::<i64>(&mut engine.connection()).unwrap();
    let (started, mut before, mut renewals) = (Instant::now(), lives(), 0);
    // The time only goes up when the session is looked up.
    while renewals < 3 {
        assert!(started.elapsed() < SAFETY);
        sleep(Duration::from_millis(20));
        let now = lives();
        assert!(now >= 0, "it is gone");
        renewals += i32::from(now > before);
        before = now;
    }
}

#[test]
fn servers_with_another_prefix_do_not_see_the_sessions() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let [ours, theirs] = ["ours:", "theirs:"].map(|prefix| {
        let settings = configured(|config| {
            config.prefix = prefix.into();
            config.expire_after = Some(HOUR);
        });
        let store = block_on(RedisStore::<Smol>::connect(engine.url(), settings)).unwrap();
        on_smol(SharedStore::new(Arc::new(store)), config(None)).0
    });
    let key = SessionKey::new(ask(&connect(&ours), "login").unwrap()).unwrap();
    block_on(connect(&theirs).restore_session(key.clone())).unwrap_err();
    block_on(connect(&ours).restore_session(key)).unwrap();
}
