//! What a host says about itself, which decides about the rules for it.

use core::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use serde::Serialize;
use wwr::Dialect;
use wwr::handshake::SubProtocol;
use wwr::preflight::{self, Metadata, Verdict};
use wwr::wire::{AcceptConf, Message, decode};

use super::host::Host;
use super::line::Line;
use super::outcome::Trouble;
use super::wire::Answer;

/// How long an accept-conf may take that perhaps does not come: this much, and this many times as long
/// as the handshake has taken.
const GRACE: Duration = Duration::from_millis(400);
const GRACE_FACTOR: u32 = 4;

/// What a host says about itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// The answer to a preflight.
    pub(super) preflight: Option<Answer>,
    pub(super) metadata: Option<Metadata>,
    /// Whether that answer promises an accept-conf.
    pub(super) promises: bool,
    /// The first message of a connection, if one came.
    pub(super) first: Option<Bytes>,
    pub(super) accept_conf: Option<AcceptConf>,
    /// What the host states in `wwr.1`, if it has selected that.
    pub(super) wwr1: Option<AcceptConf>,
    /// Whether it selects `wwr.1`.
    pub(super) selects_wwr1: bool,
}

/// Which rules a connection follows whose client has not said what it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Spoken {
    #[serde(rename = "1.4")]
    V1_4,
    #[serde(rename = "1.5")]
    V1_5,
    #[serde(rename = "2.0")]
    V2_0,
    /// A host of 1.x and 2.0 on one port.
    #[serde(rename = "all")]
    All,
}

impl Facts {
    /// Finds them out.
    pub(super) async fn gather(host: &Host) -> Result<Self, Trouble> {
        let mut facts = Self::default();
        let started = Instant::now();
        let (head, _) = host.handshake()?;
        let (mut line, _) = host.upgrade(&head).await?;
        let grace = GRACE.max(started.elapsed() * GRACE_FACTOR).min(host.patience);
        // A host that hangs up at once speaks something, too; which is for the checks to say.
        let waited = |first| match first {
            Ok(first) => Ok(first),
            Err(Trouble::Ended(_)) => Ok(None),
            Err(trouble) => Err(trouble),
        };
        facts.first = waited(line.first(grace).await)?;
        facts.ask(host).await?;
        if facts.first.is_none() && (facts.metadata.is_none() || facts.promises) {
            facts.first = waited(line.first(host.patience).await)?;
        }
        facts.accept_conf = facts.first.clone().and_then(accept_conf);
        facts.offer_wwr1(host).await?;
        Ok(facts)
    }

    /// Sends a preflight.
    async fn ask(&mut self, host: &Host) -> Result<(), Trouble> {
        let answer =
            host.request(&host.head(preflight::METHOD).with("Connection", "close")).await?;
        self.metadata = metadata(&answer);
        self.promises = answer.header(preflight::ACCEPT_CONF).is_some();
        self.preflight = Some(answer);
        Ok(())
    }

    async fn offer_wwr1(&mut self, host: &Host) -> Result<(), Trouble> {
        let (head, _) = host.handshake()?;
        let offered = SubProtocol::Wwr1.as_str();
        let upgraded = host.upgrade(&head.with(SubProtocol::HEADER, offered)).await;
        let (mut line, answer): (Line, _) = match upgraded {
            Ok(upgraded) => upgraded,
            // A check looks at that.
            Err(Trouble::Refused(_)) => return Ok(()),
            Err(trouble) => return Err(trouble),
        };
        self.selects_wwr1 = answer.header(SubProtocol::HEADER).is_some_and(|name| name == offered);
        if self.selects_wwr1 {
            line.state_settings().await?;
            self.wwr1 = line.first(host.patience).await?.and_then(accept_conf);
        }
        Ok(())
    }

    pub(super) fn spoken(&self) -> Spoken {
        let is_2_0 = self.accept_conf.is_some() || self.promises;
        match &self.metadata {
            Some(_) if is_2_0 => Spoken::All,
            Some(Metadata::V1_4) => Spoken::V1_4,
            Some(Metadata::V1_5 { .. }) => Spoken::V1_5,
            None => Spoken::V2_0,
        }
    }

    /// Returns what the host speaks, for people and programs.
    pub(super) fn speaks(&self) -> Vec<String> {
        let metadata = self.metadata.map(|metadata| metadata.dialect().to_string());
        let conf = self.accept_conf.as_ref().map(|conf| format!("{}.{}", conf.major, conf.minor));
        let wwr1 = self.wwr1.is_some().then(|| Dialect::Wwr1.to_string());
        metadata.into_iter().chain(conf).chain(wwr1).collect()
    }

    /// Returns the read timeout of clients that send heartbeats, if there is one.
    pub(super) fn read_timeout(&self) -> Option<Duration> {
        match (&self.accept_conf, &self.metadata) {
            (Some(conf), _) => Some(conf.read_timeout()),
            (None, Some(Metadata::V1_5 { read_timeout })) => Some(*read_timeout),
            (None, _) => None,
        }
    }
}

/// Returns the metadata that an answer has.
pub(super) fn metadata(answer: &Answer) -> Option<Metadata> {
    let body = answer.body.clone().into();
    match (preflight::Answer { status: answer.status, body, retry_after: None }).evaluate() {
        Verdict::Speaks(metadata) => Some(metadata),
        Verdict::TryLater | Verdict::Unknown(_) | Verdict::NotWebWire => None,
    }
}

/// Returns the accept-conf that a message is, if it is one.
pub(super) fn accept_conf(message: Bytes) -> Option<AcceptConf> {
    match decode(Dialect::Unknown, message) {
        Ok(Message::AcceptConf(conf)) => Some(conf),
        _ => None,
    }
}
