//! Recorded conversations between the reference's client and server, protocols 1.4 and 2.0, with
//! our client in place of theirs: given the same calls and the same messages, it sends the same
//! bytes and tells its application the same, except where a table of differences says otherwise.
//! Each row of a table is met as often as it says.

#[path = "../support/difference.rs"]
mod difference;
#[path = "../support/document.rs"]
mod document;
mod player;
mod recording;
mod replay;
mod tables;
mod told;

use wwr::client::Protocol;

use difference::{Difference, Differences};
use recording::{Recording, Reference};
use replay::{Mode, Replay};

/// Replays all that was recorded of the client of a reference.
fn replay(reference: Reference, protocol: Protocol, tables: &[&'static [Difference]]) {
    let mode = Mode { reference, protocol };
    let differences = Differences::new(tables);
    let recordings = reference.recordings();
    let (replayed, others): (Vec<&Recording>, Vec<_>) =
        recordings.iter().partition(|recording| recording.client == "reference");
    assert!(
        others.iter().all(|recording| recording.client == "raw"),
        "these have no client of ours"
    );
    for recording in &replayed {
        println!("{}", recording.scenario);
        Replay::new(mode, recording, &differences).run();
    }
    let scenarios = match reference {
        Reference::V1_4 => (45, 11),
        Reference::V2_0 => (57, 22),
    };
    assert_eq!((replayed.len(), others.len()), scenarios, "no scenario is left out");
    differences.check();
}

#[test]
fn conversations_of_1_4_go_the_same_way_with_our_client() {
    replay(Reference::V1_4, Protocol::V1_4, &[tables::ALWAYS_1_4]);
}

#[test]
fn conversations_of_1_4_go_the_same_way_with_our_client_for_any_version() {
    replay(Reference::V1_4, Protocol::Auto, &[tables::AUTO_1_4, tables::ALWAYS_1_4]);
}

#[test]
fn conversations_of_2_0_go_the_same_way_with_our_client() {
    replay(Reference::V2_0, Protocol::V2_0, &[tables::ALWAYS_2_0]);
}

#[test]
fn conversations_of_2_0_go_the_same_way_with_our_client_for_any_version() {
    replay(Reference::V2_0, Protocol::Auto, &[tables::ALWAYS_2_0]);
}

#[test]
fn the_document_says_what_our_client_does_differently() {
    let version = |reference: Reference, differences| {
        let recordings = reference.recordings().into_iter();
        let replayed = recordings.filter(|recording| recording.client == "reference");
        let scenarios = replayed.map(|recording| recording.scenario).collect();
        document::Version { scenarios, differences }
    };
    document::check(
        "our client",
        &version(Reference::V1_4, tables::ALWAYS_1_4),
        &version(Reference::V2_0, tables::ALWAYS_2_0),
    );
}
