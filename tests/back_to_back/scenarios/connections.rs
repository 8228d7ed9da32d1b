//! Connections: had, lost, refused, closed.

use std::time::Duration;

use wwr::Payload;
use wwr::Valid;
use wwr::client::{ConnectError, DisconnectReason, Event, Misuse, Protocol, RequestError, Status};
use wwr::server::CloseReason;

use crate::fabric::Way;
use crate::server::Settings;
use crate::world::{World, calm, configured};

const SECOND: Duration = Duration::from_secs(1);

fn concurrent() -> Settings {
    let mut settings = calm();
    settings.connection.concurrency = settings.connection.concurrency.saturating_add(3);
    settings
}

#[test]
fn a_connection_takes_a_preflight_and_a_handshake() {
    let mut world = World::scripted(calm());
    let ada = world.client(Valid::default());
    world.connect(ada);
    world.run_for_millis(39);
    assert_eq!(world.clients[ada].machine.status(), Status::Connecting);
    world.run_for_millis(1);
    assert_eq!(world.told(ada), [Event::Connected]);
    world.finish();
}

#[test]
fn closing_by_the_client_ends_its_requests_and_abandons_its_handlers() {
    let mut world = World::scripted(calm());
    let [ada] = world.connected();
    let slow = world.request(ada, "slow");
    world.run_for_millis(10);
    world.close(ada);
    assert_eq!(world.outcome(ada, slow), Err(RequestError::ConnectionLost));
    let reason = DisconnectReason::Closed;
    assert_eq!(world.told(ada), [Event::Disconnected { reason, retry: None }]);
    world.run_for_millis(10);
    assert!(world.server.connections.is_empty());
    let refused = world.clients[ada].request("echo", None, &mut world.fabric);
    assert_eq!(refused, Err(Misuse::NotConnected));
    world.connect(ada);
    assert!(world.ask(ada, "echo").is_ok());
    world.finish();
}

#[test]
fn closing_by_the_server_waits_for_the_handlers_and_refuses_what_is_new() {
    let mut world = World::scripted(concurrent());
    let [ada] = world.connected();
    let slow = world.request(ada, "slow");
    let leave = world.request(ada, "leave");
    world.run_for_millis(21);
    assert_eq!(world.outcome(ada, leave), Ok(Payload::utf8("farewell")));
    let late = world.request(ada, "echo");
    world.run_for_millis(20);
    assert_eq!(world.outcome(ada, late), Err(RequestError::ServerShutdown));
    assert_eq!(world.told(ada), []);
    world.run();
    assert!(world.outcome(ada, slow).is_ok());
    let told = world.told(ada);
    let [Event::Disconnected { reason, retry: Some(_) }, Event::Connected] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(*reason, DisconnectReason::Lost);
    assert_eq!(
        world.server.closed.iter().map(|closed| closed.1.clone()).collect::<Vec<_>>(),
        [CloseReason::Requested]
    );
    world.finish();
}

#[test]
fn a_shutdown_lets_handlers_finish_and_lets_nobody_in() {
    let mut world = World::scripted(concurrent());
    let [ada, bob] = world.connected();
    let slow = world.request(ada, "slow");
    world.run_for_millis(10);
    let World { server, fabric, .. } = &mut world;
    server.shut_down(10 * SECOND, fabric);
    world.run_for_millis(10);
    let told = world.told(bob);
    assert!(matches!(&told[..], [Event::Disconnected { retry: Some(_), .. }]), "{told:?}");
    let refused = world.request(ada, "echo");
    world.run_for(SECOND);
    assert_eq!(world.outcome(ada, refused), Err(RequestError::ServerShutdown));
    let told = world.told(bob);
    let unavailable = |event: &Event| {
        matches!(event, Event::ConnectFailed { error: ConnectError::Unavailable, retry: Some(_) })
    };
    assert!(!told.is_empty() && told.iter().all(unavailable), "{told:?}");

    world.run_for(5 * SECOND);
    assert!(world.outcome(ada, slow).is_ok(), "it had five seconds to finish");
    assert!(world.server.connections.is_empty());
    let queued = world.request(bob, "echo");
    world.server.start();
    world.run();
    assert!(world.outcome(bob, queued).is_ok());
    world.finish();
}

#[test]
fn a_shutdown_ends_when_its_time_is_over() {
    let mut world = World::scripted(calm());
    let [ada] = world.connected();
    let never = world.request(ada, "never");
    world.run_for_millis(10);
    let World { server, fabric, .. } = &mut world;
    server.shut_down(SECOND, fabric);
    world.run_for_millis(999);
    assert_eq!(world.server.connections.len(), 1);
    world.run_for_millis(1);
    assert!(world.server.connections.is_empty());
    assert_eq!(world.server.closed, [(1, CloseReason::Shutdown)]);
    world.run_for_millis(10);
    assert_eq!(world.outcome(ada, never), Err(RequestError::ConnectionLost));
    world.finish();
}

