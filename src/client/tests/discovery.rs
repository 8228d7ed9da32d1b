//! How the version is found out, and what comes of it.

use alloc::string::ToString;

use super::*;
use crate::Dialect;
use crate::preflight::{Promise, Verdict};
use crate::wire::AcceptConf;

pub(super) type Input = fn(&mut Fixture);

pub(super) fn auto() -> Config {
    quiet()
}

fn pinned(protocol: Protocol) -> Config {
    Config { protocol, ..quiet() }
}

/// Connecting has begun, and the preflight had this answer.
pub(super) fn after(config: Config, probed: Input) -> Fixture {
    let mut fixture = Fixture::new(config);
    fixture.connect();
    probed(&mut fixture);
    fixture
}

pub(super) const NAMES_1_4: Input = Fixture::dialing;
pub(super) const PROMISES: Input = |fixture| {
    fixture.client.expect_accept_conf(Promise { wwr1: false });
    fixture.dialing();
};
pub(super) const NAMES_1_5: Input = |fixture| {
    let body = r#"{"protocol-version":"1.5","read-timeout":8}"#;
    fixture.probed(Ok(answer(200, body)));
};
pub(super) const NAMES_1_6: Input =
    |fixture| fixture.probed(Ok(answer(200, r#"{"protocol-version":"1.6"}"#)));
pub(super) const ANSWERS_400: Input =
    |fixture| fixture.probed(Ok(answer(400, "Bad Request\nInternal Server Error\n")));
/// A server of 2.0 alone that says so, and whether it selects `wwr.1`.
pub(super) const PROMISES_2_0: Input = |fixture| {
    fixture.client.expect_accept_conf(Promise { wwr1: false });
    ANSWERS_400(fixture);
};
pub(super) const PROMISES_WWR_1: Input = |fixture| {
    fixture.client.expect_accept_conf(Promise { wwr1: true });
    ANSWERS_400(fixture);
};
pub(super) const ANSWERS_503: Input = |fixture| fixture.probed(Ok(answer(503, "")));
pub(super) const NO_ANSWER: Input = |fixture| fixture.probed(Err(ProbeFailed));
pub(super) const NONE_IN_TIME: Input = |fixture| fixture.pass(Duration::from_secs(10));

pub(super) const CONF: Input = |fixture| fixture.receive(conf(2, 60_000, 8192, b""));
pub(super) const CONF_3_0: Input = |fixture| fixture.receive(conf(3, 60_000, 8192, b""));
pub(super) const CONF_CHAT: Input = |fixture| fixture.receive(conf(2, 60_000, 8192, b"chat"));
pub(super) const SHORT_CONF: Input = |fixture| fixture.receive(&b"\x17\x02\0"[..]);
pub(super) const SIGNAL: Input = |fixture| fixture.receive(&b"\x3f\x01ax"[..]);
pub(super) const NOTHING: Input = |fixture| fixture.receive(&b""[..]);
pub(super) const REFUSED: Input = |fixture| fixture.refused(404);
pub(super) const UNAVAILABLE: Input = |fixture| fixture.refused(502);

/// State, actions, version. Of failed attempts, the error is told, with "!" if it is definite.
pub(super) fn told(fixture: &mut Fixture) -> (String, String, String) {
    let tell = |action: &Action| match action {
        Action::Event(Event::ConnectFailed { error, retry }) => {
            assert_eq!(error.is_definite(), retry.is_none());
            let text = format!("{error:?}");
            let name = text.split(' ').next().unwrap();
            format!("{name}{}", if retry.is_none() { "!" } else { "" })
        }
        action => label(action),
    };
    let actions = fixture.take().iter().map(tell).collect::<Vec<_>>().join(" ");
    (state(&fixture.client), actions, fixture.client.dialect().to_string())
}

/// What the client made of a preflight, what comes then, and what comes of that.
type Row = (Input, &'static [Input], &'static str, &'static str, &'static str);

fn check(rows: &[Row], config: &Config) {
    for (index, (preflight, inputs, state, actions, dialect)) in rows.iter().enumerate() {
        let mut fixture = after(config.clone(), *preflight);
        fixture.labels();
        inputs.iter().for_each(|input| input(&mut fixture));
        let expected = ((*state).into(), (*actions).into(), (*dialect).into());
        assert_eq!(told(&mut fixture), expected, "row {index}");
    }
}

pub(super) const OPENED: Input = Fixture::opened;
pub(super) const LOST: Input = Fixture::lost;
pub(super) const DUE: Input = Fixture::due;

#[test]
fn the_preflight_decides_whether_an_accept_conf_is_required() {
    for (preflight, state, actions) in [
        (NAMES_1_4, "Dialing", "Probe Dial"),
        (NAMES_1_5, "Dialing", "Probe Dial"),
        (NAMES_1_6, "Dialing", "Probe Dial"),
        (ANSWERS_400, "Dialing", "Probe Dial"),
        (NO_ANSWER, "Dialing", "Probe Dial"),
        (NONE_IN_TIME, "Dialing", "Probe Hangup Dial"),
        (ANSWERS_503, "Waiting", "Probe Unavailable"),
    ] {
        let mut fixture = after(auto(), preflight);
        assert_eq!(told(&mut fixture), (state.into(), actions.into(), "unknown".into()));
    }
}

#[test]
fn a_server_whose_preflight_names_1_x() {
    check(
        &[
            (NAMES_1_4, &[OPENED], "AwaitingConf", "", "unknown"),
            (NAMES_1_4, &[OPENED, CONF], "Ready", "Send 21 Connected", "2.0"),
            (NAMES_1_4, &[OPENED, DUE], "Ready", "Connected", "1.4"),
            (NAMES_1_5, &[OPENED, DUE], "Ready", "Connected", "1.5"),
            (NAMES_1_4, &[OPENED, SIGNAL], "Ready", "Connected Signal", "1.4"),
            (NAMES_1_5, &[OPENED, SIGNAL], "Ready", "Connected Signal", "1.5"),
            (NAMES_1_4, &[OPENED, NOTHING], "Ready", "Connected Anomaly", "1.4"),
            (NAMES_1_4, &[OPENED, SHORT_CONF], "Ready", "Connected Anomaly", "1.4"),
            (NAMES_1_4, &[OPENED, CONF_3_0], "Ready", "Connected Anomaly", "1.4"),
            (NAMES_1_4, &[OPENED, CONF_CHAT], "Idle", "Hangup IncompatibleSubProtocol!", "unknown"),
            (NAMES_1_4, &[OPENED, LOST], "Waiting", "LostBeforeReady", "unknown"),
            (NAMES_1_4, &[LOST], "Waiting", "DialFailed", "unknown"),
            (NAMES_1_4, &[REFUSED], "Waiting", "DialFailed", "unknown"),
            (NAMES_1_4, &[UNAVAILABLE], "Waiting", "Unavailable", "unknown"),
            (NAMES_1_4, &[DUE], "Waiting", "Hangup DialTimedOut", "unknown"),
            (NAMES_1_4, &[OPENED, Fixture::close], "Closed", "Hangup", "unknown"),
            // The first message decides even if it comes when the client does not wait for it any
            // more.
            (NAMES_1_4, &[OPENED, DUE, CONF], "Ready", "Connected Send 21", "2.0"),
            (
                NAMES_1_4,
                &[OPENED, DUE, CONF_3_0, CONF],
                "Ready",
                "Connected Anomaly Anomaly",
                "1.4",
            ),
            (NAMES_1_4, &[OPENED, DUE, SIGNAL, CONF], "Ready", "Connected Signal Anomaly", "1.4"),
            (NAMES_1_4, &[OPENED, SIGNAL, CONF], "Ready", "Connected Signal Anomaly", "1.4"),
            (NAMES_1_4, &[OPENED, CONF, CONF], "Ready", "Send 21 Connected Anomaly", "2.0"),
        ],
        &auto(),
    );
}

#[test]
fn a_server_that_has_to_announce_2_0() {
    for preflight in [NAMES_1_6, ANSWERS_400, PROMISES_2_0, NO_ANSWER, NONE_IN_TIME] {
        check(
            &[
                (preflight, &[OPENED], "AwaitingConf", "", "unknown"),
                (preflight, &[OPENED, CONF], "Ready", "Connected", "2.0"),
                (preflight, &[OPENED, CONF, CONF], "Ready", "Connected Anomaly", "2.0"),
                (preflight, &[OPENED, CONF_3_0], "Idle", "Hangup IncompatibleVersion!", "unknown"),
                (
                    preflight,
                    &[OPENED, CONF_CHAT],
                    "Idle",
                    "Hangup IncompatibleSubProtocol!",
                    "unknown",
                ),
                (preflight, &[DUE], "Waiting", "Hangup DialTimedOut", "unknown"),
                (preflight, &[UNAVAILABLE], "Waiting", "Unavailable", "unknown"),
            ],
            &auto(),
        );
    }
    check(
        &[
            (NAMES_1_6, &[LOST], "Waiting", "DialFailed", "unknown"),
            (NAMES_1_6, &[REFUSED], "Idle", "IncompatibleVersion!", "unknown"),
            (
                NAMES_1_6,
                &[|fixture| fixture.refused(403)],
                "Idle",
                "IncompatibleVersion!",
                "unknown",
            ),
            (NAMES_1_6, &[OPENED, DUE], "Idle", "Hangup IncompatibleVersion!", "unknown"),
            (NAMES_1_6, &[OPENED, LOST], "Waiting", "NoAcceptConf", "unknown"),
            (NAMES_1_6, &[OPENED, SIGNAL], "Idle", "Hangup IncompatibleVersion!", "unknown"),
            (NAMES_1_6, &[OPENED, SHORT_CONF], "Idle", "Hangup IncompatibleVersion!", "unknown"),
            (ANSWERS_400, &[LOST], "Waiting", "DialFailed", "unknown"),
            (ANSWERS_400, &[REFUSED], "Idle", "NotWebWire!", "unknown"),
            (ANSWERS_400, &[OPENED, DUE], "Waiting", "Hangup NoAcceptConf", "unknown"),
            (ANSWERS_400, &[OPENED, LOST], "Waiting", "NoAcceptConf", "unknown"),
            (ANSWERS_400, &[OPENED, SIGNAL], "Idle", "Hangup NotWebWire!", "unknown"),
            // It is a server of WebWire, whatever comes then.
            (PROMISES_2_0, &[LOST], "Waiting", "DialFailed", "unknown"),
            (PROMISES_2_0, &[REFUSED], "Waiting", "DialFailed", "unknown"),
            (PROMISES_WWR_1, &[REFUSED], "Waiting", "DialFailed", "unknown"),
            (PROMISES_2_0, &[OPENED, DUE], "Waiting", "Hangup NoAcceptConf", "unknown"),
            (PROMISES_2_0, &[OPENED, LOST], "Waiting", "NoAcceptConf", "unknown"),
            (PROMISES_2_0, &[OPENED, SIGNAL], "Idle", "Hangup NotAcceptConf!", "unknown"),
            (NO_ANSWER, &[LOST], "Waiting", "ProbeFailed", "unknown"),
            (NO_ANSWER, &[REFUSED], "Waiting", "DialFailed", "unknown"),
            (NO_ANSWER, &[OPENED, DUE], "Waiting", "Hangup NoAcceptConf", "unknown"),
            (NO_ANSWER, &[OPENED, LOST], "Waiting", "NoAcceptConf", "unknown"),
            (NO_ANSWER, &[OPENED, NOTHING], "Waiting", "Hangup ProbeFailed", "unknown"),
            (NO_ANSWER, &[OPENED, SIGNAL], "Waiting", "Hangup ProbeFailed", "unknown"),
            (NONE_IN_TIME, &[LOST], "Waiting", "ProbeTimedOut", "unknown"),
            (NONE_IN_TIME, &[OPENED, DUE], "Waiting", "Hangup NoAcceptConf", "unknown"),
            (NONE_IN_TIME, &[OPENED, SIGNAL], "Waiting", "Hangup ProbeTimedOut", "unknown"),
        ],
        &auto(),
    );
}

#[test]
fn a_status_that_any_webwire_server_may_refuse_with_decides_nothing() {
    for preflight in [NAMES_1_4, ANSWERS_400, NO_ANSWER] {
        for (status, error) in [
            (401, "DialFailed"),
            (403, "DialFailed"),
            (429, "Unavailable"),
            (500, "DialFailed"),
            (502, "Unavailable"),
            (503, "Unavailable"),
            (504, "Unavailable"),
        ] {
            let mut fixture = after(auto(), preflight);
            fixture.labels();
            fixture.refused(status);
            let (state, actions, _) = told(&mut fixture);
            assert_eq!((state.as_str(), actions.as_str()), ("Waiting", error), "{status}");
        }
    }
    for status in [200, 301, 400, 404, 405, 426, 501, 505] {
        let mut fixture = after(auto(), ANSWERS_400);
        fixture.labels();
        fixture.refused(status);
        assert_eq!(told(&mut fixture).1, "NotWebWire!", "{status}");
    }
}

/// A server of all versions whose preflight names 1.5 goes on taking the client for one of 1.5,
/// whose heartbeats tell nothing. Its answer to the preflight may have been lost, or have been
/// given to another client of the same address.
#[test]
fn a_server_that_may_have_named_1_x_may_answer_like_one() {
    for preflight in [NAMES_1_5, NAMES_1_4, ANSWERS_400, NO_ANSWER] {
        let mut fixture = after(auto(), preflight);
        fixture.opened();
        CONF(&mut fixture);
        let id = fixture.request("a").unwrap();
        fixture.take();
        fixture.receive(frame(0x06, 1, b""));
        let outcome = fixture.take().into_iter().find_map(|action| match action {
            Action::Done { id: done, outcome } if done == id => Some(outcome),
            _ => None,
        });
        assert_eq!(outcome, Some(Err(RequestError::Protocol)));
    }
}

#[test]
fn a_client_of_one_1_x_version_waits_for_nothing_else() {
    let preflights: [(Input, [&str; 2]); 8] = [
        (NAMES_1_4, ["Dial", "IncompatibleVersion!"]),
        (NAMES_1_5, ["IncompatibleVersion!", "Dial"]),
        (NAMES_1_6, ["IncompatibleVersion!", "IncompatibleVersion!"]),
        (ANSWERS_400, ["NotWebWire!", "NotWebWire!"]),
        (PROMISES_WWR_1, ["IncompatibleVersion!", "IncompatibleVersion!"]),
        (ANSWERS_503, ["Unavailable", "Unavailable"]),
        (NO_ANSWER, ["ProbeFailed", "ProbeFailed"]),
        (NONE_IN_TIME, ["Hangup ProbeTimedOut", "Hangup ProbeTimedOut"]),
    ];
    for (preflight, actions) in preflights {
        for (protocol, actions) in [Protocol::V1_4, Protocol::V1_5].into_iter().zip(actions) {
            let mut fixture = after(pinned(protocol), preflight);
            assert_eq!(told(&mut fixture).1, format!("Probe {actions}"));
        }
    }
    check(
        &[
            (NAMES_1_4, &[OPENED], "Ready", "Connected", "1.4"),
            (NAMES_1_4, &[OPENED, CONF], "Ready", "Connected Anomaly", "1.4"),
            (NAMES_1_4, &[REFUSED], "Waiting", "DialFailed", "unknown"),
        ],
        &pinned(Protocol::V1_4),
    );
    check(&[(NAMES_1_5, &[OPENED], "Ready", "Connected", "1.5")], &pinned(Protocol::V1_5));
}

#[test]
fn a_preflight_can_be_skipped_by_clients_of_one_version() {
    for (protocol, dialect) in [(Protocol::V1_4, Dialect::V1_4), (Protocol::V1_5, Dialect::V1_5)] {
        let config = Config { protocol, skip_preflight: true, ..quiet() };
        let mut fixture = Fixture::new(config);
        fixture.connect();
        fixture.opened();
        assert_eq!(fixture.labels(), ["Dial", "Connected"]);
        assert_eq!(fixture.client.dialect(), dialect);
        assert_eq!(fixture.client.discovered().preflight, None);
        let heartbeat = fixture.now + Duration::from_secs(45);
        let expected = (protocol == Protocol::V1_5).then_some(heartbeat);
        assert_eq!(fixture.client.next_timeout(), expected);
    }
}

#[test]
fn a_client_of_2_0_alone_asks_for_nothing_and_insists() {
    let rows: [(&[Input], &str, &str); 8] = [
        (&[OPENED], "AwaitingConf", "Dial"),
        (&[OPENED, CONF], "Ready", "Dial Connected"),
        (&[OPENED, CONF_3_0], "Idle", "Dial Hangup IncompatibleVersion!"),
        (&[OPENED, SIGNAL], "Idle", "Dial Hangup NotAcceptConf!"),
        (&[OPENED, DUE], "Waiting", "Dial Hangup NoAcceptConf"),
        (&[OPENED, LOST, DUE], "Dialing", "Dial NoAcceptConf Dial"),
        (&[REFUSED], "Waiting", "Dial DialFailed"),
        (&[UNAVAILABLE], "Waiting", "Dial Unavailable"),
    ];
    for (inputs, state, actions) in rows {
        let mut fixture = Fixture::new(pinned(Protocol::V2_0));
        fixture.connect();
        inputs.iter().for_each(|input| input(&mut fixture));
        let (reached, done, _) = told(&mut fixture);
        assert_eq!((reached.as_str(), done.as_str()), (state, actions));
    }
}

/// Nothing tells that 2.0 will be advertised after a preflight that named 1.x: what has come by the
/// time that the WebSocket is open counts, and nothing is waited for.
#[test]
fn an_accept_conf_is_waited_for_only_if_it_has_to_come() {
    let waits = |config: Config, preflight: Input, dialled: u64| {
        let mut fixture = after(config, preflight);
        fixture.pass(Duration::from_millis(dialled));
        fixture.opened();
        fixture.client.next_timeout().map(|next| next.saturating_since(fixture.now).as_millis())
    };
    assert_eq!(waits(auto(), NAMES_1_4, 4000), Some(0));
    assert_eq!(waits(auto(), NAMES_1_5, 0), Some(0));
    assert_eq!(waits(auto(), ANSWERS_400, 4000), Some(1000), "dial and accept-conf share a time");
    assert_eq!(waits(auto(), ANSWERS_400, 1), Some(4999));
    assert_eq!(waits(auto(), PROMISES, 0), Some(1000));
    assert_eq!(waits(auto(), PROMISES, 4500), Some(500));
}

/// A server of this crate says so, with its preflight.
#[test]
fn an_accept_conf_that_was_promised_comes_before_anything_is_sent() {
    check(
        &[
            (PROMISES, &[OPENED], "AwaitingConf", "", "unknown"),
            (PROMISES, &[OPENED, CONF], "Ready", "Send 21 Connected", "2.0"),
            (PROMISES, &[OPENED, CONF_CHAT], "Idle", "Hangup IncompatibleSubProtocol!", "unknown"),
            (PROMISES, &[OPENED, SIGNAL], "Ready", "Connected Signal", "1.4"),
            // It came to another server of 1.4, which is not waited for the next time.
            (PROMISES, &[OPENED, DUE], "Ready", "Connected", "1.4"),
            (
                PROMISES,
                &[OPENED, DUE, LOST, DUE, NAMES_1_4, OPENED, Fixture::timeout],
                "Ready",
                "Connected Disconnected Probe Dial Connected",
                "1.4",
            ),
        ],
        &auto(),
    );
    let mut stray = after(auto(), NAMES_1_4);
    stray.client.expect_accept_conf(Promise { wwr1: true });
    stray.opened();
    assert_eq!(stray.client.next_timeout(), Some(stray.now));
    // A client of one version waits for nothing else.
    check(&[(PROMISES, &[OPENED], "Ready", "Connected", "1.4")], &pinned(Protocol::V1_4));
}

#[test]
fn a_short_request_to_a_fresh_client_of_a_1_x_server_does_not_lose_a_millisecond() {
    for preflight in [NAMES_1_4, NAMES_1_5] {
        let mut fixture = Fixture::new(auto());
        fixture.connect();
        let (start, timeout) = (fixture.now, Some(Duration::from_millis(100)));
        let (now, a) = (fixture.now, name("a"));
        let made = fixture.client.request(now, a, Payload::EMPTY, timeout, &mut fixture.out);
        preflight(&mut fixture);
        fixture.opened();
        fixture.due();
        assert_eq!(fixture.now, start);
        assert_eq!(fixture.labels(), ["Probe", "Dial", "Connected", "Send 7f"]);
        fixture.receive(frame(0xbf, 1, b"x"));
        assert_eq!(fixture.outcomes(), [(made.unwrap(), Ok(Payload::binary("x")))]);
    }
}

#[test]
fn nothing_is_sent_before_the_version_is_settled() {
    let mut fixture = after(auto(), NAMES_1_5);
    fixture.opened();
    fixture.labels();
    fixture.request("a").unwrap();
    let unready = fixture.signal("a", &Payload::utf8("x"));
    assert_eq!(unready, Err(Misuse::NotConnected));
    assert_eq!(fixture.client.status(), Status::Connecting);
    assert!(fixture.labels().is_empty());
    fixture.due();
    assert_eq!(fixture.labels(), ["Connected", "Send 7f"]);
}

#[test]
fn sub_protocols_have_to_be_the_same() {
    let long = [b'x'; 300];
    for (ours, theirs, suits) in [
        (None, &b""[..], true),
        (None, b"a", false),
        (Some(&b"a"[..]), b"a", true),
        (Some(b"a"), b"", false),
        (Some(b"a"), b"A", false),
        (Some(b"a"), b"ab", false),
        (Some(&long), &long, true),
        (Some(&long[..256]), &long, false),
        (Some(&long), &long[..299], false),
    ] {
        let sub_protocol = ours.map(Bytes::copy_from_slice);
        let mut fixture =
            Fixture::new(Config { protocol: Protocol::V2_0, sub_protocol, ..quiet() });
        fixture.connect();
        fixture.opened();
        fixture.receive(conf(2, 1000, 64, theirs));
        assert_eq!(fixture.client.status() == Status::Connected, suits, "{ours:?} {theirs:?}");
        let found = fixture.client.discovered().accept_conf.clone().unwrap();
        let kept = if suits { theirs } else { &theirs[..theirs.len().min(256)] };
        assert_eq!(found.sub_protocol.as_deref().unwrap_or_default(), kept);
    }
}

#[test]
fn the_discovered_facts_are_kept_even_if_the_server_does_not_suit() {
    let found = AcceptConf {
        major: 2,
        minor: 0,
        read_timeout_ms: 60_000,
        message_buffer_size: 8192,
        sub_protocol: Some(Bytes::from_static(b"chat")),
    };
    let mut fixture = after(auto(), NAMES_1_4);
    assert_eq!(fixture.client.discovered().preflight, Some(Verdict::Speaks(Metadata::V1_4)));
    fixture.opened();
    CONF_CHAT(&mut fixture);
    assert_eq!(fixture.client.discovered().accept_conf, Some(found));
    assert_eq!(fixture.client.discovered().dialect, Dialect::Unknown);

    let mut fixture = after(auto(), ANSWERS_400);
    assert_eq!(fixture.client.discovered().preflight, Some(Verdict::NotWebWire));
    fixture.opened();
    CONF_3_0(&mut fixture);
    assert_eq!(fixture.client.discovered().accept_conf.as_ref().unwrap().major, 3);

    let mut fixture = after(auto(), NO_ANSWER);
    fixture.opened();
    CONF(&mut fixture);
    fixture.lost();
    assert_eq!(fixture.client.discovered().preflight, None);
    assert!(fixture.client.discovered().accept_conf.is_some());
    assert_eq!(fixture.client.dialect(), Dialect::V2_0, "of the latest connection");
}

#[test]
fn errors_name_both_sides_and_what_to_do() {
    let error = |config: Config, inputs: &[Input]| {
        let mut fixture = Fixture::new(config);
        fixture.connect();
        inputs.iter().for_each(|input| input(&mut fixture));
        let error = fixture.take().into_iter().find_map(|action| match action {
            Action::Event(Event::ConnectFailed { error, .. }) => Some(error.to_string()),
            _ => None,
        });
        error.unwrap()
    };
    let chat = || Config { sub_protocol: Some("my \"chat\"\n".into()), ..quiet() };
    let long: Input = |fixture| fixture.receive(conf(2, 1, 64, &[0; 70_000]));
    for (config, inputs, texts) in [
        (
            auto(),
            &[NAMES_1_6, REFUSED][..],
            &["version \"1.6\"", "speaks 1.4, 1.5 and 2.0", "update"][..],
        ),
        (pinned(Protocol::V1_5), &[NAMES_1_4], &["version \"1.4\"", "only 1.5", "\"auto\""]),
        (pinned(Protocol::V1_4), &[NAMES_1_5], &["version \"1.5\"", "only 1.4", "\"auto\""]),
        (pinned(Protocol::V2_0), &[OPENED, CONF_3_0], &["version \"3.0\"", "only 2.0", "update"]),
        (
            chat(),
            &[ANSWERS_400, OPENED, CONF_CHAT],
            &["is \"chat\"", r#"is "my \"chat\"\n""#, "set both"],
        ),
        (chat(), &[ANSWERS_400, OPENED, CONF], &["sub-protocol is not set", "set both sides"]),
        (auto(), &[ANSWERS_400, OPENED, CONF_CHAT], &["is \"chat\"", "this client's is not set"]),
        (auto(), &[ANSWERS_400, REFUSED], &["no WebWire server", "check the address"]),
        (pinned(Protocol::V2_0), &[OPENED, DUE], &["no accept-conf came", "\"auto\""]),
        (pinned(Protocol::V2_0), &[OPENED, SIGNAL], &["is not an accept-conf", "\"auto\""]),
        (auto(), &[ANSWERS_400, OPENED, long], &["\\x00...\"", "this client's is not set"]),
    ] {
        let error = error(config, inputs);
        assert!(error.len() < 400 && !error.contains('\n'), "{error}");
        for text in texts {
            assert!(error.contains(text), "{text} in {error}");
        }
    }
}

#[test]
fn a_proxy_that_refuses_the_login_is_asked_once() {
    let refused: Input = |fixture| {
        fixture.client.handle_proxy_refused(fixture.now, &mut fixture.out);
    };
    for config in [quiet(), Config { protocol: Protocol::V2_0, ..quiet() }] {
        let mut fixture = Fixture::new(config);
        refused(&mut fixture);
        fixture.connect();
        fixture.labels();
        refused(&mut fixture);
        assert_eq!(fixture.labels(), ["ConnectFailed"]);
        assert_eq!(state(&fixture.client), "Idle");
        refused(&mut fixture);
        assert_eq!(fixture.labels(), [""; 0]);
    }
    let mut fixture = Fixture::ready(v1_4());
    refused(&mut fixture);
    assert_eq!((fixture.labels(), state(&fixture.client)), (alloc::vec![], "Ready".into()));
}
