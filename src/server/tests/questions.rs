//! Questions to the client (protocol §10.4): each has exactly one outcome.

use alloc::boxed::Box;

use super::*;
use crate::wire::{AnswerRefusal, ClientSettings};

const SECOND: Duration = Duration::from_secs(1);

fn settings(max_questions: u16) -> Bytes {
    Encoder::new().client_settings(ClientSettings { max_questions, ..ClientSettings::new(10_000) })
}

/// A connection with a client that answers this many questions at once.
fn answering(max_questions: u16, config: &Config) -> Script {
    let mut script = Script::with(Dialect::Wwr1, config);
    script.client(settings(max_questions), &["reads 10000"]);
    script
}

fn few(max_open_questions: u16) -> Config {
    let max_open_questions = NonZeroU16::new(max_open_questions).unwrap();
    Config { max_open_questions, ..config() }
}

fn answer(id: u64, payload: &'static str) -> Bytes {
    Encoder::new().answer(Identifier::from_counter(id), &Payload::utf8_static(payload))
}

fn refused(id: u64, refusal: AnswerRefusal) -> Bytes {
    Encoder::new().answer_refused(Identifier::from_counter(id), refusal)
}

impl Script {
    fn try_ask(&mut self, text: &str, payload: &'static str) -> Result<QuestionId, Misuse> {
        let payload = Payload::utf8_static(payload);
        self.connection.ask(self.now, name(text), payload, None, &mut self.out)
    }

    #[track_caller]
    fn ask(&mut self, text: &str, expected: &[&str]) -> QuestionId {
        let id = self.try_ask(text, "").unwrap();
        self.expect(expected);
        id
    }
}

#[test]
fn a_question_is_sent_and_answered_once() {
    let mut script = answering(2, &config());
    let id = script.try_ask("where", "now").unwrap();
    script.expect(&["send 0c 1 #0577686572656e6f77"]);
    assert_eq!((id.as_u64(), id.identifier()), (1, Identifier::from_counter(1)));
    assert_eq!(script.connection.open_questions(), 1);
    script.client(answer(1, "here"), &["answered 1 here"]);
    assert_eq!(script.connection.open_questions(), 0);
    script.client(answer(1, "there"), &[]);
    script.disconnect(&[]);
}

#[test]
fn each_encoding_has_a_type_of_its_own() {
    let mut script = answering(3, &config());
    for (payload, kind, answer) in [
        (Payload::binary("b"), 11, b"\x19\x01\0\0\0\0\0\0\0ok".to_vec()),
        (Payload::utf8("u"), 12, b"\x1a\x02\0\0\0\0\0\0\0ok".to_vec()),
        (Payload::utf16("w"), 13, b"\x1b\x03\0\0\0\0\0\0\0\0ok".to_vec()),
    ] {
        let encoding = payload.encoding();
        let id = script.connection.ask(script.now, name("n"), payload, None, &mut script.out);
        let Some(Action::Send(frame)) = script.out.pop() else { panic!("nothing is sent") };
        assert_eq!(frame[0], kind);
        script.connection.handle_message(script.now, answer.into(), &mut script.out);
        let outcome = Box::new(Ok(Payload::new(encoding, "ok").unwrap()));
        assert_eq!(script.out.pop(), Some(Action::Answered { id: id.unwrap(), outcome }));
    }
}

#[test]
fn an_answer_overtakes_what_waits_behind_a_handler() {
    let mut script = answering(1, &config());
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(request(2, "b", ""), &[]);
    script.ask("q", &["send 0c 1 #0171"]);
    script.client(answer(1, "yes"), &["answered 1 yes"]);
    script.reply(1, Ok("done"), &["send c0 1 done", "run 2 b"]);
}