#[test]
fn a_server_that_is_down_or_busy_is_tried_until_it_is_up() {
    let mut world = World::scripted(calm());
    let ada = world.client(Valid::default());
    let World { server, fabric, .. } = &mut world;
    server.crash(fabric);
    world.connect(ada);
    let early = world.request(ada, "echo");
    world.run_for(2 * SECOND);
    let World { server, fabric, .. } = &mut world;
    server.shut_down(SECOND, fabric);
    world.run_for(3 * SECOND);
    let told = world.told(ada);
    let errors: Vec<_> = told
        .iter()
        .map(|event| match event {
            Event::ConnectFailed { error, retry: Some(_) } => error.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(errors.starts_with(&[const { ConnectError::ProbeFailed }; 2]), "{errors:?}");
    assert!(errors.ends_with(&[ConnectError::Unavailable]), "{errors:?}");
    world.server.start();
    world.run();
    assert_eq!(world.told(ada), [Event::Connected]);
    assert!(world.outcome(ada, early).is_ok());
    world.finish();
}

#[test]
fn a_dial_may_be_refused_after_a_good_answer() {
    let mut world = World::scripted(calm());
    let ada = world.client(configured(|config| config.reconnect = false));
    world.connect(ada);
    let queued = world.request(ada, "echo");
    world.run_for_millis(25);
    let World { server, fabric, .. } = &mut world;
    server.shut_down(SECOND, fabric);
    world.run();
    let error = ConnectError::Unavailable;
    assert_eq!(world.told(ada), [Event::ConnectFailed { error, retry: None }]);
    assert_eq!(world.outcome(ada, queued), Err(RequestError::NotSent));
    assert_eq!(world.clients[ada].machine.status(), Status::Idle);
    world.finish();
}

#[test]
fn a_server_of_another_version_is_not_tried_again() {
    let mut world = World::scripted(calm());
    let ada = world.client(configured(|config| config.protocol = Protocol::V1_4));
    world.connect(ada);
    world.run();
    assert_eq!(world.told(ada), [Event::Connected]);
    let World { server, fabric, .. } = &mut world;
    server.give_way(fabric);
    world.run_for_millis(10);
    let queued = world.request(ada, "echo");
    world.run();
    let told = world.told(ada);
    let [Event::Disconnected { .. }, Event::ConnectFailed { error, retry: None }] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert!(
        matches!(error, ConnectError::IncompatibleVersion { server, .. } if server.as_str() == "9.9")
    );
    assert_eq!(world.outcome(ada, queued), Err(RequestError::NotSent));
    world.server.start();
    world.run();
    assert_eq!(world.clients[ada].machine.status(), Status::Idle);
    world.connect(ada);
    assert!(world.ask(ada, "echo").is_ok());
    world.finish();
}

/// A client that knows its server for one of 2.0 does not ask it for its version. It does when an
/// HTTP server has taken the place of that.
#[test]
fn an_http_server_in_the_place_of_one_of_2_0_is_not_tried_again() {
    let mut world = World::scripted(calm());
    let [ada] = world.connected();
    let World { server, fabric, .. } = &mut world;
    server.give_way(fabric);
    world.run_for(Duration::from_secs(60));
    let told = world.told(ada);
    let [Event::Disconnected { .. }, Event::ConnectFailed { error, retry: None }] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert!(error.is_definite(), "{error}");
    world.server.start();
    world.connect(ada);
    assert!(world.ask(ada, "echo").is_ok());
    world.finish();
}

#[test]
fn what_is_on_its_way_in_a_cut_is_lost_and_what_waits_is_sent_later() {
    let mut world = World::scripted(calm());
    let [ada] = world.connected();
    let [arrived, lost] = [world.request(ada, "slow"), {
        world.run_for_millis(10);
        world.request(ada, "echo")
    }];
    world.run_for_millis(5);
    world.cut(ada);
    world.run_for_millis(10);
    for id in [arrived, lost] {
        assert_eq!(world.outcome(ada, id), Err(RequestError::ConnectionLost));
    }
    let queued = [world.request(ada, "echo"), world.request(ada, "echo")];
    world.run();
    assert!(queued.iter().all(|id| world.outcome(ada, *id).is_ok()));
    assert!(
        world.server.record.has_reached((ada, 1)) && !world.server.record.has_reached((ada, 2))
    );
    world.finish();
}

#[test]
fn silence_is_noticed_by_those_who_wait_for_a_reply() {
    for ways in [&[Way::Up, Way::Down][..], &[Way::Down]] {
        let mut world = World::scripted(calm());
        let [ada] = world.connected();
        let socket = world.socket(ada);
        ways.iter().for_each(|way| world.fabric.silence(socket, *way));
        let id = world.request(ada, "echo");
        world.run();
        assert_eq!(world.outcome(ada, id), Err(RequestError::TimedOut { sent: true }));
        assert_eq!(world.server.record.has_reached((ada, 1)), ways.len() == 1);
        assert!(world.clients[ada].is_connected(), "as far as anybody knows");
        world.fabric.cut_silent();
        world.run();
        assert!(world.ask(ada, "echo").is_ok());
        world.finish();
    }
}

#[test]
fn a_crash_forgets_everything_but_what_the_store_has() {
    let mut world = World::scripted(calm());
    let [ada, bob] = world.connected();
    world.ask(ada, "login").unwrap();
    let key = world.key(ada).unwrap();
    let pending = world.request(bob, "slow");
    world.run_for_millis(100);
    let World { server, fabric, .. } = &mut world;
    server.crash(fabric);
    world.run_for_millis(100);
    assert_eq!(world.outcome(bob, pending), Err(RequestError::ConnectionLost));
    assert!(world.server.registry.is_idle());
    world.server.start();
    world.run();
    assert_eq!(world.key(ada), Some(key.clone()));
    assert_eq!(world.server.registry.connection_count(&key), 1);
    world.finish();
}
