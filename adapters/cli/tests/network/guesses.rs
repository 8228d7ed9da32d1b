//! Clients that guess the keys of sessions.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::hand::Hand;
use crate::support::Server;

const RESTORE: u8 = 0x20;
const NOT_FOUND: u8 = 3;

/// How many keys are guessed one after the other.
const GUESSES: u32 = 2000;

/// The key that a client would guess after that many attempts.
fn key(attempt: u32) -> String {
    format!("{attempt:064}")
}

#[test]
fn guesses_find_nothing_and_the_log_tells_how_many_they_were() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().to_str().unwrap();
    for sessions in ["memory", directory] {
        let start = Instant::now();
        let server = Server::start(&["--sessions", sessions]);
        let mut hand = Hand::open(server.address, "/");
        for attempt in 0..=GUESSES {
            if attempt == GUESSES {
                // By now a line may be written again, and it tells of all since the last one.
                sleep(Duration::from_millis(1100));
            }
            let message = [&[RESTORE][..], &[1; 8], key(attempt).as_bytes()].concat();
            hand.send(&message);
            assert_eq!(hand.message(), [&[NOT_FOUND][..], &[1; 8]].concat());
        }
        hand.is_served();
        server.running.signal(Signal::TERM);
        let elapsed = start.elapsed();
        drop(hand);
        let ran = server.running.finish();

        let lines: Vec<_> = ran.stderr.lines().filter(|line| line.contains(" keys=")).collect();
        assert!(
            lines[0].contains("keys=1 ") && lines[0].contains("remote=127.0.0.1:"),
            "{lines:?}"
        );
        assert!(lines.len() as u64 <= elapsed.as_secs() + 1, "one a second: {lines:?}");
        let counted = lines.iter().map(|line| {
            let (_, keys) = line.split_once(" keys=").unwrap();
            keys.split(' ').next().unwrap().parse::<u32>().unwrap()
        });
        assert_eq!(counted.sum::<u32>(), GUESSES + 1, "{lines:?}");
        assert!(!ran.stderr.contains(&key(0)[..32]), "keys are kept out of logs");
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    }
}
