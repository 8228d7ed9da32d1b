//! Sessions: restored, closed, and created if a request does that.

use bytes::Bytes;
use wwr::wire::{Identifier, Message, decode};
use wwr::{Dialect, Payload, Session, SessionKey};

use super::facts::Spoken;
use super::host::{Host, request, unknown_key};
use super::line::{Line, compose, shown};
use super::outcome::{Check, Finding, Level, Trouble, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "restore-unknown",
        section: "§5.6",
        level: Level::Must,
        expected: "a key that belongs to no session gets 03, or 05 if sessions are disabled, and the \
                   connection goes on",
        run: |host| Box::pin(restore_unknown(host)),
    },
    Check {
        name: "restore-invalid",
        section: "§5.6",
        level: Level::Must,
        expected: "a key that no host would make, such as a path, gets 03 or 05 as well",
        run: |host| Box::pin(restore_invalid(host)),
    },
    Check {
        name: "close-session-none",
        section: "§5.7",
        level: Level::Must,
        expected: "without a session, a close-session gets bf, or 05 if sessions are disabled",
        run: |host| Box::pin(close_none(host)),
    },
    Check {
        name: "session-created",
        section: "§5.5",
        level: Level::Must,
        expected: "one SessionCreated with a session object comes before the reply to the request that \
                   creates the session",
        run: |host| Box::pin(created(host)),
    },
    Check {
        name: "session-restored",
        section: "§5.6",
        level: Level::Must,
        expected: "another connection restores the session after the first one was lost: c0 with the same \
                   session, and no SessionCreated",
        run: |host| Box::pin(restored(host)),
    },
    Check {
        name: "session-closed",
        section: "§5.7",
        level: Level::Must,
        expected: "a close-session gets bf; 16 precedes it in 1.x, and never in wwr.1",
        run: |host| Box::pin(closed(host)),
    },
    Check {
        name: "session-destroyed",
        section: "§5.7",
        level: Level::Must,
        expected: "a session that its last connection has closed cannot be restored",
        run: |host| Box::pin(destroyed(host)),
    },
];

fn special(kind: u8, id: Identifier) -> Vec<u8> {
    [&[kind][..], id.as_bytes()].concat()
}

fn restore(id: Identifier, key: &[u8]) -> Vec<u8> {
    [&[0x20][..], id.as_bytes(), key].concat()
}

/// Returns whether the host says that there is no such session.
fn is_not_found(reply: &[u8], id: Identifier) -> bool {
    [3, 5].into_iter().any(|kind| reply == special(kind, id))
}

async fn restore_unknown(host: &Host) -> Verdict {
    let mut line = host.open().await?;
    let id = host.next_id();
    let (before, reply) = line.ask(&restore(id, unknown_key().as_bytes()), id).await?;
    line.settle(host).await?;
    let is_right = is_not_found(&reply, id) && before.is_empty();
    Ok(Finding::of(is_right, shown(&[before, vec![reply]].concat())))
}

async fn restore_invalid(host: &Host) -> Verdict {
    let long = [b'k'; 4000];
    let keys = [&b"x"[..], b"../webwire-check", b"\xff\xfe", b"/", b"a\0b", &long];
    let mut line = host.open().await?;
    let mut seen = String::new();
    for key in keys.into_iter().filter(|key| host.reads(key.len() + 9)) {
        let id = host.next_id();
        let asked = line.ask(&restore(id, key), id).await;
        let what = format!("for {:?}", String::from_utf8_lossy(key.get(..20).unwrap_or(key)));
        match asked {
            Ok((before, reply)) => {
                let is_right = is_not_found(&reply, id) && before.is_empty();
                let failed = reply == special(0x02, id);
                seen = shown(&[before, vec![reply]].concat());
                if failed {
                    return Ok(Finding::Warn(format!("{what}: {seen}, the look-up failed")));
                }
                if !is_right {
                    return Ok(Finding::Fail(format!("{what}: {seen}")));
                }
            }
            // The Go server of 1.4 drops a connection if a look-up fails.
            Err(Trouble::Ended(end)) if host.spoken() == Spoken::V1_4 => {
                return Ok(Finding::Quirk("Q14-04", format!("{what}: {end}")));
            }
            Err(trouble) => return Ok(Finding::Fail(format!("{what}: {trouble}"))),
        }
    }
    line.settle(host).await?;
    Ok(Finding::Pass(seen))
}

