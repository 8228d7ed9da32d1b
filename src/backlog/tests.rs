//! A backlog, one call at a time; and compared with a simple model.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;

use SlowReader::{Coalesce, Disconnect, DropOldest, Refuse};

/// Sends the name as the item.
fn send(
    backlog: &mut Backlog<String>,
    name: &str,
    bytes: usize,
    policy: SlowReader,
) -> Result<usize, NoRoom> {
    // What precedes a digit is the name.
    let end = name.find(|letter: char| letter.is_ascii_digit()).unwrap_or(name.len());
    backlog.push_signal(name.to_string(), bytes, &name.as_bytes()[..end], policy)
}

fn rest(backlog: &mut Backlog<String>) -> Vec<String> {
    core::iter::from_fn(|| backlog.pop()).collect()
}

#[test]
fn items_come_out_in_order_and_bytes_are_bounded() {
    let mut backlog = Backlog::holding(10);
    assert_eq!(backlog.push("a", 6), Ok(()));
    assert_eq!(backlog.push("b", 5), Err(NoRoom::Refused));
    assert_eq!(backlog.push("c", 0), Ok(()), "no signal");
    assert_eq!((backlog.len(), backlog.pop(), backlog.waiting_bytes()), (2, Some("a"), 6));
    assert_eq!(backlog.push("b", 5), Err(NoRoom::Refused), "what is held counts");
    backlog.hold(5);
    assert!(backlog.has_room());
    assert_eq!(backlog.push("b", 5), Ok(()));
    backlog.promise();
    assert_eq!((backlog.push("d", 0), backlog.push("e", 100)), (Ok(()), Ok(())));
    assert_eq!(backlog.push("f", 1), Err(NoRoom::Refused), "the promise was for one");
    assert!(backlog.take_all().eq(["c", "b", "d", "e"]));
    assert!(backlog.is_empty() && backlog.waiting_bytes() == 0 && backlog.dropped() == 0);
}

#[test]
fn a_promise_counts_for_signals_that_can_be_dropped_too() {
    for policy in [DropOldest, Coalesce] {
        let mut backlog = Backlog::new(10);
        assert_eq!(send(&mut backlog, "kept", 10, Refuse), Ok(0));
        backlog.promise();
        assert_eq!(send(&mut backlog, "a", 100, policy), Ok(0));
        assert_eq!(send(&mut backlog, "b", 100, policy), Err(NoRoom::Refused));
        assert_eq!(rest(&mut backlog), ["kept", "a"]);
    }
}

#[test]
fn the_oldest_are_dropped_but_none_that_was_to_be_kept() {
    let mut backlog = Backlog::new(100);
    assert_eq!(send(&mut backlog, "a", 30, DropOldest), Ok(0));
    assert_eq!(backlog.push("control".into(), 0), Ok(()));
    assert_eq!(send(&mut backlog, "kept", 30, Refuse), Ok(0));
    assert_eq!(send(&mut backlog, "b", 20, DropOldest), Ok(0));
    assert_eq!(send(&mut backlog, "c", 20, Coalesce), Ok(0));
    assert_eq!(send(&mut backlog, "too long", 51, DropOldest), Err(NoRoom::Refused));
    assert_eq!((backlog.len(), backlog.dropped()), (5, 0), "nothing was dropped in vain");
    assert_eq!(send(&mut backlog, "d", 1, DropOldest), Ok(1));
    assert_eq!(send(&mut backlog, "e", 40, DropOldest), Ok(1));
    assert_eq!((backlog.len(), backlog.dropped(), backlog.waiting_bytes()), (5, 2, 91));
    assert_eq!(send(&mut backlog, "f", 50, DropOldest), Ok(2));
    assert_eq!(rest(&mut backlog), ["control", "kept", "c", "f"]);
}

