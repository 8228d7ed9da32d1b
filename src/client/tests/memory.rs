//! What a client remembers of its server, and when it forgets that.

use super::discovery::*;
use super::*;
use crate::Dialect;

/// Ready with a server that announced 2.0, and a session.
fn advertised(preflight: Input) -> Fixture {
    let mut fixture = after(auto(), preflight);
    fixture.opened();
    CONF(&mut fixture);
    fixture.receive([b"\x15", SESSION.as_bytes()].concat());
    fixture.labels();
    fixture
}

#[test]
fn a_server_that_announced_2_0_is_dialled_at_once_and_has_to_do_it_again() {
    for preflight in [NAMES_1_4, ANSWERS_400, NO_ANSWER] {
        let mut fixture = advertised(preflight);
        fixture.lost();
        fixture.due();
        fixture.opened();
        let (state, actions, dialect) = told(&mut fixture);
        assert_eq!(
            (state.as_str(), actions.as_str(), dialect.as_str()),
            ("AwaitingConf", "Disconnected Dial", "unknown")
        );
        let remaining = fixture.client.next_timeout().unwrap().saturating_since(fixture.now);
        assert_eq!(remaining, Duration::from_secs(1), "it may be one of 1.x by now");
        CONF(&mut fixture);
        assert_eq!(fixture.labels(), ["Send 20 1"]);
        fixture.close();
        fixture.connect();
        assert_eq!(fixture.labels(), ["Hangup", "Dial"], "closing is no reason to forget");
    }
}

#[test]
fn a_server_that_no_longer_advertises_is_discovered_again_at_once() {
    for other in [DUE, SIGNAL, NOTHING, SHORT_CONF, CONF_3_0] {
        let mut fixture = advertised(ANSWERS_400);
        fixture.lost();
        fixture.due();
        fixture.opened();
        fixture.labels();
        other(&mut fixture);
        assert_eq!(fixture.labels(), ["Hangup", "Probe"]);
        let found = fixture.client.discovered();
        assert_eq!((&found.preflight, &found.accept_conf), (&None, &None));
        fixture.dialing();
        fixture.opened();
        fixture.due();
        assert_eq!(fixture.labels(), ["Dial", "Send 20 1"]);
        assert_eq!(fixture.client.dialect(), Dialect::V1_4);
    }
}

/// An HTTP server has taken the place of one of 2.0.
#[test]
fn a_server_that_refuses_the_websocket_gets_a_preflight() {
    let mut fixture = advertised(ANSWERS_400);
    fixture.lost();
    fixture.due();
    fixture.labels();
    REFUSED(&mut fixture);
    assert_eq!(fixture.labels(), ["Probe"], "at once");
    ANSWERS_400(&mut fixture);
    REFUSED(&mut fixture);
    let (state, actions, _) = told(&mut fixture);
    assert_eq!((state.as_str(), actions.as_str()), ("Idle", "Dial NotWebWire!"));
}

#[test]
fn failures_of_the_network_do_not_discard_what_is_known() {
    let failures: [Input; 3] = [LOST, DUE, UNAVAILABLE];
    for failure in failures {
        let mut fixture = advertised(ANSWERS_400);
        fixture.lost();
        fixture.due();
        failure(&mut fixture);
        assert_eq!(fixture.client.status(), Status::Waiting);
        fixture.labels();
        fixture.due();
        assert_eq!(fixture.labels(), ["Dial"]);
    }
    let mut fixture = advertised(ANSWERS_400);
    fixture.lost();
    fixture.due();
    fixture.opened();
    fixture.lost();
    fixture.due();
    let (_, actions, _) = told(&mut fixture);
    assert_eq!(actions, "Disconnected Dial NoAcceptConf Probe", "the server closed it, so ask");
}

#[test]
fn a_server_of_1_x_that_was_silent_is_asked_again() {
    let mut fixture = after(auto(), NAMES_1_5);
    fixture.opened();
    fixture.due();
    fixture.lost();
    fixture.due();
    NAMES_1_4(&mut fixture);
    fixture.opened();
    fixture.due();
    assert_eq!(fixture.labels()[3..], ["Disconnected", "Probe", "Dial", "Connected"]);
    assert_eq!(fixture.client.dialect(), Dialect::V1_4);
    // It was replaced by one of both versions, which is noticed nevertheless.
    CONF(&mut fixture);
    assert_eq!(
        (fixture.labels(), fixture.client.dialect()),
        (["Send 21"].map(String::from).into(), Dialect::V2_0)
    );
    fixture.lost();
    fixture.due();
    assert_eq!(fixture.labels(), ["Disconnected", "Dial"]);
}

/// Nothing is waited for, so the request for the session leaves before the version is known for
/// good.
#[test]
fn a_session_is_resumed_although_its_server_has_changed_meanwhile() {
    let mut fixture = advertised(NAMES_1_4);
    fixture.client.forget_server();
    fixture.lost();
    fixture.due();
    fixture.dialing();
    fixture.opened();
    fixture.due();
    assert_eq!(fixture.labels().last().unwrap(), "Send 20 1");
    CONF(&mut fixture);
    assert_eq!(fixture.labels(), ["Send 21"]);
    fixture.receive(frame(0xc0, 1, SESSION.as_bytes()));
    assert_eq!(fixture.labels(), ["SessionRestored", "Connected"]);
    assert_eq!(fixture.client.dialect(), Dialect::V2_0);
}

#[test]
fn an_accept_conf_that_comes_late_can_still_show_that_the_server_does_not_suit() {
    let mut ready = after(auto(), NAMES_1_4);
    ready.opened();
    ready.due();
    let id = ready.request("a").unwrap();
    ready.take();
    CONF_CHAT(&mut ready);
    let actions = ready.take();
    let reason = DisconnectReason::Incompatible;
    let disconnected = Action::Event(Event::Disconnected { reason, retry: None });
    let lost = Action::Done { id, outcome: Err(RequestError::ConnectionLost) };
    assert_eq!((&actions[0], &actions[1], &actions[3]), (&Action::Hangup, &disconnected, &lost));
    assert_eq!((label(&actions[2]), actions.len()), ("ConnectFailed".into(), 4));
    assert_eq!((state(&ready.client), ready.client.next_timeout()), ("Idle".into(), None));

    let mut resuming = advertised(NAMES_1_4);
    resuming.client.forget_server();
    resuming.lost();
    resuming.due();
    resuming.dialing();
    resuming.opened();
    resuming.due();
    assert_eq!(resuming.labels().last().unwrap(), "Send 20 1");
    CONF_CHAT(&mut resuming);
    assert_eq!(told(&mut resuming).1, "Hangup IncompatibleSubProtocol!");
}

#[test]
fn after_a_definite_error_nothing_happens_and_connecting_begins_anew() {
    let mut fixture = advertised(ANSWERS_400);
    fixture.lost();
    fixture.due();
    fixture.opened();
    let id = fixture.request("a").unwrap();
    fixture.labels();
    CONF_CHAT(&mut fixture);
    assert_eq!(fixture.labels(), ["Hangup", "ConnectFailed", &format!("Done {id} NotSent")]);
    assert_eq!(
        (fixture.client.next_timeout(), fixture.request("b")),
        (None, Err(Misuse::NotConnected))
    );
    fixture.connect();
    assert_eq!(fixture.labels(), ["Probe"]);
    NAMES_1_4(&mut fixture);
    fixture.opened();
    fixture.due();
    assert_eq!(fixture.labels(), ["Dial", "Send 20 2"], "a server that suits is found");
}
