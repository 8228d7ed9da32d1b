//! Servers that fall silent, and those that only seem to.

use super::discovery::{CONF, Input, NAMES_1_4, NAMES_1_5, after};
use super::*;

/// Pings after 300 ms, 200 ms for the answer; requests have a second.
fn config(protocol: Protocol) -> Config {
    Config { protocol, pings: pings(300, 200), request_timeout: Duration::from_secs(1), ..quiet() }
}

/// Connected at 0 ms, with a server of 1.4, 1.5, or 2.0.
fn connected(opening: &[Input]) -> Fixture {
    let mut fixture = Fixture::new(config(Protocol::Auto));
    fixture.now = Instant::EPOCH;
    fixture.connect();
    opening.iter().for_each(|input| input(&mut fixture));
    fixture.timeout();
    let labels = fixture.labels();
    assert!(
        labels.ends_with(&["Ping".into()]) && labels.contains(&"Connected".into()),
        "{labels:?}"
    );
    fixture
}

const OF_1_4: &[Input] = &[NAMES_1_4, Fixture::opened];
const OF_1_5: &[Input] = &[NAMES_1_5, Fixture::opened];
const OF_2_0: &[Input] = &[NAMES_1_4, Fixture::opened, CONF];
const ALL: [&[Input]; 3] = [OF_1_4, OF_1_5, OF_2_0];

impl Fixture {
    /// Lets time pass until `millis`, and returns what was done, with the time.
    fn until(&mut self, millis: u64) -> Vec<String> {
        let mut lines = Vec::new();
        let end = Instant::from_millis(millis);
        while let Some(due) = self.client.next_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.timeout();
            let now = due.as_nanos() / 1_000_000;
            let labels = self.labels().into_iter().filter(|label| label != "Send 21");
            lines.extend(labels.map(|label| format!("{now} {label}")));
        }
        self.now = end;
        lines
    }

    fn pong(&mut self) {
        self.client.handle_pong(self.now);
    }

    fn activity(&mut self) {
        self.client.handle_activity(self.now);
    }
}

fn no_lines() -> Vec<String> {
    Vec::new()
}

#[test]
fn a_server_that_answered_a_ping_is_missed_when_it_does_not() {
    for opening in ALL {
        let mut fixture = connected(opening);
        fixture.pong();
        assert_eq!(fixture.until(499), ["300 Ping"]);
        assert_eq!(fixture.until(600), ["500 Hangup", "500 Disconnected"]);
        assert_eq!(fixture.client.status(), Status::Waiting, "it connects again");
    }
}

#[test]
fn the_application_learns_why_and_when_it_goes_on() {
    let mut fixture = connected(OF_2_0);
    let id = fixture.request("a").unwrap();
    fixture.pong();
    fixture.take();
    fixture.until(300);
    fixture.now = Instant::from_millis(500);
    fixture.timeout();
    let retry = fixture.client.next_timeout();
    assert!(retry.is_some());
    let reason = DisconnectReason::Silent;
    assert_eq!(
        fixture.take(),
        [
            Action::Hangup,
            Action::Event(Event::Disconnected { reason, retry }),
            Action::Done { id, outcome: Err(RequestError::ConnectionLost) },
        ]
    );
}

#[test]
fn any_sign_of_life_is_enough() {
    let signs: [Input; 4] = [
        Fixture::pong,
        Fixture::activity,
        |fixture| fixture.receive(&b"\x3f\x01ax"[..]),
        |fixture| fixture.receive(&b"\x07"[..]),
    ];
    for opening in ALL {
        for sign in signs {
            let mut fixture = connected(opening);
            fixture.pong();
            assert_eq!(fixture.until(450), ["300 Ping"]);
            sign(&mut fixture);
            fixture.labels();
            assert_eq!(fixture.until(900), ["750 Ping"], "300 ms after it");
            sign(&mut fixture);
            fixture.labels();
            assert_eq!(fixture.until(1401), ["1200 Ping", "1400 Hangup", "1400 Disconnected"]);
        }
    }
}

