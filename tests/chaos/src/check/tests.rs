//! Histories in which one thing is untrue, and the same without it.

use std::time::Duration;

use super::{Promise, Promises, check};
use crate::history::{Ask, Entry, Event, Fault, Op, Outcome, Session, Time};

use Event::{
    Asks, Connected, Destroyed, Dials, Disconnected, Dropped, Ends, Gap, Has, Heard, Held, Left,
    Look, Lost, Mended, Missed, Resumes, Starts, Stuck, Troubled, Updated, Working,
};
use Outcome::{Done, NotFound, NotSent, Restored, Sent};

/// The log-in of client 1, and so the session.
const S: Session = Op::new(1, 1);

/// Returns the promises that are broken by what happened at these milliseconds.
fn broken(events: &[(u64, Event)]) -> Vec<Promise> {
    let promises =
        Promises { limit: 2, lease: Duration::from_secs(2), told_within: Duration::from_secs(5) };
    let entries = events.iter().map(|(at, event)| {
        let entry = Entry { at: Time(at * 1_000_000), event: event.clone() };
        assert_eq!(Entry::read(entry.line().trim()).unwrap(), entry);
        entry
    });
    let mut history: Vec<Entry> = entries.collect();
    history.sort_by_key(|entry| entry.at);
    check(&promises, &history).into_iter().map(|violation| violation.promise).collect()
}

/// Client 1 logs in on node 0 within the first 100 ms; clients 2 and 3 are connected to nodes 1 and 2.
fn logged_in() -> Vec<(u64, Event)> {
    vec![
        (0, Dials(1, 0)),
        (0, Dials(2, 1)),
        (0, Dials(3, 2)),
        (10, Asks(S, Ask::Login)),
        (20, Has(1, S, S)),
        (20, Ends(S, Done)),
    ]
}

fn with(more: &[(u64, Event)]) -> Vec<(u64, Event)> {
    [logged_in(), more.to_vec()].concat()
}

/// A call with its end.
fn call(op: Op, at: u64, ask: Ask, ends: u64, outcome: Outcome) -> [(u64, Event); 2] {
    [(at, Asks(op, ask)), (ends, Ends(op, outcome))]
}

/// Looks of a node every 50 ms.
fn looks(node: u8, from: u64, to: u64) -> Vec<(u64, Event)> {
    (from / 50..=to / 50).map(|look| (look * 50, Look(node))).collect()
}

#[test]
fn nothing_is_wrong_with_what_is_right() {
    assert_eq!(broken(&[]), []);
    assert_eq!(broken(&logged_in()), []);
}

#[test]
fn what_gets_stuck_is_told() {
    assert_eq!(broken(&with(&[(50, Stuck("it".into()))])), [Promise::Recovery]);
}

/// Three connections on three nodes, the third of which has the session in this time.
fn held(from: u64, to: u64) -> Vec<(u64, Event)> {
    let mut events = [looks(0, 0, 2000), looks(1, 0, 2000), looks(2, 0, 2000)].concat();
    events.extend([(105, Held(0, 1, S)), (205, Held(1, 1, S)), (from, Held(2, 7, S))]);
    events.extend([(990, Dropped(0, 1, S)), (to, Dropped(2, 7, S))]);
    with(&events)
}

#[test]
fn more_holders_than_the_limit_at_one_time() {
    assert_eq!(broken(&held(405, 710)), [Promise::Limit]);
    // The first one was last seen with it at 950.
    assert_eq!(broken(&held(960, 1710)), []);
    // It was not seen with it twice.
    assert_eq!(broken(&held(405, 410)), []);
}

#[test]
fn what_a_node_that_stood_still_saw_before_does_not_count() {
    let mut events = [looks(0, 0, 500), looks(0, 2500, 2800), looks(1, 0, 3000)].concat();
    let late = [(105, Held(0, 1, S)), (2900, Dropped(0, 1, S)), (1005, Held(1, 1, S))];
    events.extend(late);
    events.push((1005, Held(1, 2, S)));
    assert_eq!(broken(&events), []);
    // It goes on to have it.
    events.retain(|(_, event)| *event != Dropped(0, 1, S));
    events.extend(looks(0, 2850, 3500));
    events.extend(looks(1, 3050, 3500));
    assert_eq!(broken(&events), [Promise::Limit]);
    // It has begun anew.
    events.push((2400, Starts(0)));
    assert_eq!(broken(&events), []);
}

