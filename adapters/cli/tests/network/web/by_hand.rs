//! Servers that share nothing with this project, and behave as those of the reference: protocol §4 and §5.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use serde_json::json;
use tungstenite::handshake::derive_accept_key;

use super::Page;
use crate::support::url;

/// A version of the reference, as its servers differ.
#[derive(Clone, Copy, Debug)]
struct Version {
    name: &'static str,
    /// The answer to `WEBWIRE`.
    metadata: (&'static str, &'static str),
    /// What is sent first.
    first: &'static [u8],
    /// Whether the end of a session is told before the reply to the request to close it.
    tells_own_close: bool,
    answers_pings: bool,
}

const VERSIONS: [Version; 3] = [
    Version {
        name: "1.4",
        metadata: ("200 OK", "{\"protocol-version\":\"1.4\"}\n"),
        first: b"",
        tells_own_close: true,
        answers_pings: true,
    },
    Version {
        name: "1.5",
        metadata: ("200 OK", "{\"protocol-version\":\"1.5\",\"read-timeout\":60}\n"),
        first: b"",
        tells_own_close: true,
        answers_pings: false,
    },
    Version {
        name: "2.0",
        metadata: ("400 Bad Request", "Bad Request\nInternal Server Error\n"),
        first: b"\x17\x02\0\x60\xea\0\0\0\x20\0\0",
        tells_own_close: false,
        answers_pings: false,
    },
];

const KEY: &str = "4aM8P6cHiSQ4hp1wpGbZR2BVYXO_FOTcuNZ2wD8s3ipcPHEdwqkAbLWT_NVVpLLd";
const SESSION: &str = r#"{"k":"4aM8P6cHiSQ4hp1wpGbZR2BVYXO_FOTcuNZ2wD8s3ipcPHEdwqkAbLWT_NVVpLLd","c":"2018-06-13T08:20:30.123456789+02:00","l":"2018-06-13T08:20:30Z","i":{"user":"Ada 🦊"}}"#;

/// Serves until the process ends.
fn start(version: Version) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = url(listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Ends with the connection, however that ends.
            thread::spawn(move || Connection { stream, version }.serve());
        }
    });
    url
}

struct Connection {
    stream: TcpStream,
    version: Version,
}