/// The timer of the host stays where it is, however much arrives.
#[test]
fn the_deadline_is_not_moved_by_every_message() {
    let mut fixture = connected(OF_1_4);
    fixture.pong();
    fixture.until(200);
    let due = fixture.client.next_timeout();
    for millis in 201..299 {
        fixture.now = Instant::from_millis(millis);
        fixture.receive(&b"\x3f\x01ax"[..]);
        fixture.signal("a", &Payload::utf8("x")).unwrap();
        assert_eq!(fixture.client.next_timeout(), due);
    }
    fixture.labels();
    assert_eq!(fixture.until(597), no_lines());
    assert_eq!(fixture.until(598), ["598 Ping"], "300 ms after the last message");
}

/// The reference of 1.5 and 2.0 answers no pings (protocol §4.4).
#[test]
fn a_server_that_never_answered_a_ping_is_not_missed_for_that() {
    for opening in [OF_1_5, OF_2_0] {
        let mut fixture = connected(opening);
        let lines = fixture.until(100_000);
        assert!(lines.iter().all(|line| line.ends_with(" Ping")), "{lines:?}");
        assert_eq!(&lines[..3], ["300 Ping", "600 Ping", "900 Ping"], "the system finds out");
        assert_eq!(fixture.client.status(), Status::Connected);
    }
}

#[test]
fn requests_that_run_out_of_time_in_a_row_are_the_end_of_such_a_server() {
    for opening in [OF_1_5, OF_2_0] {
        let mut fixture = connected(opening);
        fixture.request("a").unwrap();
        fixture.labels();
        let first = fixture.until(2_000);
        assert!(first.iter().any(|line| line.starts_with("1000 Done 1 TimedOut")));
        assert_eq!(fixture.client.status(), Status::Connected, "one may just be slow");
        fixture.request("b").unwrap();
        fixture.labels();
        let lines = fixture.until(3_001);
        let end = ["3000 Done 2 TimedOut { sent: true }", "3000 Hangup", "3000 Disconnected"];
        assert!(lines.ends_with(&end.map(String::from)), "{lines:?}");
    }
}

#[test]
fn many_short_requests_do_not_end_it_before_twice_the_time() {
    let mut fixture = connected(OF_2_0);
    for _ in 0..5 {
        let timeout = Some(Duration::from_millis(100));
        let (now, a) = (fixture.now, name("a"));
        fixture.client.request(now, a, Payload::EMPTY, timeout, &mut fixture.out).unwrap();
    }
    fixture.labels();
    assert!(!fixture.until(999).iter().any(|line| line.contains("Hangup")));
    assert_eq!(fixture.until(1000), ["1000 Hangup", "1000 Disconnected"]);
}

#[test]
fn something_heard_in_between_or_an_older_request_that_waits_is_an_excuse() {
    let mut heard = connected(OF_2_0);
    for round in 1..20 {
        heard.request("a").unwrap();
        heard.until(round * 1_500);
        heard.activity();
    }
    assert_eq!(heard.client.status(), Status::Connected);

    let mut waiting = connected(OF_2_0);
    let (now, long) = (waiting.now, Some(Duration::from_secs(20)));
    waiting.client.request(now, name("a"), Payload::EMPTY, long, &mut waiting.out).unwrap();
    for round in 1..=19 {
        waiting.request("b").unwrap();
        waiting.until(round * 1000);
    }
    assert_eq!(waiting.client.status(), Status::Connected, "it may be at work on that");
    waiting.request("b").unwrap();
    assert!(waiting.until(20_000).contains(&"20000 Hangup".into()));
}

