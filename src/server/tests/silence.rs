//! Peers that say nothing: pings, read timeouts, and what does not count as silence.

use super::*;

const HEARTBEAT: &[u8] = b"\x21";

/// A read timeout of 1 s, pings after 300 ms, 200 ms for the answer.
fn config() -> Config {
    let advertised = Advertised { read_timeout: Duration::from_secs(1), ..Advertised::default() };
    let pings = Pings::new(Duration::from_millis(300), Duration::from_millis(200));
    Config { advertised, pings: Some(pings), ..super::config() }
}

fn script(dialect: Dialect, config: &Config) -> Script {
    let mut script = Script::accept(dialect, config);
    script.lines();
    script
}

impl Script {
    /// Lets time pass until `millis` after the start; returns what was done, with the time.
    fn until(&mut self, millis: u64) -> Vec<String> {
        let mut lines = Vec::new();
        let end = Instant::from_millis(millis);
        while let Some(due) = self.connection.next_timeout().filter(|due| *due <= end) {
            assert!(due >= self.now, "deadlines do not lie in the past");
            self.now = due;
            self.connection.handle_timeout(due, &mut self.out);
            let now = due.as_nanos() / 1_000_000;
            assert!(self.connection.next_timeout().is_none_or(|next| next > due), "{now}");
            lines.extend(self.lines().iter().map(|line| format!("{now} {line}")));
        }
        self.now = end;
        lines
    }

    fn active(&mut self, millis: u64) {
        self.now = Instant::from_millis(millis);
        self.connection.handle_activity(self.now);
    }
}

#[test]
fn peers_without_heartbeats_are_pinged_and_given_up() {
    for dialect in [Dialect::V1_4, Dialect::Unknown] {
        let mut script = script(dialect, &config());
        assert_eq!(script.until(10_000), ["300 ping", "500 close Silent"], "{dialect}");
    }
}

#[test]
fn any_sign_of_life_is_enough() {
    for dialect in [Dialect::V1_4, Dialect::Unknown] {
        let mut script = script(dialect, &config());
        assert_eq!(script.until(400), ["300 ping"]);
        script.active(400);
        assert_eq!(script.until(700), ["700 ping"], "300 ms after the pong");
        script.active(700);
        assert_eq!(script.until(950), Vec::<String>::new());
        script.client(signal("s", "x"), &["signal 1 s x"]);
        script.handled(1, &[]);
        assert_eq!(script.until(1249), Vec::<String>::new());
        assert_eq!(script.until(2000), ["1250 ping", "1450 close Silent"]);
    }
}

#[test]
fn a_host_that_comes_late_finds_the_same() {
    for dialect in [Dialect::V1_4, Dialect::Unknown] {
        let mut script = script(dialect, &config());
        script.pass(301, &["ping"]);
        script.pass(201, &["close Silent"]);
    }
    let mut script = script(Dialect::V2_0, &config());
    script.pass(1001, &["close Silent"]);
}

#[test]
fn time_for_an_answer_does_not_put_off_the_next_ping() {
    let pings = Pings::new(Duration::from_millis(300), Duration::from_secs(5));
    let mut script = script(Dialect::Unknown, &Config { pings: Some(pings), ..config() });
    assert_eq!(script.until(310), ["300 ping"]);
    script.active(310);
    assert_eq!(script.until(10_000), ["610 ping", "5610 close Silent"]);
}

#[test]
fn pings_can_be_left_to_the_host() {
    let mut script = script(Dialect::Unknown, &Config { pings: None, ..config() });
    assert_eq!(script.connection.next_timeout(), None);
    script.connection.handle_timeout(Instant::from_millis(100_000), &mut script.out);
    script.expect(&[]);
}

#[test]
fn peers_with_heartbeats_are_given_up_after_the_read_timeout() {
    for dialect in [Dialect::V1_5, Dialect::V2_0] {
        let mut silent = script(dialect, &config());
        assert_eq!(silent.until(10_000), ["1000 close Silent"], "{dialect}");

        let mut beating = script(dialect, &config());
        for beat in 1..10 {
            assert_eq!(beating.until(beat * 750), Vec::<String>::new());
            beating.client(HEARTBEAT, &[]);
        }
        assert_eq!(beating.until(10_000), ["7750 close Silent"]);

        let mut pinging = script(dialect, &config());
        assert_eq!(pinging.until(999), Vec::<String>::new());
        pinging.active(999);
        assert_eq!(pinging.until(10_000), ["1999 close Silent"]);
    }
}

