//! Many sessions.

use futures_util::{StreamExt as _, stream};
use redis::{Value, cmd};
use smol::block_on;
use wwr_async::{SessionStore as _, UnixTime};

use crate::support::{Engine, HOUR, Program, configured, key, session, store};

const SESSIONS: usize = 10_000;

#[test]
fn ten_thousand_sessions_are_stored_and_found() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    let store = &store(&engine, configured(|config| config.expire_after = Some(HOUR)));
    let name = |number: usize| format!("session {number}");
    block_on(async {
        let created = stream::iter(0..SESSIONS)
            .map(|number| async move { store.create(&session(&name(number))).await })
            .buffer_unordered(256);
        created.for_each(|created| async { created.unwrap() }).await;
    });
    let size = || cmd("DBSIZE").query::<usize>(&mut engine.connection()).unwrap();
    assert_eq!(size(), SESSIONS);
    let bytes =
        cmd("MEMORY").arg("USAGE").arg(&engine.names()[0]).query::<Value>(&mut engine.connection());
    println!("a session takes {bytes:?} bytes");

    block_on(async {
        let looked_up = stream::iter(0..SESSIONS)
            .map(|number| async move {
                let found = store.look_up(&key(&name(number)), UnixTime::from_seconds(200)).await;
                assert_eq!(found.unwrap(), Some(session(&name(number))));
                if number % 2 == 0 {
                    store.destroy(&key(&name(number))).await.unwrap();
                }
            })
            .buffer_unordered(256);
        looked_up.for_each(|()| async {}).await;
    });
    assert_eq!(size(), SESSIONS / 2);
}
