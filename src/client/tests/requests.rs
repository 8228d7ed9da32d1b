//! Requests: where they wait, and how they end.

use super::*;
use crate::session::InvalidSession;
use crate::wire::{ErrorReply, UnreadableSignal};

fn bounded(requests: usize, bytes: usize) -> Config {
    Config { max_pending_requests: requests, max_queued_bytes: bytes, ..v1_4() }
}

#[test]
fn identifiers_count_up_from_one_across_connections_and_kinds() {
    let mut fixture = Fixture::ready(v1_4());
    fixture.request("a").unwrap();
    fixture.restore("KEY1").unwrap();
    fixture.receive(frame(0xc0, 2, SESSION.as_bytes()));
    fixture.close_session().unwrap();
    fixture.receive(frame(2, 3, b""));
    fixture.lost();
    fixture.reopen();
    let sent = fixture.take().into_iter().filter_map(|action| match action {
        Action::Send(frame) => Some(frame),
        _ => None,
    });
    assert_eq!(
        sent.collect::<Vec<_>>(),
        [
            frame(0x7f, 1, b"\x01a"),
            frame(0x20, 2, b"KEY1"),
            frame(0x1f, 3, b""),
            frame(0x20, 4, b"KEY1")
        ]
    );
}

#[test]
fn a_ready_connection_sends_requests_of_all_encodings_at_once() {
    let mut fixture = Fixture::ready(v1_4());
    for (payload, sent) in [
        (Payload::binary(&b"x"[..]), frame(0x7f, 1, b"\x03oddx")),
        (Payload::utf8("x"), frame(0x80, 2, b"\x03oddx")),
        (Payload::utf16("x"), frame(0x81, 3, b"\x03odd\0x\0")),
    ] {
        fixture.client.request(fixture.now, name("odd"), payload, None, &mut fixture.out).unwrap();
        assert_eq!(fixture.take(), [Action::Send(sent)]);
    }
    let nameless = Payload::utf8("x");
    fixture.client.request(fixture.now, Name::NONE, nameless, None, &mut fixture.out).unwrap();
    assert_eq!(fixture.take(), [Action::Send(frame(0x80, 4, b"\0x"))]);
    assert_eq!((fixture.client.pending_requests(), fixture.client.queued_bytes()), (4, 0));
}

#[test]
fn every_reply_has_its_outcome() {
    let failed = ErrorReply::new(b"CODE", b"why").unwrap();
    for (reply, outcome) in [
        (frame(0xbf, 1, b"x"), Ok(Payload::binary(&b"x"[..]))),
        (frame(0xc0, 1, b""), Ok(Payload::utf8(""))),
        (frame(0xc1, 1, b"\0x\0"), Ok(Payload::utf16("x"))),
        (frame(0x00, 1, b"\x04CODEwhy"), Err(RequestError::Failed(failed))),
        (frame(1, 1, b""), Err(RequestError::ServerShutdown)),
        (frame(2, 1, b""), Err(RequestError::Internal)),
        (frame(3, 1, b""), Err(RequestError::SessionNotFound)),
        (frame(4, 1, b""), Err(RequestError::MaxSessionConnections)),
        (frame(5, 1, b""), Err(RequestError::SessionsDisabled)),
        (frame(6, 1, b""), Err(RequestError::Protocol)),
    ] {
        let mut fixture = Fixture::ready(v1_4());
        let id = fixture.request("x").unwrap();
        fixture.labels();
        fixture.receive(reply.clone());
        assert_eq!(fixture.take(), [Action::Done { id, outcome }]);
        assert_eq!((fixture.client.pending_requests(), fixture.client.next_timeout()), (0, None));
        fixture.receive(reply);
        assert!(fixture.take().is_empty(), "a second reply is late");
    }
}