async fn close_none(host: &Host) -> Verdict {
    let mut line = host.open().await?;
    let id = host.next_id();
    let (before, reply) = line.ask(&compose(&Message::CloseSession { id })?, id).await?;
    let is_right = [0xbf, 0x05].into_iter().any(|kind| reply == special(kind, id));
    line.settle(host).await?;
    Ok(Finding::of(is_right && before.is_empty(), shown(&[before, vec![reply]].concat())))
}

/// A connection with a session.
struct LoggedIn {
    line: Line,
    key: SessionKey,
    /// What came for the request that created it.
    before: Vec<Bytes>,
}

/// Makes the request that creates a session.
async fn log_in(host: &Host, mut line: Line) -> Result<LoggedIn, Trouble> {
    let Some((name, payload)) = &host.login else {
        return Trouble::skip("needs a request that creates a session: --login");
    };
    let id = host.next_id();
    let payload = Payload::utf8(payload.clone());
    let (before, reply) = line.ask(&request(id, name.as_bytes(), &payload)?, id).await?;
    let created = before.iter().find_map(session);
    match created {
        Some(session) => Ok(LoggedIn { line, key: session.key, before }),
        None => {
            let failed = matches!(reply.first(), Some(0..=6)) && before.is_empty();
            let seen = shown(&[before, vec![reply]].concat());
            if failed {
                return Trouble::skip(format!("the request of --login failed: {seen}"));
            }
            Err(Trouble::Unreadable(format!("no session was created before the reply: {seen}")))
        }
    }
}

/// Returns the session that a SessionCreated announces.
fn session(message: &Bytes) -> Option<Session> {
    match decode(Dialect::Unknown, message.clone()) {
        Ok(Message::SessionCreated { object }) => Session::from_json(&object).ok(),
        _ => None,
    }
}

/// Leaves no session behind.
async fn log_out(host: &Host, line: &mut Line) -> Result<(Vec<Bytes>, Bytes, Identifier), Trouble> {
    let id = host.next_id();
    let (before, reply) = line.ask(&compose(&Message::CloseSession { id })?, id).await?;
    Ok((before, reply, id))
}

async fn created(host: &Host) -> Verdict {
    let mut one = log_in(host, host.open().await?).await?;
    let count = one.before.iter().filter(|message| message.first() == Some(&0x15)).count();
    log_out(host, &mut one.line).await?;
    Ok(Finding::of(count == 1, shown(&one.before)))
}

async fn restored(host: &Host) -> Verdict {
    let LoggedIn { line, key, .. } = log_in(host, host.open().await?).await?;
    drop(line);
    let mut line = host.open().await?;
    let id = host.next_id();
    let (before, reply) = line.ask(&restore(id, key.as_str().as_bytes()), id).await?;
    let same = match decode(Dialect::Unknown, reply.clone()) {
        Ok(Message::Reply { payload, .. }) => {
            let restored = Session::from_json(payload.as_bytes());
            restored.is_ok_and(|session| session.key == key)
        }
        _ => false,
    };
    if same {
        log_out(host, &mut line).await?;
    }
    // Clients accept every encoding.
    Ok(Finding::of(same && before.is_empty(), shown(&[before, vec![reply]].concat())))
}

async fn closed(host: &Host) -> Verdict {
    let is_wwr1 = host.facts.wwr1.is_some();
    let line = if is_wwr1 { host.open_wwr1().await? } else { host.open().await? };
    let mut one = log_in(host, line).await?;
    let (before, reply, id) = log_out(host, &mut one.line).await?;
    let told = before == [&b"\x16"[..]];
    let is_right = match (is_wwr1, host.spoken()) {
        (true, _) => before.is_empty(),
        (false, Spoken::V1_4 | Spoken::V1_5) => told,
        // Harmless to clients of 2.0.
        (false, Spoken::V2_0 | Spoken::All) => told || before.is_empty(),
    };
    let is_right = is_right && reply == special(0xbf, id);
    Ok(Finding::of(is_right, shown(&[before, vec![reply]].concat())))
}

async fn destroyed(host: &Host) -> Verdict {
    let mut one = log_in(host, host.open().await?).await?;
    log_out(host, &mut one.line).await?;
    let id = host.next_id();
    let (before, reply) = one.line.ask(&restore(id, one.key.as_str().as_bytes()), id).await?;
    let seen = shown(&[before, vec![reply.clone()]].concat());
    Ok(match reply.first() {
        Some(0x03) => Finding::Pass(seen),
        // The Go servers of 1.x never destroy a session.
        Some(0xbf..=0xc1) if matches!(host.spoken(), Spoken::V1_4 | Spoken::V1_5) => {
            log_out(host, &mut one.line).await?;
            Finding::Quirk("Q14-01", seen)
        }
        _ => Finding::Fail(seen),
    })
}
