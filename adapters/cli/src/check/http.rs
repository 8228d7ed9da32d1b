//! HTTP: the preflight, what browsers ask, what is no WebSocket.

use serde_json::Value;
use wwr::preflight;

use super::facts::metadata;
use super::host::Host;
use super::outcome::{Check, Finding, Level, Trouble, Verdict};
use super::wire::Answer;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "preflight-body",
        section: "§4.1",
        level: Level::Must,
        expected: "a preflight with status 200 has a JSON object with the version \"1.4\" or \"1.5\", and in \
                   1.5 the read timeout in whole seconds",
        run: |host| Box::pin(preflight_body(host)),
    },
    Check {
        name: "preflight-status",
        section: "§4.1",
        level: Level::Must,
        expected: "metadata comes with status 200; a host of 2.0 only refuses the method",
        run: |host| Box::pin(preflight_status(host)),
    },
    Check {
        name: "preflight-cors",
        section: "§4.1",
        level: Level::Must,
        expected: "metadata comes with Access-Control-Allow-Origin: *, which browsers need",
        run: |host| Box::pin(preflight_cors(host)),
    },
    Check {
        name: "preflight-query",
        section: "§4.1",
        level: Level::Must,
        expected: "a query changes nothing about the metadata",
        run: |host| Box::pin(preflight_query(host)),
    },
    Check {
        name: "preflight-method",
        section: "§4.1",
        level: Level::Should,
        expected: "the method is case-sensitive: webwire is no preflight",
        run: |host| Box::pin(preflight_method(host)),
    },
    Check {
        name: "options-status",
        section: "§4.2",
        level: Level::Must,
        expected: "OPTIONS has status 200 or 204",
        run: |host| Box::pin(options_status(host)),
    },
    Check {
        name: "options-cors",
        section: "§4.2",
        level: Level::Should,
        expected: "if there is metadata, OPTIONS allows pages to ask for it: \
                   Access-Control-Allow-Origin and Access-Control-Allow-Methods",
        run: |host| Box::pin(options_cors(host)),
    },
    Check {
        name: "http-get",
        section: "§4.2",
        level: Level::Must,
        expected: "a GET without an upgrade is answered, and opens no WebSocket",
        run: |host| Box::pin(plain_get(host)),
    },
    Check {
        name: "http-host",
        section: "§4.2",
        level: Level::Should,
        expected: "HTTP/1.1 without Host has status 400 (RFC 9112 section 3.2)",
        run: |host| Box::pin(without_host(host)),
    },
    Check {
        name: "http-garbage",
        section: "§4.2",
        level: Level::Must,
        expected: "what is not HTTP is refused, or ends its connection, and other clients are served",
        run: |host| Box::pin(garbage(host)),
    },
];

/// Returns the answer to the preflight, if it has metadata.
fn with_metadata(host: &Host) -> Result<&Answer, Trouble> {
    match (&host.facts.preflight, &host.facts.metadata) {
        (Some(answer), Some(_)) => Ok(answer),
        _ => Trouble::skip("the host has no metadata: it does not speak 1.x"),
    }
}

async fn preflight_body(host: &Host) -> Verdict {
    let Some(answer) = &host.facts.preflight else { return Trouble::skip("no preflight") };
    if answer.status != 200 {
        return Trouble::skip(format!("the preflight has status {}", answer.status));
    }
    let body = String::from_utf8_lossy(&answer.body);
    let seen = format!("the body {:?}", body.chars().take(200).collect::<String>());
    let Ok(Value::Object(members)) = serde_json::from_slice(&answer.body) else {
        return Ok(Finding::Fail(seen));
    };
    // JavaScript clients compare the names of members with regard to case.
    Ok(Finding::of(
        match members.get("protocol-version").and_then(Value::as_str) {
            Some("1.4") => true,
            Some("1.5") => {
                members.get("read-timeout").and_then(Value::as_u64).is_some_and(|time| time > 0)
            }
            _ => false,
        },
        seen,
    ))
}

