//! The states of the connection.

use alloc::vec;

use super::*;
use crate::CloseFrame;

/// Brings a fixture into a state and empties its list of actions.
fn in_state(name: &str) -> Fixture {
    let config = v1_4();
    let mut fixture = match name {
        "Idle" => Fixture::new(config),
        "Probing" => {
            let mut fixture = Fixture::new(config.clone());
            fixture.connect();
            fixture
        }
        "Dialing" => {
            let mut fixture = in_state("Probing");
            fixture.dialing();
            fixture
        }
        "Dialing, session" => {
            let mut fixture = in_state("Asked");
            fixture.lost();
            fixture.due();
            fixture.dialing();
            fixture
        }
        "Asked" => Fixture::resuming(config),
        "Pausing" => {
            let mut fixture = Fixture::resuming(config);
            fixture.receive(frame(4, 1, b""));
            fixture
        }
        "Ready" => Fixture::ready(config),
        "Waiting" => Fixture::waiting(config),
        "Closed" => {
            let mut fixture = Fixture::ready(config);
            fixture.close();
            fixture
        }
        other => panic!("no state {other}"),
    };
    fixture.labels();
    assert_eq!(state(&fixture.client), name.split(',').next().unwrap());
    fixture
}

const STATES: [&str; 9] = [
    "Idle",
    "Probing",
    "Dialing",
    "Dialing, session",
    "Asked",
    "Pausing",
    "Ready",
    "Waiting",
    "Closed",
];

type Input = fn(&mut Fixture);

