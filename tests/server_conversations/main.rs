//! Recorded conversations between the reference's client and server, protocols 1.4 and 2.0, with
//! our server in place of theirs: given the same messages and the same application, it sends the
//! same messages, except where a table of differences says otherwise. Each row of a table is met
//! as often as it says.
//!
//! Session objects are compared as JSON, without their times. Numbers in them are compared as
//! floating point, which is what the reference makes of them.

mod application;
#[path = "../support/difference.rs"]
mod difference;
#[path = "../support/document.rs"]
mod document;
mod host;
mod replay;
mod store;
mod tables_1_4;
mod tables_2_0;
mod transcript;
mod words;

use wwr::server::Protocol;

use difference::{Difference, Differences};
use replay::{Mode, Replay};
use transcript::{Reference, What};

/// Scenarios that have nothing for this test: there is no WebSocket.
const NOT_REPLAYED: &[&str] = &["http-endpoint", "connect-refused"];

/// Replays all that was recorded of a reference.
fn replay(mode: Mode, tables: &[&'static [Difference]]) {
    let transcripts = mode.reference.transcripts();
    let differences = Differences::new(tables);
    let mut left_out = 0;
    for transcript in &transcripts {
        println!("{}", transcript.scenario);
        if NOT_REPLAYED.contains(&&*transcript.scenario) {
            let mut events = transcript.events.iter();
            assert!(!events.any(|event| matches!(event.what, What::Message { .. })));
            left_out += 1;
        } else {
            Replay::new(mode, transcript, &differences).run();
        }
    }
    let scenarios = match mode.reference {
        Reference::V1_4 => 56,
        Reference::V2_0 => 79,
    };
    assert_eq!((transcripts.len(), left_out), (scenarios, NOT_REPLAYED.len()));
    differences.check();
}

const fn mode(reference: Reference, protocol: Protocol) -> Mode {
    Mode { reference, protocol, strict: false }
}

#[test]
fn conversations_of_1_4_go_the_same_way_with_our_server() {
    replay(mode(Reference::V1_4, Protocol::V1_4), &[tables_1_4::ALWAYS]);
}

#[test]
fn conversations_of_1_4_go_the_same_way_with_our_server_for_any_version() {
    replay(mode(Reference::V1_4, Protocol::Any), &[tables_1_4::ANY, tables_1_4::ALWAYS]);
}

#[test]
fn conversations_of_2_0_go_the_same_way_with_our_strict_server() {
    let strict = Mode { strict: true, ..mode(Reference::V2_0, Protocol::V2_0) };
    replay(strict, &[tables_2_0::ALWAYS]);
}

#[test]
fn conversations_of_2_0_go_the_same_way_with_our_lenient_server() {
    let tables = &[tables_2_0::LENIENT, tables_2_0::ALWAYS];
    replay(mode(Reference::V2_0, Protocol::V2_0), tables);
}

#[test]
fn conversations_of_2_0_go_the_same_way_with_our_server_for_any_version() {
    let tables = &[tables_2_0::ANY, tables_2_0::LENIENT, tables_2_0::ALWAYS];
    replay(mode(Reference::V2_0, Protocol::Any), tables);
}

/// What is replayed of a reference.
fn scenarios(reference: Reference) -> Vec<String> {
    let recorded = reference.transcripts().into_iter().map(|transcript| transcript.scenario);
    recorded.filter(|scenario| !NOT_REPLAYED.contains(&&**scenario)).collect()
}

#[test]
fn the_document_says_what_our_server_does_differently() {
    let version = |reference: Reference, differences| document::Version {
        scenarios: scenarios(reference),
        differences,
    };
    document::check(
        "our server",
        &version(Reference::V1_4, tables_1_4::ALWAYS),
        &version(Reference::V2_0, tables_2_0::ALWAYS),
    );
}
