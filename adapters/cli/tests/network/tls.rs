//! `wwr serve` with TLS, on unix sockets, and on sockets that systemd has opened.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use wwr_smol::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Running, SAFETY, run};

pub(crate) fn identity() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

/// The names of files with the certificate and the key.
pub(crate) fn write(identity: &CertifiedKey<KeyPair>, directory: &Path) -> [String; 2] {
    let texts = [identity.cert.pem(), identity.signing_key.serialize_pem()];
    let names = ["chain.pem", "key.pem"].map(|name| directory.join(name));
    for (name, text) in names.iter().zip(texts) {
        std::fs::write(name, text).unwrap();
    }
    names.map(|name| name.into_os_string().into_string().unwrap())
}

/// The preflight, which any server answers.
const PREFLIGHT: &[u8] = b"WEBWIRE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

fn answer(mut stream: impl Read + Write) -> std::io::Result<String> {
    stream.write_all(PREFLIGHT)?;
    stream.flush()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The answer of a server that has this certificate.
fn encrypted(address: SocketAddr, identity: &CertifiedKey<KeyPair>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.cert.der().clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SAFETY))?;
    answer(StreamOwned::new(session, stream))
}

/// The address of a ready line.
fn address(line: &str, scheme: &str) -> SocketAddr {
    let address = line.strip_prefix(&format!("listening on {scheme}://"));
    address.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

#[test]
fn a_server_with_tls_says_so_and_serves() {
    let (directory, identity) = (tempfile::tempdir().unwrap(), identity());
    let [certificate, key] = write(&identity, directory.path());
    let mut server = Running::start(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ]);
    for _ in 0..2 {
        let address = address(&server.line().unwrap(), "wss");
        assert!(encrypted(address, &identity).unwrap().starts_with("HTTP/1.1 200 "));
        let plain = answer(TcpStream::connect(address).unwrap()).unwrap();
        assert!(plain.starts_with("HTTP/1.1 400 ") && plain.contains("wss://"), "{plain}");
    }
    let line = server.wait_for_log("not TLS");
    assert!(line.contains("wss"), "{line}");
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = write(&identity(), directory.path());
    let missing = directory.path().join("missing").into_os_string().into_string().unwrap();
    let serve = |certificate: &str, key: &str| {
        run(&["serve", "--listen", "127.0.0.1:0", "--tls-cert", certificate, "--tls-key", key])
    };
    for (certificate, key, why) in [
        (&missing, &key, "cannot read"),
        (&certificate, &missing, "cannot read"),
        (&key, &key, "no certificate in"),
        (&certificate, &certificate, "no private key in"),
    ] {
        let ran = serve(certificate, key);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(why), "{why}: {}", ran.stderr);
    }
    let ran = run(&["serve", "--tls-cert", &certificate]);
    assert!(ran.code == Some(2) && ran.stderr.contains("--tls-key"), "{ran:?}");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use rustix::process::Signal;

    use super::*;
    use crate::support::wwr;

    fn over_unix(path: &Path) -> String {
        answer(UnixStream::connect(path).unwrap()).unwrap()
    }

    #[test]
    fn a_hangup_reloads_the_certificate_and_a_broken_one_is_not_used() {
        let (directory, old, new) = (tempfile::tempdir().unwrap(), identity(), identity());
        let [certificate, key] = write(&old, directory.path());
        let arguments = ["--tls-cert", &certificate, "--tls-key", &key];
        let all = [&["serve", "--listen", "127.0.0.1:0"][..], &arguments].concat();
        let mut server = Running::start(&all);
        let address = address(&server.line().unwrap(), "wss");
        server.signal(Signal::HUP);
        server.wait_for_log("the certificate is the same");
        std::fs::write(&certificate, "garbage").unwrap();
        server.signal(Signal::HUP);
        let line = server.wait_for_log("the old certificate stays in use");
        assert!(line.contains("WARN") && line.contains("chain.pem"), "{line}");
        assert!(encrypted(address, &old).is_ok());
        write(&new, directory.path());
        server.signal(Signal::HUP);
        server.wait_for_log("new certificate");
        assert!(encrypted(address, &new).is_ok() && encrypted(address, &old).is_err());
        server.signal(Signal::TERM);
        assert_eq!(server.finish().code, Some(0));
    }

    #[test]
    fn unix_sockets_and_addresses_are_served_at_once_the_former_without_tls() {
        use std::os::unix::fs::PermissionsExt as _;

        let (directory, identity) = (tempfile::tempdir().unwrap(), identity());
        let [certificate, key] = write(&identity, directory.path());
        let path: PathBuf = directory.path().join("socket");
        let listen = format!("unix:{}", path.display());
        let mut server = Running::start(&[
            "serve",
            "--listen",
            &listen,
            "--listen",
            "127.0.0.1:0",
            "--unix-mode",
            "600",
            "--tls-cert",
            &certificate,
            "--tls-key",
            &key,
        ]);
        assert_eq!(server.line().unwrap(), format!("listening on {listen}"));
        let address = address(&server.line().unwrap(), "wss");
        assert!(over_unix(&path).starts_with("HTTP/1.1 200 "));
        assert!(encrypted(address, &identity).unwrap().starts_with("HTTP/1.1 200 "));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = run(&["serve", "--listen", &listen]);
        assert_eq!(second.code, Some(2));
        assert!(second.stderr.contains("a process listens there"), "{}", second.stderr);
        server.signal(Signal::TERM);
        assert_eq!(server.finish().code, Some(0));
        assert!(!path.exists());
    }

    /// A server that was killed leaves its socket behind.
    #[test]
    fn the_socket_of_a_dead_server_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listen = format!("unix:{}", path.display());
        for _ in 0..2 {
            let mut server = Running::start(&["serve", "--listen", &listen]);
            assert_eq!(server.line().unwrap(), format!("listening on {listen}"));
            assert!(over_unix(&path).starts_with("HTTP/1.1 200 "));
            server.signal(Signal::KILL);
            server.finish();
            assert!(path.exists());
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn abstract_names_are_listened_on() {
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::net::SocketAddr;

        let name = format!("wwr-cli-test-{}", std::process::id());
        let mut server = Running::start(&["serve", "--listen", &format!("unix:@{name}")]);
        assert_eq!(server.line().unwrap(), format!("listening on unix:@{name}"));
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let stream = UnixStream::connect_addr(&address).unwrap();
        assert!(answer(stream).unwrap().starts_with("HTTP/1.1 200 "));
    }

    /// A process that is killed when this is dropped.
    #[cfg(target_os = "linux")]
    struct Killed(std::process::Child);

    #[cfg(target_os = "linux")]
    impl Drop for Killed {
        fn drop(&mut self) {
            // Errors mean that it has ended already.
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// As systemd does: the sockets are descriptors from 3 on. The shell gets them as standard input and
    /// standard error. It tells the command its own process id, because it becomes the command.
    #[cfg(target_os = "linux")]
    #[test]
    fn sockets_of_systemd_are_taken_over() {
        use std::io::{BufRead as _, BufReader};
        use std::net::TcpListener;
        use std::os::fd::OwnedFd;
        use std::os::unix::net::UnixListener;
        use std::process::Stdio;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let given = tcp.local_addr().unwrap();
        let unix = UnixListener::bind(&path).unwrap();
        let script = "exec 3<&0 4<&2 </dev/null 2>/dev/null; export LISTEN_FDS=2 LISTEN_PID=$$; \
                      exec \"$0\" serve --listen systemd";
        let child = Command::new("sh")
            .env_remove("WWR_LOG")
            .args(["-c", script, env!("CARGO_BIN_EXE_wwr")])
            .stdin(OwnedFd::from(tcp))
            .stdout(Stdio::piped())
            .stderr(OwnedFd::from(unix))
            .spawn();
        let mut server = Killed(child.unwrap());
        let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert_eq!(address(&lines.next().unwrap(), "http"), given);
        assert_eq!(lines.next().unwrap(), format!("listening on unix:{}", path.display()));
        assert!(answer(TcpStream::connect(given).unwrap()).unwrap().starts_with("HTTP/1.1 200 "));
        assert!(over_unix(&path).starts_with("HTTP/1.1 200 "));
        let id = rustix::process::Pid::from_child(&server.0);
        rustix::process::kill_process(id, Signal::TERM).unwrap();
        assert_eq!(server.0.wait().unwrap().code(), Some(0));
        assert!(path.exists(), "it belongs to systemd");

        let mut alone = wwr();
        alone.env_remove("LISTEN_FDS").args(["serve", "--listen", "systemd"]);
        let ran = Running::spawn(&mut alone).finish();
        assert!(ran.code == Some(2) && ran.stderr.contains("LISTEN_FDS"), "{ran:?}");
    }
}
