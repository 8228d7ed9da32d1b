//! One address at a time, by hand; then crowds behind one.

mod crowd;

use super::*;

const REQUEST: &[u8] = b"\x7f\x01\0\0\0\0\0\0\0\x01a";
const HEARTBEAT: &[u8] = b"\x21";

fn at(millis: u64) -> Instant {
    Instant::EPOCH + Duration::from_millis(millis)
}

const fn made(observed: Observed) -> Detection {
    Detection::Known(observed)
}

fn until(millis: u64) -> Detection {
    Detection::Wait { until: at(millis) }
}

const NOTHING: Detection = made(Observed::Nothing);

/// A handshake that shows nothing of the version.
const PLAIN: Observed = Observed::Nothing;

const WWR_1: Observed = Observed::SubProtocol;

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
        assert_eq!(preflights.connected(at(1), &from, PLAIN), observed);
    }
}

#[test]
fn a_client_that_speaks_first_is_one_of_1_x_at_any_address() {
    let mut preflights = Preflights::default();
    assert_eq!(preflights.arrived(at(0), &1, PLAIN), NOTHING, "one of 2.0");
    preflights.asked(at(1), 1);
    assert_eq!(preflights.arrived(at(2), &1, PLAIN), until(2 + 24));
    assert_eq!(preflights.arrived(at(3), &1, PLAIN), until(3 + 28), "the preflight is anybody's");
    assert_eq!(preflights.spoke(at(4), &1, REQUEST), Observed::Preflight);
    assert_eq!(preflights.arrived(at(5), &1, PLAIN), NOTHING, "it is used up");
    assert_eq!(preflights.silent(at(26), at(2), &1), Observed::Nothing);
}

#[test]
fn a_client_that_is_far_away_is_given_more_time() {
    for (later, wait) in [(0, 50), (1, 50), (10, 60), (40, 180), (45, 200), (2_999, 200)] {
        let mut preflights = Preflights::default();
        preflights.asked(at(0), 1);
        assert_eq!(preflights.arrived(at(later), &1, PLAIN), until(later + wait));
        assert_eq!(preflights.spoke(at(later + wait), &1, REQUEST), Observed::Preflight);
    }
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    assert_eq!(preflights.arrived(at(3_001), &1, PLAIN), NOTHING);
}

#[test]
fn a_heartbeat_does_not_show_1_x() {
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    assert_eq!(preflights.arrived(at(1), &1, PLAIN), until(51));
    assert_eq!(preflights.spoke(at(2), &1, HEARTBEAT), Observed::Nothing);
    assert_eq!(preflights.arrived(at(3), &1, PLAIN), until(53), "nobody has used the preflight");
}

#[test]
fn a_silent_client_is_presumed_to_be_1_x_for_a_second() {
    for (silent, observed) in [(1000, Observed::Preflight), (1001, Observed::Nothing)] {
        let mut preflights = Preflights::default();
        preflights.asked(at(0), 1);
        assert_eq!(preflights.arrived(at(800), &1, PLAIN), until(1000));
        assert_eq!(preflights.silent(at(silent), at(800), &1), observed);
    }
}

#[test]
fn a_client_that_used_the_preflight_of_another_is_detected_when_that_one_comes() {
    for late in [1, 49] {
        let mut preflights = Preflights::default();
        preflights.asked(at(0), 1);
        assert_eq!(preflights.arrived(at(1), &1, PLAIN), until(51), "one of 2.0");
        let own = preflights.arrived(at(1 + late), &1, PLAIN);
        assert!(matches!(own, Detection::Wait { .. }), "the one that asked");
        assert_eq!(preflights.spoke(at(1 + late), &1, REQUEST), Observed::Preflight);
        assert_eq!(preflights.silent(at(51), at(1), &1), Observed::Nothing);
    }
}

#[test]
fn a_later_preflight_belongs_to_another_client() {
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    assert_eq!(preflights.arrived(at(10), &1, PLAIN), until(70), "one of 2.0");
    preflights.asked(at(20), 1);
    assert!(matches!(preflights.arrived(at(30), &1, PLAIN), Detection::Wait { .. }));
    assert_eq!(preflights.spoke(at(40), &1, REQUEST), Observed::Preflight);
    assert_eq!(preflights.silent(at(70), at(10), &1), Observed::Nothing);
}

