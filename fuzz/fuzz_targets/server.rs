//! Any sequence of events on a few server connections, their hub and a store that answers
//! late, in any order, and fails at times.
#![no_main]

mod server_world;

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use server_world::{Setting, World};
use wwr::server::RequestError;
use wwr::session::OtherConnections;
use wwr::{Encoding, Payload};

/// What happens to the connection that [`Event::on`] chooses, or to all.
#[derive(Arbitrary, Debug)]
enum Step {
    /// The client sends any bytes.
    Bytes(Vec<u8>),
    /// The same as text.
    Text(Vec<u8>),
    /// The client sends a ping, or a pong.
    Activity,
    Request {
        name: u8,
        payload: u8,
        encoding: u8,
    },
    Signal {
        payload: u8,
    },
    Restore(u8),
    CloseSession,
    Heartbeat,
    /// The handler of one of the running requests answers.
    Reply(u8, Answer),
    SignalHandled(u8),
    /// A handler answers once more.
    ReplyAgain(u8),
    SendSignal {
        name: u8,
        payload: u8,
        encoding: u8,
    },
    /// The application asks the client something.
    AskClient {
        name: u8,
        payload: u8,
    },
    CancelQuestion(u8),
    /// The client answers the question of this number.
    AnswerQuestion(u8),
    /// One signal to all, encoded once.
    SendToAll {
        name: u8,
        payload: u8,
        encoding: u8,
    },
    CreateSession(u8),
    EndSession,
    /// The info of the session changes.
    UpdateSession(u8),
    /// Its key changes.
    RotateKey(u8),
    /// The same, with other info, and it is closed for all other connections.
    TakeOver(u8),
    Close,
    /// The server shuts down, in this many milliseconds.
    ShutDown(u8),
    Disconnect,
    /// The task of the connection is dropped.
    Vanish,
    Join(u8),
    LeaveGroup(u8),
    /// Time passes, in either direction.
    Time(i16),
    /// What a connection asked reaches the hub.
    Ask,
    /// What the hub told reaches a connection.
    Hear,
    StoreAnswers {
        which: u8,
        fails: bool,
    },
    CloseKey {
        key: u8,
        disconnect: bool,
    },
}

#[derive(Arbitrary, Debug)]
enum Answer {
    Payload(u8),
    Code(u8),
    Internal,
    SessionNotFound,
    MaxSessionConnections,
    SessionsDisabled,
    Protocol,
}

#[derive(Arbitrary, Debug)]
struct Event {
    on: u8,
    step: Step,
}

fuzz_target!(|input: (Setting, Vec<Event>)| {
    let (setting, events) = input;
    let mut world = World::new(&setting);
    for event in &events {
        take(&mut world, event);
        world.check();
    }
    world.settle();
});

fn payload(length: u8, encoding: u8) -> Payload {
    let (encoding, length) = match encoding % 3 {
        0 => (Encoding::Binary, length),
        1 => (Encoding::Utf8, length),
        _ => (Encoding::Utf16, length & !1),
    };
    Payload::new(encoding, vec![b'p'; usize::from(length)]).expect("even where it has to be")
}

fn take(world: &mut World, event: &Event) {
    let Some(on) = world.choose(event.on) else { return alone(world, event) };
    match &event.step {
        Step::Bytes(bytes) => world.receive(on, Bytes::copy_from_slice(bytes)),
        Step::Text(bytes) => world.receive_text(on, Bytes::copy_from_slice(bytes)),
        Step::Activity => world.hear_from(on),
        Step::Request { name, payload: length, encoding } => {
            world.receive_request(on, *name, &payload(*length, *encoding));
        }
        Step::Signal { payload: length } => world.receive_signal(on, &payload(*length, 1)),
        Step::Restore(key) => world.receive_restore(on, *key),
        Step::CloseSession => world.receive_close_session(on),
        Step::Heartbeat => world.receive(on, Bytes::from_static(&[0x21])),
        Step::Reply(which, answer) => world.reply(on, *which, result(answer)),
        Step::SignalHandled(which) => world.signal_handled(on, *which),
        Step::ReplyAgain(which) => world.reply_again(on, *which),
        Step::SendSignal { name, payload: length, encoding } => {
            world.signal(on, *name, &payload(*length, *encoding));
        }
        Step::AskClient { name, payload: length } => {
            world.ask_client(on, *name, &payload(*length, 0));
        }
        Step::CancelQuestion(number) => world.cancel_question(on, *number),
        Step::AnswerQuestion(number) => {
            let frame = [0x19, *number, 0, 0, 0, 0, 0, 0, 0, b'a'];
            world.receive(on, Bytes::copy_from_slice(&frame));
        }
        Step::SendToAll { name, payload: length, encoding } => {
            world.signal_all(*name, &payload(*length, *encoding));
        }
        Step::CreateSession(key) => world.create_session(on, *key),
        Step::EndSession => world.close_session(on),
        Step::UpdateSession(number) => world.update_session(on, *number),
        Step::RotateKey(key) => world.new_key(on, *key, OtherConnections::Keep),
        Step::TakeOver(key) => world.new_key(on, *key, OtherConnections::Close),
        Step::Close => world.close(on),
        Step::Disconnect => world.disconnect(on),
        Step::Vanish => world.vanish(on),
        Step::Join(group) => world.join(on, *group),
        Step::LeaveGroup(group) => world.leave_group(on, *group),
        Step::Ask => world.ask(on),
        Step::Hear => world.hear(on),
        Step::ShutDown(_) | Step::Time(_) | Step::StoreAnswers { .. } | Step::CloseKey { .. } => {
            alone(world, event);
        }
    }
}

/// What happens without a connection.
fn alone(world: &mut World, event: &Event) {
    match &event.step {
        Step::ShutDown(within) => world.shut_down(*within),
        Step::Time(millis) => world.pass(i64::from(*millis)),
        Step::StoreAnswers { which, fails } => world.store_answers(*which, *fails),
        Step::CloseKey { key, disconnect } => world.close_key(*key, *disconnect),
        _ => {}
    }
}

fn result(answer: &Answer) -> Result<Payload, RequestError> {
    Err(match answer {
        Answer::Payload(length) => return Ok(payload(*length, *length)),
        Answer::Code(length) => {
            RequestError::failed("C".repeat(usize::from(*length) * 2), "message")
        }
        Answer::Internal => RequestError::Internal,
        Answer::SessionNotFound => RequestError::SessionNotFound,
        Answer::MaxSessionConnections => RequestError::MaxSessionConnections,
        Answer::SessionsDisabled => RequestError::SessionsDisabled,
        Answer::Protocol => RequestError::Protocol,
    })
}