#[test]
fn the_last_value_takes_the_place_of_the_one_that_waits() {
    let mut backlog = Backlog::new(100);
    for (name, bytes, policy, result) in [
        ("x1", 20, Coalesce, Ok(0)),
        ("kept", 10, Refuse, Ok(0)),
        ("y1", 20, Coalesce, Ok(0)),
        ("x2", 30, Coalesce, Ok(1)),
        ("x3", 20, Refuse, Ok(0)),
        ("y2", 40, Coalesce, Ok(1)),
        ("y3", 41, Coalesce, Err(NoRoom::Refused)),
        ("z1", 1, Coalesce, Err(NoRoom::Refused)),
        ("y4", 10, Coalesce, Ok(1)),
        ("z2", 30, Coalesce, Ok(0)),
    ] {
        assert_eq!(send(&mut backlog, name, bytes, policy), result, "{name}");
    }
    assert_eq!(backlog.pop().as_deref(), Some("x2"));
    assert_eq!(send(&mut backlog, "x4", 30, Coalesce), Ok(0), "none waits any more");
    assert_eq!(rest(&mut backlog), ["kept", "y4", "x3", "z2", "x4"]);
    assert_eq!((backlog.dropped(), backlog.waiting_bytes()), (3, 0));
}

#[test]
fn what_is_held_leaves_room_for_one_signal_that_can_be_dropped() {
    let mut backlog = Backlog::holding(10);
    assert_eq!(send(&mut backlog, "held", 50, Refuse), Ok(0));
    assert_eq!(backlog.pop().as_deref(), Some("held"));
    assert_eq!(send(&mut backlog, "a", 5, Refuse), Err(NoRoom::Refused));
    assert_eq!(send(&mut backlog, "a1", 5, Coalesce), Ok(0));
    assert_eq!(send(&mut backlog, "a2", 50, Coalesce), Ok(1));
    assert_eq!(send(&mut backlog, "b", 5, Coalesce), Err(NoRoom::Refused));
    assert_eq!(send(&mut backlog, "c", 5, DropOldest), Err(NoRoom::Refused));
    assert_eq!(rest(&mut backlog), ["a2"]);
    backlog.hold(50);
    assert_eq!(send(&mut backlog, "c", 50, DropOldest), Ok(0));
    assert_eq!(send(&mut backlog, "d", 50, DropOldest), Ok(1));
    assert_eq!(rest(&mut backlog), ["d"]);
}

#[test]
fn a_peer_that_is_to_be_disconnected_gets_no_signal_any_more() {
    let mut backlog = Backlog::new(10);
    assert_eq!(send(&mut backlog, "a", 5, Disconnect), Ok(0));
    assert_eq!(send(&mut backlog, "b", 5, DropOldest), Ok(0));
    assert_eq!(backlog.push("control".into(), 0), Ok(()));
    backlog.promise();
    assert_eq!(backlog.push("question".into(), 7), Ok(()));
    assert_eq!(send(&mut backlog, "c", 5, Disconnect), Err(NoRoom::Disconnect));
    assert_eq!((backlog.len(), backlog.dropped(), backlog.waiting_bytes()), (2, 2, 7));
    for policy in [Refuse, DropOldest, Coalesce, Disconnect] {
        assert_eq!(send(&mut backlog, "d", 1, policy), Err(NoRoom::Disconnect));
    }
    assert_eq!(backlog.push("close".into(), 0), Ok(()));
    assert_eq!(
        backlog.push("another".into(), 4),
        Err(NoRoom::Refused),
        "only signals were dropped"
    );
    assert_eq!(rest(&mut backlog), ["control", "question", "close"]);
    assert_eq!(backlog.waiting_bytes(), 0);
}

#[test]
fn only_signals_that_can_be_dropped_wait_for_a_peer_that_does_not_read() {
    let mut backlog = Backlog::new(100);
    assert!(!backlog.can_wait());
    assert_eq!(send(&mut backlog, "a", 1, Refuse), Ok(0));
    assert!(!backlog.can_wait());
    assert_eq!(rest(&mut backlog), ["a"]);
    for (other, bytes) in [("close", 0), ("question", 1)] {
        assert_eq!(send(&mut backlog, "a", 1, Refuse), Ok(0));
        assert_eq!(send(&mut backlog, "b", 1, Coalesce), Ok(0));
        assert!(backlog.can_wait());
        assert_eq!(backlog.push(other.into(), bytes), Ok(()));
        assert!(!backlog.can_wait(), "something else comes after them");
        assert_eq!(backlog.pop().as_deref(), Some("a"));
        assert_eq!(send(&mut backlog, "c", 1, DropOldest), Ok(0));
        assert_eq!(backlog.pop().as_deref(), Some("b"));
        assert!(!backlog.can_wait());
        assert_eq!(backlog.pop().as_deref(), Some(other));
        assert!(backlog.can_wait());
        assert_eq!(rest(&mut backlog), ["c"]);
        assert!(!backlog.can_wait());
    }
}

