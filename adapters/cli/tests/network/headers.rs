//! Headers of one's own.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::support::SAFETY;
use crate::support::{Running, Server, run, url, wwr};

/// A server that refuses everything, and tells what it was asked.
fn refusing() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(listener.local_addr().unwrap());
    let (seen, heads) = channel();
    // Ends with the process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut head) = (stream.unwrap(), Vec::new());
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    break;
                }
                head.push(byte[0]);
            }
            let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.write_all(answer);
            if seen.send(String::from_utf8_lossy(&head).into_owned()).is_err() {
                break;
            }
        }
    });
    (url, heads)
}

/// Every command that connects, with something to do.
const COMMANDS: [&[&str]; 5] = [
    &["request", "URL", "echo", "x"],
    &["signal", "URL", "echo", "x"],
    &["listen", "URL"],
    &["probe", "URL"],
    &["bench", "--connections", "1", "--count", "1", "URL"],
];

fn with_url<'a>(command: &[&'a str], url: &'a str) -> Vec<&'a str> {
    command.iter().map(|word| if *word == "URL" { url } else { word }).collect()
}

/// The values of a header.
fn values(head: &str, wanted: &str) -> Vec<String> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let found = fields.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
    found.map(|(_, value)| value.trim().to_owned()).collect()
}

#[test]
fn both_http_requests_of_every_command_have_them() {
    for command in COMMANDS {
        let (url, heads) = refusing();
        let mut arguments = with_url(command, &url);
        arguments.extend(["--header", "X-Tenant: blue", "--header", "x-tenant:green"]);
        arguments.extend(["--origin", "https://example.com", "--user", "Aladdin:open sesame"]);
        let running = Running::start(&arguments);
        for method in ["WEBWIRE ", "GET "] {
            let head = heads.recv_timeout(SAFETY).unwrap();
            assert!(head.starts_with(method), "{head}");
            assert_eq!(values(&head, "X-Tenant"), ["blue", "green"], "{command:?}: {head}");
            assert_eq!(values(&head, "Origin"), ["https://example.com"], "{command:?}: {head}");
            let basic = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
            assert_eq!(values(&head, "Authorization"), [basic], "{command:?}: {head}");
        }
        drop(running);
    }
}

#[test]
fn credentials_come_from_the_environment_unless_an_option_says_otherwise() {
    for (options, expected) in [
        (&[][..], "Basic YTpi"),
        (&["--user", "c:d"], "Basic Yzpk"),
        (&["--header", "Authorization: Bearer x"], "Bearer x"),
    ] {
        let (url, heads) = refusing();
        let arguments = ["request", "--protocol", "2.0", &url, "echo", "x"];
        let ran =
            Running::spawn(wwr().args(arguments).args(options).env("WWR_USER", "a:b")).finish();
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert_eq!(values(&heads.recv_timeout(SAFETY).unwrap(), "Authorization"), [expected]);
    }
}

#[test]
fn a_url_comes_before_the_environment() {
    let (url, heads) = refusing();
    let url = url.replace("ws://", "ws://c:d@");
    let arguments = ["request", "--protocol", "2.0", &url, "echo", "x"];
    let ran = Running::spawn(wwr().args(arguments).env("WWR_USER", "a:b")).finish();
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert_eq!(values(&heads.recv_timeout(SAFETY).unwrap(), "Authorization"), ["Basic Yzpk"]);
    let ran = run(&[&arguments[..], &["--user", "a:b"]].concat());
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
}

#[test]
fn an_origin_is_judged_by_the_server() {
    let server = Server::start(&["--allow-origin", "https://example.com"]);
    for (origin, code) in [("https://example.com", 0), ("https://example.org", 3)] {
        assert_eq!(server.request(&["--origin", origin, "echo", "x"]).code, Some(code), "{origin}");
        let ran = run(&["signal", "--origin", origin, &server.url(), "echo", "x"]);
        assert_eq!(ran.code, Some(code), "{origin}: {}", ran.stderr);
    }
}

#[test]
fn invalid_headers_exit_with_2_and_are_named() {
    for (options, told) in [
        (&["--header", "no colon"][..], "NAME:VALUE"),
        (&["--header", "a b: c"], "no spaces"),
        (&["--header", "X: a\r\nY: b"], "no control characters"),
        (&["--header", "Connection: close"], "belongs to the connection"),
        (&["--header", "Sec-WebSocket-Key: x"], "belongs to the connection"),
        (&["--origin", "example.com"], "https://example.com"),
        (&["--origin", "https://example.com/"], "https://example.com"),
        (&["--origin", "null", "--header", "Origin: null"], "a request has one"),
        (&["--user", "ada"], "USER:PASSWORD"),
        (&["--user", "ada:\u{7}"], "no control characters"),
        (&["--user", "a:b", "--header", "Authorization: x"], "a request has one"),
        (&["--header", "Host: a", "--header", "Host: b"], "a request has one"),
        (
            &["--header", "Cookie: a", "--header", "Origin: a", "--header", "Origin: b"],
            "one of them",
        ),
    ] {
        for command in COMMANDS {
            let mut arguments = with_url(command, "ws://127.0.0.1:1/");
            arguments.extend(options);
            let ran = run(&arguments);
            assert_eq!((ran.code, ran.text()), (Some(2), ""), "{arguments:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(told), "{arguments:?}: {}", ran.stderr);
        }
    }
}

#[test]
fn a_page_does_not_show_secrets() {
    let server = Server::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.html");
    let url = server.url();
    let options = ["--user", "ada:secret", "--header", "Cookie: secret", "--header=X-Key: secret"];
    let load = ["bench", "--count", "1", "--html", page.to_str().unwrap(), &url];
    let ran = run(&[&load, &options[..]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("--header") && !page.contains("secret"), "{page}");
}

#[test]
fn help_shows_how_they_are_written() {
    for command in COMMANDS {
        let ran = run(&[command[0], "--help"]);
        for part in
            ["--header <NAME:VALUE>", "--origin <ORIGIN>", "--user <USER:PASSWORD>", "WWR_USER="]
        {
            let is_told =
                ran.text().contains(part) || part == "WWR_USER=" && ran.text().contains("WWR_USER");
            assert!(is_told, "{part}: {}", ran.text());
        }
        assert!(
            ran.text().contains("--header 'X-Tenant: blue'")
                || ran.text().contains("--origin https")
        );
    }
}
