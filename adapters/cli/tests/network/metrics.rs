//! `wwr serve --metrics`: the page, what is in it, and readers that take their time.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::support::{SAFETY, Server, run};

/// A server with a page, and the address of the page.
fn serve(arguments: &[&str]) -> (Server, SocketAddr) {
    let mut server = Server::start(&[&["--metrics", "0"], arguments].concat());
    let line = server.running.line_with("metrics on ");
    let address = line.strip_prefix("metrics on http://").unwrap();
    let address = address.strip_suffix("/metrics").unwrap().parse().unwrap();
    (server, address)
}

/// The answer to a request: its head, and its body.
fn ask(address: SocketAddr, head: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SAFETY)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The numbers of the page, by name and labels. Each line has to be one of the format.
fn scrape(address: SocketAddr) -> BTreeMap<String, f64> {
    let (head, body) = ask(address, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    let mut numbers = BTreeMap::new();
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let mut described = Vec::new();
    for line in body.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let (kind, rest) = comment.split_once(' ').unwrap();
            let (name, text) = rest.split_once(' ').unwrap();
            assert!(matches!(kind, "HELP" | "TYPE") && is_name(name), "{line}");
            assert!(name.starts_with("wwr_") && !text.is_empty(), "{line}");
            if kind == "TYPE" {
                assert!(matches!(text, "counter" | "gauge" | "histogram"), "{line}");
            } else {
                described.push(name.to_owned());
            }
            continue;
        }
        let (series, number) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        assert!(is_name(name), "{line}");
        for label in labels.strip_suffix('}').unwrap().split(',').filter(|label| !label.is_empty())
        {
            let (label, value) = label.split_once('=').unwrap();
            assert!(is_name(label) && value.starts_with('"') && value.ends_with('"'), "{line}");
        }
        let plain = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name);
        assert!(described.iter().any(|known| known == plain), "no HELP before {line}");
        let before = numbers.insert(series.to_owned(), number.parse().unwrap());
        assert_eq!(before, None, "{line} is there twice");
    }
    numbers
}

#[test]
fn the_page_shows_what_happened() {
    let (server, page) = serve(&[]);
    let before = scrape(page);
    assert_eq!(before["wwr_connections_opened_total"], 0.0);
    assert_eq!(before["wwr_requests_total{outcome=\"replied\"}"], 0.0);
    assert_eq!(server.reply(&["echo", "hello"]), "hello");
    assert_eq!(server.error(&["error", "CODE text"]), "CODE");
    server.reply(&["login", "{}"]);
    let (head, _) = ask(server.address, "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");

    let now = scrape(page);
    for (series, number) in [
        ("wwr_connections_opened_total", 3.0),
        ("wwr_requests_total{outcome=\"replied\"}", 2.0),
        ("wwr_requests_total{outcome=\"failed\"}", 1.0),
        ("wwr_requests_total{outcome=\"lost\"}", 0.0),
        ("wwr_requests_running", 0.0),
        ("wwr_queued_bytes", 0.0),
        ("wwr_session_events_total{event=\"created\"}", 1.0),
        ("wwr_refusals_total{reason=\"no_web_socket\"}", 1.0),
        ("wwr_store_operations_total{operation=\"create\",result=\"done\"}", 1.0),
        ("wwr_store_operation_duration_seconds_count{operation=\"create\"}", 1.0),
        ("wwr_store_operation_duration_seconds_bucket{operation=\"create\",le=\"+Inf\"}", 1.0),
    ] {
        assert_eq!(now.get(series), Some(&number), "{series} in {now:#?}");
    }
    let sum = |name: &str| -> f64 {
        now.iter().filter(|(series, _)| series.starts_with(name)).map(|(_, number)| number).sum()
    };
    assert_eq!(sum("wwr_connections{") + sum("wwr_connections_ended_total{"), 3.0);
    let of_ours = "wwr_connections_ended_total{dialect=\"wwr.1\"}";
    assert_eq!(now[of_ours] + now["wwr_connections{dialect=\"wwr.1\"}"], 3.0);
    assert!(now["wwr_received_bytes_total"] > 0.0 && now["wwr_sent_bytes_total"] > 0.0);
    // All numbers are there from the beginning on, but for the histogram.
    let mut new = now.keys().filter(|series| !before.contains_key(*series));
    assert!(new.all(|series| series.starts_with("wwr_store_operation_duration_seconds")));
}

#[test]
fn only_the_page_is_served_and_only_read() {
    let (_server, page) = serve(&[]);
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /metrics/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /metrics?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 200),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", 405),
        ("HEAD /metrics HTTP/1.1\r\nHost: [::1]:9100\r\n\r\n", 200),
        ("GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n", 200),
        ("nonsense\r\n\r\n", 400),
    ] {
        let (head, body) = ask(page, request);
        let expected = format!(" {status} ");
        assert!(head.lines().next().unwrap().contains(&expected), "{request:?}: {head}");
        assert_eq!(head.contains("allow: GET, HEAD"), status == 405, "{head}");
        assert_eq!(body.contains("wwr_connections"), status == 200 && !request.starts_with("HEAD"));
    }
}

/// Pages of any site may have a name of their own stand for this address (DNS rebinding).
#[test]
fn the_page_is_for_addresses_localhost_and_names_that_are_allowed() {
    let (_server, page) = serve(&["--metrics-host", "metrics.example"]);
    for (host, status) in [
        ("Host: 127.0.0.1\r\n", 200),
        ("Host: metrics.example:9100\r\n", 200),
        ("Host: rebound.example\r\n", 421),
        ("Host: localhost\r\nHost: rebound.example\r\n", 421),
        ("", 421),
    ] {
        let (head, body) = ask(page, &format!("GET /metrics HTTP/1.1\r\n{host}\r\n"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{host:?}: {head}");
        assert_eq!(body.contains("wwr_connections"), status == 200, "{host:?}");
        assert_eq!(body.contains("--metrics-host"), status == 421, "{host:?}");
    }
}

#[test]
fn silent_readers_hold_nothing_up() {
    let (server, page) = serve(&[]);
    // More than there may be. Some are silent, some ask and do not read.
    let silent: Vec<_> = (0..100)
        .map(|number| {
            let mut stream = TcpStream::connect(page).unwrap();
            if number % 2 == 0 {
                stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n").unwrap();
            }
            stream
        })
        .collect();
    assert!(scrape(page).contains_key("wwr_groups"));
    assert_eq!(server.reply(&["echo", "x"]), "x");
    // The oldest of them made room.
    let mut rest = Vec::new();
    let mut oldest = &silent[1];
    oldest.set_read_timeout(Some(SAFETY)).unwrap();
    match oldest.read_to_end(&mut rest) {
        Ok(_) => assert_eq!(rest, b""),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
}

#[test]
fn an_address_that_cannot_be_used_is_named() {
    let (_server, page) = serve(&[]);
    for on in [page.to_string(), "nowhere".to_owned()] {
        let ran = run(&["serve", "--listen", "127.0.0.1:0", "--metrics", &on]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(&format!("--metrics {on}")), "{ran:?}");
    }
}
