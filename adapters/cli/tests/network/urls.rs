//! The URLs that the commands are given.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use crate::support::run;

/// Runs a command with the URL of a server that answers its first request, and returns the head of
/// that and what the command said. `change` makes the URL of the address.
fn first_request(command: &str, change: impl Fn(&str) -> String) -> (Vec<String>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = change(&listener.local_addr().unwrap().to_string());
    let server = thread::spawn(move || {
        let mut reader = BufReader::new(listener.accept().unwrap().0);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            assert!(reader.read_line(&mut line).unwrap() > 0, "the request ends early: {head:?}");
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 7\r\n\r\nno, ada";
        reader.get_mut().write_all(answer).unwrap();
        head
    });
    let mut arguments = vec![command, "--protocol", "1.4", &url];
    if matches!(command, "request" | "signal") {
        arguments.extend(["echo", "hello"]);
    }
    let ran = run(&arguments);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    (server.join().unwrap(), format!("{}{}", ran.text(), ran.stderr))
}

#[test]
fn urls_are_sent_in_their_normal_form() {
    let (head, said) = first_request("request", |address| format!("HTTP://{address}?q=é"));
    assert_eq!(head[0], "WEBWIRE /?q=%C3%A9 HTTP/1.1");
    assert!(said.contains("the server answers with status 401: no, ada"), "{said}");
}

#[test]
fn user_and_password_are_sent_and_not_shown() {
    for command in ["request", "signal", "listen", "bench"] {
        let (head, said) =
            first_request(command, |address| format!("ws://ada:s%65cret@{address}/"));
        let credentials = head.iter().find_map(|line| line.strip_prefix("Authorization: "));
        assert_eq!(credentials, Some("Basic YWRhOnNlY3JldA=="), "{command}: {head:?}");
        assert!(!said.contains("cret"), "{command}: {said}");
    }
}

#[test]
fn errors_of_urls_do_not_show_the_password() {
    for (url, said) in [
        ("localhost:7777", "no scheme; write ws://localhost:7777"),
        ("wss://ada:secret@localhost:x/", "the port of the URL"),
        ("ws://ada:secret@localhost:70000/", "a number from 1 to 65535"),
        ("ws://ada:secret@example.com/", "unencrypted to another machine"),
        ("ws://localhost:70000/", "the port of the URL, \"70000\", is invalid"),
        ("ws://localhost/#part", "a fragment"),
        ("ws://local host/", "a blank"),
        ("", "no scheme"),
    ] {
        for command in ["request", "signal", "listen", "bench", "probe"] {
            let ran = run(&[command, url]);
            assert_eq!(ran.code, Some(2), "{command} {url}");
            assert!(ran.stderr.contains(said), "{command} {url}: {}", ran.stderr);
            assert!(!ran.stderr.contains("secret"), "{command} {url}: {}", ran.stderr);
        }
    }
}
