//! What each request means.

mod histories;
mod outcomes;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::num::NonZeroUsize;
use core::time::Duration;

use super::*;
use crate::session::{Session, SessionInfo, SessionKey};
use crate::time::{Instant, UnixTime};

const LEASE: Duration = Duration::from_secs(10);
const NOW: UnixTime = UnixTime::from_seconds(7);

struct Nodes {
    engine: MemoryEngine,
    now: Instant,
    number: u64,
    news: Vec<(Epoch, News)>,
    /// Which data nodes expect.
    data: DataId,
}

impl Nodes {
    fn new() -> Self {
        Self {
            engine: MemoryEngine::new(),
            now: Instant::EPOCH,
            number: 0,
            news: Vec::new(),
            data: DataId(1),
        }
    }

    fn perform(&mut self, request: Request) -> Answer {
        self.engine.perform(self.now, request, &mut self.news)
    }

    fn enter(&mut self, name: &str) -> Lease {
        match self.perform(Request::Enter { name: name.into(), lease: LEASE }) {
            Answer::Lease(lease) => lease,
            other => panic!("{other:?}"),
        }
    }

    fn numbered(&mut self, number: u64, by: &Lease, step: Step) -> SessionAnswer {
        let request = SessionRequest {
            key: key(),
            epoch: by.epoch,
            number,
            membership: by.membership(),
            history: None,
            step,
        };
        match self.perform(Request::Session(Box::new(request))) {
            Answer::Session(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&mut self, by: &Lease, step: Step) -> SessionAnswer {
        self.number += 1;
        self.numbered(self.number, by, step)
    }
}

fn key() -> SessionKey {
    SessionKey::new("key").unwrap()
}

fn session() -> Box<Session> {
    Box::new(Session::new(key(), UnixTime::from_seconds(5), SessionInfo::new()))
}

fn create() -> Step {
    Step::Create { session: session(), places: 1 }
}

fn join(places: u32) -> Step {
    Step::Join { places, limit: NonZeroUsize::new(2), now: NOW }
}

fn found() -> SessionAnswer {
    SessionAnswer::Found { session: session(), revision: Revision(1) }
}

#[test]
fn places_are_counted_over_all_nodes() {
    let mut nodes = Nodes::new();
    let (a, b) = (nodes.enter("a"), nodes.enter("b"));
    assert_eq!(nodes.ask(&b, join(1)), SessionAnswer::NotFound);
    assert_eq!(nodes.ask(&a, create()), SessionAnswer::Created);
    assert_eq!(nodes.ask(&b, create()), SessionAnswer::Exists);
    assert_eq!(nodes.ask(&b, join(1)), found());
    assert_eq!(nodes.ask(&a, join(2)), SessionAnswer::LimitReached);
    assert_eq!(nodes.engine.places(nodes.now, &key()), 2);
    assert_eq!(nodes.ask(&b, Step::Place { places: 0 }), SessionAnswer::Placed);
    assert!(matches!(nodes.ask(&a, join(2)), SessionAnswer::Found { .. }));
    assert_eq!(nodes.engine.places(nodes.now, &key()), 2);
}

#[test]
fn the_last_node_closes_a_session_and_it_stays_closed() {
    let mut nodes = Nodes::new();
    let (a, b) = (nodes.enter("a"), nodes.enter("b"));
    nodes.ask(&a, create());
    nodes.ask(&b, join(1));
    assert_eq!(nodes.ask(&a, Step::Close), SessionAnswer::Detached);
    assert_eq!(nodes.ask(&b, Step::Close), SessionAnswer::Closed);
    assert_eq!(nodes.ask(&a, join(1)), SessionAnswer::NotFound);
    assert_eq!(nodes.ask(&a, create()), SessionAnswer::Exists);
    assert_eq!(nodes.ask(&a, Step::Edit { info: SessionInfo::new() }), SessionAnswer::NotFound);
    assert_eq!(nodes.engine.session(&key()), None);
    assert_eq!(nodes.news, []);
}

#[test]
fn other_nodes_hear_of_changes() {
    let mut nodes = Nodes::new();
    let (a, b, c) = (nodes.enter("a"), nodes.enter("b"), nodes.enter("c"));
    nodes.ask(&a, create());
    nodes.ask(&b, join(1));
    let info = SessionInfo::new().public("user", "ada");
    let edited = nodes.ask(&a, Step::Edit { info: info.clone() });
    assert_eq!(edited, SessionAnswer::Edited { revision: Revision(2) });
    let changed = News::Changed { key: key(), revision: Revision(2) };
    assert_eq!(core::mem::take(&mut nodes.news), [(b.epoch, changed)]);
    let confirm = |known| Step::Confirm { places: 1, limit: None, known: Revision(known) };
    assert_eq!(nodes.ask(&b, confirm(2)), SessionAnswer::Same);
    let SessionAnswer::Found { session, revision } = nodes.ask(&b, confirm(1)) else { panic!() };
    assert_eq!((session.info, session.last_lookup, revision), (info, NOW, Revision(2)));

    let closing = Closing::ByKey { disconnect: true };
    let close = |expected| Step::CloseForAll { expected, closing };
    assert_eq!(nodes.ask(&c, close(Some(Revision(1)))), SessionAnswer::Changed);
    assert_eq!(nodes.ask(&c, close(Some(Revision(2)))), SessionAnswer::Closed);
    let closed = News::Closed { key: key(), closing };
    assert_eq!(nodes.news, [(a.epoch, closed.clone()), (b.epoch, closed)]);
    assert_eq!(nodes.ask(&b, confirm(2)), SessionAnswer::NotFound);
}

#[test]
fn a_repeated_request_changes_nothing_and_a_late_one_neither() {
    let mut nodes = Nodes::new();
    let (a, b) = (nodes.enter("a"), nodes.enter("b"));
    for _ in 0..2 {
        assert_eq!(nodes.numbered(1, &a, create()), SessionAnswer::Created);
    }
    let edit = || Step::Edit { info: SessionInfo::new() };
    for _ in 0..2 {
        let edited = SessionAnswer::Edited { revision: Revision(2) };
        assert_eq!(nodes.numbered(3, &a, edit()), edited);
    }
    assert_eq!(nodes.numbered(2, &a, join(2)), SessionAnswer::Overtaken);
    assert_eq!(nodes.engine.places(nodes.now, &key()), 1);
    // Giving up all places does not forget the number.
    assert_eq!(nodes.numbered(5, &a, Step::Place { places: 0 }), SessionAnswer::Placed);
    assert_eq!(nodes.numbered(4, &a, join(1)), SessionAnswer::Overtaken);
    assert_eq!(nodes.engine.places(nodes.now, &key()), 0);
    // Each node has numbers of its own.
    assert!(matches!(nodes.numbered(1, &b, join(2)), SessionAnswer::Found { .. }));
}

#[test]
fn a_repetition_does_not_undo_what_others_did_meanwhile() {
    let mut nodes = Nodes::new();
    let (a, b) = (nodes.enter("a"), nodes.enter("b"));
    let info = |name: &str| SessionInfo::new().public("user", name);
    let edit = |name: &str| Step::Edit { info: info(name) };
    let edited = |revision| SessionAnswer::Edited { revision: Revision(revision) };
    nodes.numbered(1, &a, create());
    nodes.numbered(1, &b, join(1));
    assert_eq!(nodes.numbered(2, &a, edit("ada")), edited(2));
    assert_eq!(nodes.numbered(2, &b, edit("bob")), edited(3));
    assert_eq!(nodes.numbered(2, &a, edit("ada")), edited(2));
    let found = nodes.engine.session(&key()).map(|(session, _)| session.info.clone());
    assert_eq!(found, Some(info("bob")));

    // Once another node has left, a repeated step would close.
    assert_eq!(nodes.numbered(3, &a, Step::Close), SessionAnswer::Detached);
    nodes.numbered(3, &b, Step::Place { places: 0 });
    assert_eq!(nodes.numbered(3, &a, Step::Close), SessionAnswer::Detached);
    assert!(nodes.engine.session(&key()).is_some());
}

#[test]
fn the_places_of_a_dead_node_are_free_and_it_is_fenced() {
    let mut nodes = Nodes::new();
    let (a, b) = (nodes.enter("a"), nodes.enter("b"));
    nodes.ask(&a, create());
    nodes.ask(&a, join(2));
    nodes.now = nodes.now + LEASE / 2;
    let renew = |of: &Lease| Request::Renew { epoch: of.epoch, lease: LEASE };
    let Answer::Lease(b) = nodes.perform(renew(&b)) else { panic!() };
    assert_eq!(nodes.ask(&b, join(1)), SessionAnswer::LimitReached);
    nodes.now = nodes.now + LEASE / 2;
    // Its lease has run out, and only who knows that may act.
    assert_eq!(nodes.ask(&b, join(1)), SessionAnswer::LimitReached);
    let Answer::Lease(b) = nodes.perform(renew(&b)) else { panic!() };
    assert!(matches!(nodes.ask(&b, join(1)), SessionAnswer::Found { .. }));
    assert_eq!(nodes.ask(&a, Step::Place { places: 2 }), SessionAnswer::Fenced);
    assert_eq!(nodes.ask(&a, Step::Close), SessionAnswer::Fenced);
    assert_eq!(nodes.perform(renew(&a)), Answer::Dead);
    let again = nodes.enter("a");
    assert!(again.epoch > b.epoch);
    assert!(matches!(nodes.ask(&again, join(1)), SessionAnswer::Found { .. }));
}

#[test]
fn messages_go_to_the_nodes_that_they_concern() {
    let mut nodes = Nodes::new();
    let (a, b, c) = (nodes.enter("a"), nodes.enter("b"), nodes.enter("c"));
    nodes.ask(&a, create());
    nodes.ask(&b, join(1));
    nodes.perform(Request::Follow { epoch: c.epoch, group: "g".into() });
    nodes.perform(Request::Follow { epoch: a.epoch, group: "g".into() });
    let mut receivers = |to: Audience| {
        let sent = nodes.perform(Request::Send { from: a.epoch, to, message: "m".into() });
        let news = core::mem::take(&mut nodes.news);
        assert_eq!(sent, Answer::Sent { nodes: u32::try_from(news.len()).unwrap() });
        news.into_iter().map(|(epoch, _)| epoch).collect::<Vec<_>>()
    };
    assert_eq!(receivers(Audience::Session(key())), [b.epoch]);
    assert_eq!(receivers(Audience::Group("g".into())), [c.epoch]);
    assert_eq!(receivers(Audience::Group("h".into())), []);
    assert_eq!(receivers(Audience::All), [b.epoch, c.epoch]);
    nodes.perform(Request::Unfollow { epoch: c.epoch, group: "g".into() });
    nodes.perform(Request::Retire { epoch: b.epoch });
    let send = |to| Request::Send { from: a.epoch, to, message: "m".into() };
    assert_eq!(nodes.perform(send(Audience::Group("g".into()))), Answer::Sent { nodes: 0 });
    assert_eq!(nodes.perform(send(Audience::All)), Answer::Sent { nodes: 1 });
}
