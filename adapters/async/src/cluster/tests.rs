//! Engines in memory, and queues of news.

use core::num::NonZeroU64;

use bytes::Bytes;
use smol::block_on;
use wwr::SessionKey;

use super::*;
use crate::testing::check_engine;

fn message(text: &'static str) -> News {
    let (from, message) = (Epoch(NonZeroU64::MIN), Bytes::from_static(text.as_bytes()));
    News::Message { from, to: Audience::All, message }
}

#[test]
fn an_engine_in_memory_behaves() {
    check_engine(|| (MemoryCluster::new(), ()));
}

#[test]
fn an_engine_of_unknown_type_behaves() {
    check_engine(|| (SharedEngine::new(Arc::new(MemoryCluster::new())), ()));
}

#[test]
fn a_queue_never_grows_beyond_its_bounds_and_says_where_news_is_missing() {
    let queue = NewsQueue::new(3, usize::MAX);
    for text in ["1", "2", "3", "4", "5"] {
        queue.push(message(text));
    }
    assert_eq!(queue.dropped(), 2);
    assert_eq!(queue.try_next(), Some(message("1")));
    // There is room for one, and none for it and the mark before it.
    queue.push(message("6"));
    assert_eq!(queue.dropped(), 3);
    assert_eq!(queue.try_next(), Some(message("2")));
    queue.push(message("7"));
    let rest: Vec<_> = core::iter::from_fn(|| queue.try_next()).collect();
    assert_eq!(rest, [message("3"), News::Interrupted, message("7")]);

    // A gap at the end is told, and once.
    queue.push(News::Interrupted);
    queue.push(News::Interrupted);
    assert_eq!(queue.try_next(), Some(News::Interrupted));
    assert_eq!(queue.try_next(), None);
}

#[test]
fn a_queue_is_bounded_in_bytes() {
    let queue = NewsQueue::new(usize::MAX, 1000);
    let key = SessionKey::new("k".repeat(600)).unwrap();
    let closed = News::Closed { key: key.clone(), closing: Closing::ByOther };
    for news in [closed.clone(), closed.clone(), closed.clone()] {
        queue.push(news);
    }
    assert_eq!((queue.try_next(), queue.dropped()), (Some(closed), 2));
    assert_eq!(queue.try_next(), Some(News::Interrupted));
    // What was taken makes room.
    for _ in 0..10 {
        queue.push(News::Changed { key: key.clone(), revision: Revision(1) });
        assert!(matches!(queue.try_next(), Some(News::Changed { .. })));
    }
    assert_eq!(queue.dropped(), 2);
}

#[test]
fn a_queue_that_is_closed_has_no_news() {
    let queue = NewsQueue::new(3, usize::MAX);
    queue.push(message("1"));
    queue.close();
    queue.push(message("2"));
    assert_eq!(block_on(queue.next()), None);
}
