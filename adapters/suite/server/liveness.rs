//! Peers that say nothing, and peers that only seem to.

use std::thread;
use std::time::{Duration, Instant};

use wwr::server::{Pings, RequestError};
use wwr::{Content, Payload};

use crate::adapter::runtime;
use crate::adapter::server::{Connection, Handler, Server};
use crate::suite::support::message::{
    HEARTBEAT, MAX_CONNECTIONS, UTF8, ask, reply, request, restore,
};
use crate::suite::support::message::{answer, special};
use crate::suite::support::peer::{BINARY, CLOSE, PING, PONG, Peer, code_of, frame};
use crate::suite::support::{Fixture, Running, configured, until};

fn pings(after: u64, timeout: u64) -> Pings {
    Pings::new(Duration::from_millis(after), Duration::from_millis(timeout))
}

#[test]
fn a_peer_that_answers_pings_stays_and_one_that_does_not_is_closed() {
    let fixture = Fixture::with(|config| config.connection.pings = Some(pings(30, 2000)));
    let mut there = Peer::connect_unasked(fixture.address());
    for _ in 0..10 {
        let ping = there.frame().unwrap();
        assert_eq!(ping.first, PING);
        there.write(&frame(PONG, &ping.payload));
    }
    let mut gone = Peer::connect_unasked(fixture.address());
    let start = Instant::now();
    assert_eq!(gone.frame().map(|frame| frame.first), Some(PING));
    let close = gone.frame().unwrap();
    assert_eq!((close.first, code_of(&close)), (CLOSE, 1008));
    assert!(start.elapsed() >= Duration::from_millis(2000), "it has time to answer");
}

#[test]
fn a_half_open_connection_frees_its_slot_in_the_session() {
    let fixture = Fixture::with(|config| {
        config.connection.pings = Some(pings(100, 1500));
        config.hub.sessions.max_connections = Some(std::num::NonZeroUsize::MIN);
    });
    let mut gone = Peer::connect_unasked(fixture.address());
    gone.send(&ask(1, "login", "ada"));
    assert_eq!(gone.message_after_pings()[0], 21);
    let key = String::from_utf8(gone.message_after_pings()[9..].to_vec()).unwrap();
    let mut next = Peer::connect_unasked(fixture.address());
    next.send(&restore(1, &key));
    assert_eq!(next.message_after_pings(), special(MAX_CONNECTIONS, 1));
    // From here on, the first one does nothing. The other one answers pings meanwhile.
    let restored = loop {
        next.send(&restore(2, &key));
        let answer = next.message_after_pings();
        if answer != special(MAX_CONNECTIONS, 2) {
            break answer;
        }
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(restored[0], 192, "{restored:?}");
    until(|| fixture.server.handle.connection_count() == 1);
    drop(gone);
}

#[test]
fn without_pings_no_peer_is_pinged() {
    let fixture = Fixture::with(|config| config.connection.pings = None);
    let mut peer = Peer::connect_unasked(fixture.address());
    thread::sleep(Duration::from_millis(300));
    // No ping comes before the answer.
    peer.is_served();
}

#[test]
fn a_known_2_0_peer_is_given_up_after_the_read_timeout_without_a_ping() {
    let fixture = Fixture::with(|config| {
        config.connection.advertised.read_timeout = Duration::from_millis(200);
        config.connection.pings = None;
    });
    let mut peer = Peer::dial(fixture.address());
    peer.open("/", "");
    assert_eq!(peer.message()[3..7], [200, 0, 0, 0]);
    let start = Instant::now();
    peer.send(HEARTBEAT);
    let close = peer.frame().unwrap();
    assert_eq!((close.first, code_of(&close)), (CLOSE, 1008));
    assert!(start.elapsed() >= Duration::from_millis(200));
    assert!(!fixture.wait_for_disconnected().0);
}

/// In the middle of a frame, a peer cannot even answer a ping.
#[test]
fn a_large_message_may_come_slowly() {
    let limit = Duration::from_millis(1000);
    let fixture = Fixture::with(|config| config.connection.pings = Some(pings(300, 700)));
    let mut peer = Peer::connect(fixture.address());
    let payload = vec![b'x'; 100_000];
    let message = frame(BINARY, &request(UTF8, 1, "echo", &payload));
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    for part in message.chunks(message.len() / 100) {
        // Fails if the server has hung up.
        if peer.try_write(part).is_err() {
            break;
        }
        longest = longest.max(last.elapsed());
        last = Instant::now();
        thread::sleep(limit / 40);
    }
    // If this thread was kept from running for so long, the server was right to hang up.
    if longest.max(last.elapsed()) < limit {
        assert!(peer.message_after_pings() == reply(UTF8, 1, &payload));
    }
}

/// What such a peer has sent waits in the socket, unread, because it reads too slowly itself.
#[test]
fn a_peer_whose_messages_are_left_unread_is_not_silent() {
    let size = 30_000_000;
    let fixture = Fixture::with(|config| {
        config.connection.advertised.read_timeout = Duration::from_millis(200);
        config.connection.advertised.message_buffer = 100_000_000;
        config.connection.max_message_size = 100_000_000;
        // A connection A closed peer gets no time for output that was not written yet.
        config.limits.close_timeout = Duration::from_millis(1);
    });
    let mut peer = Peer::dial(fixture.address());
    peer.open("/", "");
    peer.message();
    peer.write(&[frame(BINARY, HEARTBEAT), frame(BINARY, &ask(1, "big", "30000000"))].concat());
    fixture.wait_for_start("big");
    thread::sleep(Duration::from_millis(1000));
    assert_eq!(peer.message().len(), 9 + size);
}

/// An application whose hook for new connections takes its time.
struct Slow;

impl Handler for Slow {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn connected(&self, _: &Connection) {
        smol::Timer::after(Duration::from_millis(1000)).await;
    }
}

#[test]
fn a_client_that_is_not_read_yet_is_not_silent() {
    let builder = Server::builder_on(runtime(), Slow)
        .config(configured(|config| config.connection.pings = Some(pings(100, 400))));
    let server = Running::new(builder);
    let mut peer = Peer::connect_unasked(server.address);
    // Sent before anything is read, so it is heard before anything is judged.
    peer.send(&ask(1, "echo", "early"));
    assert_eq!(peer.message_after_pings(), answer(1, "early"));
}
