//! Bytes to messages and back (protocol §1). Knows no state and no role.

mod accept_conf;
mod answer_refusal;
mod client_settings;
mod decode;
mod encode;
mod error;
mod history;
mod identifier;
mod kind;
pub(crate) mod length;
mod message;
mod name;
mod payload;
mod signal;

pub use accept_conf::AcceptConf;
pub use answer_refusal::AnswerRefusal;
pub use client_settings::ClientSettings;
pub use decode::decode;
pub use encode::Encoder;
pub use error::{ComposeError, DecodeError, Malformation};
pub use history::{HistoryMark, HistoryState, KeptOutcomes, Resume};
pub use identifier::Identifier;
pub use kind::{Kind, Sender};
pub use message::{Content, ErrorReply, Message, SpecialReply};
pub use name::{ErrorCode, InvalidName, MAX_NAME_LENGTH, Name};
pub(crate) use payload::text;
pub use payload::{Encoding, OddUtf16, Payload};
pub use signal::{InvalidFrame, InvalidSignal, PreparedSignal, UnreadableSignal, check_signal};
