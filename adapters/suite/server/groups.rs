//! Groups of connections, and members that read too slowly.

use std::time::Duration;

use allocation_counter::measure;
use wwr::server::{GroupError, RequestError};
use wwr::{CloseFrame, Content, InvalidSignal, Payload, PreparedSignal};

use super::wwr1::that_answers;
use crate::adapter::server::{
    AskError, Broadcast, CloseReason, Connection, Ended, Group, Handler, Server, ServerHandle,
    SessionChange, SignalError, SlowReader,
};
use crate::adapter::{Manual, Runtime as _};
use crate::suite::support::app::Event;
use crate::suite::support::message::{BINARY, UTF8, answer, ask, signal};
use crate::suite::support::peer::Peer;
use crate::suite::support::{Fixture, SAFETY, configured, until};

/// What the systems of both sides may keep for a connection, at the very most.
const IN_SOCKETS: usize = 32 << 20;

/// The size of the signals that fill a connection.
const SIZE: usize = 100_000;

fn sent(connections: usize) -> Broadcast {
    Broadcast { sent: connections, ..Broadcast::default() }
}

fn connect(fixture: &Fixture) -> (Peer, Connection) {
    let peer = Peer::connect(fixture.address());
    (peer, fixture.connected())
}

fn ids(members: &[Connection]) -> Vec<u64> {
    members.iter().map(Connection::id).collect()
}

#[test]
fn members_get_the_signals_of_their_groups_and_nobody_else_does() {
    let fixture = Fixture::new();
    let [(mut ada, of_ada), (mut bob, of_bob), (cat, of_cat)] = [(); 3].map(|()| connect(&fixture));
    let handle = &fixture.server.handle;
    assert_eq!((of_ada.join("tea"), of_ada.join("tea")), (Ok(true), Ok(false)));
    assert_eq!((of_ada.join("cake"), of_bob.join("tea")), (Ok(true), Ok(true)));
    assert_eq!(of_ada.groups(), ["tea", "cake"]);
    let tea = handle.group("tea");
    assert_eq!((ids(&tea.members()), tea.len()), (vec![of_ada.id(), of_bob.id()], 2));
    assert_eq!(tea.signal("news", "hot"), Ok(sent(2)));
    assert_eq!(handle.group("cake").signal("news", "sweet"), Ok(sent(1)));
    assert_eq!(tea.clone().except(&of_ada).except(&of_cat).signal("news", "for bob"), Ok(sent(1)));
    let none = tea.clone().except(&of_ada).except(&of_bob);
    assert_eq!((none.signal("news", "for none"), none.is_empty()), (Ok(sent(0)), true));
    assert_eq!(tea.clone().except(&of_ada).except(&of_cat).len(), 1);
    assert!(of_bob.leave("tea") && !of_bob.leave("tea") && !of_cat.leave("tea"));
    assert_eq!(tea.signal_prepared(&PreparedSignal::new("news", "cold").unwrap()), sent(1));
    assert!(matches!(tea.signal("", Payload::EMPTY), Err(InvalidSignal::Unreadable(_))));
    assert!(handle.group("unknown").is_empty() && handle.group("").members().is_empty());

    for news in ["hot", "sweet", "cold"] {
        assert_eq!(ada.message(), signal(UTF8, "news", news.as_bytes()));
    }
    for news in ["hot", "for bob"] {
        assert_eq!(bob.message(), signal(UTF8, "news", news.as_bytes()));
    }
    [ada, bob, cat].iter_mut().for_each(Peer::is_served);
}

#[test]
fn groups_are_limited_and_the_error_names_the_setting() {
    let fixture = Fixture::with(|config| config.hub.max_groups = 2);
    let (_peer, connection) = connect(&fixture);
    assert_eq!((connection.join("a"), connection.join("b")), (Ok(true), Ok(true)));
    let error = connection.join("c").unwrap_err();
    assert_eq!(error, GroupError::TooManyGroups { max: 2 });
    assert!(error.to_string().contains("max_groups"));
    assert_eq!(connection.join(""), Err(GroupError::InvalidName { length: 0 }));
    assert_eq!(connection.join(&"x".repeat(256)), Err(GroupError::InvalidName { length: 256 }));
    assert!(connection.leave("a"));
    assert_eq!(connection.join("c"), Ok(true));
    assert_eq!(connection.groups(), ["b", "c"]);
}

