use super::*;

fn parse(text: &str) -> ServerUrl {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> InvalidUrl {
    text.parse::<ServerUrl>().expect_err(text)
}

#[test]
fn host_port_and_path_are_found() {
    for (text, address, authority, path) in [
        ("ws://localhost", ("localhost", 80), "localhost", "/"),
        ("http://localhost:7777", ("localhost", 7777), "localhost:7777", "/"),
        ("ws://host:80/", ("host", 80), "host", "/"),
        ("ws://host:/", ("host", 80), "host", "/"),
        ("http://host:443/", ("host", 443), "host:443", "/"),
        ("ws://127.0.0.1:1/a/b?c=d", ("127.0.0.1", 1), "127.0.0.1:1", "/a/b?c=d"),
        ("ws://[0:0::1]:7777/", ("::1", 7777), "[::1]:7777", "/"),
        ("ws://[::1]", ("::1", 80), "[::1]", "/"),
        ("ws://host:1?token=abc", ("host", 1), "host:1", "/?token=abc"),
        ("ws://host?", ("host", 80), "host", "/?"),
    ] {
        let url = parse(text);
        let (host, port) = url.host_and_port();
        assert_eq!((&*host, port), address, "{text}");
        assert_eq!(url.authority(), authority, "{text}");
        assert_eq!(url.path().as_str(), path, "{text}");
    }
}

#[test]
fn each_url_has_one_normal_form() {
    for (text, normal) in [
        ("WS://LocalHost:7777", "ws://localhost:7777/"),
        ("HTTP://host/", "ws://host/"),
        ("ws://host:80/a", "ws://host/a"),
        ("http://host:80/a", "ws://host/a"),
        ("ws://host/ü?q=é", "ws://host/%C3%BC?q=%C3%A9"),
        ("ws://host/%c3%bc", "ws://host/%c3%bc"),
        ("ws://bücher.example/", "ws://xn--bcher-kva.example/"),
        ("ws://BÜCHER.example/", "ws://xn--bcher-kva.example/"),
        ("ws://例え.テスト:7777/", "ws://xn--r8jz45g.xn--zckzah:7777/"),
        ("ws://host/a/./b/../c", "ws://host/a/c"),
        ("ws://host?a=b/c", "ws://host/?a=b/c"),
        ("ws://h%6Fst/", "ws://host/"),
        ("ws://[2001:DB8:0::1]:80/", "ws://[2001:db8::1]/"),
        ("ws://host/a?b=ws://other/", "ws://host/a?b=ws://other/"),
        ("ws://host/a@b?c@d:e", "ws://host/a@b?c@d:e"),
    ] {
        let url = parse(text);
        assert_eq!(url.to_string(), normal, "{text}");
        assert_eq!(parse(&url.to_string()), url, "{text}");
        assert_eq!(format!("{url:?}"), format!("ServerUrl({normal:?})"));
    }
}

/// Every printable character can stand in a path and a query. The request contains it in a form
/// that RFC 3986 and HTTP libraries accept.
#[test]
fn every_printable_character_can_be_sent() {
    for character in (0x21..0x7f_u8).map(char::from).chain(['ü', '日', '\u{1f600}']) {
        if matches!(character, '#' | '\\') {
            continue;
        }
        for text in [format!("ws://host/a{character}b"), format!("ws://host/?a{character}b")] {
            assert!(parse(&text).path().as_str().bytes().all(|byte| byte.is_ascii_graphic()));
        }
    }
    let longest = format!("ws://host/{}", "a".repeat(ServerUrl::MAX_LENGTH - 10));
    assert_eq!(parse(&longest).to_string().len(), ServerUrl::MAX_LENGTH);
    assert_eq!(refused(&format!("{longest}a")), InvalidUrl::TooLong);
    assert_eq!(refused(&format!("ws://host/{}", "ü".repeat(100_000))), InvalidUrl::TooLong);
}

#[test]
fn user_name_and_password_are_credentials_for_servers_on_this_machine() {
    for (text, pair) in [
        ("ws://ada:secret@localhost:7777/", "ada:secret"),
        ("ws://ada@127.0.0.1/", "ada:"),
        ("ws://ada:@[::1]/", "ada:"),
        ("ws://:secret@127.8.9.10/", ":secret"),
        ("http://a%40b:p%3Aq%2Fr@app.localhost./", "a@b:p:q/r"),
        ("ws://a:b@c@localhost/", "a:b@c"),
        ("ws://ü:é@[::ffff:127.0.0.1]/", "ü:é"),
        ("ws://ada:100%@LOCALHOST/", "ada:100%"),
    ] {
        let url = parse(text);
        let value = url.credentials().unwrap().to_str().unwrap();
        let sent = STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(sent, pair.as_bytes(), "{text}");
        let shown = format!("{url} {url:?} {:?}", url.credentials());
        assert!(!shown.contains("ada") && !shown.contains("secret"), "{shown}");
        assert!(!shown.contains(value), "{shown}");
    }
    assert_eq!(parse("ws://@host/").credentials(), None);
    assert_eq!(parse("ws://localhost/a@b").credentials(), None);
    for text in ["ws://ada:secret@example.com/", "ws://ada@10.0.0.1/", "ws://a:b@localhost.com/"] {
        assert_eq!(refused(text), InvalidUrl::ExposedCredentials, "{text}");
    }
    for text in ["ws://a%3Ab:c@localhost/", "ws://a:b%0Ac@localhost/", "ws://%7f@localhost/"] {
        assert!(matches!(refused(text), InvalidUrl::Credentials(_)), "{text}");
    }
}

#[test]
fn errors_say_what_is_wrong() {
    for (text, said) in [
        ("", "no scheme; write ws://localhost:7777/"),
        ("/", "no scheme; write ws://localhost:7777/"),
        ("localhost:7777", "no scheme; write ws://localhost:7777"),
        ("localhost", "no scheme; write ws://localhost"),
        ("[::1]:7777/a?b", "no scheme; write ws://[::1]:7777/a?b"),
        ("//host/path", "no scheme; write ws://host/path"),
        ("ws:host", "no scheme; write ws://host"),
        ("HTTP:/host", "no scheme; write ws://host"),
        ("://host", "no scheme; write ws://localhost:7777/"),
        ("host?to=http://other/", "no scheme; write ws://localhost:7777/"),
        ("ftp://host/", "\"ftp\" is not a scheme"),
        ("unix:///run/socket", "\"unix\" is not a scheme"),
        ("ws://", "no host"),
        ("ws:///path", "no host"),
        ("ws:////host/", "no host"),
        ("ws://:7777/", "no host"),
        ("ws://?a=b", "no host"),
        ("ws://@/", "no host"),
        ("ws://host:70000/", "the port of the URL, \"70000\", is invalid"),
        ("ws://host:0/", "the port of the URL, \"0\", is invalid"),
        ("ws://host:-1/", "the port of the URL, \"-1\", is invalid"),
        ("ws://host:port/", "the port of the URL, \"port\", is invalid"),
        ("ws://[::1]:x/", "the port of the URL, \"x\", is invalid"),
        ("ws://::1:7777/", "in brackets, like ws://[::1]:7777/"),
        ("ws://::1/", "in brackets, like ws://[::1]:7777/"),
        ("ws://[fe80::1%25eth0]/", "no IPv6 zones"),
        ("ws://[fe80::1%eth0]/", "no IPv6 zones"),
        ("ws://[::1/", "not an IPv6 address"),
        ("ws://[host]/", "not an IPv6 address"),
        ("ws://1.2.3.256/", "like an IPv4 address"),
        ("ws://a^b/", "not a valid domain name"),
        ("ws://a%20b/", "not a valid domain name"),
        ("ws://xn--/", "not a valid domain name"),
        ("ws://a b/", "a blank; remove it, or write %20"),
        ("ws://host/a b", "a blank; remove it, or write %20"),
        (" ws://host/", "a blank"),
        ("ws://host/ ", "a blank"),
        ("ws://ho\tst/", "a tab"),
        ("w\ns://host/", "a line end"),
        ("ws://host/\r\nX: y", "a line end"),
        ("ws://host\\path", "a backslash"),
        ("ws:\\\\host", "a backslash"),
        ("ws://host/\0", "the invisible character U+0000"),
        ("ws://ho\u{ad}st/", "the invisible character U+00AD"),
        ("ws://host/\u{202e}", "the invisible character U+202E"),
        ("ws://host/#part", "a fragment"),
        ("ws://host#", "a fragment"),
        ("ws://host?a=b#c", "a fragment"),
    ] {
        let error = refused(text).to_string();
        assert!(error.contains(said), "{text:?}: {error}");
    }
}

#[cfg(not(feature = "rustls"))]
#[test]
fn without_tls_the_feature_is_named() {
    for scheme in ["wss", "https"] {
        let error = refused(&format!("{}://host/", scheme.to_uppercase()));
        assert_eq!(error, InvalidUrl::Tls(scheme));
        assert!(error.to_string().contains("the feature `rustls`"), "{error}");
    }
}

#[cfg(feature = "rustls")]
#[test]
fn tls_has_a_port_and_a_normal_form_of_its_own() {
    for (text, normal, address, authority) in [
        ("WSS://Host", "wss://host/", ("host", 443), "host"),
        ("https://host:443/a", "wss://host/a", ("host", 443), "host"),
        ("wss://host:80", "wss://host:80/", ("host", 80), "host:80"),
        ("https://[::1]:7777", "wss://[::1]:7777/", ("::1", 7777), "[::1]:7777"),
    ] {
        let url = parse(text);
        assert!(url.is_secure(), "{text}");
        let (host, port) = url.host_and_port();
        assert_eq!((&*url.to_string(), &*host, port), (normal, address.0, address.1), "{text}");
        assert_eq!(url.authority(), authority, "{text}");
        assert_eq!(parse(&url.to_string()), url, "{text}");
    }
    assert!(!parse("ws://host:443").is_secure());
}

#[cfg(feature = "rustls")]
#[test]
fn credentials_are_sent_to_any_server_with_tls() {
    let url = parse("wss://ada:secret@example.com/");
    let value = url.credentials().unwrap().to_str().unwrap();
    assert_eq!(STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap(), b"ada:secret");
    assert_eq!(url.to_string(), "wss://example.com/");
}

#[test]
fn errors_never_show_a_password() {
    for text in [
        "ada:secret@localhost:7777",
        "ws://ada:secret@host:70000/",
        "ws://ada:secret@[::1/",
        "ws://ada:secret@/",
        "ws://ada:secret@ho st/",
        "ws://ada:secret@host/",
        "wss://ada:secret@host:x/",
        "ftp://ada:secret@host/",
        "ws://ada:secret@localhost/#",
        "ws://ada:se/secret@localhost/",
        "ada:secret@host://",
        "ws://ada:secret%00@localhost/",
    ] {
        let error = refused(text);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("secret") && !shown.contains("ada"), "{shown}");
    }
    let long = format!("{}\u{1b}://{}", "h".repeat(1000), "x".repeat(1000));
    assert!(matches!(refused(&long), InvalidUrl::Character('\u{1b}')));
    assert!(refused(&"h".repeat(10_000)).to_string().len() < 200);
    assert!(refused(&format!("{}://host", "h".repeat(10_000))).to_string().len() < 200);
    assert!(refused(&format!("ws://host:{}", "9".repeat(10_000))).to_string().len() < 200);
}
