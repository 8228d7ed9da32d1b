//! Writes seeds to the corpora of the targets whose input is bytes, from the vectors.
//!
//! `cargo run --example seeds`, in this folder.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde_json::Value;

/// Longer messages are the same as shorter ones and only slow the fuzzer down.
const LONGEST: usize = 512;

/// The files of messages, each with the byte that makes the target `decode` read them in their
/// dialect.
const PARSED: [(&str, u8); 3] = [("parse-1.4", 0), ("parse-2.0", 2), ("parse-wwr.1", 3)];

/// The recorded conversations.
const RECORDED: [&str; 2] = ["transcripts-1.4", "transcripts-2.0"];

/// What the target `http` reads first: the settings of a server, each a byte, that every client can
/// connect to, and that the rest is what clients send as it is.
const ANY_SERVER: [u8; 16] = [0; 16];

/// How many messages follow a handshake.
const MESSAGES: usize = 16;

/// Requests that are answered without a WebSocket.
const REQUESTS: [&str; 7] = [
    "WEBWIRE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HEAD /other HTTP/1.0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://elsewhere\r\nUpgrade: websocket\r\n\r\n",
];

const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Sessions as they were stored and sent, and some that are invalid.
const SESSIONS: [&str; 8] = [
    r#"{"c":"2026-11-22T12:31:06.249976669Z","l":"0001-01-01T00:00:00Z","i":{"n":1,"u":"bob"}}"#,
    r#"{"c":"2018-06-13T10:20:30.5+02:00","l":"2018-06-13T10:20:30.5+02:00","i":null}"#,
    r#"{"c":"2018-06-13T08:20:30Z","l":"0001-01-01T00:00:00Z","i":{"u":"\u003cb\u003e"},"p":{"q":[1.5]}}"#,
    r#"{"k":"KEY1","c":"2018-06-13T08:20:30.123456789Z","l":"0001-01-01T00:00:00Z"}"#,
    r#"{"K":"KEY1","C":"9999-12-31T23:59:59.999999999Z","x":[],"I":{"n":-1e-7,"t":true}}"#,
    "null",
    "[]",
    r#"{"c":"2018-06-13T08:2"#,
];

/// The corpus of a target.
struct Corpus {
    folder: PathBuf,
    seeds: usize,
}

impl Corpus {
    fn of(target: &str) -> Result<Self, Box<dyn Error>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, seeds: 0 })
    }

    fn add(&mut self, name: &str, parts: &[&[u8]]) -> Result<(), Box<dyn Error>> {
        fs::write(self.folder.join(name), parts.concat())?;
        self.seeds += 1;
        Ok(())
    }

    fn done(self) {
        println!("{} seeds in {}", self.seeds, self.folder.display());
    }
}

fn rows(file: &str) -> Result<Vec<Value>, Box<dyn Error>> {
    let path = format!("../tests/vectors/{file}.jsonl");
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Messages of a file that are not too long.
fn messages(file: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let rows = rows(file)?;
    let hex = rows.iter().map(|row| row["hex"].as_str().unwrap_or_default());
    let messages = hex.map(|hex| HEXLOWER.decode(hex.as_bytes())).collect::<Result<Vec<_>, _>>()?;
    Ok(messages.into_iter().filter(|message| message.len() <= LONGEST).collect())
}

/// A binary frame of a client whose mask changes nothing.
fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match u8::try_from(message.len()) {
        Ok(length @ 0..=125) => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend((message.len() as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(message);
    frame
}

/// The session objects that went over the wire in the recorded conversations.
fn recorded_sessions() -> Result<Vec<String>, Box<dyn Error>> {
    let mut sessions = Vec::new();
    for file in RECORDED {
        for row in rows(file)? {
            collect(&row, &mut sessions);
        }
    }
    sessions.sort_unstable();
    sessions.dedup();
    Ok(sessions)
}

/// Looks for session objects in all texts of a row.
fn collect(value: &Value, sessions: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            let Ok(bytes) = HEXLOWER.decode(text.as_bytes()) else { return };
            let Some(start) = bytes.windows(5).position(|part| part == br#"{"k":"#) else { return };
            sessions.extend(String::from_utf8(bytes[start..].to_vec()));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, sessions)),
        Value::Object(members) => members.values().for_each(|value| collect(value, sessions)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut decode = Corpus::of("decode")?;
    let mut http = Corpus::of("http")?;
    for (file, dialect) in PARSED {
        let messages = messages(file)?;
        for (number, message) in messages.iter().enumerate() {
            decode.add(&format!("{file}-{number:04}"), &[&[dialect], message])?;
        }
        for (number, messages) in messages.chunks(MESSAGES).enumerate() {
            let frames = messages.iter().flat_map(|message| frame(message)).collect::<Vec<_>>();
            let name = format!("{file}-{number:04}");
            http.add(&name, &[&ANY_SERVER, HANDSHAKE.as_bytes(), &frames])?;
        }
    }
    for (number, request) in REQUESTS.iter().enumerate() {
        let request = request.as_bytes();
        http.add(&format!("request-{number}"), &[&ANY_SERVER, request])?;
        http.add(&format!("twice-{number}"), &[&ANY_SERVER, request, HANDSHAKE.as_bytes()])?;
    }
    let mut sessions = Corpus::of("sessions")?;
    let recorded = recorded_sessions()?;
    let texts = SESSIONS.into_iter().chain(recorded.iter().map(String::as_str));
    for (number, text) in texts.enumerate() {
        for form in 0..3 {
            sessions.add(&format!("{number:03}-{form}"), &[&[form], text.as_bytes()])?;
        }
    }
    [decode, http, sessions].into_iter().for_each(Corpus::done);
    Ok(())
}
