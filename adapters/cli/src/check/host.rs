//! The host that is checked: how to reach it, and what is known about it.

use core::cell::Cell;
use core::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use wwr::handshake::{Key, SubProtocol};
use wwr::wire::{Identifier, Message};
use wwr::{Content, Encoding, Name, Payload};
use wwr_smol::client::{Config, ServerUrl};
use wwr_smol::{Runtime as _, Smol};

use super::facts::{Facts, Spoken};
use super::line::{Line, compose};
use super::outcome::Trouble;
use super::wire::{Answer, Wire, within};
use crate::args::Reach;
use crate::runtime::Tasks;

/// A host, and how it is checked.
pub(super) struct Host {
    pub(super) url: ServerUrl,
    pub(super) reach: Reach,
    pub(super) tasks: Tasks,
    /// Headers of every request, in addition to what the check has.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) patience: Duration,
    /// How long one check may wait for timeouts of the host.
    pub(super) wait: Duration,
    pub(super) echo: Option<Name>,
    pub(super) login: Option<(Name, String)>,
    pub(super) stop: Option<String>,
    pub(super) facts: Facts,
    pub(super) identifiers: Cell<u64>,
}

/// The head of a request, which may be an invalid one.
#[derive(Clone, Debug)]
pub(super) struct Head {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
}

impl Head {
    /// Sets a header.
    pub(super) fn with(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let mut head = self.without(name);
        head.headers.push((name.into(), value.as_ref().into()));
        head
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(one, _)| !one.eq_ignore_ascii_case(name));
        self
    }

    pub(super) fn at(mut self, target: String) -> Self {
        self.target = target;
        self
    }

    pub(super) fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend(name.as_bytes());
            bytes.extend(b": ");
            bytes.extend(value);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"\r\n");
        bytes
    }
}

impl Host {
    /// Returns the path of the URL with another query.
    pub(super) fn target_with(&self, query: &str) -> String {
        let target = self.url.path().as_str();
        let joint = if target.contains('?') { '&' } else { '?' };
        format!("{target}{joint}{query}")
    }

    /// Returns a request without anything about WebSockets.
    pub(super) fn head(&self, method: &str) -> Head {
        let target = self.url.path().as_str().to_owned();
        let mut headers = Vec::new();
        let given =
            [("Host", Some(self.url.authority())), ("Authorization", self.url.credentials())];
        for (name, value) in given {
            // Those of the user replace them.
            let is_replaced = self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
            let value = value.filter(|_| !is_replaced);
            headers.extend(value.map(|value| (name.to_owned(), value.as_bytes().to_vec())));
        }
        headers.extend(self.headers.iter().cloned());
        Head { method: method.into(), target, headers }
    }

    /// Returns a WebSocket handshake, with its key.
    pub(super) fn handshake(&self) -> Result<(Head, Key), Trouble> {
        let mut entropy = [0; Key::ENTROPY];
        Smol::from(self.tasks.clone())
            .fill_random(&mut entropy)
            .map_err(|error| Trouble::Skip(format!("the system has no random bytes: {error}")))?;
        let key = Key::from_entropy(entropy);
        let head = self
            .head("GET")
            .with("Upgrade", "websocket")
            .with("Connection", "Upgrade")
            .with("Sec-WebSocket-Version", "13")
            .with("Sec-WebSocket-Key", key.as_str());
        Ok((head, key))
    }

    /// Opens a connection on which nothing was said yet.
    pub(super) async fn dial(&self) -> Result<Wire, Trouble> {
        let builder = self.reach.builder(&self.url, Config::default()).executor(self.tasks.clone());
        within(self.patience, "a connection", async {
            let opened = builder.open_stream().await;
            Ok(Wire::new(opened.map_err(Trouble::NotReached)?, self.patience))
        })
        .await
    }

    /// Makes a request on a connection of its own.
    pub(super) async fn request(&self, head: &Head) -> Result<Answer, Trouble> {
        let mut wire = self.dial().await?;
        wire.write(&head.to_bytes()).await?;
        wire.answer().await
    }

    /// Opens a WebSocket by this handshake. Looks at nothing but the status of the answer, which the
    /// checks of handshakes look at.
    pub(super) async fn upgrade(&self, head: &Head) -> Result<(Line, Answer), Trouble> {
        let mut wire = self.dial().await?;
        wire.write(&head.to_bytes()).await?;
        let answer = wire.answer().await?;
        match answer.status {
            101 => Ok((Line::new(wire), answer)),
            status => Err(Trouble::Refused(status)),
        }
    }