#[test]
fn a_connection_that_ends_leaves_its_groups_at_once_and_joins_none() {
    let fixture = Fixture::new();
    let (mut leaver, leaving) = connect(&fixture);
    let (mut peer, staying) = connect(&fixture);
    for connection in [&leaving, &staying] {
        assert_eq!(connection.join("room"), Ok(true));
    }
    assert_eq!(leaving.join("alone"), Ok(true));
    // Its handler goes on after the client has gone, and so does not end the connection.
    leaver.send(&ask(1, "wait", "gate"));
    fixture.wait_for_start("wait");
    drop(leaver);
    let room = fixture.server.handle.group("room");
    until(|| room.len() == 1);
    assert_eq!(fixture.server.handle.connection_count(), 2);
    assert!(fixture.server.handle.group("alone").is_empty());
    until(|| leaving.ended().is_some());
    assert_eq!(
        (leaving.groups(), leaving.is_connected()),
        (vec!["room".into(), "alone".into()], false)
    );
    assert_eq!(leaving.join("room"), Err(GroupError::UnknownConnection));
    assert!(!leaving.leave("room"));
    assert_eq!(room.signal("news", "x"), Ok(sent(1)));
    fixture.gates.open("gate");
    fixture.wait_for_disconnected();
    assert_eq!(peer.message(), signal(UTF8, "news", b"x"));
}

/// Is in a room while it is connected, and says so in the room.
struct Room;

impl Handler for Room {
    async fn request(&self, from: &Connection, _: Content) -> Result<Payload, RequestError> {
        let others = from.server().group("room").except(from);
        let told = others.signal("hello", "of another").map_err(|_| RequestError::Internal)?;
        Ok(Payload::utf8(format!("{}", told.sent)))
    }

    async fn connected(&self, connection: &Connection) {
        connection.join("room").unwrap();
    }

    async fn disconnected(&self, connection: &Connection) {
        // Without the one that has gone.
        let left = connection.server().group("room");
        left.signal("left", Payload::utf8(left.len().to_string())).unwrap();
    }
}

#[test]
fn hooks_join_groups_and_find_none_of_those_that_have_gone() {
    let builder = Server::builder_on(crate::adapter::runtime(), Room);
    let server = crate::suite::support::Running::new(builder);
    let [mut ada, mut bob] = [(); 2].map(|()| Peer::connect(server.address));
    until(|| server.handle.group("room").len() == 2);
    ada.send(&ask(1, "any", "x"));
    assert_eq!(ada.message(), answer(1, "1"));
    assert_eq!(bob.message(), signal(UTF8, "hello", b"of another"));
    drop(bob);
    assert_eq!(ada.message(), signal(UTF8, "left", b"1"));
}

/// Says in each room of a connection that it has gone, as chats do.
struct Chat;

impl Chat {
    fn tell(of: &Connection, what: &str) {
        for room in of.groups() {
            let others = of.server().group(&*room);
            assert!(others.members().iter().all(|member| member.id() != of.id()));
            others.signal(what, Payload::utf8(room)).unwrap();
        }
    }
}

impl Handler for Chat {
    async fn request(&self, from: &Connection, asked: Content) -> Result<Payload, RequestError> {
        if asked.name() == b"enter" {
            from.create_session(wwr::SessionInfo::new()).await?;
            let entered = from.join("tea").and_then(|_| from.join_for_session("members"));
            entered.map_err(|_| RequestError::Internal)?;
        } else {
            from.close();
        }
        Ok(asked.into_payload())
    }

    async fn connected(&self, connection: &Connection) {
        connection.join("all").unwrap();
    }

    async fn session_changed(&self, of: &Connection, change: SessionChange) {
        if matches!(change, SessionChange::Lost { .. }) {
            Self::tell(of, "lost");
        }
    }

