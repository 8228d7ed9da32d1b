//! The composers: what they wrote we write, what they refused we refuse.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use wwr::wire::{
    AcceptConf, AnswerRefusal, ClientSettings, Encoder, ErrorReply, HistoryMark, HistoryState,
    Identifier, KeptOutcomes, Message, Resume, SpecialReply,
};
use wwr::{Content, Dialect, ErrorCode, Name, Payload};

use crate::vectors::{COMPOSE_1_4, COMPOSE_2_0, COMPOSE_WWR1, File, Hex, Id, Tag, rows};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(rename = "fn")]
    function: Function,
    args: Args,
    hex: Option<Hex>,
    #[serde(default)]
    refused: bool,
    #[serde(default, rename = "how")]
    _how: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Function {
    Signal,
    Request,
    Reply,
    ErrorReply,
    NamelessRequest,
    EmptyRequest,
    SpecialReply,
    SessionCreated,
    SessionClosed,
    Heartbeat,
    AcceptConf,
    ClientSettings,
    Question,
    QuestionCancelled,
    Answer,
    AnswerError,
    AnswerRefused,
    HistorySignal,
    HistoryMark,
    KeptOutcomes,
    ResumeSession,
    IdempotentRequest,
}

/// The arguments of all functions; each row has those of its function.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Args {
    #[serde(rename = "type")]
    kind: Option<u8>,
    id: Option<Id>,
    name_hex: Option<Hex>,
    code_hex: Option<Hex>,
    message_hex: Option<Hex>,
    encoding: Option<Tag>,
    payload_hex: Option<Hex>,
    safe: Option<bool>,
    major: Option<u8>,
    minor: Option<u8>,
    read_timeout_ns: Option<i64>,
    message_buffer_size: Option<u32>,
    sub_protocol_hex: Option<Hex>,
    max_message_size: Option<u32>,
    max_questions: Option<u16>,
    reason: Option<u8>,
    resumes_signals: Option<bool>,
    instance_hex: Option<Hex>,
    state: Option<u8>,
    incarnation: Option<u64>,
    offset: Option<u64>,
    scope: Option<u64>,
    window_ms: Option<u32>,
    outcomes: Option<u32>,
}

impl Args {
    fn id(&self) -> Identifier {
        self.id.unwrap().0
    }

    fn payload(&self) -> Result<Payload, String> {
        let bytes = self.payload_hex.clone().unwrap().0;
        Payload::new(self.encoding.unwrap().into(), bytes).map_err(text)
    }

    fn bytes(hex: &Option<Hex>) -> Bytes {
        hex.clone().unwrap().0
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// The rows on which we and the reference differ, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Exception {
    /// The reference leaves the characters of names unchecked on demand; we never do.
    UncheckedName,
    /// The reference writes any type byte before an identifier; ours are messages of the protocol.
    NoSuchRequest,
    /// The reference adds bytes to a close-session request, which then no parser reads.
    CloseSessionWithPayload,
}

fn printable(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| (b' '..=b'~').contains(byte))
}

fn exception(row: &Row) -> Option<Exception> {
    let args = &row.args;
    if row.refused {
        return None;
    }
    match row.function {
        Function::Signal | Function::Request | Function::ErrorReply if args.safe == Some(false) => {
            let name = args.name_hex.as_ref().or(args.code_hex.as_ref()).unwrap();
            (!printable(&name.0)).then_some(Exception::UncheckedName)
        }
        Function::NamelessRequest | Function::EmptyRequest => match args.kind.unwrap() {
            31 if args.payload_hex.as_ref().is_some_and(|hex| !hex.0.is_empty()) => {
                Some(Exception::CloseSessionWithPayload)
            }
            31 | 32 => None,
            _ => Some(Exception::NoSuchRequest),
        },
        _ => None,
    }
}

/// Which of our checks run first: both ways of making a message have to agree.
#[derive(Clone, Copy)]
enum Way {
    /// From the types whose values can all be sent: `Name` and `ErrorCode`.
    Checked,
    /// From any bytes; the encoder checks them.
    Plain,
}

fn content(way: Way, args: &Args) -> Result<Content, String> {
    let (name, payload) = (Args::bytes(&args.name_hex), args.payload()?);
    match way {
        Way::Checked => {
            let name = Name::try_from(name).map_err(text)?;
            Content::new(name.as_bytes(), &payload).map_err(text)
        }
        Way::Plain => Content::new(&name, &payload).map_err(text),
    }
}

fn error_reply(way: Way, args: &Args) -> Result<ErrorReply, String> {
    let (code, message) = (Args::bytes(&args.code_hex), Args::bytes(&args.message_hex));
    match way {
        Way::Checked => {
            let code = ErrorCode::try_from(code).map_err(text)?;
            ErrorReply::new(code.as_bytes(), &message).map_err(text)
        }
        Way::Plain => ErrorReply::new(&code, &message).map_err(text),
    }
}

fn special_reply(kind: u8) -> Result<SpecialReply, String> {
    Ok(match kind {
        1 => SpecialReply::Shutdown,
        2 => SpecialReply::InternalError,
        3 => SpecialReply::SessionNotFound,
        4 => SpecialReply::MaxSessionConnections,
        5 => SpecialReply::SessionsDisabled,
        6 => SpecialReply::ProtocolError,
        7 => SpecialReply::OutcomeUnknown,
        8 => SpecialReply::NotExecuted,
        other => return Err(format!("{other} is no special reply")),
    })
}

