//! Which connections come in.

use super::*;

#[test]
fn connections_are_admitted_up_to_the_limit_and_handshakes_count() {
    let config = HubConfig { max_connections: 2, ..HubConfig::default() };
    let mut script = Script::new(config);
    assert_eq!(script.admit(), Ok(ConnectionId(1)));
    assert_eq!(script.admit(), Ok(ConnectionId(2)));
    assert_eq!((script.hub.connection_count(), script.hub.admitted_count()), (0, 2));
    let full = Err(Refusal::Full { max: 2 });
    assert_eq!(script.admit(), full);
    script.opened(1, &[]);
    assert_eq!((script.hub.connection_count(), script.hub.admitted_count()), (1, 2));
    assert_eq!(script.admit(), full);
    // A handshake that failed, then an open connection: no identifier comes twice.
    script.left(2, &[]);
    script.left(2, &[]);
    assert_eq!(script.hub.check_admission(), Ok(()));
    assert_eq!(script.admit(), Ok(ConnectionId(3)));
    script.left(1, &[]);
    assert_eq!(script.admit(), Ok(ConnectionId(4)));
    assert_eq!(script.admit(), full);
    script.left(3, &[]);
    script.left(4, &[]);
    assert!(script.hub.is_idle());
}

#[test]
fn calls_for_connections_that_are_unknown_or_have_left_do_nothing() {
    let mut script = Script::with(1, HubConfig::default());
    script.opened(1, &[]);
    script.left(1, &[]);
    script.opened(1, &[]);
    script.opened(7, &[]);
    script.left(7, &[]);
    script.drained(7, &[]);
    script.asks(1, Command::Restore(key("k")), &[]);
    script.asks(7, Command::Create(session("k")), &[]);
    assert_eq!((script.hub.connection_count(), script.hub.admitted_count()), (0, 0));
    assert!(script.hub.is_idle());
    assert_eq!(script.next(), None);
}

#[test]
fn refusals_say_which_setting_to_change() {
    assert_eq!(
        Refusal::Full { max: 3 }.to_string(),
        "all 3 connections are taken (max_connections)"
    );
    assert_eq!(Refusal::ShuttingDown.to_string(), "the server shuts down");
}
