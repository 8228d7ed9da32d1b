//! The commands that talk to each other, run as a user runs them.

mod bench;
mod browser;
#[cfg(unix)]
mod by_hand;
mod check;
#[cfg(unix)]
mod crash;
mod demo;
#[cfg(unix)]
mod descriptors;
#[cfg(unix)]
mod drain;
mod environment;
mod escapes;
mod exit_codes;
#[cfg(unix)]
mod firmware;
#[cfg(unix)]
mod flood;
#[cfg(unix)]
mod full_disk;
mod gate;
#[cfg(unix)]
mod guesses;
#[cfg(unix)]
mod hand;
mod headers;
mod help;
mod inspect;
mod listen;
#[cfg(unix)]
mod logs;
mod metrics;
mod page;
mod playground;
mod probe;
mod raw_server;
mod reach;
#[cfg(unix)]
mod redis;
mod sessions;
#[cfg(unix)]
mod shutdown;
mod spoken;
mod support;
#[cfg(unix)]
mod sync;
mod timeouts;
mod tls;
mod urls;
#[cfg(unix)]
mod versions;
#[cfg(unix)]
mod wasi;
#[cfg(unix)]
mod web;
