//! Requests and signals: in order, in time, given up.

use std::time::Duration;

use wwr::client::{Config, Misuse, RequestError};
use wwr_world::{Script, with};

use super::{SECOND, calm, config, hub};

#[test]
fn each_kind_of_answer_arrives_after_one_round_trip() {
    let mut script = calm();
    let [ada] = script.connected();
    let start = script.now();
    let ids = ["echo", "fail", "crash", "whoami"].map(|name| script.request(ada, name));
    script.run();
    // One after the other on one connection; two of them take a millisecond each.
    assert_eq!(script.now(), start + Duration::from_millis(22));
    let [echo, fail, crash, who] = ids.map(|id| script.outcome(ada, id));
    assert_eq!(echo, Ok("echo".into()));
    let Err(RequestError::Failed(error)) = fail else { panic!("{fail:?}") };
    assert_eq!((&*error.code(), &*error.message()), ("FAIL", "1 as you wished"));
    assert_eq!(crash, Err(RequestError::Internal));
    assert_eq!(who, Ok("".into()));
    script.finish();
}

#[test]
fn a_handler_that_takes_long_holds_up_its_own_connection_only() {
    let mut script = calm();
    let [ada, bob] = script.connected();
    let slow = script.request(ada, "slow");
    let behind = script.request(ada, "echo");
    let beside = script.request(bob, "echo");
    script.run_for_millis(20);
    assert!(script.outcome(bob, beside).is_ok());
    script.run_for(5 * SECOND - Duration::from_millis(1));
    assert_eq!(script.outcome_if_any(ada, slow), None);
    assert_eq!(script.outcome_if_any(ada, behind), None);
    script.run_for_millis(1);
    assert!(script.outcome(ada, slow).is_ok() && script.outcome(ada, behind).is_ok());
    script.finish();
}

#[test]
fn a_server_that_is_asked_too_much_at_once_reads_on_when_it_can() {
    let max_queued_messages = std::num::NonZeroU16::MIN;
    let one_waits = with(config(), |config| config.max_queued_messages = max_queued_messages);
    let mut script = Script::new(one_waits, hub());
    let [ada] = script.connected();
    let ids: Vec<_> = (0..50).map(|_| script.request(ada, "fail")).collect();
    script.run_for_millis(10);
    assert!(script.has_unread(), "it left them in the socket");
    script.run();
    assert!(!script.has_unread());
    let failed = |id| matches!(script.outcome(ada, id), Err(RequestError::Failed(_)));
    assert!(ids.into_iter().all(failed));
    script.finish();
}

#[test]
fn a_timeout_comes_to_the_moment_and_a_late_reply_to_nobody() {
    let mut script = calm();
    let [ada] = script.connected();
    let start = script.now();
    let late = script.request_within(ada, "slow", SECOND).unwrap();
    script.run_for(SECOND - Duration::from_nanos(1));
    assert_eq!(script.outcome_if_any(ada, late), None);
    script.run_for(Duration::from_nanos(1));
    assert_eq!(script.now(), start + SECOND);
    assert_eq!(script.outcome(ada, late), Err(RequestError::TimedOut { sent: true }));
    script.run();
    assert!(script.has_replied(ada, late), "it was answered all the same");
    assert!(script.ask(ada, "echo").is_ok());
    script.finish();
}

#[test]
fn waiting_for_the_connection_counts() {
    let mut script = calm();
    let ada = script.add_client(Config::default());
    script.crash();
    script.connect(ada);
    let id = script.request_within(ada, "echo", SECOND).unwrap();
    script.run_for(SECOND);
    assert_eq!(script.outcome(ada, id), Err(RequestError::TimedOut { sent: false }));
    script.start();
    script.run();
    assert!(!script.has_reached(ada, id));
    script.finish();
}

#[test]
fn what_is_cancelled_is_handled_if_it_was_sent_and_never_sent_if_it_was_not() {
    let mut script = calm();
    let ada = script.add_client(Config::default());
    script.connect(ada);
    let unsent = script.request(ada, "echo");
    script.cancel(ada, unsent);
    assert_eq!(script.outcome(ada, unsent), Err(RequestError::Cancelled));
    script.run();
    let sent = script.request(ada, "echo");
    script.run_for_millis(5);
    script.cancel(ada, sent);
    assert_eq!(script.outcome(ada, sent), Err(RequestError::Cancelled));
    script.run();
    assert!(!script.has_reached(ada, unsent) && script.has_reached(ada, sent));
    script.finish();
}

#[test]
fn requests_made_offline_are_bounded_and_sent_in_order() {
    let mut script = calm();
    let config = with(Config::default(), |config| {
        config.max_pending_requests = 3;
        config.max_queued_bytes = 60;
    });
    let ada = script.add_client(config);
    script.connect(ada);
    let queued: Vec<_> = (0..3).map(|_| script.request(ada, "echo")).collect();
    assert_eq!(script.try_request(ada, "echo"), Err(Misuse::TooManyRequests));
    script.cancel(ada, queued[0]);
    assert_eq!(script.try_request(ada, &"x".repeat(60)), Err(Misuse::QueueFull));
    script.run();
    assert_eq!(script.outcome(ada, queued[1]), Ok("echo".into()));
    assert_eq!(script.outcome(ada, queued[2]), Ok("echo".into()));
    script.finish();
}

#[test]
fn signals_go_both_ways_and_precede_the_reply_they_were_sent_before() {
    let mut script = calm();
    let [ada, bob] = script.connected();
    for client in [ada, bob, ada] {
        // The client itself checks that they come in order, each once.
        assert_eq!(script.ask(client, "tell"), Ok("told".into()));
        (0..5).for_each(|_| assert_eq!(script.signal(client), Ok(())));
        script.run();
    }
    assert_eq!((script.signals(ada), script.signals(bob)), (6, 3));
    script.close(ada);
    assert_eq!(script.signal(ada), Err(Misuse::NotConnected));
    script.finish();
}
