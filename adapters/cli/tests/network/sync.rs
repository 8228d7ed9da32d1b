//! What reaches the disk before a client hears of it, as the system sees it.
//!
//! Needs `strace`, and to be allowed to trace; is skipped where that cannot be had.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::support::{Server, run};

fn can_trace() -> bool {
    let probe = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    let can = probe.is_ok_and(|output| output.status.success());
    if !can {
        println!("skipped: there is no strace here, or it may not trace");
    }
    can
}

/// Finds the steps in the trace, one after the other.
fn follow(trace: &str, steps: &[&[&str]]) {
    let mut lines = trace.lines();
    for step in steps {
        let found = lines.any(|line| step.iter().all(|part| line.contains(part)));
        assert!(found, "no {step:?} where it should be in\n{trace}");
    }
}

#[test]
fn durable_sessions_reach_the_disk_before_the_reply_and_so_do_logouts() {
    if !can_trace() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let (above, trace) = (parent.path().join("above"), parent.path().join("trace"));
    let directory = above.join("sessions");
    let calls = "trace=mkdir,fsync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,sendto";
    let program =
        ["strace", "-D", "-f", "-y", "-s", "64", "-e", calls, "-o", trace.to_str().unwrap()];
    let server =
        Server::start_in(&program, &["--sessions", directory.to_str().unwrap(), "--durable"]);
    // One after the other, so that the calls of one stand together.
    let key = server.reply(&["login"]);
    let logout = run(&["request", &server.url(), "--session", &key, "logout"]);
    assert_eq!(logout.code, Some(0));
    server.running.signal(Signal::TERM);
    server.running.finish();

    let trace = fs::read_to_string(trace).unwrap();
    let file = format!("{key}.wwrsess");
    let in_directory = format!("<{}>", directory.display());
    let in_above = format!("<{}>", above.display());
    let in_parent = format!("<{}>", parent.path().display());
    follow(
        &trace,
        &[
            &["fsync(", &in_parent],
            &["fsync(", &in_above],
            // Created.
            &["fsync(", ".wwrsess-new"],
            &["rename", ".wwrsess-new", &file],
            &["fsync(", &in_directory],
            // What is sent only once cannot have been sent before.
            &["sendto(", r#"\25{\"k\":\""#, &key[..16]],
            // Its look-up noted.
            &["fsync(", ".wwrsess-new"],
            &["rename", ".wwrsess-new", &file],
            &["fsync(", &in_directory],
            &["sendto(", r"\300\1", &key[..16]],
            // Removed.
            &["unlink", &file],
            &["fsync(", &in_directory],
            &["sendto(", r"\202\1\26"],
        ],
    );
}