/// The reference of 1.4 reads nothing while it handles a message (protocol §5.3).
#[test]
fn a_1_4_server_at_work_is_given_twice_the_time_and_as_long_as_requests_wait() {
    let mut idle = connected(OF_1_4);
    assert_eq!(
        idle.until(1000),
        ["300 Ping", "600 Ping", "900 Ping", "1000 Hangup", "1000 Disconnected"]
    );

    let works: [Input; 2] = [
        |fixture| fixture.signal("a", &Payload::utf8("x")).unwrap(),
        |fixture| fixture.request("a").map(drop).unwrap(),
    ];
    for work in works {
        let mut fixture = connected(OF_1_4);
        fixture.pong();
        work(&mut fixture);
        fixture.labels();
        let lines = fixture.until(999);
        assert!(!lines.iter().any(|line| line.contains("Hangup")), "{lines:?}");
        assert!(fixture.until(1001).contains(&"1000 Hangup".into()));
    }

    let mut long = connected(OF_1_4);
    let (now, limit) = (long.now, Some(Duration::from_secs(20)));
    long.client.request(now, name("a"), Payload::EMPTY, limit, &mut long.out).unwrap();
    long.until(19_999);
    assert_eq!(long.client.status(), Status::Connected);
    long.receive(frame(0xbf, 1, b"x"));
    long.labels();
    long.until(20_300);
    // Now it reads, and answers all that it was asked.
    (0..100).for_each(|_| long.pong());
    assert_eq!(long.until(20_801), ["20600 Ping", "20800 Hangup", "20800 Disconnected"]);
}

/// Connected to a server of 1.4 that has answered a ping, then was given a request and pinged
/// again.
fn pinged_at_work() -> Fixture {
    let mut fixture = connected(OF_1_4);
    fixture.pong();
    let (now, limit) = (fixture.now, Some(Duration::from_secs(20)));
    fixture.client.request(now, name("a"), Payload::EMPTY, limit, &mut fixture.out).unwrap();
    fixture.labels();
    assert_eq!(fixture.until(250), ["200 Ping"]);
    fixture
}

/// Servers that read beside their handlers do.
#[test]
fn a_1_4_server_that_answered_at_work_is_missed_at_work() {
    let mut fixture = pinged_at_work();
    fixture.pong();
    let lines = fixture.until(751);
    assert_eq!(lines, ["550 Ping", "750 Hangup", "750 Disconnected", "750 Done 1 ConnectionLost"]);
}

/// However long handlers take: pings are answered beside them.
#[test]
fn a_slow_server_that_answers_pings_is_not_cut_off() {
    for opening in ALL {
        let mut fixture = connected(opening);
        let (now, limit) = (fixture.now, Some(Duration::from_secs(600)));
        fixture.client.request(now, name("a"), Payload::EMPTY, limit, &mut fixture.out).unwrap();
        fixture.labels();
        for round in 1..1000 {
            fixture.until(round * 310);
            fixture.pong();
        }
        fixture.receive(frame(0xbf, 1, b"x"));
        assert_eq!(fixture.labels(), ["Done 1"]);
    }
}

/// The machine was suspended: nothing could arrive, and requests ran out of time.
#[test]
fn a_host_that_slept_asks_again_before_it_judges() {
    for opening in ALL {
        let mut fixture = connected(opening);
        fixture.pong();
        fixture.request("a").unwrap();
        fixture.request("b").unwrap();
        fixture.labels();
        assert!(fixture.until(300).contains(&"300 Ping".into()));
        fixture.now = Instant::from_millis(10_000_000);
        fixture.timeout();
        let lines = fixture.labels();
        assert!(lines.contains(&"Ping".into()), "{lines:?}");
        fixture.now = Instant::from_millis(10_000_100);
        fixture.pong();
        assert_eq!(fixture.until(10_000_450), ["10000400 Ping"]);
        fixture.pong();
        assert_eq!(fixture.client.status(), Status::Connected);
    }
    let mut unproven = connected(OF_2_0);
    unproven.request("a").unwrap();
    unproven.request("b").unwrap();
    unproven.now = Instant::from_millis(10_000_000);
    unproven.timeout();
    unproven.until(10_002_000);
    assert_eq!(
        unproven.client.status(),
        Status::Connected,
        "what ran out meanwhile does not count"
    );
}

