//! What a 2.0 server advertises and a client keeps to: its message buffer, its read timeout.

use super::*;
use crate::wire::UnreadableSignal;

/// A connection of 2.0 is ready. The server's read timeout is in milliseconds.
fn ready_2_0(read_timeout: u32, buffer: u32) -> Fixture {
    let config = Config { protocol: Protocol::V2_0, reconnect: true, ..quiet() };
    let mut fixture = Fixture::new(config);
    fixture.connect();
    fixture.opened();
    fixture.receive(conf(2, read_timeout, buffer, b""));
    assert_eq!(fixture.labels(), ["Dial", "Connected"]);
    fixture
}

/// The times in milliseconds since the beginning at which heartbeats are sent within `span`.
fn heartbeats(fixture: &mut Fixture, span: u64) -> Vec<u128> {
    let begin = fixture.now;
    let mut times = Vec::new();
    while let Some(next) = fixture.client.next_timeout()
        && next <= begin + Duration::from_millis(span)
    {
        fixture.due();
        for action in fixture.take() {
            assert_eq!(action, Action::Send(Bytes::from_static(b"\x21")));
            times.push(fixture.now.saturating_since(begin).as_millis());
        }
    }
    times
}

#[test]
fn heartbeats_come_when_nothing_else_was_sent() {
    let mut fixture = ready_2_0(400, 8192);
    assert_eq!(heartbeats(&mut fixture, 1000), [300, 600, 900]);
    let sends: [fn(&mut Fixture); 4] = [
        |fixture| assert!(fixture.request("a").is_ok()),
        |fixture| assert!(fixture.restore("KEY1").is_ok()),
        |fixture| {
            fixture.receive([b"\x15", SESSION.as_bytes()].concat());
            assert!(fixture.close_session().is_ok());
        },
        |fixture| assert!(fixture.signal("a", &Payload::EMPTY).is_ok()),
    ];
    for send in sends {
        let mut fixture = ready_2_0(400, 8192);
        fixture.pass(Duration::from_millis(200));
        let timer = fixture.client.next_timeout();
        send(&mut fixture);
        assert_eq!(fixture.client.next_timeout(), timer, "the host's timer stays as it is");
        assert!(fixture.labels().last().unwrap().starts_with("Send"));
        assert_eq!(heartbeats(&mut fixture, 600), [300, 600]);
    }
    let mut silent = ready_2_0(400, 8192);
    silent.pass(Duration::from_millis(200));
    assert_eq!(heartbeats(&mut silent, 600), [100, 400]);
}

#[test]
fn received_messages_do_not_delay_heartbeats() {
    let mut fixture = ready_2_0(400, 8192);
    fixture.pass(Duration::from_millis(200));
    fixture.receive(&b"\x3f\x01ax"[..]);
    fixture.receive(&b"\x21"[..]);
    fixture.labels();
    assert_eq!(heartbeats(&mut fixture, 500), [100, 400]);
}

#[test]
fn the_read_timeout_says_how_often() {
    for (read_timeout, next) in [
        (0, None),
        (1, Some(10)),
        (13, Some(10)),
        (20, Some(15)),
        (60_000, Some(45_000)),
        (u32::MAX, Some(3_221_225_471)),
    ] {
        let fixture = ready_2_0(read_timeout, 8192);
        let pause = fixture.client.next_timeout().map(|next| next.saturating_since(fixture.now));
        assert_eq!(pause.map(|pause| pause.as_millis()), next, "{read_timeout}");
    }
}

#[test]
fn servers_of_1_5_get_heartbeats_and_those_of_1_4_do_not() {
    let read_timeout = Duration::from_secs(8);
    for (protocol, metadata, pause) in [
        (Protocol::V1_5, Metadata::V1_5 { read_timeout }, Some(Duration::from_secs(6))),
        (Protocol::Auto, Metadata::V1_5 { read_timeout }, Some(Duration::from_secs(6))),
        (Protocol::Auto, Metadata::V1_5 { read_timeout: Duration::MAX }, None),
        (Protocol::V1_4, Metadata::V1_4, None),
    ] {
        let mut fixture = Fixture::new(Config { protocol, ..quiet() });
        fixture.connect();
        fixture.probed(Ok(answer_of(metadata)));
        fixture.opened();
        fixture.timeout();
        assert_eq!(fixture.client.status(), Status::Connected);
        let next = fixture.client.next_timeout();
        assert_eq!(next, pause.map(|pause| fixture.now + pause));
    }
}

#[test]
fn heartbeats_end_with_the_connection_and_begin_with_the_next() {
    let mut fixture = ready_2_0(1, 8192);
    fixture.receive([b"\x15", SESSION.as_bytes()].concat());
    fixture.lost();
    fixture.labels();
    fixture.due();
    fixture.opened();
    assert_eq!(fixture.labels(), ["Dial"], "none while there is no connection");
    fixture.receive(conf(2, 1000, 8192, b""));
    assert_eq!(fixture.labels(), ["Send 20 1"]);
    assert_eq!(heartbeats(&mut fixture, 2000), [750, 1500], "while the session is resumed, too");
    fixture.close();
    assert_eq!(fixture.client.next_timeout(), None);
}

