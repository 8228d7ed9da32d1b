//! The way to a server: TLS, proxies, unix sockets, redirects.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::support::{Ran, Running, Server, run, wwr};

/// A server with TLS, and the file with its certificate.
fn secure(directory: &Path) -> (Running, String, String) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
    let [certificate, key] = [("cert.pem", cert.pem()), ("key.pem", signing_key.serialize_pem())]
        .map(|(name, text)| {
            let file = directory.join(name);
            std::fs::write(&file, text).unwrap();
            file.into_os_string().into_string().unwrap()
        });
    let tls = ["--tls-cert", &certificate, "--tls-key", &key];
    let mut server = Running::start(&[&["serve", "--listen", "127.0.0.1:0"], &tls[..]].concat());
    let line = server.line().unwrap();
    let url = format!("{}/", line.strip_prefix("listening on ").unwrap());
    assert!(url.starts_with("wss://"), "{url}");
    (server, url, certificate)
}

#[test]
fn every_command_speaks_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, url, certificate) = secure(directory.path());
    for arguments in [
        &["request", "--cacert", &certificate, &url, "echo", "x"][..],
        &["signal", "--cacert", &certificate, &url, "echo", "x"],
        &["probe", "--cacert", &certificate, &url],
        &["bench", "--cacert", &certificate, "--count", "10", &url],
        &["check", "--cacert", &certificate, "--echo", "echo", "--patience", "1m", &url],
    ] {
        let ran = run(arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
    let mut listening = Running::start(&["listen", "--cacert", &certificate, &url]);
    listening.line_with("connected");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_a_failed_connection() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, url, _) = secure(directory.path());
    for arguments in [&["request", &url, "echo", "x"][..], &["signal", &url, "echo", "x"]] {
        // Without roots of the system, the reason is a different one.
        let ran = run(arguments);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stderr.contains("--cacert"), "{}", ran.stderr);
    }
    for command in ["request", "signal"] {
        let ran = run(&[command, "--insecure", &url, "echo", "x"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let warning = "wwr: --insecure: the certificate of the server is not verified";
        assert!(ran.stderr.starts_with(warning), "{}", ran.stderr);
    }
    let plain = url.replace("wss://", "ws://");
    let ran = run(&["request", &plain, "echo", "x"]);
    assert!(
        ran.code == Some(3) && ran.stderr.contains("not TLS, which this port needs"),
        "{ran:?}"
    );
}

#[test]
fn a_server_without_tls_is_told_apart() {
    let server = Server::start(&[]);
    let url = server.url().replace("ws://", "wss://");
    let ran = run(&["request", "--insecure", &url, "echo", "x"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("use ws://"), "{ran:?}");
}

#[test]
fn files_that_are_no_certificates_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.into_os_string().into_string().unwrap()
    };
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["ada".to_owned()]).unwrap();
    let other = generate_simple_self_signed(vec!["ada".to_owned()]).unwrap().signing_key;
    let (certificate, key) = (file("cert", &cert.pem()), file("key", &signing_key.serialize_pem()));
    let other = file("other", &other.serialize_pem());
    let both = file("both", &(cert.pem() + &signing_key.serialize_pem()));
    let (empty, missing) = (file("empty", ""), directory.path().join("missing"));
    let missing = missing.to_str().unwrap();
    for (options, named) in [
        (&["--cacert", &empty][..], "empty: root certificate: the PEM text has no such entry"),
        (&["--cacert", missing], "missing: "),
        (
            &["--cert", &certificate],
            "cert: key of the client certificate: the PEM text has no such entry",
        ),
        (&["--cert", &certificate, "--key", &other], "other: client certificate: "),
        (&["--cert", &key, "--key", &key], "client certificate: the PEM text has no such entry"),
        (&["--cert", &certificate, "--key", missing], "missing: "),
        (&["--key", &key], "--cert"),
        (&["--cacert", &certificate, "--insecure"], "--insecure"),
    ] {
        let ran = run(&[&["request"], options, &["wss://127.0.0.1:1/", "echo"]].concat());
        assert!(ran.code == Some(2) && ran.stderr.contains(named), "{options:?}: {ran:?}");
    }
    // A pipe that nobody writes to.
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let pipe = pipe.to_str().unwrap();
    for options in
        [&["--cacert", pipe][..], &["--cert", pipe], &["--cert", &certificate, "--key", pipe]]
    {
        let ran =
            run(&[&["request", "--timeout", "50ms"], options, &["wss://127.0.0.1:1/"]].concat());
        let named = "pipe: it did not come to its end in time";
        assert!(ran.code == Some(2) && ran.stderr.contains(named), "{options:?}: {ran:?}");
    }
    for options in [&["--cert", &both][..], &["--cert", &certificate, "--key", &key]] {
        let ran = run(&[&["request"], options, &["wss://127.0.0.1:1/", "echo"]].concat());
        assert_eq!(ran.code, Some(3), "the connection is refused: {ran:?}");
    }
}

/// A proxy that leads to one server, whatever it is asked for, and tells what that was.
struct HttpProxy {
    address: SocketAddr,
    asked: Receiver<String>,
}