    async fn disconnected(&self, connection: &Connection) {
        Self::tell(connection, "left");
    }
}

#[test]
fn a_connection_that_has_gone_is_missed_in_each_of_its_groups() {
    let server = Server::builder_on(crate::adapter::runtime(), Chat);
    let server = crate::suite::support::Running::new(server);
    let enter = |peer: &mut Peer| {
        peer.send(&ask(1, "enter", "x"));
        assert_eq!(peer.message()[0], 21);
        assert_eq!(peer.message(), answer(1, "x"));
    };
    let mut ada = Peer::connect(server.address);
    enter(&mut ada);
    // One goes by itself, the other one is closed by the server, which leaves its session before.
    for by_server in [false, true] {
        let mut bob = Peer::connect(server.address);
        enter(&mut bob);
        if by_server {
            bob.send(&ask(2, "leave", "x"));
            assert_eq!(bob.message(), answer(2, "x"));
            bob.closed_with(1000);
        }
        drop(bob);
        for what in ["lost", "left"] {
            for room in ["all", "tea", "members"] {
                assert_eq!(ada.message(), signal(UTF8, what, room.as_bytes()), "{by_server}");
            }
        }
    }
}

#[test]
fn a_group_is_closed_with_a_reason_and_a_shutdown_empties_groups() {
    let fixture = Fixture::with(|config| config.limits.close_timeout = SAFETY);
    let mut peers: Vec<_> = (0..4).map(|_| connect(&fixture)).collect();
    for (_, connection) in &peers[..3] {
        assert_eq!(connection.join("room"), Ok(true));
    }
    let room = fixture.server.handle.group("room");
    assert!(room.close_with(1005, "no such code").is_err());
    assert_eq!(room.clone().except(&peers[0].1).close_with(4003, "over"), Ok(2));
    for (peer, _) in &mut peers[1..3] {
        peer.closed_with(4003);
    }
    until(|| room.len() == 1);
    assert_eq!(ids(&room.members()), [peers[0].1.id()]);
    peers[3].0.is_served();

    let done = fixture.server.begin_shut_down(Duration::MAX);
    for open in [0, 3] {
        peers[open].0.closed_with(1001);
    }
    done.recv_timeout(SAFETY).unwrap();
    assert!(room.is_empty() && room.close() == 0);
    assert_eq!(room.signal("news", "x"), Ok(sent(0)));
    assert_eq!(peers[0].1.join("room"), Err(GroupError::UnknownConnection));
}

/// An application that lets its clients join a room.
struct Joining;

impl Handler for Joining {
    async fn request(&self, _: &Connection, asked: Content) -> Result<Payload, RequestError> {
        Ok(asked.into_payload())
    }

    async fn connected(&self, connection: &Connection) {
        connection.join("room").unwrap();
    }
}

/// Counts what the thread of the server allocates. The clients are on other threads.
#[test]
fn a_signal_to_thousands_is_encoded_once() {
    const MEMBERS: usize = 2000;
    const LONG: usize = 8000;
    let manual = Manual::new();
    let config = configured(|config| config.limits.max_signal_backlog = 2 * LONG - 1);
    let server = Server::builder_on(manual.runtime(), Joining).config(config);
    let server = smol::block_on(server.listen("127.0.0.1:0")).unwrap();
    let (address, handle): (_, ServerHandle) = (server.local_addr(), server.handle());
    manual.runtime().spawn(server.run());
    let connect = move || {
        let mut peers: Vec<_> = (0..MEMBERS).map(|_| Peer::connect_unasked(address)).collect();
        // The server has to do all that was to be done for the others before it answers this one.
        peers.last_mut().unwrap().is_served();
        peers
    };
    let peers = manual.run(smol::unblock(connect));
    let room = handle.group("room");
    assert_eq!(room.len(), MEMBERS);
    let (last, first) = (room.members().pop().unwrap(), room.members().swap_remove(0));
    let payload = Payload::binary(vec![7; LONG]);

    // No task runs meanwhile.
    let mut told = Broadcast::default();
    let allocated = measure(|| told = room.signal("long", payload).unwrap()).bytes_total;
    assert_eq!(told, sent(MEMBERS));
    let each = allocated as usize / MEMBERS;
    assert!((1..LONG / 4).contains(&each), "{each} bytes for each member");
    // It waits for each, but for all of them it is in memory once.
    assert_eq!(first.signal("more", vec![7; LONG]), Err(SignalError::Backlogged));
    assert_eq!(last.signal("more", vec![7; LONG]), Err(SignalError::Backlogged));

    let expected = signal(BINARY, "long", &vec![7; LONG]);
    let read = move || {
        let mut peers = peers;
        peers.iter_mut().all(|peer| peer.message() == expected)
    };
    assert!(manual.run(smol::unblock(read)));
}

