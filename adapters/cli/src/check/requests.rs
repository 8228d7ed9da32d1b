//! Requests and replies: identifiers, encodings, order.

use wwr::wire::{Identifier, Message, decode};
use wwr::{Dialect, Encoding, Payload};

use super::facts::Spoken;
use super::host::{Host, payload, request};
use super::line::shown;
use super::outcome::{Check, Finding, Level, Trouble, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "reply-identifier",
        section: "§2",
        level: Level::Must,
        expected: "a reply repeats the eight bytes of its request, whatever they are",
        run: |host| Box::pin(identifier(host)),
    },
    Check {
        name: "reply-payload",
        section: "§5.4",
        level: Level::Must,
        expected: "the echo of each encoding has the type of that encoding and the same payload; in UTF-16 it \
                   begins behind one byte of padding",
        run: |host| Box::pin(echoes(host)),
    },
    Check {
        name: "reply-empty",
        section: "§5.4",
        level: Level::Must,
        expected: "an empty payload is a reply without one",
        run: |host| Box::pin(empty(host)),
    },
    Check {
        name: "reply-once",
        section: "§5.4",
        level: Level::Must,
        expected: "each request gets exactly one reply, also several with one identifier",
        run: |host| Box::pin(once(host)),
    },
    Check {
        name: "reply-order",
        section: "§5.3",
        level: Level::Must,
        expected: "replies come in the order of the requests of a connection; a host of 1.5 need not do that, \
                   nor one of 2.0 that is set to handle several at once",
        run: |host| Box::pin(order(host)),
    },
    Check {
        name: "request-unknown-name",
        section: "§5.4",
        level: Level::Must,
        expected: "a request with a name that nothing handles gets a reply of types 0 to 6 or 191 to 193 that \
                   can be read",
        run: |host| Box::pin(unknown_name(host)),
    },
    Check {
        name: "request-names",
        section: "§1.3",
        level: Level::Must,
        expected: "names have 0 to 255 bytes, and in UTF-16 an odd one is padded",
        run: |host| Box::pin(names(host)),
    },
    Check {
        name: "signal-unanswered",
        section: "§5.2",
        level: Level::Must,
        expected: "a signal has no reply, and a request behind it has one",
        run: |host| Box::pin(signal(host)),
    },
];

/// How many requests are sent at once.
const MANY: usize = 50;

async fn identifier(host: &Host) -> Verdict {
    host.echo()?;
    let mut line = host.open().await?;
    for bytes in [
        [0; 8],
        [0xff; 8],
        [1, 2, 3, 4, 5, 6, 7, 8],
        // The first one of JavaScript clients, and one above 32 bits.
        [0, 0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0x80],
    ] {
        let id = Identifier::from_bytes(bytes);
        line.send(&host.echoed(id, &Payload::binary(&b"id"[..]))?).await?;
        let reply = line.message().await?;
        if reply.get(1..9) != Some(id.as_bytes()) {
            return Ok(Finding::Fail(format!("{id} came back in {}", shown(&[reply]))));
        }
    }
    Ok(Finding::Pass("all were repeated".into()))
}

async fn echoes(host: &Host) -> Verdict {
    host.echo()?;
    let mut line = host.open().await?;
    for encoding in [Encoding::Binary, Encoding::Utf8, Encoding::Utf16] {
        let sent = payload(encoding, 3);
        let id = host.next_id();
        let message = host.echoed(id, &sent)?;
        let (before, reply) = line.ask(&message, id).await?;
        let is_same = match decode(Dialect::Unknown, reply.clone()) {
            Ok(Message::Reply { payload, .. }) => payload == sent,
            _ => false,
        };
        if !is_same || !before.is_empty() {
            let seen = shown(&[before, vec![reply]].concat());
            return Ok(Finding::Fail(format!("{encoding:?} came back as {seen}")));
        }
    }
    Ok(Finding::Pass("binary, UTF-8 and UTF-16 came back".into()))
}

async fn empty(host: &Host) -> Verdict {
    host.echo()?;
    let mut line = host.open().await?;
    let id = host.next_id();
    let (before, reply) = line.ask(&host.echoed(id, &Payload::EMPTY)?, id).await?;
    let is_empty = match decode(Dialect::Unknown, reply.clone()) {
        Ok(Message::Reply { payload, .. }) => payload.is_empty(),
        _ => false,
    };
    Ok(Finding::of(is_empty && before.is_empty(), shown(&[before, vec![reply]].concat())))
}

