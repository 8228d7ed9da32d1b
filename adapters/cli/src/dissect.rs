//! A message for people: each part with its offset.

use core::fmt;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use wwr::wire::{DecodeError, Identifier, Kind, Malformation, Message};
use wwr::{Content, Encoding, Payload};

use crate::text::{Count, Quoted};

const HEADING: Style = Style::new().bold();
const PLACE: Style = AnsiColor::Cyan.on_default();
const DUMP: Style = Style::new().dimmed();
const WRONG: Style = AnsiColor::Red.on_default();

/// Bytes a line of a dump shows.
const DUMP_WIDTH: usize = 16;
/// Bytes a dump shows before it stops.
const DUMP_LIMIT: usize = 16 * DUMP_WIDTH;

/// Shows the message that `frame` was decoded to, or the error.
pub(crate) fn dissect(
    out: &mut impl Write,
    number: u64,
    frame: &[u8],
    decoded: &Result<Message, DecodeError>,
) -> io::Result<()> {
    let title = match decoded {
        Ok(message) => message.kind().to_string(),
        Err(DecodeError::Malformed { kind, .. }) => format!("malformed {kind}"),
        Err(DecodeError::UnknownKind(_)) => "unknown type".to_owned(),
        Err(DecodeError::Empty) => "no message".to_owned(),
    };
    writeln!(out, "{HEADING}message {number}: {title}, {}{HEADING:#}", Count(frame.len()))?;
    let mut parts = Parts { out, frame, at: 0 };
    if let Some(byte) = frame.first() {
        parts.part(1, "type", format_args!("{byte} ({byte:02x})"))?;
    }
    match decoded {
        Ok(message) => parts.message(message)?,
        Err(error) => parts.error(error)?,
    }
    writeln!(out)
}

/// The parts of one message, shown from its first byte to its last.
struct Parts<'a, W> {
    out: &'a mut W,
    frame: &'a [u8],
    /// Where the next part starts.
    at: usize,
}

