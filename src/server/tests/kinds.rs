//! Each message kind in each phase.

use super::*;

/// A well-formed message of a kind, identifier 5 where it has one.
fn message(kind: Kind) -> Bytes {
    const ID: &[u8] = &[5, 0, 0, 0, 0, 0, 0, 0];
    let (identified, rest): (bool, &[u8]) = match kind {
        Kind::ErrorReply => (true, b"\x01Cm"),
        Kind::ReplyShutdown
        | Kind::ReplyInternalError
        | Kind::ReplySessionNotFound
        | Kind::ReplyMaxSessionConnections
        | Kind::ReplySessionsDisabled
        | Kind::ReplyProtocolError
        | Kind::ReplyOutcomeUnknown
        | Kind::ReplyNotExecuted
        | Kind::CloseSession => (true, b""),
        Kind::SessionCreated => (false, b"{}"),
        Kind::SessionClosed | Kind::Heartbeat => (false, b""),
        Kind::AcceptConf => (false, b"\x02\0\x60\xea\0\0\0\x20\0\0"),
        Kind::ClientSettings => (false, b"\0\0\x01\0"),
        Kind::RestoreSession => (true, b"k1"),
        Kind::SignalBinary | Kind::SignalUtf8 | Kind::SignalUtf16 => (false, b"\x02nnxx"),
        Kind::RequestBinary | Kind::RequestUtf8 | Kind::RequestUtf16 => (true, b"\x02nnxx"),
        Kind::ReplyBinary | Kind::ReplyUtf8 => (true, b"x"),
        Kind::ReplyUtf16 => (true, b"\0x\0"),
        Kind::QuestionBinary | Kind::QuestionUtf8 | Kind::QuestionUtf16 => (true, b"\x02nnxx"),
        Kind::QuestionCancelled => (true, b""),
        Kind::AnswerBinary | Kind::AnswerUtf8 => (true, b"x"),
        Kind::AnswerUtf16 => (true, b"\0x\0"),
        Kind::AnswerError => (true, b"\x01Cm"),
        Kind::AnswerRefused => (true, b"\x01"),
        Kind::HistorySignalBinary | Kind::HistorySignalUtf8 | Kind::HistorySignalUtf16 => {
            (true, b"\x02nnxx")
        }
        Kind::HistoryMark => (false, b"\0incarnatthe place"),
        Kind::KeptOutcomes => (true, b"\x60\xea\0\0\x40\0\0\0"),
        Kind::ResumeSession => (true, b"incarnatthe offsk1"),
        Kind::IdempotentRequestBinary
        | Kind::IdempotentRequestUtf8
        | Kind::IdempotentRequestUtf16 => (true, b"\x02nnxx"),
    };
    let mut frame = Vec::from([kind.as_byte()]);
    frame.extend_from_slice(if identified { ID } else { b"" });
    frame.extend_from_slice(rest);
    frame.into()
}

#[test]
fn an_open_connection_serves_what_clients_send() {
    for dialect in Dialect::ALL {
        for &kind in Kind::ALL {
            let expected: &[&str] = match kind {
                Kind::SignalBinary | Kind::SignalUtf8 | Kind::SignalUtf16 => &["signal 1 nn xx"],
                Kind::RequestBinary | Kind::RequestUtf8 | Kind::RequestUtf16 => &["run 1 nn xx"],
                Kind::RestoreSession => &["ask Restore k1"],
                Kind::CloseSession => &["send bf 5"],
                Kind::ResumeSession if dialect == Dialect::Wwr1 => &["ask Restore k1"],
                // Nobody has told the client that it may repeat requests.
                Kind::IdempotentRequestBinary
                | Kind::IdempotentRequestUtf8
                | Kind::IdempotentRequestUtf16
                    if dialect == Dialect::Wwr1 =>
                {
                    &["send 06 5"]
                }
                Kind::Heartbeat if dialect == Dialect::Unknown => &["speaks 2.0"],
                Kind::ClientSettings if dialect == Dialect::Wwr1 => &["reads 65536"],
                _ => &[],
            };
            Script::with(dialect, &config()).client(message(kind), expected);
        }
    }
}

#[test]
fn a_draining_connection_refuses_every_request() {
    for dialect in Dialect::ALL {
        let mut script = Script::with(dialect, &config());
        script.client(request(1, "a", ""), &["run 1 a"]);
        script.close(&[]);
        for &kind in Kind::ALL {
            let refused: &[&str] = match kind {
                Kind::Heartbeat if dialect == Dialect::Unknown => &["speaks 2.0"],
                Kind::ClientSettings if dialect == Dialect::Wwr1 => &["reads 65536"],
                _ if kind.requires_reply() && kind.is_known_in(dialect) => &["send 01 5"],
                _ => &[],
            };
            script.client(message(kind), refused);
        }
        assert_eq!(Kind::ALL.iter().filter(|kind| kind.requires_reply()).count(), 9);
        script.reply(1, Ok(""), &["send c0 1", "close Requested"]);
    }
}

#[test]
fn a_closed_connection_is_silent() {
    let mut script = Script::new();
    script.close(&["close Requested"]);
    for &kind in Kind::ALL {
        script.client(message(kind), &[]);
    }
}
