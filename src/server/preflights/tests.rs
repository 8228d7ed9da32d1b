//! One address at a time, by hand; then crowds behind one.

mod crowd;

use super::*;

const REQUEST: &[u8] = b"\x7f\x01\0\0\0\0\0\0\0\x01a";
const HEARTBEAT: &[u8] = b"\x21";

fn at(millis: u64) -> Instant {
    Instant::EPOCH + Duration::from_millis(millis)
}

const fn made(observed: Observed) -> Acquaintance {
    Acquaintance::Made(observed)
}

fn until(millis: u64) -> Acquaintance {
    Acquaintance::Waiting { until: at(millis) }
}

const NOTHING: Acquaintance = made(Observed::Nothing);
const PREFLIGHT: Acquaintance = made(Observed::Preflight);

#[test]
fn each_preflight_counts_once_and_for_its_own_address() {
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    preflights.asked(at(0), 1);
    preflights.asked(at(0), 2);
    for (from, observed) in [
        (3, Observed::Nothing),
        (1, Observed::Preflight),
        (1, Observed::Preflight),
        (1, Observed::Nothing),
        (2, Observed::Preflight),
        (2, Observed::Nothing),
    ] {
        assert_eq!(preflights.connected(at(1), &from), observed);
    }
}

#[test]
fn a_client_that_speaks_first_is_one_of_1_x_whoever_else_is_there() {
    let mut preflights = Preflights::default();
    assert_eq!(preflights.arrived(at(0), &1), NOTHING, "one of 2.0");
    preflights.asked(at(1), 1);
    assert_eq!(preflights.arrived(at(2), &1), until(202));
    assert_eq!(preflights.arrived(at(3), &1), until(203), "the preflight is anybody's");
    assert_eq!(preflights.spoke(at(4), &1, REQUEST), Observed::Preflight);
    assert_eq!(preflights.arrived(at(5), &1), NOTHING, "it is used up");
    assert_eq!(preflights.silent(at(203), at(3), &1), NOTHING);
}

#[test]
fn a_heartbeat_is_no_word_of_1_x() {
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    assert_eq!(preflights.arrived(at(1), &1), until(51));
    assert_eq!(preflights.spoke(at(2), &1, HEARTBEAT), Observed::Nothing);
    assert_eq!(preflights.arrived(at(3), &1), until(53), "nobody has used the preflight");
}

#[test]
fn a_silent_client_is_presumed_to_be_the_one_that_asked_if_it_is_alone() {
    let mut preflights = Preflights::default();
    for start in [0, 10_000] {
        preflights.asked(at(start), 1);
        assert_eq!(preflights.arrived(at(start + 1000), &1), until(start + 1050));
        assert_eq!(preflights.silent(at(start + 1050), at(start + 1000), &1), {
            // A second after the preflight it is too late to presume anything.
            until(start + 1200)
        });
        assert_eq!(preflights.silent(at(start + 1200), at(start + 1000), &1), NOTHING);
        preflights = Preflights::default();
    }
    preflights.asked(at(0), 1);
    assert_eq!(preflights.arrived(at(900), &1), until(950));
    assert_eq!(preflights.silent(at(950), at(900), &1), PREFLIGHT);
}

#[test]
fn whoever_takes_the_preflight_of_another_is_found_out_when_that_one_comes() {
    for late in [10, 49] {
        let mut preflights = Preflights::default();
        preflights.asked(at(0), 1);
        assert_eq!(preflights.arrived(at(1), &1), until(51), "one of 2.0");
        assert_eq!(preflights.arrived(at(1 + late), &1), until(201 + late), "the one that asked");
        assert_eq!(preflights.spoke(at(1 + late), &1, REQUEST), Observed::Preflight);
        assert_eq!(preflights.silent(at(51), at(1), &1), NOTHING);
    }
}

#[test]
fn several_that_asked_are_given_longer_and_presumed_if_all_have() {
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    preflights.asked(at(0), 1);
    assert_eq!(preflights.arrived(at(10), &1), until(210));
    assert_eq!(preflights.arrived(at(20), &1), until(220));
    assert_eq!(preflights.silent(at(210), at(10), &1), PREFLIGHT);
    assert_eq!(preflights.silent(at(220), at(20), &1), PREFLIGHT);
    // A third has not.
    preflights.asked(at(300), 1);
    preflights.asked(at(300), 1);
    for (index, arrived) in [310, 311, 312].into_iter().enumerate() {
        assert_eq!(preflights.arrived(at(arrived), &1), until(arrived + 200), "{index}");
    }
    for arrived in [310, 311, 312] {
        assert_eq!(preflights.silent(at(arrived + 200), at(arrived), &1), NOTHING);
    }
}