#[test]
fn the_reason_why_there_is_no_answer_is_told() {
    let mut script = answering(9, &config());
    let error = Encoder::new().answer_error(
        Identifier::from_counter(1),
        &crate::wire::ErrorCode::from_static("LOCKED").unwrap(),
        "try later",
    );
    let told = "Failed(ErrorReply { code: \"LOCKED\", message: \"try later\" })";
    for (frame, why) in [
        (error, told),
        (refused(2, AnswerRefusal::Failed), "Internal"),
        (refused(3, AnswerRefusal::NoHandler), "NoHandler"),
        (refused(4, AnswerRefusal::Busy), "Busy"),
        (refused(5, AnswerRefusal::TooLarge), "AnswerTooLarge"),
        (b"\x1d\x06\0\0\0\0\0\0\0\x09"[..].into(), "Internal"),
    ] {
        let id = script.try_ask("q", "").unwrap();
        assert_eq!(script.lines().len(), 1);
        script.client(frame, &[&format!("answered {} {why}", id.as_u64())]);
    }
    script.disconnect(&[]);
}

#[test]
fn a_question_times_out_and_a_late_answer_means_nothing() {
    let mut script = answering(2, &config());
    let (now, within) = (script.now, Some(SECOND));
    script.connection.ask(now, name("q"), Payload::EMPTY, within, &mut script.out).unwrap();
    script.expect(&["send 0b 1 #0171"]);
    assert_eq!(script.connection.next_timeout(), Some(now + SECOND));
    script.pass(999, &[]);
    script.pass(1, &["send 0e 1", "answered 1 TimedOut"]);
    script.client(answer(1, "late"), &[]);
    script.ask("again", &["send 0c 2 #05616761696e"]);
    script.pass(59_999, &[]);
    script.pass(1, &["send 0e 2", "answered 2 TimedOut", "close Silent"]);
}

#[test]
fn questions_time_out_in_the_order_of_their_deadlines() {
    let mut script = answering(3, &config());
    for millis in [30, 10, 20] {
        let within = Some(Duration::from_millis(millis));
        let asked =
            script.connection.ask(script.now, name("q"), Payload::EMPTY, within, &mut script.out);
        assert!(asked.is_ok() && script.lines().len() == 1);
    }
    script.client(answer(2, "yes"), &["answered 2 yes"]);
    assert_eq!(script.connection.next_timeout(), Some(script.now + Duration::from_millis(20)));
    let late = ["send 0e 3", "answered 3 TimedOut", "send 0e 1", "answered 1 TimedOut"];
    script.pass(100, &late);
}

#[test]
fn a_cancelled_question_is_told_to_the_client_and_ends_once() {
    let mut script = answering(1, &config());
    let id = script.ask("q", &["send 0c 1 #0171"]);
    script.connection.cancel_question(id, &mut script.out);
    script.expect(&["send 0e 1", "answered 1 Cancelled"]);
    script.connection.cancel_question(id, &mut script.out);
    script.connection.cancel_question(QuestionId::from_u64(7), &mut script.out);
    script.client(answer(1, "late"), &[]);
    script.disconnect(&[]);
}

#[test]
fn open_questions_are_lost_with_the_connection() {
    let lost = ["answered 1 ConnectionLost", "answered 2 ConnectionLost"];
    for ends in [0, 1, 2] {
        let mut script = answering(2, &config());
        script.ask("a", &["send 0c 1 #0161"]);
        script.ask("b", &["send 0c 2 #0162"]);
        match ends {
            0 => script.disconnect(&lost),
            1 => script.close(&[lost[0], lost[1], "close Requested"]),
            _ => {
                script.shut_down(1000);
                script.expect(&[lost[0], lost[1], "close Shutdown"]);
            }
        }
        assert_eq!(script.try_ask("c", ""), Err(Misuse::Closed));
        script.client(answer(1, "late"), &[]);
        script.disconnect(&[]);
    }
}

