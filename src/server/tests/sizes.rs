//! What things take and show, and that the same inputs give the same outputs.

use super::*;
use crate::wire::{DecodeError, Message};

// On 64-bit targets.
#[cfg(target_pointer_width = "64")]
#[test]
fn sizes_do_not_grow_unnoticed() {
    for (what, size, most) in [
        ("Connection", size_of::<Connection>(), 400),
        ("Action", size_of::<Action>(), 56),
        ("Message", size_of::<Message>(), 56),
        ("RequestError", size_of::<RequestError>(), 56),
        ("Misuse", size_of::<Misuse>(), 24),
        ("DecodeError", size_of::<DecodeError>(), 40),
    ] {
        assert!(size <= most, "{what} takes {size} bytes, at most {most} are meant");
    }
}

#[test]
fn the_same_inputs_return_the_same_outputs() {
    let run = || {
        let mut script = Script::with(Dialect::Unknown, &concurrent(2));
        let mut lines = Vec::new();
        for round in 0..100u64 {
            for frame in [
                request(round, "echo", "payload"),
                signal("s", "x"),
                restore(round, "k1"),
                close_session(round),
                Bytes::from_static(b"\x7f"),
            ] {
                script.connection.handle_message(script.now, frame, &mut script.out);
            }
            lines.extend(script.lines());
            let outcome = Outcome { key: key("k1"), change: restored("k1") };
            script.connection.handle_session(script.now, outcome, &mut script.out);
            lines.extend(script.lines());
            for id in core::mem::take(&mut script.requests) {
                let _ = script.connection.reply(id, Ok(Payload::EMPTY), &mut script.out);
            }
            for id in core::mem::take(&mut script.signals) {
                let _ = script.connection.signal_handled(id, &mut script.out);
            }
            lines.extend(script.lines());
        }
        script.shut_down(10_000);
        script.connection.handle_timeout(script.now + Duration::from_secs(60), &mut script.out);
        lines.extend(script.lines());
        lines
    };
    let lines = run();
    assert!(lines.len() > 200 && lines.iter().any(|line| line.contains("bf")));
    assert_eq!(lines, run());
}

#[test]
fn debug_output_shows_the_state_without_keys() {
    let mut script = Script::new();
    script.client(request(1, "a", ""), &["run 1 a"]);
    script.client(restore(2, "k-of-the-client"), &[]);
    assert_eq!(script.create("k-of-the-server"), Ok(()));
    let shown = format!("{:?}", script.connection);
    for part in ["Connection", "dialect: V1_4", "phase: Open", "Creation", "waiting: 1"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains("k-of"), "{shown}");
}
