//! What every engine of a cluster has to do, as a check that runs against any of them.

mod histories;
mod outcomes;
mod pair;
mod walk;

use core::num::NonZeroUsize;

use wwr::cluster::{Answer, Audience, Closing, News, Revision, SessionAnswer, Step};
use wwr::{Session, SessionInfo, SessionKey, UnixTime};

use crate::cluster::Engine;
use pair::Pair;

/// Checks that an engine answers as [`wwr::cluster::MemoryEngine`] does, and tells the same news: for the tests of
/// engines. First behaviours one by one, then walks of random requests, by fixed seeds. Each gets a new
/// engine without data from `fresh`, and what `fresh` returns beside it lives as long. The engine is used from one
/// thread, outside of any runtime.
///
/// ```
/// use wwr_async::cluster::MemoryCluster;
/// use wwr_async::testing::check_engine;
///
/// check_engine(|| (MemoryCluster::new(), ()));
/// ```
///
/// # Panics
///
/// If the engine behaves otherwise, fails, or has no news for a minute. Standard output says what it was to do.
#[track_caller]
pub fn check_engine<E: Engine, G>(fresh: impl Fn() -> (E, G)) {
    let all = BEHAVIOURS.iter().chain(histories::BEHAVIOURS).chain(outcomes::BEHAVIOURS);
    for (behaviour, check) in all {
        println!("{behaviour}");
        let (engine, _guard) = fresh();
        let mut pair = Pair::new(&engine);
        check(&mut pair);
        pair.finish();
    }
    for seed in 0..SEEDS {
        println!("it answers random requests as the engine in memory does: seed {seed}");
        let (engine, _guard) = fresh();
        let mut pair = Pair::new(&engine);
        walk::walk(&mut pair, seed);
        outcomes::walk(&mut pair, seed);
        pair.finish();
    }
}

/// How many walks there are.
const SEEDS: u64 = 12;

/// A behaviour of an engine, and its check on a new one. The pair compares each answer and all news with those of the
/// engine in memory; what is said here is what must not be wrong in either.
type Behaviour = (&'static str, fn(&mut Pair<'_>));

fn key(text: &str) -> SessionKey {
    super::store::key(text)
}

fn session(text: &str) -> Box<Session> {
    Box::new(super::store::session(text))
}

fn info(user: &str) -> SessionInfo {
    SessionInfo::new().public("user", user).private("</a>\u{2028}", "\"\n\u{1f600}")
}

fn create(places: u32) -> Step {
    Step::Create { session: session("k"), places }
}

fn join(places: u32, limit: usize) -> Step {
    Step::Join { places, limit: NonZeroUsize::new(limit), now: UnixTime::from_parts(300, 7) }
}

fn confirm(places: u32, limit: usize, known: u64) -> Step {
    Step::Confirm { places, limit: NonZeroUsize::new(limit), known: Revision(known) }
}

fn place(places: u32) -> Step {
    Step::Place { places }
}

fn close_for_all(expected: Option<u64>, disconnect: bool) -> Step {
    let closing = Closing::ByKey { disconnect };
    Step::CloseForAll { expected: expected.map(Revision), closing }
}

fn edited(revision: u64) -> SessionAnswer {
    SessionAnswer::Edited { revision: Revision(revision) }
}

fn is_found(answer: &SessionAnswer) -> bool {
    matches!(answer, SessionAnswer::Found { .. })
}

