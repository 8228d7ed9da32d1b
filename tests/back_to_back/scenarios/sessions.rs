//! Sessions: created, continued, shared, limited, closed.

use wwr::client::{DisconnectReason, Event, RequestError, SessionLoss};
use wwr::server::CloseReason;
use wwr::{Payload, SessionKey};

use crate::fabric::ClientId;
use crate::world::{World, calm, configured, limited};

/// Logs a client in and gives the key.
fn log_in(world: &mut World, client: ClientId) -> SessionKey {
    assert_eq!(world.ask(client, "login"), Ok(Payload::utf8("welcome")));
    let told = world.told(client);
    let [Event::SessionCreated(session)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(world.key(client).as_ref(), Some(&session.key));
    session.key.clone()
}

fn restore(world: &mut World, client: ClientId, key: &SessionKey) -> Result<(), RequestError> {
    let id = world.restore(client, key).unwrap();
    world.run();
    world.outcome(client, id).map(drop)
}

fn close_session(world: &mut World, client: ClientId) -> Result<(), RequestError> {
    let id = world.close_session(client);
    world.run();
    world.outcome(client, id).map(drop)
}

fn who_am_i(world: &mut World, client: ClientId) -> String {
    String::from_utf8(world.ask(client, "whoami").unwrap().into_bytes().to_vec()).unwrap()
}

#[test]
fn a_session_is_announced_before_the_reply_and_the_reply_waits_for_the_store() {
    let mut world = World::scripted(calm());
    let [ada] = world.connected();
    let id = world.request(ada, "login");
    world.run_for_millis(20);
    assert_eq!(world.key(ada), Some(world.server.keys[0].clone()), "after 10 ms up and 10 ms down");
    assert!(world.clients[ada].outcomes.is_empty());
    world.run_for_millis(5);
    assert_eq!(world.outcome(ada, id), Ok(Payload::utf8("welcome")));
    let key = world.server.keys[0].clone();
    assert_eq!(who_am_i(&mut world, ada), key.as_str());
    assert!(world.server.store.keeps(&key));
    world.check_at_rest();
    world.finish();
    assert!(world.server.store.keeps(&key), "losing the last connection destroys nothing");
}

#[test]
fn a_durable_session_is_announced_when_the_store_has_it_and_not_at_all_if_it_fails() {
    let mut settings = calm();
    settings.registry.durable = true;
    let mut world = World::scripted(settings);
    let [ada] = world.connected();
    let id = world.request(ada, "login");
    world.run_for_millis(24);
    assert_eq!(world.key(ada), None);
    world.run_for_millis(1);
    assert_eq!(world.key(ada), Some(world.server.keys[0].clone()));
    assert_eq!(world.outcome(ada, id), Ok(Payload::utf8("welcome")));
    assert_eq!(close_session(&mut world, ada), Ok(()));

    world.server.store.habits.failures = 100;
    world.told(ada);
    assert_eq!(world.ask(ada, "login"), Err(RequestError::Internal));
    assert_eq!((world.told(ada), world.key(ada)), (vec![], None));
    world.check_at_rest();
    assert!(world.server.registry.is_idle());
    world.finish();
}

#[test]
fn a_session_survives_a_cut_a_close_and_a_crash() {
    let mut world = World::scripted(calm());
    let [ada] = world.connected();
    let key = log_in(&mut world, ada);

    world.cut(ada);
    world.run();
    let told = world.told(ada);
    let [
        Event::Disconnected { reason: DisconnectReason::Lost, retry: Some(_) },
        Event::SessionRestored(session),
        Event::Connected,
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(session.info.value("number"), Some(&1.into()));
    assert_eq!(who_am_i(&mut world, ada), key.as_str());

    world.close(ada);
    world.run();
    assert!(world.server.registry.is_idle());
    world.told(ada);
    world.connect(ada);
    world.run();
    let told = world.told(ada);
    assert!(matches!(&told[..], [Event::SessionRestored(_), Event::Connected]), "{told:?}");

    let World { server, fabric, .. } = &mut world;
    server.crash(fabric);
    world.run_for_millis(1000);
    world.server.start();
    world.run();
    assert_eq!(who_am_i(&mut world, ada), key.as_str());
    assert_eq!(world.server.registry.connection_count(&key), 1);
    world.check_at_rest();
    world.finish();
}

#[test]
fn of_two_that_want_the_last_place_one_gets_it() {
    let mut world = World::scripted(limited(1));
    let [ada, bob, eve] = world.connected();
    let key = log_in(&mut world, ada);
    assert_eq!(restore(&mut world, bob, &key), Err(RequestError::MaxSessionConnections));
    world.close(ada);
    world.run();

    let ids = [bob, eve].map(|client| (client, world.restore(client, &key).unwrap()));
    world.run();
    let [first, second] = ids.map(|(client, id)| world.outcome(client, id));
    assert!(first.is_ok());
    assert_eq!(second, Err(RequestError::MaxSessionConnections));
    assert_eq!(world.key(bob), Some(key.clone()));
    assert_eq!(world.key(eve), None);

    // The one that comes back finds no place for a while, and gives up.
    world.told(ada);
    world.connect(ada);
    world.run();
    let told = world.told(ada);
    let lost = Event::SessionLost(SessionLoss::GaveUp);
    assert_eq!(told, [lost, Event::Connected]);
    world.check_at_rest();
    world.finish();
}

#[test]
fn a_place_that_is_given_up_while_the_store_is_asked_is_free() {
    let mut world = World::scripted(limited(1));
    world.server.store.habits.slowness = std::time::Duration::from_secs(1);
    let [ada, bob] = world.connected();
    let key = log_in(&mut world, ada);
    world.close(ada);
    world.run();
    world.restore(bob, &key).unwrap();
    world.run_for_millis(500);
    world.close(bob);
    world.run_for_millis(10);
    world.connect(ada);
    world.run();
    assert_eq!(world.key(ada), Some(key.clone()));
    assert_eq!(world.server.registry.connection_count(&key), 1);
    world.finish();
}

#[test]
fn a_session_lives_until_its_last_connection_closes_it() {
    let mut world = World::scripted(calm());
    let [ada, bob] = world.connected();
    let key = log_in(&mut world, ada);
    assert_eq!(restore(&mut world, bob, &key), Ok(()));
    assert_eq!(world.server.registry.connection_count(&key), 2);
    world.told(bob);

    assert_eq!(close_session(&mut world, ada), Ok(()));
    assert_eq!(world.told(ada), [Event::SessionClosed]);
    assert_eq!((world.told(bob), world.key(bob)), (vec![], Some(key.clone())));
    assert_eq!(restore(&mut world, ada, &key), Ok(()), "the other one keeps it alive");

    assert_eq!(close_session(&mut world, bob), Ok(()));
    assert_eq!(close_session(&mut world, ada), Ok(()));
    assert!(!world.server.store.keeps(&key) && world.server.registry.is_idle());
    assert_eq!(restore(&mut world, bob, &key), Err(RequestError::SessionNotFound));
    assert_eq!(close_session(&mut world, bob), Ok(()), "there is none");
    world.check_at_rest();
    world.finish();
}

#[test]
fn the_server_closes_a_session_and_its_client_hears_of_it_before_the_reply() {
    let mut world = World::scripted(calm());
    let [ada] = world.connected();
    let key = log_in(&mut world, ada);
    let id = world.request(ada, "logout");
    world.run_for_millis(24);
    assert_eq!(world.key(ada), Some(key.clone()), "the store takes 5 of 25 ms");
    world.run_for_millis(1);
    assert_eq!(world.told(ada), [Event::SessionClosed]);
    assert_eq!(world.outcome(ada, id), Ok(Payload::utf8("goodbye")));
    assert_eq!(who_am_i(&mut world, ada), "");
    world.finish();
}

#[test]
fn a_session_that_cannot_be_destroyed_is_kept_by_both_sides() {
    let mut world = World::scripted(calm());
    let [ada] = world.connected();
    let key = log_in(&mut world, ada);
    world.server.store.habits.failures = 100;
    assert_eq!(close_session(&mut world, ada), Err(RequestError::Internal));
    assert_eq!(world.ask(ada, "logout"), Err(RequestError::Internal));
    assert_eq!((world.told(ada), world.key(ada)), (vec![], Some(key.clone())));
    assert_eq!(who_am_i(&mut world, ada), key.as_str());
    world.server.store.habits.failures = 0;
    assert_eq!(close_session(&mut world, ada), Ok(()));
    world.finish();
}

#[test]
fn closing_by_key_reaches_every_connection() {
    for disconnect in [false, true] {
        let mut world = World::scripted(calm());
        let clients @ [ada, bob, eve] = world.connected();
        let key = log_in(&mut world, ada);
        assert_eq!(restore(&mut world, bob, &key), Ok(()));
        world.told(bob);
        let World { server, fabric, .. } = &mut world;
        assert_eq!(server.close_key(&key, disconnect, fabric), 2);
        world.run_for_millis(10);
        for client in [ada, bob] {
            let told = world.told(client);
            assert_eq!(told.first(), Some(&Event::SessionClosed));
            let gone = matches!(told.get(1), Some(Event::Disconnected { retry: Some(_), .. }));
            assert_eq!((gone, told.len()), (disconnect, 1 + usize::from(disconnect)));
        }
        let closed = [CloseReason::SessionClosed, CloseReason::SessionClosed];
        let reasons: Vec<_> =
            world.server.closed.iter().map(|(_, reason)| reason.clone()).collect();
        assert_eq!(reasons, if disconnect { &closed[..] } else { &[] });
        world.run();
        for client in clients {
            assert_eq!(who_am_i(&mut world, client), "");
        }
        assert_eq!(restore(&mut world, eve, &key), Err(RequestError::SessionNotFound));
        world.check_at_rest();
        world.finish();
    }
}

#[test]
fn a_restoration_is_lost_to_whoever_closes_the_session_meanwhile() {
    let mut world = World::scripted(calm());
    let [ada, bob] = world.connected();
    let key = log_in(&mut world, ada);
    world.server.store.habits.slowness = std::time::Duration::from_secs(1);
    let restoring = world.restore(bob, &key).unwrap();
    world.run_for_millis(500);
    let kicking = world.request(ada, "kick");
    world.run();
    assert_eq!(world.outcome(ada, kicking), Ok(Payload::utf8("1")));
    assert_eq!(world.outcome(bob, restoring), Err(RequestError::SessionNotFound));
    assert!(!world.server.store.keeps(&key));
    world.finish();
}

#[test]
fn a_session_is_asked_for_again_while_the_store_fails_and_then_given_up() {
    let mut world = World::scripted(calm());
    let config = configured(|config| config.resume_attempts = 3);
    let ada = world.client(config);
    world.connect(ada);
    world.run();
    world.told(ada);
    let key = log_in(&mut world, ada);
    world.server.store.habits.failures = 100;
    world.cut(ada);
    world.run();
    let told = world.told(ada);
    assert_eq!(told[1..], [Event::SessionLost(SessionLoss::GaveUp), Event::Connected]);
    assert!(world.server.store.keeps(&key));
    world.server.store.habits.failures = 0;
    assert_eq!(restore(&mut world, ada, &key), Ok(()));
    world.finish();
}
