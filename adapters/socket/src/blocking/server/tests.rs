//! One turn of the loop.

use std::collections::HashSet;
use std::thread;

use super::*;

const NOBODY: &str = "127.0.0.1:0";

fn event_loop() -> EventLoop {
    EventLoop::bind(NOBODY, ServerConfig::default()).unwrap()
}

#[test]
fn a_flood_of_sockets_is_accepted_in_turns() {
    let mut event_loop = event_loop();
    let address = event_loop.local_addr();
    // All of them wait before the first one is accepted.
    let clients: Vec<_> =
        (0..100).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let mut events = Events::with_capacity(16);
    let mut counts = Vec::new();
    while event_loop.accepting == Accepting::Due {
        event_loop.turn(&mut events, &mut |_, _, _| {}).unwrap();
        counts.push(event_loop.host.socket_count());
    }
    assert_eq!(counts, [ACCEPTS, clients.len()]);
}

#[test]
fn a_socket_has_its_turn_once_in_a_round() {
    let mut event_loop = event_loop();
    let client =
        super::super::Client::connect(&std::format!("ws://{}", event_loop.address)).unwrap();
    // Requests that take several reads, and whose replies take several writes.
    let stop = event_loop.stop();
    let asking = thread::spawn(move || {
        let payload = "x".repeat(500_000);
        let replies = [(); 4].map(|()| client.request("echo", &*payload));
        drop(client);
        stop.shut_down(Duration::ZERO).unwrap();
        assert!(replies.iter().flatten().all(|reply| reply.as_bytes() == payload.as_bytes()));
        replies.iter().flatten().count()
    });
    let mut events = Events::with_capacity(16);
    let mut application = |host: &mut Host, now, event| {
        if let HostEvent::Socket { id, event: Event::Request(request) } = event {
            host.reply(now, id, request.id, Ok(request.content.into_payload())).unwrap();
        }
    };
    while event_loop.sockets.is_empty() {
        assert!(!event_loop.turn(&mut events, &mut application).unwrap());
    }
    // As the system tells of it, after a write, and as its own output wants it.
    let token = *event_loop.sockets.keys().next().unwrap();
    (0..3).for_each(|_| event_loop.queue(token));
    assert_eq!(event_loop.ready, [token]);
    while !event_loop.turn(&mut events, &mut application).unwrap() {
        let once: HashSet<_> = event_loop.ready.iter().collect();
        assert_eq!(once.len(), event_loop.ready.len());
        for (token, socket) in &event_loop.sockets {
            assert_eq!(socket.is_queued, once.contains(token));
        }
    }
    assert_eq!(asking.join().unwrap(), 4);
}
