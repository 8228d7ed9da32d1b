//! The server's side of the protocol: the [`gate`] in front, one [`Connection`] per socket.

mod action;
mod advertised;
mod config;
mod connection;
mod counters;
mod error;
pub mod gate;
mod hub;
mod idle;
mod in_flight;
mod peer;
mod preflights;
mod protocol;
mod questions;
mod recovery;
mod reply;
mod session;
#[cfg(test)]
mod tests;

pub use crate::pings::Pings;
pub use action::{Action, CloseReason, ClosedBy, Edited, Fate, Request, SessionEvent, Signal};
pub use advertised::Advertised;
pub use config::{Config, Sessions};
pub use connection::Connection;
pub use counters::{Counters, HubCounters, JobCounters, SessionCounters, StoreCounters};
pub use error::{Misuse, QuestionError, RequestError};
pub use hub::{
    Expiry, FORMER_KEYS, GroupError, Hub, HubAction, HubConfig, IdleConnections, Job, JobId,
    MAX_GROUP_NAME, Refusal, SessionSignal, StoreAnswer, WaiterId, Work,
};
pub use in_flight::{RequestId, SignalId};
pub use preflights::{Detection, Preflights};
pub use protocol::{Observed, Protocol};
pub use questions::{Answered, QuestionId};
pub use recovery::{Outcome, RecoveryCommand, RecoveryConfig, RecoveryNews};
pub use session::{CreationId, EditId};