async fn preflight_status(host: &Host) -> Verdict {
    let Some(answer) = &host.facts.preflight else { return Trouble::skip("no preflight") };
    let has_metadata = host.facts.metadata.is_some();
    let seen = format!(
        "status {}, {} metadata",
        answer.status,
        if has_metadata { "with" } else { "without" }
    );
    Ok(match answer.status {
        200 => Finding::Pass(seen),
        // Clients of Go 1.4 do not look at the status, those of JavaScript do.
        400..=499 if !has_metadata => Finding::Pass(seen),
        _ => Finding::Fail(seen),
    })
}

async fn preflight_cors(host: &Host) -> Verdict {
    let answer = with_metadata(host)?;
    let allowed = answer.header("Access-Control-Allow-Origin");
    Ok(match allowed.as_deref() {
        Some("*") => Finding::Pass("*".into()),
        Some(other) => Finding::Fail(format!("Access-Control-Allow-Origin: {other}")),
        None => Finding::Fail("no Access-Control-Allow-Origin".into()),
    })
}

async fn preflight_query(host: &Host) -> Verdict {
    let first = with_metadata(host)?;
    let head = host.head(preflight::METHOD).at(host.target_with("webwire=check"));
    let answer = host.request(&head.with("Connection", "close")).await?;
    let same = (answer.status, &answer.body) == (first.status, &first.body);
    let seen = if same { "the same" } else { "another answer" };
    Ok(Finding::of(same, format!("{seen}, status {}", answer.status)))
}

async fn preflight_method(host: &Host) -> Verdict {
    with_metadata(host)?;
    let answer = host.request(&host.head("webwire").with("Connection", "close")).await?;
    Ok(Finding::of(metadata(&answer).is_none(), format!("status {}", answer.status)))
}

/// What a browser asks before it sends a preflight.
async fn options(host: &Host) -> Result<Answer, Trouble> {
    let head = host.head("OPTIONS").with("Connection", "close");
    let head = head.with("Origin", "https://webwire-check.invalid");
    host.request(&head.with("Access-Control-Request-Method", "WEBWIRE")).await
}

async fn options_status(host: &Host) -> Verdict {
    let status = options(host).await?.status;
    Ok(Finding::of(matches!(status, 200 | 204), format!("status {status}")))
}

async fn options_cors(host: &Host) -> Verdict {
    with_metadata(host)?;
    let answer = options(host).await?;
    let origin = answer.header("Access-Control-Allow-Origin").unwrap_or_default();
    let methods = answer.header("Access-Control-Allow-Methods").unwrap_or_default();
    let allows = methods.split(',').any(|method| matches!(method.trim(), "WEBWIRE" | "*"));
    let seen = format!("origin {origin:?}, methods {methods:?}");
    Ok(Finding::of(!origin.is_empty() && allows, seen))
}

async fn plain_get(host: &Host) -> Verdict {
    let answer = host.request(&host.head("GET").with("Connection", "close")).await?;
    Ok(Finding::of(answer.status != 101, format!("status {}", answer.status)))
}

async fn without_host(host: &Host) -> Verdict {
    let head = host.head("GET").without("Host").with("Connection", "close");
    let status = host.request(&head).await?.status;
    Ok(Finding::of(status == 400, format!("status {status}")))
}

async fn garbage(host: &Host) -> Verdict {
    let mut wire = host.dial().await?;
    wire.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n").await?;
    let seen = match wire.answer().await {
        Ok(answer) if answer.status < 400 => {
            return Ok(Finding::Fail(format!("status {}", answer.status)));
        }
        Ok(answer) => format!("status {}", answer.status),
        Err(Trouble::Ended(_)) => "the connection ended".into(),
        // Some answer with a sentence.
        Err(Trouble::Unreadable(_)) => "an answer that is not HTTP".into(),
        Err(trouble) => return Err(trouble),
    };
    let mut line = host.open().await?;
    line.settle(host).await?;
    Ok(Finding::Pass(seen))
}
