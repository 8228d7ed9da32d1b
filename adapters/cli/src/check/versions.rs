//! Versions: what a host says, and whether it does it.

use wwr::handshake::SubProtocol;
use wwr::{Dialect, preflight};

use super::facts::accept_conf;
use super::host::Host;
use super::line::shown;
use super::outcome::{Check, Finding, Level, Trouble, Verdict};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "accept-conf-first",
        section: "§4.5",
        level: Level::Must,
        expected: "a host of 2.0 sends an accept-conf before anything else, without being asked; so does one \
                   that promises it in its answer to the preflight",
        run: |host| Box::pin(accept_conf_first(host)),
    },
    Check {
        name: "accept-conf-valid",
        section: "§4.5",
        level: Level::Must,
        expected: "the accept-conf has major version 2, a read timeout of 100 ms or more and a message buffer \
                   of 32 bytes or more",
        run: |host| Box::pin(accept_conf_valid(host)),
    },
    Check {
        name: "accept-conf-buffer",
        section: "§7.2",
        level: Level::Should,
        expected: "the message buffer has 8192 bytes, since clients of Go insist on their own",
        run: |host| Box::pin(accept_conf_buffer(host)),
    },
    Check {
        name: "accept-conf-once",
        section: "§4.5",
        level: Level::Must,
        expected: "there is one accept-conf for each connection",
        run: |host| Box::pin(accept_conf_once(host)),
    },
    Check {
        name: "serves-1.x",
        section: "§7.2",
        level: Level::Must,
        expected: "a client that sends a preflight, and then a request without waiting for anything, gets its \
                   reply",
        run: |host| Box::pin(serves_1_x(host)),
    },
    Check {
        name: "serves-2.0",
        section: "§4.5",
        level: Level::Must,
        expected: "a client that waits for the accept-conf and sends heartbeats gets its reply",
        run: |host| Box::pin(serves_2_0(host)),
    },
    Check {
        name: "wwr.1-selected",
        section: "§10.1",
        level: Level::Must,
        expected: "a host of wwr.1 selects it, alone, from several offers, and only in this spelling",
        run: |host| Box::pin(wwr1_selected(host)),
    },
    Check {
        name: "wwr.1-stated",
        section: "§10.2",
        level: Level::Must,
        expected: "a host of wwr.1 sends an accept-conf at once, and reads 8192 bytes or more",
        run: |host| Box::pin(wwr1_stated(host)),
    },
    Check {
        name: "serves-wwr.1",
        section: "§10.2",
        level: Level::Must,
        expected: "a client of wwr.1 gets the replies to its requests, also one longer than 8192 bytes",
        run: |host| Box::pin(serves_wwr1(host)),
    },
];

async fn accept_conf_first(host: &Host) -> Verdict {
    let facts = &host.facts;
    if facts.metadata.is_some() && !facts.promises && facts.accept_conf.is_none() {
        return Trouble::skip("the host speaks only 1.x");
    }
    if facts.accept_conf.is_none() {
        let due =
            if facts.promises { "although it was promised" } else { "and no metadata either" };
        let first = facts.first.as_slice();
        return Ok(Finding::Fail(format!("{} came first, {due}", shown(first))));
    }
    let (head, _) = host.handshake()?;
    let (mut line, _) = host.upgrade(&head).await?;
    let first = line.first(host.patience).await?;
    let seen = format!("{} came first", shown(first.as_slice()));
    Ok(Finding::of(first.and_then(accept_conf).is_some(), seen))
}

async fn accept_conf_valid(host: &Host) -> Verdict {
    let Some(conf) = &host.facts.accept_conf else { return Trouble::skip("no accept-conf") };
    let seen = format!(
        "version {}.{}, {} ms, {} bytes",
        conf.major, conf.minor, conf.read_timeout_ms, conf.message_buffer_size
    );
    let is_valid = conf.major == 2 && conf.read_timeout_ms >= 100 && conf.message_buffer_size >= 32;
    Ok(Finding::of(is_valid, seen))
}

