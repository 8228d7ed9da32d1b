//! The executor that servers on smol have by default.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use wwr_smol::server::Server;
use wwr_smol::{GlobalExecutor, Spawn as _};

use crate::suite::server::concurrency::exercise;
use crate::suite::support::app::App;
use crate::suite::support::{Running, SAFETY};

fn serve() -> Running {
    Running::spawned(Server::builder(App::new().0), |task| GlobalExecutor.spawn_task(task))
}

#[test]
fn the_global_executor_serves_many() {
    exercise(&serve());
}

/// Set in the process that is to serve with an unusual number of threads.
const SERVES: &str = "WWR_TEST_SERVES";

#[test]
fn the_global_executor_serves_with_any_number_of_threads() {
    if std::env::var_os(SERVES).is_some() {
        exercise(&serve());
        return;
    }
    for threads in ["0", "-1", "-2147483648", "100000", "2147483647", "abc", "", "2"] {
        let test = "global_executor::the_global_executor_serves_with_any_number_of_threads";
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(SERVES, "1")
            .env("SMOL_THREADS", threads)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // It would wait without end, or its threads would try to start threads without end.
        let begun = Instant::now();
        let status = loop {
            match process.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() < SAFETY => thread::sleep(Duration::from_millis(10)),
                None => {
                    process.kill().unwrap();
                    process.wait().unwrap();
                    panic!("SMOL_THREADS={threads} does not serve");
                }
            }
        };
        assert!(status.success(), "SMOL_THREADS={threads}");
    }
}
