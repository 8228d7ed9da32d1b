//! A server around the machines: connections, a registry and a store in memory, under a virtual
//! clock; and the recordings of the reference.

pub(crate) mod application;
pub(crate) mod host;
pub(crate) mod store;
pub(crate) mod transcript;
