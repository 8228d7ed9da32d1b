//! The sub-protocol `wwr.1`: agreed on in the handshake, known from the first byte (protocol §10).

use alloc::string::ToString;

use super::discovery::*;
use super::*;
use crate::Dialect;
use crate::handshake::SubProtocol;

/// What a client with the defaults states: 16 MiB.
const SETTINGS: &[u8] = b"\x18\0\0\0\x01\x40\0";

const AGREED: Input = |fixture| {
    fixture.client.handle_opened(fixture.now, Some(SubProtocol::Wwr1), &mut fixture.out);
};
const STATED: Input = |fixture| fixture.receive(conf(2, 60_000, 1 << 20, b""));

/// Connected to a server that has stated to read so much.
pub(super) fn ready(reads: u32) -> Fixture {
    let mut fixture = after(auto(), NAMES_1_4);
    AGREED(&mut fixture);
    fixture.receive(conf(2, 60_000, reads, b""));
    assert_eq!(fixture.labels(), ["Probe", "Dial", "Send 18", "Connected"]);
    assert_eq!(fixture.client.dialect(), Dialect::Wwr1);
    fixture
}

fn long(length: usize) -> Payload {
    Payload::binary(alloc::vec![b'x'; length])
}

#[test]
fn the_settings_are_sent_before_anything_else_and_the_dialect_is_known_at_once() {
    for probed in [NAMES_1_4, NAMES_1_5, PROMISES, NAMES_1_6, ANSWERS_400, NO_ANSWER] {
        let mut fixture = after(auto(), probed);
        fixture.labels();
        AGREED(&mut fixture);
        assert_eq!(fixture.client.dialect(), Dialect::Wwr1);
        assert_eq!(fixture.take(), [Action::Send(Bytes::from_static(SETTINGS))]);
        STATED(&mut fixture);
        assert_eq!(told(&mut fixture), ("Ready".into(), "Connected".into(), "wwr.1".into()));
    }
}

#[test]
fn a_client_states_what_its_host_reads() {
    let config = Config { max_message_size: 8192, ..quiet() };
    let mut fixture = after(config, NAMES_1_4);
    fixture.labels();
    AGREED(&mut fixture);
    assert_eq!(fixture.take(), [Action::Send(Bytes::from_static(b"\x18\0\x20\0\0\x40\0"))]);
}

#[test]
fn a_client_without_wwr_1_ignores_its_selection() {
    for config in [Config { wwr1: false, ..quiet() }, Config { max_message_size: 8191, ..quiet() }]
    {
        let mut fixture = after(config, NAMES_1_4);
        fixture.labels();
        assert_eq!(fixture.client.offers(), None);
        AGREED(&mut fixture);
        CONF(&mut fixture);
        assert_eq!(fixture.client.dialect(), Dialect::V2_0);
        assert_eq!(fixture.labels(), ["Send 21", "Connected"]);
    }
}

#[test]
fn what_follows_the_handshake_has_to_be_the_servers_statement() {
    for (inputs, state, actions) in [
        (&[CONF_3_0][..], "Idle", "Hangup IncompatibleVersion!"),
        (&[CONF_CHAT], "Idle", "Hangup IncompatibleSubProtocol!"),
        (&[SIGNAL], "Idle", "Hangup NotAcceptConf!"),
        (&[SHORT_CONF], "Idle", "Hangup NotAcceptConf!"),
        (&[NOTHING], "Idle", "Hangup NotAcceptConf!"),
        (&[LOST], "Waiting", "NoAcceptConf"),
        (&[DUE], "Waiting", "Hangup NoAcceptConf"),
        (&[LOST, DUE], "Probing", "NoAcceptConf Probe"),
    ] {
        let mut fixture = after(auto(), NAMES_1_4);
        AGREED(&mut fixture);
        fixture.labels();
        inputs.iter().for_each(|input| input(&mut fixture));
        let (stands, does, _) = told(&mut fixture);
        assert_eq!((&*stands, &*does), (state, actions));
    }
}

#[test]
fn an_application_protocol_is_compared_before_anything_is_asked() {
    let config = Config { sub_protocol: Some(Bytes::from_static(b"chat")), ..quiet() };
    let mut fixture = after(config, NAMES_1_4);
    assert!(fixture.request("a").is_ok());
    AGREED(&mut fixture);
    assert_eq!(fixture.labels(), ["Probe", "Dial", "Send 18"]);
    CONF_CHAT(&mut fixture);
    assert_eq!(fixture.labels(), ["Connected", "Send 7f"]);
}

#[test]
fn the_next_connection_needs_no_preflight() {
    let mut fixture = ready(1 << 20);
    fixture.lost();
    fixture.due();
    assert_eq!(fixture.labels(), ["Disconnected", "Dial"]);
    AGREED(&mut fixture);
    STATED(&mut fixture);
    assert_eq!(fixture.labels(), ["Send 18", "Connected"]);
    assert_eq!(fixture.client.dialect(), Dialect::Wwr1);
    // The server is replaced by one of 2.0, then by one of 1.4.
    fixture.lost();
    fixture.due();
    OPENED(&mut fixture);
    CONF(&mut fixture);
    assert_eq!(fixture.labels(), ["Disconnected", "Dial", "Connected"]);
    assert_eq!(fixture.client.dialect(), Dialect::V2_0);
    fixture.lost();
    fixture.due();
    OPENED(&mut fixture);
    DUE(&mut fixture);
    assert_eq!(fixture.labels(), ["Disconnected", "Dial", "Hangup", "Probe"]);
}

