//! Clients made by hand, after those of the references.

use std::time::Duration;

use bytes::Bytes;
use wwr::Dialect;
use wwr::server::Protocol;
use wwr_world::{Act, Death, Dice, Kind, Notice, ReferenceId, Script, request_names, with};

use super::{
    Cell, IDLE, MINUTE, SERVERS, closing_text, closing_types, hub, settings, table, types_of,
};

/// What becomes of a client and a server.
#[derive(Clone, Debug)]
enum Pair {
    /// What the server takes the client for, at once and when the client has been idle, and whether
    /// a session-closed message precedes the reply to close-session, then and then.
    Meet([Dialect; 2], [bool; 2]),
    /// The client gives up for good.
    Dies(Death),
    /// The client tries again and again.
    Fails,
    /// The client waits for ever.
    Waits,
}

fn clients() -> [(Kind, [Pair; 5]); 3] {
    use Dialect::{Unknown, V1_4, V2_0};
    use Pair::{Dies, Fails, Meet, Waits};
    [
        (
            Kind::Plain,
            [
                Meet([V1_4, V1_4], [true, true]),
                Dies(Death::OtherVersion),
                Dies(Death::NoMetadata),
                Meet([V1_4, V1_4], [true, true]),
                Dies(Death::OtherVersion),
            ],
        ),
        (
            Kind::Strict,
            [
                Fails,
                Fails,
                Meet([V2_0, V2_0], [false, false]),
                Meet([Unknown, V2_0], [true, false]),
                Meet([Unknown, V2_0], [true, false]),
            ],
        ),
        (
            Kind::Storm,
            [
                Waits,
                // It is disconnected after the read timeout.
                Fails,
                Meet([V2_0, V2_0], [false, false]),
                Meet([V2_0, V2_0], [false, false]),
                Meet([V2_0, V2_0], [false, false]),
            ],
        ),
    ]
}

const GUEST: ReferenceId = 0;

/// What happens as soon as the client made by hand has done this.
fn guest(script: &mut Script, act: Act) -> Vec<Notice> {
    script.noticed(GUEST);
    script.act(GUEST, act);
    script.run_for_millis(100);
    script.noticed(GUEST)
}

fn guest_logs_in(script: &mut Script) {
    let told = guest(script, Act::Request("login"));
    assert_eq!(told, [Notice::SessionCreated, Notice::Replied(0xc0)]);
}

fn each(situation: &str, play: impl Fn(&mut Script, [Dialect; 2], [bool; 2]) -> String) {
    table(situation, clients().map(|(kind, _)| format!("{kind:?}")), |row, column| {
        let (kind, pairs) = &clients()[row];
        let mut script = super::script(SERVERS[column]);
        script.add_reference(*kind);
        let told = guest(&mut script, Act::Connect);
        match &pairs[column] {
            Pair::Meet(dialects, closes) => {
                assert_eq!(told, [Notice::Connected]);
                return play(&mut script, *dialects, *closes);
            }
            Pair::Dies(death) => {
                assert_eq!(told, [Notice::Died(death.clone())]);
                script.run_for(MINUTE);
                assert_eq!(script.noticed(GUEST), []);
                "gives up"
            }
            Pair::Fails => {
                script.run_for(MINUTE);
                let told = script.noticed(GUEST);
                assert!(told.len() > 2 && told.iter().all(|told| *told == Notice::Failed));
                "fails"
            }
            Pair::Waits => {
                script.run_for(MINUTE);
                assert_eq!(script.noticed(GUEST), []);
                assert_eq!(script.connections(), 1);
                "waits"
            }
        }
        .into()
    });
}

#[test]
fn connecting_and_staying() {
    each("connect", |script, dialects, _| {
        let socket = script.reference(GUEST).socket().expect("it is connected");
        let mut learned: Vec<_> = script.dialect(socket).into_iter().collect();
        script.run_for(IDLE);
        learned.extend(script.dialect(socket));
        assert_eq!(learned, dialects);
        assert_eq!(script.noticed(GUEST), [], "an idle client stays");
        assert_eq!(script.reference(GUEST).socket(), Some(socket));
        let [first, later] = dialects;
        format!("as {first}, {later}")
    });
}

#[test]
fn logging_in() {
    each("login", |script, _, _| {
        guest_logs_in(script);
        assert_eq!(script.active_sessions(), 1);
        "created".into()
    });
}

