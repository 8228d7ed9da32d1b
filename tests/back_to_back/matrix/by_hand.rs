//! Clients made by hand, after those of the references.

use std::time::Duration;

use bytes::Bytes;
use wwr::Dialect;

use super::{Cell, IDLE, MINUTE, SERVERS, closing_text, closing_types, settings, table};
use crate::application::DEEDS;
use crate::dice::Dice;
use crate::fabric::Conditions;
use crate::reference::{Death, Kind, Reference, Told};
use crate::server::State;
use crate::world::World;

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

impl World {
    /// What happens as soon as the client made by hand has done this.
    fn guest(
        &mut self,
        does: impl FnOnce(&mut Reference, &mut crate::fabric::Fabric),
    ) -> Vec<Told> {
        let Self { references, fabric, .. } = self;
        references[0].told();
        does(&mut references[0], fabric);
        self.run_for_millis(100);
        self.references[0].told()
    }

    fn guest_logs_in(&mut self) {
        let told = self.guest(|guest, fabric| guest.request("login", fabric));
        assert_eq!(told, [Told::SessionCreated, Told::Replied(0xc0)]);
    }
}

fn each(situation: &str, play: impl Fn(&mut World, [Dialect; 2], [bool; 2]) -> String) {
    table(situation, clients().map(|(kind, _)| format!("{kind:?}")), |row, column| {
        let (kind, pairs) = &clients()[row];
        let mut world = World::scripted(settings(SERVERS[column]));
        world.reference(*kind);
        let told = world.guest(Reference::connect);
        match &pairs[column] {
            Pair::Meet(dialects, closes) => {
                assert_eq!(told, [Told::Connected]);
                return play(&mut world, *dialects, *closes);
            }
            Pair::Dies(death) => {
                assert_eq!(told, [Told::Died(death.clone())]);
                world.run_for(MINUTE);
                assert_eq!(world.references[0].told(), []);
                "gives up"
            }
            Pair::Fails => {
                world.run_for(MINUTE);
                let told = world.references[0].told();
                assert!(told.len() > 2 && told.iter().all(|told| *told == Told::Failed));
                "fails"
            }
            Pair::Waits => {
                world.run_for(MINUTE);
                assert_eq!(world.references[0].told(), []);
                assert_eq!(world.server.connections.len(), 1);
                "waits"
            }
        }
        .into()
    });
}

#[test]
fn connecting_and_staying() {
    each("connect", |world, dialects, _| {
        let socket = world.references[0].socket().expect("it is connected");
        let mut learned: Vec<_> = world.server.dialect(socket).into_iter().collect();
        world.run_for(IDLE);
        learned.extend(world.server.dialect(socket));
        assert_eq!(learned, dialects);
        assert_eq!(world.references[0].told(), [], "an idle client stays");
        assert_eq!(world.references[0].socket(), Some(socket));
        let [first, later] = dialects;
        format!("as {first}, {later}")
    });
}

#[test]
fn logging_in() {
    each("login", |world, _, _| {
        world.guest_logs_in();
        assert_eq!(world.server.registry.active_sessions(), 1);
        "created".into()
    });
}

#[test]
fn restoring_after_a_cut() {
    each("restore after a cut", |world, _, _| {
        world.guest_logs_in();
        let socket = world.references[0].socket().expect("it is connected");
        world.fabric.cut(socket);
        world.run_for(Duration::from_secs(3));
        let told = world.references[0].told();
        assert_eq!(told, [Told::Disconnected, Told::Connected, Told::SessionRestored]);
        assert_eq!(world.server.registry.connection_count(&world.server.keys[0]), 1);
        "restored".into()
    });
}

#[test]
fn closing_the_session() {
    each("close session", |world, _, closes| {
        for told_before in closes {
            world.guest_logs_in();
            let socket = world.references[0].socket().expect("it is connected");
            let types = world.types_of(socket, |world| {
                let told = world.guest(Reference::close_session);
                assert_eq!(told, [Told::SessionClosed]);
            });
            assert_eq!(types, closing_types(told_before));
            assert_eq!(world.server.registry.active_sessions(), 0);
            world.run_for(IDLE);
        }
        closes.map(closing_text).join(", ")
    });
}

#[test]
fn shutting_down() {
    each("shutdown", |world, _, _| {
        let slow = world.guest(|guest, fabric| guest.request("slow", fabric));
        assert_eq!(slow, []);
        world.shut_down(MINUTE);
        let late = world.guest(|guest, fabric| guest.request("echo", fabric));
        assert_eq!(late, [Told::Replied(1)]);
        world.run_for(Duration::from_secs(10));
        let told = world.references[0].told();
        assert_eq!(told[..2], [Told::Replied(0xc0), Told::Disconnected]);
        assert!(told.len() > 2 && told[2..].iter().all(|told| *told == Told::Failed));
        world.server.start();
        world.run_for(Duration::from_secs(3));
        assert_eq!(world.references[0].told().last(), Some(&Told::Connected));
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

fn soup(kind: Kind, server: wwr::server::Protocol, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut settings = settings(server);
    settings.connection.strict = dice.chance(50);
    let conditions =
        Conditions { latency: Duration::from_millis(5), jitter: Duration::from_millis(5) };
    let mut world = World::new(seed, conditions, settings);
    world.reference(kind);
    world.guest(Reference::connect);
    for _ in 0..40 {
        let World { references, fabric, server, .. } = &mut world;
        let guest = &mut references[0];
        match dice.below(20) {
            0..=12 => guest.request(dice.choose(&DEEDS).0, fabric),
            13 => guest.signal(fabric),
            14 => guest.close_session(fabric),
            15 => guest.send_bytes(Bytes::from_static(dice.choose(&ODD)), fabric),
            16 => {
                if let Some(socket) = guest.socket() {
                    fabric.cut(socket);
                }
            }
            17 if !server.keys.is_empty() => {
                let key = server.keys[server.keys.len() - 1].clone();
                server.close_key(&key, dice.chance(50), fabric);
            }
            18 => server.shut_down(Duration::from_secs(1), fabric),
            _ => server.start(),
        }
        world.run_for(dice.up_to(Duration::from_millis(300)));
        let died = |told: &Told| matches!(told, Told::Died(_));
        let told = world.references[0].told();
        assert!(!told.iter().any(died), "seed {seed}: {told:?}");
    }
    world.server.start();
    assert_eq!(world.server.state, State::Up);
    world.run_for(Duration::from_secs(20));
    assert!(world.references[0].is_ready(), "seed {seed}: it comes back");
}
