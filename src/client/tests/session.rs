//! Sessions: created, restored, resumed, closed, lost.

use super::*;
use crate::session::InvalidSession;

fn created(json: &str) -> Vec<u8> {
    [b"\x15", json.as_bytes()].concat()
}

/// Ready, with a session.
fn holding(config: Config) -> Fixture {
    let mut fixture = Fixture::ready(config);
    fixture.receive(created(SESSION));
    assert_eq!(fixture.labels(), ["SessionCreated"]);
    fixture
}

fn held(fixture: &Fixture) -> Option<&str> {
    fixture.client.session().map(|session| session.key.as_str())
}

#[test]
fn a_created_session_replaces_the_one_before() {
    let mut fixture = holding(v1_4());
    let (json, other) = other_session();
    fixture.receive(created(&json));
    assert_eq!(fixture.take(), [Action::Event(Event::SessionCreated(other.clone()))]);
    assert_eq!(fixture.client.session(), Some(&other));
    fixture.receive(created("{}"));
    assert_eq!(fixture.labels(), ["Anomaly"]);
    assert_eq!(fixture.client.session(), Some(&other));
}

#[test]
fn the_server_changes_the_info_and_the_key_of_the_session() {
    let mut fixture = holding(v1_4());
    for to in [
        SESSION.replace('}', r#","i":{"role":"admin"}}"#),
        SESSION.replace("KEY1", "KEY2"),
        SESSION.replace("KEY1", "KEY3").replace('}', r#","i":{"role":"user"}}"#),
    ] {
        fixture.receive(created(&to));
        let session = Session::from_json(to.as_bytes()).unwrap();
        let updated = Event::SessionUpdated(session.clone());
        assert_eq!(fixture.take(), [Action::Event(updated)]);
        assert_eq!(fixture.client.session(), Some(&session));
    }
    // The new key is the one to resume.
    fixture.lost();
    fixture.reopen();
    assert_eq!(fixture.take().last(), Some(&Action::Send(frame(0x20, 1, b"KEY3"))));
}

#[test]
fn sessions_of_an_unknown_age_are_only_the_same_by_their_key() {
    let mut fixture = Fixture::ready(v1_4());
    for (key, event) in [("A", "SessionCreated"), ("B", "SessionCreated"), ("B", "SessionUpdated")]
    {
        fixture.receive(created(&format!(r#"{{"k":"{key}"}}"#)));
        assert_eq!(fixture.labels(), [event]);
    }
}

#[test]
fn the_application_restores_a_session() {
    let mut fixture = Fixture::ready(v1_4());
    let id = fixture.restore("KEY1").unwrap();
    assert_eq!(fixture.restore("KEY1"), Err(Misuse::SessionHeld));
    assert_eq!(fixture.take(), [Action::Send(frame(0x20, 1, b"KEY1"))]);
    fixture.receive(frame(0xc0, 1, SESSION.as_bytes()));
    let restored = Action::Event(Event::SessionRestored(session()));
    let done = Action::Done { id, outcome: Ok(Payload::utf8(SESSION)) };
    assert_eq!(fixture.take(), [restored, done]);
    assert_eq!(fixture.client.session(), Some(&session()));
    assert_eq!(fixture.restore("KEY2"), Err(Misuse::SessionHeld));
}

#[test]
fn a_restoration_can_fail_and_be_tried_again() {
    let mut fixture = Fixture::ready(v1_4());
    for (reply, error) in [
        (frame(1, 1, b""), RequestError::ServerShutdown),
        (frame(2, 2, b""), RequestError::Internal),
        (frame(3, 3, b""), RequestError::SessionNotFound),
        (frame(4, 4, b""), RequestError::MaxSessionConnections),
        (frame(5, 5, b""), RequestError::SessionsDisabled),
        (frame(6, 6, b""), RequestError::Protocol),
        (frame(0xc0, 7, b"{}"), RequestError::InvalidSession(InvalidSession::NoKey)),
    ] {
        let id = fixture.restore("KEY1").unwrap();
        fixture.labels();
        fixture.receive(reply);
        assert_eq!(fixture.take(), [Action::Done { id, outcome: Err(error) }]);
        assert_eq!(held(&fixture), None);
    }
    let id = fixture.restore("KEY1").unwrap();
    fixture.client.cancel(id, &mut fixture.out);
    fixture.restore("KEY1").unwrap();
}

#[test]
fn a_restoration_waits_for_the_connection_in_its_turn() {
    let mut fixture = Fixture::waiting(v1_4());
    fixture.request("before").unwrap();
    fixture.restore("KEY1").unwrap();
    assert_eq!(fixture.restore("KEY1"), Err(Misuse::SessionHeld));
    fixture.request("after").unwrap();
    fixture.reopen();
    assert_eq!(fixture.labels()[2..], ["Connected", "Send 7f", "Send 20 2", "Send 7f"]);
    assert_eq!(fixture.restore("KEY1"), Err(Misuse::SessionHeld));
}

#[test]
fn a_session_is_resumed_before_queued_requests_are_sent() {
    let mut fixture = Fixture::resuming(v1_4());
    fixture.request("x").unwrap();
    assert_eq!(fixture.restore("KEY1"), Err(Misuse::SessionHeld));
    assert!(fixture.labels().is_empty());
    let later = SESSION.replace(r#""l":"2018"#, r#""l":"2020"#);
    fixture.receive(frame(0xc0, 1, later.as_bytes()));
    assert_eq!(fixture.labels(), ["SessionRestored", "Connected", "Send 7f"]);
    assert_eq!(fixture.client.session(), Session::from_json(later.as_bytes()).ok().as_ref());
}

#[test]
fn reasons_for_which_a_session_is_lost() {
    for (reply, loss) in [
        (frame(3, 1, b""), SessionLoss::NotFound),
        (frame(5, 1, b""), SessionLoss::Disabled),
        (frame(6, 1, b""), SessionLoss::Refused),
        (frame(0, 1, b"\x01C"), SessionLoss::Refused),
        (frame(0xc0, 1, b"[]"), SessionLoss::InvalidReply),
    ] {
        let mut fixture = Fixture::resuming(v1_4());
        fixture.receive(reply);
        let lost = Action::Event(Event::SessionLost(loss));
        assert!(fixture.take().ends_with(&[lost, Action::Event(Event::Connected)]));
        assert_eq!(held(&fixture), None);
    }
}

#[test]
fn passing_failures_are_tried_again_on_the_same_connection_a_few_times() {
    let passing: [fn(&mut Fixture); 4] = [
        |fixture| fixture.receive(frame(1, 1, b"")),
        |fixture| fixture.receive(frame(2, 1, b"")),
        |fixture| fixture.receive(frame(4, 1, b"")),
        Fixture::due,
    ];
    for failure in passing {
        let mut fixture = Fixture::resuming(Config { resume_attempts: 3, ..v1_4() });
        for whole in [500, 1000].map(Duration::from_millis) {
            failure(&mut fixture);
            let pause = fixture.client.next_timeout().unwrap().saturating_since(fixture.now);
            assert!((whole / 2..=whole).contains(&pause), "{pause:?}");
            failure_while_pausing_is_late(&mut fixture);
            fixture.due();
            assert_eq!(fixture.labels(), ["Send 20 1"]);
        }
        failure(&mut fixture);
        let lost = Action::Event(Event::SessionLost(SessionLoss::GaveUp));
        assert_eq!(fixture.take(), [lost, Action::Event(Event::Connected)]);
    }
}

/// The server did not find it when first asked, and finds it when asked again.
#[test]
fn the_answer_to_a_second_attempt_counts_when_the_first_is_answered_late() {
    for (first, loss) in [
        (frame(3, 1, b""), SessionLoss::NotFound),
        (frame(5, 1, b""), SessionLoss::Disabled),
        (frame(0xc0, 1, b"[]"), SessionLoss::InvalidReply),
    ] {
        let mut fixture = Fixture::resuming(v1_4());
        fixture.due();
        fixture.due();
        assert_eq!(fixture.labels(), ["Send 20 1"], "a second attempt");
        fixture.receive(first);
        let lost = Action::Event(Event::SessionLost(loss));
        assert!(fixture.take().ends_with(&[lost, Action::Event(Event::Connected)]));
        fixture.receive(frame(0xc0, 1, SESSION.as_bytes()));
        assert_eq!(fixture.labels(), ["SessionRestored"]);
        assert_eq!(held(&fixture), Some("KEY1"));
        fixture.receive(frame(0xc0, 1, SESSION.as_bytes()));
        assert!(fixture.labels().is_empty(), "two attempts, two answers");
    }
}

fn failure_while_pausing_is_late(fixture: &mut Fixture) {
    let until = fixture.client.next_timeout();
    fixture.receive(frame(4, 1, b""));
    assert_eq!((fixture.client.next_timeout(), fixture.labels().len()), (until, 0));
}

#[test]
fn an_answer_that_comes_after_its_time_still_counts() {
    let mut fixture = Fixture::resuming(v1_4());
    fixture.due();
    assert_eq!(state(&fixture.client), "Pausing");
    fixture.receive(frame(0xc0, 1, SESSION.as_bytes()));
    assert_eq!(fixture.labels(), ["SessionRestored", "Connected"]);
}

#[test]
fn a_session_survives_close_and_failed_attempts() {
    let mut fixture = holding(v1_4());
    fixture.close();
    assert_eq!(held(&fixture), Some("KEY1"));
    fixture.connect();
    fixture.dialing();
    fixture.lost();
    fixture.reopen();
    assert_eq!(fixture.labels().last().unwrap(), "Send 20 1");
    fixture.lost();
    assert_eq!(held(&fixture), Some("KEY1"));
}

#[test]
fn a_session_that_the_server_replaces_while_it_is_resumed_is_not_lost_with_it() {
    let mut fixture = Fixture::resuming(v1_4());
    let (json, _) = other_session();
    fixture.receive(created(&json));
    fixture.receive(frame(3, 1, b""));
    assert_eq!(fixture.labels(), ["SessionCreated", "Connected"]);
    assert_eq!(held(&fixture), Some("KEY2"));

    let mut fixture = Fixture::resuming(v1_4());
    fixture.receive(&b"\x16"[..]);
    assert_eq!(fixture.restore("KEY3"), Err(Misuse::SessionHeld), "it may still come back");
    fixture.receive(frame(4, 1, b""));
    fixture.due();
    assert_eq!(fixture.labels(), ["SessionClosed", "Connected"]);
}

#[test]
fn closing_a_session_is_reported_once_in_every_version() {
    for notified in [true, false] {
        let mut fixture = holding(v1_4());
        let id = fixture.close_session().unwrap();
        assert_eq!(fixture.take(), [Action::Send(frame(0x1f, 1, b""))]);
        assert_eq!(held(&fixture), Some("KEY1"));
        if notified {
            fixture.receive(&b"\x16"[..]);
        }
        fixture.receive(frame(0xbf, 1, b""));
        let done = Action::Done { id, outcome: Ok(Payload::EMPTY) };
        assert_eq!(fixture.take(), [Action::Event(Event::SessionClosed), done]);
        assert_eq!(held(&fixture), None);
    }
}

/// A 2.0 server tells by nothing but its reply that it closed the session.
#[test]
fn a_late_close_ends_the_session() {
    for (reply, held_then) in [(frame(0xbf, 1, b""), None), (frame(2, 1, b""), Some("KEY1"))] {
        let mut fixture = holding(v1_4());
        let id = fixture.close_session().unwrap();
        fixture.client.cancel(id, &mut fixture.out);
        assert_eq!(fixture.labels(), ["Send 1f 1", "Done 1 Cancelled"]);
        assert_eq!((held(&fixture), fixture.client.pending_requests()), (Some("KEY1"), 0));
        fixture.receive(reply);
        assert_eq!(held(&fixture), held_then);
        assert_eq!(fixture.labels().len(), usize::from(held_then.is_none()), "no second outcome");
    }
}

#[test]
fn a_session_is_kept_if_closing_it_fails() {
    let failures: [fn(&mut Fixture); 4] = [
        |fixture| fixture.receive(frame(5, 1, b"")),
        |fixture| fixture.pass(Duration::from_secs(60)),
        Fixture::lost,
        |fixture| {
            fixture
                .client
                .cancel(RequestId::from_identifier(Identifier::from_counter(1)), &mut fixture.out)
        },
    ];
    for failure in failures {
        let mut fixture = holding(v1_4());
        fixture.close_session().unwrap();
        failure(&mut fixture);
        assert_eq!(fixture.outcomes().len(), 1);
        assert_eq!(held(&fixture), Some("KEY1"));
    }
}

#[test]
fn without_a_session_there_is_nothing_to_close() {
    let mut waiting = Fixture::waiting(v1_4());
    let mut idle = Fixture::new(v1_4());
    let mut ready = Fixture::ready(v1_4());
    ready.labels();
    for fixture in [&mut waiting, &mut idle, &mut ready] {
        let id = fixture.close_session().unwrap();
        assert_eq!(fixture.take(), [Action::Done { id, outcome: Ok(Payload::EMPTY) }]);
    }
}

#[test]
fn without_a_connection_a_session_is_only_forgotten() {
    let mut fixture = holding(v1_4());
    fixture.lost();
    fixture.labels();
    let id = fixture.close_session().unwrap();
    let done = Action::Done { id, outcome: Ok(Payload::EMPTY) };
    assert_eq!(fixture.take(), [Action::Event(Event::SessionClosed), done]);
    fixture.reopen();
    assert_eq!(fixture.labels(), ["Probe", "Dial", "Connected"]);
}

/// The server may be about to restore it: forgetting it here would leave it open there.
#[test]
fn a_session_that_is_on_its_way_is_closed_when_it_came() {
    let mut resuming = Fixture::resuming(v1_4());
    let id = resuming.close_session().unwrap();
    assert!(resuming.take().is_empty());
    resuming.receive(frame(0xc0, 1, SESSION.as_bytes()));
    assert_eq!(resuming.labels(), ["SessionRestored", "Connected", "Send 1f 2"]);
    resuming.receive(frame(0xbf, 2, b""));
    let done = Action::Done { id, outcome: Ok(Payload::EMPTY) };
    assert_eq!(resuming.take(), [Action::Event(Event::SessionClosed), done]);

    let mut lost = Fixture::resuming(v1_4());
    lost.close_session().unwrap();
    lost.receive(frame(3, 1, b""));
    assert_eq!(lost.labels(), ["SessionLost", "Connected", "Done 2"]);

    let mut restoring = Fixture::waiting(v1_4());
    restoring.restore("KEY1").unwrap();
    restoring.close_session().unwrap();
    restoring.reopen();
    restoring.receive(frame(0xc0, 1, SESSION.as_bytes()));
    restoring.receive(frame(0xbf, 2, b""));
    let labels = restoring.labels();
    assert_eq!(labels[3..5], ["Send 20 1", "Send 1f 2"]);
    assert_eq!(labels[5..], ["SessionRestored", "Done 1", "SessionClosed", "Done 2"]);
}

#[test]
fn a_session_that_replaced_the_closed_one_stays() {
    let mut fixture = holding(v1_4());
    fixture.close_session().unwrap();
    fixture.receive(&b"\x16"[..]);
    fixture.receive(created(&other_session().0));
    fixture.receive(frame(0xbf, 1, b""));
    assert_eq!(fixture.labels(), ["Send 1f 1", "SessionClosed", "SessionCreated", "Done 1"]);
    assert_eq!(held(&fixture), Some("KEY2"));
}

/// A 2.0 server says nothing before its reply, and closes what it finds when the request arrives.
#[test]
fn a_2_0_server_closes_the_session_that_it_finds() {
    let config = Config { protocol: Protocol::V2_0, ..quiet() };
    let mut fixture = Fixture::new(config);
    fixture.connect();
    fixture.opened();
    fixture.receive(conf(2, 0, 8192, b""));
    fixture.receive(created(SESSION));
    fixture.close_session().unwrap();
    fixture.receive(created(&other_session().0));
    fixture.labels();
    fixture.receive(frame(0xbf, 1, b""));
    assert_eq!(fixture.labels(), ["SessionClosed", "Done 1"]);
    assert_eq!(held(&fixture), None);
}

/// The server carries out a request that has been given up: then it holds the session on this
/// connection, and both sides have to agree on that.
#[test]
fn a_late_restore_is_accepted() {
    let cancelled: fn(&mut Fixture) = |fixture| {
        let id = fixture.restore("KEY1").unwrap();
        fixture.client.cancel(id, &mut fixture.out);
        fixture.client.cancel(id, &mut fixture.out);
        assert_eq!(fixture.labels(), ["Send 20 1", "Done 1 Cancelled"]);
    };
    let timed_out: fn(&mut Fixture) = |fixture| {
        fixture.restore("KEY1").unwrap();
        fixture.due();
        assert_eq!(fixture.labels(), ["Send 20 1", "Done 1 TimedOut { sent: true }"]);
    };
    for give_up in [cancelled, timed_out] {
        let mut fixture = Fixture::ready(v1_4());
        give_up(&mut fixture);
        assert_eq!(fixture.client.pending_requests(), 0);
        assert_eq!(fixture.client.next_timeout(), None);
        fixture.receive(frame(0xc0, 1, SESSION.as_bytes()));
        assert_eq!(fixture.labels(), ["SessionRestored"]);
        assert_eq!(held(&fixture), Some("KEY1"));
        fixture.receive(frame(0xc0, 1, SESSION.as_bytes()));
        assert!(fixture.labels().is_empty());

        let mut fixture = Fixture::ready(v1_4());
        give_up(&mut fixture);
        fixture.receive(frame(3, 1, b""));
        fixture.receive(frame(0xc0, 1, SESSION.as_bytes()));
        assert!(fixture.labels().is_empty(), "one request, one reply");

        let mut fixture = Fixture::ready(v1_4());
        give_up(&mut fixture);
        fixture.close_session().unwrap();
        assert_eq!(fixture.labels(), ["Send 1f 2"], "the server may hold one");

        let mut fixture = Fixture::ready(v1_4());
        give_up(&mut fixture);
        fixture.lost();
        assert_eq!(fixture.labels(), ["Disconnected"], "it had its outcome");
        fixture.reopen();
        fixture.labels();
        fixture.receive(frame(0xc0, 1, SESSION.as_bytes()));
        assert!(fixture.labels().is_empty(), "of another connection");
    }
}

#[test]
fn a_session_that_was_given_up_for_lost_may_come_back() {
    let config = Config { resume_attempts: 2, ..v1_4() };
    let mut fixture = Fixture::resuming(config);
    (0..3).for_each(|_| fixture.due());
    assert_eq!(fixture.labels(), ["Send 20 1", "SessionLost", "Connected"]);
    fixture.receive(frame(2, 1, b""));
    fixture.receive(frame(0xc0, 1, SESSION.as_bytes()));
    assert_eq!(fixture.labels(), ["SessionRestored"]);
    assert_eq!(held(&fixture), Some("KEY1"));
}

#[test]
fn restorations_that_were_given_up_are_bounded_like_requests() {
    let config = Config { max_pending_requests: 3, ..v1_4() };
    let mut fixture = Fixture::ready(config);
    for _ in 0..3 {
        let id = fixture.restore("KEY1").unwrap();
        fixture.client.cancel(id, &mut fixture.out);
    }
    assert_eq!(fixture.restore("KEY1"), Err(Misuse::TooManyRequests));
    fixture.receive(frame(3, 1, b""));
    assert!(fixture.restore("KEY1").is_ok());
}