#[test]
fn nothing_longer_than_the_servers_buffer_is_sent() {
    let mut fixture = ready_2_0(0, 32);
    let request = |fixture: &mut Fixture, text: &str, payload: Payload| {
        fixture.client.request(fixture.now, name(text), payload, None, &mut fixture.out)
    };
    let fits = Payload::binary(alloc::vec![b'x'; 21]);
    request(&mut fixture, "a", fits).unwrap();
    let too_large = Err(Misuse::TooLarge { length: 33, buffer: 32 });
    assert_eq!(request(&mut fixture, "a", Payload::binary(alloc::vec![b'x'; 22])), too_large);
    let too_large = Err(Misuse::TooLarge { length: 34, buffer: 32 });
    assert_eq!(request(&mut fixture, "a", Payload::utf16("12345678901")), too_large);
    assert_eq!(fixture.labels(), ["Send 7f"]);

    let signal = Payload::binary(alloc::vec![b'x'; 29]);
    assert_eq!(fixture.signal("a", &signal), Ok(()));
    let refused = UnreadableSignal::TooLarge { length: 33, buffer: 32 };
    assert_eq!(fixture.signal("ab", &signal), Err(refused.into()));
    assert_eq!(fixture.labels(), ["Send 3f"]);

    let too_large = Err(Misuse::TooLarge { length: 33, buffer: 32 });
    assert_eq!(fixture.restore(&"k".repeat(24)), too_large);
    fixture.restore(&"k".repeat(23)).unwrap();
    assert_eq!(fixture.client.pending_requests(), 2);
}

#[test]
fn a_request_that_waited_and_is_too_large_fails_alone() {
    let mut fixture = ready_2_0(0, 8192);
    fixture.lost();
    let first = fixture.request("a").unwrap();
    let second = fixture.request("a name of more than twenty bytes").unwrap();
    let third = fixture.restore(&"k".repeat(24)).unwrap();
    let fourth = fixture.request("b").unwrap();
    fixture.due();
    fixture.opened();
    fixture.labels();
    fixture.receive(conf(2, 0, 30, b""));
    let actions = fixture.take();
    let too_large = |length| Err(RequestError::TooLarge { length, buffer: 30 });
    assert_eq!(
        actions,
        [
            Action::Event(Event::Connected),
            Action::Send(frame(0x7f, first.identifier().counter(), b"\x01a")),
            Action::Done { id: second, outcome: too_large(42) },
            Action::Done { id: third, outcome: too_large(33) },
            Action::Send(frame(0x7f, fourth.identifier().counter(), b"\x01b")),
        ]
    );
    assert_eq!((fixture.client.pending_requests(), fixture.client.queued_bytes()), (2, 0));
    assert!(fixture.restore("k").is_ok(), "nothing is being restored any more");
}

#[test]
fn a_session_whose_key_is_too_long_to_ask_for_is_lost() {
    let mut fixture = ready_2_0(0, 8192);
    fixture.receive([b"\x15", SESSION.as_bytes()].concat());
    for (buffer, actions) in [(13, &["Send 20 1"][..]), (12, &["SessionLost", "Connected"])] {
        fixture.lost();
        fixture.due();
        fixture.opened();
        fixture.labels();
        fixture.receive(conf(2, 0, buffer, b""));
        if let [Action::Event(Event::SessionLost(loss)), _] =
            fixture.out.iter().collect::<Vec<_>>()[..]
        {
            assert_eq!(*loss, SessionLoss::Refused);
        }
        assert_eq!(fixture.labels(), actions);
    }
}

#[test]
fn servers_of_1_x_take_messages_of_any_length() {
    let mut fixture = Fixture::ready(v1_4());
    let large = Payload::binary(alloc::vec![b'x'; 100_000]);
    fixture.signal("a", &large).unwrap();
    fixture.client.request(fixture.now, name("a"), large, None, &mut fixture.out).unwrap();
    assert_eq!(fixture.labels(), ["Send 3f", "Send 7f"]);
}

/// The server counts from the opening of the WebSocket, however long its accept-conf takes.
#[test]
fn the_first_heartbeat_counts_from_the_opening() {
    let mut fixture = Fixture::new(Config { protocol: Protocol::V2_0, ..quiet() });
    fixture.connect();
    fixture.opened();
    fixture.pass(Duration::from_millis(250));
    fixture.receive(conf(2, 1000, 8192, b""));
    assert_eq!(fixture.labels(), ["Dial", "Connected"]);
    let rest = heartbeats(&mut fixture, 2000);
    assert_eq!(rest, [500, 1250, 2000], "250 ms were for accept-conf, and 750 ms is the pause");
}

/// With a server of 1.x that turns out to speak 2.0: what was sent before cannot be taken back.
#[test]
fn the_message_buffer_counts_from_the_accept_conf_on() {
    let mut fixture = Fixture::new(quiet());
    fixture.connect();
    fixture.dialing();
    fixture.opened();
    fixture.timeout();
    let large = || Payload::binary(alloc::vec![b'x'; 100]);
    let request = |fixture: &mut Fixture| {
        fixture.client.request(fixture.now, name("a"), large(), None, &mut fixture.out)
    };
    let sent = request(&mut fixture).unwrap();
    assert_eq!(
        fixture.signal("a", &Payload::EMPTY),
        Err(Misuse::UnreadableSignal(UnreadableSignal::NeedsPayload)),
        "1.4 does not read it"
    );
    assert_eq!(fixture.labels(), ["Probe", "Dial", "Connected", "Send 7f"]);
    fixture.receive(conf(2, 1000, 64, b""));
    assert_eq!(fixture.labels(), ["Send 21"], "so that the server knows");
    assert_eq!(request(&mut fixture), Err(Misuse::TooLarge { length: 111, buffer: 64 }));
    assert_eq!(fixture.signal("a", &Payload::EMPTY), Ok(()));
    fixture.receive(frame(0xbf, 1, b"y"));
    assert_eq!(fixture.labels(), ["Send 3f", &format!("Done {sent}")]);
    assert_eq!(heartbeats(&mut fixture, 1600), [750, 1500]);
}
