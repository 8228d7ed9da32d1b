//! `--timeout` is everything together, whatever a command waits for.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::handshake::derive_accept_key;

use crate::support::{Running, SAFETY, Server, run, url, wwr};

const SPEAKS_1_4: &str = "{\"protocol-version\":\"1.4\"}\n";
const SPEAKS_1_5: &str = "{\"protocol-version\":\"1.5\",\"read-timeout\":60000}\n";

/// A server that does its part only up to somewhere, and never closes a connection by itself.
#[derive(Clone, Copy, Debug)]
struct Stuck {
    /// What it answers to the preflight: a status and a body, or nothing.
    preflight: Option<(&'static str, &'static str)>,
    /// Whether it opens WebSockets, and its first message there.
    opens: Option<Option<[u8; 11]>>,
}

/// The advertised settings of a server of 2.0: a read timeout of 60 s, a buffer of 8192 bytes.
const ANNOUNCES: [u8; 11] = [0x17, 2, 0, 0x60, 0xea, 0, 0, 0, 0x20, 0, 0];

impl Stuck {
    fn start(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = url(listener.local_addr().unwrap());
        // Ends with the process.
        thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                open.push(stream.try_clone().unwrap());
                thread::spawn(move || self.serve(stream));
            }
        });
        url
    }

    fn serve(self, mut stream: TcpStream) -> Option<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).ok()?;
        if head.starts_with("WEBWIRE ") {
            let (status, body) = self.preflight?;
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            return stream.write_all(answer.as_bytes()).ok();
        }
        let first = self.opens?;
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
        });
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key?.as_bytes()),
        )
        .into_bytes();
        if let Some(message) = first {
            answer.extend([0x82, 11]);
            answer.extend(message);
        }
        stream.write_all(&answer).ok()?;
        // Everything is read and nothing answered, not even a close frame.
        while stream.read(&mut [0; 1024]).ok()? > 0 {}
        Some(())
    }
}

/// Runs a command to its end; none, if it takes far too long.
fn code(arguments: &[&str]) -> (Option<i32>, String, Value) {
    let mut child = wwr()
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > SAFETY {
            child.kill().unwrap();
            panic!("{arguments:?} goes on");
        }
        thread::sleep(Duration::from_millis(5));
    }
    println!("{arguments:?}: {:?}", begun.elapsed());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), stderr, serde_json::from_slice(&output.stdout).unwrap_or_default())
}

const NO_SUCH_METHOD: Option<(&str, &str)> = Some(("400 Bad Request", "Bad Request\n"));

#[test]
fn a_server_that_says_nothing_is_4_wherever_it_stops() {
    let silent = Stuck { preflight: None, opens: None };
    let asked = Stuck { preflight: Some(("200 OK", SPEAKS_1_4)), opens: None };
    let refused = Stuck { preflight: NO_SUCH_METHOD, opens: None };
    let open = Stuck { preflight: NO_SUCH_METHOD, opens: Some(None) };
    let open_and_unasked = Stuck { preflight: None, opens: Some(None) };
    for stuck in [silent, asked, refused, open, open_and_unasked] {
        let url = stuck.start();
        for command in ["request", "signal"] {
            let (code, stderr, object) =
                code(&[command, "--json", "--timeout", "300ms", &url, "echo", "x"]);
            assert_eq!(code, Some(4), "{stuck:?} {command}: {stderr}");
            assert!(stderr.starts_with(&format!("wwr {command}: timed-out: ")), "{stderr}");
            assert_eq!((&object["error"], &object["name"]), (&json!("timed-out"), &json!("echo")));
        }
    }
}

#[test]
fn a_server_of_a_given_version_that_says_nothing_is_4() {
    for (preflight, opens, version) in [
        (Some(("200 OK", SPEAKS_1_4)), Some(None), "1.4"),
        (Some(("200 OK", SPEAKS_1_5)), Some(None), "1.5"),
        (None, Some(None), "2.0"),
        (None, Some(Some(ANNOUNCES)), "2.0"),
        (None, None, "1.4"),
        (None, None, "1.5"),
        (None, None, "2.0"),
        (Some(("200 OK", SPEAKS_1_4)), None, "1.4"),
    ] {
        let stuck = Stuck { preflight, opens };
        let url = stuck.start();
        for command in ["request", "signal"] {
            let (code, stderr, _) =
                code(&[command, "--protocol", version, "--timeout", "600ms", &url, "echo", "x"]);
            assert_eq!(code, Some(4), "{stuck:?} {command} {version}: {stderr}");
            assert!(stderr.starts_with(&format!("wwr {command}: timed-out: ")), "{stderr}");
        }
    }
}

