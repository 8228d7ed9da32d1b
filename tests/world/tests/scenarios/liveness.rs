//! Liveness: pings, heartbeats, and peers that vanish without a close frame.

use std::time::Duration;

use wwr::Dialect;
use wwr::client::{Config, Event, Protocol};
use wwr::server::{CloseReason, Config as ServerConfig, Pings, Protocol as Server};
use wwr_world::{Act, ClientId, Kind, Script, Way, with};

use super::{SECOND, config, hub, limited};

/// One connection for each session; a read timeout of 4 s, pings after 2 s, 1 s for the answer.
fn watched(protocol: Server) -> ServerConfig {
    with(config(), |config| {
        config.protocol = protocol;
        config.advertised.read_timeout = 4 * SECOND;
        config.pings = Some(Pings::new(2 * SECOND, SECOND));
    })
}

fn client(script: &mut Script, protocol: Protocol) -> ClientId {
    connected(script, with(Config::default(), |config| config.protocol = protocol))
}

fn connected(script: &mut Script, config: Config) -> ClientId {
    let client = script.add_client(config);
    script.connect(client);
    script.run_for(SECOND);
    assert_eq!(script.told(client), [Event::Connected]);
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
        let mut script = Script::new(watched(server), limited(1));
        let [ada, bob] = [client(&mut script, protocol), client(&mut script, protocol)];
        assert_eq!(script.ask(ada, "login"), Ok("welcome".into()));
        let key = script.key(ada).expect("a session");
        let socket = script.socket(ada);
        // The last sign of life arrives 10 ms later, and no more.
        assert_eq!(script.signal(ada), Ok(()));
        script.run_for_millis(10);
        assert_eq!(script.dialect(socket), Some(dialect));
        script.silence(socket, Way::Up);
        script.silence(socket, Way::Down);

        // A handler has run since the last look at the peer, which counts as a sign of life if
        // there is a read timeout.
        let latest = if dialect == Dialect::V1_4 { seconds } else { 2 * seconds };
        script.run_for_millis(seconds * 1000 - 20);
        assert_eq!(script.closed(), [], "{server:?}, {protocol}");
        assert_eq!(script.holders(&key).len(), 1);
        script.run_for(Duration::from_secs(latest - seconds) + Duration::from_millis(20));
        assert_eq!(script.closed(), [(socket, CloseReason::Silent)], "{server:?}, {protocol}");

        let restored = script.restore(bob, &key);
        script.run();
        assert!(script.outcome(bob, restored).is_ok(), "the place is free");
        script.end_silence();
        script.close(ada);
        script.run();
        script.finish();
    }
}

#[test]
fn idle_peers_stay_whatever_they_speak() {
    for (server, protocol, dialect, _) in PEERS {
        let mut script = Script::new(watched(server), limited(1));
        let ada = client(&mut script, protocol);
        let socket = script.socket(ada);
        script.run_for(100 * SECOND);
        assert_eq!((script.socket(ada), script.told(ada)), (socket, vec![]), "{server:?}");
        assert_eq!(script.dialect(socket), Some(dialect), "{server:?}, {protocol}");
        // Clients that send heartbeats need no pings. The others get one for each time of silence.
        let pings = if dialect == Dialect::V1_4 { 40..=50 } else { 0..=1 };
        assert!(pings.contains(&script.pings()), "{server:?}: {}", script.pings());
        script.finish();
    }
}

#[test]
fn without_pings_a_silent_peer_is_left_to_the_host() {
    let settings = with(watched(Server::Any), |config| config.pings = None);
    let mut script = Script::new(settings, hub());
    let config = with(Config::default(), |config| {
        (config.protocol, config.pings) = (Protocol::V1_4, None);
    });
    let ada = connected(&mut script, config);
    let socket = script.socket(ada);
    script.silence(socket, Way::Up);
    script.silence(socket, Way::Down);
    script.run_for(1000 * SECOND);
    assert_eq!((script.closed().len(), script.connections()), (0, 1));
    script.end_silence();
    script.run();
    script.finish();
}

/// A thousand heartbeats a second hold nobody up, nor keep the server from noticing their end.
#[test]
fn a_storm_of_heartbeats_is_borne() {
    let mut script = Script::new(watched(Server::Any), limited(1));
    let storm = script.add_reference(Kind::Storm);
    let ada = client(&mut script, Protocol::Auto);
    script.act(storm, Act::Connect);
    script.run_for(5 * SECOND);
    let before = script.now();
    assert!(script.ask(ada, "echo").is_ok());
    assert_eq!(script.now(), before + Duration::from_millis(20));
    script.run_for(5 * SECOND);
    assert!((9_900..10_100).contains(&script.reference(storm).heartbeats()));
    let socket = script.reference(storm).socket().expect("it is connected");
    assert_eq!(script.dialect(socket), Some(Dialect::V2_0));
    script.silence(socket, Way::Up);
    script.run_for(4 * SECOND + Duration::from_millis(10));
    assert_eq!(script.closed(), [(socket, CloseReason::Silent)]);
}

/// The shortest read timeout of 1.5: a client that first waits for accept-conf is in time all the
/// same.
#[test]
fn the_first_heartbeat_is_in_time() {
    for protocol in [Protocol::V1_5, Protocol::Auto] {
        let mut settings = watched(Server::V1_5);
        settings.advertised.read_timeout = SECOND;
        let mut script = Script::new(settings, limited(1));
        let ada = client(&mut script, protocol);
        script.run_for(10 * SECOND);
        assert_eq!((script.told(ada), script.closed().len()), (vec![], 0), "{protocol}");
        script.finish();
    }
}
