//! Connections: had, lost, refused, closed.

use std::time::Duration;

use wwr::client::{
    Config, ConnectError, DisconnectReason, Event, Misuse, Protocol, RequestError, Status,
};
use wwr::server::CloseReason;
use wwr_world::{Script, Way, with};

use super::{SECOND, calm, config, hub};

/// Several handlers run at a time.
fn concurrent() -> Script {
    let mut config = config();
    config.concurrency = config.concurrency.saturating_add(3);
    Script::new(config, hub())
}

#[test]
fn a_connection_takes_a_preflight_and_a_handshake() {
    let mut script = calm();
    let ada = script.add_client(Config::default());
    script.connect(ada);
    script.run_for_millis(39);
    assert_eq!(script.client(ada).status(), Status::Connecting);
    script.run_for_millis(1);
    assert_eq!(script.told(ada), [Event::Connected]);
    script.finish();
}

#[test]
fn closing_by_the_client_ends_its_requests_and_abandons_its_handlers() {
    let mut script = calm();
    let [ada] = script.connected();
    let slow = script.request(ada, "slow");
    script.run_for_millis(10);
    script.close(ada);
    assert_eq!(script.outcome(ada, slow), Err(RequestError::ConnectionLost));
    let reason = DisconnectReason::Closed;
    assert_eq!(script.told(ada), [Event::Disconnected { reason, retry: None }]);
    script.run_for_millis(10);
    assert_eq!(script.connections(), 0);
    let refused = script.try_request(ada, "echo");
    assert_eq!(refused, Err(Misuse::NotConnected));
    script.connect(ada);
    assert!(script.ask(ada, "echo").is_ok());
    script.finish();
}

#[test]
fn closing_by_the_server_waits_for_the_handlers_and_refuses_what_is_new() {
    let mut script = concurrent();
    let [ada] = script.connected();
    let slow = script.request(ada, "slow");
    let leave = script.request(ada, "leave");
    script.run_for_millis(21);
    assert_eq!(script.outcome(ada, leave), Ok("farewell".into()));
    let late = script.request(ada, "echo");
    script.run_for_millis(20);
    assert_eq!(script.outcome(ada, late), Err(RequestError::ServerShutdown));
    assert_eq!(script.told(ada), []);
    script.run();
    assert!(script.outcome(ada, slow).is_ok());
    let told = script.told(ada);
    let [Event::Disconnected { reason, retry: Some(_) }, Event::Connected] = &told[..] else {
        panic!("{told:?}")
    };
    let said = CloseReason::Requested.frame();
    assert_eq!(*reason, DisconnectReason::ClosedByServer(said));
    assert_eq!(
        script.closed().iter().map(|closed| closed.1.clone()).collect::<Vec<_>>(),
        [CloseReason::Requested]
    );
    script.finish();
}

#[test]
fn a_shutdown_lets_handlers_finish_and_lets_nobody_in() {
    let mut script = concurrent();
    let [ada, bob] = script.connected();
    let slow = script.request(ada, "slow");
    script.run_for_millis(10);
    script.shut_down(10 * SECOND);
    script.run_for_millis(10);
    let told = script.told(bob);
    assert!(matches!(&told[..], [Event::Disconnected { retry: Some(_), .. }]), "{told:?}");
    let refused = script.request(ada, "echo");
    script.run_for(SECOND);
    assert_eq!(script.outcome(ada, refused), Err(RequestError::ServerShutdown));
    let told = script.told(bob);
    let unavailable = |event: &Event| {
        matches!(event, Event::ConnectFailed { error: ConnectError::Unavailable, retry: Some(_) })
    };
    assert!(!told.is_empty() && told.iter().all(unavailable), "{told:?}");

    script.run_for(5 * SECOND);
    assert!(script.outcome(ada, slow).is_ok(), "it had five seconds to finish");
    assert_eq!(script.connections(), 0);
    let queued = script.request(bob, "echo");
    script.start();
    script.run();
    assert!(script.outcome(bob, queued).is_ok());
    script.finish();
}

#[test]
fn a_shutdown_ends_when_its_time_is_over() {
    let mut script = calm();
    let [ada] = script.connected();
    let never = script.request(ada, "never");
    script.run_for_millis(10);
    script.shut_down(SECOND);
    script.run_for_millis(999);
    assert_eq!(script.connections(), 1);
    script.run_for_millis(1);
    assert_eq!(script.connections(), 0);
    assert_eq!(script.closed(), [(1, CloseReason::Shutdown)]);
    script.run_for_millis(10);
    assert_eq!(script.outcome(ada, never), Err(RequestError::ConnectionLost));
    script.finish();
}

