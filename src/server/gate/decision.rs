//! What a request means.

use super::handshake::{self, Accept};
use super::head::Head;
use super::origin::Origins;
use super::refusal::Refusal;
use crate::preflight::{self, Metadata};

/// On which terms requests are answered.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// What the preflight is answered with, where the request goes; `None` if it is not answered
    /// (protocol §4.5). [`Config::metadata`](crate::server::Config::metadata) knows.
    pub metadata: Option<Metadata>,
    /// Whose pages may open WebSockets.
    pub origins: &'a Origins,
    /// Whether `wwr.1` is agreed on if the client offers it (protocol §10.1).
    /// [`Config::selects_wwr1`](crate::server::Config::selects_wwr1) knows.
    pub selects_wwr1: bool,
    /// Whether the server shuts down: then everything is refused (protocol §4.2).
    pub shutting_down: bool,
}

/// What a request is, before the application was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is refused; nothing is asked of the application.
    Refuse(Refusal),
    /// The preflight: send [`Answer::preflight`](super::Answer::preflight).
    Preflight {
        /// What it is answered with.
        metadata: Metadata,
        /// Whether to note that it came, for [`Preflights`](crate::server::Preflights). Not if the
        /// client has said that it offers `wwr.1`: its WebSocket tells what it speaks (protocol
        /// §10.1).
        noted: bool,
    },
    /// A browser asks what it may do: send
    /// [`Answer::options`](super::Answer::options), with the headers of the application.
    Options,
    /// Anything else, the preflight at a server that has none included: for the application to allow
    /// or to answer by itself.
    Ask {
        /// What comes of it if the application allows it: a WebSocket, by
        /// [`Answer::switching`](super::Answer::switching), or a refusal.
        upgrade: Result<Accept, Refusal>,
    },
}

/// Decides about a request, in the order of protocol §4.2.
///
/// A head that breaks HTTP is refused before anything else is looked at, and a page of an origin that
/// is not allowed before the application is asked.
pub fn decide(head: &Head<'_>, terms: &Terms<'_>) -> Decision {
    if terms.shutting_down {
        return Decision::Refuse(Refusal::ShuttingDown);
    }
    if let Err(refusal) = head.check() {
        return Decision::Refuse(refusal);
    }
    match (head.method, terms.metadata) {
        ("OPTIONS", _) => Decision::Options,
        (preflight::METHOD, Some(metadata)) => {
            let noted = !(terms.selects_wwr1 && head.offers_wwr1);
            Decision::Preflight { metadata, noted }
        }
        _ if head.names_upgrade && !terms.origins.allow(head) => {
            Decision::Refuse(Refusal::OriginNotAllowed)
        }
        _ => Decision::Ask { upgrade: handshake::check(head, terms) },
    }
}
