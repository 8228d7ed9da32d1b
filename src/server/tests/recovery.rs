//! Histories and idempotent requests, to the byte (protocol §10.5, §10.6).

use super::*;
use crate::session::{
    Batch, Begun, ConnectionId, Fingerprint, HistoryConfig, OutcomesConfig, StoreFailed,
};
use crate::valid::Valid;
use crate::wire::{ClientSettings, PreparedSignal};

const KEY: &str = "k1";
const TEA: Fingerprint = Fingerprint([1; 16]);

/// A server that keeps everything, whose handlers wait to be told.
struct Server {
    hub: Hub,
    control: Actions<HubAction>,
    /// What goes to other connections.
    others: Vec<(ConnectionId, RecoveryNews)>,
}

/// A connection of it.
struct Peer {
    id: ConnectionId,
    connection: Connection,
    out: Actions<Action>,
    sent: Vec<Bytes>,
    requests: Vec<RequestId>,
}

const NOW: Instant = Instant::EPOCH;

impl Server {
    fn new(seed: u8) -> Self {
        let history = Some(HistoryConfig { max_signals: 2, ..HistoryConfig::default() });
        let outcomes = Some(OutcomesConfig::default());
        let recovery = RecoveryConfig { history, outcomes }.validate().unwrap();
        let hub = Hub::with_recovery(&Valid::default(), &recovery, [seed; 16]);
        Self { hub, control: Actions::new(), others: Vec::new() }
    }

    fn connect(&mut self, settings: ClientSettings) -> Peer {
        let mut peer = self.open();
        self.receive(&mut peer, Encoder::new().client_settings(settings));
        peer
    }

    /// A connection whose client has stated nothing.
    fn open(&mut self) -> Peer {
        let config = Config { keeps_histories: true, keeps_outcomes: true, ..config() };
        let id = self.hub.admit(NOW).unwrap();
        let mut out = Actions::new();
        let config = config.validate().unwrap();
        let connection = Connection::accept(&config, Observed::SubProtocol, NOW, &mut out);
        self.hub.opened(NOW, id, &mut self.control);
        Peer { id, connection, out, sent: Vec::new(), requests: Vec::new() }
    }

    fn receive(&mut self, peer: &mut Peer, frame: impl Into<Bytes>) {
        peer.connection.handle_message(NOW, frame.into(), &mut peer.out);
        self.carry_out(peer);
    }

    /// The session is in the store, whatever its key.
    fn carry_out(&mut self, peer: &mut Peer) {
        loop {
            while let Some(action) = peer.out.pop() {
                match action {
                    Action::Send(frame) => peer.sent.push(frame),
                    Action::Request(request) => peer.requests.push(request.id),
                    Action::Session(command) => {
                        self.hub.handle(NOW, peer.id, command, &mut self.control);
                    }
                    Action::Recover(command) => {
                        self.hub.recover(NOW, peer.id, *command, &mut self.control);
                    }
                    _ => {}
                }
            }
            let Some(action) = self.control.pop() else { return };
            match action {
                HubAction::Deliver { to, outcome } if to == peer.id => {
                    peer.connection.handle_session(NOW, outcome, &mut peer.out);
                }
                HubAction::Recover { to, news } if to == peer.id => {
                    peer.connection.handle_recovery(NOW, news, &mut peer.out);
                }
                HubAction::Recover { to, news } => self.others.push((to, news)),
                HubAction::Store(job) => {
                    let answer = match job.work {
                        Work::LookUp(key) => {
                            StoreAnswer::LookedUp(Ok(Some(session(key.as_str()).into())))
                        }
                        Work::Create(_) => StoreAnswer::Created(Ok(())),
                        _ => StoreAnswer::Destroyed(Ok(())),
                    };
                    self.hub.answered(NOW, job.id, answer, &mut self.control);
                }
                _ => {}
            }
        }
    }

