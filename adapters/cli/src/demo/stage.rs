//! Tells the story: steps, what passes, and whether it goes as the story says.

use core::fmt::Display;
use core::time::Duration;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use smol::Timer;
use smol::future::or;
use wwr::wire::{self, Message};
use wwr::{Dialect, Encoding, Payload};

use super::relay::Relay;
use super::tap::{Sight, Way};
use crate::text::one_line;

const STEP: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const WAY: Style = AnsiColor::Cyan.on_default();
const BYTES: Style = Style::new().dimmed();

/// Bytes of a message that are shown, and characters of a text.
const MOST_BYTES: usize = 16;
const MOST_TEXT: usize = 24;

/// How often a progress bar moves.
const TICK: Duration = Duration::from_millis(40);

/// Why the story ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoryError {
    #[error(transparent)]
    Output(#[from] io::Error),
    #[error("{0}")]
    NotAsTold(String),
}

/// Returns an error with this description, for `map_err`.
pub(super) fn story_error(error: impl Display) -> StoryError {
    StoryError::NotAsTold(error.to_string())
}

/// Refuses anything but what the story says.
pub(super) fn expect(is_so: bool, what: &str) -> Result<(), StoryError> {
    if is_so { Ok(()) } else { Err(StoryError::NotAsTold(format!("expected {what}"))) }
}

/// The narrator.
pub(super) struct Stage {
    out: anstream::Stdout,
    steps: usize,
}

impl Stage {
    pub(super) fn new() -> Self {
        Self { out: anstream::stdout(), steps: 0 }
    }

    /// Begins a step.
    pub(super) fn step(&mut self, title: &str) -> io::Result<()> {
        self.steps += 1;
        writeln!(self.out, "\n{STEP}{}. {title}{STEP:#}", self.steps)?;
        self.out.flush()
    }

    /// Ends the story.
    pub(super) fn end(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "\n{STEP}{text}{STEP:#}")?;
        self.out.flush()
    }

    /// Shows an explanation.
    pub(super) fn say(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "   {text}")?;
        self.out.flush()
    }

    /// Shows a success.
    pub(super) fn good(&mut self, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "   {GOOD}ok{GOOD:#} {text}")?;
        self.out.flush()
    }

    /// Shows what passed the relay.
    pub(super) fn show(&mut self, relay: &Relay) -> io::Result<()> {
        for sight in relay.take_sights() {
            let (way, what, bytes) = match sight {
                Sight::Http(way, line) => (way, line, None),
                Sight::Message(way, frame) => (way, describe(&frame), Some(frame)),
                Sight::Close(way, Some(code)) => (way, format!("WebSocket close {code}"), None),
                Sight::Close(way, None) => (way, "WebSocket close".into(), None),
            };
            let arrow = match way {
                Way::ToServer => "->",
                Way::ToClient => "<-",
            };
            match bytes {
                None => writeln!(self.out, "   {WAY}{arrow}{WAY:#} {what}")?,
                Some(bytes) => {
                    let hex = short_hex(&bytes);
                    writeln!(self.out, "   {WAY}{arrow}{WAY:#} {what:<54} {BYTES}{hex}{BYTES:#}")?;
                }
            }
        }
        self.out.flush()
    }

    /// Waits for something that takes about this long, with a progress bar on a terminal.
    pub(super) async fn meanwhile<T>(
        &self,
        what: &'static str,
        about: Duration,
        work: impl Future<Output = T>,
    ) -> T {
        let ticks = about.as_millis().div_ceil(TICK.as_millis());
        let length = u64::try_from(ticks).unwrap_or(u64::MAX);
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stdout());
        if let Ok(style) = ProgressStyle::with_template("   {msg} [{bar:30}]") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(what);
        let moving = async {
            loop {
                Timer::after(TICK).await;
                bar.inc(1);
            }
        };
        let result = or(work, moving).await;
        bar.finish_and_clear();
        result
    }
}

fn short_hex(bytes: &[u8]) -> String {
    match bytes.get(..MOST_BYTES) {
        Some(start) if bytes.len() > MOST_BYTES => format!("{}...", HEXLOWER.encode(start)),
        _ => HEXLOWER.encode(bytes),
    }
}

/// Describes a message in short.
fn describe(frame: &Bytes) -> String {
    // This dialect has the messages of all versions.
    let Ok(message) = wire::decode(Dialect::Wwr1, frame.clone()) else {
        return "no message".into();
    };
    let title = message.kind();
    match message {
        Message::Signal(content)
        | Message::Request { content, .. }
        | Message::Question { content, .. }
        | Message::HistorySignal { content, .. }
        | Message::IdempotentRequest { content, .. } => {
            let name = brief(&String::from_utf8_lossy(content.name()));
            format!("{title} {name}: {}", describe_payload(&content.into_payload()))
        }
        Message::Reply { payload, .. } | Message::Answer { payload, .. } => {
            format!("{title}: {}", describe_payload(&payload))
        }
        Message::ErrorReply { error, .. } | Message::AnswerError { error, .. } => {
            format!("{title} {}: {}", error.code(), brief(&error.message()))
        }
        Message::SessionCreated { object: bytes } | Message::RestoreSession { key: bytes, .. } => {
            format!("{title}: {}", brief(&String::from_utf8_lossy(&bytes)))
        }
        Message::SpecialReply { .. }
        | Message::SessionClosed
        | Message::CloseSession { .. }
        | Message::Heartbeat
        | Message::AcceptConf(_)
        | Message::ClientSettings(_)
        | Message::QuestionCancelled { .. }
        | Message::AnswerRefused { .. }
        | Message::HistoryMark(_)
        | Message::KeptOutcomes(_)
        | Message::ResumeSession { .. } => title.to_string(),
    }
}

fn describe_payload(payload: &Payload) -> String {
    match (payload.encoding(), payload.text()) {
        (_, _) if payload.is_empty() => "nothing".into(),
        (Encoding::Utf8 | Encoding::Utf16, Ok(text)) => brief(&text),
        _ => short_hex(payload.as_bytes()),
    }
}

fn brief(text: &str) -> String {
    let start: String = text.chars().take(MOST_TEXT).collect();
    let end = if start.len() < text.len() { "..." } else { "" };
    one_line(&start) + end
}
