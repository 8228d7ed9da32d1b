//! What one socket may take of the others: turns, places, memory.

use super::*;

impl Client {
    /// Queues a signal of 1.4 in UTF-8 (protocol §1.3).
    fn signal(&mut self, name: &str) {
        let message = [&[64, name.len() as u8], name.as_bytes(), b"x"].concat();
        self.socket.send(&message, &mut self.memory);
    }

    fn take_output(&mut self) -> Vec<u8> {
        self.socket.mask(|| [1, 2, 3, 4]);
        let output = self.socket.output().to_vec();
        self.socket.sent(at(0), output.len(), &mut self.memory);
        output
    }
}

#[test]
fn sockets_take_turns_event_by_event() {
    let mut world = World::new(|_| {});
    let mut clients = [world.connect(), world.connect(), world.connect()];
    for (client, count) in clients.iter_mut().zip([4, 1, 2]) {
        (0..count).for_each(|_| client.signal("news"));
        let bytes = client.take_output();
        world.host.received(at(0), client.id, &bytes);
    }
    let [a, b, c] = clients.each_ref().map(|client| client.id);
    let mut order = Vec::new();
    while let Some(event) = world.host.poll_event(at(0)) {
        let HostEvent::Socket { id, event: Event::Signal(_) } = event else { panic!("{event:?}") };
        order.push(id);
        // An application that receives more between two events holds nobody up either.
        if order.len() == 2 {
            clients[0].signal("more");
            let bytes = clients[0].take_output();
            world.host.received(at(0), a, &bytes);
        }
    }
    assert_eq!(order, [a, b, c, a, c, a, a, a]);
}

#[test]
fn handshakes_make_room_if_the_system_has_none() {
    let mut world = World::new(|_| {});
    let served = world.connect();
    let waiting: Vec<_> = (0..10).map(|_| world.accept()).collect();
    assert_eq!(world.host.accept_failed(at(0)), (at(10), true));
    assert_eq!(world.host.accept_failed(at(10)), (at(20), true));
    world.work();
    let evicted = "Refused(Evicted)";
    let expected = ["Connected", "CannotAccept { attempts: 1 }", evicted, evicted, evicted];
    assert_eq!(world.seen, expected, "two of ten, then one of eight: the oldest");
    for (place, id) in waiting.iter().enumerate() {
        let is_gone = world.host.disposition(*id) == Disposition::Close;
        assert_eq!(is_gone, place < 3, "{place}");
        world.host.closed(at(10), *id);
    }
    assert_eq!(world.host.accept_failed(at(1000)), (at(1100), false), "nobody is left");
    assert_eq!(world.host.disposition(served.id), Disposition::Keep);
    world.work();
    assert_eq!(world.seen.last().unwrap(), "CannotAccept { attempts: 2 }");
}

#[test]
fn the_application_is_told_once_that_sessions_stay() {
    let expires =
        Some(wwr::server::Expiry::new(Duration::from_secs(3600), Duration::from_secs(60)));
    for (expiry, external, told) in [(None, false, 1), (expires, false, 0), (None, true, 0)] {
        let mut world = World::new(|config| config.hub.expiry = expiry);
        if external {
            world.host = world.host.with_external_store();
        }
        for _ in 0..2 {
            let mut client = world.connect();
            world.ask(&mut client, 1, "login", "");
        }
        let count = world.seen.iter().filter(|event| *event == "SessionsNeverExpire").count();
        assert_eq!(count, told, "{expiry:?}, {external}: {:?}", world.seen);
    }
}

#[test]
fn a_payload_that_is_kept_holds_a_chunk_of_the_chosen_size() {
    for size in [1024, 16 * 1024] {
        let mut world = World::new(|config| config.limits.receive_chunk = size);
        let mut client = world.connect();
        // Whatever is there before the first message is in a chunk that is used up.
        client.signal(&"x".repeat(200));
        let filler = client.take_output();
        for _ in 0..size / filler.len() + 1 {
            world.host.received(at(0), client.id, &filler);
            while world.host.poll_event(at(0)).is_some() {}
        }
        client.signal("kept");
        let bytes = client.take_output();
        let mut kept = Vec::with_capacity(100);
        let held = allocation_counter::measure(|| {
            for _ in 0..100 {
                // Each is in a chunk of its own.
                for bytes in
                    [&bytes].into_iter().chain(std::iter::repeat_n(&filler, size / filler.len()))
                {
                    world.host.received(at(0), client.id, bytes);
                    while let Some(event) = world.host.poll_event(at(0)) {
                        let HostEvent::Socket { event: Event::Signal(signal), .. } = event else {
                            continue;
                        };
                        kept.extend((signal.name() == b"kept").then_some(signal));
                    }
                }
            }
        });
        let each = held.bytes_current as usize / kept.len();
        println!("a payload that is kept, with chunks of {size} bytes: {each} bytes");
        assert!((size / 2..size + size / 2).contains(&each), "{size}: {each}");
    }
}

#[test]
fn settings_that_nobody_could_use_are_refused() {
    let with = |change: fn(&mut ServerConfig)| {
        let mut config = ServerConfig::default();
        change(&mut config);
        Host::new(config, at(0), UnixTime::from_seconds(0)).map(drop)
    };
    let chunk = with(|config| config.limits.receive_chunk = 0);
    assert_eq!(chunk, Err(InvalidConfig::Zero { setting: "limits.receive_chunk" }));
    let long = with(|config| {
        let names = config.names.insert(wwr::names::Names::default());
        names.requests = (0..300).map(|number| format!("{number:0255}")).collect();
    });
    assert!(
        matches!(long, Err(InvalidConfig::ListTooLong { setting: "names", length: 77_427, .. })),
        "{long:?}"
    );
    let odd = with(|config| {
        let names = config.names.insert(wwr::names::Names::default());
        names.signals.push("a\n".into());
    });
    assert!(matches!(odd, Err(InvalidConfig::Name { setting: "names", .. })), "{odd:?}");
}