async fn accept_conf_buffer(host: &Host) -> Verdict {
    let Some(conf) = &host.facts.accept_conf else { return Trouble::skip("no accept-conf") };
    let size = conf.message_buffer_size;
    Ok(Finding::of(size == 8192, format!("{size} bytes")))
}

async fn accept_conf_once(host: &Host) -> Verdict {
    if host.facts.accept_conf.is_none() {
        return Trouble::skip("no accept-conf");
    }
    let mut line = host.open().await?;
    line.settle(host).await?;
    line.send(&[0x21]).await?;
    line.settle(host).await?;
    Ok(Finding::of(line.accept_confs == 0, format!("{} more on a connection", line.accept_confs)))
}

async fn serves_1_x(host: &Host) -> Verdict {
    if host.facts.metadata.is_none() {
        return Trouble::skip("the host does not speak 1.x");
    }
    let (asked, id) = (host.head(preflight::METHOD), host.next_id());
    let (head, _) = host.handshake()?;
    let question = host.question(id)?;
    host.request(&asked).await?;
    let (mut line, _) = host.upgrade(&head).await?;
    let (before, reply) = line.ask(&question, id).await?;
    Ok(Finding::of(before.is_empty(), shown(&[before, vec![reply]].concat())))
}

async fn serves_2_0(host: &Host) -> Verdict {
    if host.facts.accept_conf.is_none() {
        return Trouble::skip("no accept-conf");
    }
    let mut line = host.open().await?;
    line.send(&[0x21]).await?;
    let id = host.next_id();
    let (before, reply) = line.ask(&host.question(id)?, id).await?;
    line.send(&[0x21]).await?;
    Ok(Finding::of(before.is_empty(), shown(&[before, vec![reply]].concat())))
}

async fn wwr1_selected(host: &Host) -> Verdict {
    if !host.facts.selects_wwr1 {
        return Trouble::skip("the host does not speak wwr.1");
    }
    for (offer, expected) in [
        ("webwire-check.0, wwr.1, webwire-check.1", Some("wwr.1")),
        ("WWR.1", None),
        ("wwr.10", None),
    ] {
        let (head, _) = host.handshake()?;
        let (_line, answer) = host.upgrade(&head.with(SubProtocol::HEADER, offer)).await?;
        let selected = answer.header(SubProtocol::HEADER);
        if selected.as_deref() != expected {
            let selected = selected.unwrap_or_else(|| "none".into());
            return Ok(Finding::Fail(format!("of {offer:?} it selected {selected:?}")));
        }
    }
    Ok(Finding::Pass("selected where it has to be".into()))
}

async fn wwr1_stated(host: &Host) -> Verdict {
    if !host.facts.selects_wwr1 {
        return Trouble::skip("the host does not speak wwr.1");
    }
    Ok(match &host.facts.wwr1 {
        Some(conf) => Finding::of(
            conf.major == 2 && conf.message_buffer_size >= Dialect::MIN_STATED,
            format!("it reads {} bytes", conf.message_buffer_size),
        ),
        None => Finding::Fail("it sent no accept-conf".into()),
    })
}

async fn serves_wwr1(host: &Host) -> Verdict {
    let Some(stated) = host.facts.wwr1.as_ref().map(|conf| conf.message_buffer_size) else {
        return Trouble::skip("the host does not speak wwr.1");
    };
    let mut line = host.open_wwr1().await?;
    line.settle(host).await?;
    if host.echo.is_none() {
        return Ok(Finding::Pass("a close-session was answered; the rest needs --echo".into()));
    }
    let length = stated.min(20_000) as usize;
    let id = host.next_id();
    let (before, reply) = line.ask(&host.echo_of_length(id, length)?, id).await?;
    let seen = shown(&[before.clone(), vec![reply.clone()]].concat());
    Ok(Finding::of(before.is_empty() && matches!(reply.first(), Some(0xbf..=0xc1)), seen))
}
