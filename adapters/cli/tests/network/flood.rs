//! Heartbeats without end, as some clients in the field send them (protocol §4.6).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::hand::Hand;
use crate::support::{SAFETY, Server};

const A_SECOND: u32 = 1000;
const SECONDS: u32 = 10;

#[test]
fn a_flood_of_heartbeats_is_absorbed_and_others_are_served_meanwhile() {
    let server = Server::start(&[]);
    let mut flooding = Hand::open(server.address, "/");
    let mut other = Hand::open(server.address, "/");
    let quiet = latencies(&mut other, |served| served < 2000);

    let over = AtomicBool::new(false);
    let flooded = thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            for sent in 0..A_SECOND * SECONDS {
                let due = start + Duration::from_secs(1) * sent / A_SECOND;
                thread::sleep(due.saturating_duration_since(Instant::now()));
                flooding.send(&[0x21]);
            }
            over.store(true, Ordering::Relaxed);
        });
        latencies(&mut other, |_| !over.load(Ordering::Relaxed))
    });
    // What is behind the last heartbeat is answered, so each of them was read.
    flooding.is_served();

    for (when, latencies) in [("without", quiet), ("with", flooded)] {
        let [median, high, longest] = percentiles(latencies);
        println!("{when} a flood: median {median:?}, 99 % {high:?}, longest {longest:?}");
        assert!(longest < SAFETY / 2, "{when} a flood");
    }
}

/// Makes one request after the other, for as long as is said, and at least one.
fn latencies(hand: &mut Hand, go_on: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut latencies = Vec::new();
    while latencies.is_empty() || go_on(latencies.len()) {
        let start = Instant::now();
        let id = latencies.len() as u8;
        hand.request(0x80, id, "echo", &[id]);
        assert_eq!(hand.reply(0xc0, id), [id]);
        latencies.push(start.elapsed());
        // As many requests as a client makes, not as many as a server can take.
        thread::sleep(Duration::from_millis(1));
    }
    latencies
}

fn percentiles(mut latencies: Vec<Duration>) -> [Duration; 3] {
    latencies.sort_unstable();
    let last = latencies.len() - 1;
    [last / 2, last * 99 / 100, last].map(|index| latencies[index])
}
