//! What hosts in browsers need: an offer that the server has to select, sessions of an earlier run, and being
//! told that an attempt is worthwhile.

use super::discovery::*;
use super::*;
use crate::Dialect;
use crate::handshake::SubProtocol;
use crate::preflight::Promise;

const WWR1: Option<SubProtocol> = Some(SubProtocol::Wwr1);

const AGREED: Input = |fixture| {
    fixture.client.handle_opened(fixture.now, WWR1, &mut fixture.out);
};
const STATED: Input = |fixture| fixture.receive(conf(2, 60_000, 1 << 20, b""));
/// A server of all versions.
const NAMES_WWR_1: Input = |fixture| {
    fixture.client.expect_accept_conf(Promise { wwr1: true });
    fixture.dialing();
};
/// A proxy that does not let the method through.
const ANSWERS_405: Input = |fixture| fixture.probed(Ok(answer(405, "<h1>Not Allowed</h1>")));

fn browser() -> Config {
    Config { needs_selection: true, ..quiet() }
}

/// What the client offers with each action that asks for a request of HTTP.
fn offers(fixture: &Fixture) -> Option<SubProtocol> {
    fixture.client.offers()
}

/// A client of a browser that has given up the offer, and has sent the preflight.
fn declined() -> Fixture {
    let mut fixture = Fixture::new(browser());
    fixture.connect();
    assert_eq!((fixture.labels(), offers(&fixture)), (alloc::vec!["Dial".into()], WWR1));
    fixture.lost();
    assert_eq!((fixture.labels(), offers(&fixture)), (alloc::vec!["Probe".into()], None));
    fixture
}

#[test]
fn a_server_of_wwr_1_is_dialled_without_a_preflight() {
    let mut fixture = Fixture::new(browser());
    fixture.connect();
    AGREED(&mut fixture);
    STATED(&mut fixture);
    assert_eq!(fixture.labels(), ["Dial", "Send 18", "Connected"]);
    assert_eq!(fixture.client.dialect(), Dialect::Wwr1);
    fixture.lost();
    fixture.due();
    assert_eq!((fixture.labels().pop(), offers(&fixture)), (Some("Dial".into()), WWR1));
}

#[test]
fn without_a_selection_the_client_finds_out_the_version() {
    for (probed, opened, version) in [
        (NAMES_1_4, DUE, "1.4"),
        (NAMES_1_5, DUE, "1.5"),
        (PROMISES, CONF, "2.0"),
        (ANSWERS_400, CONF, "2.0"),
        (NO_ANSWER, CONF, "2.0"),
    ] {
        let mut fixture = declined();
        probed(&mut fixture);
        assert_eq!((fixture.labels(), offers(&fixture)), (alloc::vec!["Dial".into()], None));
        OPENED(&mut fixture);
        opened(&mut fixture);
        let (state, _, spoken) = told(&mut fixture);
        assert_eq!((state, spoken), ("Ready".into(), version.into()));
    }
}

/// Lets the connection end and the next attempt begin. Returns what that begins with.
fn next(fixture: &mut Fixture) -> (Option<String>, Option<SubProtocol>) {
    fixture.lost();
    fixture.due();
    (fixture.labels().pop(), offers(fixture))
}

fn action(label: &str) -> Option<String> {
    Some(label.into())
}

#[test]
fn a_server_whose_preflight_names_wwr_1_is_offered_it_again() {
    // Whatever was wrong with the first handshake, it was not the offer.
    for names_wwr_1 in [NAMES_WWR_1, PROMISES_WWR_1] {
        let mut fixture = declined();
        names_wwr_1(&mut fixture);
        assert_eq!((fixture.labels(), offers(&fixture)), (alloc::vec!["Dial".into()], WWR1));
        AGREED(&mut fixture);
        STATED(&mut fixture);
        assert_eq!(fixture.labels(), ["Send 18", "Connected"]);
        assert_eq!(fixture.client.dialect(), Dialect::Wwr1);
        assert_eq!(next(&mut fixture), (action("Dial"), WWR1));
    }
}

