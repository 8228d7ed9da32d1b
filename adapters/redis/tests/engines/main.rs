//! The store against engines that these tests start and stop: `redis-server`, and `valkey-server` where there is one.
#![cfg(unix)]

mod cluster;
mod contract;
mod failures;
mod many;
mod nodes;
mod records;
mod refusals;
mod sentinel;
mod servers;
mod support;
mod tls;