/// A group with a member that reads everything and one that reads nothing.
struct Pair {
    fixture: Fixture,
    reader: Peer,
    slow: Peer,
    of_slow: Connection,
}

impl Pair {
    fn new() -> Self {
        Self::with(|fixture| Peer::connect(fixture.address()))
    }

    /// The one that reads nothing is connected like this.
    fn with(connect_slow: impl FnOnce(&Fixture) -> Peer) -> Self {
        let fixture = Fixture::with(|config| {
            config.limits.max_signal_backlog = 10 * SIZE;
            config.limits.close_timeout = Duration::from_millis(20);
            // Nothing may end only because the client is disconnected for this.
            config.limits.stall_timeout = 2 * SAFETY;
        });
        let (reader, of_reader) = connect(&fixture);
        let (slow, of_slow) = (connect_slow(&fixture), fixture.connected());
        for connection in [&of_reader, &of_slow] {
            connection.join("room").unwrap();
        }
        Self { fixture, reader, slow, of_slow }
    }

    /// Sends a numbered signal to both.
    fn tell(&mut self, name: &str, number: u32, policy: SlowReader) -> Broadcast {
        let room = self.fixture.server.handle.group("room").slow_readers(policy);
        let told = room.signal(name.to_owned(), numbered(number)).unwrap();
        assert!(self.reader.message() == signal(BINARY, name, &numbered(number)));
        told
    }

    /// Sends signals until something else comes of one than that both take it. Returns what, and how
    /// many were taken before.
    fn fill(&mut self, name: &str, policy: SlowReader) -> (Broadcast, u32) {
        for number in 0.. {
            assert!(number as usize * SIZE < IN_SOCKETS, "they are somewhere");
            let told = self.tell(name, number, policy);
            if told != sent(2) {
                return (told, number);
            }
        }
        unreachable!()
    }

    /// Reads what comes for the slow one until the last signal; returns the numbers.
    fn read_until(&mut self, name: &str, last: u32) -> Vec<u32> {
        let mut numbers = Vec::new();
        while numbers.last() != Some(&last) {
            let message = self.slow.message();
            let (head, payload) = message.split_at(2 + name.len());
            assert_eq!(head, &signal(BINARY, name, b"")[..]);
            numbers.push(u32::from_le_bytes(payload[..4].try_into().unwrap()));
            assert!(*payload == numbered(numbers[numbers.len() - 1]), "in full");
        }
        numbers
    }
}

fn numbered(number: u32) -> Vec<u8> {
    [&number.to_le_bytes()[..], &vec![7; SIZE]].concat()
}

#[test]
fn a_slow_member_is_refused_by_default_and_misses_nothing_that_was_accepted() {
    let mut pair = Pair::new();
    let (told, taken) = pair.fill("n", SlowReader::Refuse);
    assert_eq!(told, Broadcast { backlogged: 1, ..sent(1) });
    assert_eq!(pair.of_slow.dropped_signals(), 0);
    assert!(pair.read_until("n", taken - 1).into_iter().eq(0..taken));
}