#[test]
fn restoring_after_a_cut() {
    each("restore after a cut", |script, _, _| {
        guest_logs_in(script);
        let socket = script.reference(GUEST).socket().expect("it is connected");
        script.cut(socket);
        script.run_for(Duration::from_secs(3));
        let told = script.noticed(GUEST);
        assert_eq!(told, [Notice::Disconnected, Notice::Connected, Notice::SessionRestored]);
        assert_eq!(script.holders(&script.keys()[0]).len(), 1);
        "restored".into()
    });
}

#[test]
fn closing_the_session() {
    each("close session", |script, _, closes| {
        for told_before in closes {
            guest_logs_in(script);
            let socket = script.reference(GUEST).socket().expect("it is connected");
            let types = types_of(script, socket, |script| {
                let told = guest(script, Act::CloseSession);
                assert_eq!(told, [Notice::SessionClosed]);
            });
            assert_eq!(types, closing_types(told_before));
            assert_eq!(script.active_sessions(), 0);
            script.run_for(IDLE);
        }
        closes.map(closing_text).join(", ")
    });
}

#[test]
fn shutting_down() {
    each("shutdown", |script, _, _| {
        let slow = guest(script, Act::Request("slow"));
        assert_eq!(slow, []);
        script.shut_down(MINUTE);
        let late = guest(script, Act::Request("echo"));
        assert_eq!(late, [Notice::Replied(1)]);
        script.run_for(Duration::from_secs(10));
        let told = script.noticed(GUEST);
        assert_eq!(told[..2], [Notice::Replied(0xc0), Notice::Disconnected]);
        assert!(told.len() > 2 && told[2..].iter().all(|told| *told == Notice::Failed));
        script.start();
        script.run_for(Duration::from_secs(3));
        assert_eq!(script.noticed(GUEST).last(), Some(&Notice::Connected));
        "drained, back".into()
    });
}

/// Whatever the application does: a client as strict as the one of Go 2.0 never reads what would
/// kill it, and one of 1.4 is never given up.
#[test]
fn no_application_kills_a_client() {
    for (kind, pairs) in clients() {
        for (server, pair) in SERVERS.into_iter().zip(pairs) {
            if let Pair::Meet(..) = pair {
                let client = format!("{kind:?}");
                let _cell = Cell { situation: "any application", client: &client, server };
                let seeds = match kind {
                    Kind::Plain | Kind::Strict => 150,
                    // A thousand heartbeats a second take their time.
                    Kind::Storm => 5,
                };
                (0..seeds).for_each(|seed| soup(kind, server, seed));
            }
        }
    }
}

/// Messages that the references would not send, but others do.
const ODD: [&[u8]; 6] = [b"", b"\x07", b"\x7f", b"\x7f12345678\x09a", b"\x3f", b"\x16"];

fn soup(kind: Kind, server: Protocol, seed: u64) {
    let mut dice = Dice::seeded(seed);
    let config = with(settings(server), |config| config.strict = dice.chance(50));
    let mut script = Script::with_chance(seed, config, hub());
    let names: Vec<_> = request_names().collect();
    script.add_reference(kind);
    guest(&mut script, Act::Connect);
    for _ in 0..40 {
        match dice.below(20) {
            0..=12 => script.act(GUEST, Act::Request(dice.choose(&names))),
            13 => script.act(GUEST, Act::Signal),
            14 => script.act(GUEST, Act::CloseSession),
            15 => script.act(GUEST, Act::Send(Bytes::from_static(dice.choose(&ODD)))),
            16 => {
                if let Some(socket) = script.reference(GUEST).socket() {
                    script.cut(socket);
                }
            }
            17 => {
                if let Some(key) = script.keys().last().cloned() {
                    script.close_everywhere(&key, dice.chance(50));
                }
            }
            18 => script.shut_down(Duration::from_secs(1)),
            _ => script.start(),
        }
        script.run_for(dice.up_to(Duration::from_millis(300)));
        let died = |told: &Notice| matches!(told, Notice::Died(_));
        let told = script.noticed(GUEST);
        assert!(!told.iter().any(died), "seed {seed}: {told:?}");
    }
    script.start();
    script.run_for(Duration::from_secs(20));
    assert!(script.reference(GUEST).is_ready(), "seed {seed}: it comes back");
}