    fn signal(&mut self, text: &'static str) -> SessionSignal {
        let signal = PreparedSignal::new("news", text).unwrap();
        self.hub.signal_session(NOW, &key(KEY), &signal, &mut self.control)
    }

    fn lose(&mut self, peer: &mut Peer) {
        peer.connection.handle_disconnect(&mut peer.out);
        self.carry_out(peer);
    }
}

impl Peer {
    /// The messages that were sent, without the reply of a restoration.
    fn sent(&mut self) -> Vec<Vec<u8>> {
        let sent = self.sent.drain(..).map(|frame| frame.to_vec());
        sent.filter(|frame| !(frame[0] == 0xc0 && frame.ends_with(b"}"))).collect()
    }

    fn reply(&mut self, server: &mut Server, text: &'static str) -> Result<(), Misuse> {
        let request = self.requests.pop().unwrap();
        let replied = self.connection.reply(request, Ok(Payload::utf8(text)), &mut self.out);
        server.carry_out(self);
        replied
    }
}

fn follows() -> ClientSettings {
    ClientSettings { resumes_signals: true, ..ClientSettings::new(1 << 24) }
}

fn repeats() -> ClientSettings {
    ClientSettings { instance: Some([7; 16]), ..ClientSettings::new(1 << 24) }
}

fn history_mark(state: u8, incarnation: u64, offset: u8) -> Vec<u8> {
    let mut frame = Vec::from([0x12, state]);
    frame.extend(incarnation.to_le_bytes());
    frame.extend([offset, 0, 0, 0, 0, 0, 0, 0]);
    frame
}

fn news(offset: u8, text: &str) -> Vec<u8> {
    [&[0x10, offset, 0, 0, 0, 0, 0, 0, 0, 4], &b"news"[..], text.as_bytes()].concat()
}

/// A client that has restored the session, and the incarnation of its history.
fn following(server: &mut Server) -> (Peer, u64) {
    let mut peer = server.connect(follows());
    server.receive(&mut peer, restore(1, KEY));
    let position = server.hub.signal_session(
        NOW,
        &key(KEY),
        &PreparedSignal::new("news", "one").unwrap(),
        &mut server.control,
    );
    server.carry_out(&mut peer);
    let incarnation = position.position.unwrap().incarnation;
    (peer, incarnation)
}

fn resume(incarnation: u64, offset: u64) -> Bytes {
    Encoder::new().resume_session(Identifier::from_counter(2), incarnation, offset, KEY.as_bytes())
}

#[test]
fn a_client_that_asks_gets_signals_with_offsets_and_others_plain_ones() {
    let mut server = Server::new(1);
    let (mut peer, incarnation) = following(&mut server);
    let sent = peer.sent();
    assert_eq!(sent[0], b"\x17\x02\x03\x60\xea\0\0\0\0\x10\0", "what the server keeps");
    assert_eq!(sent[1..], [history_mark(0, incarnation, 0), news(1, "one")]);
    let mut other = server.connect(ClientSettings::new(1 << 24));
    server.receive(&mut other, restore(1, KEY));
    let told = server.signal("two");
    assert_eq!((told.following, &told.others[..]), (1, &[other.id][..]));
    server.carry_out(&mut peer);
    assert_eq!(peer.sent(), [news(2, "two")]);
    assert_eq!(other.sent().len(), 1, "nothing but the accept-conf");
}

#[test]
fn what_was_missed_comes_in_order_and_then_resumed() {
    let mut server = Server::new(1);
    let (mut peer, incarnation) = following(&mut server);
    server.lose(&mut peer);
    server.signal("two");
    server.signal("three");
    let mut next = server.connect(follows());
    next.sent();
    server.receive(&mut next, resume(incarnation, 1));
    let resumed = history_mark(1, incarnation, 3);
    assert_eq!(next.sent(), [news(2, "two"), news(3, "three"), resumed.clone()]);
    let mut third = server.connect(follows());
    third.sent();
    server.receive(&mut third, resume(incarnation, 3));
    assert_eq!(third.sent(), [resumed], "nothing was missed");
}

