//! What a request means.

use super::handshake::{self, Accept};
use super::head::Head;
use super::origin::Origins;
use super::refusal::Refusal;
use crate::preflight::{self, Metadata};

/// The settings by which requests are answered.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The answer to the preflight at this path. `None` if the server does not answer it (protocol
    /// §4.5). See [`Config::metadata`](crate::server::Config::metadata).
    pub metadata: Option<Metadata>,
    /// The origins whose pages may open WebSockets.
    pub origins: &'a Origins,
    /// Whether the server selects `wwr.1` if the client offers it (protocol §10.1). See
    /// [`Config::selects_wwr1`](crate::server::Config::selects_wwr1).
    pub selects_wwr1: bool,
    /// Whether the server shuts down: then it refuses everything, except that it tells browsers which pages
    /// may read the refusal (protocol §4.2).
    pub shutting_down: bool,
}

/// What a request means, before the application is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is refused. The application is not asked.
    Refuse(Refusal),
    /// The preflight: send [`Answer::preflight`](super::Answer::preflight).
    Preflight {
        /// The answer.
        metadata: Metadata,
        /// Whether to report it to [`Preflights`](crate::server::Preflights). Not if the client has
        /// offered `wwr.1`: its WebSocket shows what it speaks (protocol §10.1).
        noted: bool,
    },
    /// A browser asks what it may do: send
    /// [`Answer::options`](super::Answer::options), with the headers of the application.
    Options {
        /// Whether the client asks for the names of the handlers. A server that lists them sends
        /// [`Answer::names`](super::Answer::names) instead (protocol §4.7).
        names: bool,
    },
    /// Anything else, including the preflight at a server without one: the application allows it or
    /// answers it.
    Ask {
        /// The result if the application allows it: a WebSocket, by
        /// [`Answer::switching`](super::Answer::switching), or a refusal.
        upgrade: Result<Accept, Refusal>,
    },
}

/// Decides what a request means, in the order of protocol §4.2.
///
/// A head that breaks HTTP is refused before all other checks. A page of an origin that is not
/// allowed is refused before the application is asked.
pub fn decide(head: &Head<'_>, terms: &Terms<'_>) -> Decision {
    let tells_page =
        head.method == "OPTIONS" && head.asks_for_page && terms.origins.page(head).is_some();
    if terms.shutting_down && !tells_page {
        return Decision::Refuse(Refusal::ShuttingDown);
    }
    if let Err(refusal) = head.check() {
        return Decision::Refuse(refusal);
    }
    match (head.method, terms.metadata) {
        ("OPTIONS", _) => Decision::Options { names: head.accepts_names },
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
