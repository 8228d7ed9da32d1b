//! Signals of the server to many connections.

use std::thread;

use wwr::wire::UnreadableSignal;
use wwr::{Dialect, Payload, PreparedSignal, SessionKey, SlowReader};

use super::sessions::{login, resume};
use crate::adapter::server::{Broadcast, Connection, Refused, SignalError};
use crate::suite::support::message::{BINARY, HEARTBEAT, UTF8, answer, ask, signal, utf16};
use crate::suite::support::peer::Peer;
use crate::suite::support::{Fixture, until};

fn prepare(name: &str, payload: impl Into<Payload>) -> PreparedSignal {
    PreparedSignal::new(name, payload).unwrap()
}

pub(super) fn sent(connections: usize) -> Broadcast {
    Broadcast { sent: connections, ..Broadcast::default() }
}

pub(super) fn refused(connection: &Connection, error: SignalError) -> Refused {
    Refused { connection: connection.clone(), error }
}

#[test]
fn broadcasts_reach_clients_of_all_versions_that_read_them() {
    let fixture = Fixture::new();
    let mut old = Peer::connect(fixture.address());
    let of_old = fixture.connected();
    assert_eq!(of_old.dialect(), Dialect::V1_4);
    let mut unknown = Peer::connect_unasked(fixture.address());
    let of_unknown = fixture.connected();
    assert_eq!(of_unknown.dialect(), Dialect::Unknown);
    let mut new = Peer::connect_unasked(fixture.address());
    let connection = fixture.connected();
    new.send(HEARTBEAT);
    until(|| connection.dialect() == Dialect::V2_0);

    let all = |signal| fixture.server.handle.signal_all(&signal);
    assert_eq!(all(prepare("news", "to all")), sent(3));
    let needs_payload = SignalError::Unreadable(UnreadableSignal::NeedsPayload);
    let only_new = Broadcast { refused: vec![refused(&of_old, needs_payload)], ..sent(2) };
    assert_eq!(all(prepare("nothing else", Payload::EMPTY)), only_new);
    let large = all(prepare("large", vec![7; 8192]));
    let is_too_large = |refused: &Refused| {
        let error =
            SignalError::Unreadable(UnreadableSignal::TooLarge { length: 8199, buffer: 8192 });
        assert_eq!(refused.error, error);
        refused.connection.clone()
    };
    let told: Vec<_> = large.refused.iter().map(is_too_large).collect();
    assert_eq!((large.sent, told), (1, vec![of_unknown, connection.clone()]));
    assert_eq!(all(prepare("", Payload::utf16("last"))), sent(3));

    let last = [&[65, 0][..], &utf16("last")].concat();
    for (peer, second) in [
        (&mut old, signal(BINARY, "large", &[7; 8192])),
        (&mut unknown, signal(BINARY, "nothing else", b"")),
        (&mut new, signal(BINARY, "nothing else", b"")),
    ] {
        assert_eq!(peer.message(), signal(UTF8, "news", b"to all"));
        assert_eq!(peer.message(), second);
        assert_eq!(peer.message(), last);
        peer.is_served();
    }
}

#[test]
fn a_client_that_does_not_read_holds_up_no_other() {
    const SIZE: usize = 64 * 1024;
    let fixture = Fixture::with(|config| config.limits.max_signal_backlog = 8 * SIZE);
    let mut slow = Peer::connect(fixture.address());
    let mut readers: Vec<_> = (0..3).map(|_| Peer::connect(fixture.address())).collect();
    let of_slow = fixture.connected();
    (0..3).for_each(|_| drop(fixture.connected()));

    let news = |number: u32| [&number.to_le_bytes()[..], &vec![7; SIZE]].concat();
    let mut taken = Vec::new();
    // Until the sockets hold no more. Then it is the slow one that misses something, and only it.
    for number in 0_u32.. {
        assert!(taken.len() * SIZE < 64 << 20, "they are somewhere");
        let told = fixture.server.handle.signal_all(&prepare("n", news(number)));
        for reader in &mut readers {
            assert_eq!(reader.message()[3..], news(number));
        }
        if told != sent(4) {
            let refused = vec![refused(&of_slow, SignalError::Backlogged)];
            assert_eq!(told, Broadcast { refused, ..sent(3) });
            break;
        }
        taken.push(number);
    }
    for number in taken {
        assert_eq!(slow.message()[3..], news(number));
    }
    until(|| fixture.server.handle.signal_all(&prepare("again", "x")) == sent(4));
    for peer in readers.iter_mut().chain([&mut slow]) {
        while peer.message() != signal(UTF8, "again", b"x") {}
    }
}

