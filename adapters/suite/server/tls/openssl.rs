//! Another implementation of TLS: the client of OpenSSL.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::adapter::server::Tls;
use wwr::server::Protocol;

use super::{Identity, with};
use crate::suite::support::openssl;
use crate::suite::support::peer::Peer;

/// `openssl s_client`. What is written to it is encrypted and sent.
struct SClient {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl SClient {
    fn start(address: std::net::SocketAddr, options: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost"])
            .args(["-verify_hostname", "localhost", "-connect", &address.to_string()])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output }
    }
}

impl Read for SClient {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.output.read(buffer)
    }
}

impl Write for SClient {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.input.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.input.flush()
    }
}

impl Drop for SClient {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_client_of_openssl_is_served() {
    if !openssl::is_installed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = Identity::new().write(directory.path());
    let tls = Tls::from_pem_files(&certificate, &key).unwrap();
    let fixture = with(tls, |config| config.connection.protocol = Protocol::V1_4);
    let session = directory.path().join("session");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (certificate, session) = (text(&certificate), text(&session));
    for version in ["-tls1_2", "-tls1_3"] {
        for (resumes, option) in [(false, "-sess_out"), (true, "-sess_in")] {
            let options = [version, "-CAfile", &certificate, option, &session];
            let mut peer = Peer::on(SClient::start(fixture.address(), &options));
            peer.open("/", "");
            peer.is_served();
            assert_eq!(peer.ask(7, "big", "100000").len(), 100_009, "{version}");
            let connection = fixture.connected();
            let tls = connection.info().tls.clone().unwrap();
            assert_eq!((tls.resumed, tls.server_name.as_deref()), (resumes, Some("localhost")));
            // The session is in the file once the connection has ended properly.
            connection.close();
            peer.closed_with(1000);
            fixture.wait_for_disconnected();
        }
        std::fs::remove_file(&session).unwrap();
    }
}
