//! One WebSocket to a host: messages, and frames of any kind.

use core::time::Duration;
use std::io::Cursor;

use bytes::Bytes;
use smol::future::poll_once;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use wwr::Dialect;
use wwr::wire::{ClientSettings, Encoder, Identifier, Kind, Message, Sender};

use super::host::Host;
use super::outcome::{End, Trouble};
use super::wire::{Wire, within};

/// First bytes of frames.
pub(super) const TEXT: u8 = 0x81;
pub(super) const BINARY: u8 = 0x82;
pub(super) const CLOSE: u8 = 0x88;
pub(super) const PING: u8 = 0x89;
pub(super) const PONG: u8 = 0x8a;

/// The bit of the last frame of a message.
pub(super) const FIN: u8 = 0x80;

/// A mask hides nothing here, and no proxy is to be protected. It only has to be there.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The longest message of a host that is read, in bytes.
const MOST: usize = 64 * 1024 * 1024;

/// How many messages may come in place of the one that is waited for.
const MOST_BEFORE: usize = 10_000;

/// An open WebSocket.
pub(super) struct Line {
    wire: Wire,
    /// What came of a message that has more frames, and whether it is text.
    partial: Option<(bool, Vec<u8>)>,
    /// A message that was read too early.
    unread: Option<Bytes>,
    /// The payloads of pongs that came.
    pub(super) pongs: Vec<Vec<u8>>,
    /// How many messages of type 23 came.
    pub(super) accept_confs: usize,
}

/// What a host sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Message(Bytes),
    Text(Bytes),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

/// What came of something that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// These messages; then the connection still served its client.
    Lives(Vec<Bytes>),
    Ended(End),
}

/// Returns a frame as clients send it.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(first, payload.len() as u64);
    frame.extend(masked(payload));
    frame
}

/// Returns the payload of a frame as it is sent.
pub(super) fn masked(payload: &[u8]) -> Vec<u8> {
    payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

/// Returns the head of a frame with a payload of this length, whether it follows or not.
pub(super) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..126), _) => header.push(0x80 | length),
        (_, Ok(length)) => {
            header.push(0x80 | 126);
            header.extend(length.to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(length.to_be_bytes());
        }
    }
    header.extend(MASK);
    header
}

/// Composes a message that the protocol allows.
pub(super) fn compose(message: &Message) -> Result<Bytes, Trouble> {
    let composed = Encoder::default().encode(Dialect::Wwr1, message);
    composed.map_err(|error| Trouble::Skip(format!("such a message cannot be composed: {error}")))
}

/// Returns whether a message answers what has this identifier, whatever it says.
pub(super) fn answers(message: &[u8], id: Identifier) -> bool {
    let is_reply = matches!(message.first(), Some(0..=6 | 0xbf..=0xc1));
    is_reply && message.get(1..9) == Some(id.as_bytes())
}

/// Describes messages by their first bytes.
pub(super) fn shown(messages: &[Bytes]) -> String {
    let named = |message: &Bytes| {
        let start = message.get(..message.len().min(12)).unwrap_or_default();
        let hex: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
        let rest = if message.len() > start.len() { "..." } else { "" };
        format!("{hex}{rest}")
    };
    match messages {
        [] => "nothing".into(),
        [one] => named(one),
        [first, second] => format!("{}, then {}", named(first), named(second)),
        [first, .., last] => {
            format!("{} messages, {} to {}", messages.len(), named(first), named(last))
        }
    }
}

impl Line {
    pub(super) const fn new(wire: Wire) -> Self {
        Self { wire, partial: None, unread: None, pongs: Vec::new(), accept_confs: 0 }
    }

    /// Sends a message, which may be one that the protocol does not allow.
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Trouble> {
        self.wire.write(&frame(BINARY, message)).await
    }

    /// Sends several at once.
    pub(super) async fn send_all<M: AsRef<[u8]>>(&mut self, messages: &[M]) -> Result<(), Trouble> {
        let frames = messages.iter().map(|message| frame(BINARY, message.as_ref()));
        let frames: Vec<u8> = frames.flatten().collect();
        self.wire.write(&frames).await
    }

