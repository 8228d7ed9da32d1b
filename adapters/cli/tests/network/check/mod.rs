//! `wwr check`: our servers keep to the protocol, and a host with a mistake is found out.

mod host;
mod hosts;
mod wrong;

use std::collections::BTreeSet;
use std::net::TcpListener;

use serde_json::Value;

use crate::raw_server::{RawServer, accept_conf};
use crate::support::{Ran, Server, run, url};
use host::Host;
use wrong::Mistake;

/// What is said to be missing is not decided by the speed of this machine.
const PATIENT: [&str; 4] = ["--patience", "60s", "--timeout", "5m"];

/// As much as can be checked.
const ALL: [&str; 4] = ["--echo", "echo", "--login", "login"];

fn check(url: &str, arguments: &[&str]) -> Ran {
    run(&[&["check", url], arguments].concat())
}

/// The report as an object.
fn report(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// The names of the checks that ended like this.
fn named(report: &Value, outcomes: &[&str]) -> BTreeSet<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    let wanted = checks.filter(|check| outcomes.contains(&check["outcome"].as_str().unwrap()));
    wanted.map(|check| check["name"].as_str().unwrap().to_owned()).collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Checks a server of ours, which has to pass. Returns what was skipped.
fn passes(server: &[&str], warned: &[&str]) -> BTreeSet<String> {
    let running = Server::start(server);
    let ran = check(&running.url(), &[&ALL[..], &PATIENT, &["--json"]].concat());
    let report = report(&ran);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{server:?}: {report:#}");
    assert_eq!(named(&report, &["fail", "not-run", "quirk"]), names(&[]), "{server:?}");
    assert_eq!(named(&report, &["warn"]), names(warned), "{server:?}: {report:#}");
    named(&report, &["skip"])
}

#[test]
fn a_server_of_all_versions_passes() {
    let skipped = passes(&[], &[]);
    assert_eq!(skipped, names(&["heartbeats-keep", "silence", "shutdown"]));
    passes(&["--protocol", "any-as-1.5"], &[]);
    passes(&["--strict"], &[]);
    passes(&["--concurrency", "8", "--sub-protocol", "chat/1"], &[]);
    passes(&["--allow-origin", "any"], &["origin-foreign"]);
}

#[test]
fn a_server_of_one_version_passes() {
    for version in ["1.4", "1.5"] {
        let skipped = passes(&["--protocol", version], &[]);
        assert!(skipped.contains("accept-conf-first") && skipped.contains("serves-wwr.1"));
        assert!(!skipped.contains("preflight-cors") && !skipped.contains("message-flood"));
    }
    let skipped = passes(&["--protocol", "2.0"], &[]);
    assert!(skipped.contains("serves-1.x") && !skipped.contains("serves-2.0"));
    passes(&["--protocol", "2.0", "--strict", "--no-wwr1"], &[]);
}

#[test]
fn what_a_server_does_not_have_is_skipped() {
    let without = passes(&["--sessions", "off"], &[]);
    for name in ["session-created", "session-restored", "session-closed", "session-destroyed"] {
        assert!(without.contains(name), "{name}");
    }
    assert!(passes(&["--no-wwr1"], &[]).contains("malformed-wwr.1"));
    // A session does not fit into such a buffer.
    assert!(
        passes(&["--message-buffer", "32"], &["accept-conf-buffer"]).contains("session-created")
    );
}

/// The times of the server are short, those of the test are not: a server that is late passes too.
#[test]
fn read_timeouts_are_waited_for() {
    for version in ["1.5", "2.0"] {
        let server = Server::start(&["--protocol", version, "--read-timeout", "2s"]);
        let only = ["--only", "silence", "--only", "heartbeats-keep", "--wait", "1m", "--json"];
        let ran = check(&server.url(), &[&only[..], &PATIENT].concat());
        let report = report(&ran);
        assert_eq!(report["counts"]["pass"], 2, "{report:#}");
        assert_eq!(ran.code, Some(0));
    }
}

#[test]
#[cfg(unix)]
fn a_shutdown_can_be_seen() {
    let server = Server::start(&[]);
    let stop = format!("kill -TERM {}", server.running.id());
    let arguments = ["--json", "--only", "shutdown", "--stop", &stop];
    let ran = check(&server.url(), &[&arguments[..], &PATIENT].concat());
    let report = report(&ran);
    assert_eq!(named(&report, &["pass"]), names(&["shutdown"]), "{report:#}");
    assert_eq!(server.running.finish().code, Some(0));
}

#[test]
fn a_host_without_a_mistake_passes() {
    let ran = check(&Host::start(None), &[&ALL[..], &PATIENT, &["--json", "--strict"]].concat());
    let report = report(&ran);
    assert_eq!(ran.code, Some(0), "{report:#}");
    assert_eq!(named(&report, &["skip"]), names(&["heartbeats-keep", "silence", "shutdown"]));
}

/// Each is found by the check that is for it, and by no other.
#[test]
fn mistakes_are_found() {
    for (mistake, found_by) in [
        (Mistake::MetadataWithNumber, "preflight-body"),
        (Mistake::AcceptOfAnotherKey, "upgrade-accept"),
        (Mistake::IdentifierCut, "reply-identifier"),
        (Mistake::RepliesReversed, "reply-order"),
        (Mistake::RepliesTwice, "reply-once"),
        (Mistake::ErrorReplyType, "request-unknown-name"),
        (Mistake::ReadsAnyLength, "message-too-long"),
        (Mistake::EndsAtMalformedSignal, "malformed-signal"),
        (Mistake::EndsAtFewUnknown, "message-flood"),
        (Mistake::NoPong, "ping"),
        (Mistake::RestoreAnnounced, "session-restored"),
        (Mistake::EndsAtPathAsKey, "restore-invalid"),
        (Mistake::CloseCodeChanged, "close-handshake"),
    ] {
        finds(mistake, found_by, &PATIENT);
    }
}

/// The same for mistakes of which nothing is to be seen: that something is missing takes as long as the
/// patience, for which nothing else waits.
#[test]
fn mistakes_that_take_time_are_found() {
    let less_patient = ["--patience", "10s", "--timeout", "5m"];
    finds(Mistake::AcceptConfLate, "accept-conf-first", &less_patient);
    finds(Mistake::HeldUpByHandshakes, "neighbour-stalled", &less_patient);
}

fn finds(mistake: Mistake, found_by: &str, patience: &[&str]) {
    let ran = check(&Host::start(Some(mistake)), &[&ALL[..], patience, &["--json"]].concat());
    let report = report(&ran);
    let found = named(&report, &["fail", "warn", "quirk", "not-run"]);
    assert_eq!(found, names(&[found_by]), "{mistake:?}: {report:#}");
    assert_eq!((ran.code, report["counts"]["fail"].as_u64()), (Some(1), Some(1)), "{mistake:?}");
    assert!(named(&report, &["pass"]).len() > 40, "{mistake:?}: {report:#}");
}

/// What a host should do is a failure only if that is wanted.
#[test]
fn a_foreign_origin_is_warned_about() {
    let url = Host::start(Some(Mistake::ForeignOrigin));
    let ran = check(&url, &[&ALL[..], &PATIENT, &["--json"]].concat());
    let report = report(&ran);
    assert_eq!(named(&report, &["fail", "warn", "quirk"]), names(&["origin-foreign"]));
    assert_eq!(ran.code, Some(0));
    let strict = check(&url, &[&PATIENT[..], &["--strict", "--only", "origin-foreign"]].concat());
    assert_eq!(strict.code, Some(1));
}

#[test]
fn without_an_application_the_rest_is_checked() {
    let server = Server::start(&[]);
    let ran = check(&server.url(), &[&PATIENT[..], &["--json"]].concat());
    let report = report(&ran);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let skipped = named(&report, &["skip"]);
    for name in ["reply-identifier", "reply-order", "buffer-exact", "session-created"] {
        assert!(skipped.contains(name), "{name}: {report:#}");
    }
    let passed = named(&report, &["pass"]);
    for name in ["malformed-request", "ping", "fragments", "message-too-long", "connections-many"] {
        assert!(passed.contains(name), "{name}: {report:#}");
    }
}

#[test]
fn people_read_what_was_expected_and_seen() {
    let url = Host::start(Some(Mistake::NoPong));
    let ran = check(&url, &[&PATIENT[..], &["--echo", "echo", "--only", "liveness"]].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""));
    let text = ran.text();
    for part in [
        "speaks 1.4, 2.0, wwr.1\n\nliveness\n  FAIL    ping ",
        "must    §4.4",
        "\n          expected: a ping is answered by a pong",
        "\n          seen: 3 requests behind it were answered, and no pong came\n",
        "\n  pass    heartbeats ",
        "the read timeout is 1m; --wait 2m checks it",
        "\n\n2 passed, 1 failed, 2 skipped\n",
    ] {
        assert!(text.contains(part), "{part:?}: {text}");
    }
}

#[test]
fn checks_are_listed_without_a_host() {
    let ran = run(&["check", "--list"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.text().lines().count() > 70, "{}", ran.text());
    let ran = run(&["check", "--list", "--only", "ping"]);
    assert!(ran.text().starts_with("liveness\n  ping "), "{}", ran.text());
    assert_eq!(ran.text().lines().count(), 2);
}

#[test]
fn what_cannot_be_checked_is_2() {
    let server = Server::start(&[]);
    let url_of_server = server.url();
    let refuses = RawServer {
        preflight: ("400 Bad Request", ""),
        websocket: Err(("503 Service Unavailable", "")),
    };
    let refuses = refuses.start();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silence = url(silent.local_addr().unwrap());
    for (arguments, said) in [
        (&["ws://127.0.0.1:1/"][..], "no connection"),
        (&[&refuses], "refused with status 503"),
        (&["--timeout", "200ms", &silence], "the time was over"),
        (&["--patience", "200ms", &silence], "did not come within 200ms"),
        (&["--echo", "nonsense", &url_of_server], "--echo nonsense: the request failed: 00"),
        (&["--only", "pong", &url_of_server], "--list shows them"),
        (&[], "<URL>"),
    ] {
        let ran = run(&[&["check"], arguments].concat());
        assert_eq!((ran.code, ran.text()), (Some(2), ""), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{arguments:?}: {}", ran.stderr);
    }
}

/// Such a host says what it is, and does nothing more.
#[test]
fn the_time_ends_a_check() {
    let url = RawServer {
        preflight: ("400 Bad Request", ""),
        websocket: Ok(Some(accept_conf([2, 0], ""))),
    }
    .start();
    let ran = check(&url, &["--json", "--timeout", "3s", "--patience", "1m", "--only", "requests"]);
    let report = report(&ran);
    assert_eq!(ran.code, Some(2), "{report:#}");
    assert!(ran.stderr.contains("--timeout gives more"), "{}", ran.stderr);
    assert!(report["counts"]["not_run"].as_u64() >= Some(1), "{report:#}");
}
