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
pub(crate) struct Engine {
    child: Child,
    directory: TempDir,
}

impl Engine {
    /// Starts one with a password. `None` if the program is missing: then standard error says that the test is skipped.
    pub(crate) fn start() -> Option<Self> {
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

    /// Where it is. The right password is `open-sesame`.
    pub(crate) fn url(&self, password: &str) -> String {
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

/// Does it again and again until it has come true.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < SAFETY, "it never comes true: {what}");
        sleep(Duration::from_millis(50));
    }
}

#[test]
fn nodes_of_a_cluster_are_one_service_and_the_places_of_one_that_is_killed_are_free_after_a_lease()
{
    let Some(engine) = Engine::start() else { return };
    let url = engine.url("open-sesame");
    let [one, two, mut three] = ["one", "two", "three"].map(|name| {
        let limit = ["--max-session-connections", "1", "--metrics", "0", "--inspect", "0"];
        let arguments = [&["--cluster", &url, "--node", name], &limit[..]].concat();
        let mut server = Server::start(&arguments);
        server.running.wait_for_log("part of the cluster");
        server
    });
    let key = one.reply(&["login", r#"{"user":"ada"}"#]);
    let address = two.url();
    // The place of the request becomes free in a moment.
    let mut listener = None;
    until("the session is restored on another node", || {
        let mut listening = Running::start(&["listen", "--json", "--session", &key, &address]);
        assert!(listening.line().unwrap().contains("connected"));
        let is_restored = listening.line().unwrap().contains("session-restored");
        listener = is_restored.then_some(listening);
        is_restored
    });
    let mut listener = listener.unwrap();
    let refused = three.error(&["--session", &key, "whoami"]);
    assert!(refused.contains("max"), "{refused}");
    // One connection of this node has it; the other is on another node.
    assert_eq!(one.reply(&["broadcast", "hi"]), "1");
    listener.line_with(r#""payload":"hi""#);

    two.running.signal(rustix::process::Signal::KILL);
    drop(listener);
    until("the places of a node that was killed are free", || {
        three.request(&["--session", &key, "whoami"]).code == Some(0)
    });
    let page = three.running.line_with("metrics on http://");
    let page =
        page.strip_prefix("metrics on http://").and_then(|page| page.strip_suffix("/metrics"));
    until("the metrics show the nodes that are left", || {
        let metrics = read(page.unwrap(), "/metrics", "");
        metrics.contains("\nwwr_cluster_nodes 2\n") && metrics.contains("\nwwr_cluster_member 1\n")
    });
    let inspection = three.running.line_with("/#token=");
    let (page, token) = inspection.split_once("/#token=").unwrap();
    let (_, page) = page.split_once("http://").unwrap();
    let overview = read(page, "/api/overview", &format!("Authorization: Bearer {token}\r\n"));
    let shown = r#""cluster":{"name":"three","state":"member","nodes":["one","three"],"alive":2,"#;
    assert!(overview.contains(shown), "{overview}");

    // Clients are not told of that, operators are.
    let address = three.url();
    let probe = |more: &[&str]| {
        let ran = run(&[&["probe", "--json"], more, &[&address]].concat());
        (ran.code, serde_json::from_slice::<serde_json::Value>(&ran.stdout).unwrap())
    };
    let (code, object) = probe(&[]);
    assert_eq!((code, object.get("cluster")), (Some(0), None), "{object}");
    assert!(!object.to_string().contains("three"), "{object}");
    let inspect = format!("http://{page}/#token={token}");
    let (code, object) = probe(&["--inspect", &inspect]);
    let node = &object["cluster"];
    assert_eq!((code, &node["name"], &node["state"]), (Some(0), &"three".into(), &"member".into()));
    assert_eq!(node["nodes"], serde_json::json!(["one", "three"]), "{object}");
    let ran = run(&["probe", "--inspect", &inspect, &address]);
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(text.contains("node \"three\", member; 2 alive: \"one\" \"three\"\n"), "{text}");
    // A wrong token is refused, and the answer says nothing about the cluster.
    let wrong = format!("http://{page}/#token={}", "x".repeat(32));
    let (code, object) = probe(&["--inspect", &wrong]);
    assert_eq!((code, object.get("cluster")), (Some(3), None), "{object}");
    assert_eq!(object["error"], "inspection-failed");
}

/// Reads a page.
fn read(address: &str, path: &str, headers: &str) -> String {
    let mut page = std::net::TcpStream::connect(address).unwrap();
    let head = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n");
    page.write_all(head.as_bytes()).unwrap();
    std::io::read_to_string(page).unwrap()
}

#[test]
fn a_node_has_no_other_store_of_sessions() {
    let serve = ["serve", "--listen", "127.0.0.1:0", "--cluster"];
    let both = run(&[&serve[..], &["redis://localhost", "--sessions", "memory"]].concat());
    assert_eq!(both.code, Some(2), "{both:?}");
    assert!(both.stderr.contains("--sessions"), "{}", both.stderr);
    let by_environment = run(&[&serve[..], &["redis"]].concat());
    let text = "--cluster redis: WWR_REDIS has to be set";
    assert!(by_environment.stderr.contains(text), "{}", by_environment.stderr);
    let no_url = run(&[&serve[..], &["localhost"]].concat());
    assert_eq!(no_url.code, Some(2), "{no_url:?}");
}
