//! Proxies made by hand between the client and its server, good ones and bad ones.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::adapter::client::{Builder, Client, Config, Proxy};
use wwr::Payload;
use wwr::client::{ConnectError as Kind, Protocol};

use crate::suite::client::raw::{Exchange, GOOD_BODY, TIMEOUT};
use crate::suite::client::{builder_at, changed, config, connecting, request, wait};

/// The server, which only the proxies know.
const URL: &str = "ws://server.invalid:7777/";

struct Listener(TcpListener);

impl Listener {
    fn bind() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// The next connection of the client to the proxy.
    fn accept(&self) -> TcpStream {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    fn builder(&self, scheme_and_user: &str, url: &str, config: Config) -> Builder {
        let proxy = format!("{scheme_and_user}{}", self.0.local_addr().unwrap());
        builder_at(url).unwrap().config(config).dial(proxy.parse::<Proxy>().unwrap())
    }

    fn client(&self, scheme_and_user: &str) -> Client {
        let config = changed(config(), |config| config.machine.reconnect = false);
        self.builder(scheme_and_user, URL, config).build().unwrap()
    }
}

/// Reads the head of a request.
fn head(mut stream: TcpStream) -> Exchange {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(char::from(byte[0]));
    }
    Exchange { stream, head }
}

/// Writes in pieces.
fn dribble(stream: &mut TcpStream, bytes: &[u8]) {
    for byte in bytes {
        stream.write_all(&[*byte]).unwrap();
    }
}

/// Reads what the client has to send.
fn expect(stream: &mut TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).unwrap();
    assert_eq!(read, bytes);
}

/// Plays the server behind a proxy. `tunnel` takes each connection to the proxy.
fn serves(listener: &Listener, client: &Client, tunnel: impl Fn(TcpStream) -> TcpStream) {
    let connected = connecting(client);
    let probe = head(tunnel(listener.accept()));
    assert_eq!(probe.head.lines().next(), Some("WEBWIRE / HTTP/1.1"));
    assert_eq!(probe.header("Host"), Some("server.invalid:7777"));
    assert_eq!(probe.header("Proxy-Authorization"), None, "the server must not see that");
    probe.respond("200 OK", GOOD_BODY);
    let mut socket = head(tunnel(listener.accept())).upgrade();
    assert_eq!(wait(connected), Ok(()));
    let answer = request(client, "a", "x");
    assert_eq!(socket.echo(), "a");
    assert_eq!(wait(answer), Ok(Payload::binary("x")));
}

