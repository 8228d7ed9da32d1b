//! WebWire for Rust: request/reply, signals in both directions, and sessions that survive
//! reconnects, over one binary message protocol on WebSocket.
//!
//! This crate is the protocol and nothing else. Its state machines take frames in and give actions
//! out; they know no socket, clock, random source, thread or runtime, and need no `std`. Whoever
//! drives them brings those: the crate `wwr-smol` for the smol runtime, or a loop of your own.
//!
//! # The model
//!
//! ```text
//!    client host                                  server host, once per socket
//!  ┌──────────────────────────┐                ┌────────────────────────────────────┐
//!  │ calls, frames, time      │                │ frames, answers, time              │
//!  │    │             ▲       │   WebSocket    │    │                 ▲             │
//!  │    ▼             │       │ ◀────────────▶ │    ▼                 │             │
//!  │ client::Client ──┘       │    frames      │ server::Connection ──┘             │
//!  │           actions        │                │    │ Command     ▲ Outcome actions │
//!  └──────────────────────────┘                │    ▼             │                 │
//!                                              │ session::Registry, once per server │
//!                                              │    │ Effect      ▲ answers         │
//!                                              │    ▼             │                 │
//!                                              │ a session store of the host        │
//!                                              └────────────────────────────────────┘
//! ```
//!
//! * [`server::Connection`] serves one socket: order, concurrency, replies, deferred closing.
//! * [`session::Registry`] knows which connections hold which session, and keeps the limits.
//! * [`client::Client`] keeps a client connected: preflight, requests and their one outcome,
//!   reconnection with backoff, resuming the session.
//! * [`wire`] turns bytes into messages and back, exact to the byte.
//! * [`Dialect`] holds every difference between the protocol versions 1.4, 1.5 and 2.0.
//!
//! # Driving a machine
//!
//! All machines share one contract. What happened goes into a method, with the time; what is to be
//! done is appended to the caller's [`Actions`], in order. Nothing has to be polled but
//! `next_timeout`. Calls that come late or twice are harmless, the same inputs give the same
//! outputs, and nothing a peer sends makes a machine panic, grow beyond its bounds or work long.
//!
//! ```text
//! server, one task per connection                      client, one task
//!   conn = Connection::accept(cfg, observed, now, out)   client.connect(now, out)
//!   loop                                                 loop
//!     while action = out.pop()                             while action = out.pop()
//!       Send(frame)   -> feed the socket                     Probe, Dial      -> start it
//!       Request, ..   -> run the handler                     Send(frame)      -> feed the socket
//!       Session(cmd)  -> registry.handle(id, cmd, effects)   Done{id,outcome} -> wake the caller
//!       Close(why)    -> flush, close frame, end             Event(e)         -> application
//!     flush, once nothing more is ready to be read         flush likewise
//!     wait for: frame, outcome, answer, timer, end         wait for: frame, call, timer, dial, end
//! ```
//!
//! A server without sockets, in full:
//!
//! ```
//! use wwr::server::{Action, Config, Connection, Observed, Protocol, SessionEvent};
//! use wwr::session::{ConnectionId, Effect, Registry, RegistryConfig};
//! use wwr::{Actions, Instant, SessionInfo, SessionKey, UnixTime};
//!
//! let (now, id) = (Instant::EPOCH, ConnectionId(1));
//! let (mut out, mut effects) = (Actions::new(), Actions::new());
//! let mut registry = Registry::new(RegistryConfig::default());
//! let config = Config { protocol: Protocol::V1_4, ..Config::default() };
//! let mut connection = Connection::accept(&config, Observed::Nothing, now, &mut out);
//!
//! let (mut login, mut sent) = (None, Vec::new());
//! connection.handle_message(now, b"\x7f\x01\0\0\0\0\0\0\0\x05login"[..].into(), &mut out);
//! while let Some(action) = out.pop() {
//!     match action {
//!         Action::Send(frame) => sent.push(frame),
//!         Action::Request(request) => {
//!             let key = SessionKey::from_entropy([7; 48]); // from a random source, really
//!             connection.create_session(key, UnixTime::from_seconds(0), SessionInfo::new(), &mut out)?;
//!             login = Some(request.id);
//!         }
//!         Action::Session(command) => registry.handle(id, command, &mut effects),
//!         Action::SessionEvent(event) => {
//!             assert_eq!(event, SessionEvent::Created);
//!             if let Some(id) = login.take() {
//!                 connection.reply(id, Ok("welcome".into()), &mut out)?;
//!             }
//!         }
//!         _ => {} // signals, pings, the end
//!     }
//!     while let Some(effect) = effects.pop() {
//!         match effect {
//!             Effect::Deliver { outcome, .. } => connection.handle_session(now, outcome, &mut out),
//!             Effect::Store { ticket, .. } => registry.stored(ticket, Ok(()), &mut effects),
//!             Effect::Lookup { ticket, .. } => registry.looked_up(ticket, Ok(None), &mut effects),
//!             Effect::Destroy { ticket, .. } => registry.destroyed(ticket, Ok(()), &mut effects),
//!         }
//!     }
//! }
//! assert_eq!(sent.len(), 2);
//! assert!(sent[0].starts_with(b"\x15{\"k\":"));
//! assert_eq!(&sent[1][..], b"\xc0\x01\0\0\0\0\0\0\0welcome");
//! # Ok::<(), wwr::server::Misuse>(())
//! ```
//!
//! # Reading the source
//!
//! Modules depend downwards only: `time`, `dialect`, then `wire` and `session`, then `server` and
//! `client`, which do not know each other. Comments name sections of the protocol description (§)
//! and its list of known mistakes of the reference (Q14-05 and the like).
//!
//! # Features
//!
//! * `arbitrary`: the inputs of the machines implement `arbitrary::Arbitrary`, for fuzzing.
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::alloc_instead_of_core, clippy::std_instead_of_core)]

extern crate alloc;
// The derive macro of `arbitrary` needs it, too.
#[cfg(any(test, feature = "arbitrary"))]
extern crate std;

mod actions;
pub mod client;
mod close;
mod dialect;
pub mod preflight;
pub mod server;
pub mod session;
mod time;
pub mod wire;

pub use actions::Actions;
pub use close::{CloseFrame, InvalidCloseFrame};
pub use dialect::{Dialect, Liveness, MalformedRequest, Rules, SpecialErrors};
pub use session::{KeyFormat, Session, SessionInfo, SessionKey};
pub use time::{Instant, InvalidTime, UnixTime};
pub use wire::{Content, Encoding, ErrorCode, InvalidName, Name, Payload, PreparedSignal};