#[test]
fn messages_are_as_long_as_the_server_has_stated() {
    let mut fixture = ready(20_000);
    let request = |fixture: &mut Fixture, length| {
        fixture.client.request(fixture.now, name("a"), long(length), None, &mut fixture.out)
    };
    assert!(request(&mut fixture, 9000).is_ok());
    assert!(request(&mut fixture, 20_000 - 11).is_ok());
    let too_large = Misuse::TooLarge { length: 20_001, buffer: 20_000 };
    assert_eq!(request(&mut fixture, 20_000 - 10), Err(too_large));
    assert_eq!(fixture.signal("a", &long(9000)), Ok(()));
    assert_eq!(fixture.signal("a", &long(20_000 - 3)), Ok(()));
    assert!(fixture.signal("a", &long(20_000 - 2)).is_err());
    assert_eq!(fixture.signal("a", &Payload::EMPTY), Ok(()), "a name alone, too");
    // Every server of it reads as much.
    let mut fixture = ready(100);
    assert!(request(&mut fixture, 8192 - 11).is_ok());
    assert!(request(&mut fixture, 8192 - 10).is_err());
}

#[test]
fn queued_requests_are_sent_in_order_after_the_statement_of_the_server() {
    let mut fixture = after(auto(), NAMES_1_4);
    let mut ids = Vec::new();
    for length in [10, 9000, 10, 30_000, 10] {
        let (now, out) = (fixture.now, &mut fixture.out);
        ids.push(fixture.client.request(now, name("a"), long(length), None, out).unwrap());
    }
    AGREED(&mut fixture);
    fixture.labels();
    fixture.receive(conf(2, 60_000, 20_000, b""));
    let sent: Vec<_> = fixture.take().iter().map(size).collect();
    let too_large = alloc::format!("{} too large", ids[3]);
    assert_eq!(sent, ["-", "21", "9011", "21", &too_large, "21"]);
}

fn size(action: &Action) -> String {
    match action {
        Action::Send(frame) => frame.len().to_string(),
        Action::Done { id, outcome: Err(RequestError::TooLarge { .. }) } => {
            format!("{id} too large")
        }
        _ => "-".into(),
    }
}

#[test]
fn heartbeats_keep_the_connection_alive() {
    let mut fixture = ready(1 << 20);
    fixture.due();
    assert_eq!(fixture.labels(), ["Send 21"]);
    assert_eq!(fixture.now, Instant::from_millis(1000 + 45_000));
}

#[test]
fn a_session_is_resumed_and_only_the_reply_reports_its_end() {
    let mut fixture = ready(1 << 20);
    fixture.receive([b"\x15", SESSION.as_bytes()].concat());
    fixture.lost();
    fixture.due();
    AGREED(&mut fixture);
    STATED(&mut fixture);
    let labels = fixture.labels();
    assert_eq!(labels[labels.len() - 2..], ["Send 18", "Send 20 1"]);
    fixture.receive(frame(0xc0, 1, SESSION.as_bytes()));
    assert_eq!(fixture.labels(), ["SessionRestored", "Connected"]);
    let id = fixture.close_session().unwrap();
    fixture.receive(frame(0xbf, 2, b""));
    assert_eq!(fixture.labels(), ["Send 1f 2", "SessionClosed", &format!("Done {id}")]);
}

#[test]
fn errors_arrive_as_they_are_and_settings_of_a_server_are_odd() {
    let mut fixture = ready(1 << 20);
    let id = fixture.request("a").unwrap();
    fixture.labels();
    fixture.receive(frame(6, 1, b""));
    assert_eq!(fixture.outcomes(), [(id, Err(RequestError::Protocol))]);
    fixture.receive(SETTINGS);
    assert_eq!(fixture.labels(), ["Anomaly"]);
}

#[test]
fn a_server_that_has_not_answered_a_single_ping_is_given_twice_the_time() {
    for (answers, end) in [(false, 50), (true, 26)] {
        let config = Config { pings: pings(20_000, 5_000), ..Config::default() };
        let mut fixture = after(config, NAMES_1_4);
        AGREED(&mut fixture);
        STATED(&mut fixture);
        fixture.labels();
        let begin = fixture.now;
        if answers {
            fixture.due();
            assert_eq!(fixture.labels(), ["Ping"], "after a second");
            fixture.client.handle_pong(fixture.now);
        }
        while fixture.labels().last().is_none_or(|last| last != "Disconnected") {
            fixture.due();
        }
        // Its hook for new connections may run, before which it does not read.
        assert_eq!(fixture.now, begin + Duration::from_secs(end));
    }
}