#[test]
fn a_closed_session_is_restored() {
    let (close, restore) = (Op::new(2, 1), Op::new(3, 1));
    let closing = |done| call(close, 100, Ask::Close(S), 150, done);
    let restored = |at| call(restore, at, Ask::Restore(S), 300, Restored(S));
    let left = [(150, Left(1))];
    let run = |done, at| broken(&with(&[&closing(done)[..], &restored(at), &left].concat()));
    assert_eq!(run(Done, 200), [Promise::Closed]);
    assert_eq!(run(Done, 140), []);
    assert_eq!(run(Outcome::Failed, 200), []);
    // A client comes back with it.
    let resumed = |at| [(at, Dials(1, 1)), (300, Has(1, S, S))];
    let run = |at| broken(&with(&[&closing(Done)[..], &resumed(at)].concat()));
    assert_eq!(run(200), [Promise::Closed]);
    assert_eq!(run(140), []);
    // The node was told.
    let destroyed = [(150, Destroyed(0, S))];
    assert_eq!(broken(&with(&[&destroyed[..], &restored(200)].concat())), [Promise::Closed]);
    // The engine has lost it.
    let lost = [(120, Event::Fault(Fault::EmptyEngine)), (170, Mended), (350, Working)];
    let events = [&closing(Done)[..], &restored(200), &left, &lost].concat();
    assert_eq!(broken(&with(&events)), []);
}

#[test]
fn a_connection_is_not_told_of_a_closing() {
    let close = call(Op::new(2, 1), 100, Ask::Close(S), 150, Done);
    let run = |dropped| {
        let held = [(30, Held(0, 1, S)), (dropped, Dropped(0, 1, S))];
        broken(&with(&[&close[..], &held, &looks(0, 0, 9000)].concat()))
    };
    assert_eq!(run(5300), [Promise::ToldOfClosing]);
    assert_eq!(run(5100), []);
}

#[test]
fn a_session_is_gone_that_nobody_has_closed() {
    let gone = |at| call(Op::new(2, 1), at, Ask::Restore(S), 300, NotFound);
    assert_eq!(broken(&with(&gone(200))), [Promise::Kept]);
    assert_eq!(broken(&with(&gone(5))), []);
    let logout = [(250, Asks(Op::new(1, 2), Ask::Logout(S)))];
    assert_eq!(broken(&with(&[&gone(200)[..], &logout].concat())), []);
    let lost = [(200, Dials(1, 1)), (300, Lost(1, S))];
    assert_eq!(broken(&with(&lost)), [Promise::Kept]);
    assert_eq!(broken(&with(&[&lost[..], &logout].concat())), []);
    let empty = [(100, Event::Fault(Fault::EmptyEngine)), (150, Mended)];
    assert_eq!(broken(&with(&[&lost[..], &empty].concat())), []);
    // It was made after all was well again.
    let events = [&lost[..], &[(1, Event::Fault(Fault::EmptyEngine)), (2, Working)]].concat();
    assert_eq!(broken(&with(&events)), [Promise::Kept]);
}

#[test]
fn an_acknowledged_update_is_undone() {
    let update = |done| call(Op::new(1, 2), 100, Ask::Update(S), 150, done);
    let read = |at, value| call(Op::new(2, 1), at, Ask::Restore(S), 300, Restored(value));
    let run = |done, at, value| broken(&with(&[update(done), read(at, value)].concat()));
    assert_eq!(run(Done, 200, S), [Promise::Updated]);
    assert_eq!(run(Done, 200, Op::new(1, 2)), []);
    assert_eq!(run(Done, 140, S), []);
    assert_eq!(run(Outcome::Failed, 200, S), []);
    // Who comes back with the session has to get it, too.
    let resumed = |value| [(200, Dials(1, 1)), (210, Has(1, S, value))];
    let run = |value| broken(&with(&[&update(Done)[..], &resumed(value)].concat()));
    assert_eq!(run(S), [Promise::Updated]);
    assert_eq!(run(Op::new(1, 2)), []);
    // One that was made at the same time may be the last.
    let other = call(Op::new(2, 7), 120, Ask::Update(S), 180, Done);
    let events = [update(Done), other, read(200, Op::new(2, 7))].concat();
    assert_eq!(broken(&with(&events)), []);
}