#[test]
fn a_second_offer_that_fails_is_the_last_one_of_an_attempt() {
    // A proxy on the way may not pass the offer on.
    let refusals: [(Input, &[&str]); 4] = [
        (LOST, &["Dial"]),
        (REFUSED, &["Dial"]),
        (DUE, &["Hangup", "Dial"]),
        (OPENED, &["Hangup", "Dial"]),
    ];
    for (refused, does) in refusals {
        for (names_wwr_1, says) in
            [(NAMES_WWR_1, "Send 21 Connected"), (PROMISES_WWR_1, "Connected")]
        {
            let mut fixture = declined();
            names_wwr_1(&mut fixture);
            fixture.labels();
            refused(&mut fixture);
            assert_eq!(
                (fixture.labels(), offers(&fixture)),
                (does.iter().map(|s| String::from(*s)).collect(), None)
            );
            OPENED(&mut fixture);
            CONF(&mut fixture);
            assert_eq!(told(&mut fixture), ("Ready".into(), says.into(), "2.0".into()));
        }
    }
    // A server that is not available says so itself.
    let mut fixture = declined();
    NAMES_WWR_1(&mut fixture);
    UNAVAILABLE(&mut fixture);
    assert_eq!(fixture.labels(), ["Dial", "ConnectFailed"]);
}

#[test]
fn an_offer_that_fails_does_not_change_what_was_wrong_with_the_preflight() {
    for (probed, error) in [(NO_ANSWER, "ProbeFailed"), (NONE_IN_TIME, "ProbeTimedOut")] {
        let mut fixture = declined();
        // The head of an answer came, but no body.
        fixture.client.expect_accept_conf(Promise { wwr1: true });
        probed(&mut fixture);
        assert_eq!(offers(&fixture), WWR1);
        LOST(&mut fixture);
        assert_eq!((fixture.labels().pop(), offers(&fixture)), (action("Dial"), None));
        LOST(&mut fixture);
        assert_eq!(told(&mut fixture), ("Waiting".into(), error.into(), "unknown".into()));
    }
}

#[test]
fn a_server_that_does_not_name_wwr_1_is_dialled_without_an_offer_the_next_time() {
    for probed in [PROMISES, PROMISES_2_0, NAMES_1_6] {
        let mut fixture = declined();
        probed(&mut fixture);
        OPENED(&mut fixture);
        CONF(&mut fixture);
        assert_eq!(fixture.client.dialect(), Dialect::V2_0);
        for _ in 0..3 {
            assert_eq!(next(&mut fixture), (action("Dial"), None));
            OPENED(&mut fixture);
            CONF(&mut fixture);
            assert_eq!(fixture.labels(), ["Connected"]);
        }
        // Its place may be taken by a server of wwr.1.
        next(&mut fixture);
        REFUSED(&mut fixture);
        assert_eq!(fixture.labels(), ["Probe"]);
        NAMES_WWR_1(&mut fixture);
        assert_eq!((fixture.labels(), offers(&fixture)), (alloc::vec!["Dial".into()], WWR1));
        AGREED(&mut fixture);
        STATED(&mut fixture);
        assert_eq!(fixture.client.dialect(), Dialect::Wwr1);
    }
}

#[test]
fn that_a_server_declined_is_forgotten_after_an_hour() {
    for (probed, opened, without) in [(PROMISES, CONF, "Dial"), (NAMES_1_4, DUE, "Probe")] {
        let mut fixture = declined();
        probed(&mut fixture);
        OPENED(&mut fixture);
        opened(&mut fixture);
        fixture.now = fixture.now + Duration::from_secs(3590);
        assert_eq!(next(&mut fixture), (action(without), None));
        let mut fixture = declined();
        probed(&mut fixture);
        OPENED(&mut fixture);
        opened(&mut fixture);
        fixture.now = fixture.now + Duration::from_secs(3600);
        assert_eq!(next(&mut fixture), (action("Dial"), WWR1));
    }
}