#[test]
fn of_the_signals_to_a_slow_member_the_oldest_are_dropped_and_counted() {
    const MORE: u32 = 100;
    let mut pair = Pair::new();
    let (told, first) = pair.fill("n", SlowReader::DropOldest);
    assert_eq!(told, Broadcast { dropped: 1, ..sent(2) });
    let mut dropped = 1;
    for number in 1..=MORE {
        let told = pair.tell("n", first + number, SlowReader::DropOldest);
        assert_eq!(told.sent, 2, "{told:?}");
        dropped += told.dropped as u64;
    }
    assert_eq!(pair.of_slow.dropped_signals(), dropped);
    let last = first + MORE;
    let read = pair.read_until("n", last);
    assert!(read.is_sorted_by(|one, next| one < next), "{read:?}");
    assert_eq!(read.len() as u64 + dropped, u64::from(last) + 1);
    // The last ones were kept, without a gap.
    assert!(read.ends_with(&[last - 2, last - 1, last]));
    pair.slow.is_served();
}

#[test]
fn the_last_value_of_each_name_reaches_a_slow_member_and_others_keep_their_order() {
    /// More than all sockets hold.
    const ROUNDS: u32 = (IN_SOCKETS / SIZE) as u32 + 20;
    let mut pair = Pair::new();
    let room = pair.fixture.server.handle.group("room").slow_readers(SlowReader::Coalesce);
    let mut dropped = 0;
    for number in 0..ROUNDS {
        for name in ["y", "z"] {
            let told = room.signal(name, number.to_string()).unwrap();
            assert_eq!(told.sent, 2);
            dropped += told.dropped as u64;
            assert_eq!(pair.reader.message(), signal(UTF8, name, number.to_string().as_bytes()));
        }
        let told = pair.tell("x", number, SlowReader::Coalesce);
        assert_eq!(told.sent, 2);
        dropped += told.dropped as u64;
        if number % 100 == 99 {
            assert_eq!(pair.of_slow.signal("kept", (number / 100).to_string()), Ok(()));
        }
    }
    assert_eq!(pair.of_slow.signal("kept", "last"), Ok(()));
    // What was sent last comes last, whatever was replaced. How much the sockets took before is
    // up to the system.
    let end = signal(UTF8, "kept", b"last");
    let messages: Vec<_> = std::iter::repeat_with(|| pair.slow.message())
        .take_while(|message| *message != end)
        .map(|message| {
            let (name, payload) = message[2..].split_at(usize::from(message[1]));
            let number = match name {
                b"x" => u32::from_le_bytes(payload[..4].try_into().unwrap()),
                _ => std::str::from_utf8(payload).unwrap().parse().unwrap(),
            };
            (String::from_utf8(name.to_vec()).unwrap(), number)
        })
        .collect();
    let numbers = |of: &str| -> Vec<u32> {
        messages.iter().filter(|(name, _)| name == of).map(|(_, number)| *number).collect()
    };
    assert!(numbers("kept").into_iter().eq(0..ROUNDS / 100));
    for name in ["x", "y", "z"] {
        let numbers = numbers(name);
        assert!(numbers.is_sorted_by(|one, next| one < next), "{name}: {numbers:?}");
        assert_eq!(numbers.last(), Some(&(ROUNDS - 1)), "{name}");
    }
    assert_eq!(pair.of_slow.dropped_signals(), dropped);
    let sent = u64::from(3 * ROUNDS + ROUNDS / 100);
    assert_eq!(messages.len() as u64 + dropped, sent);
    assert!(numbers("x").len() * SIZE < IN_SOCKETS, "{dropped} were dropped");
    pair.slow.is_served();
}

#[test]
fn a_slow_member_is_disconnected_if_it_is_to_be() {
    let mut pair = Pair::new();
    let (told, _) = pair.fill("n", SlowReader::Disconnect);
    assert_eq!(told, Broadcast { too_slow: 1, ..sent(1) });
    assert!(!pair.of_slow.is_connected());
    pair.fixture.wait_for_disconnected();
    let frame = CloseFrame::new(1013, "reads too slowly").unwrap();
    let reason = CloseReason::Application(Box::new(frame));
    assert_eq!(pair.of_slow.ended(), Some(Ended::ByServer(reason)));
    assert_eq!(pair.tell("n", 7, SlowReader::Disconnect), sent(1));
}

