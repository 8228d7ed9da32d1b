//! The WebSocket handshake.

use wwr::handshake::SubProtocol;

use super::facts::Spoken;
use super::host::{Head, Host};
use super::outcome::{Check, Finding, Level, Trouble, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "upgrade-accept",
        section: "§4.3",
        level: Level::Must,
        expected: "a handshake has status 101 with Upgrade, Connection and the Sec-WebSocket-Accept that \
                   fits the key (RFC 6455 section 4.2.2)",
        run: |host| Box::pin(accept(host)),
    },
    Check {
        name: "upgrade-query",
        section: "§4.3",
        level: Level::Must,
        expected: "a handshake may have a query",
        run: |host| Box::pin(query(host)),
    },
    Check {
        name: "upgrade-offers",
        section: "§4.3",
        level: Level::Must,
        expected: "no extension and no unknown sub-protocol is negotiated, whatever is offered",
        run: |host| Box::pin(offers(host)),
    },
    Check {
        name: "upgrade-version",
        section: "§4.3",
        level: Level::Must,
        expected: "another Sec-WebSocket-Version than 13 is refused with a status from 400 to 499",
        run: |host| Box::pin(version(host)),
    },
    Check {
        name: "upgrade-version-named",
        section: "§4.3",
        level: Level::Should,
        expected: "the refusal of another version names 13 (RFC 6455 section 4.4)",
        run: |host| Box::pin(version_named(host)),
    },
    Check {
        name: "upgrade-key",
        section: "§4.3",
        level: Level::Must,
        expected: "a handshake without Sec-WebSocket-Key is refused",
        run: |host| Box::pin(key(host)),
    },
    Check {
        name: "upgrade-key-invalid",
        section: "§4.3",
        level: Level::Should,
        expected: "a Sec-WebSocket-Key that is not the base64 of 16 bytes is refused",
        run: |host| Box::pin(key_invalid(host)),
    },
    Check {
        name: "upgrade-method",
        section: "§4.3",
        level: Level::Must,
        expected: "a handshake by POST is refused",
        run: |host| Box::pin(method(host)),
    },
    Check {
        name: "origin-same",
        section: "§4.3",
        level: Level::Should,
        expected: "pages of the same host may connect",
        run: |host| Box::pin(origin_same(host)),
    },
    Check {
        name: "origin-foreign",
        section: "§4.3",
        level: Level::Should,
        expected: "pages of other hosts are refused, unless the host speaks only 1.x",
        run: |host| Box::pin(origin_foreign(host)),
    },
];

async fn accept(host: &Host) -> Verdict {
    let (head, key) = host.handshake()?;
    let (_line, answer) = host.upgrade(&head).await?;
    let checked = key.check((1, answer.minor), answer.status, answer.pairs(), None);
    Ok(match checked {
        Ok(_) => Finding::Pass("status 101, and all of them".into()),
        Err(error) => Finding::Fail(error.to_string()),
    })
}

async fn query(host: &Host) -> Verdict {
    let (head, _) = host.handshake()?;
    opened(host, &head.at(host.target_with("webwire=check"))).await
}

async fn offers(host: &Host) -> Verdict {
    let (head, _) = host.handshake()?;
    let head = head
        .with("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
        .with(SubProtocol::HEADER, "webwire-check.0");
    let (_line, answer) = host.upgrade(&head).await?;
    let named = ["Sec-WebSocket-Extensions", SubProtocol::HEADER];
    let named = named.into_iter().find_map(|name| Some((name, answer.header(name)?)));
    Ok(match named.filter(|(_, value)| !value.trim().is_empty()) {
        Some((name, value)) => Finding::Fail(format!("{name}: {value}")),
        None => Finding::Pass("neither".into()),
    })
}

/// Expects that the handshake is refused, by the host itself.
async fn refused(host: &Host, head: &Head) -> Verdict {
    let answer = host.request(&head.clone().with("Connection", "Upgrade")).await?;
    Ok(Finding::of(matches!(answer.status, 400..=499), format!("status {}", answer.status)))
}

/// Expects that the handshake opens a WebSocket.
async fn opened(host: &Host, head: &Head) -> Verdict {
    let (_line, answer) = host.upgrade(head).await?;
    Ok(Finding::Pass(format!("status {}", answer.status)))
}

async fn version(host: &Host) -> Verdict {
    refused(host, &host.handshake()?.0.with("Sec-WebSocket-Version", "12")).await
}

async fn version_named(host: &Host) -> Verdict {
    let head = host.handshake()?.0.with("Sec-WebSocket-Version", "12");
    let answer = host.request(&head).await?;
    let named = answer.header("Sec-WebSocket-Version");
    Ok(match named {
        Some(versions) => {
            let is_named = versions.split(',').any(|version| version.trim() == "13");
            Finding::of(is_named, format!("Sec-WebSocket-Version: {versions}"))
        }
        None => Finding::Fail("no Sec-WebSocket-Version".into()),
    })
}

async fn key(host: &Host) -> Verdict {
    refused(host, &host.handshake()?.0.without("Sec-WebSocket-Key")).await
}

async fn key_invalid(host: &Host) -> Verdict {
    refused(host, &host.handshake()?.0.with("Sec-WebSocket-Key", "c2hvcnQ=")).await
}

async fn method(host: &Host) -> Verdict {
    refused(host, &host.handshake()?.0.method("POST")).await
}

async fn origin_same(host: &Host) -> Verdict {
    let scheme = if host.url.is_secure() { "https" } else { "http" };
    let authority = String::from_utf8_lossy(host.url.authority().as_bytes()).into_owned();
    opened(host, &host.handshake()?.0.with("Origin", format!("{scheme}://{authority}"))).await
}

async fn origin_foreign(host: &Host) -> Verdict {
    if matches!(host.spoken(), Spoken::V1_4 | Spoken::V1_5) {
        return Trouble::skip("pages of all origins may use hosts of 1.x");
    }
    let head = host.handshake()?.0.with("Origin", "https://webwire-check.invalid");
    let answer = host.request(&head).await?;
    let seen = format!("status {}", answer.status);
    Ok(Finding::of(matches!(answer.status, 400..=499), seen))
}
