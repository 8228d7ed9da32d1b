//! Messages that make no sense. Each check sends several of a kind, and looks at another connection too.

use wwr::wire::Identifier;

use super::facts::Spoken;
use super::host::Host;
use super::line::{Line, Reaction, TEXT, frame, shown};
use super::outcome::{Check, Finding, Level, Trouble, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "malformed-request",
        section: "§5.2",
        level: Level::Must,
        expected: "a request with a known identifier that cannot be read: 1.x replies 06 with it; a host of \
                   all versions replies 02 with it, or nothing; one of 2.0 may disconnect; others are served",
        run: |host| {
            Box::pin(bad(
                host,
                Rule::Attributed,
                &[
                    (b"\x7fIDENTITY\x02a", "a name that is longer than the message"),
                    (b"\x80IDENTITY\xffa", "a name of 255 bytes that are not there"),
                    (b"\x81IDENTITY\x03ab", "a UTF-16 request without all of its name"),
                ],
            ))
        },
    },
    Check {
        name: "malformed-short-request",
        section: "§5.2",
        level: Level::Must,
        expected: "a request without an identifier that can be read: 1.x replies 06 with zeros; a host of all \
                   versions ignores it; one of 2.0 may disconnect; others are served",
        run: |host| {
            Box::pin(bad(
                host,
                Rule::Unattributed,
                &[
                    (b"\x7f", "a type alone"),
                    (b"\x7fIDENTITY\x00", "neither name nor payload"),
                    (b"\x80IDENTI", "half of an identifier"),
                    (b"\x81IDENTITY\x01a", "UTF-16 of odd length"),
                ],
            ))
        },
    },
    Check {
        name: "malformed-session",
        section: "§5.2",
        level: Level::Must,
        expected: "a restore without a key and a close-session of a wrong length: as a request whose \
                   identifier cannot be read",
        run: |host| {
            Box::pin(bad(
                host,
                Rule::Unattributed,
                &[
                    (b"\x20IDENTITY", "a restore without a key"),
                    (b"\x1fIDENTITY\x00", "a close-session that is too long"),
                    (b"\x1f", "a close-session that is too short"),
                ],
            ))
        },
    },
    Check {
        name: "malformed-signal",
        section: "§5.2",
        level: Level::Must,
        expected: "a signal that cannot be read is ignored; a host of 2.0 may disconnect; others are served",
        run: |host| {
            Box::pin(bad(
                host,
                Rule::Unanswered,
                &[
                    (b"\x3f", "a type alone"),
                    (b"\x3f\x00", "neither name nor payload"),
                    (b"\x40\x09abc", "a name that is longer than the message"),
                    (b"\x41\x01a\0h", "UTF-16 of odd length"),
                    (b"\x41\x02ab", "UTF-16 without a payload"),
                ],
            ))
        },
    },
    Check {
        name: "message-empty",
        section: "§5.2",
        level: Level::Must,
        expected: "a message of no bytes is ignored; a host of 2.0 may disconnect; others are served",
        run: |host| Box::pin(bad(host, Rule::Unanswered, &[(b"", "no bytes")])),
    },
    Check {
        name: "message-unknown-type",
        section: "§5.2",
        level: Level::Must,
        expected: "a message of unknown type is ignored; a host of 2.0 may disconnect; others are served",
        run: |host| {
            Box::pin(bad(
                host,
                Rule::Unanswered,
                &[
                    (b"\x07", "type 7"),
                    (b"\x64IDENTITY\x01a", "type 100"),
                    (b"\xffIDENTITY\x01a", "type 255"),
                ],
            ))
        },
    },
    Check {
        name: "message-server-only",
        section: "§5.2",
        level: Level::Must,
        expected: "a well-formed message of a type that only servers send is ignored, in every version",
        run: |host| {
            Box::pin(bad(
                host,
                Rule::Ignored,
                &[
                    (b"\xbfIDENTITYreply", "a reply"),
                    (b"\x00IDENTITY\x01Cm", "an error reply"),
                    (b"\x01IDENTITY", "a special reply"),
                    (b"\x15{}", "session created"),
                    (b"\x16", "session closed"),
                ],
            ))
        },
    },
    Check {
        name: "message-flood",
        section: "§5.2",
        level: Level::Must,
        expected: "200 messages of unknown type in a row do not end a connection of 1.x",
        run: |host| Box::pin(flood(host)),
    },
    Check {
        name: "message-text",
        section: "§1.1",
        level: Level::Should,
        expected: "a WebSocket message of text is read as if it were binary; a host of 2.0 may disconnect",
        run: |host| Box::pin(text(host)),
    },
    Check {
        name: "malformed-wwr.1",
        section: "§10.3",
        level: Level::Must,
        expected: "in wwr.1, a request that cannot be read gets 06 with its identifier or with zeros, and \
                   other messages without a meaning are ignored",
        run: |host| Box::pin(in_wwr1(host)),
    },
];