#[test]
fn a_handler_that_waits_for_room_goes_on_when_its_client_is_disconnected_for_being_slow() {
    let mut pair = Pair::new();
    // Something that may be dropped keeps all that comes after it out of the sockets.
    pair.fill("n", SlowReader::DropOldest);
    let slow = pair.of_slow.clone();
    let waiting = std::thread::spawn(move || {
        smol::block_on(async {
            while slow.ready().await.is_ok() {
                smol::future::yield_now().await;
            }
        });
    });
    pair.of_slow.set_slow_reader(SlowReader::Disconnect);
    let fill = || pair.of_slow.signal("fill", vec![7; SIZE]);
    let error = std::iter::repeat_with(fill).find_map(Result::err);
    assert_eq!(error, Some(SignalError::TooSlow));
    // The connection may have ended already.
    let refused = [SignalError::TooSlow, SignalError::Disconnected];
    assert!(refused.contains(&pair.of_slow.signal("fill", "x").unwrap_err()));
    waiting.join().unwrap();
    pair.fixture.wait_for_disconnected();
    assert_eq!(pair.of_slow.signal("fill", "x"), Err(SignalError::Disconnected));
}

#[test]
fn the_policy_of_a_connection_counts_before_those_of_groups_and_of_the_server() {
    let fixture = Fixture::with(|config| {
        config.limits.max_signal_backlog = 10 * SIZE;
        config.limits.slow_readers = SlowReader::DropOldest;
    });
    let (_slow, of_slow) = connect(&fixture);
    of_slow.join("room").unwrap();
    let room = fixture.server.handle.group("room");
    let refuses = room.clone().slow_readers(SlowReader::Refuse);
    let tell = |group: &Group| group.signal("n", numbered(0)).unwrap();
    // The server's counts, for signals without one of their own.
    while of_slow.dropped_signals() == 0 {
        assert_eq!(of_slow.signal("n", numbered(0)), Ok(()));
    }
    until(|| tell(&room) == Broadcast { dropped: 1, ..sent(1) });
    of_slow.set_slow_reader(SlowReader::DropOldest);
    until(|| tell(&refuses) == Broadcast { dropped: 1, ..sent(1) });
    of_slow.set_slow_reader(None);
    until(|| tell(&refuses) == Broadcast { backlogged: 1, ..sent(0) });
    of_slow.set_slow_reader(SlowReader::Disconnect);
    until(|| tell(&room) == Broadcast { too_slow: 1, ..sent(0) });
}

/// What is no signal does not wait behind signals that may be dropped, for a client that does not read.
#[test]
fn sessions_closes_and_shutdowns_do_not_wait_for_a_slow_member() {
    let mut pair = Pair::new();
    pair.fill("n", SlowReader::DropOldest);
    let created = smol::block_on(pair.of_slow.create_session(wwr::SessionInfo::new()));
    assert!(created.is_ok(), "{created:?}");
    assert_eq!(pair.of_slow.session(), created.ok());
    pair.fill("n", SlowReader::DropOldest);
    pair.of_slow.close();
    let (had_session, before) = pair.fixture.wait_for_disconnected();
    assert!(had_session);
    assert!(!before.iter().any(|event| matches!(event, Event::Connected(_))));
    assert_eq!(pair.of_slow.ended(), Some(Ended::ByServer(CloseReason::Requested)));

    let mut pair = Pair::new();
    pair.fill("n", SlowReader::DropOldest);
    let done = pair.fixture.server.begin_shut_down(Duration::MAX);
    done.recv_timeout(SAFETY).unwrap();
    pair.fixture.server.wait_for_end();
    assert!(pair.fixture.server.handle.group("room").is_empty());
    assert_eq!(pair.of_slow.ended(), Some(Ended::ByServer(CloseReason::Shutdown)));
}

#[test]
fn the_time_of_a_question_to_a_slow_member_runs_from_the_beginning() {
    let mut pair = Pair::with(that_answers);
    // What may be dropped stays out of the sockets.
    pair.fill("n", SlowReader::DropOldest);
    let question = pair.of_slow.ask_within(Duration::from_millis(20), "sure", "?");
    assert_eq!(smol::block_on(question), Err(AskError::TimedOut));
    assert!(pair.of_slow.is_connected());
}