#[test]
fn a_signal_is_sent_when_the_server_has_closed_after_it() {
    let url = Stuck { preflight: None, opens: Some(Some(ANNOUNCES)) }.start();
    let (code, stderr, _) =
        code(&["signal", "--protocol", "2.0", "--timeout", "300ms", &url, "echo", "x"]);
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("unknown whether it has read"), "{stderr}");
}

#[test]
fn a_session_that_is_not_restored_in_time_is_4() {
    let url = Stuck { preflight: None, opens: Some(Some(ANNOUNCES)) }.start();
    for command in ["request", "signal"] {
        let arguments = ["--protocol", "2.0", "--timeout", "300ms", "--session", "K", &url, "echo"];
        let (code, stderr, _) = code(&[&[command], &arguments[..]].concat());
        assert_eq!(code, Some(4), "{stderr}");
        assert!(stderr.contains("the session was not restored"), "{stderr}");
    }
}

#[test]
fn probe_ends_in_time_and_reports_what_it_has() {
    let open = Some(None);
    let speaks = Some(("200 OK", SPEAKS_1_4));
    for (preflight, opens, expected, speaks) in [
        (None, None, 4, json!([])),
        (NO_SUCH_METHOD, None, 4, json!([])),
        (NO_SUCH_METHOD, open, 4, json!([])),
        (None, open, 4, json!([])),
        // These have answered.
        (speaks, None, 0, json!(["1.4"])),
        (speaks, open, 0, json!(["1.4"])),
        (NO_SUCH_METHOD, Some(Some(ANNOUNCES)), 0, json!(["2.0"])),
    ] {
        let stuck = Stuck { preflight, opens };
        let (code, stderr, object) =
            code(&["probe", "--json", "--timeout", "600ms", &stuck.start()]);
        assert_eq!(code, Some(expected), "{stuck:?}: {stderr} {object}");
        assert_eq!(object["speaks"], speaks, "{stuck:?}");
    }
}

#[test]
fn a_load_that_gets_no_connection_is_4() {
    for opens in [None, Some(None)] {
        let url = Stuck { preflight: NO_SUCH_METHOD, opens }.start();
        let arguments = ["--connections", "2", "--count", "1", "--timeout", "300ms", &url];
        let (code, stderr, _) = code(&[&["bench"], &arguments[..]].concat());
        assert_eq!(code, Some(4), "{stderr}");
        assert!(stderr.starts_with("wwr bench: timed-out: "), "{stderr}");
    }
}

#[test]
fn an_input_without_end_is_4() {
    let server = Server::start(&[]);
    let url = server.url();
    for command in ["request", "signal"] {
        // Its standard input stays open, with nothing on it.
        let mut running =
            Running::start(&[command, "--json", "--timeout", "300ms", &url, "echo", "-"]);
        let line = running.line().expect("an object");
        let object: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["error"], "timed-out", "{object}");
        running.wait_for_log("the payload has not come to its end");
        assert_eq!(running.finish().code, Some(4));
    }
}

#[cfg(unix)]
#[test]
fn a_named_pipe_without_a_writer_exits_with_4() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    let pipe = pipe.to_str().unwrap();
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let (code, stderr, _) =
        code(&["request", "--timeout", "300ms", "--file", pipe, "ws://127.0.0.1:1/", "echo"]);
    assert_eq!(code, Some(4), "{stderr}");
}

#[cfg(target_os = "linux")]
#[test]
fn an_unread_output_exits_with_4() {
    let server = Server::start(&["--message-buffer", "1000000"]);
    let url = server.url();
    let payload = "x".repeat(100_000);
    for more in [&[][..], &["--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut child = wwr()
            .args(["request", "--timeout", "2s", &url, "echo", &payload])
            .args(more)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(4));
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(stderr.contains("timed-out: standard output did not take"), "{stderr}");
        drop(reader);
    }
}

#[test]
fn endless_input_is_read_up_to_a_limit_that_the_error_names() {
    #[cfg(target_os = "linux")]
    for command in ["request", "signal"] {
        let (code, stderr, _) =
            code(&[command, "--file", "/dev/zero", "ws://127.0.0.1:1/", "echo"]);
        assert_eq!(code, Some(2), "{stderr}");
        let expected = "too-large: /dev/zero: longer than the 67108864 bytes";
        assert!(stderr.contains(expected), "{stderr}");
    }
    let ran = run(&["bench", "--size", "67108865", "ws://127.0.0.1:1/"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("67108864"), "{}", ran.stderr);
    let ran = run(&["request", "--file", "/no/such/file", "ws://127.0.0.1:1/", "echo"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
}
