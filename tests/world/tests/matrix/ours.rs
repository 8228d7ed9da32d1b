//! Our client.

use std::time::Duration;

use wwr::Dialect;
use wwr::client::{ConnectError, DisconnectReason, Event, Protocol, RequestError, Status};
use wwr::server::Protocol as Server;
use wwr_world::{ClientId, Script, with};

use super::{IDLE, MINUTE, SERVERS, closing_text, closing_types, table, types_of};

/// What becomes of a client and a server.
#[derive(Clone, Copy, Debug)]
enum Pair {
    Meet(Meeting),
    /// They do not. The client tells once, and does not try again unless it is asked to. The text
    /// of the error has these.
    Refuse(&'static [&'static str]),
    /// As `Refuse`, but the client cannot be sure and tries again.
    Doubt(&'static [&'static str]),
}

#[derive(Clone, Copy, Debug)]
struct Meeting {
    /// After so many milliseconds, of which a message takes 10 in each direction.
    after: u64,
    /// What the client speaks.
    client: Dialect,
    /// What the server takes it for: at once, and when the client has been idle.
    server: [Dialect; 2],
    /// Whether a session-closed message precedes the reply to close-session, then and then.
    told_of_close: [bool; 2],
}

const fn meet(after: u64, client: Dialect, server: [Dialect; 2], told_of_close: [bool; 2]) -> Pair {
    Pair::Meet(Meeting { after, client, server, told_of_close })
}

/// Each client, with what becomes of it at each of [`SERVERS`], in that order.
const TABLE: [(Protocol, [Pair; 5]); 4] = {
    use Dialect::{Unknown, V1_4, V1_5, V2_0};
    use Pair::{Doubt, Refuse};
    // Nothing is said that a client of 1.x could read.
    const NO_METADATA: Pair = Refuse(&["no WebWire server"]);
    const NO_CONF: Pair = Doubt(&["no accept-conf", "2.0", "1.4 or 1.5"]);
    const IS_1_4: &[&str] = &["speaks protocol version \"1.4\"", "only 1.5"];
    const IS_1_5: &[&str] = &["speaks protocol version \"1.5\"", "only 1.4"];
    [
        (
            Protocol::V1_4,
            [
                meet(40, V1_4, [V1_4, V1_4], [true, true]),
                Refuse(IS_1_5),
                NO_METADATA,
                meet(40, V1_4, [V1_4, V1_4], [true, true]),
                Refuse(IS_1_5),
            ],
        ),
        (
            Protocol::V1_5,
            [
                Refuse(IS_1_4),
                meet(40, V1_5, [V1_5, V1_5], [true, true]),
                NO_METADATA,
                Refuse(IS_1_4),
                meet(40, V1_5, [V1_5, V1_5], [true, true]),
            ],
        ),
        (
            Protocol::V2_0,
            [
                NO_CONF,
                NO_CONF,
                meet(20, V2_0, [V2_0, V2_0], [false, false]),
                meet(20, V2_0, [Unknown, V2_0], [true, false]),
                meet(20, V2_0, [Unknown, V2_0], [true, false]),
            ],
        ),
        (
            Protocol::Auto,
            [
                meet(40, V1_4, [V1_4, V1_4], [true, true]),
                meet(40, V1_5, [V1_5, V1_5], [true, true]),
                meet(40, V2_0, [V2_0, V2_0], [false, false]),
                meet(40, V2_0, [V2_0, V2_0], [false, false]),
                meet(40, V2_0, [V1_5, V1_5], [true, true]),
            ],
        ),
    ]
};

/// A client and a server, in a world of their own.
struct Scene {
    script: Script,
    pair: Pair,
    /// A server that the client gets along with.
    friend: Server,
    server: Server,
}

const ADA: ClientId = 0;

impl Scene {
    fn new(row: usize, column: usize) -> Self {
        let (protocol, pairs) = TABLE[row];
        let server = SERVERS[column];
        let mut script = super::script(server);
        script
            .add_client(with(wwr::client::Config::default(), |config| config.protocol = protocol));
        let friend = match protocol {
            Protocol::V1_4 => Server::V1_4,
            Protocol::V1_5 => Server::V1_5,
            Protocol::V2_0 | Protocol::Auto => Server::V2_0,
            other => panic!("{other} is not in the table"),
        };
        Self { script, pair: pairs[column], friend, server }
    }

    /// Connects, and lets heartbeats that are sent at once arrive.
    fn connect(&mut self) {
        self.script.connect(ADA);
        self.script.run_for_millis(400);
        assert_eq!(self.script.told(ADA), [Event::Connected]);
    }

