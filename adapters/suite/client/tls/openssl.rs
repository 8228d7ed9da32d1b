//! OpenSSL as the server.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use wwr::client::Protocol;

use super::front::{Authority, Certificate};
use super::{once, trusting};
use crate::suite::client::raw::default_conf;
use crate::suite::client::{builder_at, connecting, wait};
use crate::suite::support::openssl;

/// Reads until the text contains something, and returns what follows, up to the end of its line.
fn read_behind(output: &mut impl Read, mark: &str) -> String {
    let mut read = Vec::new();
    loop {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap_or_else(|error| {
            panic!("{error}: no {mark:?} in {:?}", String::from_utf8_lossy(&read))
        });
        read.push(byte[0]);
        let text = String::from_utf8_lossy(&read);
        if byte[0] == b'\n'
            && let Some((_, rest)) = text.split_once(mark)
        {
            return rest.trim().to_owned();
        }
    }
}

#[test]
fn a_server_of_openssl_is_spoken_to() {
    if !openssl::is_installed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let issued = authority.issue(Certificate::default());
    let (certificate, key) = (directory.path().join("certificate"), directory.path().join("key"));
    fs::write(&certificate, issued.pem()).unwrap();
    fs::write(&key, issued.key()).unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let mut server = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1", version, "-cert"])
            .arg(&certificate)
            .arg("-key")
            .arg(&key)
            .args(["-alpn", "http/1.1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut input, mut output) = (server.stdin.take().unwrap(), server.stdout.take().unwrap());
        let address = read_behind(&mut output, "ACCEPT ");
        let port = address.rsplit(':').next().unwrap();

        let mut config = once(trusting(&authority));
        config.machine.protocol = Protocol::V2_0;
        let builder = builder_at(&format!("wss://localhost:{port}/")).unwrap();
        let client = builder.config(config).build().unwrap();
        let connected = connecting(&client);
        let accept = derive_accept_key(read_behind(&mut output, "Sec-Websocket-Key: ").as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        let conf = default_conf();
        let frame = [&[0x82, conf.len() as u8], &conf[..]].concat();
        input.write_all(&[answer.as_bytes(), &frame].concat()).unwrap();
        input.flush().unwrap();
        assert_eq!(wait(connected), Ok(()), "{version}");
        drop(client);
        // It sees the client go, and ends.
        assert!(server.wait().unwrap().success());
    }
}