#[test]
fn a_preflight_without_an_answer_of_webwire_has_to_fail_on_two_connections_in_a_row() {
    // Pages of another origin cannot read what a server of 2.0 answers. What they can read may come from a proxy on
    // the way, or from a server of 2.0 that knows neither the preflight nor `wwr.1`.
    for probed in [NO_ANSWER, ANSWERS_400, ANSWERS_405] {
        let mut fixture = declined();
        let connect = |fixture: &mut Fixture| {
            probed(fixture);
            OPENED(fixture);
            CONF(fixture);
            assert_eq!(fixture.client.dialect(), Dialect::V2_0);
            fixture.labels();
        };
        connect(&mut fixture);
        assert_eq!(next(&mut fixture), (action("Dial"), WWR1));
        fixture.lost();
        connect(&mut fixture);
        assert_eq!(next(&mut fixture), (action("Dial"), None));

        // The network was the cause, and the next offer is accepted.
        let mut fixture = declined();
        connect(&mut fixture);
        assert_eq!(next(&mut fixture), (action("Dial"), WWR1));
        AGREED(&mut fixture);
        STATED(&mut fixture);
        assert_eq!(fixture.client.dialect(), Dialect::Wwr1);
        assert_eq!(next(&mut fixture), (action("Dial"), WWR1));
        // The series begins anew.
        fixture.lost();
        connect(&mut fixture);
        assert_eq!(next(&mut fixture), (action("Dial"), WWR1));
    }
}

#[test]
fn two_offers_in_vain_on_two_connections_in_a_row_are_enough_as_well() {
    let mut fixture = declined();
    for expected in [WWR1, None] {
        NAMES_WWR_1(&mut fixture);
        fixture.lost();
        OPENED(&mut fixture);
        CONF(&mut fixture);
        assert_eq!(fixture.client.dialect(), Dialect::V2_0);
        assert_eq!(next(&mut fixture), (action("Dial"), expected));
        fixture.lost();
    }
}

#[test]
fn an_attempt_that_the_application_ends_says_nothing_of_the_server() {
    let mut fixture = declined();
    fixture.close();
    fixture.connect();
    assert_eq!(fixture.labels().pop(), Some("Dial".into()));
    assert_eq!(offers(&fixture), WWR1);
}

#[test]
fn a_1_x_server_is_offered_nothing_until_its_preflight_names_wwr_1() {
    let mut fixture = declined();
    for _ in 0..2 {
        NAMES_1_4(&mut fixture);
        OPENED(&mut fixture);
        DUE(&mut fixture);
        assert_eq!(fixture.client.dialect(), Dialect::V1_4);
        assert_eq!(next(&mut fixture), (action("Probe"), None));
    }
    NAMES_WWR_1(&mut fixture);
    assert_eq!((fixture.labels(), offers(&fixture)), (alloc::vec!["Dial".into()], WWR1));
}

#[test]
fn each_failed_attempt_makes_the_offer_worth_another_try() {
    let mut fixture = declined();
    NO_ANSWER(&mut fixture);
    fixture.lost();
    assert_eq!(fixture.labels(), ["Dial", "ConnectFailed"]);
    fixture.due();
    assert_eq!((fixture.labels(), offers(&fixture)), (alloc::vec!["Dial".into()], WWR1));
    // The server has become one of wwr.1.
    AGREED(&mut fixture);
    STATED(&mut fixture);
    assert_eq!(fixture.labels(), ["Send 18", "Connected"]);
}

#[test]
fn a_server_of_another_kind_is_found_behind_one_of_wwr_1() {
    let mut fixture = Fixture::new(browser());
    fixture.connect();
    AGREED(&mut fixture);
    STATED(&mut fixture);
    fixture.lost();
    fixture.due();
    fixture.lost();
    NAMES_1_4(&mut fixture);
    OPENED(&mut fixture);
    DUE(&mut fixture);
    assert_eq!(fixture.client.dialect(), Dialect::V1_4);
}

#[test]
fn whatever_the_offer_may_have_caused_makes_the_client_go_on_without_it() {
    // The host can tell the status, and it has nothing to do with the offer.
    let mut fixture = Fixture::new(browser());
    fixture.connect();
    UNAVAILABLE(&mut fixture);
    assert_eq!(fixture.labels(), ["Dial", "ConnectFailed"]);
    // A server may not answer a handshake with what it does not know.
    let mut fixture = Fixture::new(browser());
    fixture.connect();
    DUE(&mut fixture);
    assert_eq!(fixture.labels(), ["Dial", "Hangup", "Probe"]);
    NO_ANSWER(&mut fixture);
    DUE(&mut fixture);
    assert_eq!(fixture.labels(), ["Dial", "Hangup", "ConnectFailed"]);
    // It may: the server refuses what it does not know.
    let mut fixture = Fixture::new(browser());
    fixture.connect();
    REFUSED(&mut fixture);
    assert_eq!(fixture.labels(), ["Dial", "Probe"]);
    // The WebSocket did not fail, but should have.
    let mut fixture = Fixture::new(browser());
    fixture.connect();
    OPENED(&mut fixture);
    assert_eq!(fixture.labels(), ["Dial", "Hangup", "Probe"]);
}

