//! When a client comes back to a server that has said when to.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Ways in which a server says so.
const REFUSALS: [fn(&mut Fixture, Duration); 4] = [
    |fixture, wait| fixture.refused_probe(503, wait),
    |fixture, wait| fixture.refused_probe(429, wait),
    |fixture, wait| {
        fixture.dialing();
        fixture.refused_until(503, wait);
    },
    |fixture, wait| {
        fixture.dialing();
        fixture.refused_until(429, wait);
    },
];

impl Fixture {
    fn refused_probe(&mut self, status: u16, wait: Duration) {
        self.probed(Ok(Answer { retry_after: Some(wait), ..answer(status, "") }));
    }

    fn refused_until(&mut self, status: u16, wait: Duration) {
        self.client.handle_refused(self.now, status, Some(wait), &mut self.out);
    }

    /// The pause that the application sees; nothing may happen before.
    fn pause(&mut self) -> Option<Duration> {
        let retry = self.take().into_iter().find_map(|action| match action {
            Action::Event(Event::ConnectFailed { retry, .. }) => Some(retry),
            _ => None,
        });
        let retry = retry.expect("the attempt failed");
        assert_eq!(self.client.next_timeout(), retry);
        retry.map(|retry| retry.saturating_since(self.now))
    }
}

fn connecting(config: Config, seed: u64) -> Fixture {
    let mut fixture = Fixture { client: client(config, seed), ..Fixture::new(v1_4()) };
    fixture.connect();
    fixture
}

#[test]
fn a_client_does_not_come_back_before_it_is_wanted() {
    for refuse in REFUSALS {
        for config in [v1_4(), Config::default()] {
            for seconds in [1, 7, 120, 3600] {
                let wait = Duration::from_secs(seconds);
                let mut fixture = connecting(config.clone(), seconds);
                refuse(&mut fixture, wait);
                let pause = fixture.pause().unwrap();
                assert!((wait..=wait * 5 / 4).contains(&pause), "{pause:?} of {wait:?}");
                fixture.pass(wait - Duration::from_nanos(1));
                assert_eq!(fixture.labels(), [""; 0]);
                fixture.due();
                assert_eq!(fixture.labels(), ["Probe"]);
            }
        }
    }
}

#[test]
fn clients_that_are_sent_away_together_do_not_come_back_together() {
    let wait = Duration::from_secs(600);
    let mut pauses: Vec<_> = (0..100)
        .map(|seed| {
            let mut fixture = connecting(v1_4(), seed);
            fixture.refused_probe(503, wait);
            fixture.pause().unwrap()
        })
        .collect();
    pauses.sort();
    let spread = pauses[99] - pauses[0];
    assert!(spread > wait / 8, "all within {spread:?}");
    pauses.dedup();
    assert_eq!(pauses.len(), 100);
}

#[test]
fn retry_after_is_a_bounded_minimum() {
    let config = |max| Config { max_retry_after: max, ..v1_4() };
    for (max, wait, least, most) in [
        (HOUR, 2 * HOUR, HOUR, HOUR * 5 / 4),
        (HOUR, Duration::MAX, HOUR, HOUR * 5 / 4),
        (Duration::ZERO, HOUR, Duration::from_millis(250), Duration::from_millis(500)),
        (HOUR, Duration::ZERO, Duration::from_millis(250), Duration::from_millis(500)),
        (HOUR, Duration::from_millis(1), Duration::from_millis(250), Duration::from_millis(500)),
    ] {
        let mut fixture = connecting(config(max), 7);
        fixture.refused_probe(503, wait);
        let pause = fixture.pause().unwrap();
        assert!((least..=most).contains(&pause), "{pause:?} of {wait:?}, at most {max:?}");
    }
    let mut patient = connecting(config(Duration::MAX), 7);
    patient.refused_probe(503, Duration::MAX);
    patient.labels();
    assert_eq!(patient.client.status(), Status::Waiting);
    // The pauses after failures grow meanwhile, and count if they are longer.
    let mut fixture = connecting(v1_4(), 7);
    for _ in 0..8 {
        fixture.refused_probe(503, Duration::from_secs(1));
        fixture.labels();
        fixture.due();
    }
    fixture.refused_probe(503, Duration::from_secs(1));
    assert!(fixture.pause().unwrap() >= Duration::from_secs(15));
}

#[test]
fn a_refusal_of_another_kind_may_say_when_to_come_back_too() {
    for status in [403, 500, 502] {
        let mut fixture = connecting(v1_4(), 7);
        fixture.dialing();
        fixture.refused_until(status, HOUR);
        assert!(fixture.pause().unwrap() >= HOUR, "{status}");
    }
    // If the answer does not mean that the server is unavailable, the preflight is just not
    // understood.
    let mut fixture = connecting(Config::default(), 7);
    fixture.refused_probe(405, HOUR);
    assert_eq!(fixture.labels(), ["Probe", "Dial"]);
}

#[test]
fn the_application_may_be_in_a_hurry() {
    for refuse in REFUSALS {
        let mut fixture = connecting(v1_4(), 7);
        refuse(&mut fixture, HOUR);
        fixture.labels();
        fixture.connect();
        assert_eq!(fixture.labels(), ["Probe"]);
        // It counts for one pause only.
        fixture.probed(Err(ProbeFailed));
        assert!(fixture.pause().unwrap() < Duration::from_secs(2));
        let mut once = connecting(Config { reconnect: false, ..v1_4() }, 7);
        refuse(&mut once, HOUR);
        assert_eq!((once.pause(), once.client.status()), (None, Status::Idle));
    }
}