/// The identifier in the messages of this file.
const IDENTITY: Identifier = Identifier::from_bytes(*b"IDENTITY");

/// What has to come of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Requires a reply, and the identifier is known.
    Attributed,
    /// Requires a reply, and it is not.
    Unattributed,
    /// Requires no reply.
    Unanswered,
    /// Is ignored by all versions.
    Ignored,
}

fn reply(kind: u8, id: Identifier) -> Vec<u8> {
    [&[kind][..], id.as_bytes()].concat()
}

/// Returns whether the host may do this.
fn is_allowed(spoken: Spoken, rule: Rule, reaction: &Reaction) -> bool {
    let messages = match reaction {
        // The reference of 2.0 ends the connection.
        Reaction::Ended(_) => return spoken == Spoken::V2_0 && rule != Rule::Ignored,
        Reaction::Lives(messages) => messages.as_slice(),
    };
    let is = |kind, id| matches!(messages, [one] if *one == reply(kind, id));
    match (rule, spoken) {
        (Rule::Attributed, Spoken::V1_4 | Spoken::V1_5) => is(0x06, IDENTITY),
        // 06 would end a client of 2.0.
        (Rule::Attributed, Spoken::V2_0 | Spoken::All) => messages.is_empty() || is(0x02, IDENTITY),
        (Rule::Unattributed, Spoken::V1_4 | Spoken::V1_5) => is(0x06, Identifier::ZERO),
        (Rule::Unattributed, Spoken::V2_0 | Spoken::All)
        | (Rule::Unanswered | Rule::Ignored, _) => messages.is_empty(),
    }
}

fn describe(reaction: &Reaction) -> String {
    match reaction {
        Reaction::Lives(messages) => shown(messages),
        Reaction::Ended(end) => end.to_string(),
    }
}

/// Sends each, and looks at what comes of it, here and on another connection.
async fn bad(host: &Host, rule: Rule, messages: &[(&[u8], &str)]) -> Verdict {
    let (mut witness, mut line) = (host.open().await?, host.open().await?);
    let (mut disconnects, spoken) = (0, host.spoken());
    for (message, what) in messages {
        line.send(message).await?;
        let reaction = line.reaction(host).await?;
        if !is_allowed(spoken, rule, &reaction) {
            return Ok(Finding::Fail(format!("{what}: {}", describe(&reaction))));
        }
        if matches!(reaction, Reaction::Ended(_)) {
            disconnects += 1;
            line = host.open().await?;
        }
        if let Err(trouble) = witness.settle(host).await {
            return Ok(Finding::Fail(format!("{what}: on another connection, {trouble}")));
        }
    }
    let all = messages.len();
    Ok(Finding::Pass(match disconnects {
        0 => format!("{all} messages, and the connection lives"),
        _ => format!("{all} messages, {disconnects} disconnects"),
    }))
}