#[test]
fn a_client_that_offers_nothing_needs_no_selection() {
    for config in
        [Config { wwr1: false, ..browser() }, Config { max_message_size: 8191, ..browser() }]
    {
        let mut fixture = Fixture::new(config);
        fixture.connect();
        assert_eq!((fixture.labels(), offers(&fixture)), (alloc::vec!["Probe".into()], None));
    }
}

#[test]
fn waking_shortens_a_pause_but_not_below_what_is_wanted() {
    let mut fixture = Fixture::new(v1_4());
    fixture.connect();
    for _ in 0..8 {
        NO_ANSWER(&mut fixture);
        fixture.due();
    }
    NO_ANSWER(&mut fixture);
    fixture.labels();
    fixture.pass(Duration::from_millis(499));
    fixture.client.wake(fixture.now, &mut fixture.out);
    assert_eq!((fixture.labels(), state(&fixture.client)), (alloc::vec![], "Waiting".into()));
    fixture.pass(Duration::from_millis(1));
    assert_eq!(fixture.labels(), ["Probe"]);
    fixture.client.wake(fixture.now, &mut fixture.out);
    assert_eq!(fixture.labels(), [""; 0], "an attempt is under way");

    NO_ANSWER(&mut fixture);
    fixture.pass(Duration::from_secs(1));
    fixture.labels();
    fixture.client.wake(fixture.now, &mut fixture.out);
    assert_eq!(fixture.labels(), ["Probe"]);

    let wait = Duration::from_secs(60);
    let unavailable = Answer { retry_after: Some(wait), ..answer(503, "") };
    fixture.probed(Ok(unavailable));
    fixture.labels();
    fixture.pass(Duration::from_secs(59));
    fixture.client.wake(fixture.now, &mut fixture.out);
    assert_eq!((fixture.labels(), state(&fixture.client)), (alloc::vec![], "Waiting".into()));
}

#[test]
fn waking_connects_nobody_that_does_not_wait() {
    let mut fixture = Fixture::new(v1_4());
    fixture.client.wake(fixture.now, &mut fixture.out);
    fixture.connect();
    fixture.close();
    fixture.client.wake(fixture.now, &mut fixture.out);
    assert_eq!(fixture.labels(), ["Probe", "Hangup"]);
    let mut fixture = Fixture::ready(v1_4());
    fixture.client.wake(fixture.now, &mut fixture.out);
    assert_eq!(fixture.labels(), [""; 0], "it pings nobody");
}

#[test]
fn on_waking_a_server_that_answers_pings_has_five_seconds() {
    let config = Config { pings: Some(Config::PINGS), ..browser() };
    let awake = |answered_before: bool| {
        let mut fixture = Fixture::new(config.clone());
        fixture.connect();
        AGREED(&mut fixture);
        fixture.receive(conf(2, 60_000, 1 << 20, b""));
        fixture.pass(Duration::from_secs(1));
        if answered_before {
            fixture.client.handle_pong(fixture.now);
        }
        fixture.labels();
        fixture.pass(Duration::from_secs(2));
        fixture.client.wake(fixture.now, &mut fixture.out);
        assert_eq!(fixture.labels(), ["Ping"]);
        // Whoever wakes twice asks once.
        seconds(&mut fixture, 2);
        fixture.client.wake(fixture.now, &mut fixture.out);
        assert_eq!(fixture.labels(), [""; 0]);
        seconds(&mut fixture, 2);
        assert_eq!(fixture.labels(), [""; 0]);
        fixture
    };
    let mut gone = awake(true);
    seconds(&mut gone, 1);
    assert_eq!(gone.labels(), ["Hangup", "Disconnected"]);

    let mut there = awake(true);
    there.client.handle_pong(there.now);
    seconds(&mut there, 20);
    assert_eq!((there.labels(), state(&there.client)), (alloc::vec![], "Ready".into()));

    // One that never answered may be unable to.
    let mut unknown = awake(false);
    seconds(&mut unknown, 20);
    assert_eq!((unknown.labels(), state(&unknown.client)), (alloc::vec![], "Ready".into()));
}