#[test]
fn an_address_that_has_shown_2_0_presumes_nothing_for_an_hour() {
    type Sign = fn(&mut Preflights<u8>);
    let signs: [Sign; 2] = [
        |preflights| assert_eq!(preflights.arrived(at(0), &1), NOTHING),
        |preflights| preflights.turned_out_newer(at(0), &1),
    ];
    let hour = 60 * 60 * 1000;
    for sign in signs {
        for (later, observed) in [(1000, NOTHING), (hour - 500, NOTHING), (hour, PREFLIGHT)] {
            let mut preflights = Preflights::default();
            sign(&mut preflights);
            preflights.asked(at(later), 1);
            preflights.asked(at(later), 2);
            let Acquaintance::Waiting { until } = preflights.arrived(at(later), &1) else {
                panic!("{later}")
            };
            assert_eq!(preflights.silent(until, at(later), &1), observed, "{later}");
            // Others are not suspected for it.
            assert!(matches!(preflights.arrived(at(later), &2), Acquaintance::Waiting { .. }));
            assert_eq!(preflights.silent(at(later + 50), at(later), &2), PREFLIGHT);
        }
    }
}

#[test]
fn whoever_asks_and_never_connects_makes_nobody_be_taken_for_1_x() {
    // A health check every ten seconds.
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    for check in (10_000..600_000).step_by(10_000) {
        preflights.asked(at(check), 1);
        for delay in [1, 500, 2_999] {
            let now = check + delay;
            assert_eq!(preflights.arrived(at(now), &1), until(now + 200));
            assert_eq!(preflights.silent(at(now + 200), at(now), &1), NOTHING);
        }
        assert_eq!(preflights.arrived(at(check + 3_001), &1), NOTHING, "over");
        preflights = Preflights::default();
        preflights.asked(at(check), 1);
    }
    // A minute after the last one nobody minds.
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    preflights.asked(at(63_001), 1);
    assert_eq!(preflights.arrived(at(63_002), &1), until(63_052));
    assert_eq!(preflights.silent(at(63_052), at(63_002), &1), PREFLIGHT);
}

#[test]
fn whoever_closes_after_asking_is_waited_for_but_not_presumed() {
    let mut preflights = Preflights::default();
    preflights.asked_briefly(at(0), 1);
    assert_eq!(preflights.arrived(at(10), &1), until(210));
    assert_eq!(preflights.silent(at(210), at(10), &1), NOTHING);
    assert_eq!(preflights.arrived(at(900), &1), until(1100));
    assert_eq!(preflights.spoke(at(901), &1, REQUEST), Observed::Preflight, "behind a proxy");
    preflights.asked_briefly(at(1000), 1);
    assert_eq!(preflights.arrived(at(2001), &1), NOTHING);
}

#[test]
fn clocks_do_not_run_backwards() {
    let mut preflights = Preflights::default();
    preflights.asked(at(5000), 1);
    preflights.asked(at(0), 2);
    assert_eq!(preflights.arrived(at(5001), &2), until(5051));
    assert_eq!(preflights.arrived(at(0), &1), until(5051));
    assert_eq!(preflights.silent(at(0), at(5001), &2), PREFLIGHT);
}

#[test]
fn memory_is_bounded_and_one_address_does_not_displace_the_others() {
    let mut preflights = Preflights::default();
    let most = Preflights::<usize>::MOST;
    for from in 0..most {
        preflights.asked(at(0), from);
    }
    for millis in 0..10_000 {
        preflights.asked(at(millis), 1);
        preflights.asked_briefly(at(millis), 1);
        preflights.arrived(at(millis), &1);
    }
    assert_eq!(preflights.hosts.len(), most);
    let (asks, waiting) = preflights.hosts[&1].counts();
    assert!(asks <= 20 && waiting <= 1024, "{asks} {waiting}");
    for from in 0..3 * most {
        preflights.asked(at(10_000), from);
    }
    assert_eq!((preflights.hosts.len(), preflights.order.len()), (most, most));
    assert_eq!(preflights.arrived(at(10_000), &(3 * most - 1)), until(10_050));
    // What is over makes room before there are too many.
    let later = 10_000 + 2 * 60 * 60 * 1000;
    for from in 0..most {
        preflights.asked(at(later), 4 * most + from);
    }
    let recent = preflights.hosts.keys().filter(|from| **from >= 4 * most).count();
    assert_eq!((recent, preflights.hosts.len()), (most, most));
}
