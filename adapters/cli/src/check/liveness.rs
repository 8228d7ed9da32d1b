//! Pings, heartbeats, silence.

use core::time::Duration;
use std::time::Instant;

use humantime::format_duration;
use smol::Timer;

use super::facts::Spoken;
use super::host::Host;
use super::line::{Incoming, PING, PONG, frame, shown};
use super::outcome::{Check, End, Finding, Level, Trouble, Verdict};
use super::wire::within;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "ping",
        section: "§4.4",
        level: Level::Must,
        expected: "a ping is answered by a pong with its payload (RFC 6455 section 5.5.3)",
        run: |host| Box::pin(ping(host)),
    },
    Check {
        name: "pong-unsolicited",
        section: "§4.4",
        level: Level::Must,
        expected: "a pong that answers no ping is ignored",
        run: |host| Box::pin(pong(host)),
    },
    Check {
        name: "heartbeats",
        section: "§4.6",
        level: Level::Must,
        expected: "a hundred heartbeats at once have no effect that can be seen, in every version",
        run: |host| Box::pin(heartbeats(host)),
    },
    Check {
        name: "heartbeats-keep",
        section: "§4.6",
        level: Level::Must,
        expected: "a client that sends nothing but heartbeats is served after one and a half read timeouts",
        run: |host| Box::pin(heartbeats_keep(host)),
    },
    Check {
        name: "silence",
        section: "§4.6",
        level: Level::Must,
        expected: "a client of 1.5 or 2.0 that is silent is disconnected after the read timeout, not before",
        run: |host| Box::pin(silence(host)),
    },
];

/// How many questions may be answered before the pong.
const QUESTIONS: usize = 3;

/// The part of the read timeout after which a silent client may be gone: timers are not exact.
const EARLIEST: f64 = 0.9;

async fn ping(host: &Host) -> Verdict {
    let mut line = host.open().await?;
    let payload = b"webwire check";
    line.write(&frame(PING, payload)).await?;
    for _ in 0..QUESTIONS {
        line.settle(host).await?;
        match line.pongs.first() {
            Some(pong) if pong == payload => return Ok(Finding::Pass("a pong".into())),
            Some(_) => return Ok(Finding::Fail("a pong with another payload".into())),
            None => {}
        }
    }
    let seen = format!("{QUESTIONS} requests behind it were answered, and no pong came");
    // The Go servers of 1.5 and 2.0 answer none, and clients know that.
    Ok(match host.spoken() {
        Spoken::V1_5 | Spoken::V2_0 if host.facts.wwr1.is_none() => Finding::Quirk("Q20-03", seen),
        _ => Finding::Fail(seen),
    })
}

async fn pong(host: &Host) -> Verdict {
    let mut line = host.open().await?;
    line.write(&frame(PONG, b"nobody asked")).await?;
    let before = line.settle(host).await?;
    Ok(Finding::of(before.is_empty(), shown(&before)))
}

async fn heartbeats(host: &Host) -> Verdict {
    let mut line = host.open().await?;
    line.send_all(&[[0x21]; 100]).await?;
    let before = line.settle(host).await?;
    Ok(Finding::of(before.is_empty(), shown(&before)))
}

/// Returns the read timeout, if so many of them are not too long to wait for.
fn read_timeout(host: &Host, times: f64) -> Result<Duration, Trouble> {
    let Some(timeout) = host.facts.read_timeout() else {
        return Trouble::skip("the host has no read timeout");
    };
    let needed = timeout.mul_f64(times);
    if needed > host.wait {
        let timeout = format_duration(timeout);
        let needed = format_duration(needed).to_string().replace(' ', "");
        return Trouble::skip(format!("the read timeout is {timeout}; --wait {needed} checks it"));
    }
    Ok(timeout)
}

async fn heartbeats_keep(host: &Host) -> Verdict {
    let timeout = read_timeout(host, 1.75)?;
    let mut line = host.open().await?;
    for _ in 0..7 {
        line.send(&[0x21]).await?;
        Timer::after(timeout / 4).await;
    }
    let before = line.settle(host).await?;
    Ok(Finding::of(before.is_empty(), format!("served after {}", format_duration(timeout * 7 / 4))))
}

async fn silence(host: &Host) -> Verdict {
    let timeout = read_timeout(host, 2.0)?;
    let mut line = host.open().await?;
    if host.facts.accept_conf.is_some() {
        // Shows that the client speaks 2.0.
        line.send(&[0x21]).await?;
    }
    let since = Instant::now();
    let ending = within(timeout * 2 + host.patience, "the end of the connection", async {
        loop {
            // Pings of the host stay without an answer.
            match line.receive().await {
                Ok(Incoming::Close(code)) => return Ok(End::Closed(code)),
                Ok(_) => {}
                Err(Trouble::Ended(end)) => return Ok(end),
                Err(trouble) => return Err(trouble),
            }
        }
    });
    let end = ending.await?;
    let after = since.elapsed();
    let shown = format_duration(Duration::from_millis(after.as_millis() as u64));
    Ok(Finding::of(after >= timeout.mul_f64(EARLIEST), format!("after {shown}, {end}")))
}
