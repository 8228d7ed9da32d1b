//! Questions of the server (protocol §10.4).

use super::discovery::{auto, *};
use super::wwr1::ready;
use super::*;
use crate::handshake::SubProtocol;
use crate::wire::Kind;

fn question(id: u64, text: &str) -> Bytes {
    let id = Identifier::from_counter(id);
    crate::wire::Encoder::new().question(id, &name(text), &Payload::EMPTY)
}

fn cancelled(id: u64) -> Bytes {
    crate::wire::Encoder::new().question_cancelled(Identifier::from_counter(id))
}

impl Fixture {
    /// The server asks, and the application is told.
    #[track_caller]
    fn asked(&mut self, id: u64) -> QuestionId {
        self.receive(question(id, "q"));
        match &self.take()[..] {
            [Action::Event(Event::Question(question))] => {
                assert_eq!(question.content.name(), b"q");
                assert_eq!(question.id.identifier(), Identifier::from_counter(id));
                question.id
            }
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self, id: QuestionId, result: Result<Payload, AnswerError>) -> bool {
        self.client.answer(self.now, id, result, &mut self.out)
    }
}

/// A client that handles this many questions at once, on a ready connection.
fn answering(max_open_questions: u16) -> Fixture {
    let mut fixture = after(Config { max_open_questions, ..auto() }, NAMES_1_4);
    agreed(&mut fixture);
    fixture.labels();
    fixture
}

fn agreed(fixture: &mut Fixture) {
    let agreed = Some(SubProtocol::Wwr1);
    fixture.client.handle_opened(fixture.now, agreed, &mut fixture.out);
    fixture.receive(conf(2, 60_000, 10_000, b""));
}

const REFUSED: [u8; 10] = [0x1d, 1, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn a_question_is_answered_once() {
    for (payload, sent) in [
        (Payload::binary("ok"), &b"\x19\x01\0\0\0\0\0\0\0ok"[..]),
        (Payload::utf8("ok"), b"\x1a\x01\0\0\0\0\0\0\0ok"),
        (Payload::utf16("o"), b"\x1b\x01\0\0\0\0\0\0\0\0o\0"),
        (Payload::EMPTY, b"\x19\x01\0\0\0\0\0\0\0"),
    ] {
        let mut fixture = ready(10_000);
        let id = fixture.asked(1);
        assert_eq!((id.as_u64(), fixture.client.open_questions()), (1, 1));
        assert!(fixture.answer(id, Ok(payload)));
        assert_eq!(fixture.take(), [Action::Send(Bytes::copy_from_slice(sent))]);
        assert!(!fixture.answer(id, Ok(Payload::EMPTY)), "it was answered");
        assert_eq!((fixture.take(), fixture.client.open_questions()), (Vec::new(), 0));
    }
}

#[test]
fn an_error_is_told_by_its_code_or_by_a_number() {
    for (error, sent) in [
        (AnswerError::failed("NO", "way"), &b"\x1c\x01\0\0\0\0\0\0\0\x02NOway"[..]),
        (AnswerError::Internal, b"\x1d\x01\0\0\0\0\0\0\0\0"),
        (AnswerError::NoHandler, b"\x1d\x01\0\0\0\0\0\0\0\x01"),
    ] {
        let mut fixture = ready(10_000);
        let id = fixture.asked(1);
        assert!(fixture.answer(id, Err(error)));
        assert_eq!(fixture.take(), [Action::Send(Bytes::copy_from_slice(sent))]);
    }
}

#[test]
fn an_answer_that_the_server_does_not_read_is_refused() {
    let mut fixture = ready(10_000);
    for (length, fits) in [(10_000 - 9, true), (10_000 - 8, false)] {
        let id = fixture.asked(1);
        let payload = Payload::binary(alloc::vec![b'x'; length]);
        assert_eq!(fixture.answer(id, Ok(payload)), fits);
        let sent = fixture.take();
        let [Action::Send(frame)] = &sent[..] else { panic!("{sent:?}") };
        let too_large = b"\x1d\x01\0\0\0\0\0\0\0\x03";
        assert_eq!(frame[..] == too_large[..], !fits);
        assert_eq!(frame.len() == 10_000, fits);
    }
}

#[test]
fn a_question_that_is_cancelled_needs_no_answer() {
    let mut fixture = ready(10_000);
    let (first, second) = (fixture.asked(1), fixture.asked(2));
    fixture.receive(cancelled(1));
    assert_eq!(fixture.take(), [Action::Event(Event::QuestionCancelled(first))]);
    assert!(!fixture.answer(first, Ok(Payload::EMPTY)));
    assert!(fixture.answer(second, Err(AnswerError::Internal)));
    assert_eq!(fixture.labels(), ["Send 1d 2"]);
    for id in [1, 2, 3] {
        fixture.receive(cancelled(id));
    }
    assert_eq!(fixture.take(), []);
}

#[test]
fn the_answer_to_a_question_of_an_earlier_connection_is_dropped() {
    let mut fixture = ready(10_000);
    let first = fixture.asked(1);
    let second = fixture.asked(2);
    fixture.lost();
    let told = fixture.take();
    let [Action::Event(Event::Disconnected { .. }), rest @ ..] = &told[..] else {
        panic!("{told:?}")
    };
    let ended = [first, second].map(|id| Action::Event(Event::QuestionCancelled(id)));
    assert_eq!(rest, ended);
    fixture.due();
    agreed(&mut fixture);
    fixture.labels();
    let again = fixture.asked(1);
    assert_ne!(again, first);
    assert!(!fixture.answer(first, Ok(Payload::EMPTY)));
    assert!(fixture.answer(again, Ok(Payload::EMPTY)));
}

#[test]
fn closing_ends_the_questions() {
    let mut fixture = ready(10_000);
    let id = fixture.asked(1);
    fixture.close();
    assert_eq!(fixture.labels(), ["Hangup", "Disconnected", "QuestionCancelled"]);
    assert!(!fixture.answer(id, Ok(Payload::EMPTY)));
    assert_eq!(fixture.client.open_questions(), 0);
}

#[test]
fn a_question_may_come_while_the_session_is_resumed() {
    let mut fixture = ready(10_000);
    fixture.receive(b"\x15".iter().chain(SESSION.as_bytes()).copied().collect::<Vec<_>>());
    fixture.lost();
    fixture.labels();
    fixture.due();
    agreed(&mut fixture);
    assert_eq!(fixture.labels(), ["Dial", "Send 18", "Send 20 1"]);
    let id = fixture.asked(1);
    assert!(fixture.answer(id, Err(AnswerError::NoHandler)));
    assert_eq!(fixture.labels(), ["Send 1d 1"]);
    let lost = fixture.asked(2);
    fixture.lost();
    assert_eq!(fixture.labels(), ["ConnectFailed", "QuestionCancelled"]);
    assert!(!fixture.answer(lost, Ok(Payload::EMPTY)));
}

#[test]
fn too_many_questions_are_refused_and_far_too_many_end_the_connection() {
    for most in [0, 2] {
        let mut fixture = answering(most);
        for id in 1..=u64::from(most) {
            fixture.asked(id);
        }
        // Without a handler, or busy.
        let reason = if most == 0 { 1 } else { 2 };
        let mut refused = [0x1d, 0, 0, 0, 0, 0, 0, 0, 0, reason];
        for id in 1000_u64..2000 {
            fixture.receive(question(id, "q"));
            refused[1..9].copy_from_slice(&id.to_le_bytes());
            let anomaly = Action::Event(Event::Anomaly(Anomaly::TooManyQuestions));
            let sent = Action::Send(Bytes::copy_from_slice(&refused));
            assert_eq!(fixture.take(), [anomaly, sent]);
            assert_eq!(fixture.client.open_questions(), usize::from(most));
        }
        fixture.receive(question(2000, "q"));
        let told = fixture.take();
        let reason = DisconnectReason::TooManyQuestions;
        assert_eq!(told[0], Action::Hangup);
        assert!(
            matches!(&told[1], Action::Event(Event::Disconnected { reason: why, retry: Some(_) }) if *why == reason),
            "{told:?}"
        );
        assert_eq!(told.len(), 2 + usize::from(most));
        fixture.due();
        agreed(&mut fixture);
        fixture.labels();
        fixture.receive(question(1, "q"));
        assert_eq!(fixture.labels().len(), if most == 0 { 2 } else { 1 }, "it begins anew");
    }
}

#[test]
fn an_identifier_that_is_in_use_is_an_anomaly() {
    let mut fixture = ready(10_000);
    let id = fixture.asked(1);
    fixture.receive(question(1, "again"));
    let anomaly = Anomaly::Unexpected(Kind::QuestionBinary);
    assert_eq!(fixture.take(), [Action::Event(Event::Anomaly(anomaly))]);
    assert!(fixture.answer(id, Err(AnswerError::Internal)));
    assert_eq!(fixture.take(), [Action::Send(Bytes::copy_from_slice(&REFUSED))]);
}

#[test]
fn servers_of_other_dialects_ask_nothing() {
    let mut fixture = Fixture::ready(v1_4());
    fixture.receive(question(1, "q"));
    let told = fixture.take();
    let unknown = crate::wire::DecodeError::UnknownKind(11);
    assert_eq!(told, [Action::Event(Event::Anomaly(Anomaly::Unreadable(unknown)))]);
}

#[test]
fn a_client_that_is_to_be_asked_nothing_states_that() {
    let mut fixture = after(Config { max_open_questions: 0, ..auto() }, NAMES_1_4);
    fixture.labels();
    fixture.client.handle_opened(fixture.now, Some(SubProtocol::Wwr1), &mut fixture.out);
    assert_eq!(fixture.take(), [Action::Send(Bytes::from_static(b"\x18\0\0\0\x01"))]);
    // A server that asks nevertheless is not told to ask again later.
    fixture.receive(conf(2, 60_000, 10_000, b""));
    fixture.labels();
    fixture.receive(question(1, "q"));
    let refused = Action::Send(Bytes::from_static(b"\x1d\x01\0\0\0\0\0\0\0\x01"));
    let anomaly = Action::Event(Event::Anomaly(Anomaly::TooManyQuestions));
    assert_eq!(fixture.take(), [anomaly, refused]);
}

/// A server that asks and cancels for ever, and handlers that nobody can stop.
#[test]
fn handlers_that_outlive_their_questions_count_until_they_answer() {
    let mut fixture = answering(2);
    let outlived = [1, 2].map(|id| {
        let asked = fixture.asked(id);
        fixture.receive(cancelled(id));
        assert_eq!(fixture.labels(), ["QuestionCancelled"]);
        fixture.client.outlive_question(asked);
        asked
    });
    fixture.receive(question(3, "q"));
    assert_eq!(fixture.labels(), ["Anomaly", "Send 1d 3"]);
    assert_eq!(fixture.client.open_questions(), 0);
    // They work on when the connection has ended.
    fixture.lost();
    fixture.due();
    agreed(&mut fixture);
    fixture.labels();
    fixture.receive(question(1, "q"));
    assert_eq!(fixture.labels(), ["Anomaly", "Send 1d 1"]);
    assert!(!fixture.answer(outlived[0], Ok(Payload::EMPTY)), "nobody waits for it");
    assert_eq!(fixture.labels(), [""; 0]);
    let fourth = fixture.asked(4);
    fixture.receive(question(5, "q"));
    assert_eq!(fixture.labels(), ["Anomaly", "Send 1d 5"]);
    // A question that is open counts once.
    fixture.client.outlive_question(fourth);
    fixture.answer(fourth, Ok(Payload::EMPTY));
    fixture.labels();
    fixture.asked(6);
}
