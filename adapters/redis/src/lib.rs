//! Sessions of WebWire servers in [Redis](https://redis.io) or [Valkey](https://valkey.io). A
//! [`RedisStore`] is a [`SessionStore`](wwr_async::SessionStore), on smol and on tokio. Servers that share an engine share
//! their sessions: one that was created on one of them is restored on any other, also after all of them were
//! restarted.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use wwr_redis::{RedisConfig, RedisStore};
//! use wwr_smol::server::{Config, Connection, Expiry, Handler, RequestError, Server};
//! use wwr_smol::{Content, Payload, Smol};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
//!         Ok(request.into_payload())
//!     }
//! }
//!
//! const MONTH: Duration = Duration::from_secs(30 * 24 * 60 * 60);
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     smol::block_on(async {
//!         let mut settings = RedisConfig::default();
//!         settings.expire_after = Some(MONTH);
//!         let store = RedisStore::<Smol>::connect("redis://127.0.0.1/", settings).await?;
//!
//!         let mut config = Config::default();
//!         config.hub.sessions.durable = true;
//!         // Those in use are looked up now and then, so that they do not expire.
//!         config.hub.expiry = Some(Expiry::new(MONTH, Duration::from_secs(3600)));
//!         Server::builder(Echo).config(config).store(store).listen("127.0.0.1:7777").await?.run().await;
//!         Ok(())
//!     })
//! }
//! ```
//!
//! With tokio it is `RedisStore::<Tokio>`, and the feature `tokio` instead of `smol`.
//!
//! A store is persistence, and nothing else: servers do not know of each other's connections. A session that is closed on one
//! server cannot be restored anywhere; connections of other servers that hold it keep it until they end, and do not
//! hear of changes. Limits, signals and closing by key are those of one server. A [`Cluster`] is the engine of nodes that
//! share those, too; [below](#many-nodes).
//!
//! # What is stored
//!
//! Each session is one string value, so that all of its changes are atomic, and it lies in one slot of a cluster.
//! Its name is [`RedisConfig::prefix`] and the SHA-256 digest of the session key. The value has a version, the
//! times, and the info as JSON; it does not have the key. So **nobody can restore a session with what is in a dump, a
//! backup, a replica or the log of slow commands**. What can be read there is the info, private fields
//! included, and when the session was created and last looked up. Generated keys have 384 random bits; a key of an own
//! [`KeyGenerator`](wwr_async::KeyGenerator) that can be guessed can be found by its digest, too. Somebody who can
//! *write* to the engine can change the info of any session. So keep the engine private: with a password, an ACL for
//! its names, and TLS.
//!
//! # Expiry
//!
//! The engine removes a session that was not looked up for [`RedisConfig::expire_after`], by its own clock. Set
//! `hub.expiry` of the servers to the same time: then sessions that are in use are looked up before. Its rounds have
//! nothing to remove, but check that both times are the same: otherwise each fails and says so in the log.
//!
//! # When the engine fails
//!
//! * A call ends within [`RedisConfig::timeout`], whatever the engine does, and nothing blocks a thread. Connections of
//!   clients go on, with the sessions that they have; what fails is creating, restoring, updating, and closing
//!   sessions. A call that failed late may have happened.
//! * All calls share one connection. It is replaced once it breaks, or once a call on it had no answer in time, or
//!   none of them when somebody gave up waiting for one, after 100 ms or more. One
//!   task at a time tries to connect; after a failure, calls fail at once for a while, at first 100 ms and at
//!   most 2 s, with the reason.
//! * An engine that starts again without its data has no sessions. Clients that restore one get "session not found".
//!   What the engine says it has done may be lost if it fails right then: that depends on its `appendfsync`, and with
//!   replicas on what had reached the one that takes over. So a session may be gone that was created, and one
//!   may be back that was closed a moment before.
//! * An engine that evicts (`maxmemory-policy` other than `noeviction`) removes sessions when its memory is full.
//!
//! # Many nodes
//!
//! A [`Cluster`] is an [`Engine`](wwr_async::cluster::Engine) of `wwr-async`: it carries out what nodes ask, each request by
//! one script, and brings the news of other nodes over a connection of its own. The settings are those of a store; the prefix
//! must not be empty, and the timeout is at most 20 s.
//!
//! * All that is stored of a session has the name of its record as its hash tag; nodes and groups have the prefix. Records
//!   are of version 2, which has a revision and whether the session is closed. [`RedisStore`] and [`Cluster`] read both
//!   versions, so both may be used beside each other, with the limits of a store.
//! * Session keys stay in the process, as with a store. News have digests of keys; they are told for those sessions of which
//!   the node has places.
//! * The identity of the data ([`DataId`](wwr_async::cluster::DataId)) is that of the run of the server. In a Redis Cluster it is
//!   that of the server that has the nodes: that another one has lost data is found when places are confirmed.
//! * Histories of signals are hashes beside the record. One that was made before the engine was restarted, or a replica has
//!   taken over, is replaced by an empty one with another incarnation: the last signals may be lost.
//! * A request fails within [`RedisConfig::timeout`], with an error that says whether it may have happened. The link is the
//!   one of a store: what is written below holds here.
//! * The subscription comes back by itself, at most 2 s after the engine, while the node waits for news. A connection
//!   that is silent for [`RedisConfig::timeout`] is asked for a sign of life. Each time it begins,
//!   [`News::Interrupted`](wwr_async::cluster::News::Interrupted) is told first.
//!
//! # Sentinels and clusters
//!
//! With the feature `sentinel`, [`Engine::sentinel`] finds the server that is the master now, after each failure again.
//! With `cluster`, [`Engine::cluster`] is a cluster. With `rustls`, URLs may be `rediss://`.
//!
//! # Runtimes
//!
//! With the feature `smol`, which is the default, the connection is a task of smol's global executor, whatever
//! executor the server has; `SMOL_THREADS` must not be 0. With `tokio`, it is a task of the runtime in which the first
//! call is made, and ends with it: use a store in one runtime.

#[cfg(not(any(feature = "rustls", feature = "smol", feature = "tokio")))]
compile_error!("wwr-redis needs the feature `smol` or `tokio`");

mod cluster;
mod config;
mod engine;
mod fault;
mod link;
mod name;
mod record;
mod script;
mod source;
mod store;
#[cfg(feature = "rustls")]
mod tls;

pub use cluster::Cluster;
pub use config::RedisConfig;
pub use engine::Engine;
pub use store::RedisStore;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