#[test]
fn a_server_that_is_down_or_busy_is_tried_until_it_is_up() {
    let mut script = calm();
    let ada = script.add_client(Config::default());
    script.crash();
    script.connect(ada);
    let early = script.request(ada, "echo");
    script.run_for(2 * SECOND);
    script.shut_down(SECOND);
    script.run_for(3 * SECOND);
    let told = script.told(ada);
    let errors: Vec<_> = told
        .iter()
        .map(|event| match event {
            Event::ConnectFailed { error, retry: Some(_) } => error.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(errors.starts_with(&[const { ConnectError::ProbeFailed }; 2]), "{errors:?}");
    assert!(errors.ends_with(&[ConnectError::Unavailable]), "{errors:?}");
    script.start();
    script.run();
    assert_eq!(script.told(ada), [Event::Connected]);
    assert!(script.outcome(ada, early).is_ok());
    script.finish();
}

#[test]
fn a_dial_may_be_refused_after_a_good_answer() {
    let mut script = calm();
    let ada = script.add_client(with(Config::default(), |config| config.reconnect = false));
    script.connect(ada);
    let queued = script.request(ada, "echo");
    script.run_for_millis(25);
    script.shut_down(SECOND);
    script.run();
    let error = ConnectError::Unavailable;
    assert_eq!(script.told(ada), [Event::ConnectFailed { error, retry: None }]);
    assert_eq!(script.outcome(ada, queued), Err(RequestError::NotSent));
    assert_eq!(script.client(ada).status(), Status::Idle);
    script.finish();
}

#[test]
fn a_server_of_another_version_is_not_tried_again() {
    let mut script = calm();
    let ada = script.add_client(with(Config::default(), |config| config.protocol = Protocol::V1_4));
    script.connect(ada);
    script.run();
    assert_eq!(script.told(ada), [Event::Connected]);
    script.give_way();
    script.run_for_millis(10);
    let queued = script.request(ada, "echo");
    script.run();
    let told = script.told(ada);
    let [Event::Disconnected { .. }, Event::ConnectFailed { error, retry: None }] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert!(
        matches!(error, ConnectError::IncompatibleVersion { server, .. } if server.as_str() == "9.9")
    );
    assert_eq!(script.outcome(ada, queued), Err(RequestError::NotSent));
    script.start();
    script.run();
    assert_eq!(script.client(ada).status(), Status::Idle);
    script.connect(ada);
    assert!(script.ask(ada, "echo").is_ok());
    script.finish();
}

/// A client that knows its server for one of 2.0 does not ask it for its version. It does when an
/// HTTP server has taken the place of that.
#[test]
fn an_http_server_in_the_place_of_one_of_2_0_is_not_tried_again() {
    let mut script = calm();
    let [ada] = script.connected();
    script.give_way();
    script.run_for(Duration::from_secs(60));
    let told = script.told(ada);
    let [Event::Disconnected { .. }, Event::ConnectFailed { error, retry: None }] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert!(error.is_definite(), "{error}");
    script.start();
    script.connect(ada);
    assert!(script.ask(ada, "echo").is_ok());
    script.finish();
}

#[test]
fn what_is_on_its_way_in_a_cut_is_lost_and_what_waits_is_sent_later() {
    let mut script = calm();
    let [ada] = script.connected();
    let [arrived, lost] = [script.request(ada, "slow"), {
        script.run_for_millis(10);
        script.request(ada, "echo")
    }];
    script.run_for_millis(5);
    script.cut(script.socket(ada));
    script.run_for_millis(10);
    for id in [arrived, lost] {
        assert_eq!(script.outcome(ada, id), Err(RequestError::ConnectionLost));
    }
    let queued = [script.request(ada, "echo"), script.request(ada, "echo")];
    script.run();
    assert!(queued.iter().all(|id| script.outcome(ada, *id).is_ok()));
    assert!(script.has_reached(ada, arrived) && !script.has_reached(ada, lost));
    script.finish();
}

#[test]
fn silence_is_noticed_by_those_who_wait_for_a_reply() {
    for ways in [&[Way::Up, Way::Down][..], &[Way::Down]] {
        let mut script = calm();
        let [ada] = script.connected();
        let socket = script.socket(ada);
        ways.iter().for_each(|way| script.silence(socket, *way));
        let id = script.request(ada, "echo");
        script.run();
        assert_eq!(script.outcome(ada, id), Err(RequestError::TimedOut { sent: true }));
        assert_eq!(script.has_reached(ada, id), ways.len() == 1);
        assert!(script.client(ada).status() == Status::Connected, "as far as anybody knows");
        script.end_silence();
        script.run();
        assert!(script.ask(ada, "echo").is_ok());
        script.finish();
    }
}

#[test]
fn a_crash_forgets_everything_but_what_the_store_has() {
    let mut script = calm();
    let [ada, bob] = script.connected();
    script.ask(ada, "login").unwrap();
    let key = script.key(ada).unwrap();
    let pending = script.request(bob, "slow");
    script.run_for_millis(100);
    script.crash();
    script.run_for_millis(100);
    assert_eq!(script.outcome(bob, pending), Err(RequestError::ConnectionLost));
    assert_eq!(script.active_sessions(), 0);
    script.start();
    script.run();
    assert_eq!(script.key(ada), Some(key.clone()));
    assert_eq!(script.holders(&key).len(), 1);
    script.finish();
}