#[test]
fn what_is_missing_is_a_gap_before_what_is_left() {
    let mut server = Server::new(1);
    let (mut peer, incarnation) = following(&mut server);
    server.lose(&mut peer);
    ["two", "three", "four"].into_iter().for_each(|text| drop(server.signal(text)));
    for known in [(incarnation, 1), (incarnation ^ 1, 4), (0, 0), (incarnation, 9)] {
        let mut next = server.connect(follows());
        next.sent();
        server.receive(&mut next, resume(known.0, known.1));
        let gap = history_mark(2, incarnation, 2);
        assert_eq!(next.sent(), [gap, news(3, "three"), news(4, "four")], "{known:?}");
    }
}

#[test]
fn nothing_is_read_while_the_socket_takes_no_output() {
    let mut server = Server::new(1);
    let (mut peer, incarnation) = following(&mut server);
    peer.sent();
    peer.connection.handle_writable(false, &mut peer.out);
    ["two", "three", "four"].into_iter().for_each(|text| drop(server.signal(text)));
    server.carry_out(&mut peer);
    assert_eq!(peer.sent(), Vec::<Vec<u8>>::new());
    peer.connection.handle_writable(true, &mut peer.out);
    server.carry_out(&mut peer);
    let gap = history_mark(2, incarnation, 2);
    assert_eq!(peer.sent(), [gap, news(3, "three"), news(4, "four")]);
}

#[test]
fn a_late_batch_of_an_earlier_session_is_ignored() {
    let mut server = Server::new(1);
    let (mut peer, incarnation) = following(&mut server);
    server.receive(&mut peer, close_session(2));
    peer.sent();
    let signals = Vec::from([Bytes::from_static(b"late")]);
    let batch = Batch { incarnation, first: 1, gap: false, signals, last: 1 };
    for number in 0..4 {
        let news = RecoveryNews::Batch { number, batch: batch.clone().into() };
        peer.connection.handle_recovery(NOW, news, &mut peer.out);
    }
    server.carry_out(&mut peer);
    assert_eq!(peer.sent(), Vec::<Vec<u8>>::new());
}

fn order(id: u64) -> Bytes {
    let id = Identifier::from_counter(id);
    Encoder::new().idempotent_request(id, &name("order"), &Payload::utf8("tea"))
}

#[test]
fn a_request_that_runs_when_its_connection_is_lost_is_not_executed_again() {
    let mut server = Server::new(1);
    let mut first = server.connect(repeats());
    let stated = first.sent();
    assert_eq!((stated[1][0], &stated[1][9..]), (0x13, &b"\xc0\xd4\x01\0\x40\0\0\0"[..]));
    server.receive(&mut first, order(5));
    assert_eq!(first.requests.len(), 1);
    server.lose(&mut first);
    assert_eq!(first.connection.running_idempotent(), 1);
    let mut next = server.connect(repeats());
    assert_eq!(next.sent()[1], stated[1], "the same scope");
    server.receive(&mut next, order(5));
    assert_eq!((next.requests.len(), next.connection.running_handlers()), (0, 1), "it waits");
    assert_eq!(first.reply(&mut server, "order 1"), Err(Misuse::Closed));
    let (to, news) = server.others.pop().unwrap();
    assert_eq!(to, next.id);
    next.connection.handle_recovery(NOW, news, &mut next.out);
    server.carry_out(&mut next);
    assert_eq!(next.sent(), [b"\xc0\x05\0\0\0\0\0\0\0order 1"]);
    // Once more, from what is kept.
    server.receive(&mut next, order(5));
    assert_eq!(next.sent(), [b"\xc0\x05\0\0\0\0\0\0\0order 1"]);
}