const BEHAVIOURS: &[Behaviour] = &[
    ("runs of nodes have increasing epochs, which are times", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("a"));
        assert!(pair.epoch(b) > pair.epoch(a), "an epoch was given twice");
        // Milliseconds since 1970.
        let first = pair.epoch(a).0.get();
        assert!(first > 1_600_000_000_000, "{first} is no time of this engine's clock");
        pair.renew(a);
        pair.retire(a);
        assert_eq!(pair.renew(a), Answer::Dead);
        assert_eq!(pair.renew(b), Answer::Done, "the pair stands for a lease as `Done`");
        let c = pair.enter("an \u{e9}, a \"quote\", and a, comma");
        pair.renew(c);
        assert!(pair.epoch(c) > pair.epoch(b));
        // Also those that enter within a millisecond.
        for number in 0..50 {
            pair.enter_unheard(&number.to_string());
        }
    }),
    ("a lease that has run out is over", |pair| {
        let a = pair.enter("a");
        let short = pair.enter_for_a_moment("b");
        pair.wait_for_that_moment();
        pair.renew(a);
        assert_eq!(pair.renew(short), Answer::Dead);
    }),
    ("places are counted over all nodes", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("b"));
        assert_eq!(pair.ask(b, "k", join(1, 2)), SessionAnswer::NotFound);
        assert_eq!(pair.ask(a, "k", create(1)), SessionAnswer::Created);
        assert_eq!(pair.ask(b, "k", create(1)), SessionAnswer::Exists);
        let found = SessionAnswer::Found { session: session("k"), revision: Revision(1) };
        assert_eq!(pair.ask(b, "k", join(1, 2)), found);
        assert_eq!(pair.ask(a, "k", join(2, 2)), SessionAnswer::LimitReached);
        assert_eq!(pair.ask(b, "k", place(0)), SessionAnswer::Placed);
        assert!(is_found(&pair.ask(a, "k", join(2, 2))));
        assert_eq!(pair.ask(b, "k", confirm(1, 2, 1)), SessionAnswer::LimitReached);
        assert_eq!(pair.ask(b, "k", confirm(1, 0, 1)), SessionAnswer::Same);
    }),
    ("a session is kept as it was created", |pair| {
        let a = pair.enter("a");
        let odd = Session {
            last_lookup: UnixTime::from_seconds(-1),
            ..Session::new(key("o"), UnixTime::from_parts(9, 999_999_999), info("o"))
        };
        let bare = Session::new(key("bare"), UnixTime::NEVER, SessionInfo::new());
        for session in [odd, bare] {
            let key = session.key.as_str().to_string();
            let session = Box::new(session);
            let step = Step::Create { session: session.clone(), places: 1 };
            assert_eq!(pair.ask(a, &key, step), SessionAnswer::Created);
            let found = SessionAnswer::Found { session, revision: Revision(1) };
            assert_eq!(pair.ask(a, &key, join(2, 0)), found);
        }
    }),
    ("the last node closes a session, and it stays closed", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("b"));
        pair.ask(a, "k", create(1));
        pair.ask(b, "k", join(1, 0));
        assert_eq!(pair.ask(a, "k", Step::Close), SessionAnswer::Detached);
        assert_eq!(pair.ask(a, "k", place(0)), SessionAnswer::Placed);
        assert_eq!(pair.ask(b, "k", Step::Close), SessionAnswer::Closed);
        assert_eq!(pair.ask(a, "k", join(1, 0)), SessionAnswer::NotFound);
        assert_eq!(pair.ask(a, "k", confirm(1, 0, 1)), SessionAnswer::NotFound);
        assert_eq!(pair.ask(a, "k", create(1)), SessionAnswer::Exists);
        assert_eq!(pair.ask(a, "k", Step::Edit { info: info("ada") }), SessionAnswer::NotFound);
        assert_eq!(pair.ask(a, "k", place(1)), SessionAnswer::Placed);
        assert_eq!(pair.ask(b, "k", Step::Close), SessionAnswer::Closed);
    }),
    ("giving up the last place does not close a session", |pair| {
        let a = pair.enter("a");
        pair.ask(a, "k", create(1));
        assert_eq!(pair.ask(a, "k", place(0)), SessionAnswer::Placed);
        assert!(is_found(&pair.ask(a, "k", join(1, 1))));
    }),
    ("closing what is not there succeeds, and brings nothing into being", |pair| {
        let a = pair.enter("a");
        for step in [Step::Close, close_for_all(None, false)] {
            assert_eq!(pair.ask(a, "k", step), SessionAnswer::Closed);
        }
        // A node that expects a revision would take `Closed` to mean that it closed the session itself.
        assert_eq!(pair.ask(a, "k", close_for_all(Some(3), true)), SessionAnswer::Changed);
        assert_eq!(pair.ask(a, "k", place(3)), SessionAnswer::Placed);
        assert_eq!(pair.ask(a, "k", create(1)), SessionAnswer::Created);
    }),
    ("other nodes hear of changes and closings", |pair| {
        let (a, b, c) = (pair.enter("a"), pair.enter("b"), pair.enter("c"));
        pair.ask(a, "k", create(1));
        pair.ask(b, "k", join(1, 0));
        assert_eq!(pair.ask(a, "k", Step::Edit { info: info("ada") }), edited(2));
        let changed = News::Changed { key: key("k"), revision: Revision(2) };
        assert_eq!(pair.last_news(), [(b, changed)]);
        assert_eq!(pair.ask(b, "k", confirm(1, 0, 2)), SessionAnswer::Same);
        assert!(is_found(&pair.ask(b, "k", confirm(1, 0, 1))));
        assert_eq!(pair.ask(c, "k", close_for_all(Some(1), true)), SessionAnswer::Changed);
        assert_eq!(pair.last_news(), []);
        assert_eq!(pair.ask(c, "k", close_for_all(Some(2), true)), SessionAnswer::Closed);
        let closing = Closing::ByKey { disconnect: true };
        let closed = News::Closed { key: key("k"), closing };
        assert_eq!(pair.last_news(), [(a, closed.clone()), (b, closed)]);
        assert_eq!(pair.ask(c, "k", close_for_all(None, true)), SessionAnswer::Closed);
        assert_eq!(pair.ask(c, "k", close_for_all(Some(3), true)), SessionAnswer::Changed);
        assert_eq!(pair.last_news(), []);
    }),
    ("a session may be closed for all and its connections stay", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("b"));
        pair.ask(a, "k", create(1));
        assert_eq!(pair.ask(b, "k", close_for_all(None, false)), SessionAnswer::Closed);
        let closing = Closing::ByKey { disconnect: false };
        assert_eq!(pair.last_news(), [(a, News::Closed { key: key("k"), closing })]);
    }),
    ("a session may be closed because it has another key, and its nodes hear that", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("b"));
        pair.ask(a, "k", create(1));
        pair.ask(b, "k", join(1, 0));
        let closing = Closing::ByOther;
        let step = Step::CloseForAll { expected: Some(Revision(1)), closing };
        assert_eq!(pair.ask(a, "k", step), SessionAnswer::Closed);
        assert_eq!(pair.last_news(), [(b, News::Closed { key: key("k"), closing })]);
    }),
    ("a repeated request changes nothing, and a late one neither", |pair| {
        let (a, b) = (pair.enter("a"), pair.enter("b"));
        for _ in 0..2 {
            assert_eq!(pair.numbered(1, a, "k", create(1)), SessionAnswer::Created);
        }
        for _ in 0..2 {
            let edit = Step::Edit { info: info("ada") };
            assert_eq!(pair.numbered(3, a, "k", edit), edited(2));
        }
        assert_eq!(pair.numbered(2, a, "k", join(2, 0)), SessionAnswer::Overtaken);
        assert!(is_found(&pair.numbered(1, b, "k", join(1, 2))));
        let edit = Step::Edit { info: info("bob") };
        assert_eq!(pair.numbered(2, b, "k", edit), edited(3));
        let edit = Step::Edit { info: info("ada") };
        assert_eq!(pair.numbered(3, a, "k", edit), edited(2));
        assert_eq!(pair.last_news(), []);
        assert_eq!(pair.numbered(5, a, "k", Step::Close), SessionAnswer::Detached);
        assert_eq!(pair.numbered(4, a, "k", join(1, 0)), SessionAnswer::Overtaken);
        assert_eq!(pair.numbered(3, b, "k", place(0)), SessionAnswer::Placed);
        assert_eq!(pair.numbered(5, a, "k", Step::Close), SessionAnswer::Detached);
        // Numbers are compared as numbers, however long they are.
        assert_eq!(pair.numbered(10, a, "k", place(1)), SessionAnswer::Placed);
        assert_eq!(pair.numbered(9, a, "k", place(0)), SessionAnswer::Overtaken);
        assert_eq!(pair.numbered(u64::MAX - 1, a, "k", place(1)), SessionAnswer::Placed);
        assert_eq!(pair.numbered(u64::MAX - 2, a, "k", place(0)), SessionAnswer::Overtaken);
        assert_eq!(pair.numbered(u64::MAX, a, "k", confirm(1, 1, 3)), SessionAnswer::Same);
    }),
    ("the places of a dead node are free, and it is fenced", |pair| {
        let (a, b, c) = (pair.enter("a"), pair.enter("b"), pair.enter("c"));
        pair.ask(a, "k", create(2));
        pair.retire(a);
        // Only who knows that may act.
        assert_eq!(pair.ask(b, "k", join(1, 2)), SessionAnswer::LimitReached);
        pair.renew(b);
        assert!(is_found(&pair.ask(b, "k", join(1, 2))));
        // From then on, it holds for those who do not know yet.
        assert!(is_found(&pair.ask(c, "k", join(1, 2))));
        for step in [place(1), Step::Close, join(1, 0), create(1), close_for_all(None, true)] {
            assert_eq!(pair.ask(a, "k", step), SessionAnswer::Fenced);
        }
        assert_eq!(pair.numbered(0, a, "k", place(1)), SessionAnswer::Fenced);
        let again = pair.enter("a");
        assert_eq!(pair.ask(again, "k", join(1, 2)), SessionAnswer::LimitReached);
        assert_eq!(pair.ask(b, "k", Step::Close), SessionAnswer::Detached);
        assert_eq!(pair.ask(c, "k", Step::Close), SessionAnswer::Closed);
    }),
    ("messages go to the nodes that they concern, in order", |pair| {
        let (a, b, c) = (pair.enter("a"), pair.enter("b"), pair.enter("c"));
        pair.ask(a, "k", create(1));
        pair.ask(b, "k", join(1, 0));
        let group = "a {group}: \u{e9}";
        pair.follow(c, group);
        pair.follow(a, group);
        let receivers = |pair: &mut Pair<'_>, to: Audience| {
            let sent = pair.send(a, to, b"\0message\xff");
            let receivers: Vec<_> = pair.last_news().iter().map(|(node, _)| *node).collect();
            assert_eq!(sent, Answer::Sent { nodes: u32::try_from(receivers.len()).unwrap() });
            receivers
        };
        assert_eq!(receivers(pair, Audience::Session(key("k"))), [b]);
        assert!(receivers(pair, Audience::Session(key("other"))).is_empty());
        assert_eq!(receivers(pair, Audience::Group(group.into())), [c]);
        assert!(receivers(pair, Audience::Group("other".into())).is_empty());
        assert_eq!(receivers(pair, Audience::All), [b, c]);
        for _ in 0..2 {
            pair.unfollow(c, group);
            assert!(receivers(pair, Audience::Group(group.into())).is_empty());
        }
        pair.follow(b, group);
        pair.retire(b);
        assert!(receivers(pair, Audience::Group(group.into())).is_empty());
        assert_eq!(receivers(pair, Audience::All), [c]);
        pair.ask(c, "k", join(1, 0));
        // For one audience: sessions may be in different servers.
        for to in [Audience::All, Audience::Session(key("k"))] {
            for number in 0..100_u8 {
                pair.send_unheard(a, to.clone(), &[number]);
            }
            pair.hear();
        }
    }),
    ("news of one session or group are not those of another", |pair| {
        let (a, b, c) = (pair.enter("a"), pair.enter("b"), pair.enter("c"));
        for (node, name) in [(a, "one"), (b, "one"), (a, "two"), (c, "two")] {
            let session = session(name);
            pair.ask(node, name, Step::Create { session, places: 1 });
            pair.ask(node, name, join(1, 0));
            pair.follow(node, name);
        }
        for name in ["one", "two"] {
            pair.send(a, Audience::Group(name.into()), b"to a group");
            pair.send(a, Audience::Session(key(name)), b"to a session");
            pair.ask(a, name, Step::Edit { info: info(name) });
            pair.ask(a, name, close_for_all(None, true));
        }
    }),
];