#[test]
fn on_waking_without_pings_a_heartbeat_goes_out_and_one_request_without_an_answer_is_enough() {
    let awake = || {
        let mut fixture = without_pings();
        fixture.pass(Duration::from_secs(20));
        fixture.client.wake(fixture.now, &mut fixture.out);
        assert_eq!(fixture.labels(), ["Send 21"]);
        fixture
    };
    let mut gone = awake();
    seconds(&mut gone, 400);
    assert_eq!(gone.labels(), [""; 0], "silence alone proves nothing");
    let mut gone = awake();
    gone.request("a").unwrap();
    seconds(&mut gone, 60);
    assert_eq!(
        gone.labels(),
        ["Send 7f", "Done 1 TimedOut { sent: true }", "Hangup", "Disconnected"]
    );

    let mut there = awake();
    there.request("a").unwrap();
    SIGNAL(&mut there);
    seconds(&mut there, 60);
    assert_eq!(state(&there.client), "Ready");
}

#[test]
fn whoever_looks_again_and_again_gives_a_server_that_is_gone_no_more_time() {
    let looks = |fixture: &mut Fixture| {
        seconds(fixture, 10);
        fixture.client.wake(fixture.now, &mut fixture.out);
    };
    let mut gone = without_pings();
    looks(&mut gone);
    gone.request("a").unwrap();
    (0..5).for_each(|_| looks(&mut gone));
    gone.labels();
    seconds(&mut gone, 10);
    let labels = gone.labels();
    assert_eq!(labels, ["Done 1 TimedOut { sent: true }", "Hangup", "Disconnected"]);

    // One that was heard meanwhile has all of it again.
    let mut there = without_pings();
    looks(&mut there);
    there.request("a").unwrap();
    looks(&mut there);
    SIGNAL(&mut there);
    (0..6).for_each(|_| looks(&mut there));
    assert_eq!(state(&there.client), "Ready");
}

/// Each of them is called first when the host is awake again.
const AWAKE: [Input; 3] = [
    |fixture| fixture.client.wake(fixture.now, &mut fixture.out),
    |fixture| fixture.timeout(),
    |fixture| fixture.client.keep_alive(fixture.now, &mut fixture.out),
];

#[test]
fn without_pings_a_server_that_has_waited_long_enough_has_closed_the_connection() {
    for awake in AWAKE {
        let mut gone = without_pings();
        gone.now = gone.now + Duration::from_secs(1200);
        awake(&mut gone);
        assert_eq!(gone.labels(), ["Hangup", "Disconnected"]);

        // It may wait twice as long as it says.
        let mut unknown = without_pings();
        unknown.now = unknown.now + Duration::from_secs(1199);
        awake(&mut unknown);
        assert_eq!(unknown.labels(), ["Send 21"]);

        // It is heard, so it has not.
        let mut there = without_pings();
        there.now = there.now + Duration::from_secs(1200);
        SIGNAL(&mut there);
        there.labels();
        awake(&mut there);
        assert_eq!(there.labels(), ["Send 21"]);
    }
}

/// A ready client of wwr.1 in a browser: its host sends no pings.
fn without_pings() -> Fixture {
    let config = Config { can_ping: false, pings: Some(Config::PINGS), ..browser() };
    let mut fixture = Fixture::new(config);
    fixture.connect();
    AGREED(&mut fixture);
    fixture.receive(conf(2, 600_000, 1 << 20, b""));
    assert_eq!(fixture.labels(), ["Dial", "Send 18", "Connected"]);
    fixture
}

/// Lets time pass as on a host that does not sleep.
fn seconds(fixture: &mut Fixture, seconds: u64) {
    (0..seconds).for_each(|_| fixture.pass(Duration::from_secs(1)));
}

