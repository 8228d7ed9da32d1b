//! Sessions in an engine that these tests start and stop: `redis-server`.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{Running, SAFETY, Server, run, wwr};

/// Says that the program has to be there.
const REQUIRED: &str = "WWR_TEST_REDIS";

/// An engine on a unix socket. Killed when it is dropped.
struct Engine {
    child: Child,
    directory: TempDir,
}

impl Engine {
    /// Starts one with a password. `None` if the program is missing: then standard error says that the test is skipped.
    fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let started = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--requirepass", "open-sesame", "--dir"])
            .arg(directory.path())
            .arg("--unixsocket")
            .arg(directory.path().join("socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) => {
                let required = std::env::var_os(REQUIRED);
                assert!(required.is_none(), "{REQUIRED} is set, but redis-server: {error}");
                // The test harness hides what the macros print in tests that pass.
                let skipped = format!("skipped: a test that needs redis-server: {error}\n");
                std::io::stderr().write_all(skipped.as_bytes()).unwrap();
                return None;
            }
        };
        let engine = Self { child, directory };
        let started = Instant::now();
        while std::os::unix::net::UnixStream::connect(engine.directory.path().join("socket"))
            .is_err()
        {
            assert!(started.elapsed() < SAFETY, "redis-server does not listen");
            sleep(Duration::from_millis(10));
        }
        Some(engine)
    }

    fn url(&self, password: &str) -> String {
        let socket = self.directory.path().join("socket");
        format!("redis+unix://{}?pass={password}", socket.display())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn sessions_in_redis_are_those_of_all_servers() {
    let Some(engine) = Engine::start() else { return };
    let url = engine.url("open-sesame");
    let arguments = ["--sessions", &url, "--durable", "--expire-after", "30days"];
    let [one, other] = [Server::start(&arguments), Server::start(&arguments)];
    let key = one.reply(&["login", r#"{"user":"ada"}"#]);
    let session = other.reply(&["--session", &key, "whoami"]);
    assert!(session.contains(&key) && session.contains("ada"), "{session}");
    drop(one);
    other.reply(&["--session", &key, "logout"]);
    let by_environment = Server::running(Running::spawn(
        wwr()
            .args(["serve", "--listen", "127.0.0.1:0", "--sessions", "redis"])
            .env("WWR_REDIS", &url),
    ));
    assert_eq!(by_environment.error(&["--session", &key, "whoami"]), "session-not-found");
    let new = by_environment.reply(&["login"]);
    other.reply(&["--session", &new, "whoami"]);
}

#[test]
fn a_server_whose_engine_refuses_does_not_start_and_shows_no_password() {
    let Some(engine) = Engine::start() else { return };
    let url = engine.url("wrong-sesame");
    let ran = run(&["serve", "--listen", "127.0.0.1:0", "--sessions", &url]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let says_why = ran.stderr.contains("the password in the URL") && ran.stderr.contains("socket");
    assert!(says_why && !ran.stderr.contains("sesame"), "{}", ran.stderr);
}

#[test]
fn the_engine_of_the_environment_has_to_be_a_url() {
    let serve = |url: Option<&str>| {
        let mut command = wwr();
        command.args(["serve", "--listen", "127.0.0.1:0", "--sessions", "redis"]);
        if let Some(url) = url {
            command.env("WWR_REDIS", url);
        }
        Running::spawn(&mut command).finish()
    };
    for url in [None, Some(""), Some("secret"), Some("redis://:secret@")] {
        let ran = serve(url);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        let names =
            ran.stderr.contains("WWR_REDIS") || ran.stderr.contains("URL of a Redis engine");
        assert!(names && !ran.stderr.contains("secret"), "{}", ran.stderr);
    }
}