async fn once(host: &Host) -> Verdict {
    host.echo()?;
    let mut line = host.open().await?;
    let repeated = host.next_id();
    let mut ids: Vec<_> = (0..MANY).map(|_| host.next_id()).collect();
    ids.extend([repeated; 3]);
    let mut messages = Vec::new();
    for (id, number) in ids.iter().zip(0_u8..) {
        messages.push(host.echoed(*id, &Payload::binary(vec![number]))?);
    }
    line.send_all(&messages).await?;
    let mut replies = Vec::new();
    while replies.len() < ids.len() {
        replies.push(line.message().await?);
    }
    let late = line.settle(host).await?;
    let count = |id: &Identifier, of: &[bytes::Bytes]| {
        of.iter().filter(|reply| reply.get(1..9) == Some(id.as_bytes())).count()
    };
    let wrong = ids.iter().find(|id| count(id, &replies) != if **id == repeated { 3 } else { 1 });
    Ok(match wrong {
        _ if !late.is_empty() => Finding::Fail(format!("more came: {}", shown(&late))),
        Some(id) => Finding::Fail(format!("{} replies with {id}", count(id, &replies))),
        None => Finding::Pass(format!("{} requests, {} replies", ids.len(), replies.len())),
    })
}

async fn order(host: &Host) -> Verdict {
    host.echo()?;
    let mut line = host.open().await?;
    let ids: Vec<_> = (0..MANY).map(|_| host.next_id()).collect();
    let mut messages = Vec::new();
    for id in &ids {
        messages.push(host.echoed(*id, &Payload::binary(&b"order"[..]))?);
    }
    line.send_all(&messages).await?;
    for (place, id) in ids.iter().enumerate() {
        let reply = line.message().await?;
        if reply.get(1..9) == Some(id.as_bytes()) {
            continue;
        }
        let seen = format!("in place {} of {MANY} came {}", place + 1, shown(&[reply]));
        return Ok(match host.spoken() {
            Spoken::V1_5 => Finding::Pass(format!("{seen}, as 1.5 allows")),
            // A limit above 1 can be set for 2.0.
            Spoken::V2_0 => Finding::Warn(seen),
            Spoken::V1_4 | Spoken::All => Finding::Fail(seen),
        });
    }
    Ok(Finding::Pass(format!("{MANY} in order")))
}

async fn unknown_name(host: &Host) -> Verdict {
    let mut line = host.open().await?;
    let id = host.next_id();
    let message = request(id, b"webwire-check-0", &Payload::EMPTY)?;
    if !host.reads(message.len()) {
        return Trouble::skip("the message buffer is too small");
    }
    line.send(&message).await?;
    let reply = line.message().await?;
    let seen = shown(std::slice::from_ref(&reply));
    Ok(match decode(Dialect::Unknown, reply) {
        Ok(
            Message::ErrorReply { id: one, .. }
            | Message::SpecialReply { id: one, .. }
            | Message::Reply { id: one, .. },
        ) => Finding::of(one == id, seen),
        Ok(_) => Finding::Fail(seen),
        Err(error) => Finding::Fail(format!("{seen}: {error}")),
    })
}

async fn names(host: &Host) -> Verdict {
    let long = [b'n'; 255];
    let mut line = host.open().await?;
    let mut sent = 0;
    for (name, payload) in [
        (&b""[..], Payload::binary(&b"x"[..])),
        (&long[..], Payload::EMPTY),
        (&long, Payload::utf16("x")),
        (&long[..254], Payload::utf16("x")),
        (b"odd", Payload::utf16("")),
        (b"", Payload::utf16("x")),
    ] {
        let id = host.next_id();
        let message = request(id, name, &payload)?;
        if !host.reads(message.len()) {
            continue;
        }
        line.send(&message).await?;
        let reply = line.message().await?;
        // Whether it can be read is for another check.
        if reply.get(1..9) != Some(id.as_bytes()) || reply.first() == Some(&0x06) {
            let what = format!("a name of {} bytes, {:?}", name.len(), payload.encoding());
            return Ok(Finding::Fail(format!("{what}: {}", shown(&[reply]))));
        }
        sent += 1;
    }
    Ok(Finding::Pass(format!("{sent} requests were answered")))
}

async fn signal(host: &Host) -> Verdict {
    let mut line = host.open().await?;
    // With a payload, which all versions read.
    line.send(b"\x3f\x01xx").await?;
    line.send(b"\x40\x01xx").await?;
    line.send(b"\x41\x01x\0x\0").await?;
    let before = line.settle(host).await?;
    Ok(Finding::of(before.is_empty(), shown(&before)))
}
