//! Lengths of messages, and how they are cut into frames and packets.

use bytes::Bytes;

use super::facts::Spoken;
use super::host::Host;
use super::line::{BINARY, FIN, Line, PING, Reaction, frame, header, masked, shown};
use super::outcome::{Check, End, Finding, Level, Trouble, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "fragments",
        section: "§1.1",
        level: Level::Must,
        expected: "a message in several frames is read, also with a ping between them",
        run: |host| Box::pin(fragments(host)),
    },
    Check {
        name: "split-frames",
        section: "§1.1",
        level: Level::Must,
        expected: "a frame that arrives byte by byte is read",
        run: |host| Box::pin(split(host)),
    },
    Check {
        name: "buffer-exact",
        section: "§4.6",
        level: Level::Must,
        expected: "a message as long as the advertised message buffer is read",
        run: |host| Box::pin(buffer_exact(host)),
    },
    Check {
        name: "buffer-exceeded",
        section: "§4.6",
        level: Level::Must,
        expected: "a client of 2.0 that sends more than the message buffer is disconnected, or gets a reply \
                   that fits into it",
        run: |host| Box::pin(buffer_exceeded(host)),
    },
    Check {
        name: "longest-exact",
        section: "§10.2",
        level: Level::Must,
        expected: "in wwr.1, a message as long as the host has stated is read",
        run: |host| Box::pin(longest_exact(host)),
    },
    Check {
        name: "message-too-long",
        section: "§4.6",
        level: Level::Must,
        expected: "a message that is longer than a host of wwr.1 has stated, or a frame of a tebibyte in \
                   another version, ends the connection; others are served",
        run: |host| Box::pin(too_long(host)),
    },
];

/// The longest message that is sent to see whether it is read, in bytes.
const MOST: u32 = 16 * 1024 * 1024;

/// How much of a message that is far too long is sent, in bytes.
const BEGINNING: usize = 2 * 1024 * 1024;

/// How much is sent between two looks at whether the connection has ended.
const PIECE: usize = 16 * 1024;

async fn fragments(host: &Host) -> Verdict {
    let mut line = host.open().await?;
    let id = host.next_id();
    let question = host.question(id)?;
    let (start, rest) = question.split_at(question.len() / 2);
    let (middle, end) = rest.split_at(rest.len() / 2);
    let frames = [
        frame(BINARY & !FIN, start),
        frame(PING, b"between"),
        frame(0, middle),
        frame(0, b""),
        frame(FIN, end),
    ];
    line.write(&frames.concat()).await?;
    let (before, reply) = line.reply(id).await?;
    Ok(Finding::of(before.is_empty(), shown(&[before, vec![reply]].concat())))
}

async fn split(host: &Host) -> Verdict {
    let mut line = host.open().await?;
    let id = host.next_id();
    for byte in frame(BINARY, &host.question(id)?) {
        line.write(&[byte]).await?;
    }
    let (before, reply) = line.reply(id).await?;
    Ok(Finding::of(before.is_empty(), shown(&[before, vec![reply]].concat())))
}

async fn buffer_exact(host: &Host) -> Verdict {
    let Some(conf) = &host.facts.accept_conf else { return Trouble::skip("no accept-conf") };
    exact(host, host.open().await?, conf.message_buffer_size).await
}

async fn longest_exact(host: &Host) -> Verdict {
    host.echo()?;
    let line = host.open_wwr1().await?;
    let stated = host.facts.wwr1.as_ref().map_or(0, |conf| conf.message_buffer_size);
    exact(host, line, stated).await
}

async fn exact(host: &Host, mut line: Line, length: u32) -> Verdict {
    host.echo()?;
    if length > MOST {
        return Trouble::skip(format!("{length} bytes are too many to try"));
    }
    let id = host.next_id();
    let (_, reply) = line.ask(&host.echo_of_length(id, length as usize)?, id).await?;
    let seen = format!("{length} bytes: {}", shown(std::slice::from_ref(&reply)));
    Ok(Finding::of(matches!(reply.first(), Some(0xbf..=0xc1)), seen))
}

