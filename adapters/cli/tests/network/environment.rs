//! What the environment says.

use crate::support::{Ran, Running, Server, wwr};

fn run_in(environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
    Running::spawn(wwr().args(arguments).envs(environment.iter().copied())).finish()
}

/// An address without a listener.
const NOBODY: &str = "ws://127.0.0.1:1/";

#[test]
fn empty_variables_count_as_not_set() {
    let server = Server::start(&[]);
    let url = server.url();
    for value in ["", " "] {
        let empty =
            ["WWR_LOG", "WWR_SESSION", "WWR_USER", "SMOL_THREADS"].map(|name| (name, value));
        for arguments in [
            &["request", &url, "echo", "x"][..],
            &["signal", &url, "echo", "x"],
            &["probe", &url],
            &["bench", "--count", "1", &url],
            &["decode", "15"],
            &["demo"],
        ] {
            let ran = run_in(&empty, arguments);
            assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        }
        let started = Running::spawn(wwr().args(["serve", "--listen", "127.0.0.1:0"]).envs(empty));
        assert_eq!(Server::running(started).reply(&["echo", "x"]), "x");
        let mut listening = Running::spawn(wwr().args(["listen", &url]).envs(empty));
        listening.line_with("connected");
    }
}

#[test]
fn values_are_used() {
    let server = Server::start(&[]);
    let url = server.url();
    let key = server.reply(&["login", r#"{"user":"ada"}"#]);
    let ran = run_in(&[("WWR_SESSION", &key)], &["request", &url, "whoami"]);
    assert!(ran.text().contains("ada"), "{ran:?}");
    // An option comes first, also before a variable that makes no sense.
    let other = "x".repeat(64);
    let environment = [("WWR_SESSION", other.as_str()), ("WWR_LOG", "loud")];
    let options = ["--session", &key, "--log", "warn"];
    let ran = run_in(&environment, &[&["request", &url, "whoami"], &options[..]].concat());
    assert!(ran.text().contains("ada"), "{ran:?}");
    for level in ["debug", "DEBUG"] {
        let ran = run_in(&[("WWR_LOG", level)], &["request", &url, "echo"]);
        assert!(ran.stderr.contains("DEBUG"), "{ran:?}");
    }
}

#[test]
fn invalid_values_exit_with_2_and_name_their_variable() {
    for (name, value) in [
        ("WWR_LOG", "loud"),
        ("WWR_USER", "secret"),
        ("WWR_USER", "secret:\n"),
        ("SMOL_THREADS", "0"),
        ("SMOL_THREADS", "-1"),
        ("SMOL_THREADS", "abc"),
        ("SMOL_THREADS", "100000"),
        ("SMOL_THREADS", "99999999999999999999"),
    ] {
        let arguments = match name {
            "SMOL_THREADS" => vec!["serve", "--listen", "127.0.0.1:0"],
            _ => vec!["request", NOBODY, "echo"],
        };
        let ran = run_in(&[(name, value)], &arguments);
        assert_eq!((ran.code, ran.text()), (Some(2), ""), "{name}={value}: {}", ran.stderr);
        assert!(ran.stderr.contains(name) && !ran.stderr.contains("--"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    }
}

#[cfg(unix)]
#[test]
fn values_that_are_not_text_exit_with_2() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    for name in ["WWR_LOG", "WWR_SESSION", "WWR_USER"] {
        let value = OsStr::from_bytes(b"\xff");
        let ran = Running::spawn(wwr().args(["request", NOBODY, "echo"]).env(name, value)).finish();
        assert_eq!(ran.code, Some(2), "{name}");
        assert!(ran.stderr.contains(name), "{}", ran.stderr);
    }
}

#[test]
fn commands_other_than_serve_ignore_the_number_of_threads() {
    let server = Server::start(&[]);
    let url = server.url();
    for threads in ["0", "-1", "abc", "", "100000", "2"] {
        for arguments in [
            &["request", "--timeout", "30s", &url, "echo", "x"][..],
            &["signal", "--timeout", "30s", &url, "echo", "x"],
            &["probe", "--timeout", "30s", &url],
            &["bench", "--count", "1", &url],
        ] {
            let ran = run_in(&[("SMOL_THREADS", threads)], arguments);
            assert_eq!(ran.code, Some(0), "SMOL_THREADS={threads} {arguments:?}: {}", ran.stderr);
        }
        let mut listening =
            Running::spawn(wwr().args(["listen", &url]).env("SMOL_THREADS", threads));
        listening.line_with("connected");
    }
    let ran = run_in(&[("SMOL_THREADS", "0")], &["demo"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
}

#[test]
fn a_server_runs_on_the_configured_number_of_threads() {
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    let started = Running::spawn(wwr().args(serve).env("SMOL_THREADS", "4"));
    let server = Server::running(started);
    assert_eq!(server.reply(&["echo", "x"]), "x");
    #[cfg(target_os = "linux")]
    {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", server.running.id())).unwrap();
        let names = tasks.map(|task| {
            std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
        });
        assert_eq!(names.filter(|name| name.starts_with("serve ")).count(), 4);
    }
}