#[test]
fn a_handler_that_is_given_up_leaves_an_unknown_outcome() {
    let mut server = Server::new(1);
    let mut first = server.connect(repeats());
    server.receive(&mut first, order(5));
    server.lose(&mut first);
    server.hub.left(NOW, first.id, &mut server.control);
    let mut next = server.connect(repeats());
    next.sent();
    server.receive(&mut next, order(5));
    assert_eq!(
        (next.sent(), next.requests.len()),
        (Vec::from([b"\x07\x05\0\0\0\0\0\0\0".to_vec()]), 0)
    );
}

#[test]
fn a_request_that_was_not_begun_may_be_begun_elsewhere() {
    let mut server = Server::new(1);
    let mut first = server.connect(repeats());
    // The answer of the hub does not reach the connection any more.
    first.connection.handle_message(NOW, order(5), &mut first.out);
    first.connection.handle_disconnect(&mut first.out);
    server.carry_out(&mut first);
    assert!(first.requests.is_empty());
    let mut next = server.connect(repeats());
    server.receive(&mut next, order(5));
    assert_eq!(next.requests.len(), 1);
}

#[test]
fn a_server_that_keeps_nothing_executes_and_states_nothing() {
    let mut hub = Hub::new(&Valid::default());
    let mut control = Actions::new();
    let id = hub.admit(NOW).unwrap();
    let mut script = Script::with(Dialect::Wwr1, &config());
    script.client(Encoder::new().client_settings(repeats()), &["reads 16777216"]);
    script.client(order(5), &["send 06 5"]);
    // A hub alone that keeps nothing lets requests be executed.
    let request = RequestId::from_u64(3);
    hub.recover(NOW, id, RecoveryCommand::Begin { request, token: 1, content: TEA }, &mut control);
    let news = RecoveryNews::Begun { request, begun: Begun::Fresh };
    assert_eq!(control.pop(), Some(HubAction::Recover { to: id, news }));
}

/// A server that serves several messages of a connection at once.
fn concurrent(server: &mut Server) -> Peer {
    let mut peer = server.connect(repeats());
    peer.connection = {
        let concurrency = NonZeroU16::new(4).unwrap();
        let config = Config { keeps_outcomes: true, concurrency, ..config() };
        let config = config.validate().unwrap();
        Connection::accept(&config, Observed::SubProtocol, NOW, &mut peer.out)
    };
    server.receive(&mut peer, Encoder::new().client_settings(repeats()));
    peer
}

#[test]
fn a_token_that_comes_twice_on_a_connection_is_not_executed_again_when_that_is_lost() {
    let mut server = Server::new(1);
    let mut first = concurrent(&mut server);
    server.receive(&mut first, order(5));
    server.receive(&mut first, order(5));
    assert_eq!((first.requests.len(), first.connection.running_handlers()), (1, 2), "one waits");
    server.lose(&mut first);
    let mut next = server.connect(repeats());
    server.receive(&mut next, order(5));
    assert!(next.requests.is_empty(), "it still runs");
}

#[test]
fn a_request_that_waits_on_the_same_connection_is_executed_if_the_first_was_not() {
    let mut server = Server::new(1);
    let (mut first, mut second) = (server.connect(repeats()), concurrent(&mut server));
    // The hub has begun it for the first connection, which does not hear of that any more.
    first.connection.handle_message(NOW, order(5), &mut first.out);
    while let Some(action) = first.out.pop() {
        if let Action::Recover(command) = action {
            server.hub.recover(NOW, first.id, *command, &mut server.control);
        }
    }
    drop(server.control.pop());
    server.receive(&mut second, order(5));
    server.receive(&mut second, order(5));
    assert!(second.requests.is_empty(), "both wait");
    server.lose(&mut first);
    for (to, news) in core::mem::take(&mut server.others) {
        assert_eq!(to, second.id);
        second.connection.handle_recovery(NOW, news, &mut second.out);
    }
    server.carry_out(&mut second);
    assert_eq!(second.requests.len(), 1);
}

