//! Random requests.

use core::num::NonZeroUsize;

use fastrand::Rng;
use wwr::cluster::{Audience, Closing, HistoryStep, Revision, Step};
use wwr::session::{HistoryConfig, Position};
use wwr::{Session, UnixTime};

use super::pair::Pair;
use super::{info, key};

/// How many requests a walk has.
const REQUESTS: usize = 400;

/// A walk uses [`AT_ONCE`] of them at a time, from the first to the last: sessions that are closed stay closed.
const KEYS: [&str; 20] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
    "t",
];
const AT_ONCE: usize = 3;
const GROUPS: [&str; 2] = ["red", "green"];

/// A request that may be made again.
struct Asked {
    number: u64,
    node: usize,
    key: &'static str,
    step: Step,
}

/// Makes random requests. The pair compares what the engines do.
pub(super) fn walk(pair: &mut Pair<'_>, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut asked: Vec<Asked> = Vec::new();
    for name in ["a", "b", "c"] {
        pair.enter(name);
    }
    for request in 0..REQUESTS {
        let keys = &KEYS[(KEYS.len() - AT_ONCE) * request / REQUESTS..][..AT_ONCE];
        // Of late ones, mostly.
        let first = pair.nodes().saturating_sub(5);
        let node = rng.usize(first..pair.nodes());
        match rng.u32(0..100) {
            0..60 => {
                let key = keys[rng.usize(..AT_ONCE)];
                let step = step(&mut rng, key);
                pair.new_history = [None, Some(1), Some(u64::MAX)][rng.usize(..3)];
                let number = pair.next_number(node);
                // What it knows of the dead may be old, or newer than its own lease.
                let informant = if rng.u8(..4) == 0 { rng.usize(..pair.nodes()) } else { node };
                pair.knowing(informant, number, node, key, step.clone());
                asked.push(Asked { number, node, key, step });
            }
            60..75 => {
                if asked.is_empty() {
                    continue;
                }
                // The last request of a node, or one from long ago.
                let back =
                    if rng.bool() { 1 + rng.usize(..4) } else { 1 + rng.usize(..asked.len()) };
                let Asked { number, node, key, step } = &asked[asked.len() - back.min(asked.len())];
                pair.numbered(*number, *node, key, step.clone());
            }
            75..80 => {
                let key = keys[rng.usize(..AT_ONCE)];
                let incarnation = [1, u64::MAX, u64::MAX / 3][rng.usize(..3)];
                let step = history_step(&mut rng, incarnation);
                pair.history(node, key, incarnation, limits(&mut rng), step);
            }
            80..87 => {
                let to = match rng.u8(..3) {
                    0 => Audience::All,
                    1 => Audience::Group(GROUPS[rng.usize(..GROUPS.len())].into()),
                    _ => Audience::Session(key(keys[rng.usize(..AT_ONCE)])),
                };
                let message: Vec<u8> = (0..rng.usize(..20)).map(|_| rng.u8(..)).collect();
                pair.send(node, to, &message);
            }
            87..92 => {
                let group = GROUPS[rng.usize(..GROUPS.len())];
                if rng.u8(..3) > 0 { pair.follow(node, group) } else { pair.unfollow(node, group) }
            }
            92..96 => drop(pair.renew(node)),
            96..98 => pair.retire(node),
            98 => drop(pair.enter("another")),
            _ => {
                pair.enter_for_a_moment("brief");
                pair.wait_for_that_moment();
            }
        }
    }
}

/// So few signals that some are forgotten, and for so long that none is too old.
fn limits(rng: &mut Rng) -> HistoryConfig {
    let mut limits = HistoryConfig::default();
    (limits.max_signals, limits.max_bytes) = (rng.usize(1..5), rng.usize(1..60));
    limits
}

fn history_step(rng: &mut Rng, incarnation: u64) -> HistoryStep {
    if rng.bool() {
        let signal: Vec<u8> = (0..rng.usize(..20)).map(|_| rng.u8(..)).collect();
        return HistoryStep::Append { signal: signal.into() };
    }
    let offset = rng.u64(..9);
    let after = Position { incarnation, offset };
    HistoryStep::Read { after, most: rng.usize(1..4), max_bytes: rng.usize(1..40) }
}

fn step(rng: &mut Rng, of: &str) -> Step {
    let places = rng.u32(..4);
    let limit = NonZeroUsize::new(rng.usize(..6));
    let revision = Revision(rng.u64(..5));
    match rng.u8(..16) {
        0..4 => {
            let session = Session::new(key(of), UnixTime::from_seconds(rng.i64(..1000)), info(of));
            Step::Create { session: Box::new(session), places }
        }
        4..7 => {
            let now = UnixTime::from_parts(rng.i64(-1000..1000), rng.u32(..1_000_000_000));
            Step::Join { places, limit, now }
        }
        7..9 => Step::Place { places },
        9..12 => Step::Edit { info: info(&rng.u8(..).to_string()) },
        12..14 => Step::Confirm { places, limit, known: revision },
        14 => Step::Close,
        _ => {
            let closing = match rng.u8(..3) {
                0 => Closing::ByOther,
                one => Closing::ByKey { disconnect: one == 1 },
            };
            Step::CloseForAll { expected: rng.bool().then_some(revision), closing }
        }
    }
}
