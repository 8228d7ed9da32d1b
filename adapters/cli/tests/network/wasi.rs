//! The server of `examples/wasi` in its sandbox, against the command.
//!
//! It takes minutes to build, so that is left to `.ci/run wasi`, which says in `WWR_TEST_WASI` what runs it.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::run;

/// The server; it is killed when this is dropped.
struct Sandbox(Child);

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_component_of_wasi_keeps_to_the_protocol() {
    let Some(program) = env::var_os("WWR_TEST_WASI").filter(|program| !program.is_empty()) else {
        return println!("skipped: WASI is tested by .ci/run wasi, which sets WWR_TEST_WASI");
    };
    let child = Command::new(program).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
    let mut sandbox = Sandbox(child);
    let mut line = String::new();
    BufReader::new(sandbox.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.strip_prefix("listening on ").expect("it says where it listens").trim_end();
    let arguments = ["check", url, "--echo", "echo", "--patience", "60s", "--timeout", "5m"];
    let ran = run(&arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    println!("{}", String::from_utf8_lossy(&ran.stdout).lines().last().unwrap_or_default());
}
