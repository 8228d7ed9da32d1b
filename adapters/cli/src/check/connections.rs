//! Many connections at once, and neighbours that behave badly.

use wwr::Dialect;
use wwr::Payload;
use wwr::wire::{Message, decode};

use super::host::Host;
use super::line::{BINARY, Line, frame, header, shown};
use super::outcome::{Check, Finding, Level, Trouble, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "connections-many",
        section: "§5.3",
        level: Level::Must,
        expected: "20 connections are served at once, and each gets its own replies",
        run: |host| Box::pin(many(host)),
    },
    Check {
        name: "neighbour-stalled",
        section: "§5.3",
        level: Level::Must,
        expected: "connections that stop in the middle of a request, a handshake or a frame do not hold up \
                   others",
        run: |host| Box::pin(stalled(host)),
    },
    Check {
        name: "neighbour-lost",
        section: "§5.9",
        level: Level::Must,
        expected: "connections that are cut in the middle of a frame, or before their replies, do not hold up \
                   others",
        run: |host| Box::pin(lost(host)),
    },
];

const MANY: usize = 20;

/// How many requests each of them makes at once.
const EACH: usize = 5;

async fn many(host: &Host) -> Verdict {
    let mut lines: Vec<Line> = Vec::new();
    for _ in 0..MANY {
        lines.push(host.open().await?);
    }
    if host.echo.is_none() {
        for line in &mut lines {
            line.settle(host).await?;
        }
        return Ok(Finding::Pass(format!("{MANY} were served; their replies need --echo")));
    }
    let mut asked = Vec::new();
    for line in &mut lines {
        let mut messages = Vec::new();
        for _ in 0..EACH {
            let id = host.next_id();
            messages.push((id, host.echoed(id, &Payload::binary(id.as_bytes().to_vec()))?));
        }
        let sent: Vec<_> = messages.iter().map(|(_, message)| message).collect();
        line.send_all(&sent).await?;
        asked.push(messages);
    }
    for (line, messages) in lines.iter_mut().zip(asked) {
        for (id, _) in messages {
            let reply = line.message().await?;
            // In any order: another check looks at that.
            let is_own = match decode(Dialect::Unknown, reply.clone()) {
                Ok(Message::Reply { id: one, payload }) => payload.as_bytes() == one.as_bytes(),
                _ => false,
            };
            if !is_own {
                return Ok(Finding::Fail(format!("for {id} came {}", shown(&[reply]))));
            }
        }
    }
    Ok(Finding::Pass(format!("{MANY} connections, {} replies", MANY * EACH)))
}

/// Expects that a new connection and an old one are served.
async fn others_go_on(host: &Host, mut old: Line) -> Result<(), Trouble> {
    old.settle(host).await?;
    let mut new = host.open().await?;
    new.settle(host).await.map(drop)
}

async fn stalled(host: &Host) -> Verdict {
    let old = host.open().await?;
    let silent = host.dial().await?;
    let mut half_asked = host.dial().await?;
    half_asked.write(b"GET / HTTP/1.1\r\nHost: ").await?;
    let mut half_sent = host.open().await?;
    half_sent.write(&header(BINARY, 20)).await?;
    let mut unread = host.open().await?;
    unread.send_all(&vec![host.question(host.next_id())?; 100]).await?;
    others_go_on(host, old).await?;
    drop((silent, half_asked, half_sent, unread));
    Ok(Finding::Pass("others were served meanwhile".into()))
}

async fn lost(host: &Host) -> Verdict {
    let old = host.open().await?;
    let mut cut = host.open().await?;
    let whole = frame(BINARY, &host.question(host.next_id())?);
    cut.write(whole.get(..whole.len() / 2).unwrap_or_default()).await?;
    let mut impatient = host.open().await?;
    impatient.send_all(&vec![host.question(host.next_id())?; 100]).await?;
    let mut half_asked = host.dial().await?;
    half_asked.write(b"WEBWIRE / HT").await?;
    drop((cut, impatient, half_asked));
    others_go_on(host, old).await?;
    Ok(Finding::Pass("others were served afterwards".into()))
}