    fn log_in(&mut self) {
        assert_eq!(self.script.ask(ADA, "login"), Ok("welcome".into()));
        let told = self.script.told(ADA);
        let [Event::SessionCreated(session)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(self.script.key(ADA).as_ref(), Some(&session.key));
        assert_eq!(self.script.holders(&session.key).len(), 1);
    }

    /// A session with a server of the client's own version, in whose place this one comes then.
    fn log_in_elsewhere(&mut self) {
        self.script.replace(self.friend);
        self.connect();
        self.log_in();
        self.script.replace(self.server);
        self.script.run_for(MINUTE);
        let told = self.script.told(ADA);
        let lost = matches!(told[0], Event::Disconnected { retry: Some(_), .. });
        assert!(lost && told.len() > 1, "{told:?}");
        self.check_errors(&told[1..]);
    }

    /// These are nothing but the errors that this pair is to have.
    fn check_errors(&self, told: &[Event]) {
        let (texts, again) = match self.pair {
            Pair::Refuse(texts) => (texts, false),
            Pair::Doubt(texts) => (texts, true),
            Pair::Meet(_) => panic!("they get along"),
        };
        for event in told {
            let Event::ConnectFailed { error, retry } = event else { panic!("{event:?}") };
            let error_text = error.to_string();
            assert!(texts.iter().all(|text| error_text.contains(text)), "{error_text}");
            assert_eq!((retry.is_some(), !error.is_definite()), (again, again), "{error_text}");
        }
        assert_eq!(told.len() > 1, again, "{told:?}");
        let status = self.script.client(ADA).status();
        assert_eq!(status == Status::Idle, !again, "{status:?}");
    }

    /// Replaces the server by one that the client can use. The client finds it by itself if it still
    /// tries, else as soon as it is asked to connect. Returns the last two events.
    fn meet_a_friend(&mut self) -> [Option<Event>; 2] {
        self.script.replace(self.friend);
        self.script.run_for(MINUTE);
        if let Pair::Refuse(_) = self.pair {
            assert_eq!(self.script.told(ADA), [], "nobody has asked");
            self.script.connect(ADA);
            self.script.run_for(MINUTE);
        }
        assert!(self.script.ask(ADA, "echo").is_ok());
        let mut told = self.script.told(ADA);
        let last = told.pop();
        [told.pop(), last]
    }
}

fn each(situation: &str, play: impl Fn(&mut Scene) -> String) {
    let clients = TABLE.iter().map(|(client, _)| client);
    table(situation, clients, |row, column| {
        let mut scene = Scene::new(row, column);
        let result = play(&mut scene);
        scene.script.finish();
        result
    });
}

#[test]
fn connecting() {
    each("connect", |scene| {
        scene.script.connect(ADA);
        let Pair::Meet(meeting) = scene.pair else {
            scene.script.run_for(MINUTE);
            let told = scene.script.told(ADA);
            scene.check_errors(&told);
            let [_, last] = scene.meet_a_friend();
            assert_eq!(last, Some(Event::Connected));
            let refused = matches!(scene.pair, Pair::Refuse(_));
            return if refused { "refused, once" } else { "refused, tries again" }.into();
        };
        scene.script.run_for_millis(meeting.after - 1);
        assert_eq!(scene.script.client(ADA).status(), Status::Connecting);
        scene.script.run_for_millis(1);
        assert_eq!(scene.script.told(ADA), [Event::Connected]);
        assert_eq!(scene.script.client(ADA).dialect(), meeting.client);
        let socket = scene.script.socket(ADA);
        let mut learned = Vec::new();
        for idle in [Duration::from_millis(50), IDLE] {
            scene.script.run_for(idle);
            learned.extend(scene.script.dialect(socket));
        }
        assert_eq!(learned, meeting.server);
        assert_eq!(scene.script.socket(ADA), socket, "an idle client stays");
        assert_eq!(scene.script.told(ADA), []);
        let [first, later] = meeting.server;
        format!("{}, as {first}, {later}", meeting.client)
    });
}

#[test]
fn logging_in() {
    each("login", |scene| {
        if let Pair::Meet(_) = scene.pair {
            scene.connect();
            scene.log_in();
            return "created".into();
        }
        scene.script.connect(ADA);
        let login = scene.script.request(ADA, "login");
        scene.script.run_for(MINUTE + Duration::from_millis(1));
        let expected = match scene.pair {
            Pair::Doubt(_) => RequestError::TimedOut { sent: false },
            Pair::Refuse(_) | Pair::Meet(_) => RequestError::NotSent,
        };
        assert_eq!(scene.script.outcome(ADA, login), Err(expected));
        assert!(scene.script.keys().is_empty());
        "not sent".into()
    });
}

#[test]
fn restoring_after_a_cut() {
    each("restore after a cut", |scene| {
        if let Pair::Meet(meeting) = scene.pair {
            scene.connect();
            scene.log_in();
            let key = scene.script.key(ADA).expect("a session");
            scene.script.cut(scene.script.socket(ADA));
            scene.script.run();
            let (reason, session) = scene.script.resumed(ADA);
            assert_eq!(reason, DisconnectReason::Lost);
            assert_eq!(session.key, key);
            assert_eq!(scene.script.holders(&key).len(), 1);
            assert_eq!(scene.script.client(ADA).dialect(), meeting.client);
            return "restored".into();
        }
        scene.log_in_elsewhere();
        let key = scene.script.key(ADA).expect("the session is still held");
        let [restored, connected] = scene.meet_a_friend();
        assert!(matches!(restored, Some(Event::SessionRestored(_))), "{restored:?}");
        assert_eq!(connected, Some(Event::Connected));
        assert_eq!(scene.script.key(ADA), Some(key));
        "kept for another".into()
    });
}

#[test]
fn closing_the_session() {
    each("close session", |scene| {
        if let Pair::Meet(meeting) = scene.pair {
            scene.connect();
            for told in meeting.told_of_close {
                scene.log_in();
                let socket = scene.script.socket(ADA);
                let types = types_of(&mut scene.script, socket, |script| {
                    let close = script.close_session(ADA);
                    script.run();
                    assert_eq!(script.outcome(ADA, close), Ok(String::new()));
                });
                assert_eq!(types, closing_types(told));
                assert_eq!(scene.script.told(ADA), [Event::SessionClosed]);
                let key = scene.script.keys().last().expect("it was made");
                assert!(!scene.script.store_keeps(key));
                scene.script.run_for(IDLE);
            }
            return meeting.told_of_close.map(closing_text).join(", ");
        }
        scene.log_in_elsewhere();
        let close = scene.script.close_session(ADA);
        assert_eq!(scene.script.outcome(ADA, close), Ok(String::new()));
        assert_eq!(scene.script.told(ADA), [Event::SessionClosed]);
        let [before, connected] = scene.meet_a_friend();
        assert!(!matches!(before, Some(Event::SessionRestored(_))), "it was closed");
        assert_eq!((connected, scene.script.key(ADA)), (Some(Event::Connected), None));
        "forgotten".into()
    });
}

#[test]
fn shutting_down() {
    each("shutdown", |scene| {
        let unavailable = |event: &Event| {
            let error = ConnectError::Unavailable;
            matches!(event, Event::ConnectFailed { error: is, retry: Some(_) } if *is == error)
        };
        if let Pair::Meet(_) = scene.pair {
            scene.connect();
            let slow = scene.script.request(ADA, "slow");
            scene.script.run_for_millis(50);
            scene.script.shut_down(MINUTE);
            let late = scene.script.request(ADA, "echo");
            scene.script.run_for(Duration::from_secs(7));
            assert!(scene.script.outcome(ADA, slow).is_ok());
            assert_eq!(scene.script.outcome(ADA, late), Err(RequestError::ServerShutdown));
            let told = scene.script.told(ADA);
            assert!(matches!(told[0], Event::Disconnected { retry: Some(_), .. }), "{told:?}");
            assert!(told.len() > 1 && told[1..].iter().all(unavailable), "{told:?}");
            scene.script.start();
            scene.script.run_for(MINUTE);
            let told = scene.script.told(ADA);
            let (last, before) = told.split_last().expect("it is up");
            assert!(*last == Event::Connected && before.iter().all(unavailable), "{told:?}");
            return "drained, back".into();
        }
        scene.script.shut_down(MINUTE);
        scene.script.connect(ADA);
        scene.script.run_for(Duration::from_secs(3));
        let told = scene.script.told(ADA);
        assert!(told.len() > 1 && told.iter().all(unavailable), "{told:?}");
        scene.script.start();
        scene.script.run_for(2 * MINUTE);
        let told: Vec<_> =
            scene.script.told(ADA).into_iter().filter(|event| !unavailable(event)).collect();
        scene.check_errors(&told);
        "waits, then refused".into()
    });
}