#[test]
fn an_http_proxy_is_asked_for_a_tunnel() {
    let answers = [
        "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n",
        "HTTP/1.0 200 Connection established\r\nProxy-Agent: x\r\n\r\n",
        // RFC 9110 §9.3.6: these do not count.
        "HTTP/1.1 201 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ];
    let users = [("", None), ("ada:p%40ss@", Some("Basic YWRhOnBAc3M="))];
    for (answer, (user, credentials)) in answers.iter().zip(users.into_iter().cycle()) {
        let listener = Listener::bind();
        let client = listener.client(&format!("http://{user}"));
        serves(&listener, &client, |stream| {
            let mut asked = head(stream);
            let line = "CONNECT server.invalid:7777 HTTP/1.1";
            assert_eq!(asked.head.lines().next(), Some(line));
            assert_eq!(asked.header("Host"), Some("server.invalid:7777"));
            assert_eq!(asked.header("Proxy-Authorization"), credentials);
            dribble(&mut asked.stream, answer.as_bytes());
            asked.stream
        });
    }
}

#[test]
fn addresses_of_ipv6_are_in_brackets() {
    let listener = Listener::bind();
    let once = changed(config(), |config| config.machine.reconnect = false);
    let client = listener.builder("", "ws://[2001:db8::1]:7777/", once).build().unwrap();
    let connected = connecting(&client);
    let asked = head(listener.accept());
    assert_eq!(asked.head.lines().next(), Some("CONNECT [2001:db8::1]:7777 HTTP/1.1"));
    drop(asked);
    assert!(wait(connected).is_err());
}

/// What the client says about an HTTP proxy that answers so, without what failed.
fn said_of(user: &str, answer: &[u8]) -> String {
    told_of(user, answer, "the server gave no HTTP answer")
}

fn told_of(user: &str, answer: &[u8], failed: &str) -> String {
    let listener = Listener::bind();
    let client = listener.client(&format!("http://{user}"));
    let connected = connecting(&client);
    let mut asked = head(listener.accept());
    // The client may have enough before the end.
    let _ = asked.stream.write_all(answer);
    drop(asked);
    let text = wait(connected).unwrap_err().to_string();
    let begin = format!("{failed}: the proxy http://{}: ", listener.0.local_addr().unwrap());
    assert!(!text.contains("secret"), "{text}");
    text.strip_prefix(&begin).unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn a_refusal_of_an_http_proxy_says_what_to_do() {
    let wants = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
    // It is asked once: the client does not try again by itself.
    let told =
        |user| told_of(user, wants, "a proxy on the way to the server requires another login");
    assert_eq!(told(""), "it wants a user name and a password; write them in its URL (status 407)");
    assert_eq!(
        told("ada:secret@"),
        "it refuses the user name or the password, or wants something other than Basic \
         authentication (status 407)"
    );
    let page = b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\n\r\n<title>Not from here</title>";
    assert_eq!(said_of("", page), "it does not connect to the server (status 403: Not from here)");
    let moved = b"HTTP/1.1 302 No\r\nLocation: http://login/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(said_of("", moved), "it does not connect to the server (status 302)");
}

#[test]
fn what_is_no_http_proxy_is_told_apart() {
    assert_eq!(
        said_of("", b"\x05\xff"),
        "its answer is not HTTP/1.1; it begins with \"\\u{5}\u{fffd}\"; is it a socks5:// proxy?"
    );
    assert_eq!(said_of("", b""), "it ended the connection before it answered");
    assert_eq!(
        said_of("", b"\x15\x03\x01\0\x02\x02\x46"),
        "it speaks TLS, which this client does not with proxies"
    );
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(said_of("", long.as_bytes()), "the head of its answer is too long");
    assert_eq!(said_of("", b"HTTP/1.1 200 OK\r\n\r\nhello"), "it sent more than an answer");
}

#[test]
fn a_socks_proxy_resolves_the_name() {
    let connect = [&[5, 1, 0, 3, 14][..], b"server.invalid", &7777u16.to_be_bytes()].concat();
    // The address that the proxy connects from may have any form.
    let answers = [
        [&[5, 0, 0, 1][..], &[0; 6]].concat(),
        [&[5, 0, 0, 4][..], &[0; 18]].concat(),
        [&[5, 0, 0, 3, 2][..], b"ab", &[0; 2]].concat(),
    ];
    for answer in &answers {
        let listener = Listener::bind();
        serves(&listener, &listener.client("socks5://"), |mut stream| {
            expect(&mut stream, &[5, 1, 0]);
            dribble(&mut stream, &[5, 0]);
            expect(&mut stream, &connect);
            dribble(&mut stream, answer);
            stream
        });
    }
    let listener = Listener::bind();
    serves(&listener, &listener.client("socks5h://ada:p%40ss@"), |mut stream| {
        expect(&mut stream, &[5, 2, 0, 2]);
        dribble(&mut stream, &[5, 2]);
        expect(&mut stream, b"\x01\x03ada\x04p@ss");
        dribble(&mut stream, &[1, 0]);
        expect(&mut stream, &connect);
        dribble(&mut stream, &answers[0]);
        stream
    });
}

#[test]
fn a_refusal_of_a_socks_proxy_says_what_to_do() {
    for (user, answers, said) in [
        ("", &[&[5, 0xff][..]][..], "it wants a user name and a password in its URL, or others"),
        ("", &[&[5, 2]], "it wants a user name and a password in its URL, or others"),
        ("ada:secret@", &[&[5, 2], &[1, 1]], "it refuses the user name or the password"),
        ("", &[&[5, 0], &[5, 5, 0, 1]], "it does not connect to the server: Connection refused"),
        (
            "",
            &[&[5, 0], &[5, 2, 0, 1]],
            "it does not connect to the server: Connection not allowed",
        ),
        ("", &[&[5, 0], &[5, 9, 0, 1]], "it does not connect to the server: "),
        (
            "",
            &[b"HTTP/1.1 400 Bad Request\r\n\r\n"],
            "its answer is not SOCKS5; is it an http:// proxy?",
        ),
        ("", &[&[5, 0], &[5, 0, 0, 9]], "its answer is not SOCKS5"),
        ("", &[&[5, 0], &[5, 0, 0, 3, 200]], "it ended the connection before it answered"),
        ("", &[], "it ended the connection before it answered"),
    ] {
        let listener = Listener::bind();
        let client = listener.client(&format!("socks5://{user}"));
        let connected = connecting(&client);
        let mut stream = listener.accept();
        let mut asked = [0; 1024];
        for answer in answers {
            assert_ne!(stream.read(&mut asked).unwrap(), 0, "{said}");
            stream.write_all(answer).unwrap();
        }
        if answers.is_empty() {
            // What was asked is read, so that the end is not a reset.
            let _ = stream.read(&mut asked);
        }
        drop(stream);
        let text = wait(connected).unwrap_err().to_string();
        assert!(text.contains(": the proxy socks5://127.0.0.1:") && text.contains(said), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn a_silent_proxy_costs_no_more_than_the_attempt_may_take() {
    let short = Duration::from_millis(50);
    for scheme in ["http://", "socks5://"] {
        for (protocol, kind) in
            [(Protocol::V1_4, Kind::ProbeTimedOut), (Protocol::V2_0, Kind::DialTimedOut)]
        {
            let listener = Listener::bind();
            let config = changed(crate::suite::client::config_of(protocol), |config| {
                config.machine.reconnect = false;
                config.machine.probe_timeout = short;
                config.machine.dial_timeout = short;
            });
            let client = listener.builder(scheme, URL, config).build().unwrap();
            let connected = connecting(&client);
            let mut silent = listener.accept();
            assert_eq!(wait(connected).unwrap_err().kind(), Some(&kind));
            // The client has closed the connection.
            silent.read_to_end(&mut Vec::new()).unwrap();
        }
    }
}

#[test]
fn a_proxy_that_is_not_there_is_named() {
    let gone = crate::suite::client::raw::unused_address();
    let proxy: Proxy = format!("socks5://{gone}").parse().unwrap();
    let config = changed(config(), |config| config.machine.reconnect = false);
    let client = builder_at(URL).unwrap().config(config).dial(proxy).build().unwrap();
    let text = wait(client.connect()).unwrap_err().to_string();
    assert!(text.contains(&format!(": the proxy socks5://{gone}: ")), "{text}");
}
