//! Sessions: what they are, and which connections hold them. Knows no wire and no socket.

mod exchange;
mod history;
mod info;
mod key;
mod number;
mod object;
mod outcomes;
mod registry;
mod secret;
#[cfg(test)]
mod tests;
mod typed;

pub use exchange::{
    Change, Command, ConnectionId, Edit, EditCommand, EditFailure, Effect, NewKey,
    OtherConnections, Outcome, StoreFailed, Ticket, Update,
};
pub use history::{Batch, Histories, HistoryConfig, Position};
pub use info::{InvalidInfo, SessionInfo};
pub use key::{EmptyKey, KeyFormat, SessionKey};
pub use object::{InvalidSession, Session};
pub use outcomes::{Begun, Fingerprint, Instance, Outcomes, OutcomesConfig, Scope};
pub(crate) use registry::Asked;
pub use registry::{Registry, RegistryConfig};
pub(crate) use secret::Numbers;
pub use typed::TypedInfoError;
