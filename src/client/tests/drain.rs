//! Many clients that lose the same server at the same moment.

use super::*;

const CLIENTS: u64 = 1000;

/// The least and the most of what this counts in each tenth of the time from `from` to `to`.
fn extremes(times: impl Iterator<Item = Duration>, from: Duration, to: Duration) -> (u32, u32) {
    let mut tenths = [0; 10];
    for time in times {
        assert!((from..=to).contains(&time), "{time:?}");
        let tenth = (time - from).as_nanos() * 10 / ((to - from).as_nanos() + 1);
        tenths[usize::try_from(tenth).unwrap()] += 1;
    }
    (*tenths.iter().min().unwrap(), *tenths.iter().max().unwrap())
}

/// Connected clients that differ in their seeds only, all with a session.
fn crowd() -> impl Iterator<Item = Fixture> {
    (0..CLIENTS).map(|seed| {
        let mut fixture = Fixture { client: client(v1_4(), seed), ..Fixture::new(v1_4()) };
        fixture.connect();
        fixture.dialing();
        fixture.opened();
        fixture.receive([b"\x15", SESSION.as_bytes()].concat());
        fixture
    })
}

fn pause(fixture: &Fixture) -> Duration {
    fixture.client.next_timeout().unwrap().saturating_since(fixture.now)
}

const HALF: Duration = Duration::from_millis(250);

#[test]
fn clients_of_a_server_that_closes_come_back_one_by_one() {
    let pauses = crowd().map(|mut fixture| {
        fixture.lost();
        pause(&fixture)
    });
    let (least, most) = extremes(pauses, HALF, HALF * 2);
    assert!(least > 60 && most < 140, "{least} to {most}");
}

#[test]
fn clients_that_find_no_server_yet_wait_longer_and_stay_apart() {
    let pauses = crowd().map(|mut fixture| {
        fixture.lost();
        fixture.due();
        fixture.probed(Ok(answer(503, "")));
        pause(&fixture)
    });
    let (least, most) = extremes(pauses, HALF * 2, HALF * 4);
    assert!(least > 60 && most < 140, "{least} to {most}");
}

#[test]
fn clients_whose_next_server_drains_too_ask_for_their_sessions_one_by_one() {
    let pauses = crowd().map(|mut fixture| {
        fixture.lost();
        fixture.reopen();
        fixture.receive(frame(1, 1, b""));
        assert_eq!(state(&fixture.client), "Pausing");
        pause(&fixture)
    });
    let (least, most) = extremes(pauses, HALF, HALF * 2);
    assert!(least > 60 && most < 140, "{least} to {most}");
}