fn session_request(args: &Args) -> Result<Message, String> {
    let (id, body) = (args.id(), args.payload_hex.clone().unwrap_or_default().0);
    match args.kind.unwrap() {
        31 if body.is_empty() => Ok(Message::CloseSession { id }),
        32 => Ok(Message::RestoreSession { id, key: body }),
        other => Err(format!("no request of type {other} and {} bytes", body.len())),
    }
}

fn accept_conf(args: &Args) -> Result<AcceptConf, String> {
    let sub_protocol = Args::bytes(&args.sub_protocol_hex);
    let milliseconds = args.read_timeout_ns.unwrap() / 1_000_000;
    Ok(AcceptConf {
        major: args.major.unwrap(),
        minor: args.minor.unwrap(),
        read_timeout_ms: milliseconds.try_into().map_err(text)?,
        message_buffer_size: args.message_buffer_size.unwrap(),
        sub_protocol: Some(sub_protocol).filter(|name| !name.is_empty()),
    })
}

fn compose(way: Way, dialect: Dialect, row: &Row) -> Result<Bytes, String> {
    let args = &row.args;
    let message = match row.function {
        Function::Signal => Message::Signal(content(way, args)?),
        Function::Request => Message::Request { id: args.id(), content: content(way, args)? },
        Function::Reply => Message::Reply { id: args.id(), payload: args.payload()? },
        Function::ErrorReply => {
            Message::ErrorReply { id: args.id(), error: error_reply(way, args)? }
        }
        Function::NamelessRequest | Function::EmptyRequest => session_request(args)?,
        Function::SpecialReply => {
            Message::SpecialReply { id: args.id(), reply: special_reply(args.kind.unwrap())? }
        }
        Function::SessionCreated => {
            Message::SessionCreated { object: Args::bytes(&args.payload_hex) }
        }
        Function::SessionClosed => Message::SessionClosed,
        Function::Heartbeat => Message::Heartbeat,
        Function::AcceptConf => Message::AcceptConf(accept_conf(args)?),
        Function::ClientSettings => Message::ClientSettings(ClientSettings {
            max_message_size: args.max_message_size.unwrap(),
            max_questions: args.max_questions.unwrap_or_default(),
            resumes_signals: args.resumes_signals.unwrap_or_default(),
            instance: args.instance_hex.as_ref().map(|hex| hex.0[..].try_into().unwrap()),
        }),
        Function::HistorySignal => Message::HistorySignal {
            id: Identifier::from_counter(args.offset.unwrap()),
            content: content(way, args)?,
        },
        Function::HistoryMark => Message::HistoryMark(HistoryMark {
            state: HistoryState::from_byte(args.state.unwrap()),
            incarnation: args.incarnation.unwrap(),
            offset: args.offset.unwrap(),
        }),
        Function::KeptOutcomes => Message::KeptOutcomes(KeptOutcomes {
            scope: args.scope.unwrap(),
            window_ms: args.window_ms.unwrap(),
            outcomes: args.outcomes.unwrap(),
        }),
        Function::ResumeSession => {
            let key = args.payload_hex.clone().unwrap().0;
            let resume = Resume::new(args.incarnation.unwrap(), args.offset.unwrap(), &key);
            Message::ResumeSession { id: args.id(), resume }
        }
        Function::IdempotentRequest => {
            Message::IdempotentRequest { id: args.id(), content: content(way, args)? }
        }
        Function::Question => Message::Question { id: args.id(), content: content(way, args)? },
        Function::QuestionCancelled => Message::QuestionCancelled { id: args.id() },
        Function::Answer => Message::Answer { id: args.id(), payload: args.payload()? },
        Function::AnswerError => {
            Message::AnswerError { id: args.id(), error: error_reply(way, args)? }
        }
        Function::AnswerRefused => {
            let refusal = AnswerRefusal::from_byte(args.reason.unwrap());
            Message::AnswerRefused { id: args.id(), refusal }
        }
    };
    Encoder::new().encode(dialect, &message).map_err(text)
}

/// Asserts every row; returns how many were written, how many refused, and the exceptions.
fn check(file: &File) -> (usize, usize, BTreeMap<Exception, usize>) {
    let (mut written, mut refused, mut exceptions) = (0, 0, BTreeMap::new());
    for row in rows::<Row>(file.text) {
        let exception = exception(&row);
        for way in [Way::Checked, Way::Plain] {
            let ours = compose(way, file.dialect, &row);
            match (&row.hex, exception) {
                (Some(hex), None) => assert_eq!(ours.as_ref(), Ok(&hex.0), "{row:?}"),
                (Some(_), Some(_)) | (None, _) => assert!(ours.is_err(), "{row:?} gave {ours:?}"),
            }
        }
        assert_eq!(row.hex.is_none(), row.refused);
        match exception {
            Some(exception) => *exceptions.entry(exception).or_default() += 1,
            None if row.refused => refused += 1,
            None => written += 1,
        }
    }
    (written, refused, exceptions)
}

#[test]
fn messages_of_1_4_are_written_as_the_reference_writes_them() {
    let exceptions =
        [(Exception::NoSuchRequest, 18), (Exception::CloseSessionWithPayload, 13)].into();
    assert_eq!(check(&COMPOSE_1_4), (456, 445, exceptions));
}

#[test]
fn messages_of_2_0_are_written_as_the_reference_writes_them() {
    let exceptions =
        [(Exception::UncheckedName, 23), (Exception::CloseSessionWithPayload, 15)].into();
    assert_eq!(check(&COMPOSE_2_0), (484, 462, exceptions));
}

#[test]
fn messages_of_wwr_1_are_written_as_the_protocol_says() {
    assert_eq!(check(&COMPOSE_WWR1), (56, 5, BTreeMap::new()));
}
