//! What a server tells its operators about the cluster that it is a node of. Clients are told nothing of that.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};
use smol::net::TcpStream;
use wwr_smol::inspect::Token;

use crate::failure::Failure;
use crate::text::{Quoted, one_line};

/// The longest answer that is read.
const LONGEST: u64 = 1024 * 1024;

/// Where the inspection page of a server is, as `wwr serve --inspect` prints it.
#[derive(Clone, Debug)]
pub(crate) struct InspectUrl {
    /// Host and port.
    address: String,
    token: Token,
}

/// Why a text is no such address. Does not repeat it.
#[derive(Debug, thiserror::Error)]
#[error("write it as `wwr serve --inspect` prints it: http://HOST:PORT/#token=TOKEN")]
pub(crate) struct InvalidInspectUrl;

impl FromStr for InspectUrl {
    type Err = InvalidInspectUrl;

    fn from_str(text: &str) -> Result<Self, InvalidInspectUrl> {
        let place = text.strip_prefix("http://").and_then(|rest| rest.split_once("/#token="));
        let (address, token) = place.ok_or(InvalidInspectUrl)?;
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
        let has_port =
            address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if !has_port || !address.bytes().all(is_known) {
            return Err(InvalidInspectUrl);
        }
        let token = Token::new(token).map_err(|_| InvalidInspectUrl)?;
        Ok(Self { address: address.into(), token })
    }
}

/// What the page asks for first. It has much more.
#[derive(Deserialize)]
struct Overview {
    cluster: Option<Node>,
}

/// How the server stands as a node of a cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Node {
    name: String,
    state: String,
    /// The names of those that are alive, as far as the server tells them.
    nodes: Vec<String>,
    /// How many are alive.
    alive: usize,
    entered: u64,
    lost: u64,
    messages_sent: u64,
    messages_received: u64,
}

/// Asks a server. `None` if it is of no cluster.
pub(super) async fn ask(page: &InspectUrl) -> Result<Option<Node>, Failure> {
    let InspectUrl { address, token } = page;
    let failed = |reason: String| Failure::Inspection { address: address.clone(), reason };
    let answer = exchange(address, token).await.map_err(|error| failed(error.to_string()))?;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let length = match head.parse(&answer) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) | Err(_) => return Err(failed("it speaks no HTTP".into())),
    };
    match head.code {
        Some(200) => {}
        Some(401) => return Err(failed("its token is another one".into())),
        status => return Err(failed(format!("it answers {}", status.unwrap_or_default()))),
    }
    let overview: Overview = serde_json::from_slice(&answer[length..])
        .map_err(|_| failed("its answer is not that of an inspection page".into()))?;
    Ok(overview.cluster)
}

async fn exchange(address: &str, token: &Token) -> std::io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(address).await?;
    let head = format!(
        "GET /api/overview HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n",
        token.as_str()
    );
    socket.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    socket.take(LONGEST).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// For people, on one line.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, state, nodes, alive, .. } = self;
        write!(f, "node {}, {}", Quoted::text(name), one_line(state))?;
        if !nodes.is_empty() {
            let named: Vec<_> = nodes.iter().map(|name| Quoted::text(name).to_string()).collect();
            write!(f, "; {alive} alive: {}", named.join(" "))?;
        }
        let more = alive.saturating_sub(nodes.len());
        if more > 0 { write!(f, " and {more} more") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_server_prints_is_an_address() {
        let token = "abcdefghijklmnopqrstuv_-";
        for address in ["127.0.0.1:9200", "[::1]:80", "localhost:1"] {
            let url: InspectUrl = format!("http://{address}/#token={token}").parse().unwrap();
            assert_eq!((url.address.as_str(), url.token.as_str()), (address, token));
        }
        for wrong in [
            "127.0.0.1:9200".to_string(),
            format!("https://127.0.0.1:9200/#token={token}"),
            format!("http://127.0.0.1/#token={token}"),
            format!("http://127.0.0.1:9200/#token={token}\r\nX: y"),
            format!("http://a b:9200/#token={token}"),
            format!("http://a\r\nX:9200/#token={token}"),
            "http://127.0.0.1:9200/#token=short".into(),
        ] {
            assert!(wrong.parse::<InspectUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_other_nodes_cannot_harm_a_terminal() {
        let node = Node {
            name: "a".into(),
            state: "member\u{1b}[2J".into(),
            nodes: vec!["b\u{1b}[2J\n".into()],
            alive: 3,
            entered: 1,
            lost: 0,
            messages_sent: 0,
            messages_received: 0,
        };
        let shown = node.to_string();
        assert!(shown.starts_with("node \"a\", member"), "{shown}");
        assert!(shown.ends_with(" and 2 more") && !shown.contains(char::is_control), "{shown}");
    }
}