#[test]
fn without_pings_silence_alone_is_no_reason_to_hang_up() {
    let mut fixture = without_pings();
    seconds(&mut fixture, 420);
    assert_eq!((fixture.labels(), state(&fixture.client)), (alloc::vec![], "Ready".into()));
}

#[test]
fn without_pings_two_requests_that_run_out_of_time_show_that_the_server_is_gone() {
    let mut fixture = without_pings();
    fixture.pass(Duration::from_secs(1));
    for name in ["a", "b"] {
        fixture.request(name).unwrap();
        seconds(&mut fixture, 60);
    }
    let labels = fixture.labels();
    assert!(labels.ends_with(&["Hangup".into(), "Disconnected".into()]), "{labels:?}");
    assert!(!labels.contains(&"Ping".into()));
    // One that is heard in between is there.
    let mut fixture = without_pings();
    for name in ["a", "b", "c", "d"] {
        fixture.request(name).unwrap();
        seconds(&mut fixture, 60);
        SIGNAL(&mut fixture);
    }
    assert_eq!(state(&fixture.client), "Ready");
}

/// A client that has asked for the session of an earlier run. The identifier is 2, behind a request.
fn resuming_earlier() -> Fixture {
    let mut fixture = Fixture::new(v1_4());
    assert_eq!(fixture.client.resume_session(key("KEY1")), Ok(()));
    fixture.connect();
    fixture.request("a").unwrap();
    fixture.dialing();
    fixture.opened();
    assert_eq!(fixture.labels(), ["Probe", "Dial", "Send 20 2"]);
    assert_eq!(fixture.client.session(), None);
    assert_eq!(fixture.client.session_key(), Some(&key("KEY1")));
    fixture
}

#[test]
fn the_session_of_an_earlier_run_is_resumed_before_anything_is_sent() {
    let mut fixture = resuming_earlier();
    fixture.receive(frame(0xc0, 2, SESSION.as_bytes()));
    assert_eq!(fixture.labels(), ["SessionRestored", "Connected", "Send 7f"]);
    assert_eq!(fixture.client.session(), Some(&session()));
    // It is held like any other.
    fixture.lost();
    fixture.reopen();
    assert_eq!(fixture.labels().last().unwrap(), "Send 20 3");
}

#[test]
fn the_session_of_an_earlier_run_can_be_lost_closed_and_replaced() {
    let mut fixture = resuming_earlier();
    fixture.receive(frame(3, 2, b""));
    assert_eq!(fixture.labels(), ["SessionLost", "Connected", "Send 7f"]);
    assert_eq!(fixture.client.session_key(), None);
    assert!(fixture.restore("KEY1").is_ok());

    let mut fixture = Fixture::new(v1_4());
    fixture.client.resume_session(key("KEY1")).unwrap();
    assert!(fixture.close_session().is_ok());
    assert_eq!(fixture.client.session_key(), None);
    assert_eq!(fixture.labels(), ["SessionClosed", "Done 1"]);

    let (json, other) = other_session();
    let mut fixture = resuming_earlier();
    fixture.receive([b"\x15", json.as_bytes()].concat());
    assert_eq!(fixture.labels(), ["SessionCreated"]);
    fixture.receive(frame(3, 2, b""));
    assert_eq!(fixture.labels(), ["Connected", "Send 7f"]);
    assert_eq!(fixture.client.session(), Some(&other));
}

#[test]
fn a_session_is_not_resumed_beside_another_or_on_a_ready_connection() {
    let mut fixture = Fixture::ready(v1_4());
    assert_eq!(fixture.client.resume_session(key("KEY1")), Err(Misuse::Connected));
    assert!(fixture.restore("KEY1").is_ok());
    assert_eq!(fixture.client.resume_session(key("KEY1")), Err(Misuse::SessionHeld));
    let mut fixture = Fixture::new(v1_4());
    fixture.client.resume_session(key("KEY1")).unwrap();
    assert_eq!(fixture.client.resume_session(key("KEY2")), Err(Misuse::SessionHeld));
    fixture.connect();
    assert_eq!(fixture.restore("KEY2"), Err(Misuse::SessionHeld));
}