#[test]
fn changes_come_in_one_order_and_none_twice() {
    let (a, b) = (Op::new(1, 2), Op::new(1, 3));
    let run = |first: [Op; 2], second: [Op; 2]| {
        let mut events = vec![(50, Has(2, S, S))];
        for (client, ops) in [(1, first), (2, second)] {
            for (at, op) in (60..).zip(ops) {
                events.push((at, Updated(client, S, op)));
            }
        }
        broken(&with(&events))
    };
    assert_eq!(run([a, b], [a, b]), []);
    assert_eq!(run([a, b], [b, a]), [Promise::OneOrder]);
    assert_eq!(run([a, a], [b, Op::new(1, 4)]), [Promise::OneOrder]);
}

#[test]
fn a_connection_that_stays_is_not_told_of_an_update() {
    let update = call(Op::new(1, 2), 100, Ask::Update(S), 150, Done);
    let told = |at| vec![(at, Updated(1, S, Op::new(1, 2)))];
    let run =
        |more: Vec<(u64, Event)>| broken(&with(&[&update[..], &[(9000, Look(0))], &more].concat()));
    assert_eq!(run(vec![]), [Promise::ToldOfUpdate]);
    assert_eq!(run(told(6000)), [Promise::ToldOfUpdate]);
    assert_eq!(run(told(5000)), []);
    assert_eq!(run(vec![(5000, Disconnected(1))]), []);
    assert_eq!(run(vec![(5000, Missed(1))]), []);
    assert_eq!(run(vec![(5000, Event::Fault(Fault::CutEngine(1)))]), []);
    assert_eq!(run(vec![(5000, Event::Fault(Fault::Nothing))]), [Promise::ToldOfUpdate]);
}

/// A signal of client 1 at 100, with this outcome at 120, and what else happens.
fn signal(ask: Ask, outcome: Outcome, more: &[(u64, Event)]) -> Vec<Promise> {
    broken(&with(&[&call(Op::new(1, 2), 100, ask, 120, outcome)[..], more].concat()))
}

/// What client 2 hears.
fn hears(at: u64) -> (u64, Event) {
    (at, Heard(2, Op::new(1, 2)))
}

#[test]
fn a_signal_is_heard_twice() {
    assert_eq!(signal(Ask::ToAll, Sent(2), &[hears(130)]), []);
    assert_eq!(signal(Ask::ToAll, Sent(2), &[hears(130), hears(900)]), [Promise::Once]);
    // It has gone to another node.
    let moved = [hears(130), (500, Dials(2, 0)), hears(900)];
    assert_eq!(signal(Ask::ToAll, Sent(2), &moved), []);
    let resumes = [&[(0, Resumes(2))], &moved[..]].concat();
    assert_eq!(signal(Ask::ToAll, Sent(2), &resumes), []);
    // What it resumes are the signals to its session.
    let session = [
        (0, Resumes(2)),
        (30, Asks(Op::new(2, 1), Ask::Restore(S))),
        (40, Has(2, S, S)),
        hears(130),
        (500, Disconnected(2)),
        (510, Dials(2, 0)),
        (520, Has(2, S, S)),
        hears(900),
    ];
    assert_eq!(signal(Ask::ToSession(S), Sent(1), &session), [Promise::Once]);
}