#[test]
fn signals_to_one_and_to_many_stay_in_order() {
    let fixture = Fixture::new();
    let mut peers: Vec<_> = (0..3).map(|_| Peer::connect(fixture.address())).collect();
    let connections: Vec<_> = (0..3).map(|_| fixture.connected()).collect();
    for number in 0..200 {
        let text = format!("{number}");
        if number % 2 == 0 {
            let told = fixture.server.handle.signal_all(&prepare("all", text));
            assert_eq!(told, sent(3));
        } else {
            let own = |connection: &Connection| {
                (connection.clone(), connection.signal("own", Payload::utf8(text.clone())))
            };
            assert_eq!(connections.iter().map(own).collect::<Broadcast>(), sent(3));
        }
    }
    for peer in &mut peers {
        for number in 0..200 {
            let name = if number % 2 == 0 { "all" } else { "own" };
            assert_eq!(peer.message(), signal(UTF8, name, format!("{number}").as_bytes()));
        }
    }
    // The requesting client gets it before the reply.
    peers[0].send(&ask(1, "tell all", "now"));
    peers.iter_mut().for_each(|peer| assert_eq!(peer.message(), signal(UTF8, "told", b"now")));
    assert_eq!(peers[0].message(), answer(1, "3"));
}

#[test]
fn a_broadcast_reaches_the_connections_of_one_session() {
    let fixture = Fixture::new();
    let mut first = Peer::connect(fixture.address());
    let key = login(&mut first);
    let mut second = Peer::connect(fixture.address());
    resume(&mut second, &key);
    let mut other = Peer::connect(fixture.address());
    login(&mut other);

    let key = SessionKey::new(key).unwrap();
    let news = prepare("news", "of ada");
    let group = fixture.server.handle.session_group(&key);
    assert_eq!((group.name(), group.len()), (None, 2));
    assert_eq!(group.signal_prepared(&news), sent(2));
    let unknown = SessionKey::from_entropy([7; SessionKey::ENTROPY]);
    let unknown = fixture.server.handle.session_group(&unknown);
    assert_eq!((unknown.signal_prepared(&news), unknown.is_empty()), (sent(0), true));
    let others = group.clone().except(&group.members()[0]);
    assert_eq!(others.signal("news", "of the others").unwrap(), sent(1));
    for peer in [&mut first, &mut second] {
        assert_eq!(peer.message(), signal(UTF8, "news", b"of ada"));
    }
    assert_eq!(second.message(), signal(UTF8, "news", b"of the others"));
    assert_eq!(group.close(), 2);
    for mut peer in [first, second] {
        peer.closed_with(1000);
    }
    other.is_served();
}

#[test]
fn a_signal_to_a_session_has_a_policy_for_those_that_read_slowly() {
    const SIZE: usize = 64 * 1024;
    let fixture = Fixture::with(|config| config.limits.max_signal_backlog = 8 * SIZE);
    let mut slow = Peer::connect(fixture.address());
    let key = SessionKey::new(login(&mut slow)).unwrap();
    let of_slow = fixture.connected();
    let session = fixture.server.handle.session_group(&key);
    let tell = |policy| session.clone().slow_readers(policy).signal("n", vec![7; SIZE]).unwrap();
    while tell(SlowReader::DropOldest).dropped == 0 {}
    let refused = vec![refused(&of_slow, SignalError::Backlogged)];
    until(|| tell(SlowReader::Refuse) == Broadcast { refused: refused.clone(), ..sent(0) });
    // The sockets may take some more at any time.
    until(|| {
        let told = tell(SlowReader::DropOldest);
        told.sent == 1 && told.dropped > 0
    });
}

#[test]
fn a_client_that_has_gone_is_counted_and_the_others_get_the_signal() {
    let fixture = Fixture::new();
    let leaver = Peer::connect(fixture.address());
    let gone = fixture.connected();
    let mut peer = Peer::connect(fixture.address());
    let here = fixture.connected();
    drop(leaver);
    fixture.wait_for_disconnected();
    let news = prepare("news", "x");
    let tell = |one: &Connection| (one.clone(), one.signal_prepared(&news));
    let told: Broadcast = [&gone, &here].map(tell).into_iter().collect();
    let refused = vec![refused(&gone, SignalError::Disconnected)];
    assert_eq!(told, Broadcast { refused, ..sent(1) });
    assert_eq!(told.total(), 2);
    assert_eq!(peer.message(), signal(UTF8, "news", b"x"));
    until(|| fixture.server.handle.connection_count() == 1);
    assert_eq!(fixture.server.handle.signal_all(&news), sent(1));
}

#[test]
fn connections_that_stay_get_every_signal_while_others_come_and_go() {
    const NEWS: usize = 300;
    let fixture = Fixture::new();
    let mut peer = Peer::connect(fixture.address());
    drop(fixture.connected());
    thread::scope(|scope| {
        let handle = fixture.server.handle.clone();
        let telling = scope.spawn(move || {
            for number in 0..NEWS {
                let told = handle.signal_all(&prepare("n", format!("{number}")));
                let gone = |refused: &Refused| refused.error == SignalError::Disconnected;
                assert!(told.sent >= 1 && told.refused.iter().all(gone), "{told:?}");
                thread::yield_now();
            }
        });
        while !telling.is_finished() {
            drop(Peer::connect(fixture.address()));
        }
        telling.join().unwrap();
    });
    for number in 0..NEWS {
        assert_eq!(peer.message(), signal(UTF8, "n", format!("{number}").as_bytes()));
    }
    peer.is_served();
}
