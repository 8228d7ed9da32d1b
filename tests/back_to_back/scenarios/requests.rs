//! Requests and signals: in order, in time, given up.

use std::time::Duration;

use wwr::Payload;
use wwr::Valid;
use wwr::client::{Misuse, RequestError};

use crate::application::payload;
use crate::world::{World, calm, configured};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn each_kind_of_answer_arrives_after_one_round_trip() {
    let mut world = World::scripted(calm());
    let [ada] = world.connected();
    let start = world.fabric.now;
    let ids = ["echo", "fail", "crash", "whoami"].map(|name| world.request(ada, name));
    world.run();
    // One after the other on one connection; two of them take a millisecond each.
    assert_eq!(world.fabric.now, start + Duration::from_millis(22));
    let [echo, fail, crash, who] = ids.map(|id| world.outcome(ada, id));
    assert_eq!(echo, Ok(payload((ada, 1))));
    let Err(RequestError::Failed(error)) = fail else { panic!("{fail:?}") };
    assert_eq!((&*error.code(), &*error.message()), ("FAIL", "as you wished"));
    assert_eq!(crash, Err(RequestError::Internal));
    assert_eq!(who, Ok(Payload::utf8("")));
    world.finish();
}

#[test]
fn a_handler_that_takes_long_holds_up_its_own_connection_only() {
    let mut world = World::scripted(calm());
    let [ada, bob] = world.connected();
    let slow = world.request(ada, "slow");
    let behind = world.request(ada, "echo");
    let beside = world.request(bob, "echo");
    world.run_for_millis(20);
    assert!(world.outcome(bob, beside).is_ok());
    world.run_for(5 * SECOND - Duration::from_millis(1));
    assert!(world.clients[ada].outcomes.is_empty());
    world.run_for_millis(1);
    assert!(world.outcome(ada, slow).is_ok() && world.outcome(ada, behind).is_ok());
    world.finish();
}

#[test]
fn a_server_that_is_asked_too_much_at_once_reads_on_when_it_can() {
    let mut settings = calm();
    settings.connection.max_queued_messages = std::num::NonZeroU16::MIN;
    let mut world = World::scripted(settings);
    let [ada] = world.connected();
    let ids: Vec<_> = (0..50).map(|_| world.request(ada, "fail")).collect();
    world.run_for_millis(10);
    assert!(world.server.has_unread(), "it left them in the socket");
    world.run();
    assert!(!world.server.has_unread());
    let failed = |id| matches!(world.outcome(ada, id), Err(RequestError::Failed(_)));
    assert!(ids.into_iter().all(failed));
    world.finish();
}

#[test]
fn a_timeout_comes_to_the_moment_and_a_late_reply_to_nobody() {
    let mut world = World::scripted(calm());
    let [ada] = world.connected();
    let start = world.fabric.now;
    let late = world.clients[ada].request("slow", Some(SECOND), &mut world.fabric).unwrap();
    world.run_for(SECOND - Duration::from_nanos(1));
    assert!(world.clients[ada].outcomes.is_empty());
    world.run_for(Duration::from_nanos(1));
    assert_eq!(world.fabric.now, start + SECOND);
    assert_eq!(world.outcome(ada, late), Err(RequestError::TimedOut { sent: true }));
    world.run();
    assert!(world.server.record.reply((ada, 1)).is_some(), "it was answered all the same");
    assert!(world.ask(ada, "echo").is_ok());
    world.finish();
}

#[test]
fn waiting_for_the_connection_counts() {
    let mut world = World::scripted(calm());
    let ada = world.client(Valid::default());
    let World { server, fabric, .. } = &mut world;
    server.crash(fabric);
    world.connect(ada);
    let id = world.clients[ada].request("echo", Some(SECOND), &mut world.fabric).unwrap();
    world.run_for(SECOND);
    assert_eq!(world.outcome(ada, id), Err(RequestError::TimedOut { sent: false }));
    world.server.start();
    world.run();
    assert!(!world.server.record.has_reached((ada, 1)));
    world.finish();
}

#[test]
fn what_is_cancelled_is_handled_if_it_was_sent_and_never_sent_if_it_was_not() {
    let mut world = World::scripted(calm());
    let ada = world.client(Valid::default());
    world.connect(ada);
    let unsent = world.request(ada, "echo");
    let World { clients, fabric, .. } = &mut world;
    clients[ada].cancel(unsent, fabric);
    assert_eq!(world.outcome(ada, unsent), Err(RequestError::Cancelled));
    world.run();
    let sent = world.request(ada, "echo");
    world.run_for_millis(5);
    let World { clients, fabric, .. } = &mut world;
    clients[ada].cancel(sent, fabric);
    assert_eq!(world.outcome(ada, sent), Err(RequestError::Cancelled));
    world.run();
    assert!(
        !world.server.record.has_reached((ada, 1)) && world.server.record.has_reached((ada, 2))
    );
    world.finish();
}

#[test]
fn requests_made_offline_are_bounded_and_sent_in_order() {
    let mut world = World::scripted(calm());
    let config = configured(|config| {
        (config.max_pending_requests, config.max_queued_bytes) = (3, 60);
    });
    let ada = world.client(config);
    world.connect(ada);
    let queued: Vec<_> = (0..3).map(|_| world.request(ada, "echo")).collect();
    let World { clients, fabric, .. } = &mut world;
    assert_eq!(clients[ada].request("echo", None, fabric), Err(Misuse::TooManyRequests));
    clients[ada].cancel(queued[0], fabric);
    assert_eq!(clients[ada].request(&"x".repeat(60), None, fabric), Err(Misuse::QueueFull));
    world.run();
    assert_eq!(world.outcome(ada, queued[1]), Ok(payload((ada, 2))));
    assert_eq!(world.outcome(ada, queued[2]), Ok(payload((ada, 3))));
    world.finish();
}

#[test]
fn signals_go_both_ways_and_precede_the_reply_they_were_sent_before() {
    let mut world = World::scripted(calm());
    let [ada, bob] = world.connected();
    for client in [ada, bob, ada] {
        // The client itself checks that they come in order, each once.
        assert_eq!(world.ask(client, "tell"), Ok(Payload::EMPTY));
        let World { clients, fabric, .. } = &mut world;
        (0..5).for_each(|_| assert_eq!(clients[client].signal(fabric), Ok(())));
        world.run();
    }
    assert_eq!((world.clients[ada].signals(), world.clients[bob].signals()), (6, 3));
    world.close(ada);
    let World { clients, fabric, .. } = &mut world;
    assert_eq!(clients[ada].signal(fabric), Err(Misuse::NotConnected));
    world.finish();
}