async fn flood(host: &Host) -> Verdict {
    if host.spoken() == Spoken::V2_0 {
        return Trouble::skip("a host of 2.0 may disconnect at the first one");
    }
    let mut line = host.open().await?;
    line.send_all(&[b"\x60flood"; 200]).await?;
    let reaction = line.reaction(host).await?;
    Ok(Finding::of(reaction == Reaction::Lives(Vec::new()), describe(&reaction)))
}

async fn text(host: &Host) -> Verdict {
    let mut line = host.open().await?;
    // All bytes of it are ASCII, so that it is UTF-8.
    let id = Identifier::from_bytes(*b"T\0\0\0\0\0\0\0");
    let question = [b"\x1f", id.as_bytes().as_slice()].concat();
    line.write(&frame(TEXT, &question)).await?;
    let answered = line.reply(id).await;
    Ok(match answered {
        Ok((_, reply)) => Finding::Pass(shown(&[reply])),
        Err(Trouble::Ended(end)) if host.spoken() == Spoken::V2_0 => Finding::Pass(end.to_string()),
        Err(trouble) => return Err(trouble),
    })
}

async fn in_wwr1(host: &Host) -> Verdict {
    let mut line: Line = host.open_wwr1().await?;
    for (message, expected) in [
        (&b"\x7fIDENTITY\x02a"[..], Some(IDENTITY)),
        (b"\x7f", Some(Identifier::ZERO)),
        (b"\x20IDENTITY", Some(Identifier::ZERO)),
        (b"\x3f\x00", None),
        (b"\x07", None),
        (b"", None),
        (b"\x21\x00", None),
    ] {
        line.send(message).await?;
        let reaction = line.reaction(host).await?;
        let expected: Vec<_> = expected.map(|id| reply(0x06, id).into()).into_iter().collect();
        if reaction != Reaction::Lives(expected) {
            let sent = shown(&[message.to_vec().into()]);
            return Ok(Finding::Fail(format!("after {sent}: {}", describe(&reaction))));
        }
    }
    Ok(Finding::Pass("7 messages, and the connection lives".into()))
}

#[cfg(test)]
mod tests {
    use super::super::outcome::End;
    use super::*;

    /// The table of protocol §7.2, the row "malformed request", and §5.2.
    #[test]
    fn what_is_allowed_depends_on_the_version() {
        let lives = |message: Option<Vec<u8>>| {
            Reaction::Lives(message.into_iter().map(Into::into).collect())
        };
        let protocol_error = lives(Some(reply(6, IDENTITY)));
        let unattributed = lives(Some(reply(6, Identifier::ZERO)));
        let internal = lives(Some(reply(2, IDENTITY)));
        let (nothing, ended) = (lives(None), Reaction::Ended(End::Cut));
        for (rule, reaction, allowed) in [
            (Rule::Attributed, &protocol_error, [true, true, false, false]),
            (Rule::Attributed, &internal, [false, false, true, true]),
            (Rule::Attributed, &nothing, [false, false, true, true]),
            (Rule::Attributed, &ended, [false, false, true, false]),
            (Rule::Attributed, &unattributed, [false; 4]),
            (Rule::Unattributed, &unattributed, [true, true, false, false]),
            (Rule::Unattributed, &nothing, [false, false, true, true]),
            (Rule::Unattributed, &ended, [false, false, true, false]),
            (Rule::Unanswered, &nothing, [true; 4]),
            (Rule::Unanswered, &internal, [false; 4]),
            (Rule::Unanswered, &ended, [false, false, true, false]),
            (Rule::Ignored, &nothing, [true; 4]),
            (Rule::Ignored, &ended, [false; 4]),
        ] {
            let all = [Spoken::V1_4, Spoken::V1_5, Spoken::V2_0, Spoken::All];
            assert_eq!(
                all.map(|spoken| is_allowed(spoken, rule, reaction)),
                allowed,
                "{rule:?} {reaction:?}"
            );
        }
    }
}
