//! `wwr.1` between the two machines, to the byte, as section 10 of the protocol shows it.

use wwr::client::{self, Client, Event};
use wwr::handshake::{Key, SubProtocol};
use wwr::preflight::Metadata;
use wwr::server::gate::{self, Decision, Head, HttpVersion, Origins, Terms, decide};
use wwr::server::{Config, HubConfig};
use wwr::{Actions, Dialect, Instant};
use wwr_world::{Script, Sent, Way, with};

/// What the server reads, and what the client reads.
const STATED: &[u8] = b"\x17\x02\0\x60\xea\0\0\0\0\x10\0";
const SETTINGS: &[u8] = b"\x18\0\0\0\x01\x40\0";

/// The server's answer to the handshake of a client that offers this.
fn handshake(key: &Key, offers: Option<SubProtocol>, config: &Config) -> gate::Answer {
    let upgrade = [
        ("Host", "localhost"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", key.as_str()),
    ];
    let offer = offers.map(|offered| (SubProtocol::HEADER, offered.as_str()));
    let headers = upgrade.into_iter().chain(offer).map(|(name, value)| (name, value.as_bytes()));
    let head = Head::new("GET", "/", HttpVersion::Http11, headers);
    let terms = Terms {
        metadata: config.metadata(),
        origins: &Origins::SameHost,
        selects_wwr1: config.selects_wwr1(),
        shutting_down: false,
    };
    match decide(&head, &terms) {
        Decision::Ask { upgrade: Ok(accept) } => gate::Answer::switching(&accept),
        decision => panic!("{decision:?}"),
    }
}

/// What a client and a server agree on by HTTP: what the world takes for granted.
fn agreed(client: client::Config, config: &Config) -> Option<SubProtocol> {
    let (mut client, mut asks) = (Client::new(&client.validate().unwrap(), 1), Actions::new());
    client.connect(Instant::EPOCH, &mut asks);
    let key = Key::from_entropy([7; Key::ENTROPY]);
    let answer = handshake(&key, client.offers(), config);
    let headers = answer.headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    let agreed = key.check((1, 1), answer.status, headers, client.offers());
    agreed.expect("the handshake succeeds")
}

/// The lengths of the messages that go to the server, and of those that come back.
fn lengths(frames: &[Sent], way: Way) -> Vec<usize> {
    let that_way = frames.iter().filter(|sent| sent.way == way);
    that_way.map(|sent| sent.frame.len()).collect()
}

fn pairs(frames: Vec<Sent>) -> Vec<(Way, Vec<u8>)> {
    frames.into_iter().map(|sent| (sent.way, sent.frame.to_vec())).collect()
}

#[test]
fn the_bytes_are_those_of_the_document() {
    let mut script = Script::new(Config::default(), HubConfig::default());
    let ada = script.add_client(client::Config::default());
    let frames = script.frames(|script| {
        script.connect(ada);
        script.run();
    });
    // Neither waits for the other.
    assert_eq!(pairs(frames), [(Way::Down, STATED.into()), (Way::Up, SETTINGS.into())]);
    let socket = script.socket(ada);
    assert_eq!(script.client(ada).dialect(), Dialect::Wwr1);
    assert_eq!(script.dialect(socket), Some(Dialect::Wwr1));
    assert_eq!(script.peer_reads(socket), Some(16 << 20));
    assert_eq!(script.told(ada), [Event::Connected]);

    // More than the 8 KiB of 2.0, both ways.
    let frames = script.frames(|script| assert!(script.ask(ada, "long").is_ok()));
    let ask = format!("\x01\0\0\0\0\0\0\0\x04long0{}", " ".repeat(9000));
    let ask = [b"\x80", ask.as_bytes()].concat();
    let answer = b"\xc0\x01\0\0\0\0\0\0\x000 echo".to_vec();
    assert_eq!(pairs(frames), [(Way::Up, ask), (Way::Down, answer)]);
    let frames = script.frames(|script| assert!(script.ask(ada, "large").is_ok()));
    assert_eq!(lengths(&frames, Way::Down), [9 + 2 + 9000]);
    let frames = script.frames(|script| assert!(script.ask(ada, "shout").is_ok()));
    // None of UTF-16 without a payload: no version can read it.
    let signals = [2 + 5, 2 + 5, 2 + 5 + 9000, 2 + 5 + 1 + 8, 9 + 9];
    assert_eq!(lengths(&frames, Way::Down), signals);
    script.finish();
}

/// What was made before there was a connection is sent once the server has stated what it reads, in
/// order and whatever its length.
#[test]
fn requests_that_waited_are_sent_in_order() {
    let mut script = Script::new(Config::default(), HubConfig::default());
    let ada = script.add_client(client::Config::default());
    let frames = script.frames(|script| {
        script.connect(ada);
        let names = ["echo", "long", "echo", "long", "echo"];
        let made = names.map(|name| script.request(ada, name));
        script.run();
        assert!(made.iter().all(|id| script.outcome(ada, *id).is_ok()));
    });
    let up = [SETTINGS.len(), 15, 9015, 15, 9015, 15];
    assert_eq!(lengths(&frames, Way::Up), up);
    assert_eq!((&frames[0].frame[..], &frames[1].frame[..]), (STATED, SETTINGS));
    script.finish();
}

/// If one side does without, everything is as it was.
#[test]
fn without_an_offer_or_a_server_that_selects_it_2_0_is_spoken() {
    let silent = || with(client::Config::default(), |config| config.wwr1 = false);
    let offering = client::Config::default;
    let selecting = Config::default;
    let refusing = || with(Config::default(), |config| config.wwr1 = false);
    assert_eq!(selecting().metadata(), Some(Metadata::V1_4));
    assert_eq!(agreed(offering(), &selecting()), Some(SubProtocol::Wwr1));
    for (client, config) in
        [(silent(), selecting()), (offering(), refusing()), (silent(), refusing())]
    {
        assert_eq!(agreed(client.clone(), &config), None);
        let mut script = Script::new(config, HubConfig::default());
        let ada = script.add_client(client);
        let frames = script.frames(|script| {
            script.connect(ada);
            script.run_for_millis(400);
        });
        let conf = b"\x17\x02\0\x60\xea\0\0\0\x20\0\0".to_vec();
        // A heartbeat, so that the server does not take the client for one of 1.x.
        assert_eq!(pairs(frames), [(Way::Down, conf), (Way::Up, b"\x21".to_vec())]);
        assert_eq!(script.client(ada).dialect(), Dialect::V2_0);
        assert_eq!(script.dialect(script.socket(ada)), Some(Dialect::V2_0));
        script.finish();
    }
}