#[test]
fn a_handler_may_ask_while_the_connection_drains() {
    let mut script = answering(2, &config());
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.close(&[]);
    let (now, within) = (script.now, Some(SECOND));
    script.ask("q", &["send 0c 1 #0171"]);
    script.connection.ask(now, name("r"), Payload::EMPTY, within, &mut script.out).unwrap();
    script.expect(&["send 0b 2 #0172"]);
    script.client(answer(1, "yes"), &["answered 1 yes"]);
    script.pass(1000, &["send 0e 2", "answered 2 TimedOut"]);
    script.reply(1, Ok("done"), &["send c0 1 done", "close Requested"]);
}

#[test]
fn no_more_questions_are_open_than_both_sides_allow() {
    for (ours, theirs, most) in [(2, 9, 2), (9, 2, 2)] {
        let mut script = answering(theirs, &few(ours));
        script.ask("a", &["send 0c 1 #0161"]);
        script.ask("b", &["send 0c 2 #0162"]);
        assert_eq!(script.try_ask("c", ""), Err(Misuse::TooManyQuestions { most }));
        script.expect(&[]);
        script.client(answer(2, "yes"), &["answered 2 yes"]);
        script.ask("c", &["send 0c 3 #0163"]);
    }
}

#[test]
fn only_clients_of_wwr_1_that_answer_questions_are_asked() {
    for dialect in Dialect::ALL.into_iter().filter(|dialect| *dialect != Dialect::Wwr1) {
        let mut script = Script::with(dialect, &config());
        assert_eq!(script.connection.can_ask(), Some(false));
        assert_eq!(script.try_ask("q", ""), Err(Misuse::NoQuestions { dialect }));
        script.expect(&[]);
    }
    let mut script = answering(0, &config());
    assert_eq!(script.connection.can_ask(), Some(false));
    let refused = Misuse::NoQuestions { dialect: Dialect::Wwr1 };
    assert_eq!(script.try_ask("q", ""), Err(refused));
    assert_eq!(
        refused.to_string(),
        "a client that speaks wwr.1 cannot be asked; it takes wwr.1, and in the client a handler \
         for questions and a max_open_questions that is not 0"
    );
}

#[test]
fn settings_of_an_older_peer_name_no_questions() {
    let mut script = Script::with(Dialect::Wwr1, &config());
    script.client(&b"\x18\0\0\x10\0"[..], &["reads 1048576"]);
    assert_eq!(script.connection.can_ask(), Some(false));
}

#[test]
fn what_is_asked_before_the_client_has_stated_anything_waits_for_that() {
    let asked = |theirs| {
        let mut script = Script::with(Dialect::Wwr1, &config());
        assert_eq!(script.connection.can_ask(), None);
        for text in ["a", "b", "c"] {
            script.ask(text, &[]);
        }
        script.client(answer(1, "too early"), &[]);
        assert_eq!(script.connection.open_questions(), 3);
        let second = QuestionId::from_u64(2);
        script.connection.cancel_question(second, &mut script.out);
        script.expect(&["answered 2 Cancelled"]);
        script.connection.handle_message(script.now, settings(theirs), &mut script.out);
        script
    };
    let mut script = asked(1);
    script.expect(&[
        "reads 10000",
        "send 0c 1 #0161",
        "answered 3 NotAsked(TooManyQuestions { most: 1 })",
    ]);
    script.client(answer(1, "yes"), &["answered 1 yes"]);
    let mut script = asked(0);
    script.expect(&[
        "reads 10000",
        "answered 1 NotAsked(NoQuestions { dialect: Wwr1 })",
        "answered 3 NotAsked(NoQuestions { dialect: Wwr1 })",
    ]);
    script.disconnect(&[]);

    let mut script = Script::with(Dialect::Wwr1, &config());
    let within = Some(SECOND);
    script.connection.ask(script.now, name("q"), Payload::EMPTY, within, &mut script.out).unwrap();
    script.pass(1000, &["answered 1 TimedOut"]);
}

