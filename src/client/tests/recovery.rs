//! Signals with offsets, and requests that are repeated (protocol §10.5, §10.6).

use super::discovery::*;
use super::*;
use crate::handshake::SubProtocol;
use crate::session::{Instance, Position};

const INCARNATION: u64 = 0x1122_3344_5566_7788;

fn place(offset: u64) -> Position {
    Position { incarnation: INCARNATION, offset }
}

/// Connected to a server of `wwr.1` that says by this byte what it keeps.
fn connected(keeps: u8) -> Fixture {
    let mut fixture = after(Config { resume_signals: true, ..auto() }, NAMES_1_4);
    fixture.client.set_instance(Instance([7; 16]));
    open(&mut fixture, keeps);
    fixture
}

fn open(fixture: &mut Fixture, keeps: u8) {
    fixture.labels();
    fixture.client.handle_opened(fixture.now, Some(SubProtocol::Wwr1), &mut fixture.out);
    let settings = [&b"\x18\0\0\0\x01\x40\0\x03"[..], &[7; 16]].concat();
    assert_eq!(fixture.take(), [Action::Send(settings.into())]);
    let mut conf = conf(2, 60_000, 1 << 20, b"");
    conf[2] = keeps;
    fixture.receive(conf);
}

/// The connection is lost, and there is another one.
fn again(fixture: &mut Fixture, keeps: u8) {
    fixture.lost();
    fixture.due();
    open(fixture, keeps);
}

fn mark(state: u8, place: Position) -> Vec<u8> {
    [&[0x12, state][..], &place.incarnation.to_le_bytes(), &place.offset.to_le_bytes()].concat()
}

fn news(offset: u64, text: &str) -> Bytes {
    frame(0x10, offset, &[b"\x04news", text.as_bytes()].concat())
}

fn kept(scope: u64) -> Vec<u8> {
    [&[0x13][..], &scope.to_le_bytes(), &60_000u32.to_le_bytes(), &64u32.to_le_bytes()].concat()
}

fn created() -> Vec<u8> {
    [b"\x15", SESSION.as_bytes()].concat()
}

/// Signals and what is said about them.
fn heard(fixture: &mut Fixture) -> Vec<String> {
    let heard = fixture.take().into_iter().filter_map(|action| match action {
        Action::Event(Event::Signal(content)) => Some(content.text().unwrap().into_owned()),
        Action::Event(Event::SignalsResumed { missed }) => Some(format!("resumed {missed}")),
        Action::Event(Event::SignalGap { from, to }) => {
            let [from, to] = [from, to].map(|place| place.map(|place| place.offset));
            Some(format!("gap {from:?} {to:?}"))
        }
        Action::Event(Event::Anomaly(anomaly)) => Some(format!("{anomaly:?}")),
        _ => None,
    });
    heard.collect()
}

fn following() -> Fixture {
    let mut fixture = connected(1);
    fixture.receive(created());
    assert_eq!(fixture.client.place(), None, "the server has not said it yet");
    fixture.receive(mark(0, place(0)));
    fixture.receive(news(1, "one"));
    assert_eq!(heard(&mut fixture), ["one"]);
    assert_eq!(fixture.client.place(), Some(place(1)));
    fixture
}

fn restored(fixture: &mut Fixture, id: u64) {
    fixture.receive(frame(0xc0, id, SESSION.as_bytes()));
}

#[test]
fn a_client_resumes_behind_the_last_signal_and_none_comes_twice() {
    let mut fixture = following();
    again(&mut fixture, 1);
    let asked = [&INCARNATION.to_le_bytes()[..], &1u64.to_le_bytes(), b"KEY1"].concat();
    assert_eq!(fixture.take(), [Action::Send(frame(0x1e, 1, &asked))]);
    restored(&mut fixture, 1);
    for offset in [1, 2, 2, 3] {
        fixture.receive(news(offset, ["", "one", "two", "three"][offset as usize]));
    }
    fixture.receive(mark(1, place(3)));
    fixture.receive(news(4, "four"));
    assert_eq!(heard(&mut fixture), ["two", "three", "resumed 2", "four"]);
}

#[test]
fn what_is_missing_is_never_missing_in_silence() {
    // The server says so.
    let mut fixture = following();
    fixture.receive(mark(2, place(5)));
    fixture.receive(news(6, "six"));
    assert_eq!(heard(&mut fixture), ["gap Some(1) Some(5)", "six"]);
    // The server does not.
    fixture.receive(news(9, "nine"));
    assert_eq!(heard(&mut fixture), ["gap Some(6) Some(8)", "nine"]);
    // It says that all was sent, and it was not.
    again(&mut fixture, 1);
    restored(&mut fixture, 1);
    fixture.receive(mark(1, place(10)));
    assert_eq!(heard(&mut fixture), ["gap Some(9) Some(10)"]);
    // Another server keeps nothing.
    again(&mut fixture, 0);
    assert_eq!(fixture.labels(), ["Send 20 2"]);
    restored(&mut fixture, 2);
    assert_eq!(heard(&mut fixture), ["gap Some(10) None"]);
}