#[test]
fn the_read_timeout_of_1_5_is_the_advertised_one() {
    let advertised =
        Advertised { read_timeout: Duration::from_millis(400), ..Advertised::default() };
    let mut script = script(Dialect::V1_5, &Config { advertised, ..config() });
    assert_eq!(script.until(10_000), ["1000 close Silent"], "no less than a second can be told");

    // It is advertised as one second; a client that is taken for 1.5 but speaks 2.0 has got all of
    // it.
    let advertised =
        Advertised { read_timeout: Duration::from_millis(1900), ..Advertised::default() };
    let mut script = self::script(Dialect::V1_5, &Config { advertised, ..config() });
    assert_eq!(script.until(10_000), ["1900 close Silent"]);
}

#[test]
fn the_read_timeout_counts_from_when_the_peer_is_known_to_have_one() {
    let mut script = script(Dialect::Unknown, &config());
    assert_eq!(script.until(450), ["300 ping"]);
    script.client(HEARTBEAT, &["speaks 2.0"]);
    assert_eq!(script.until(10_000), ["1450 close Silent"], "and no more pings");
}

#[test]
fn the_deadline_is_not_moved_by_every_message() {
    let mut script = script(Dialect::V2_0, &config());
    let due = script.connection.next_timeout();
    for millis in 1..900 {
        script.now = Instant::from_millis(millis);
        script.client(HEARTBEAT, &[]);
        assert_eq!(script.connection.next_timeout(), due);
    }
    script.connection.handle_timeout(Instant::from_millis(1000), &mut script.out);
    assert_eq!(script.connection.next_timeout(), Some(Instant::from_millis(1899)));
}

#[test]
fn a_peer_that_waits_for_a_handler_only_has_to_answer_pings() {
    let mut without_pings = script(Dialect::V2_0, &Config { pings: None, ..config() });
    without_pings.client(request(1, "slow", ""), &["run 1 slow"]);
    assert_eq!(without_pings.until(5500), Vec::<String>::new());
    without_pings.reply(1, Ok("x"), &["send c0 1 x"]);
    let closed = ["7000 close Silent"];
    assert_eq!(without_pings.until(20_000), closed, "at most twice the read timeout later");

    let mut there = script(Dialect::V2_0, &config());
    there.client(request(1, "slow", ""), &["run 1 slow"]);
    assert_eq!(there.until(1100), ["1000 ping"]);
    there.active(1100);
    assert_eq!(there.until(2000), Vec::<String>::new());
    assert_eq!(there.until(2150), ["2100 ping"]);
    there.reply(1, Ok("x"), &["send c0 1 x"]);
    assert_eq!(there.until(20_000), ["3300 close Silent"], "the handler is the last sign of life");

    for (dialect, ping) in [(Dialect::V1_4, "300 ping"), (Dialect::V2_0, "1000 ping")] {
        let mut gone = script(dialect, &config());
        gone.client(request(1, "slow", ""), &["run 1 slow"]);
        assert_eq!(gone.until(1300), [ping], "{dialect}");
        assert!(!gone.connection.is_open(), "draining");
        gone.reply(1, Ok("x"), &["send c0 1 x", "close Silent"]);
    }
}

#[test]
fn an_answer_may_take_longer_than_the_read_timeout() {
    let pings = Pings::new(Duration::from_millis(300), Duration::from_millis(2500));
    let mut script = script(Dialect::V2_0, &Config { pings: Some(pings), ..config() });
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    assert_eq!(script.until(3400), ["1000 ping"], "one is enough");
    script.active(3400);
    assert_eq!(script.until(6899), ["4400 ping"]);
    script.until(6900);
    assert!(!script.connection.is_open());
}

