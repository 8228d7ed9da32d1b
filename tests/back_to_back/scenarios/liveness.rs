//! Who is still there: pings, heartbeats, and peers that are gone without a word.

use std::time::Duration;

use wwr::client::{Config, Event, Protocol};
use wwr::server::{CloseReason, Pings, Protocol as Server};
use wwr::session::RegistryConfig;
use wwr::{Dialect, Payload, Valid};

use crate::fabric::{ClientId, Way};
use crate::reference::{Kind, Reference};
use crate::server::Settings;
use crate::world::{World, configured, limited};

const SECOND: Duration = Duration::from_secs(1);

/// One connection for each session; a read timeout of 4 s, pings after 2 s, 1 s for the answer.
fn watched(protocol: Server) -> Settings {
    let mut settings = limited(1);
    let config = &mut settings.connection;
    config.protocol = protocol;
    config.advertised.read_timeout = 4 * SECOND;
    config.pings = Some(Pings::new(2 * SECOND, SECOND));
    settings
}

fn client(world: &mut World, protocol: Protocol) -> ClientId {
    connected(world, configured(|config| config.protocol = protocol))
}

fn connected(world: &mut World, config: Valid<Config>) -> ClientId {
    let client = world.client(config);
    world.connect(client);
    world.run_for(SECOND);
    assert_eq!(world.told(client), [Event::Connected]);
    client
}

/// Servers and clients that meet, what the server takes the client for at the end, and how long
/// after the last message it gives the client up, in seconds.
const PEERS: [(Server, Protocol, Dialect, u64); 6] = [
    (Server::V1_4, Protocol::V1_4, Dialect::V1_4, 3),
    (Server::Any, Protocol::V1_4, Dialect::V1_4, 3),
    (Server::V1_5, Protocol::V1_5, Dialect::V1_5, 4),
    (Server::AnyAs1_5, Protocol::V1_5, Dialect::V1_5, 4),
    (Server::V2_0, Protocol::V2_0, Dialect::V2_0, 4),
    (Server::Any, Protocol::Auto, Dialect::V2_0, 4),
];

#[test]
fn a_peer_that_is_gone_leaves_its_place_in_the_session() {
    for (server, protocol, dialect, seconds) in PEERS {
        let mut world = World::scripted(watched(server));
        let [ada, bob] = [client(&mut world, protocol), client(&mut world, protocol)];
        assert_eq!(world.ask(ada, "login"), Ok(Payload::utf8("welcome")));
        let key = world.key(ada).expect("a session");
        let socket = world.socket(ada);
        // The last sign of life arrives 10 ms later, and no more.
        let World { clients, fabric, .. } = &mut world;
        assert_eq!(clients[ada].signal(fabric), Ok(()));
        world.run_for_millis(10);
        assert_eq!(world.server.dialect(socket), Some(dialect));
        world.fabric.silence(socket, Way::Up);
        world.fabric.silence(socket, Way::Down);

        // A handler has run since the last look at the peer, which counts as a sign of life if
        // there is a read timeout.
        let latest = if dialect == Dialect::V1_4 { seconds } else { 2 * seconds };
        world.run_for_millis(seconds * 1000 - 20);
        assert_eq!(world.server.closed, [], "{server:?}, {protocol}");
        assert_eq!(world.server.registry.connection_count(&key), 1);
        world.run_for(Duration::from_secs(latest - seconds) + Duration::from_millis(20));
        assert_eq!(world.server.closed, [(socket, CloseReason::Silent)], "{server:?}, {protocol}");

        let restored = world.restore(bob, &key).expect("a possible call");
        world.run();
        assert!(world.outcome(bob, restored).is_ok(), "the place is free");
        world.fabric.cut_silent();
        world.close(ada);
        world.run();
        world.finish();
    }
}

#[test]
fn idle_peers_stay_whatever_they_speak() {
    for (server, protocol, dialect, _) in PEERS {
        let mut world = World::scripted(watched(server));
        let ada = client(&mut world, protocol);
        let socket = world.socket(ada);
        world.run_for(100 * SECOND);
        assert_eq!((world.socket(ada), world.told(ada)), (socket, vec![]), "{server:?}");
        assert_eq!(world.server.dialect(socket), Some(dialect), "{server:?}, {protocol}");
        // Those who send heartbeats need no pings, the others get one for each time of silence.
        let pings = if dialect == Dialect::V1_4 { 40..=50 } else { 0..=1 };
        assert!(pings.contains(&world.server.pings), "{server:?}: {}", world.server.pings);
        world.finish();
    }
}

#[test]
fn without_pings_a_silent_peer_is_left_to_the_host() {
    let mut settings = watched(Server::Any);
    settings.connection.pings = None;
    settings.registry = RegistryConfig::default();
    let mut world = World::scripted(settings);
    let config = configured(|config| (config.protocol, config.pings) = (Protocol::V1_4, None));
    let ada = connected(&mut world, config);
    let socket = world.socket(ada);
    world.fabric.silence(socket, Way::Up);
    world.fabric.silence(socket, Way::Down);
    world.run_for(1000 * SECOND);
    assert_eq!((world.server.closed.len(), world.server.connections.len()), (0, 1));
    world.fabric.cut_silent();
    world.run();
    world.finish();
}

/// A thousand heartbeats a second hold nobody up, nor keep the server from noticing their end.
#[test]
fn a_storm_of_heartbeats_is_borne() {
    let mut world = World::scripted(watched(Server::Any));
    let storm = world.reference(Kind::Storm);
    let ada = client(&mut world, Protocol::Auto);
    let World { references, fabric, .. } = &mut world;
    Reference::connect(&mut references[storm], fabric);
    world.run_for(5 * SECOND);
    let before = world.fabric.now;
    assert!(world.ask(ada, "echo").is_ok());
    assert_eq!(world.fabric.now, before + Duration::from_millis(20));
    world.run_for(5 * SECOND);
    assert!((9_900..10_100).contains(&world.references[storm].heartbeats));
    let socket = world.references[storm].socket().expect("it is connected");
    assert_eq!(world.server.dialect(socket), Some(Dialect::V2_0));
    world.fabric.silence(socket, Way::Up);
    world.run_for(4 * SECOND + Duration::from_millis(10));
    assert_eq!(world.server.closed, [(socket, CloseReason::Silent)]);
}

/// The shortest read timeout of 1.5: a client that first waits for accept-conf is in time all the
/// same.
#[test]
fn the_first_heartbeat_is_in_time() {
    for protocol in [Protocol::V1_5, Protocol::Auto] {
        let mut settings = watched(Server::V1_5);
        settings.connection.advertised.read_timeout = SECOND;
        let mut world = World::scripted(settings);
        let ada = client(&mut world, protocol);
        world.run_for(10 * SECOND);
        assert_eq!((world.told(ada), world.server.closed.len()), (vec![], 0), "{protocol}");
        world.finish();
    }
}