#[test]
fn a_client_that_was_told_no_place_asks_for_everything() {
    let mut fixture = connected(1);
    fixture.receive(created());
    again(&mut fixture, 1);
    let asked = [&[0; 16][..], b"KEY1"].concat();
    assert_eq!(fixture.take(), [Action::Send(frame(0x1e, 1, &asked))]);
    restored(&mut fixture, 1);
    fixture.receive(mark(2, place(0)));
    fixture.receive(news(1, "one"));
    assert_eq!(heard(&mut fixture), ["gap None Some(0)", "one"]);
}

#[test]
fn what_came_before_a_session_was_given_up_does_not_come_again() {
    let mut fixture = following();
    fixture.client.close_session(fixture.now, None, &mut fixture.out).unwrap();
    fixture.receive(frame(0xbf, 1, b""));
    fixture.client.restore_session(fixture.now, key("KEY1"), None, &mut fixture.out).unwrap();
    restored(&mut fixture, 2);
    fixture.take();
    // The server had no time to say where the client is now.
    again(&mut fixture, 1);
    let asked = [&[0; 16][..], b"KEY1"].concat();
    assert_eq!(fixture.take(), [Action::Send(frame(0x1e, 3, &asked))]);
    restored(&mut fixture, 3);
    fixture.receive(mark(2, place(0)));
    fixture.receive(news(1, "one"));
    fixture.receive(news(2, "two"));
    assert_eq!(heard(&mut fixture), ["gap None Some(0)", "two"]);
    // Those of another history have nothing to do with that.
    let other = Position { incarnation: 1, offset: 0 };
    fixture.receive(mark(2, other));
    fixture.receive(news(1, "new"));
    assert_eq!(heard(&mut fixture), ["gap Some(2) Some(0)", "new"]);
}

fn order(fixture: &mut Fixture) -> RequestId {
    let payload = Payload::utf8("tea");
    let now = fixture.now;
    let made =
        fixture.client.request_idempotent(now, name("order"), payload, None, &mut fixture.out);
    made.unwrap()
}

fn sent_orders(fixture: &mut Fixture) -> Vec<u64> {
    let sent = fixture.take().into_iter().filter_map(|action| match action {
        Action::Send(frame) if frame[0] == 0x83 => {
            assert_eq!(&frame[9..], b"\x05ordertea");
            Some(u64::from_le_bytes(frame[1..9].try_into().unwrap()))
        }
        _ => None,
    });
    sent.collect()
}

#[test]
fn a_request_is_repeated_in_the_same_scope_only() {
    for (scope, is_repeated) in [(9, true), (8, false)] {
        let mut fixture = connected(2);
        fixture.receive(kept(9));
        let id = order(&mut fixture);
        assert_eq!(sent_orders(&mut fixture), [id.as_u64()]);
        again(&mut fixture, 2);
        assert!(sent_orders(&mut fixture).is_empty(), "the scope is not known yet");
        fixture.receive(kept(scope));
        if is_repeated {
            assert_eq!(sent_orders(&mut fixture), [id.as_u64()]);
            fixture.receive(frame(0xc0, id.as_u64(), b"order 1"));
            assert_eq!(fixture.outcomes(), [(id, Ok(Payload::utf8("order 1")))]);
        } else {
            assert_eq!(fixture.outcomes(), [(id, Err(RequestError::ConnectionLost))]);
        }
        assert_eq!(fixture.client.pending_requests(), 0);
    }
}

#[test]
fn a_request_is_not_repeated_where_nothing_is_kept() {
    // Neither server keeps anything: it is a request as any other.
    let mut fixture = connected(0);
    let id = order(&mut fixture);
    assert_eq!(fixture.labels().last().unwrap(), "Send 80");
    fixture.lost();
    assert_eq!(fixture.outcomes(), [(id, Err(RequestError::ConnectionLost))]);
    // The scope has never come.
    let mut fixture = connected(2);
    let id = order(&mut fixture);
    fixture.lost();
    assert_eq!(fixture.outcomes(), [(id, Err(RequestError::ConnectionLost))]);
    // The next server keeps nothing.
    let mut fixture = connected(2);
    fixture.receive(kept(9));
    let id = order(&mut fixture);
    again(&mut fixture, 0);
    assert_eq!(fixture.outcomes(), [(id, Err(RequestError::ConnectionLost))]);
    // The server cannot tell.
    let mut fixture = connected(2);
    let id = order(&mut fixture);
    fixture.labels();
    fixture.receive(frame(7, id.as_u64(), b""));
    assert_eq!(fixture.outcomes(), [(id, Err(RequestError::ConnectionLost))]);
}

#[test]
fn what_waits_to_be_repeated_ends_by_its_deadline_and_can_be_cancelled() {
    let mut fixture = connected(2);
    fixture.receive(kept(9));
    let (first, second) = (order(&mut fixture), order(&mut fixture));
    again(&mut fixture, 2);
    fixture.labels();
    fixture.client.cancel(first, &mut fixture.out);
    assert_eq!(fixture.outcomes(), [(first, Err(RequestError::Cancelled))]);
    fixture.pass(Duration::from_secs(60));
    assert_eq!(fixture.outcomes(), [(second, Err(RequestError::TimedOut { sent: true }))]);
    // One that waits when the client is closed was sent.
    fixture.receive(kept(9));
    let third = order(&mut fixture);
    again(&mut fixture, 2);
    fixture.labels();
    fixture.close();
    assert_eq!(fixture.outcomes(), [(third, Err(RequestError::ConnectionLost))]);
    assert_eq!(fixture.client.next_timeout(), None);
}