#[test]
fn a_connection_is_told_once_that_the_history_has_grown_until_it_reads() {
    let mut server = Server::new(1);
    let (peer, _) = following(&mut server);
    ["two", "three", "four"].into_iter().for_each(|text| drop(server.signal(text)));
    let signalled = HubAction::Recover { to: peer.id, news: RecoveryNews::Signalled };
    assert_eq!((server.control.pop(), server.control.pop()), (Some(signalled), None));
}

#[test]
fn a_session_that_is_older_than_the_settings_of_its_client_is_followed_as_well() {
    let mut server = Server::new(1);
    let mut peer = server.open();
    // As the hook for new connections does, before anything is read.
    let (created, info) = (UnixTime::from_seconds(0), SessionInfo::new());
    let made = peer.connection.create_session(key(KEY), created, info, &mut peer.out);
    assert!(made.is_ok());
    server.carry_out(&mut peer);
    assert_eq!(server.signal("plain").others, [peer.id]);
    peer.sent();
    server.receive(&mut peer, Encoder::new().client_settings(follows()));
    let told = server.signal("two");
    let incarnation = told.position.unwrap().incarnation;
    assert_eq!((told.following, told.others), (1, Vec::new()));
    server.carry_out(&mut peer);
    assert_eq!(peer.sent(), [history_mark(0, incarnation, 1), news(2, "two")]);
}

#[test]
fn what_was_sent_while_a_close_failed_comes_when_it_has() {
    let mut server = Server::new(1);
    let (mut peer, _) = following(&mut server);
    peer.sent();
    peer.connection.close_session(&mut peer.out).unwrap();
    let mut command = None;
    while let Some(action) = peer.out.pop() {
        if let Action::Session(close) = action {
            command = Some(close);
        }
    }
    server.hub.handle(NOW, peer.id, command.unwrap(), &mut server.control);
    let Some(HubAction::Store(job)) = server.control.pop() else { panic!("nothing to destroy") };
    server.signal("two");
    let answer = StoreAnswer::Destroyed(Err(StoreFailed));
    server.hub.answered(NOW, job.id, answer, &mut server.control);
    server.carry_out(&mut peer);
    assert_eq!(peer.sent(), [news(2, "two")]);
}

#[test]
fn an_identifier_of_another_request_is_a_breach_of_protocol() {
    let mut server = Server::new(1);
    let mut peer = server.connect(repeats());
    server.receive(&mut peer, order(5));
    peer.reply(&mut server, "order 1").unwrap();
    peer.sent();
    let id = Identifier::from_counter(5);
    for (other, payload) in [("order", "coffee"), ("orde", "rtea"), ("other", "tea")] {
        let other = Encoder::new().idempotent_request(id, &name(other), &Payload::utf8(payload));
        server.receive(&mut peer, other);
        assert_eq!(peer.sent(), [b"\x06\x05\0\0\0\0\0\0\0"]);
    }
    assert!(peer.requests.is_empty());
    server.receive(&mut peer, order(5));
    assert_eq!(peer.sent(), [b"\xc0\x05\0\0\0\0\0\0\0order 1"]);
}

#[test]
fn a_request_that_was_cleared_and_dropped_may_be_executed_on_the_next_connection() {
    let mut server = Server::new(1);
    let mut first = server.connect(repeats());
    server.receive(&mut first, order(5));
    let request = first.requests.pop().unwrap();
    server.lose(&mut first);
    let mut next = server.connect(repeats());
    next.sent();
    server.receive(&mut next, order(5));
    first.connection.not_handled(request, &mut first.out);
    assert_eq!(first.connection.running_idempotent(), 0);
    server.carry_out(&mut first);
    let (to, news) = server.others.pop().unwrap();
    assert_eq!(to, next.id);
    next.connection.handle_recovery(NOW, news, &mut next.out);
    server.carry_out(&mut next);
    assert_eq!(next.requests.len(), 1, "it is executed here");
}