#[test]
fn of_several_silent_clients_none_is_presumed() {
    // Not even if as many have: one more may still be to come.
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    preflights.asked(at(0), 1);
    for _ in 0..2 {
        assert_eq!(preflights.arrived(at(10), &1, PLAIN), until(70));
    }
    for _ in 0..2 {
        assert_eq!(preflights.silent(at(70), at(10), &1), Observed::Nothing);
    }
    // Nor is one that comes alone later: one of them may not have come at all.
    preflights.asked(at(1_000), 1);
    assert_eq!(preflights.arrived(at(1_001), &1, PLAIN), until(1_025));
    assert_eq!(preflights.silent(at(1_025), at(1_001), &1), Observed::Nothing);
    // A host that cannot wait has to.
    let mut preflights = Preflights::default();
    preflights.asked(at(100), 1);
    preflights.asked(at(100), 1);
    for observed in [Observed::Preflight, Observed::Preflight, Observed::Nothing] {
        assert_eq!(preflights.connected(at(101), &1, PLAIN), observed);
    }
}

#[test]
fn an_address_that_has_shown_2_0_presumes_nothing_for_an_hour() {
    type Sign = fn(&mut Preflights<u8>);
    let signs: [Sign; 2] = [
        |preflights| assert_eq!(preflights.arrived(at(0), &1, PLAIN), NOTHING),
        |preflights| preflights.turned_out_newer(at(0), &1),
    ];
    let hour = 60 * 60 * 1000;
    for sign in signs {
        for (later, observed) in [
            (1000, Observed::Nothing),
            (hour - 500, Observed::Nothing),
            (hour, Observed::Preflight),
        ] {
            let mut preflights = Preflights::default();
            sign(&mut preflights);
            for from in [1, 2] {
                preflights.asked(at(later), from);
                let waits =
                    matches!(preflights.arrived(at(later), &from, PLAIN), Detection::Wait { .. });
                assert!(waits, "{later}");
            }
            assert_eq!(preflights.silent(at(later + 50), at(later), &1), observed, "{later}");
            assert_eq!(
                preflights.silent(at(later + 50), at(later), &2),
                Observed::Preflight,
                "another"
            );
        }
    }
}

#[test]
fn after_a_stray_preflight_no_silent_client_is_presumed() {
    for delay in [0, 500, 2_999] {
        // A health check every ten seconds.
        let mut preflights = Preflights::default();
        preflights.asked(at(0), 1);
        for check in (10_000..600_000).step_by(10_000) {
            preflights.asked(at(check), 1);
            let now = at(check + delay);
            assert!(matches!(preflights.arrived(now, &1, PLAIN), Detection::Wait { .. }));
            let later = at(check + delay + 200);
            assert_eq!(preflights.silent(later, now, &1), Observed::Nothing);
            // Each check makes one client wait.
            assert_eq!(preflights.arrived(later, &1, PLAIN), NOTHING);
        }
    }
    // A minute after the last one, it has no effect any more.
    for (later, observed) in [(62_900, Observed::Nothing), (63_001, Observed::Preflight)] {
        let mut preflights = Preflights::default();
        preflights.asked(at(0), 1);
        preflights.asked(at(later), 1);
        assert!(matches!(preflights.arrived(at(later), &1, PLAIN), Detection::Wait { .. }));
        assert_eq!(preflights.silent(at(later + 50), at(later), &1), observed);
    }
}

#[test]
fn where_clients_speak_first_a_silent_one_does_not_use_up_the_preflight() {
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    assert_eq!(preflights.arrived(at(1), &1, PLAIN), until(51));
    assert_eq!(preflights.spoke(at(2), &1, REQUEST), Observed::Preflight);
    assert_eq!(preflights.arrived(at(3), &1, PLAIN), NOTHING, "one of 2.0");
    preflights.asked(at(100), 1);
    for now in [110, 120, 500, 2_000] {
        assert!(matches!(preflights.arrived(at(now), &1, PLAIN), Detection::Wait { .. }), "{now}");
        assert_eq!(preflights.silent(at(now + 200), at(now), &1), Observed::Nothing);
    }
    // At last, through a slow network, comes the one that asked.
    assert_eq!(preflights.arrived(at(2_500), &1, PLAIN), until(2_700));
    assert_eq!(preflights.spoke(at(2_600), &1, REQUEST), Observed::Preflight);
}

#[test]
fn a_brief_preflight_causes_a_wait_but_no_presumption() {
    let mut preflights = Preflights::default();
    preflights.asked_briefly(at(0), 1);
    assert_eq!(preflights.arrived(at(10), &1, PLAIN), until(70));
    assert_eq!(preflights.silent(at(70), at(10), &1), Observed::Nothing);
    preflights.asked_briefly(at(100), 1);
    assert_eq!(preflights.arrived(at(900), &1, PLAIN), until(1100));
    assert_eq!(preflights.spoke(at(901), &1, REQUEST), Observed::Preflight, "behind a proxy");
    preflights.asked_briefly(at(1000), 1);
    assert_eq!(preflights.arrived(at(2001), &1, PLAIN), NOTHING);
}

