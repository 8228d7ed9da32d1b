//! What several benches need.

pub(crate) mod args;
pub(crate) mod case;
pub(crate) mod connection;
pub(crate) mod handshake;
pub(crate) mod host;
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod resident;
pub(crate) mod sockets;
pub(crate) mod start;
pub(crate) mod tls;
pub(crate) mod traffic;