#[test]
fn requests_of_their_own_ending() {
    // Each: what happens to a request, sent or queued, and its outcome.
    type Ending = fn(&mut Fixture, RequestId);
    let connection_lost: Ending = |fixture, _| fixture.lost();
    let closed: Ending = |fixture, _| fixture.close();
    let cancelled: Ending = |fixture, id| fixture.client.cancel(id, &mut fixture.out);
    let timed_out: Ending = |fixture, _| fixture.pass(Duration::from_secs(60));
    for (queued, ending, outcome) in [
        (false, connection_lost, RequestError::ConnectionLost),
        (false, closed, RequestError::ConnectionLost),
        (false, cancelled, RequestError::Cancelled),
        (false, timed_out, RequestError::TimedOut { sent: true }),
        (true, closed, RequestError::NotSent),
        (true, cancelled, RequestError::Cancelled),
        (true, timed_out, RequestError::TimedOut { sent: false }),
    ] {
        let start = if queued { Fixture::waiting } else { Fixture::ready };
        let mut fixture = start(v1_4());
        let id = fixture.request("x").unwrap();
        ending(&mut fixture, id);
        assert_eq!(fixture.outcomes(), [(id, Err(outcome))]);
        assert_eq!((fixture.client.pending_requests(), fixture.client.queued_bytes()), (0, 0));
        fixture.client.cancel(id, &mut fixture.out);
        assert!(fixture.outcomes().is_empty());
    }
}

