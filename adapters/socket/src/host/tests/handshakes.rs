//! Requests on which the application decides, and clients of which nothing is known yet.

use wwr::server::gate::Answer;
use wwr::server::{Detection, Observed, Preflights};

use super::*;

/// How a socket ends.
type End = fn(&mut World, SocketId);

fn asking() -> World {
    World::new(|config| config.asks_application = true)
}

/// Sends a request about which the application is asked. Returns its socket.
fn asked(world: &mut World) -> SocketId {
    let id = world.accept();
    world.host.received(world.now, id, World::handshake("/").as_bytes());
    let event = world.host.poll_event(world.now);
    assert!(
        matches!(&event, Some(HostEvent::Socket { event: Event::Handshake(_), .. })),
        "{event:?}"
    );
    id
}

#[test]
fn the_answer_of_an_application_is_whole_whatever_it_says() {
    for (status, header, starts, ends) in [
        (200, ("Content-Length", "1000"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "\r\n\r\nhi"),
        (200, ("transfer-encoding", "chunked"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "hi"),
        (204, ("X", "y"), "HTTP/1.1 204 No Content\r\nX: y\r\n\r\n", "\r\n\r\n"),
        (304, ("X", "y"), "HTTP/1.1 304 \r\nX: y\r\n\r\n", "\r\n\r\n"),
        (101, ("Upgrade", "websocket"), "HTTP/1.1 500 Internal Server Error\r\n", "\r\n\r\n"),
        (100, ("X", "y"), "HTTP/1.1 500 Internal Server Error\r\n", "\r\n\r\n"),
        (0, ("X", "y"), "HTTP/1.1 500 Internal Server Error\r\n", "\r\n\r\n"),
        (1000, ("X", "y"), "HTTP/1.1 500 Internal Server Error\r\n", "\r\n\r\n"),
    ] {
        let mut world = asking();
        let id = asked(&mut world);
        let headers = [(header.0, header.1.into())].into();
        let answer = Answer { status, headers, body: "hi".into() };
        world.host.answer(at(0), id, Err(answer));
        let first = world.raw(id, b"", 1) + &String::from_utf8_lossy(&world.take(id));
        assert!(first.starts_with(starts) && first.ends_with(ends), "{status}: {first}");
        // The next request on the socket is answered behind that.
        let next = world.raw(id, b"OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n", 100);
        assert!(next.starts_with("HTTP/1.1 200 OK\r\n"), "{status}: {next}");
    }
}

#[test]
fn an_answer_that_says_it_is_the_last_is_in_any_case() {
    for value in ["close", "Close", "CLOSE", "x, cLose"] {
        let mut world = asking();
        let id = asked(&mut world);
        let headers = [("Connection", value.into())].into();
        world.host.answer(at(0), id, Err(Answer { status: 403, headers, body: "no".into() }));
        world.work();
        let answer = String::from_utf8_lossy(&world.take(id)).into_owned();
        assert_eq!(answer.matches("close").count(), 1, "{answer}");
        assert_eq!(world.host.disposition(id), Disposition::ShutDownWrite, "{value}");
    }
}

#[test]
fn the_application_hears_that_a_handshake_has_ended_without_it() {
    let timeout = |world: &mut World, _| {
        world.now = at(60_000);
        world.host.handle_timeout(at(60_000));
    };
    let closed = |world: &mut World, id| world.host.closed(at(0), id);
    let evicted = |world: &mut World, _| {
        world.accept();
    };
    let failed = |world: &mut World, _| {
        world.host.accept_failed(at(0));
    };
    let aborted = |world: &mut World, id| world.host.abort(at(0), id);
    let stopped = |world: &mut World, _| world.host.shut_down(at(0), Duration::ZERO);
    let ends: [(End, &[&str]); 6] = [
        (timeout, &["Refused(HandshakeTimeout)", "HandshakeEnded"]),
        (closed, &["HandshakeEnded"]),
        (evicted, &["HandshakeEnded", "Refused(Evicted)"]),
        (failed, &["HandshakeEnded", "CannotAccept { attempts: 1 }", "Refused(Evicted)"]),
        (aborted, &["HandshakeEnded"]),
        (stopped, &["HandshakeEnded", "Stopped"]),
    ];
    for (end, expected) in ends {
        let mut world = World::new(|config| {
            config.asks_application = true;
            config.limits.max_handshakes = 1;
        });
        let id = asked(&mut world);
        end(&mut world, id);
        world.work();
        assert_eq!(world.seen, expected);
        assert_eq!(world.host.disposition(id), Disposition::Close);
        // Its answer comes too late, and changes nothing.
        world.host.answer(world.now, id, Ok(HandshakeOptions::default()));
        world.work();
        assert_eq!((world.seen.len(), world.host.output(id).len()), (expected.len(), 0));
        assert_eq!(world.host.hub().admitted_count(), 0);
    }
}

#[test]
fn a_second_answer_changes_nothing() {
    for first in [Ok(()), Err(())] {
        let mut world = asking();
        let id = asked(&mut world);
        let no = || Answer { status: 403, headers: [].into(), body: [][..].into() };
        let first = first.map(|()| HandshakeOptions::default()).map_err(|()| no());
        let opened = first.is_ok();
        world.host.answer(at(0), id, first);
        world.work();
        world.take(id);
        let before = format!("{:?}", world.host.socket(id));
        for again in [Ok(HandshakeOptions::default()), Err(no())] {
            world.host.answer(at(0), id, again);
            world.work();
            assert_eq!(format!("{:?}", world.host.socket(id)), before);
            assert_eq!(world.host.output(id), b"");
        }
        assert_eq!(world.host.hub().connection_count(), usize::from(opened));
        assert_eq!(world.host.disposition(id), Disposition::Keep);
    }
}

#[test]
fn a_client_that_goes_while_it_is_waited_for_counts_as_silent() {
    let ends: [End; 3] = [
        |world, id| {
            world.host.end_of_input(id);
            world.work();
        },
        |world, id| world.host.closed(world.now, id),
        |world, id| world.host.abort(world.now, id),
    ];
    for end in ends {
        let mut world = World::new(|config| config.connection.protocol = Protocol::Any);
        let preflight = b"WEBWIRE / HTTP/1.1\r\nHost: h\r\n\r\n";
        // The same, as the memory of preflights wants to hear of it.
        let mut expected = Preflights::default();
        let id = world.accept();
        world.raw(id, preflight, 100);
        expected.asked(at(0), CLIENT);
        let gone = world.connect();
        expected.arrived(at(0), &CLIENT, Observed::Nothing);
        assert_eq!(world.host.socket(gone.id).unwrap().dialect(), None, "it is waited for");
        end(&mut world, gone.id);
        expected.silent(at(0), at(0), &CLIENT);
        world.host.closed(at(0), gone.id);
        // Its preflight was its own: the next client came without one, and is not waited for.
        let next = world.connect();
        let arrived = expected.arrived(at(0), &CLIENT, Observed::Nothing);
        assert!(matches!(arrived, Detection::Known(_)), "{arrived:?}");
        assert!(world.host.socket(next.id).unwrap().dialect().is_some(), "it is not waited for");
    }
}

/// A page cannot say in its preflight that it offers `wwr.1`.
#[test]
fn after_the_preflight_of_a_page_of_wwr_1_no_silent_client_is_taken_for_one_of_1_x() {
    let mut world = World::new(|config| config.connection.protocol = Protocol::Any);
    let page = world.accept();
    world.raw(page, b"WEBWIRE / HTTP/1.1\r\nHost: h\r\n\r\n", 100);
    let offers =
        World::handshake("/").replacen("\r\n\r\n", "\r\nSec-WebSocket-Protocol: wwr.1\r\n\r\n", 1);
    world.raw_bytes(page, offers.as_bytes(), 1000);
    assert_eq!(world.host.socket(page).unwrap().dialect(), Some(wwr::Dialect::Wwr1));
    let silent = world.connect();
    world.now = at(200);
    world.host.handle_timeout(world.now);
    assert_eq!(world.host.socket(silent.id).unwrap().dialect(), Some(wwr::Dialect::Unknown));
}
