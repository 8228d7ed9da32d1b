//! `wwr bench` against `wwr serve`.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Ran, Running, Server, run};

/// What a run that goes well prints with --json.
fn bench(server: &Server, arguments: &[&str]) -> Value {
    let ran = run_at(server, arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    object(&ran)
}

fn run_at(server: &Server, arguments: &[&str]) -> Ran {
    let url = server.url();
    let mut all = vec!["bench", url.as_str(), "--json"];
    all.extend(arguments);
    run(&all)
}

fn object(ran: &Ran) -> Value {
    serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn sum(list: &Value) -> u64 {
    list.as_array().unwrap().iter().map(|number| number.as_u64().unwrap()).sum()
}

#[test]
fn several_servers_take_turns() {
    let mut servers = [(); 2].map(|()| Server::start(&["--log", "debug"]));
    let urls = servers.each_ref().map(Server::url);
    let all = ["bench", &urls[0], &urls[1], "--json", "--count", "40", "--connections", "4"];
    let ran = run(&all);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let outcome = object(&ran);
    assert_eq!(outcome["url"], urls.join(", "));
    assert_eq!(outcome["requests"]["replied"], 40);
    for server in &mut servers {
        for _ in 0..2 {
            server.running.wait_for_log("closed by the client");
        }
    }
}

#[test]
fn every_message_is_counted_once() {
    let server = Server::start(&[]);
    for (threads, depth) in [("1", "8"), ("3", "1")] {
        let arguments =
            ["--count", "203", "--connections", "4", "--depth", depth, "--threads", threads];
        let outcome = bench(&server, &[&arguments[..], &["--size", "100"]].concat());
        let requests = &outcome["requests"];
        for (member, count) in
            [("sent", 203), ("replied", 203), ("failed", 0), ("unanswered", 0), ("unsent", 0)]
        {
            assert_eq!(requests[member], count, "{member}");
        }
        assert_eq!(outcome["latency_ns"]["count"], 203);
        assert_eq!(sum(&outcome["timeline"]["done"]), 203);
        assert_eq!(outcome["bytes"]["sent"], 20_300);
        assert_eq!(outcome["bytes"]["received"], 20_300);
        assert_eq!(outcome["connections"]["connected"], 4);
        assert_eq!(outcome["connections"]["reconnected"], 0);
    }
}

#[test]
fn the_object_contains_every_figure() {
    let server = Server::start(&[]);
    let outcome = bench(&server, &["--duration", "50ms", "--warmup", "20ms"]);
    let none = json!({"requests": {}, "signals": {}, "connections": {}});
    assert_eq!(outcome["errors"], none);
    assert_eq!((&outcome["protocol"], &outcome["seconds"]), (&json!("wwr.1"), &json!(0.05)));
    assert_eq!(outcome["interrupted"], false);
    assert_eq!(outcome["settings"]["rate"], Value::Null);
    assert_eq!(outcome["settings"]["warmup_seconds"], 0.02);
    assert!(outcome["command"].as_str().unwrap().ends_with("--duration 50ms --warmup 20ms"));
    let latency = &outcome["latency_ns"];
    let values: Vec<_> = ["min", "p50", "p90", "p99", "p99_9", "max"]
        .iter()
        .map(|name| latency[name].as_u64().unwrap())
        .collect();
    assert!(values.is_sorted() && values[0] > 0, "{values:?}");
    for (object, member) in [
        ("requests", "per_second"),
        ("bytes", "sent_per_second"),
        ("latency_ns", "mean"),
        ("timeline", "step_ms"),
    ] {
        assert!(outcome[object][member].is_number(), "{object}.{member}");
    }
    assert!(outcome["generator"]["bottleneck"].is_boolean());
}

/// How many messages there are follows from the rate, however fast the machine is: those that were
/// not sent in time are counted too.
#[test]
fn a_rate_and_a_duration_make_a_number_of_messages() {
    let server = Server::start(&[]);
    let arguments = ["--rate", "1001", "--duration", "500ms", "--warmup", "100ms"];
    let outcome = bench(&server, &[&arguments[..], &["--connections", "3"]].concat());
    let requests = &outcome["requests"];
    let (sent, unsent) = (requests["sent"].as_u64(), requests["unsent"].as_u64());
    assert_eq!(sent.unwrap() + unsent.unwrap(), 500);
    assert_eq!(outcome["latency_ns"]["count"], 500, "those that were not sent have waited");

    let outcome = bench(&server, &["--rate", "5000", "--count", "300"]);
    assert_eq!(outcome["requests"]["replied"], 300);
    assert!(outcome["seconds"].as_f64().unwrap() >= 0.05, "it takes as long as it should");
}

#[test]
fn an_overloaded_server_is_reported() {
    let server = Server::start(&[]);
    let url = server.url();
    let ran = run(&["bench", "--rate", "1000000000", "--duration", "100ms", &url]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.text().contains("the rate was not reached: "), "{}", ran.text());
    assert!(!ran.text().contains("closed loop"), "{}", ran.text());
}

#[test]
fn signals_are_part_of_the_mix() {
    let server = Server::start(&[]);
    let mix = ["--count", "400", "--connections", "4", "--signals", "25"];
    let outcome = bench(&server, &mix);
    assert_eq!(
        (&outcome["requests"]["replied"], &outcome["signals"]["sent"]),
        (&json!(300), &json!(100))
    );
    assert_eq!(outcome["latency_ns"]["count"], 300);
    let outcome = bench(&server, &["--count", "50", "--signals", "100", "--protocol", "1.4"]);
    assert_eq!(
        (&outcome["requests"]["sent"], &outcome["signals"]["sent"]),
        (&json!(0), &json!(50))
    );
    assert_eq!((&outcome["latency_ns"], &outcome["protocol"]), (&Value::Null, &json!("1.4")));
}

#[test]
fn churn_restores_sessions() {
    let server = Server::start(&[]);
    let arguments = ["--count", "80", "--connections", "2", "--churn", "10", "--depth", "3"];
    let outcome = bench(&server, &arguments);
    assert_eq!(outcome["churn"], json!({"logins": 2, "restored": 6, "sessions_lost": 0}));
    assert_eq!(outcome["requests"]["replied"], 80);
    let connections = &outcome["connections"];
    assert_eq!((&connections["reconnected"], &connections["lost"]), (&json!(6), &json!(0)));
    assert_eq!(connections["connect_ns"]["count"], 8);
}

#[test]
fn errors_are_counted_by_kind() {
    let server = Server::start(&[]);
    let ran = run_at(&server, &["--count", "40", "--name", "nobody"]);
    assert_eq!(ran.code, Some(1), "nothing got through");
    assert!(ran.stderr.contains("UNKNOWN_NAME"), "{}", ran.stderr);
    assert_eq!(object(&ran)["errors"]["requests"], json!({"failed UNKNOWN_NAME": 40}));
    let ran = run_at(&server, &["--count", "40", "--churn", "5", "--login", "nobody"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let failed = &object(&ran)["errors"]["connections"]["failed UNKNOWN_NAME"];
    assert_eq!(failed, 16, "{}", ran.text());
}

/// Waits until this many requests `broadcast` were handled, by any client.
fn wait_for_broadcasts(server: &Server, count: &str, start: impl FnOnce() -> Running) -> Running {
    let mut listener = Running::start(&["listen", "--count", count, &server.url()]);
    listener.line_with("connected");
    let running = start();
    assert_eq!(listener.finish().code, Some(0));
    running
}

#[test]
fn a_lost_server_does_not_end_the_run() {
    let server = Server::start(&[]);
    let url = server.url();
    let running = wait_for_broadcasts(&server, "3", || {
        let load = ["--rate", "20", "--duration", "4s", "--timeout", "100ms", "--connections", "1"];
        let what = ["bench", "--json", "--name", "broadcast", url.as_str()];
        Running::start(&[&what[..], &load].concat())
    });
    drop(server);
    let ran = running.finish();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let outcome = object(&ran);
    let requests = &outcome["requests"];
    let count = |member: &str| requests[member].as_u64().unwrap();
    assert!(count("replied") >= 2);
    assert_eq!(count("sent") + count("unsent"), 80);
    assert_eq!(count("replied") + count("failed") + count("unanswered"), count("sent"));
    let kinds = outcome["errors"]["requests"].as_object().unwrap();
    assert!(count("failed") > 0 && !kinds.is_empty(), "{outcome}");
    assert!(!outcome["errors"]["connections"].as_object().unwrap().is_empty(), "{outcome}");
    assert_eq!(outcome["connections"]["lost"], 1);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_run_and_keeps_the_results() {
    let server = Server::start(&[]);
    let url = server.url();
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let running = wait_for_broadcasts(&server, "10", || {
            let load = ["--duration", "1h", "--connections", "1"];
            let what = ["bench", "--json", "--name", "broadcast", url.as_str()];
            Running::start(&[&what[..], &load].concat())
        });
        running.signal(signal);
        let ran = running.finish();
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        let outcome = object(&ran);
        assert_eq!(outcome["interrupted"], true);
        assert!(outcome["requests"]["replied"].as_u64().unwrap() >= 9);
    }
}

#[test]
fn the_page_has_everything_and_needs_nothing_else() {
    let server = Server::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a <page>.html");
    let path = path.to_str().unwrap();
    bench(&server, &["--count", "100", "--name", "a<b>&", "--html", path, "--signals", "10"]);
    let page = fs::read_to_string(path).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    for other in ["http:", "https:", "src=", "href", "<script", "<link", "@import", "url(", "NaN"] {
        assert!(!page.contains(other), "{other}");
    }
    assert_eq!(page.matches("<svg").count(), 2);
    for part in
        ["prefers-color-scheme: dark", "<title>p99.9: ", "a&lt;b&gt;&amp;", "a &lt;page&gt;.html"]
    {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_page_stays_if_there_is_nothing_new_to_tell() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("page.html");
    fs::write(&path, "an earlier page").unwrap();
    let ran = run(&["bench", "--html", path.to_str().unwrap(), "ws://127.0.0.1:1/"]);
    assert_eq!(ran.code, Some(3));
    assert_eq!(fs::read_to_string(&path).unwrap(), "an earlier page");

    let server = Server::start(&[]);
    bench(&server, &["--count", "10", "--html", path.to_str().unwrap()]);
    assert!(fs::read_to_string(&path).unwrap().starts_with("<!doctype html>"));
}

#[test]
fn messages_that_a_2_0_server_does_not_read_are_not_sent() {
    let server = Server::start(&["--no-wwr1"]);
    let url = server.url();
    let ran = run(&["bench", "--size", "9000", "--count", "10", &url]);
    assert_eq!((ran.code, ran.text()), (Some(2), ""));
    for part in ["9014 bytes", "8192", "--protocol 1.4"] {
        assert!(ran.stderr.contains(part), "{}", ran.stderr);
    }
    let outcome = bench(&server, &["--size", "9000", "--count", "10", "--protocol", "1.4"]);
    assert_eq!(outcome["bytes"]["received"], 90_000);
    // Servers of this project read what they have stated.
    let server = Server::start(&[]);
    let outcome = bench(&server, &["--size", "9000", "--count", "10"]);
    assert_eq!(outcome["bytes"]["received"], 90_000);
    let ran = run(&["bench", "--size", "1048576", "--count", "10", &server.url()]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("1048576"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("1048576 in 2.0"), "{}", ran.stderr);
}

#[test]
fn wrong_calls_are_2() {
    let server = Server::start(&[]);
    let url = server.url();
    for arguments in [
        &[][..],
        &["localhost:7777"],
        &["--connections", "0", &url],
        &["--depth", "0", &url],
        &["--rate", "0", &url],
        &["--churn", "0", &url],
        &["--threads", "0", &url],
        &["--size", "-1", &url],
        &["--signals", "101", &url],
        &["--count", "5", "--duration", "1s", &url],
        &["--duration", "0s", &url],
        &["--name", "na\u{ef}ve", &url],
        &["--html", "/no/such/directory/page.html", &url],
        &["--count", "5", "--size", "0", "--signals", "50", "--protocol", "1.4", &url],
        &["--count", "5", "--size", "0", "--name", "", &url],
    ] {
        let ran = run(&[&["bench"], arguments].concat());
        assert_eq!((ran.code, ran.text()), (Some(2), ""), "{arguments:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn no_server_is_3() {
    let ran = run(&["bench", "--json", "ws://127.0.0.1:1/"]);
    assert_eq!((ran.code, ran.text()), (Some(3), ""));
    assert!(ran.stderr.contains("probe-failed"), "{}", ran.stderr);
}

#[test]
fn people_get_lines() {
    let server = Server::start(&[]);
    let ran = run(&["bench", "--count", "1500", "--churn", "100", &server.url()]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "no progress without a terminal");
    for part in ["1,500 replied", "p99.9 ", "errors       none", "closed loop", "16 created"] {
        assert!(ran.text().contains(part), "{part}: {}", ran.text());
    }
    assert!(ran.text().lines().all(|line| line.chars().count() <= 100), "{}", ran.text());
}