    /// Sends bytes, of frames or not.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.wire.write(bytes).await
    }

    /// States the settings of a client of `wwr.1` that reads everything and answers no questions.
    pub(super) async fn state_settings(&mut self) -> Result<(), Trouble> {
        let settings = ClientSettings::new(u32::MAX);
        let message = compose(&Message::ClientSettings(settings))?;
        self.send(&message).await
    }

    /// Returns what comes next. Waits as long as the host may take.
    pub(super) async fn next(&mut self) -> Result<Incoming, Trouble> {
        let patience = self.wire.patience;
        within(patience, "the next message", self.receive()).await
    }

    /// Returns what comes next. Waits as long as it takes. If it is dropped, nothing is lost.
    pub(super) async fn receive(&mut self) -> Result<Incoming, Trouble> {
        if let Some(message) = self.unread.take() {
            return Ok(Incoming::Message(message));
        }
        loop {
            match self.parse()? {
                Some(incoming) => return Ok(incoming),
                None => self.wire.fill().await?,
            }
        }
    }

    /// Returns what has come as a whole. `None`: more bytes are needed.
    fn parse(&mut self) -> Result<Option<Incoming>, Trouble> {
        loop {
            let mut cursor = Cursor::new(&self.wire.read);
            let unreadable =
                |why: String| Trouble::Unreadable(format!("a frame of the host {why}"));
            let parsed = FrameHeader::parse(&mut cursor);
            let parsed = parsed.map_err(|error| unreadable(format!("is invalid: {error}")))?;
            let Some((header, length)) = parsed else { return Ok(None) };
            let start = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if header.mask.is_some() || header.rsv1 || header.rsv2 || header.rsv3 {
                return Err(unreadable("is masked, or has reserved bits".into()));
            }
            if length > MOST {
                return Err(unreadable(format!("has {length} bytes")));
            }
            let Some(payload) = self.wire.read.get(start..start.saturating_add(length)) else {
                return Ok(None);
            };
            let payload = payload.to_vec();
            self.wire.read.drain(..start + length);
            let (is_text, whole) = match (header.opcode, self.partial.take()) {
                (OpCode::Control(kind), partial) => {
                    self.partial = partial;
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    return Ok(Some(match kind {
                        Control::Ping => Incoming::Ping(payload),
                        Control::Pong => Incoming::Pong(payload),
                        Control::Close => Incoming::Close(code),
                        Control::Reserved(_) => {
                            return Err(unreadable("has a reserved type".into()));
                        }
                    }));
                }
                (OpCode::Data(Data::Text), None) => (true, payload),
                (OpCode::Data(Data::Binary), None) => (false, payload),
                (OpCode::Data(Data::Continue), Some((is_text, mut before))) => {
                    before.extend(payload);
                    (is_text, before)
                }
                _ => return Err(unreadable("is out of order".into())),
            };
            if header.is_final {
                let incoming = if is_text { Incoming::Text } else { Incoming::Message };
                return Ok(Some(incoming(whole.into())));
            }
            if whole.len() > MOST {
                return Err(unreadable("is one of too many of a message".into()));
            }
            self.partial = Some((is_text, whole));
        }
    }

    /// Returns the next message that a client has to do something about. Answers pings.
    pub(super) async fn message(&mut self) -> Result<Bytes, Trouble> {
        for _ in 0..MOST_BEFORE {
            match self.next().await? {
                Incoming::Message(message) => {
                    match message.first().copied().and_then(Kind::from_byte) {
                        Some(Kind::AcceptConf) => self.accept_confs += 1,
                        // What the application has to say at any time.
                        Some(kind) if kind.sender() == Sender::Both => {}
                        Some(
                            Kind::QuestionBinary
                            | Kind::QuestionUtf8
                            | Kind::QuestionUtf16
                            | Kind::QuestionCancelled,
                        ) => {}
                        Some(_) | None => return Ok(message),
                    }
                }
                Incoming::Text(_) => {
                    return Err(Trouble::Unreadable("the host sent a text message".into()));
                }
                Incoming::Ping(payload) => self.write(&frame(PONG, &payload)).await?,
                Incoming::Pong(payload) => self.pongs.push(payload),
                Incoming::Close(code) => return Err(Trouble::Ended(End::Closed(code))),
            }
        }
        Err(Trouble::Unreadable("the host sends without end".into()))
    }

    /// Returns the message that a connection begins with, whatever it is. `None`: no message came in
    /// this time.
    pub(super) async fn first(&mut self, time: Duration) -> Result<Option<Bytes>, Trouble> {
        let first = within(time, "the first message", async {
            loop {
                match self.receive().await? {
                    Incoming::Message(message) | Incoming::Text(message) => return Ok(message),
                    Incoming::Ping(payload) => self.write(&frame(PONG, &payload)).await?,
                    Incoming::Pong(_) => {}
                    Incoming::Close(code) => return Err(Trouble::Ended(End::Closed(code))),
                }
            }
        });
        match first.await {
            Ok(message) => Ok(Some(message)),
            Err(Trouble::Late { .. }) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    /// Takes a message back, so that it is the next one.
    pub(super) fn unread(&mut self, message: Bytes) {
        self.unread = Some(message);
    }

    /// Asks something that has an answer, and returns what came before that answer. In this way it
    /// turns out that nothing came, without waiting for it.
    pub(super) async fn settle(&mut self, host: &Host) -> Result<Vec<Bytes>, Trouble> {
        let id = host.next_id();
        self.send(&host.question(id)?).await?;
        let mut before = Vec::new();
        loop {
            let message = self.message().await?;
            if answers(&message, id) {
                return Ok(before);
            }
            if before.len() >= MOST_BEFORE {
                return Err(Trouble::Unreadable("the host sends without end".into()));
            }
            before.push(message);
        }
    }

    /// Returns what comes of what was just sent.
    pub(super) async fn reaction(&mut self, host: &Host) -> Result<Reaction, Trouble> {
        match self.settle(host).await {
            Ok(before) => Ok(Reaction::Lives(before)),
            Err(Trouble::Ended(end)) => Ok(Reaction::Ended(end)),
            Err(trouble) => Err(trouble),
        }
    }

    /// Sends a request and returns its reply, with what came before.
    pub(super) async fn ask(
        &mut self,
        request: &[u8],
        id: Identifier,
    ) -> Result<(Vec<Bytes>, Bytes), Trouble> {
        self.send(request).await?;
        self.reply(id).await
    }

    /// Returns the reply with this identifier, with what came before.
    pub(super) async fn reply(&mut self, id: Identifier) -> Result<(Vec<Bytes>, Bytes), Trouble> {
        let mut before = Vec::new();
        loop {
            let message = self.message().await?;
            if answers(&message, id) {
                return Ok((before, message));
            }
            if before.len() >= MOST_BEFORE {
                return Err(Trouble::Unreadable("the host sends without end".into()));
            }
            before.push(message);
        }
    }

    /// Returns how the connection ends, if it has ended already.
    pub(super) async fn has_ended(&mut self) -> Result<Option<End>, Trouble> {
        match poll_once(self.receive()).await {
            None | Some(Ok(Incoming::Ping(_) | Incoming::Pong(_))) => Ok(None),
            Some(Ok(Incoming::Close(code))) => Ok(Some(End::Closed(code))),
            Some(Ok(Incoming::Message(message) | Incoming::Text(message))) => {
                self.unread(message);
                Ok(None)
            }
            Some(Err(Trouble::Ended(end))) => Ok(Some(end)),
            Some(Err(trouble)) => Err(trouble),
        }
    }

    /// Waits for the end of the connection. What comes before it is returned with it.
    pub(super) async fn end(&mut self) -> Result<(Vec<Bytes>, End), Trouble> {
        let mut before = Vec::new();
        while before.len() < MOST_BEFORE {
            match self.message().await {
                Ok(message) => before.push(message),
                Err(Trouble::Ended(end)) => return Ok((before, end)),
                Err(Trouble::Late { within, .. }) => {
                    return Err(Trouble::Late { what: "the end of the connection", within });
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Err(Trouble::Unreadable("the host sends without end".into()))
    }

    /// Waits for the end of the TCP connection behind a close frame.
    pub(super) async fn hang_up(&mut self) -> Result<(), Trouble> {
        self.wire.end().await
    }
}
