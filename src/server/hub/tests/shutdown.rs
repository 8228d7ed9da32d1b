//! The stages of a shutdown.

use super::*;

fn closing() -> HubConfig {
    HubConfig { idle_connections: IdleConnections::Close, ..HubConfig::default() }
}

#[test]
fn a_server_without_connections_stops_at_once() {
    let mut script = Script::new(HubConfig::default());
    assert!(script.hub.is_serving() && !script.hub.is_stopped());
    script.shut_down(10, &["stopped"]);
    assert!(!script.hub.is_serving() && script.hub.is_stopped());
    assert_eq!(script.admit(), Err(Refusal::ShuttingDown));
    script.shut_down(10, &[]);
    assert_eq!(script.next(), None);
}

#[test]
fn idle_connections_stay_while_any_handler_of_the_server_runs() {
    let mut script = Script::with(3, HubConfig::default());
    let told = ["shut down 1 by 10 Stay", "shut down 2 by 10 Stay", "shut down 3 by 10 Stay"];
    script.shut_down(10, &told);
    assert_eq!(script.admit(), Err(Refusal::ShuttingDown));
    script.drained(1, &[]);
    script.drained(1, &[]);
    script.drained(3, &[]);
    script.pass(5, &[]);
    script.drained(2, &["close 1", "close 2", "close 3"]);
    script.left(1, &[]);
    script.left(3, &[]);
    script.left(2, &["stopped"]);
    assert_eq!(script.next(), None);
}

#[test]
fn a_busy_connection_that_leaves_does_not_delay_the_shutdown() {
    let mut script = Script::with(2, HubConfig::default());
    script.shut_down(10, &["shut down 1 by 10 Stay", "shut down 2 by 10 Stay"]);
    script.drained(1, &[]);
    script.left(2, &["close 1"]);
    script.left(1, &["stopped"]);
}

#[test]
fn a_setting_closes_idle_connections_at_once() {
    let mut script = Script::with(2, closing());
    script.shut_down(10, &["shut down 1 by 10 Close", "shut down 2 by 10 Close"]);
    script.left(1, &[]);
    script.left(2, &["stopped"]);
}

#[test]
fn the_deadline_ends_a_shutdown_in_any_case() {
    let mut script = Script::with(2, HubConfig::default());
    script.shut_down(10, &["shut down 1 by 10 Stay", "shut down 2 by 10 Stay"]);
    assert_eq!(script.next(), Some(10));
    script.pass(9, &[]);
    script.pass(1, &["close 1", "close 2"]);
    script.left(1, &[]);
    assert_eq!(script.next(), Some(11));
    script.pass(1, &["abort 2"]);
    assert_eq!(script.next(), Some(12));
    script.pass(1, &["stopped"]);
    script.left(2, &[]);
    assert_eq!(script.next(), None);
}

#[test]
fn a_host_that_sleeps_through_a_shutdown_still_stops() {
    let mut script = Script::with(1, HubConfig::default());
    script.shut_down(10, &["shut down 1 by 10 Stay"]);
    // Each stage gets its time from when it begins.
    script.pass(100, &["close 1"]);
    script.pass(1, &["abort 1"]);
    script.pass(1, &["stopped"]);
    // Without any time all stages are passed at once.
    let config = HubConfig { abort_after: Duration::ZERO, ..HubConfig::default() };
    let mut script = Script::with(1, config);
    script.shut_down(0, &["shut down 1 by 0 Stay"]);
    script.pass(0, &["close 1", "abort 1", "stopped"]);
}

#[test]
fn calling_again_counts_if_it_shortens_the_time() {
    let mut script = Script::with(1, HubConfig::default());
    script.shut_down(10, &["shut down 1 by 10 Stay"]);
    script.shut_down(20, &[]);
    script.shut_down(10, &[]);
    script.shut_down(3, &["shut down 1 by 3 Stay"]);
    assert_eq!(script.next(), Some(3));
    script.pass(3, &["close 1"]);
    script.shut_down(0, &[]);
    assert_eq!(script.next(), Some(4));
}

#[test]
fn connections_that_open_during_a_shutdown_learn_its_stage() {
    let mut script = Script::with(1, HubConfig::default());
    for _ in 0..4 {
        script.admit().unwrap();
    }
    script.shut_down(10, &["shut down 1 by 10 Stay"]);
    script.opened(2, &["shut down 2 by 10 Stay"]);
    script.drained(1, &[]);
    // Handshakes do not count as handlers.
    script.drained(2, &["close 1", "close 2"]);
    script.opened(3, &["shut down 3 by 10 Close"]);
    script.left(1, &[]);
    script.left(2, &[]);
    script.left(3, &[]);
    script.pass(11, &[]);
    script.opened(4, &["abort 4"]);
    script.pass(1, &["stopped"]);
    script.opened(5, &["abort 5"]);
}

#[test]
fn a_handshake_that_fails_during_a_shutdown_may_be_the_last() {
    let mut script = Script::new(HubConfig::default());
    script.admit().unwrap();
    script.shut_down(10, &[]);
    script.left(1, &["stopped"]);
}

#[test]
fn a_store_without_an_answer_does_not_hold_it_up() {
    let mut script = Script::with(1, HubConfig::default());
    script.asks(1, Command::Restore(key("k")), &["job 1 look up k"]);
    script.hub.close_session(script.now, key("other"), false, &mut script.out);
    script.expect(&["job 2 destroy other"]);
    script.shut_down(10, &["shut down 1 by 10 Stay"]);
    script.pass(10, &["close 1"]);
    script.left(1, &["stopped"]);
    script.pass(20, &["job 1 timed out", "job 2 timed out", "done 1 told 0 failed"]);
    assert!(script.hub.is_idle());
}