#[test]
fn a_signal_is_heard_by_strangers() {
    assert_eq!(broken(&with(&[(50, Heard(1, Op::new(9, 9)))])), [Promise::Concern]);
    assert_eq!(signal(Ask::Update(S), Done, &[hears(130)]), [Promise::Concern]);

    let join = |at, group| (at, Asks(Op::new(2, 1), Ask::Join(group)));
    let to_group = |more: &[(u64, Event)]| signal(Ask::ToGroup(5), Sent(2), more);
    assert_eq!(to_group(&[hears(130)]), [Promise::Concern]);
    assert_eq!(to_group(&[join(110, 5), hears(130)]), []);
    assert_eq!(to_group(&[join(50, 6), hears(130)]), [Promise::Concern]);
    let joined = (55, Ends(Op::new(2, 1), Done));
    let anew = [join(50, 5), joined, (60, Dials(2, 1)), hears(130)];
    assert_eq!(to_group(&anew), [Promise::Concern]);
    // It waited for the connection.
    assert_eq!(to_group(&[join(50, 5), (60, Dials(2, 1)), hears(130)]), []);

    let restore = |at| (at, Asks(Op::new(2, 1), Ask::Restore(S)));
    let to_session = |more: &[(u64, Event)]| signal(Ask::ToSession(S), Sent(2), more);
    assert_eq!(to_session(&[hears(130)]), [Promise::Concern]);
    assert_eq!(to_session(&[restore(110), hears(130)]), []);
    assert_eq!(to_session(&[restore(140), hears(130)]), [Promise::Concern]);
    let had = [restore(50), (60, Has(2, S, S))];
    // It left it before the signal was sent, or after that.
    let left = |at| to_session(&[&had[..], &[(at, Left(2)), hears(130)]].concat());
    assert_eq!(left(90), [Promise::Concern]);
    assert_eq!(left(110), []);
    // It is on its way back.
    let back = [(90, Left(2)), (115, Asks(Op::new(2, 2), Ask::Restore(S))), hears(130)];
    assert_eq!(to_session(&[&had[..], &back].concat()), []);
    let resumed = [(80, Disconnected(2)), (90, Dials(2, 0)), hears(130), (140, Has(2, S, S))];
    assert_eq!(to_session(&[&had[..], &resumed].concat()), []);
}

#[test]
fn signals_of_one_sender_come_out_of_order() {
    let later = call(Op::new(1, 3), 125, Ask::ToAll, 130, Sent(2));
    let hears_later = |at| (at, Heard(2, Op::new(1, 3)));
    let run = |more: &[(u64, Event)]| signal(Ask::ToAll, Sent(2), &[&later[..], more].concat());
    assert_eq!(run(&[hears(140), hears_later(150)]), []);
    assert_eq!(run(&[hears_later(150), hears(160)]), [Promise::SenderOrder]);
    // Another connection, of the receiver or of the sender.
    assert_eq!(run(&[hears_later(150), (155, Dials(2, 0)), hears(160)]), []);
    assert_eq!(run(&[(122, Dials(1, 0)), hears_later(150), hears(160)]), []);
}

#[test]
fn a_signal_is_heard_that_was_not_sent() {
    assert_eq!(signal(Ask::ToAll, NotSent, &[hears(130)]), [Promise::NotSent]);
    assert_eq!(signal(Ask::ToAll, Outcome::Unclear, &[hears(130)]), []);
    // It is on the node of the sender.
    assert_eq!(signal(Ask::ToAll, NotSent, &[(90, Dials(2, 0)), hears(130)]), []);
    // It dials again before it takes what it has heard.
    let late = [(5, Connected(2)), (120, Dials(2, 0)), hears(130)];
    assert_eq!(signal(Ask::ToAll, NotSent, &late), [Promise::NotSent]);
    let late = [(5, Connected(2)), (115, Disconnected(2)), (120, Dials(2, 0)), hears(130)];
    assert_eq!(signal(Ask::ToAll, NotSent, &late), []);
    // It may have been sent on a later connection, on that node.
    assert_eq!(signal(Ask::ToAll, NotSent, &[(110, Dials(1, 1)), hears(130)]), []);
}