    /// Opens a WebSocket as a client that does not say what it speaks, and reads the accept-conf if
    /// there is one.
    pub(super) async fn open(&self) -> Result<Line, Trouble> {
        let (head, _) = self.handshake()?;
        let (mut line, _) = self.upgrade(&head).await?;
        if self.facts.accept_conf.is_some() {
            self.skip_accept_conf(&mut line).await?;
        }
        Ok(line)
    }

    /// Opens a WebSocket as a client of `wwr.1` that reads everything.
    pub(super) async fn open_wwr1(&self) -> Result<Line, Trouble> {
        if self.facts.wwr1.is_none() {
            return Trouble::skip("the host does not speak wwr.1");
        }
        let (head, _) = self.handshake()?;
        let (mut line, _) =
            self.upgrade(&head.with(SubProtocol::HEADER, SubProtocol::Wwr1.as_str())).await?;
        line.state_settings().await?;
        self.skip_accept_conf(&mut line).await?;
        Ok(line)
    }

    async fn skip_accept_conf(&self, line: &mut Line) -> Result<(), Trouble> {
        match line.first(self.patience).await? {
            Some(message) if message.first() != Some(&0x17) => line.unread(message),
            _ => {}
        }
        Ok(())
    }

    /// Returns an identifier that was not used yet.
    pub(super) fn next_id(&self) -> Identifier {
        let number = self.identifiers.get() + 1;
        self.identifiers.set(number);
        Identifier::from_counter(number)
    }

    /// Returns what every host answers: the echo, or a close-session if there is no session.
    pub(super) fn question(&self, id: Identifier) -> Result<Bytes, Trouble> {
        match &self.echo {
            Some(name) => request(id, name.as_bytes(), &Payload::binary(&b"still there"[..])),
            None => compose(&Message::CloseSession { id }),
        }
    }

    /// Returns the name of the echo.
    pub(super) fn echo(&self) -> Result<&Name, Trouble> {
        let missing =
            || Trouble::Skip("needs a request that replies with its payload: --echo".into());
        self.echo.as_ref().ok_or_else(missing)
    }

    /// Returns a request to the echo.
    pub(super) fn echoed(&self, id: Identifier, payload: &Payload) -> Result<Bytes, Trouble> {
        request(id, self.echo()?.as_bytes(), payload)
    }

    /// Returns a binary request to the echo that has this length.
    pub(super) fn echo_of_length(&self, id: Identifier, length: usize) -> Result<Bytes, Trouble> {
        let empty = 1 + 8 + 1 + self.echo()?.as_bytes().len();
        match length.checked_sub(empty) {
            Some(payload) => self.echoed(id, &Payload::binary(vec![b'x'; payload])),
            None => Trouble::skip(format!("a message of {length} bytes is shorter than an echo")),
        }
    }

    /// Returns whether a request of this length can be sent to the host.
    pub(super) fn reads(&self, length: usize) -> bool {
        let buffer = self.facts.accept_conf.as_ref().map(|conf| conf.message_buffer_size);
        buffer.is_none_or(|buffer| u32::try_from(length).is_ok_and(|length| length <= buffer))
    }

    pub(super) fn spoken(&self) -> Spoken {
        self.facts.spoken()
    }
}

/// Composes a request.
pub(super) fn request(id: Identifier, name: &[u8], payload: &Payload) -> Result<Bytes, Trouble> {
    let invalid = |error| Trouble::Skip(format!("the name cannot be sent: {error}"));
    let content = Content::new(name, payload).map_err(invalid)?;
    compose(&Message::Request { id, content })
}

/// Returns a payload of an encoding, of this many characters.
pub(super) fn payload(encoding: Encoding, characters: usize) -> Payload {
    match encoding {
        Encoding::Binary => {
            Payload::binary((0..characters).map(|byte| byte as u8).collect::<Vec<_>>())
        }
        Encoding::Utf8 => Payload::utf8("\u{e9}".repeat(characters)),
        Encoding::Utf16 => Payload::utf16(&"\u{1d11e}".repeat(characters)),
    }
}

/// Returns a key as no host has made it, but in the form of most.
pub(super) fn unknown_key() -> String {
    BASE64.encode(&[0x5a; 48])
}
