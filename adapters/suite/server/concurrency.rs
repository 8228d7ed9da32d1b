//! Many clients at once.

use std::thread;
use std::time::Duration;

use crate::adapter::runtime;
use crate::adapter::server::Server;
use crate::suite::support::app::App;
use crate::suite::support::message::{
    SESSION_CLOSED, answer, ask, close_session, empty_reply, restore, special,
};
use crate::suite::support::peer::Peer;
use crate::suite::support::{Running, SAFETY};

/// Many clients at once: requests, pipelined ones, sessions on two connections; then a shutdown.
pub(crate) fn exercise(server: &Running) {
    let address = server.address;
    thread::scope(|scope| {
        for client in 0..8_u64 {
            scope.spawn(move || {
                let mut peer = Peer::connect(address);
                for round in 0..50 {
                    let text = format!("{client} {round}");
                    assert_eq!(peer.ask(round, "echo", &text), answer(round, &text));
                }
                (0..500).for_each(|id| peer.send(&ask(id, "echo", "x")));
                (0..500).for_each(|id| assert_eq!(peer.message(), answer(id, "x")));

                peer.send(&ask(1, "login", "ada"));
                assert_eq!(peer.message()[0], 21);
                let reply = peer.message();
                let key = std::str::from_utf8(&reply[9..]).unwrap();
                let mut second = Peer::connect(address);
                second.send(&restore(2, key));
                assert_eq!(second.message()[..9], special(192, 2));
                for (peer, id) in [(&mut peer, 3), (&mut second, 4)] {
                    peer.send(&close_session(id));
                    assert_eq!(peer.message(), SESSION_CLOSED);
                    assert_eq!(peer.message(), empty_reply(id));
                }
            });
        }
    });
    assert_eq!(server.handle.active_sessions(), 0);
    let mut last = Peer::connect(server.address);
    let done = server.begin_shut_down(SAFETY);
    last.closed_with(1001);
    done.recv_timeout(SAFETY).unwrap();
    server.wait_for_end();
}

#[test]
fn many_clients_are_served_at_once() {
    exercise(&Running::new(Server::builder_on(runtime(), App::new().0)));
}

#[test]
fn many_clients_that_come_and_go_leave_nothing() {
    let server = Running::new(Server::builder_on(runtime(), App::new().0));
    let address = server.address;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                for round in 0..50 {
                    let mut peer = Peer::connect_unasked(address);
                    peer.send(&ask(1, "login", "ada"));
                    if round % 2 == 0 {
                        assert_eq!(peer.message()[0], 21);
                    }
                }
            });
        }
    });
    crate::suite::support::until(|| server.handle.connection_count() == 0);
    crate::suite::support::until(|| server.handle.active_sessions() == 0);
    smol::block_on(server.handle.shut_down(Duration::ZERO));
}
