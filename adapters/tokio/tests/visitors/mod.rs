//! Clients of every version, and HTTP by hand, for servers that are mounted in an HTTP server. Examples and
//! tests share it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use wwr_tokio::Dialect;
use wwr_tokio::client::{Client, Config, Protocol};
use wwr_tokio::http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

/// Ends a test that hangs.
const SAFETY: Duration = Duration::from_secs(60);

/// The head of a handshake, without the empty line at its end.
pub(crate) const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Headers with this token.
pub(crate) fn bearer(token: &str) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    [(AUTHORIZATION, value)].into_iter().collect()
}

/// Clients of `wwr.1`, 2.0 and 1.4, each after it was greeted.
pub(crate) async fn greeted(url: &str, headers: &HeaderMap) -> Vec<Client> {
    let mut clients = Vec::new();
    for (protocol, wwr1, dialect) in [
        (Protocol::Auto, true, Dialect::Wwr1),
        (Protocol::V2_0, false, Dialect::V2_0),
        (Protocol::V1_4, false, Dialect::V1_4),
    ] {
        let mut config = Config::default();
        (config.machine.protocol, config.machine.wwr1) = (protocol, wwr1);
        config.headers = headers.clone();
        let client = Client::builder(url).unwrap().config(config).connect().await.unwrap();
        let reply = client.request("greet", "ada").await.unwrap();
        assert_eq!((&*reply.text().unwrap(), client.dialect()), ("hello ada", dialect));
        clients.push(client);
    }
    clients
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        pairs.filter(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }
}

/// Sends a request, and returns all that comes until the server closes the socket, or accepts a handshake.
pub(crate) async fn ask(address: SocketAddr, request: &str) -> Answer {
    let request = request.to_owned();
    let answer = spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SAFETY)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let mut byte = [0];
        while !(answer.starts_with(b"HTTP/1.1 101") && answer.ends_with(b"\r\n\r\n"))
            && stream.read(&mut byte).unwrap() > 0
        {
            answer.extend(byte);
        }
        String::from_utf8(answer).unwrap()
    });
    let answer = answer.await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}
