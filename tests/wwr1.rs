//! `wwr.1` between the two machines, to the byte, as section 10 of the protocol shows it.

use bytes::Bytes;
use wwr::client::{self, Client, Event};
use wwr::handshake::{Key, SubProtocol};
use wwr::preflight::{Answer, Metadata};
use wwr::server::gate::{self, Decision, Head, HttpVersion, Origins, Terms, decide};
use wwr::server::{self, Connection, Observed};
use wwr::{Actions, Dialect, Instant, Name, Payload};

const NOW: Instant = Instant::EPOCH;

/// What the server reads, and what the client reads.
const STATED: &[u8] = b"\x17\x02\0\x60\xea\0\0\0\0\x10\0";
const SETTINGS: &[u8] = b"\x18\0\0\0\x01";

/// Both sides, and the frames that are under way.
struct Pair {
    client: Client,
    asks: Actions<client::Action>,
    connection: Connection,
    does: Actions<server::Action>,
    events: Vec<client::Action>,
}

/// The server's answer to the handshake of a client that offers this.
fn handshake(key: &Key, offers: Option<SubProtocol>, config: &server::Config) -> gate::Answer {
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

impl Pair {
    /// Connected as far as the handshake.
    fn new(client: client::Config, config: &server::Config) -> Self {
        let (mut client, mut asks) = (Client::new(client, 1), Actions::new());
        client.connect(NOW, &mut asks);
        assert_eq!(asks.pop(), Some(client::Action::Probe));
        let metadata = config.metadata().map_or_else(Bytes::new, |it| it.to_body());
        let answer = Answer { status: 200, body: metadata, retry_after: None };
        client.handle_probed(NOW, Ok(answer), &mut asks);
        assert_eq!(asks.pop(), Some(client::Action::Dial));
        let key = Key::from_entropy([7; Key::ENTROPY]);
        let answer = handshake(&key, client.offers(), config);
        let headers = answer.headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let agreed = key.check((1, 1), answer.status, headers, client.offers());
        let agreed = agreed.expect("the handshake succeeds");
        let observed = match agreed {
            Some(SubProtocol::Wwr1) => Observed::SubProtocol,
            _ => Observed::Nothing,
        };
        let mut does = Actions::new();
        let connection = Connection::accept(config, observed, NOW, &mut does);
        client.handle_opened(NOW, agreed, &mut asks);
        Self { client, asks, connection, does, events: Vec::new() }
    }

    /// Carries frames until there are no more, with an application that echoes. Returns them; what
    /// follows from a frame of the client comes after it.
    fn run(&mut self) -> Vec<(char, Bytes)> {
        let mut carried = Vec::new();
        while !self.asks.is_empty() || !self.does.is_empty() {
            if let Some(action) = self.asks.pop() {
                match action {
                    client::Action::Send(frame) => {
                        self.connection.handle_message(NOW, frame.clone(), &mut self.does);
                        carried.push(('C', frame));
                    }
                    action => self.events.push(action),
                }
            }
            while let Some(action) = self.does.pop() {
                match action {
                    server::Action::Send(frame) => {
                        self.client.handle_message(NOW, frame.clone(), &mut self.asks);
                        carried.push(('S', frame));
                    }
                    server::Action::Request(request) => {
                        let payload = Ok(request.content.into_payload());
                        let replied = self.connection.reply(request.id, payload, &mut self.does);
                        assert_eq!(replied, Ok(()));
                    }
                    server::Action::Signal(signal) => {
                        let (name, payload) = (Name::default(), signal.content.into_payload());
                        let sent = self.connection.signal(&name, &payload, &mut self.does);
                        assert_eq!(sent, Ok(()));
                        let handled = self.connection.signal_handled(signal.id, &mut self.does);
                        assert_eq!(handled, Ok(()));
                    }
                    server::Action::PeerReads(_) | server::Action::Learned(_) => {}
                    action => panic!("{action:?}"),
                }
            }
        }
        carried
    }
}

#[test]
fn the_bytes_match_the_document() {
    let mut pair = Pair::new(client::Config::default(), &server::Config::default());
    let frame = Bytes::from_static;
    assert_eq!(pair.run(), [('C', frame(SETTINGS)), ('S', frame(STATED))]);
    assert_eq!(pair.client.dialect(), Dialect::Wwr1);
    assert_eq!(pair.connection.dialect(), Dialect::Wwr1);
    assert_eq!(pair.connection.peer_reads(), 16 << 20);
    assert_eq!(pair.events.pop(), Some(client::Action::Event(Event::Connected)));

    let (name, long) = (Name::new("echo").unwrap(), Payload::utf8("x".repeat(9000)));
    let made = pair.client.request(NOW, name.clone(), long.clone(), None, &mut pair.asks);
    let carried = pair.run();
    let ask = [b"\x80\x01\0\0\0\0\0\0\0\x04echo", long.as_bytes()].concat();
    let answer = [b"\xc0\x01\0\0\0\0\0\0\0", long.as_bytes()].concat();
    assert_eq!(carried, [('C', ask.into()), ('S', answer.into())]);
    let done = client::Action::Done { id: made.unwrap(), outcome: Ok(long.clone()) };
    assert_eq!(pair.events.pop(), Some(done));

    assert_eq!(pair.client.signal(NOW, &name, &long, &mut pair.asks), Ok(()));
    assert_eq!(pair.run().iter().map(|(_, frame)| frame.len()).collect::<Vec<_>>(), [9006, 9002]);
}

/// What was made before there was a connection is sent once the server has stated what it reads, in
/// order and whatever its length.
#[test]
fn requests_that_waited_are_sent_in_order() {
    let mut pair = Pair::new(client::Config::default(), &server::Config::default());
    let name = Name::new("echo").unwrap();
    let lengths = [10, 9000, 10, 100_000, 10];
    for length in lengths {
        let payload = Payload::binary(vec![b'x'; length]);
        let made = pair.client.request(NOW, name.clone(), payload, None, &mut pair.asks);
        assert!(made.is_ok());
    }
    let carried = pair.run();
    assert_eq!((carried[0].1.as_ref(), carried[1].1.as_ref()), (SETTINGS, STATED));
    let sent = carried.iter().skip(1).filter(|(side, _)| *side == 'C');
    assert!(sent.map(|(_, frame)| frame.len()).eq(lengths.map(|length| length + 14)));
}

/// If one side does without, everything is as it was.
#[test]
fn without_an_offer_or_a_server_that_selects_it_2_0_is_spoken() {
    let silent = || client::Config::builder().wwr1(false).build().unwrap();
    let offering = client::Config::default;
    let selecting = server::Config::default;
    let refusing = || server::Config { wwr1: false, ..server::Config::default() };
    assert_eq!(selecting().metadata(), Some(Metadata::V1_4));
    for (client, config) in
        [(silent(), selecting()), (offering(), refusing()), (silent(), refusing())]
    {
        let mut pair = Pair::new(client, &config);
        let conf = Bytes::from_static(b"\x17\x02\0\x60\xea\0\0\0\x20\0\0");
        // A heartbeat, so that the server does not take the client for one of 1.x.
        assert_eq!(pair.run(), [('S', conf), ('C', Bytes::from_static(b"\x21"))]);
        assert_eq!(pair.client.dialect(), Dialect::V2_0);
        assert_eq!(pair.connection.dialect(), Dialect::V2_0);
    }
}