#[test]
fn clocks_do_not_run_backwards() {
    let mut preflights = Preflights::default();
    preflights.asked(at(5000), 1);
    preflights.asked(at(0), 2);
    assert_eq!(preflights.arrived(at(5001), &2, PLAIN), until(5051));
    assert_eq!(preflights.arrived(at(0), &1, PLAIN), until(5051));
    assert_eq!(preflights.silent(at(0), at(5001), &2), Observed::Preflight);
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
        preflights.arrived(at(millis), &1, PLAIN);
    }
    assert_eq!(preflights.hosts.len(), most);
    let (asks, waiting) = preflights.hosts[&1].counts();
    assert!(asks <= 60 && waiting <= 1024, "{asks} {waiting}");
    for from in 0..3 * most {
        preflights.asked(at(10_000), from);
    }
    assert_eq!((preflights.hosts.len(), preflights.order.len()), (most, most));
    assert_eq!(preflights.arrived(at(10_000), &(3 * most - 1), PLAIN), until(10_050));
    // What is over makes room before there are too many.
    let later = 10_000 + 2 * 60 * 60 * 1000;
    for from in 0..most {
        preflights.asked(at(later), 4 * most + from);
    }
    let recent = preflights.hosts.keys().filter(|from| **from >= 4 * most).count();
    assert_eq!((recent, preflights.hosts.len()), (most, most));
}

#[test]
fn a_host_may_have_less_remembered() {
    for (most, remembered) in [(0, 1), (1, 1), (3, 3)] {
        let mut preflights = Preflights::with_most(most);
        (0..10).for_each(|from| preflights.asked(at(0), from));
        assert_eq!(preflights.hosts.len(), remembered);
        assert_eq!(preflights.arrived(at(0), &9, PLAIN), until(50), "the latest is remembered");
    }
}

#[test]
fn while_a_preflight_may_be_that_of_a_client_of_wwr_1_no_silent_client_is_presumed() {
    // A page cannot say in its preflight that it offers wwr.1.
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    assert_eq!(preflights.arrived(at(10), &1, WWR_1), made(WWR_1), "it is not waited for");
    assert_eq!(preflights.arrived(at(20), &1, PLAIN), until(120));
    assert_eq!(preflights.silent(at(120), at(20), &1), Observed::Nothing);

    // The other way round, and at a host that cannot wait.
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    assert_eq!(preflights.arrived(at(10), &1, PLAIN), until(70));
    assert_eq!(preflights.connected(at(20), &1, WWR_1), WWR_1);
    assert_eq!(preflights.silent(at(70), at(10), &1), Observed::Nothing);
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    assert_eq!(preflights.connected(at(10), &1, WWR_1), WWR_1);
    assert_eq!(preflights.connected(at(20), &1, PLAIN), Observed::Nothing);
}

#[test]
fn a_client_of_wwr_1_takes_no_preflight_away() {
    // Most of them have sent none that is recorded: this one is of a client of 1.x.
    let mut preflights = Preflights::default();
    preflights.asked(at(0), 1);
    for _ in 0..3 {
        assert_eq!(preflights.arrived(at(1), &1, WWR_1), made(WWR_1));
    }
    assert!(matches!(preflights.arrived(at(2), &1, PLAIN), Detection::Wait { .. }));
    assert_eq!(preflights.spoke(at(3), &1, REQUEST), Observed::Preflight);
    // The doubt lasts as long as the preflight would have counted.
    preflights.asked(at(3_001), 1);
    assert_eq!(preflights.connected(at(3_001), &1, PLAIN), Observed::Preflight);
}

#[test]
fn a_client_of_wwr_1_without_a_preflight_at_its_address_is_not_remembered() {
    let mut preflights = Preflights::with_most(1);
    preflights.asked(at(0), 1);
    assert_eq!(preflights.arrived(at(1), &2, WWR_1), made(WWR_1));
    assert_eq!(preflights.connected(at(2), &1, PLAIN), Observed::Preflight);
    // Nor does it say anything about its address.
    assert_eq!(preflights.arrived(at(3), &2, WWR_1), made(WWR_1));
    preflights.asked(at(4), 2);
    assert_eq!(preflights.connected(at(5), &2, PLAIN), Observed::Preflight);
}
