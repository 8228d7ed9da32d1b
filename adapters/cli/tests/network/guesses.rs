//! Clients that guess the keys of sessions.

use std::time::Instant;

use rustix::process::Signal;

use crate::hand::Hand;
use crate::support::Server;

const RESTORE: u8 = 0x20;
const NOT_FOUND: u8 = 3;

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
        for attempt in 0..2000 {
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
        assert!(!ran.stderr.contains(&key(0)[..32]), "keys are kept out of logs");
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0);
    }
}
