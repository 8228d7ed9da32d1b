//! Frames that break the rules of WebSocket (RFC 6455).

use super::host::Host;
use super::line::{BINARY, FIN, PING, TEXT, frame};
use super::outcome::{Check, Finding, Level, Trouble, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "frame-unmasked",
        section: "§4.4",
        level: Level::Must,
        expected: "a frame without a mask ends the connection (RFC 6455 section 5.1)",
        run: |host| Box::pin(unmasked(host)),
    },
    Check {
        name: "frame-reserved",
        section: "§4.4",
        level: Level::Must,
        expected: "reserved bits and opcodes end the connection (RFC 6455 section 5.2)",
        run: |host| Box::pin(reserved(host)),
    },
    Check {
        name: "frame-control",
        section: "§4.4",
        level: Level::Must,
        expected: "a control frame in pieces, or of more than 125 bytes, ends the connection (RFC 6455 \
                   section 5.5)",
        run: |host| Box::pin(control(host)),
    },
    Check {
        name: "frame-continuation",
        section: "§4.4",
        level: Level::Must,
        expected: "a continuation of nothing ends the connection (RFC 6455 section 5.4)",
        run: |host| Box::pin(continuation(host)),
    },
    Check {
        name: "frame-utf8",
        section: "§1.1",
        level: Level::Should,
        expected: "text that is not UTF-8 ends the connection (RFC 6455 section 8.1)",
        run: |host| Box::pin(utf8(host)),
    },
];

/// Expects that bytes end the connection, and no other one.
async fn fatal(host: &Host, all: &[(&str, Vec<u8>)]) -> Verdict {
    let mut witness = host.open().await?;
    let mut seen = String::new();
    for (what, bytes) in all {
        let mut line = host.open().await?;
        line.write(bytes).await?;
        // The host may have gone by now, or have said something before.
        let id = host.next_id();
        let ended = match line.send(&host.question(id)?).await {
            Ok(()) => line.reply(id).await.map(drop),
            Err(Trouble::Ended(_)) => Err(line.end().await.map(|(_, end)| Trouble::Ended(end))?),
            Err(trouble) => Err(trouble),
        };
        match ended {
            Ok(()) => return Ok(Finding::Fail(format!("{what}: the next message was answered"))),
            Err(Trouble::Ended(end)) => seen = format!("{what}: {end}"),
            Err(trouble) => return Ok(Finding::Fail(format!("{what}: {trouble}"))),
        }
        if let Err(trouble) = witness.settle(host).await {
            return Ok(Finding::Fail(format!("{what}: on another connection, {trouble}")));
        }
    }
    Ok(Finding::Pass(seen))
}

async fn unmasked(host: &Host) -> Verdict {
    let mut bytes = vec![BINARY, 9, 0x1f];
    bytes.extend(b"UNMASKED");
    fatal(host, &[("no mask", bytes)]).await
}

async fn reserved(host: &Host) -> Verdict {
    fatal(
        host,
        &[
            ("RSV1", frame(BINARY | 0x40, b"\x21")),
            ("RSV3", frame(BINARY | 0x10, b"\x21")),
            ("opcode 3", frame(FIN | 3, b"\x21")),
            ("opcode 11", frame(FIN | 11, b"")),
        ],
    )
    .await
}

async fn control(host: &Host) -> Verdict {
    fatal(
        host,
        &[
            ("half a ping", frame(PING & !FIN, b"half")),
            ("a ping of 126 bytes", frame(PING, &[b'p'; 126])),
        ],
    )
    .await
}

async fn continuation(host: &Host) -> Verdict {
    fatal(host, &[("of nothing", frame(FIN, b"\x21"))]).await
}

async fn utf8(host: &Host) -> Verdict {
    fatal(host, &[("c3 28", frame(TEXT, b"\xc3\x28"))]).await
}