const INPUTS: &[(&str, Input)] = &[
    ("connect", Fixture::connect),
    ("close", Fixture::close),
    ("early timeout", Fixture::timeout),
    ("timeout", |fixture| {
        if fixture.client.next_timeout().is_some() {
            fixture.due();
        }
        fixture.timeout();
    }),
    ("probed", Fixture::dialing),
    ("probed 503", |fixture| fixture.probed(Ok(answer(503, "")))),
    ("probed 1.3", |fixture| fixture.probed(Ok(answer(200, r#"{"protocol-version":"1.3"}"#)))),
    ("probed page", |fixture| fixture.probed(Ok(answer(404, "not found")))),
    ("probe failed", |fixture| fixture.probed(Err(ProbeFailed))),
    ("opened", Fixture::opened),
    ("lost", Fixture::lost),
    ("refused 404", |fixture| fixture.refused(404)),
    ("refused 503", |fixture| fixture.refused(503)),
    ("restored", |fixture| fixture.receive(frame(0xc0, 1, SESSION.as_bytes()))),
    ("no session", |fixture| fixture.receive(frame(0xc0, 1, b"{}"))),
    ("shutdown", |fixture| fixture.receive(frame(1, 1, b""))),
    ("internal", |fixture| fixture.receive(frame(2, 1, b""))),
    ("not found", |fixture| fixture.receive(frame(3, 1, b""))),
    ("maximum", |fixture| fixture.receive(frame(4, 1, b""))),
    ("disabled", |fixture| fixture.receive(frame(5, 1, b""))),
    ("protocol", |fixture| fixture.receive(frame(6, 1, b""))),
    ("error", |fixture| fixture.receive(frame(0, 1, b"\x01C"))),
];

/// State, input, next state, actions. What is not listed changes nothing and does nothing.
const TRANSITIONS: &[(&str, &str, &str, &str)] = &[
    ("Idle", "connect", "Probing", "Probe"),
    ("Idle", "close", "Closed", ""),
    ("Idle", "opened", "Idle", "Hangup"),
    ("Probing", "close", "Closed", "Hangup"),
    ("Probing", "timeout", "Waiting", "Hangup ConnectFailed"),
    ("Probing", "probed", "Dialing", "Dial"),
    ("Probing", "probed 503", "Waiting", "ConnectFailed"),
    ("Probing", "probed 1.3", "Idle", "ConnectFailed"),
    ("Probing", "probed page", "Idle", "ConnectFailed"),
    ("Probing", "probe failed", "Waiting", "ConnectFailed"),
    ("Dialing", "close", "Closed", "Hangup"),
    ("Dialing", "timeout", "Waiting", "Hangup ConnectFailed"),
    ("Dialing", "opened", "Ready", "Connected"),
    ("Dialing", "lost", "Waiting", "ConnectFailed"),
    ("Dialing", "refused 404", "Waiting", "ConnectFailed"),
    ("Dialing", "refused 503", "Waiting", "ConnectFailed"),
    ("Dialing, session", "close", "Closed", "Hangup"),
    ("Dialing, session", "timeout", "Waiting", "Hangup ConnectFailed"),
    ("Dialing, session", "opened", "Asked", "Send 20 2"),
    ("Dialing, session", "lost", "Waiting", "ConnectFailed"),
    ("Dialing, session", "refused 404", "Waiting", "ConnectFailed"),
    ("Dialing, session", "refused 503", "Waiting", "ConnectFailed"),
    ("Asked", "close", "Closed", "Hangup"),
    ("Asked", "timeout", "Pausing", ""),
    ("Asked", "lost", "Waiting", "ConnectFailed"),
    ("Asked", "restored", "Ready", "SessionRestored Connected"),
    ("Asked", "no session", "Ready", "Anomaly SessionLost Connected"),
    ("Asked", "shutdown", "Pausing", ""),
    ("Asked", "internal", "Pausing", ""),
    ("Asked", "not found", "Ready", "SessionLost Connected"),
    ("Asked", "maximum", "Pausing", ""),
    ("Asked", "disabled", "Ready", "SessionLost Connected"),
    ("Asked", "protocol", "Ready", "SessionLost Connected"),
    ("Asked", "error", "Ready", "SessionLost Connected"),
    ("Pausing", "close", "Closed", "Hangup"),
    ("Pausing", "timeout", "Asked", "Send 20 1"),
    ("Pausing", "lost", "Waiting", "ConnectFailed"),
    ("Pausing", "restored", "Ready", "SessionRestored Connected"),
    ("Pausing", "no session", "Ready", "Anomaly SessionLost Connected"),
    ("Pausing", "not found", "Ready", "SessionLost Connected"),
    ("Pausing", "disabled", "Ready", "SessionLost Connected"),
    ("Pausing", "protocol", "Ready", "SessionLost Connected"),
    ("Pausing", "error", "Ready", "SessionLost Connected"),
    ("Ready", "close", "Closed", "Hangup Disconnected"),
    ("Ready", "lost", "Waiting", "Disconnected"),
    ("Waiting", "connect", "Probing", "Probe"),
    ("Waiting", "close", "Closed", ""),
    ("Waiting", "timeout", "Probing", "Probe"),
    ("Waiting", "opened", "Waiting", "Hangup"),
    ("Closed", "connect", "Probing", "Probe"),
    ("Closed", "opened", "Closed", "Hangup"),
];

#[test]
fn every_input_in_every_state() {
    for (from, input, ..) in TRANSITIONS {
        assert!(STATES.contains(from) && INPUTS.iter().any(|(name, _)| name == input));
    }
    for from in STATES {
        for (input, apply) in INPUTS {
            let listed = TRANSITIONS.iter().find(|row| (row.0, row.1) == (from, *input));
            let (to, actions) = listed.map_or((from, ""), |row| (row.2, row.3));
            let mut fixture = in_state(from);
            apply(&mut fixture);
            let done = (state(&fixture.client), fixture.labels().join(" "));
            let to = to.split(',').next().unwrap();
            assert_eq!(done, (to.into(), actions.into()), "{input} in {from}");
        }
    }
}

#[test]
fn states_and_what_applications_see_of_them() {
    for (name, status) in [
        ("Idle", Status::Idle),
        ("Probing", Status::Connecting),
        ("Dialing", Status::Connecting),
        ("Asked", Status::Connecting),
        ("Pausing", Status::Connecting),
        ("Ready", Status::Connected),
        ("Waiting", Status::Waiting),
        ("Closed", Status::Closed),
    ] {
        assert_eq!(in_state(name).client.status(), status, "{name}");
    }
}

#[test]
fn without_reconnection_failures_lead_to_idle() {
    let config = Config { reconnect: false, ..v1_4() };
    let failures: [(&[Input], ConnectError); 6] = [
        (&[|fixture| fixture.probed(Err(ProbeFailed))], ConnectError::ProbeFailed),
        (&[|fixture| fixture.probed(Ok(answer(503, "")))], ConnectError::Unavailable),
        (
            &[|fixture| fixture.probed(Ok(answer(200, "hello")))],
            ConnectError::NotWebWire { client: Protocol::V1_4 },
        ),
        (&[|fixture| fixture.pass(Duration::from_secs(10))], ConnectError::ProbeTimedOut),
        (&[Fixture::dialing, Fixture::lost], ConnectError::DialFailed),
        (
            &[Fixture::dialing, |fixture| fixture.pass(Duration::from_secs(5))],
            ConnectError::DialTimedOut,
        ),
    ];
    for (inputs, error) in failures {
        let mut fixture = Fixture::new(config.clone());
        fixture.connect();
        let id = fixture.request("x").unwrap();
        inputs.iter().for_each(|input| input(&mut fixture));
        assert_eq!(state(&fixture.client), "Idle", "{error:?}");
        let failed = Action::Event(Event::ConnectFailed { error: error.clone(), retry: None });
        let not_sent = Action::Done { id, outcome: Err(RequestError::NotSent) };
        assert!(fixture.take().ends_with(&[failed, not_sent]), "{error:?}");
        assert_eq!(fixture.client.next_timeout(), None);
    }
    let mut fixture = Fixture::ready(config);
    fixture.lost();
    let disconnected = Event::Disconnected { reason: DisconnectReason::Lost, retry: None };
    assert_eq!(fixture.take(), [Action::Event(disconnected)]);
    assert_eq!(fixture.client.status(), Status::Idle);
}

/// Q14-14: the reference stops silently, and calls wait for nothing.
#[test]
fn an_incompatible_server_ends_the_attempts_with_one_clear_error() {
    let mut fixture = in_state("Probing");
    let id = fixture.request("x").unwrap();
    fixture.probed(Ok(answer(200, r#"{"protocol-version":"2.0"}"#)));
    let actions = fixture.take();
    let [Action::Event(Event::ConnectFailed { error, retry: None }), done] = &actions[..] else {
        panic!("{actions:?}");
    };
    assert!(
        matches!(error, ConnectError::IncompatibleVersion { server, .. } if server.as_str() == "2.0")
    );
    assert_eq!(*done, Action::Done { id, outcome: Err(RequestError::NotSent) });
    assert_eq!(fixture.request("y"), Err(Misuse::NotConnected));
    fixture.connect();
    assert_eq!(fixture.labels(), ["Probe"]);
}

/// Q14-15: the reference cannot turn reconnection on again.
#[test]
fn reconnection_works_again_after_close_and_connect() {
    let mut fixture = in_state("Closed");
    fixture.pass(Duration::from_secs(3600));
    assert!(fixture.labels().is_empty());
    fixture.connect();
    fixture.dialing();
    fixture.opened();
    fixture.lost();
    fixture.due();
    assert_eq!(fixture.labels(), ["Probe", "Dial", "Connected", "Disconnected", "Probe"]);
}

#[test]
fn pauses_grow_with_failures_and_start_over_once_ready() {
    let mut fixture = in_state("Idle");
    fixture.connect();
    let mut last = Duration::ZERO;
    for whole in [500, 1000, 2000, 4000, 8000].map(Duration::from_millis) {
        fixture.probed(Err(ProbeFailed));
        let pause = fixture.client.next_timeout().unwrap().saturating_since(fixture.now);
        assert!((whole / 2..=whole).contains(&pause) && pause > last, "{pause:?}");
        last = pause;
        fixture.due();
    }
    fixture.dialing();
    fixture.opened();
    fixture.lost();
    let pause = fixture.client.next_timeout().unwrap().saturating_since(fixture.now);
    assert!(pause <= Duration::from_millis(500), "{pause:?}");
}

/// How often a server is dialled within an hour that ends each connection after `lasting`.
fn dials_in_an_hour(seed: u64, lasting: Duration, meanwhile: Input) -> usize {
    let mut fixture = in_state("Idle");
    fixture.client = client(v1_4(), seed);
    let end = fixture.now + Duration::from_secs(3600);
    fixture.connect();
    let mut dials = 0;
    while fixture.now < end {
        fixture.dialing();
        fixture.opened();
        meanwhile(&mut fixture);
        assert_eq!(fixture.client.status(), Status::Connected);
        fixture.pass(lasting);
        fixture.lost();
        dials += fixture.labels().iter().filter(|label| *label == "Dial").count();
        fixture.due();
    }
    dials
}

#[test]
fn a_server_that_ends_each_connection_is_not_dialled_over_and_over() {
    let kinds: [(&str, Duration, Input); 5] = [
        ("at once", Duration::ZERO, |_| {}),
        ("after a second", Duration::from_secs(1), |_| {}),
        ("after one request", Duration::ZERO, |fixture| {
            let id = fixture.request("a").unwrap();
            fixture.receive(frame(0xbf, id.identifier().counter(), b"x"));
        }),
        ("after the session is back", Duration::ZERO, |fixture| {
            if fixture.client.session().is_none() {
                fixture.receive([b"\x15", SESSION.as_bytes()].concat());
            } else {
                let sent = fixture.out.iter().find_map(|action| match action {
                    Action::Send(frame) => Some(frame[1..9].try_into().unwrap()),
                    _ => None,
                });
                let id = u64::from_le_bytes(sent.unwrap());
                fixture.receive(frame(0xc0, id, SESSION.as_bytes()));
            }
        }),
        ("just before it counts", Duration::from_millis(9_999), |_| {}),
    ];
    for (kind, lasting, meanwhile) in kinds {
        for seed in 0..20 {
            let dials = dials_in_an_hour(seed, lasting, meanwhile);
            assert!((90..=250).contains(&dials), "{kind}: {dials}");
        }
    }
    // Connections that last are worth a short pause each.
    let dials = dials_in_an_hour(1, Duration::from_secs(10), |_| {});
    assert!((340..=352).contains(&dials), "{dials}");
}

#[test]
fn one_short_loss_after_a_long_outage_causes_no_long_pause() {
    let mut fixture = in_state("Ready");
    fixture.pass(Duration::from_secs(3600));
    fixture.lost();
    let pause = |fixture: &Fixture| {
        fixture.client.next_timeout().unwrap().saturating_since(fixture.now).as_millis()
    };
    assert!(pause(&fixture) <= 500, "it had been good for long");
    fixture.due();
    for _ in 0..10 {
        fixture.probed(Err(ProbeFailed));
        fixture.due();
    }
    fixture.dialing();
    fixture.opened();
    fixture.pass(Duration::from_secs(1));
    fixture.lost();
    assert!((500..=1000).contains(&pause(&fixture)), "the second loss, {}", pause(&fixture));
}

#[test]
fn a_new_start_by_the_application_has_short_pauses() {
    let starts: [Input; 2] = [Fixture::close, |fixture| fixture.probed(Ok(answer(200, "{}")))];
    for ended in starts {
        let mut fixture = in_state("Probing");
        for _ in 0..5 {
            fixture.probed(Err(ProbeFailed));
            fixture.due();
        }
        ended(&mut fixture);
        fixture.connect();
        fixture.probed(Err(ProbeFailed));
        let pause = fixture.client.next_timeout().unwrap().saturating_since(fixture.now);
        assert!(pause <= Duration::from_millis(500), "{pause:?}");
    }
}

#[test]
fn closing_forgets_short_connections() {
    let mut fixture = in_state("Ready");
    for _ in 0..6 {
        fixture.lost();
        fixture.reopen();
    }
    fixture.close();
    fixture.connect();
    fixture.dialing();
    fixture.opened();
    fixture.lost();
    let pause = fixture.client.next_timeout().unwrap().saturating_since(fixture.now);
    assert!(pause <= Duration::from_millis(500), "{pause:?}");
}

#[test]
fn events_tell_when_the_next_attempt_comes() {
    let mut fixture = in_state("Ready");
    fixture.lost();
    let retry = fixture.client.next_timeout();
    let disconnected = Event::Disconnected { reason: DisconnectReason::Lost, retry };
    assert_eq!(fixture.take(), [Action::Event(disconnected)]);
    fixture.due();
    fixture.probed(Err(ProbeFailed));
    let retry = fixture.client.next_timeout();
    let failed = Event::ConnectFailed { error: ConnectError::ProbeFailed, retry };
    assert_eq!(fixture.take(), [Action::Probe, Action::Event(failed)]);
}

#[test]
fn a_clock_that_runs_backwards_stands_still() {
    let mut fixture = in_state("Probing");
    let deadline = fixture.client.next_timeout();
    fixture.client.handle_timeout(Instant::EPOCH, &mut fixture.out);
    fixture.client.connect(Instant::EPOCH, &mut fixture.out);
    assert_eq!((fixture.client.next_timeout(), fixture.labels().len()), (deadline, 0));
    let answer = answer_of(Metadata::V1_4);
    fixture.client.handle_probed(Instant::EPOCH, Ok(answer), &mut fixture.out);
    assert_eq!(fixture.client.next_timeout(), Some(fixture.now + Duration::from_secs(5)));
}

#[test]
fn a_saturated_instant_is_not_a_deadline() {
    let mut fixture = in_state("Idle");
    fixture.now = Instant::from_nanos(u64::MAX);
    fixture.connect();
    fixture.timeout();
    assert_eq!(fixture.client.next_timeout(), None);
}

fn close_frame(code: u16) -> CloseFrame {
    CloseFrame::new(code, "goodbye").unwrap()
}

fn staying_away() -> Config {
    Config { protocol: Protocol::V1_4, final_close_codes: [4003, 1005].into(), ..Config::default() }
}

#[test]
fn a_close_frame_of_the_server_is_reported_and_the_client_tries_again() {
    for frame in [close_frame(1001), close_frame(4000), CloseFrame::received(Some(1013), "")] {
        let mut fixture = Fixture::ready(staying_away());
        let sent = fixture.request("sent").unwrap();
        fixture.take();
        fixture.client.handle_closed(fixture.now, frame.clone(), &mut fixture.out);
        let retry = fixture.client.next_timeout();
        assert!(retry.is_some());
        let reason = DisconnectReason::ClosedByServer(frame);
        let told = Action::Event(Event::Disconnected { reason, retry });
        let lost = Action::Done { id: sent, outcome: Err(RequestError::ConnectionLost) };
        assert_eq!(fixture.take(), [told, lost]);
        // What the application asks for meanwhile waits, as after any loss.
        fixture.request("waits").unwrap();
        fixture.reopen();
        assert_eq!(fixture.labels().last().unwrap(), "Send 7f");
    }
}

#[test]
fn after_a_final_close_code_the_client_waits_for_a_call_of_connect() {
    for frame in [close_frame(4003), CloseFrame::received(None, "")] {
        let mut fixture = Fixture::ready(staying_away());
        let sent = fixture.request("sent").unwrap();
        fixture.take();
        fixture.client.handle_closed(fixture.now, frame.clone(), &mut fixture.out);
        let reason = DisconnectReason::ClosedByServer(frame);
        let told = Action::Event(Event::Disconnected { reason, retry: None });
        let lost = Action::Done { id: sent, outcome: Err(RequestError::ConnectionLost) };
        assert_eq!(fixture.take(), [told, lost]);
        assert_eq!((fixture.client.next_timeout(), fixture.client.status()), (None, Status::Idle));
        assert_eq!(fixture.request("more"), Err(Misuse::NotConnected));
        fixture.connect();
        assert_eq!(fixture.labels(), ["Probe"]);
    }
}

#[test]
fn a_close_frame_before_the_connection_is_ready_is_reported_as_well() {
    for (code, stays_away) in [(1013, false), (4003, true)] {
        for before in ["AwaitingConf", "Asked"] {
            let mut fixture = match before {
                "Asked" => Fixture::resuming(staying_away()),
                _ => {
                    let config = Config { final_close_codes: [4003].into(), ..Config::default() };
                    let mut fixture = Fixture::new(config);
                    fixture.connect();
                    fixture.dialing();
                    fixture.opened();
                    fixture
                }
            };
            assert_eq!(state(&fixture.client), before);
            let id = fixture.request("waits").unwrap();
            fixture.take();
            fixture.client.handle_closed(fixture.now, close_frame(code), &mut fixture.out);
            let retry = fixture.client.next_timeout().filter(|_| !stays_away);
            let error = ConnectError::ClosedBeforeReady(close_frame(code));
            let told = Action::Event(Event::ConnectFailed { error, retry });
            let not_sent = Action::Done { id, outcome: Err(RequestError::NotSent) };
            let mut expected = vec![told];
            expected.extend(stays_away.then_some(not_sent));
            assert_eq!(fixture.take(), expected, "{code} {before}");
            let status = if stays_away { Status::Idle } else { Status::Waiting };
            assert_eq!(fixture.client.status(), status);
        }
    }
}

#[test]
fn an_unexpected_close_frame_is_ignored() {
    for before in ["Idle", "Probing", "Waiting", "Closed"] {
        let mut fixture = in_state(before);
        fixture.client.handle_closed(fixture.now, close_frame(4003), &mut fixture.out);
        assert_eq!((state(&fixture.client), fixture.take()), (before.into(), Vec::new()));
    }
}
