//! Some rounds with few clients. `chaos` is for more.
#![cfg(unix)]

use std::process::Command;

use wwr_engines::Program;

/// Runs the program.
fn chaos(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    let ran = command.args(arguments).output().unwrap();
    let text = [ran.stdout, ran.stderr].concat();
    (ran.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn what_many_nodes_promise_holds_while_they_their_engine_and_networks_break() {
    if Program::Redis.file().is_none() {
        return;
    }
    let kept = tempfile::tempdir().unwrap();
    let keep = kept.path().to_str().unwrap();
    let faults = ["kill-node", "cut-engine", "kill-engine"].join(",");
    // A machine that is busy with other tests has its time.
    let patient = ["--bound=120", "--told-within=30000"];
    let few = ["--rounds=3", "--clients=100", "--rate=150", "--seed=7"];
    let keeping = ["--keep-all", "--keep", keep, "--faults", &faults];
    let (code, text) = chaos(&[&few[..], &patient, &keeping].concat());
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(text.matches(", ok\n").count(), 3, "{text}");

    // If two connections were the limit, there would have been more.
    let histories = std::fs::read_dir(keep).unwrap().map(|entry| entry.unwrap().path());
    let histories: Vec<String> = histories.map(|path| path.to_str().unwrap().into()).collect();
    let again = [vec!["check", "--limit=2"], histories.iter().map(String::as_str).collect()];
    let (code, text) = chaos(&again.concat());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("more connections than the limit"), "{text}");
}

#[test]
fn wrong_options_are_named() {
    for (options, named) in [
        (["--clients=3", "--rounds=1"], "--clients"),
        (["--nodes=1", "--rounds=1"], "--nodes"),
        (["--faults=fire", "--rounds=1"], "kill-node"),
    ] {
        let (code, text) = chaos(&options);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(named), "{text}");
    }
}