#[test]
fn a_server_that_falls_silent_while_the_session_is_resumed_is_left() {
    let with_session = |opening: &[Input]| {
        let mut fixture = connected(opening);
        fixture.receive([b"\x15", SESSION.as_bytes()].concat());
        fixture.lost();
        fixture.due();
        if !fixture.labels().contains(&"Dial".into()) {
            fixture.dialing();
        }
        fixture.opened();
        fixture.timeout();
        if opening.len() == 3 {
            CONF(&mut fixture);
            fixture.timeout();
        }
        fixture
    };
    for opening in [OF_1_4, OF_2_0] {
        let mut fixture = with_session(opening);
        let lines = fixture.labels();
        assert!(lines.ends_with(&["Send 20 1".into(), "Ping".into()]), "{lines:?}");
        fixture.pong();
        let start = fixture.now.as_nanos() / 1_000_000;
        let lines = fixture.until(start + 501);
        assert!(lines.contains(&format!("{} Hangup", start + 500)), "{lines:?}");
        assert!(lines.contains(&format!("{} ConnectFailed", start + 500)), "{lines:?}");
        assert_eq!(fixture.client.status(), Status::Waiting);
        assert!(fixture.client.session().is_some());
    }
    // One that answers no pings: two attempts without an answer.
    let mut fixture = with_session(OF_2_0);
    fixture.labels();
    let start = fixture.now.as_nanos() / 1_000_000;
    let lines = fixture.until(start + 30_000);
    let asked = lines.iter().filter(|line| line.contains("Send 20")).count();
    assert!(asked == 1 && lines.iter().any(|line| line.contains("ConnectFailed")), "{lines:?}");
}

#[test]
fn without_a_connection_there_is_no_liveness_check() {
    let mut fixture = after(config(Protocol::Auto), NAMES_1_4);
    fixture.labels();
    fixture.pong();
    fixture.activity();
    assert_eq!(fixture.client.next_timeout(), Some(fixture.now + Duration::from_secs(5)));
    fixture.opened();
    fixture.timeout();
    fixture.close();
    assert_eq!(fixture.labels(), ["Connected", "Ping", "Hangup", "Disconnected"]);
    assert_eq!(fixture.client.next_timeout(), None);
    fixture.pong();
    fixture.pass(Duration::from_secs(3600));
    assert!(fixture.labels().is_empty());
}

#[test]
fn a_server_need_not_be_watched() {
    let mut fixture = Fixture::ready(v1_4());
    assert_eq!(fixture.client.next_timeout(), None);
    fixture.pass(Duration::from_secs(3600));
    assert!(fixture.labels().is_empty());
}

/// In the worst order: silence begins right after the last sign of life was looked at.
#[test]
fn the_default_notices_within_45_seconds() {
    assert_eq!(Config::PINGS.total(), Duration::from_secs(45));
    let mut fixture = Fixture::new(Config::default());
    fixture.connect();
    fixture.dialing();
    fixture.opened();
    fixture.timeout();
    assert_eq!(fixture.labels(), ["Probe", "Dial", "Connected"]);
    fixture.due();
    assert_eq!(
        (fixture.labels(), fixture.now),
        (["Ping".into()].into(), Instant::from_millis(2000))
    );
    fixture.pong();
    for _ in 0..7 {
        fixture.pass(Duration::from_secs(7));
        fixture.activity();
    }
    let start = fixture.now;
    while fixture.client.status() == Status::Connected {
        fixture.due();
    }
    assert_eq!(fixture.now.saturating_since(start), Duration::from_secs(45));
}

/// Servers of this crate ping clients of 1.4, which thus need not ping.
#[test]
fn a_1_4_server_that_is_heard_is_also_pinged_at_work() {
    let mut fixture = pinged_at_work();
    fixture.activity();
    assert_eq!(fixture.until(500), no_lines(), "once");
    fixture.activity();
    fixture.pong();
    assert_eq!(
        fixture.until(1001),
        ["800 Ping", "1000 Hangup", "1000 Disconnected", "1000 Done 1 ConnectionLost"]
    );
}