#[test]
fn gaps_take_no_memory() {
    let mut backlog = Backlog::new(100);
    assert_eq!(send(&mut backlog, "kept", 1, Refuse), Ok(0));
    for number in 0..10_000 {
        assert!(send(&mut backlog, &number.to_string(), 10, DropOldest).is_ok());
        assert!(backlog.slots.len() <= 2 * FEW_GAPS, "{}", backlog.slots.len());
    }
    assert_eq!((backlog.len(), backlog.dropped()), (10, 9991));
    let rest = rest(&mut backlog);
    assert!(rest[1..].iter().map(String::as_str).eq((9991..10_000).map(|n| n.to_string())));
    assert_eq!(backlog.slots.capacity(), 0);
}

/// What waits, as a plain list: name, number, bytes, policy.
type Model = Vec<(u8, u32, usize, SlowReader)>;

/// The name of what is no signal.
const OTHER: u8 = 255;

/// Each call, compared with what a list that is searched from its beginning would do.
#[test]
fn it_does_what_a_simple_list_would_do() {
    let mut random = 1_u32;
    let mut below = |most: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 16) % most
    };
    for round in 0..300 {
        let max = 20 + below(200) as usize;
        let mut backlog = Backlog::new(max);
        let (mut model, mut dropped) = (Model::new(), 0);
        let bytes_of = |model: &Model| model.iter().map(|item| item.2).sum::<usize>();
        for number in 0..300 {
            if below(4) == 0 {
                let expected = (!model.is_empty()).then(|| model.remove(0).1);
                assert_eq!(backlog.pop(), expected);
            } else if below(20) == 0 {
                let bytes = below(3) as usize * 10;
                let waiting = bytes_of(&model);
                let fits = bytes == 0 || waiting == 0 || waiting + bytes <= max;
                assert_eq!(backlog.push(number, bytes).is_ok(), fits);
                if fits {
                    model.push((OTHER, number, bytes, Refuse));
                }
            } else {
                let policy = [Refuse, DropOldest, Coalesce][below(3) as usize];
                let (name, bytes) = (below(5) as u8, 1 + below(40) as usize);
                let known = model
                    .iter()
                    .position(|item| policy == Coalesce && item.3 == Coalesce && item.0 == name);
                let waiting = bytes_of(&model);
                let fits = |waiting: usize| waiting == 0 || waiting + bytes <= max;
                let mut after = model.clone();
                let expected = if let Some(place) = known {
                    let earlier = after[place].2;
                    after[place] = (name, number, bytes, policy);
                    if bytes <= earlier || fits(waiting - earlier) { Ok(1) } else { Err(()) }
                } else {
                    let mut count = 0;
                    while policy == DropOldest
                        && !fits(bytes_of(&after))
                        && let Some(place) = after.iter().position(|item| item.3 == DropOldest)
                    {
                        after.remove(place);
                        count += 1;
                    }
                    let fits = fits(bytes_of(&after));
                    after.push((name, number, bytes, policy));
                    if fits { Ok(count) } else { Err(()) }
                };
                if expected.is_ok() {
                    model = after;
                }
                dropped += expected.unwrap_or(0) as u64;
                let result = backlog.push_signal(number, bytes, &[name], policy);
                assert_eq!(result, expected.map_err(|()| NoRoom::Refused), "round {round}");
            }
            assert_eq!((backlog.len(), backlog.dropped()), (model.len(), dropped));
            assert_eq!(backlog.waiting_bytes(), bytes_of(&model));
            let has_others = model.iter().any(|item| item.0 == OTHER);
            let has_loose = model.iter().any(|item| item.3 != Refuse);
            assert_eq!(backlog.can_wait(), has_loose && !has_others);
        }
        assert!(core::iter::from_fn(|| backlog.pop()).eq(model.into_iter().map(|item| item.1)));
    }
}