#[test]
fn a_name_that_the_server_was_not_told_is_of_use_on_the_next_connection() {
    let mut fixture = after(Config { resume_signals: true, ..auto() }, NAMES_1_4);
    fixture.client.handle_opened(fixture.now, Some(SubProtocol::Wwr1), &mut fixture.out);
    let mut conf = conf(2, 60_000, 1 << 20, b"");
    conf[2] = 2;
    fixture.receive(conf);
    fixture.client.set_instance(Instance([7; 16]));
    fixture.labels();
    // The server would answer an idempotent request of a client without an instance with a protocol error.
    order(&mut fixture);
    assert_eq!(fixture.labels(), ["Send 80"]);
    again(&mut fixture, 2);
    fixture.receive(kept(9));
    fixture.labels();
    let id = order(&mut fixture);
    assert_eq!(sent_orders(&mut fixture), [id.as_u64()]);
}

/// The requests that were sent, each with its first byte.
fn sent_requests(fixture: &mut Fixture) -> Vec<(u8, u64)> {
    let sent = fixture.take().into_iter().filter_map(|action| match action {
        Action::Send(frame) if frame[0] >= 127 => {
            Some((frame[0], u64::from_le_bytes(frame[1..9].try_into().unwrap())))
        }
        _ => None,
    });
    sent.collect()
}

#[test]
fn requests_keep_their_order_while_some_wait_to_be_repeated() {
    let mut fixture = connected(2);
    fixture.receive(kept(9));
    let first = order(&mut fixture).as_u64();
    fixture.lost();
    let queued = fixture.request("queued").unwrap().as_u64();
    fixture.due();
    open(&mut fixture, 2);
    let later = fixture.request("later").unwrap().as_u64();
    let last = order(&mut fixture).as_u64();
    assert!(sent_requests(&mut fixture).is_empty());
    fixture.receive(kept(9));
    let expected = [(0x83, first), (0x7f, queued), (0x7f, later), (0x83, last)];
    assert_eq!(sent_requests(&mut fixture), expected);
}

#[test]
fn nothing_waits_longer_than_what_it_waits_for() {
    // What was to be repeated is cancelled, or its time is over.
    for cancels in [true, false] {
        let mut fixture = connected(2);
        fixture.receive(kept(9));
        let first = order(&mut fixture);
        again(&mut fixture, 2);
        fixture.pass(Duration::from_secs(30));
        let later = fixture.request("later").unwrap().as_u64();
        assert!(sent_requests(&mut fixture).is_empty());
        if cancels {
            fixture.client.cancel(first, &mut fixture.out);
        } else {
            fixture.pass(Duration::from_secs(30));
        }
        assert_eq!(sent_requests(&mut fixture), [(0x7f, later)]);
    }
}

#[test]
fn a_request_belongs_to_the_scope_that_was_told_when_it_was_sent() {
    // Sent, the scopes that are told before and after, the scope of the next connection, and whether it is repeated.
    for (before, after, next, is_repeated) in [
        (Some(9), None, 9, true),
        (None, Some(9), 9, true),
        (Some(9), Some(8), 9, true),
        (Some(9), Some(8), 8, false),
        (Some(0), Some(9), 9, false),
        (Some(0), None, 0, false),
        (None, Some(0), 0, false),
    ] {
        let mut fixture = connected(2);
        before.into_iter().for_each(|scope| fixture.receive(kept(scope)));
        let id = order(&mut fixture);
        after.into_iter().for_each(|scope| fixture.receive(kept(scope)));
        again(&mut fixture, 2);
        fixture.receive(kept(next));
        let case = (before, after, next);
        assert_eq!(!sent_orders(&mut fixture).is_empty(), is_repeated, "{case:?}");
        assert_eq!(fixture.client.pending_requests(), usize::from(is_repeated), "{case:?} {id}");
    }
}

#[test]
fn that_a_repeated_request_is_not_executed_does_not_say_that_it_never_was() {
    for (reply, error) in [(1, RequestError::ServerShutdown), (8, RequestError::NotExecuted)] {
        let mut fixture = connected(2);
        fixture.receive(kept(9));
        let (one, two) = (order(&mut fixture), order(&mut fixture));
        fixture.labels();
        fixture.receive(frame(reply, one.as_u64(), b""));
        assert_eq!(fixture.outcomes(), [(one, Err(error))]);
        again(&mut fixture, 2);
        fixture.receive(kept(9));
        fixture.labels();
        fixture.receive(frame(reply, two.as_u64(), b""));
        assert_eq!(fixture.outcomes(), [(two, Err(RequestError::ConnectionLost))]);
    }
}
