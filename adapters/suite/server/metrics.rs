//! Metrics, as a recorder of the facade sees them.

use std::collections::BTreeMap;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use crate::suite::support::message::{INTERNAL, answer, error, special};
use crate::suite::support::peer::Peer;
use crate::suite::support::{Fixture, until};

/// The number of each series, by its name and labels; and how many have a description.
fn numbers(snapshotter: &Snapshotter) -> (BTreeMap<String, f64>, usize) {
    let mut numbers = BTreeMap::new();
    let mut described = 0;
    for (key, _, description, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
        let name = labels.fold(key.name().to_owned(), |name, label| name + &label);
        let number = match value {
            DebugValue::Counter(number) => number as f64,
            DebugValue::Gauge(number) => number.into_inner(),
            DebugValue::Histogram(_) => continue,
        };
        described += usize::from(description.is_some());
        assert_eq!(numbers.insert(name, number), None, "{key:?}");
    }
    (numbers, described)
}

#[test]
fn what_is_counted_is_shown_when_it_is_published() {
    let fixture = Fixture::new();
    let recorder = DebuggingRecorder::new();
    let metrics = metrics::with_local_recorder(&recorder, || fixture.server.handle.metrics());
    let snapshotter = recorder.snapshotter();
    metrics.publish();
    let (before, described) = numbers(&snapshotter);
    assert_eq!(described, before.len(), "each has a description");
    assert!(before.values().all(|number| *number == 0.0), "{before:?}");

    let mut peer = Peer::connect(fixture.address());
    assert_eq!(peer.ask(1, "echo", "x"), answer(1, "x"));
    assert_eq!(peer.ask(2, "error", ""), error(2, "CODE", "message"));
    assert_eq!(peer.ask(3, "panic", ""), special(INTERNAL, 3));
    metrics.publish();
    let expect = |expected: &[(&str, f64)]| {
        let (now, _) = numbers(&snapshotter);
        assert!(now.keys().eq(before.keys()), "no client adds a series");
        for (name, number) in expected {
            assert_eq!(now.get(*name), Some(number), "{name} in {now:#?}");
        }
    };
    expect(&[
        ("wwr_connections dialect=1.4", 1.0),
        ("wwr_connections_opened_total", 1.0),
        ("wwr_connections_ended_total dialect=1.4", 0.0),
        ("wwr_requests_total outcome=replied", 1.0),
        ("wwr_requests_total outcome=failed", 1.0),
        ("wwr_requests_total outcome=internal", 1.0),
        ("wwr_requests_total outcome=lost", 0.0),
        ("wwr_handler_panics_total", 1.0),
        ("wwr_requests_running", 0.0),
        ("wwr_queued_bytes", 0.0),
    ]);
    drop(peer);
    until(|| fixture.server.handle.stats().ended.total() == 1);
    metrics.publish();
    expect(&[
        ("wwr_connections dialect=1.4", 0.0),
        ("wwr_connections_ended_total dialect=1.4", 1.0),
        ("wwr_requests_total outcome=replied", 1.0),
    ]);
}
