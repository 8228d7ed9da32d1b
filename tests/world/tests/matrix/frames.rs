//! The messages between our client and each server, to the byte and in order.

use wwr::Dialect;
use wwr::client::{Config, Event, Protocol};
use wwr_world::{ClientId, Script, Way, with};

use super::{SERVERS, hub, settings, table};

type Frames = &'static [(Way, &'static [u8])];

/// What is sent when they connect, whether a session-closed message goes down before the reply to
/// close-session, and what the client speaks.
#[derive(Clone, Copy)]
struct Talk(Frames, bool, Dialect);

/// A client: which protocol it is set to, and whether it and the server do `wwr.1`.
type Row = (Protocol, bool, [Option<Talk>; 5]);

const ADA: ClientId = 0;

const ACCEPT_CONF: (Way, &[u8]) = (Way::Down, b"\x17\x02\0\x40\x1f\0\0\0\x20\0\0");
/// As long a message as the server reads, instead of the buffer of 2.0.
const STATEMENT: (Way, &[u8]) = (Way::Down, b"\x17\x02\0\x40\x1f\0\0\0\0\x10\0");
const CLIENT_SETTINGS: (Way, &[u8]) = (Way::Up, b"\x18\0\0\0\x01\x40\0");
const HEARTBEAT: (Way, &[u8]) = (Way::Up, b"\x21");

const LOG_IN: (Way, &[u8]) = (Way::Up, b"\x80\x01\0\0\0\0\0\0\0\x05login0");
const CREATED: (Way, &[u8]) = (
    Way::Down,
    b"\x15{\"k\":\"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\
      \"c\":\"1970-01-01T00:00:01Z\",\"l\":\"1970-01-01T00:00:01Z\",\"i\":{\"number\":1}}",
);
const WELCOME: (Way, &[u8]) = (Way::Down, b"\xc0\x01\0\0\0\0\0\0\x000 welcome");
const ECHO: (Way, &[u8]) = (Way::Up, b"\x80\x02\0\0\0\0\0\0\0\x04echo1");
const ECHOED: (Way, &[u8]) = (Way::Down, b"\xc0\x02\0\0\0\0\0\0\x001 echo");
const FAIL: (Way, &[u8]) = (Way::Up, b"\x80\x03\0\0\0\0\0\0\0\x04fail2");
const FAILED: (Way, &[u8]) = (Way::Down, b"\0\x03\0\0\0\0\0\0\0\x04FAIL2 as you wished");
const CRASH: (Way, &[u8]) = (Way::Up, b"\x80\x04\0\0\0\0\0\0\0\x05crash3");
const CRASHED: (Way, &[u8]) = (Way::Down, b"\x02\x04\0\0\0\0\0\0\0");
const CLOSE_SESSION: (Way, &[u8]) = (Way::Up, b"\x1f\x05\0\0\0\0\0\0\0");
const SESSION_CLOSED: (Way, &[u8]) = (Way::Down, b"\x16");
const CLOSED: (Way, &[u8]) = (Way::Down, b"\xbf\x05\0\0\0\0\0\0\0");

/// Each client, with what is sent between it and each of [`SERVERS`], in that order; `None` if they do
/// not get along.
const TABLE: [Row; 8] = {
    use Dialect::{V1_4, V1_5, V2_0, Wwr1};
    const OLD: Frames = &[];
    // Clients of 1.x ignore it (protocol §4.5).
    const NEW: Frames = &[ACCEPT_CONF];
    // It says that it speaks 2.0.
    const PROVES: Frames = &[ACCEPT_CONF, HEARTBEAT];
    const AGREED: Option<Talk> = Some(Talk(&[STATEMENT, CLIENT_SETTINGS], false, Wwr1));
    let of_1_4 = [Some(Talk(OLD, true, V1_4)), None, None, Some(Talk(NEW, true, V1_4)), None];
    let of_1_5 = [None, Some(Talk(OLD, true, V1_5)), None, None, Some(Talk(NEW, true, V1_5))];
    let of_2_0 = [
        None,
        None,
        Some(Talk(NEW, false, V2_0)),
        Some(Talk(NEW, true, V2_0)),
        Some(Talk(NEW, true, V2_0)),
    ];
    let auto = [
        Some(Talk(OLD, true, V1_4)),
        Some(Talk(OLD, true, V1_5)),
        Some(Talk(NEW, false, V2_0)),
        Some(Talk(PROVES, false, V2_0)),
        Some(Talk(PROVES, true, V2_0)),
    ];
    let agreeing = [auto[0], auto[1], AGREED, AGREED, AGREED];
    [
        (Protocol::V1_4, false, of_1_4),
        (Protocol::V1_5, false, of_1_5),
        (Protocol::V2_0, false, of_2_0),
        (Protocol::Auto, false, auto),
        // Set to one version, it speaks that.
        (Protocol::V1_4, true, of_1_4),
        (Protocol::V1_5, true, of_1_5),
        (Protocol::V2_0, true, of_2_0),
        (Protocol::Auto, true, agreeing),
    ]
};

#[track_caller]
fn expect(script: &mut Script, what: impl FnOnce(&mut Script), expected: &[(Way, &[u8])]) {
    let sent = script.frames(|script| {
        what(script);
        script.run_for_millis(400);
    });
    let sent: Vec<_> = sent.iter().map(|sent| (sent.way, &sent.frame[..])).collect();
    assert_eq!(sent, expected);
}

#[test]
fn every_message_of_every_pair() {
    let names =
        TABLE.map(|(protocol, wwr1, _)| format!("{protocol}{}", if wwr1 { ", wwr.1" } else { "" }));
    table("messages", names, |row, column| {
        let (protocol, wwr1, talks) = TABLE[row];
        let config = with(settings(SERVERS[column]), |config| config.wwr1 = wwr1);
        let script = &mut Script::new(config, hub());
        script.add_client(with(Config::default(), |config| {
            (config.protocol, config.wwr1) = (protocol, wwr1);
        }));
        let connect = |script: &mut Script| script.connect(ADA);
        let Some(Talk(first, told_of_close, dialect)) = talks[column] else {
            expect(script, connect, &[]);
            assert!(!script.told(ADA).contains(&Event::Connected));
            return "none";
        };
        expect(script, connect, first);
        assert_eq!(script.told(ADA), [Event::Connected]);
        assert_eq!(script.client(ADA).dialect(), dialect);
        let ask = |name: &'static str| move |script: &mut Script| _ = script.request(ADA, name);
        expect(script, ask("login"), &[LOG_IN, CREATED, WELCOME]);
        expect(script, ask("echo"), &[ECHO, ECHOED]);
        expect(script, ask("fail"), &[FAIL, FAILED]);
        expect(script, ask("crash"), &[CRASH, CRASHED]);
        let close = |script: &mut Script| _ = script.close_session(ADA);
        if told_of_close {
            expect(script, close, &[CLOSE_SESSION, SESSION_CLOSED, CLOSED]);
        } else {
            expect(script, close, &[CLOSE_SESSION, CLOSED]);
        }
        script.finish();
        "to the byte"
    });
}
