//! Why a router cannot serve.

use std::io;

use wwr::{InvalidName, names};

use super::call::CallKind;

/// Why a [`Router`](super::Router) cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRouter {
    /// Two handlers have the same name.
    #[error("two handlers take the {kind} {name:?}: remove or rename one")]
    Duplicate {
        /// Of requests or of signals.
        kind: CallKind,
        /// The whole name, with the prefixes.
        name: String,
    },
    /// A name that no peer of ours can send.
    #[error("the {kind} name {name:?} is not allowed: {reason}")]
    Name {
        /// Of requests or of signals.
        kind: CallKind,
        /// The whole name, with the prefixes.
        name: String,
        /// What is wrong with it (protocol §1.5).
        reason: InvalidName,
    },
    /// The names are to be listed, but clients do not read such a long list.
    #[error(
        "the list of all names has {length} bytes of JSON, and clients read {}: do not list them",
        names::MAX_BODY
    )]
    ListTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The router has two fallbacks.
    #[error("the router has two fallbacks: remove one")]
    TwoFallbacks,
    /// A router that is nested in another one has a fallback.
    #[error(
        "the router nested at {prefix:?} has a fallback, which only the outermost router can have"
    )]
    NestedFallback {
        /// The prefix of its names.
        prefix: String,
    },
}

impl From<InvalidRouter> for io::Error {
    /// An error of the kind [`InvalidInput`](io::ErrorKind::InvalidInput).
    fn from(error: InvalidRouter) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}
