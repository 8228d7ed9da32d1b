//! Servers that share nothing with this project: HTTP and WebSocket written out by hand.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use tungstenite::handshake::derive_accept_key;

use crate::support::url;

/// An HTTP status and a body.
pub(crate) type Answer = (&'static str, &'static str);

/// What a server answers.
#[derive(Clone, Debug)]
pub(crate) struct RawServer {
    /// To the method WEBWIRE.
    pub(crate) preflight: Answer,
    /// To the WebSocket handshake: a refusal, or the WebSocket and its first message, if there is
    /// one.
    pub(crate) websocket: Result<Option<Vec<u8>>, Answer>,
}

impl RawServer {
    /// Serves until the process ends, and returns the address.
    pub(crate) fn start(self) -> String {
        self.start_with(None)
    }

    /// The same. Answers the method OPTIONS with these bytes; otherwise it does so like a handshake.
    pub(crate) fn start_with(self, options: Option<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = url(listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (server, stream) = (self.clone(), stream.unwrap());
                let options = options.clone();
                // Ends with the connection, however that ends.
                thread::spawn(move || server.serve(stream, options));
            }
        });
        url
    }

    fn serve(self, mut stream: TcpStream, options: Option<String>) -> Option<()> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(char::from(read::<1>(&mut stream)?[0]));
        }
        if let Some(answer) = options.filter(|_| head.starts_with("OPTIONS ")) {
            return stream.write_all(answer.as_bytes()).ok();
        }
        let first = match (head.starts_with("WEBWIRE "), self.websocket) {
            (true, _) => return respond(&mut stream, self.preflight),
            (false, Err(refusal)) => return respond(&mut stream, refusal),
            (false, Ok(first)) => first,
        };
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
        });
        let accept = derive_accept_key(key?.as_bytes());
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        )
        .into_bytes();
        if let Some(message) = first {
            answer.extend([0x82, u8::try_from(message.len()).unwrap()]);
            answer.extend(message);
        }
        stream.write_all(&answer).ok()?;
        // Whatever comes is ignored, up to a close frame.
        loop {
            let [opcode, length] = read(&mut stream)?;
            read::<4>(&mut stream)?;
            for _ in 0..length & 0x7f {
                read::<1>(&mut stream)?;
            }
            if opcode == 0x88 {
                return stream.write_all(&[0x88, 2, 0x03, 0xe8]).ok();
            }
        }
    }
}

/// Sends an HTTP answer, and nothing more on this connection.
fn respond(stream: &mut TcpStream, (status, body): Answer) -> Option<()> {
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).ok()
}

fn read<const N: usize>(stream: &mut TcpStream) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// The first message of a server of this version: a read timeout of 30 s, a buffer of 4096 bytes.
pub(crate) fn accept_conf([major, minor]: [u8; 2], sub_protocol: &str) -> Vec<u8> {
    let mut message = vec![0x17, major, minor, 0x30, 0x75, 0, 0, 0, 0x10, 0, 0];
    message.extend(sub_protocol.as_bytes());
    message
}