#[test]
fn a_signal_is_lost_though_nothing_was_broken() {
    let had = [(30, Asks(Op::new(2, 1), Ask::Restore(S))), (40, Has(2, S, S))];
    let own = (125, Heard(1, Op::new(1, 2)));
    let run = |more: &[(u64, Event)]| {
        let end = [own.clone(), (9000, Look(0))];
        signal(Ask::ToSession(S), Sent(2), &[&had[..], &end, more].concat())
    };
    assert_eq!(run(&[]), [Promise::Sent]);
    assert_eq!(run(&[hears(130)]), []);
    assert_eq!(run(&[(500, Disconnected(2))]), []);
    assert_eq!(run(&[(500, Left(2))]), []);
    assert_eq!(run(&[(2000, Event::Fault(Fault::KillEngine)), (2500, Mended)]), []);
    assert_eq!(run(&[(2000, Troubled(1))]), []);
    assert_eq!(run(&[(5000, Troubled(1))]), [Promise::Sent]);
    // A group, and all.
    let end = [own.clone(), (9000, Look(0))];
    let join = call(Op::new(2, 1), 30, Ask::Join(5), 40, Done);
    let to_group = |more: &[(u64, Event)]| {
        signal(Ask::ToGroup(5), Sent(2), &[&join[..], &end[1..], more].concat())
    };
    assert_eq!(to_group(&[]), [Promise::Sent]);
    assert_eq!(to_group(&[hears(130)]), []);
    let late = call(Op::new(1, 2), 5000, Ask::ToAll, 5020, Sent(2));
    let ends = [(5030, Heard(1, Op::new(1, 2))), (5030, Heard(3, Op::new(1, 2)))];
    let to_all = |more: &[(u64, Event)]| {
        broken(&with(&[&late[..], &ends, &[(9000, Look(0))], more].concat()))
    };
    assert_eq!(to_all(&[]), [Promise::Sent]);
    assert_eq!(to_all(&[(5030, Heard(2, Op::new(1, 2)))]), []);
    assert_eq!(to_all(&[(4900, Dials(2, 1))]), []);
}

#[test]
fn a_client_that_resumes_signals_hears_all_or_of_a_gap() {
    // It is away when the signal is sent, and comes back.
    let away = [
        (0, Resumes(2)),
        (30, Asks(Op::new(2, 1), Ask::Restore(S))),
        (40, Has(2, S, S)),
        (90, Disconnected(2)),
        (200, Dials(2, 0)),
        (210, Has(2, S, S)),
    ];
    let run = |more: &[(u64, Event)]| {
        signal(Ask::ToSession(S), Sent(1), &[&away[..], &[(9000, Look(0))], more].concat())
    };
    let own = (125, Heard(1, Op::new(1, 2)));
    assert_eq!(run(std::slice::from_ref(&own)), [Promise::Resumed]);
    assert_eq!(run(&[own.clone(), hears(220)]), []);
    assert_eq!(run(&[own.clone(), (220, Gap(2))]), []);
    assert_eq!(run(&[own.clone(), (50, Gap(2))]), [Promise::Resumed]);
    // It has left the session in between, for good.
    assert_eq!(run(&[own, (80, Left(2))]), []);
}

#[test]
fn clients_that_resume_signals_hear_them_in_one_order() {
    let both = [
        (0, Resumes(1)),
        (0, Resumes(2)),
        (30, Asks(Op::new(2, 1), Ask::Restore(S))),
        (40, Has(2, S, S)),
    ];
    let other = call(Op::new(2, 2), 100, Ask::ToSession(S), 130, Sent(1));
    let heard = |client, ops: [Op; 2]| [(150, Heard(client, ops[0])), (160, Heard(client, ops[1]))];
    let (a, b) = (Op::new(1, 2), Op::new(2, 2));
    let run = |first, second| {
        let heard = [heard(1, first), heard(2, second)].concat();
        signal(Ask::ToSession(S), Sent(1), &[&both[..], &other, &heard].concat())
    };
    assert_eq!(run([a, b], [a, b]), []);
    assert_eq!(run([a, b], [b, a]), [Promise::Resumed]);
}