impl Connection {
    fn serve(mut self) -> Option<()> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(self.read(1)?[0]));
        }
        if head.starts_with("OPTIONS ") {
            return self.http("200 OK", "Access-Control-Allow-Methods: WEBWIRE\r\n", "");
        }
        if head.starts_with("WEBWIRE ") {
            let (status, body) = self.version.metadata;
            return self.http(status, "", body);
        }
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
        })?;
        // Whatever sub-protocol is offered, none is selected.
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        );
        self.stream.write_all(answer.as_bytes()).ok()?;
        if !self.version.first.is_empty() {
            self.send(self.version.first)?;
        }
        loop {
            let (opcode, message) = self.frame()?;
            match opcode {
                2 => self.message(&message)?,
                9 if self.version.answers_pings => self.write(0x8a, &message)?,
                9 | 10 => {}
                // Repeats the code, and ends.
                8 => return self.write(0x88, &message),
                // Text ends the connection, without a close frame.
                _ => return None,
            }
        }
    }

    fn message(&mut self, message: &[u8]) -> Option<()> {
        let (kind, rest) = message.split_first()?;
        let reply = |kind: u8, id: &[u8], payload: &[u8]| [&[kind], id, payload].concat();
        match kind {
            // Requests: each encoding is replied to in its own.
            127..=129 => {
                let (id, rest) = rest.split_at_checked(8)?;
                let (length, rest) = rest.split_first()?;
                let (name, payload) = rest.split_at_checked(usize::from(*length))?;
                let pad = usize::from(*kind == 129 && length % 2 == 1);
                let payload = payload.get(pad..)?;
                match name {
                    b"echo" if *kind == 129 => {
                        self.send(&reply(193, id, &[&[0], payload].concat()))
                    }
                    b"echo" => self.send(&reply(kind + 64, id, payload)),
                    b"error" => self.send(&reply(0, id, b"\x04CODEthe message")),
                    b"fail" => self.send(&reply(2, id, b"")),
                    b"login" => {
                        self.send(&[b"\x15", SESSION.as_bytes()].concat())?;
                        self.send(&reply(191, id, b""))
                    }
                    b"signal" => {
                        // UTF-16 with an odd name has a byte between.
                        self.send(b"\x41\x03odd\0h\0\xef\0")?;
                        self.send(&reply(191, id, b""))
                    }
                    // Ends the TCP connection without a close frame.
                    b"hang up" => None,
                    _ => self.send(&reply(0, id, b"\x07UNKNOWN")),
                }
            }
            31 => {
                if self.version.tells_own_close {
                    self.send(b"\x16")?;
                }
                self.send(&reply(191, rest, b""))
            }
            32 => {
                let (id, key) = rest.split_at_checked(8)?;
                let (kind, payload) = if key == KEY.as_bytes() { (192, SESSION) } else { (3, "") };
                self.send(&reply(kind, id, payload.as_bytes()))
            }
            // Signals, heartbeats, and in 1.x what is not known.
            _ => Some(()),
        }
    }

    fn http(&mut self, status: &str, headers: &str, body: &str) -> Option<()> {
        let answer = format!(
            "HTTP/1.1 {status}\r\nAccess-Control-Allow-Origin: *\r\n{headers}Content-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(answer.as_bytes()).ok()
    }

    fn send(&mut self, message: &[u8]) -> Option<()> {
        self.write(0x82, message)
    }

    fn write(&mut self, first: u8, payload: &[u8]) -> Option<()> {
        let mut frame = vec![first];
        match u8::try_from(payload.len()) {
            Ok(length @ ..=125) => frame.push(length),
            _ => {
                frame.push(126);
                frame.extend(u16::try_from(payload.len()).ok()?.to_be_bytes());
            }
        }
        frame.extend(payload);
        self.stream.write_all(&frame).ok()
    }

    /// The next frame. Those of browsers are whole if they are short.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.read(2)?;
        let length = match head[1] & 0x7f {
            126 => {
                let length = self.read(2)?;
                usize::from(u16::from_be_bytes([length[0], length[1]]))
            }
            127 => return None,
            length => usize::from(length),
        };
        let mask = self.read(4)?;
        let payload = self.read(length)?;
        let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        Some((head[0] & 0x0f, payload.collect()))
    }

    fn read(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
}

#[test]
fn servers_of_the_reference_are_used_as_they_are() {
    let Some(page) = Page::open() else { return };
    for version in VERSIONS {
        let url = start(version);
        let told = page.run(&format!(
            "window.client = await wwr.connect({url:?});
             window.told = [];
             client.addEventListener('session', ({{ how }}) => told.push(how));
             client.addEventListener('signal', ({{ name, payload }}) => told.push(`${{name}} ${{payload}}`));
             client.addEventListener('disconnect', ({{ reason }}) => told.push(reason));
             const text = 'a \u{e9} \u{1f98a}';
             const bytes = new Uint8Array(200).fill(7);
             return [
               client.protocol,
               await client.request('echo', text) === text,
               await client.request('echo', text, {{ encoding: 'utf-16' }}) === text,
               (await client.request('echo', bytes)).join() === bytes.join(),
               await client.request('error').catch(({{ name, code, message }}) => `${{name}} ${{code}} ${{message}}`),
               await client.request('fail').catch(({{ code }}) => code),
               await client.restoreSession('unknown').catch(({{ code }}) => code),
             ];",
        ));
        let expected = json!([
            version.name,
            true,
            true,
            true,
            "RemoteError CODE the message",
            "internal-error",
            "session-not-found",
        ]);
        assert_eq!(told, expected);
        // A session survives a loss, which is told to the request that was under way.
        let told = page.run(
            "await client.request('signal');
             await client.request('login');
             const { key, created, info } = client.session;
             const lost = await client.request('hang up').catch(({ code }) => code);
             await client.request('echo', 'again');
             const same = client.session.key === key;
             await client.closeSession();
             return [lost, same, key, created.toISOString(), info, client.session, told];",
        );
        let events = ["odd h\u{ef}", "created", "connection-lost", "restored", "closed"];
        let expected = json!([
            "connection-lost",
            true,
            KEY,
            "2018-06-13T06:20:30.123Z",
            { "user": "Ada \u{1f98a}" },
            null,
            events,
        ]);
        assert_eq!(told, expected, "{}", version.name);
        page.run("client.close()");
    }
}