impl HttpProxy {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = channel();
        // Ends with the process: it does no harm in the meantime.
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    let mut byte = [0];
                    client.read_exact(&mut byte).unwrap();
                    head.push(char::from(byte[0]));
                }
                let _ = tell.send(head);
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
                let server = TcpStream::connect(server).unwrap();
                pump(client.try_clone().unwrap(), server.try_clone().unwrap());
                pump(server, client);
            }
        });
        Self { address, asked }
    }

    /// The first lines of what it was asked since the last call.
    fn asked(&self) -> Vec<String> {
        self.asked.try_iter().map(|head| head.lines().next().unwrap().to_owned()).collect()
    }
}

fn pump(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) {
    thread::spawn(move || io::copy(&mut from, &mut to));
}

fn run_in(environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
    Running::spawn(wwr().args(arguments).envs(environment.iter().copied())).finish()
}

#[test]
fn proxies_are_those_of_the_option_or_else_of_the_environment() {
    let server = Server::start(&[]);
    let proxy = HttpProxy::to(server.address);
    let (at, unknown) = (proxy.address.to_string(), "ws://server.invalid:7777/");
    let named = format!("http://{at}");
    for (environment, options, url, proxied) in [
        (&[][..], &["--proxy", &*named][..], unknown, true),
        (&[("http_proxy", "127.0.0.1:1")], &["--proxy", &*at], unknown, true),
        (&[("http_proxy", &*at)], &[], unknown, true),
        (&[("ALL_PROXY", &*named)], &[], unknown, true),
        (&[("http_proxy", &*at), ("no_proxy", "127.0.0.0/8")], &[], &server.url(), false),
        (&[("https_proxy", &*at)], &[], &server.url(), false),
        (&[("http_proxy", "")], &[], &server.url(), false),
        (&[("http_proxy", &*at)], &["--no-proxy"], &server.url(), false),
    ] {
        let ran = run_in(environment, &[&["request"], options, &[url, "echo", "x"]].concat());
        assert_eq!((ran.code, ran.text()), (Some(0), "x"), "{environment:?} {options:?} {ran:?}");
        let asked = proxy.asked();
        assert_eq!(!asked.is_empty(), proxied, "{environment:?} {options:?}");
        let line = "CONNECT server.invalid:7777 HTTP/1.1";
        assert!(asked.iter().all(|asked| asked == line), "{asked:?}");
    }
}

#[test]
fn proxies_that_make_no_sense_exit_with_2_and_show_no_password() {
    let request = ["request", "ws://127.0.0.1:1/", "echo"];
    let ran = run(&[&request[..], &["--proxy", "ftp://ada:secret@x"]].concat());
    assert!(ran.code == Some(2) && ran.stderr.contains("'--proxy <URL>'"), "{ran:?}");
    assert!(!ran.stderr.contains("secret"), "{ran:?}");
    let request = ["request", "ws://server.invalid:1/", "echo"];
    let ran = run_in(&[("http_proxy", "ada:secret@x:y")], &request);
    let named = "the environment variable http_proxy: ";
    assert!(ran.code == Some(2) && ran.stderr.contains(named), "{ran:?}");
    assert!(!ran.stderr.contains("secret"), "{ran:?}");
}

#[test]
fn tls_goes_through_proxies() {
    let directory = tempfile::tempdir().unwrap();
    let (_server, url, certificate) = secure(directory.path());
    let address = url.strip_prefix("wss://").unwrap().trim_end_matches('/');
    let proxy = HttpProxy::to(address.parse().unwrap());
    let at = proxy.address.to_string();
    let options = ["--proxy", &at, "--cacert", &certificate];
    let ran = run(&[&["request"], &options[..], &["wss://localhost/", "echo", "x"]].concat());
    assert_eq!((ran.code, ran.text()), (Some(0), "x"), "{ran:?}");
    assert!(proxy.asked().contains(&"CONNECT localhost:443 HTTP/1.1".to_owned()));
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_connected_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listen = format!("unix:{}", path.display());
    let mut server = Running::start(&["serve", "--listen", &listen]);
    server.line().unwrap();
    let path = path.to_str().unwrap();
    let ran = run(&["request", "--unix-socket", path, "ws://localhost/", "echo", "x"]);
    assert_eq!((ran.code, ran.text()), (Some(0), "x"), "{ran:?}");
    let check = ["check", "--unix-socket", path, "ws://localhost/", "--patience", "1m"];
    let ran = run(&[&check[..], &["--echo", "echo", "--only", "requests"]].concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.text());
    let ran = run(&["request", "--unix-socket", "/none", "ws://localhost/", "echo", "x"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("the unix socket /none: "), "{ran:?}");
    let ran = run(&["request", "--unix-socket", "x", "--proxy", "y", "ws://localhost/"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}

#[test]
fn redirects_are_followed_if_the_option_says_so() {
    let server = Server::start(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        server.url().replace("ws://", "http://")
    );
    // Ends with the process: it does no harm in the meantime.
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(answer.as_bytes());
        }
    });
    let ran = run(&["request", &url, "echo", "x"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("set max_redirects"), "{ran:?}");
    let ran = run(&["request", "--max-redirects", "1", &url, "echo", "x"]);
    assert_eq!((ran.code, ran.text()), (Some(0), "x"), "{ran:?}");
}
