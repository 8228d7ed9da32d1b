//! Help and version.

use crate::support::run;

#[test]
fn every_command_has_examples_and_exit_codes() {
    for command in [
        "serve", "request", "signal", "listen", "probe", "check", "bench", "demo", "decode",
        "encode",
    ] {
        let ran = run(&[command, "--help"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{command}");
        for part in ["Examples:\n  ", "Exit codes:\n  0"] {
            assert!(ran.text().contains(part), "{command} has no {part:?}: {}", ran.text());
        }
        assert!(ran.text().lines().all(|line| line.chars().count() <= 100), "{}", ran.text());
    }
    let request = run(&["request", "--help"]);
    for code in ["  1  ", "  2  ", "  3  ", "  4  "] {
        assert!(request.text().contains(code), "{code}");
    }
}

#[test]
fn the_help_of_serve_has_every_request() {
    let ran = run(&["serve", "--help"]);
    for name in [
        "echo",
        "time",
        "sleep",
        "error",
        "fail",
        "login",
        "logout",
        "whoami",
        "signal-me",
        "broadcast",
        "kick",
        "close",
    ] {
        let line = format!("\n  {name} ");
        let line_of_echo = format!("\n  {name}, ");
        let found = ran.text().contains(&line) || ran.text().contains(&line_of_echo);
        assert!(found, "{name}: {}", ran.text());
    }
}

#[test]
fn there_is_a_version() {
    let ran = run(&["--version"]);
    let version = format!("wwr {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!((ran.code, ran.text()), (Some(0), version.as_str()));
}

/// Every command in the guide is one that the program takes.
#[test]
fn the_commands_of_the_guide_are_understood() {
    let guide = include_str!("../../../../docs/guide.md");
    let commands = guide.split('`').filter_map(|span| span.strip_prefix("wwr "));
    let commands: Vec<&str> = commands.collect();
    assert!(commands.len() >= 3);
    for command in commands {
        let command: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let ran = run(&command);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{command:?}");
    }
}
