//! The page without a browser: its files, its headers, who gets it, and what it decodes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::{SAFETY, Server, run};

/// An answer: its status, its head in lower case, and its body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(one, _)| *one == name).map(|(_, value)| value)
    }
}

fn ask(server: &Server, request: &str) -> Answer {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(SAFETY)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // A server that closes a socket without having read all of it resets it.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => {}
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn get(server: &Server, path: &str) -> Answer {
    ask(server, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

fn decode(server: &Server, query: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("POST /playground/decode{query} HTTP/1.1\r\nHost: localhost\r\n");
    ask(server, &format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"))
}

#[test]
fn the_page_and_its_files_have_a_strict_policy() {
    let mut server = Server::start(&[]);
    let told = server.running.line_with("playground on ");
    assert_eq!(told, format!("playground on http://{}/", server.address));
    let page = get(&server, "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    // What the page names is there, and what its scripts import.
    let mut files = vec!["/playground/about.json".to_owned(), "/playground/elements.js".to_owned()];
    for (before, after) in [("href=\"playground/", '"'), ("src=\"playground/", '"')] {
        let named = page.body.split(before).skip(1);
        files
            .extend(named.map(|rest| format!("/playground/{}", rest.split(after).next().unwrap())));
    }
    let main = get(&server, "/playground/main.js").body;
    let imported = main.split("from './").skip(1);
    files.extend(imported.map(|rest| format!("/playground/{}", rest.split('\'').next().unwrap())));
    assert!(files.len() > 8, "{files:?}");
    for path in files.iter().map(String::as_str).chain(["/"]) {
        let answer = get(&server, path);
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self' 'wasm-unsafe-eval'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "deny"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("connection", "close"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
    let names: Value = serde_json::from_str(&get(&server, "/playground/about.json").body).unwrap();
    assert!(names["requests"].as_array().unwrap().contains(&"signal-me".into()), "{names}");
}

#[test]
fn a_browser_that_has_a_file_is_told_that_it_is_the_same() {
    let server = Server::start(&[]);
    let first = get(&server, "/playground/style.css");
    let tag = first.header("etag").unwrap();
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    let again = |tag: &str| {
        let head = "GET /playground/style.css HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        ask(&server, &format!("{head}If-None-Match: {tag}\r\n\r\n"))
    };
    for known in [tag, &format!("W/{tag}"), &format!("\"other\", {tag}"), "*"] {
        assert_eq!((again(known).status, again(known).body.as_str()), (304, ""), "{known}");
    }
    assert_eq!(again("\"other\"").body, first.body);
    let head = "HEAD / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let head = ask(&server, head);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn everything_else_is_answered_as_without_the_page() {
    let (with, without) = (Server::start(&[]), Server::start(&["--playground", "off"]));
    for (request, status) in [
        ("WEBWIRE / HTTP/1.1\r\n", 200),
        ("WEBWIRE /playground/main.js HTTP/1.1\r\n", 200),
        ("OPTIONS / HTTP/1.1\r\n", 200),
        ("OPTIONS /playground/decode HTTP/1.1\r\n", 200),
        ("PUT / HTTP/1.1\r\n", 405),
        ("POST / HTTP/1.1\r\nContent-Length: 0\r\n", 405),
        ("GET /playground HTTP/1.1\r\n", 426),
        ("GET /other HTTP/1.1\r\n", 426),
        ("GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n", 426),
    ] {
        let request = format!("{request}Host: localhost\r\nConnection: close\r\n\r\n");
        let [with, without] = [&with, &without].map(|server| ask(server, &request));
        assert_eq!((with.status, without.status), (status, status), "{request}");
        let [with, without] = [with, without].map(|answer| {
            let head = answer.head.lines().filter(|line| !line.starts_with("date: "));
            (head.map(str::to_owned).collect::<Vec<_>>(), answer.body)
        });
        assert_eq!(with, without, "{request}");
    }
    for path in ["/", "/playground/", "/playground/main.js", "/playground/about.json"] {
        assert_eq!(get(&without, path).status, 426, "{path}");
    }
    assert_eq!(decode(&without, "", "0a").status, 400);
    // Nor is the page told of.
    let mut quiet = Server::start(&["--playground", "off", "--metrics", "0"]);
    assert!(quiet.running.line().unwrap().starts_with("metrics on "));

    for path in
        ["/playground/", "/playground/no.js", "/playground/../main.js", "/playground/client/x"]
    {
        let answer = get(&with, path);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (404, "There is no such file.\n"),
            "{path}"
        );
    }
    // WebSockets are opened where the page is.
    assert_eq!(with.reply(&["echo", "\u{1f98a}"]), "\u{1f98a}");
    let probed = run(&["probe", &with.url()]);
    assert_eq!((probed.code, probed.stderr.as_str()), (Some(0), ""), "{probed:?}");
}

#[test]
fn other_names_do_not_reach_the_page() {
    let status = |server: &Server, host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        ask(server, &request).status
    };
    let named = Server::start(&[
        "--allow-origin",
        "https://App.Example:8443",
        "--playground-host",
        "play.example",
    ]);
    for (host, is_allowed) in [
        ("127.0.0.1:7777", true),
        ("[::1]:7777", true),
        ("localhost:1", true),
        ("app.example", true),
        ("play.example:80", true),
        ("evil.example", false),
        ("sub.play.example", false),
    ] {
        assert_eq!(status(&named, host), if is_allowed { 200 } else { 421 }, "{host}");
    }
    let refused = ask(&named, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    assert!(refused.body.contains("--playground-host"), "{}", refused.body);
    let post =
        "POST /playground/decode HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\n0a";
    assert_eq!(ask(&named, post).status, 421);
    assert_eq!(status(&Server::start(&[]), "evil.example"), 421);
    assert_eq!(status(&Server::start(&["--allow-origin", "any"]), "evil.example"), 200);
}

/// The status with which a page of `origin` gets a WebSocket of `host`.
fn upgrade(server: &Server, host: &str, origin: Option<&str>) -> u16 {
    let origin = origin.map_or(String::new(), |origin| format!("Origin: {origin}\r\n"));
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(SAFETY)).unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\n{origin}Upgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    str::from_utf8(&status[9..]).unwrap().parse().unwrap()
}

#[test]
fn a_page_by_a_name_that_is_not_the_servers_gets_no_websocket() {
    let server = Server::start(&["--playground-host", "play.example"]);
    for (host, origin, status) in [
        ("127.0.0.1:7777", Some("http://127.0.0.1:7777"), 101),
        ("localhost:7777", Some("http://localhost:7777"), 101),
        ("play.example", Some("https://play.example"), 101),
        // A name of another site stands for the address of this server.
        ("evil.example:7777", Some("http://evil.example:7777"), 421),
        ("127.0.0.1:7777", Some("http://evil.example:7777"), 403),
        // Programs say any name.
        ("evil.example:7777", None, 101),
    ] {
        assert_eq!(upgrade(&server, host, origin), status, "{host} {origin:?}");
    }
    // Without the page there is no page whose names would be known.
    let server = Server::start(&["--playground", "off"]);
    assert_eq!(upgrade(&server, "my.example:7777", Some("http://my.example:7777")), 101);
}

#[test]
fn the_page_itself_may_connect_beside_the_origins_that_are_allowed() {
    let allowed = ["--allow-origin", "https://app.example"];
    let server = Server::start(&allowed);
    for (host, origin, status) in [
        ("127.0.0.1:7777", "http://127.0.0.1:7777", 101),
        ("127.0.0.1:7777", "https://app.example", 101),
        // Through a proxy, by the name of that.
        ("api.example", "https://app.example", 101),
        ("127.0.0.1:7777", "http://127.0.0.1:8888", 403),
        ("evil.example:7777", "http://evil.example:7777", 421),
        ("api.example", "https://api.example", 421),
    ] {
        assert_eq!(upgrade(&server, host, Some(origin)), status, "{host} {origin}");
    }
    let server = Server::start(&[&allowed[..], &["--playground", "off"]].concat());
    assert_eq!(upgrade(&server, "127.0.0.1:7777", Some("http://127.0.0.1:7777")), 403);
    let server = Server::start(&["--allow-origin", "any"]);
    assert_eq!(upgrade(&server, "evil.example", Some("http://evil.example")), 101);
}

#[test]
fn messages_are_decoded_as_by_the_command() {
    let server = Server::start(&[]);
    // A request, one with UTF-16 of an odd length, none, an unknown type, and a heartbeat of 2.0.
    let messages =
        ["7f0100000000000000046563686f6869", "81010000000000000004656368", "", "0a", "ff01"];
    for protocol in ["1.4", "1.5", "2.0", "wwr.1"] {
        let answer = decode(&server, &format!("?protocol={protocol}"), &messages.join("\n"));
        assert_eq!(answer.status, 200, "{}", answer.body);
        let mut arguments = vec!["decode", "--protocol", protocol];
        arguments.extend(messages);
        assert_eq!(answer.body, run(&arguments).text(), "{protocol}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

#[test]
fn what_is_decoded_at_once_is_bounded() {
    let server = Server::start(&[]);
    assert_eq!(decode(&server, "", &"00".repeat(128 * 1024)).status, 200);
    let long = decode(&server, "", &"0".repeat(256 * 1024 + 1));
    assert_eq!((long.status, long.body.as_str()), (413, "A body has 262144 bytes at most\n"));
    assert_eq!(decode(&server, "", &"00\n".repeat(256)).status, 200);
    assert_eq!(decode(&server, "", &"00\n".repeat(257)).status, 413);
    assert_eq!(decode(&server, "", &"\n".repeat(100_000)).status, 413);
    let wrong = decode(&server, "", "00\n0g");
    assert_eq!(
        (wrong.status, wrong.body.as_str()),
        (400, "line 2: 'g' at column 2 is not a hexadecimal digit\n")
    );
    assert_eq!(decode(&server, "?protocol=3.0", "00").status, 400);
    let read = get(&server, "/playground/decode");
    assert_eq!((read.status, read.header("allow")), (405, Some("post")));
    // One that never ends is not waited for once it is too long.
    let endless =
        "POST /playground/decode HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let endless = format!("{endless}{}", format!("10000\r\n{}\r\n", "0".repeat(0x10000)).repeat(5));
    assert_eq!(ask(&server, &endless).status, 413);
    assert_eq!(server.reply(&["echo", "still here"]), "still here");
}

#[test]
fn a_directory_without_a_client_is_an_error() {
    let empty = tempfile::tempdir().unwrap();
    let directory = empty.path().to_str().unwrap();
    let ran = run(&["serve", "--listen", "127.0.0.1:0", "--playground", directory]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("--playground: ") && ran.stderr.contains("index.js"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_client_is_served_from_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let (script, glue, code) = ("export class Client {}\n", "export default 1;\n", "\0asm");
    std::fs::create_dir(directory.path().join("wasm")).unwrap();
    for (name, content) in
        [("index.js", script), ("wasm/wwr_web.js", glue), ("wasm/wwr_web_bg.wasm", code)]
    {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    std::fs::write(directory.path().join("package.json"), "{}").unwrap();
    let server = Server::start(&["--playground", directory.path().to_str().unwrap()]);
    for (name, kind, content) in [
        ("index.js", "text/javascript; charset=utf-8", script),
        ("wasm/wwr_web.js", "text/javascript; charset=utf-8", glue),
        ("wasm/wwr_web_bg.wasm", "application/wasm", code),
    ] {
        let answer = get(&server, &format!("/playground/client/{name}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, content), "{name}");
        assert_eq!(answer.header("content-type"), Some(kind));
    }
    let about: Value = serde_json::from_str(&get(&server, "/playground/about.json").body).unwrap();
    assert_eq!(about["client"], true);
    for name in ["package.json", "../package.json", "wasm/", ""] {
        assert_eq!(get(&server, &format!("/playground/client/{name}")).status, 404, "{name}");
    }
}