impl<W: Write> Parts<'_, W> {
    fn message(&mut self, message: &Message) -> io::Result<()> {
        if let Some(id) = message.identifier() {
            self.identifier(id)?;
        }
        match message {
            Message::Signal(content)
            | Message::Request { content, .. }
            | Message::Question { content, .. }
            | Message::HistorySignal { content, .. }
            | Message::IdempotentRequest { content, .. } => self.content(content),
            Message::Reply { payload, .. } | Message::Answer { payload, .. } => {
                self.payload("payload", payload)
            }
            Message::ErrorReply { error, .. } | Message::AnswerError { error, .. } => {
                self.named("code", error.code_bytes())?;
                self.text("message", error.message_bytes())
            }
            Message::SessionCreated { object } => self.text("session", object),
            Message::RestoreSession { key, .. } => self.text("key", key),
            Message::AcceptConf(conf) => {
                self.part(1, "major", format_args!("{}", conf.major))?;
                self.part(1, "minor", format_args!("{}", conf.minor))?;
                self.part(4, "read timeout", format_args!("{:?}", conf.read_timeout()))?;
                let size = Count(conf.message_buffer_size as usize);
                self.part(4, "buffer size", format_args!("{size}"))?;
                self.text("sub-protocol", conf.sub_protocol.as_deref().unwrap_or_default())
            }
            Message::ClientSettings(settings) => {
                let size = Count(settings.max_message_size as usize);
                self.part(4, "longest", format_args!("{size}"))?;
                if self.left() >= 2 {
                    self.part(2, "questions", format_args!("{}", settings.max_questions))?;
                }
                if self.left() >= 1 {
                    let resumes = if settings.resumes_signals { "resumes signals" } else { "none" };
                    self.part(1, "abilities", format_args!("{resumes}"))?;
                }
                if settings.instance.is_some() {
                    self.part(16, "instance", format_args!("of a client that repeats requests"))?;
                }
                self.rest("ignored")
            }
            Message::AnswerRefused { refusal, .. } => {
                self.part(1, "reason", format_args!("{}", refusal))?;
                self.rest("ignored")
            }
            Message::HistoryMark(mark) => {
                self.part(1, "state", format_args!("{:?}", mark.state))?;
                self.part(8, "incarnation", format_args!("{:016x}", mark.incarnation))?;
                self.part(8, "offset", format_args!("{}", mark.offset))?;
                self.rest("ignored")
            }
            Message::KeptOutcomes(kept) => {
                let window = std::time::Duration::from_millis(kept.window_ms.into());
                self.part(8, "scope", format_args!("{:016x}", kept.scope))?;
                self.part(4, "window", format_args!("{window:?}"))?;
                self.part(4, "outcomes", format_args!("{}", kept.outcomes))?;
                self.rest("ignored")
            }
            Message::ResumeSession { resume, .. } => {
                self.part(8, "incarnation", format_args!("{:016x}", resume.incarnation()))?;
                self.part(8, "offset", format_args!("{}", resume.offset()))?;
                self.text("key", &resume.key())
            }
            Message::SpecialReply { .. } => self.rest("ignored"),
            Message::SessionClosed
            | Message::CloseSession { .. }
            | Message::QuestionCancelled { .. }
            | Message::Heartbeat => Ok(()),
        }
    }

    fn error(&mut self, error: &DecodeError) -> io::Result<()> {
        let (wrong_at, why) = match error {
            DecodeError::Empty | DecodeError::UnknownKind(_) => (0, error.to_string()),
            DecodeError::Malformed { identifier, kind, reason } => {
                if let Some(id) = identifier {
                    self.identifier(*id)?;
                }
                (wrong_at(*kind, *reason), reason.to_string())
            }
        };
        self.rest("not read")?;
        let offsets = Offsets { first: wrong_at, last: wrong_at, digits: self.digits() };
        writeln!(self.out, "  {WRONG}{offsets:<11}wrong         {why}{WRONG:#}")
    }

    fn identifier(&mut self, id: Identifier) -> io::Result<()> {
        self.part(8, "identifier", format_args!("{id}"))
    }

    /// Shows a length byte and the text of that length.
    fn named(&mut self, label: &str, name: &[u8]) -> io::Result<()> {
        self.part(1, &format!("{label} length"), format_args!("{}", name.len()))?;
        self.part(name.len(), label, format_args!("{}", Quoted::bytes(name)))
    }

    fn content(&mut self, content: &Content) -> io::Result<()> {
        self.named("name", content.name())?;
        self.payload("payload", &content.clone().into_payload())
    }

    /// Shows the payload, which reaches to the end, and the padding byte before it if there is one.
    fn payload(&mut self, label: &str, payload: &Payload) -> io::Result<()> {
        if self.left() > payload.len() {
            let byte = self.frame.get(self.at).copied().unwrap_or_default();
            self.part(1, "padding", format_args!("{byte:02x}"))?;
        }
        match (payload.encoding(), payload.text()) {
            (Encoding::Binary, _) => self.rest(label),
            (Encoding::Utf8 | Encoding::Utf16, Ok(text)) => self.quoted(label, &text),
            (Encoding::Utf8 | Encoding::Utf16, Err(_)) => self.not_text(label),
        }
    }

    /// Shows the rest, which is or should be UTF-8.
    fn text(&mut self, label: &str, text: &[u8]) -> io::Result<()> {
        match core::str::from_utf8(text) {
            Ok(text) => self.quoted(label, text),
            Err(_) => self.not_text(label),
        }
    }

    fn quoted(&mut self, label: &str, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return self.rest(label);
        }
        self.part(self.left(), label, format_args!("{} {}", Count(self.left()), Quoted::text(text)))
    }

    fn not_text(&mut self, label: &str) -> io::Result<()> {
        self.dumped(label, format_args!("{}, not valid UTF-8", Count(self.left())))
    }

    /// Shows the rest as bytes.
    fn rest(&mut self, label: &str) -> io::Result<()> {
        match self.left() {
            0 if matches!(label, "ignored" | "not read") => Ok(()),
            0 => self.part(0, label, format_args!("none")),
            left => self.dumped(label, format_args!("{}", Count(left))),
        }
    }

    fn dumped(&mut self, label: &str, value: fmt::Arguments<'_>) -> io::Result<()> {
        let (start, digits) = (self.at, self.digits());
        self.part(self.left(), label, value)?;
        let bytes = self.frame.get(start..).unwrap_or_default();
        let shown = bytes.get(..DUMP_LIMIT).unwrap_or(bytes);
        for (line, chunk) in shown.chunks(DUMP_WIDTH).enumerate() {
            let offset = start + line * DUMP_WIDTH;
            write!(self.out, "      {DUMP}{offset:0digits$x}  ")?;
            for byte in chunk {
                write!(self.out, "{byte:02x} ")?;
            }
            let gap = (DUMP_WIDTH - chunk.len()) * 3 + 1;
            let printable = chunk.iter().map(|byte| match byte {
                b' '..=b'~' => char::from(*byte),
                _ => '.',
            });
            writeln!(self.out, "{:gap$}{}{DUMP:#}", "", printable.collect::<String>())?;
        }
        match bytes.len() - shown.len() {
            0 => Ok(()),
            more => writeln!(self.out, "      {DUMP}and {} more{DUMP:#}", Count(more)),
        }
    }

    /// Shows one part of `length` bytes.
    fn part(&mut self, length: usize, label: &str, value: fmt::Arguments<'_>) -> io::Result<()> {
        let offsets = Offsets {
            first: self.at,
            last: (self.at + length).saturating_sub(1),
            digits: self.digits(),
        };
        self.at += length;
        if length == 0 {
            return writeln!(self.out, "  {:11}{label:<14}{value}", "");
        }
        writeln!(self.out, "  {PLACE}{offsets:<11}{PLACE:#}{label:<14}{value}")
    }

    /// Returns how many bytes have not been shown.
    fn left(&self) -> usize {
        self.frame.len().saturating_sub(self.at)
    }

    /// Returns the number of digits of offsets.
    fn digits(&self) -> usize {
        if self.frame.len() > 0x100 { 4 } else { 2 }
    }
}

/// Returns the offset of the byte that makes a message malformed, or its end if bytes are missing.
const fn wrong_at(kind: Kind, reason: Malformation) -> usize {
    match reason {
        Malformation::TooShort { length, .. } => length,
        Malformation::WrongLength { length, exact } if length < exact => length,
        Malformation::WrongLength { exact, .. } => exact,
        Malformation::OddUtf16 { length } => length.saturating_sub(1),
        Malformation::NamePastEnd { .. } | Malformation::EmptyCode => match kind {
            Kind::SignalBinary | Kind::SignalUtf8 | Kind::SignalUtf16 => 1,
            _ => 9,
        },
        _ => 0,
    }
}

/// The offsets of the first and last byte of a part.
struct Offsets {
    first: usize,
    last: usize,
    digits: usize,
}

impl fmt::Display for Offsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, digits } = *self;
        if first == last {
            f.pad(&format!("{first:0digits$x}"))
        } else {
            f.pad(&format!("{first:0digits$x}-{last:0digits$x}"))
        }
    }
}