#[test]
fn a_peer_that_is_not_read_is_not_silent() {
    for dialect in [Dialect::V1_4, Dialect::V2_0] {
        let full = Config { max_queued_messages: NonZeroU16::MIN, ..config() };
        let mut script = script(dialect, &full);
        script.client(request(1, "slow", ""), &["run 1 slow"]);
        script.client(request(2, "next", ""), &[]);
        assert!(!script.connection.wants_input());
        // It may be waiting for an answer to a ping, which is not read either.
        let signs: Vec<_> = (1..=16).map(|sign| format!("{} ping", 300 * sign)).collect();
        assert_eq!(script.until(5000), signs, "{dialect}");
        // Just now it is listened to again; what it sent meanwhile has not been read yet.
        script.reply(1, Ok("x"), &["send c0 1 x", "run 2 next"]);
        script.reply(2, Ok("x"), &["send c0 2 x"]);
        script.until(5290);
        assert!(script.connection.is_open(), "{dialect}");
    }
}

/// Clients of this crate give a server up after 45 s without a sign of life, whatever they speak.
#[test]
fn a_peer_that_is_not_read_gets_signs_of_life() {
    for dialect in [Dialect::V1_4, Dialect::V1_5, Dialect::V2_0, Dialect::Unknown] {
        let full = Config { max_queued_messages: NonZeroU16::MIN, ..Config::default() };
        let mut script = script(dialect, &full);
        script.until(5000);
        script.client(request(1, "slow", ""), &["run 1 slow"]);
        script.client(request(2, "next", ""), &[]);
        let signs: Vec<_> = (1..=9).map(|sign| format!("{} ping", 5000 + 10_000 * sign)).collect();
        assert_eq!(script.until(100_000), signs, "{dialect}");
    }
    let full = Config { max_queued_messages: NonZeroU16::MIN, pings: None, ..config() };
    let mut script = script(Dialect::V2_0, &full);
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    script.client(request(2, "next", ""), &[]);
    assert_eq!(script.until(100_000), Vec::<String>::new(), "pings are left to the host");
}

#[test]
fn a_peer_that_shows_its_version_between_two_long_handlers_gets_signs_of_life() {
    let full = Config { max_queued_messages: NonZeroU16::MIN, ..config() };
    let mut script = script(Dialect::Unknown, &full);
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    script.client(request(2, "next", ""), &[]);
    script.until(100);
    script.reply(1, Ok("x"), &["send c0 1 x", "run 2 next"]);
    script.client(HEARTBEAT, &["speaks 2.0"]);
    script.client(request(3, "last", ""), &[]);
    assert!(!script.connection.wants_input());
    assert_eq!(script.until(1000), ["400 ping", "700 ping", "1000 ping"]);
}

#[test]
fn a_peer_that_was_not_read_for_a_while_gets_the_full_time_again() {
    let full = Config { max_queued_messages: NonZeroU16::MIN, ..config() };
    let mut script = script(Dialect::V1_4, &full);
    script.until(10);
    script.client(request(1, "slow", ""), &["run 1 slow"]);
    script.client(request(2, "next", ""), &[]);
    assert!(!script.connection.wants_input());
    script.until(290);
    script.reply(1, Ok("x"), &["send c0 1 x", "run 2 next"]);
    script.reply(2, Ok("x"), &["send c0 2 x"]);
    assert_eq!(script.until(599), Vec::<String>::new());
    assert_eq!(script.until(600), ["600 ping"]);
}

#[test]
fn a_peer_is_watched_once_it_is_known_to_have_a_read_timeout() {
    let mut script = script(Dialect::Unknown, &Config { pings: None, ..config() });
    script.until(450);
    script.client(HEARTBEAT, &["speaks 2.0"]);
    assert_eq!(script.until(10_000), ["1450 close Silent"]);
}

#[test]
fn a_silent_peer_leaves_its_session() {
    let mut script = Script::logged_in(Dialect::V1_4, &config());
    let now = script.now.as_nanos() / 1_000_000;
    let left = format!("{} ask Leave k1", now + 500);
    let closed = format!("{} close Silent", now + 500);
    assert_eq!(script.until(10_000), [format!("{} ping", now + 300), left, closed]);
}

#[test]
fn without_time_to_drain_silence_is_the_end_at_once() {
    let config = Config { drain_timeout: Duration::ZERO, ..config() };
    let mut script = script(Dialect::V1_4, &config);
    script.client(request(1, "a", "x"), &["run 1 a x"]);
    assert_eq!(script.until(10_000), ["300 ping", "500 close Silent"]);
}