#[test]
fn a_question_has_something_in_it_and_fits_the_client() {
    let mut script = answering(1, &config());
    assert_eq!(script.try_ask("", ""), Err(Misuse::EmptyQuestion));
    let long = |length: usize| Payload::binary(std::vec![0; length]);
    let too_long = Misuse::QuestionTooLarge { length: 10_001, buffer: 10_000 };
    let (now, out) = (script.now, &mut script.out);
    let asked = script.connection.ask(now, name("q"), long(10_001 - 11), None, out);
    assert_eq!(asked, Err(too_long));
    assert!(out.is_empty());
    assert!(script.connection.ask(now, name("q"), long(10_000 - 11), None, out).is_ok());

    let mut script = Script::with(Dialect::Wwr1, &config());
    let asked = script.connection.ask(now, name("q"), long(8193 - 11), None, &mut script.out);
    assert_eq!(asked, Err(Misuse::QuestionTooLarge { length: 8193, buffer: 8192 }));
}

#[test]
fn answers_to_nothing_and_unreadable_ones_are_ignored_up_to_a_number() {
    let config = Config { max_ignored_in_a_row: NonZeroU32::new(3).unwrap(), ..config() };
    for frame in
        [&answer(7, "x")[..], b"\x1d\x01\0\0\0\0\0\0\0", b"\x1a", b"\x0e\x01\0\0\0\0\0\0\0"]
    {
        for asks in [false, true] {
            let mut script = answering(1, &config);
            if asks {
                script.ask("q", &["send 0c 1 #0171"]);
            }
            let frame = Bytes::copy_from_slice(frame);
            script.client(frame.clone(), &[]);
            script.client(frame.clone(), &[]);
            let lost: &[&str] = &["answered 1 ConnectionLost", "close TooManyIgnored"];
            script.client(frame, if asks { lost } else { &lost[1..] });
        }
    }
    let mut script = answering(1, &config);
    let id = script.ask("q", &["send 0c 1 #0171"]);
    script.connection.cancel_question(id, &mut script.out);
    assert_eq!(script.lines().len(), 2);
    // An answer may come too late, but not for ever.
    script.client(answer(1, "late"), &[]);
    script.client(answer(1, "late"), &[]);
    script.client(answer(1, "late"), &["close TooManyIgnored"]);
}

#[test]
fn an_answer_longer_than_the_server_reads_ends_the_connection() {
    let config = Config { max_message_size: 8192, ..config() };
    let mut script = Script::accept(Dialect::Wwr1, &config);
    assert_eq!(script.lines().len(), 1);
    script.client(settings(1), &["reads 10000"]);
    script.ask("q", &["send 0c 1 #0171"]);
    let long = Encoder::new()
        .answer(Identifier::from_counter(1), &Payload::binary(std::vec![b'x'; 8192 - 8]));
    script.client(long, &["answered 1 ConnectionLost", "close TooLarge"]);
}

#[test]
fn messages_are_held_back_while_answers_come() {
    let mut script = answering(1, &concurrent(2));
    script.connection.hold_messages();
    script.client(request(1, "a", ""), &[]);
    script.client(restore(2, "k1"), &[]);
    script.ask("who", &["send 0c 1 #0377686f"]);
    script.client(answer(1, "Ada"), &["answered 1 Ada"]);
    assert!(script.connection.wants_input());
    script.connection.release_messages(script.now, &mut script.out);
    script.expect(&["run 1 a", "ask Restore k1"]);
    script.reply(1, Ok("done"), &["send c0 1 done"]);
}

#[test]
fn a_question_has_the_time_that_the_settings_give_it() {
    let config = Config { question_timeout: SECOND, ..config() };
    let mut script = answering(1, &config);
    script.ask("q", &["send 0c 1 #0171"]);
    assert_eq!(script.connection.next_timeout(), Some(script.now + SECOND));
    let zero = Config { question_timeout: Duration::ZERO, ..config };
    let refused = zero.validate().unwrap_err();
    assert_eq!(refused.to_string(), "question_timeout is zero; it has to be more");
}
