//! Many connections at once, and many one after the other.

use std::net::SocketAddr;
use std::time::Duration;

use wwr::{Name, Payload, PreparedSignal, SessionKey};

use crate::adapter::server::Connections;
use crate::suite::support::message::{
    SESSION_CLOSED, UTF8, ask, close_session, empty_reply, restore, signal,
};
use crate::suite::support::peer::{CLOSE, Peer, frame};
use crate::suite::support::{Fixture, SAFETY, until};

const CROWD: usize = 200;

/// A server that waits for its clients to answer the close frame, however slow this machine is.
fn fixture() -> Fixture {
    Fixture::with(|config| config.limits.close_timeout = SAFETY)
}

/// Logs in and returns the key.
fn login(peer: &mut Peer) -> String {
    peer.send(&ask(1, "login", "ada"));
    peer.message();
    String::from_utf8(peer.message().split_off(9)).unwrap()
}

#[test]
fn many_connections_share_a_session_until_it_is_closed_for_all() {
    let fixture = fixture();
    let handle = &fixture.server.handle;
    let mut peers: Vec<_> = (0..CROWD).map(|_| Peer::connect_unasked(fixture.address())).collect();
    let text = login(&mut peers[0]);
    let key = SessionKey::new(&*text).unwrap();
    // All at once: the store answers while others ask.
    peers[1..].iter_mut().for_each(|peer| peer.send(&restore(2, &text)));
    for peer in &mut peers[1..] {
        assert_eq!(peer.message()[0], 192, "restored");
    }
    assert_eq!(handle.session_connections(&key).len(), CROWD);
    assert_eq!((handle.connection_count(), handle.active_sessions()), (CROWD, 1));

    let name: Name = "news".parse().unwrap();
    let news = PreparedSignal::new(&name, &Payload::utf8("x")).unwrap();
    assert_eq!(handle.session_group(&key).signal_prepared(&news).sent, CROWD);
    for peer in &mut peers {
        assert_eq!(peer.message(), signal(UTF8, "news", b"x"));
    }

    let mut number = 0;
    peers.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    until(|| handle.session_connections(&key).len() == CROWD / 2);
    // One more goes as clients do: the others keep the session.
    let mut leaving = peers.swap_remove(CROWD / 4);
    leaving.send(&close_session(3));
    assert_eq!(leaving.message(), SESSION_CLOSED);
    assert_eq!(leaving.message(), empty_reply(3));
    assert_eq!(handle.session_connections(&key).len(), peers.len());

    let told = smol::block_on(handle.close_session(key.clone(), Connections::Close));
    assert_eq!(told, Ok(peers.len()));
    for mut peer in peers {
        assert_eq!(peer.message(), SESSION_CLOSED);
        peer.closed_with(1000);
    }
    until(|| handle.connection_count() == 1);
    assert_eq!((handle.session_connections(&key).len(), handle.active_sessions()), (0, 0));
    leaving.is_served();
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    const CYCLES: usize = 2000;
    /// What a client does, one after the other.
    const VISITS: [fn(SocketAddr); 4] = [
        |to| drop(Peer::connect_unasked(to)),
        |to| {
            let mut peer = Peer::connect_unasked(to);
            peer.is_served();
            peer.write(&frame(CLOSE, &1000_u16.to_be_bytes()));
            peer.rest();
        },
        |to| drop(login(&mut Peer::connect_unasked(to))),
        |to| Peer::dial(to).write(b"GET / HT"),
    ];
    let fixture = fixture();
    let handle = &fixture.server.handle;
    let mut staying = Peer::connect(fixture.address());
    for visit in VISITS.iter().cycle().take(CYCLES) {
        visit(fixture.address());
        // What the application was told keeps connections in memory.
        fixture.events.try_iter().for_each(drop);
    }
    until(|| handle.connection_count() == 1 && handle.active_sessions() == 0);
    staying.is_served();
}

#[test]
fn a_shutdown_closes_many_connections() {
    let fixture = fixture();
    let peers: Vec<_> = (0..CROWD).map(|_| Peer::connect_unasked(fixture.address())).collect();
    until(|| fixture.server.handle.connection_count() == CROWD);
    let done = fixture.server.begin_shut_down(Duration::MAX);
    for mut peer in peers {
        peer.closed_with(1001);
    }
    done.recv_timeout(SAFETY).unwrap();
    fixture.server.wait_for_end();
    assert_eq!(fixture.server.handle.connection_count(), 0);
}