#[test]
fn errors_say_whether_repeating_is_safe() {
    use alloc::string::ToString;
    let failed = ErrorReply::new(b"C\n", b"why").unwrap();
    for (error, text) in [
        (RequestError::Failed(failed), r#"error "C\n": "why""#),
        (RequestError::Internal, "may have acted"),
        (RequestError::ServerShutdown, "repeat it later"),
        (RequestError::SessionNotFound, "does not help"),
        (RequestError::MaxSessionConnections, "later"),
        (RequestError::SessionsDisabled, "does not help"),
        (RequestError::Protocol, "does not help"),
        (
            RequestError::InvalidSession(InvalidSession::NoKey),
            "not a valid session: there is no session key",
        ),
        (RequestError::TimedOut { sent: true }, "may have acted"),
        (RequestError::TimedOut { sent: false }, "repeating is safe"),
        (RequestError::Cancelled, "may have acted"),
        (RequestError::NotSent, "repeating is safe"),
        (RequestError::ConnectionLost, "may have acted"),
    ] {
        assert!(error.to_string().contains(text), "{error}");
    }
}

#[test]
fn queued_requests_are_sent_in_order_once_ready() {
    let mut fixture = Fixture::waiting(v1_4());
    let ids = ["a", "b", "c", "d"].map(|text| fixture.request(text).unwrap());
    fixture.client.cancel(ids[1], &mut fixture.out);
    fixture.labels();
    fixture.due();
    fixture.request("e").unwrap();
    fixture.dialing();
    fixture.request("f").unwrap();
    assert_eq!(fixture.labels(), ["Probe", "Dial"]);
    assert_eq!((fixture.client.pending_requests(), fixture.client.queued_bytes()), (5, 55));
    fixture.opened();
    let sent = fixture.take();
    assert_eq!(sent[0], Action::Event(Event::Connected));
    let names = sent[1..].iter().map(|action| match action {
        Action::Send(frame) => frame[10],
        other => panic!("{other:?}"),
    });
    assert_eq!(names.collect::<Vec<_>>(), *b"acdef");
    assert_eq!((fixture.client.pending_requests(), fixture.client.queued_bytes()), (5, 0));
}

#[test]
fn a_lost_connection_keeps_queued_requests_and_repeats_none() {
    let mut fixture = Fixture::resuming(v1_4());
    let queued = fixture.request("queued").unwrap();
    fixture.lost();
    assert_eq!(fixture.labels(), ["ConnectFailed"]);
    fixture.reopen();
    fixture.receive(frame(3, 3, b""));
    let labels = fixture.labels();
    assert_eq!(labels[..], ["Probe", "Dial", "Send 20 3", "SessionLost", "Connected", "Send 7f"]);
    fixture.lost();
    assert_eq!(fixture.outcomes(), [(queued, Err(RequestError::ConnectionLost))]);
    fixture.reopen();
    assert_eq!(fixture.labels(), ["Probe", "Dial", "Connected"]);
}

#[test]
fn one_deadline_covers_the_wait_and_the_reply() {
    let mut fixture = Fixture::waiting(v1_4());
    let start = fixture.now;
    let second = Some(Duration::from_secs(1));
    let id =
        fixture.client.request(start, name("x"), Payload::EMPTY, second, &mut fixture.out).unwrap();
    fixture.reopen();
    assert_eq!(fixture.client.next_timeout(), Some(start + Duration::from_secs(1)));
    fixture.due();
    assert_eq!(fixture.outcomes(), [(id, Err(RequestError::TimedOut { sent: true }))]);
    fixture.receive(frame(0xbf, 1, b"late"));
    assert!(fixture.take().is_empty());
}

#[test]
fn expired_requests_are_not_sent_even_if_the_timer_was_late() {
    let mut fixture = Fixture::waiting(v1_4());
    fixture.due();
    fixture.dialing();
    let brief = Some(Duration::from_millis(10));
    let id = fixture
        .client
        .request(fixture.now, name("x"), Payload::EMPTY, brief, &mut fixture.out)
        .unwrap();
    fixture.labels();
    fixture.now = fixture.now + Duration::from_millis(10);
    fixture.opened();
    let timed_out = Action::Done { id, outcome: Err(RequestError::TimedOut { sent: false }) };
    assert_eq!(fixture.take(), [Action::Event(Event::Connected), timed_out]);
}

#[test]
fn deadlines_come_in_the_order_of_time() {
    let mut fixture = Fixture::ready(v1_4());
    for millis in [30, 10, 20] {
        let timeout = Some(Duration::from_millis(millis));
        let now = fixture.now;
        fixture.client.request(now, name("x"), Payload::EMPTY, timeout, &mut fixture.out).unwrap();
    }
    fixture.labels();
    fixture.pass(Duration::from_millis(9));
    assert!(fixture.labels().is_empty());
    fixture.due();
    fixture.pass(Duration::from_secs(1));
    let ended = fixture.outcomes().into_iter().map(|(id, _)| id.identifier().counter());
    assert_eq!(ended.collect::<Vec<_>>(), [2, 3, 1]);
}

#[test]
fn the_queue_is_bounded_in_bytes_and_requests_in_number() {
    let mut fixture = Fixture::waiting(bounded(100, 22));
    fixture.request("a").unwrap();
    assert_eq!(fixture.request("too long"), Err(Misuse::QueueFull));
    let second = fixture.request("b").unwrap();
    assert_eq!(fixture.request("c"), Err(Misuse::QueueFull));
    assert_eq!((fixture.client.pending_requests(), fixture.client.queued_bytes()), (2, 22));
    fixture.client.cancel(second, &mut fixture.out);
    assert_eq!(fixture.client.queued_bytes(), 11);
    assert_eq!(fixture.restore("KEY12"), Err(Misuse::QueueFull));
    fixture.restore("K1").unwrap();
    assert_eq!(fixture.client.queued_bytes(), 22);

    let mut fixture = Fixture::ready(bounded(2, 0));
    fixture.request("a longer one, sent at once").unwrap();
    fixture.request("b").unwrap();
    assert_eq!(fixture.request("c"), Err(Misuse::TooManyRequests));
    fixture.receive(frame(0xbf, 1, b""));
    let fourth = fixture.request("d").unwrap();
    assert_eq!(fourth.identifier().counter(), 3, "what is refused has no identifier");

    let mut fixture = Fixture::waiting(bounded(2, 1000));
    fixture.request("a").unwrap();
    fixture.request("b").unwrap();
    assert_eq!(fixture.request("c"), Err(Misuse::TooManyRequests));
}

#[test]
fn misuse_changes_nothing() {
    let mut idle = Fixture::new(v1_4());
    let mut closed = Fixture::ready(v1_4());
    closed.close();
    closed.labels();
    for fixture in [&mut idle, &mut closed] {
        assert_eq!(fixture.request("x"), Err(Misuse::NotConnected));
        assert_eq!(fixture.restore("KEY1"), Err(Misuse::NotConnected));
        assert_eq!(fixture.signal("x", &Payload::utf8("x")), Err(Misuse::NotConnected));
        assert!(fixture.take().is_empty());
        assert_eq!(fixture.client.pending_requests(), 0);
    }
    let mut ready = Fixture::ready(v1_4());
    assert_eq!(ready.request(""), Err(Misuse::EmptyRequest));
    assert_eq!(ready.signal("", &Payload::EMPTY), Err(UnreadableSignal::Empty.into()));
    assert!(ready.take().is_empty());
}

#[test]
fn a_request_may_have_no_time_limit() {
    let mut fixture = Fixture::ready(v1_4());
    let limitless = Some(Duration::MAX);
    let now = fixture.now;
    fixture.client.request(now, name("x"), Payload::EMPTY, limitless, &mut fixture.out).unwrap();
    assert_eq!(fixture.client.next_timeout(), None);
    fixture.pass(Duration::from_secs(1_000_000_000));
    assert_eq!(fixture.client.pending_requests(), 1);
}