async fn buffer_exceeded(host: &Host) -> Verdict {
    host.echo()?;
    let Some(conf) = &host.facts.accept_conf else { return Trouble::skip("no accept-conf") };
    let buffer = conf.message_buffer_size;
    if buffer > MOST {
        return Trouble::skip(format!("{buffer} bytes are too many to try"));
    }
    let mut line = host.open().await?;
    // A heartbeat shows that the client speaks 2.0. The reply is shorter than the request by the name.
    line.send(&[0x21]).await?;
    let id = host.next_id();
    line.send(&host.echo_of_length(id, buffer as usize + 300)?).await?;
    Ok(match line.reply(id).await {
        Err(Trouble::Ended(end)) => Finding::Pass(end.to_string()),
        Err(trouble) => return Err(trouble),
        Ok((_, reply)) if reply.len() > buffer as usize => {
            Finding::Quirk("Q20-08", format!("a reply of {} bytes", reply.len()))
        }
        Ok((_, reply)) => Finding::Pass(shown(&[reply])),
    })
}

async fn too_long(host: &Host) -> Verdict {
    let mut witness = host.open().await?;
    let (mut line, length, sent, what) = match &host.facts.wwr1 {
        Some(conf) if conf.message_buffer_size < MOST => {
            let sent = conf.message_buffer_size as usize + 1;
            (host.open_wwr1().await?, sent as u64, sent, format!("{sent} bytes"))
        }
        _ => (host.open().await?, 1 << 40, BEGINNING, "a tebibyte".to_owned()),
    };
    let ended = match send_long(host, &mut line, length, sent).await? {
        Some(end) => Some(end),
        // All of it was taken. It may have been read, or left out.
        None if sent as u64 == length => match line.reaction(host).await? {
            Reaction::Ended(end) => Some(end),
            Reaction::Lives(_) => None,
        },
        None => in_time(line.end().await)?,
    };
    if let Err(trouble) = witness.settle(host).await {
        return Ok(Finding::Fail(format!("{what}: on another connection, {trouble}")));
    }
    Ok(match (ended, host.spoken()) {
        (Some(end), _) => Finding::Pass(format!("{what}: {end}")),
        (None, Spoken::V1_4 | Spoken::V1_5) => {
            Finding::Warn(format!("{what}: the connection lives; 1.x has no limit, memory has"))
        }
        (None, Spoken::V2_0 | Spoken::All) => {
            Finding::Fail(format!("{what}: the connection lives"))
        }
    })
}

/// Sends the head of a frame of this length, and so much of a request to the echo, until the connection
/// ends.
async fn send_long(
    host: &Host,
    line: &mut Line,
    length: u64,
    sent: usize,
) -> Result<Option<End>, Trouble> {
    let name = host.echo.as_ref().map_or(&b"x"[..], |name| name.as_bytes());
    let mut message = [b"\x7fTOO LONG", &[name.len() as u8][..], name].concat();
    message.resize(sent, b'x');
    let message = masked(&message);
    let head = header(BINARY, length);
    for piece in std::iter::once(head.as_slice()).chain(message.chunks(PIECE)) {
        if let Some(end) = line.has_ended().await? {
            return Ok(Some(end));
        }
        match line.write(piece).await {
            Ok(()) => {}
            // The host does not read, or has gone. Reading says which.
            Err(Trouble::Ended(_) | Trouble::Late { .. }) => return in_time(line.end().await),
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(None)
}

/// Returns how a connection ended, if it did in time.
fn in_time(ended: Result<(Vec<Bytes>, End), Trouble>) -> Result<Option<End>, Trouble> {
    match ended {
        Ok((_, end)) => Ok(Some(end)),
        Err(Trouble::Late { .. }) => Ok(None),
        Err(trouble) => Err(trouble),
    }
}
