//! WebWire for Rust: request/reply, signals in both directions, and sessions that survive
//! reconnects, over one binary message protocol on WebSocket.
//!
//! This crate contains the protocol and nothing else. Its state machines take frames in and return
//! actions. They know no socket, clock, random source, thread or runtime, and need no `std`. The
//! program that drives them brings those: the crates `wwr-smol` and `wwr-tokio` for an async runtime,
//! `wwr-async` for any other, or a loop of your own.
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
//!                                              │ server::Hub, once per server       │
//!                                              │    │ jobs        ▲ answers         │
//!                                              │    ▼             │                 │
//!                                              │ a session store of the host        │
//!                                              └────────────────────────────────────┘
//! ```
//!
//! * [`server::gate`] says what an HTTP request means: preflight, upgrade, or a refusal with a
//!   reason.
//! * [`server::Connection`] serves one socket: order, concurrency, replies, deferred closing.
//! * [`server::Hub`] is what the connections of a server share: admission, sessions and their limits,
//!   jobs of the session store, groups, the stages of a shutdown.
//! * [`client::Client`] keeps a client connected: preflight, requests with one outcome each,
//!   reconnection with backoff, resuming the session.
//! * [`preflight`] and [`handshake`] are the HTTP that comes before the first message, and [`names`] what a
//!   server lists of itself by HTTP.
//! * [`wire`] turns bytes into messages and back, exact to the byte.
//! * [`Payload::json`] and [`Content::json`] turn values into payloads and back.
//! * [`Dialect`] holds every difference between the protocol versions 1.4, 1.5 and 2.0, and `wwr.1`.
//!
//! # Driving a machine
//!
//! All machines share one contract. The host passes what happened to a method, with the time. The
//! method appends what to do to the caller's [`Actions`], in order. The host polls nothing but
//! `next_timeout`. Calls that come late or twice are harmless. The same inputs give the same
//! outputs. Whatever a peer sends, a machine does not panic, grow beyond its bounds or work for
//! long.
//!
//! ```text
//! server, one task per connection                      client, one task
//!   id = hub.admit(now)                                  client.connect(now, out)
//!   conn = Connection::accept(cfg, observed, now, out)   loop
//!   hub.opened(now, id, control)                           while action = out.pop()
//!   loop                                                     Probe, Dial      -> start it
//!     while action = out.pop()                               Send(frame)      -> feed the socket
//!       Send(frame)   -> feed the socket                     Done{id,outcome} -> wake the caller
//!       Request, ..   -> run the handler                     Event(e)         -> application
//!       Session(cmd)  -> hub.handle(now, id, cmd, control) flush, once nothing more is ready
//!       Close(why)    -> flush, close frame, end           wait for: frame, call, timer, dial, end
//!     flush, once nothing more is ready to be read
//!     wait for: frame, outcome, answer, timer, end     server, once
//!   hub.left(now, id, control)                           while action = control.pop(), under the lock
//!                                                          Deliver, ShutDown, .. -> to that task
//!                                                          Store(job)            -> hub.answered(..)
//! ```
//!
//! A server without sockets, in full:
//!
//! ```
//! use wwr::server::{
//!     Action, Config, Connection, Hub, HubAction, Observed, Protocol, SessionEvent,
//!     StoreAnswer, Work,
//! };
//! use wwr::{Actions, Instant, SessionInfo, SessionKey, UnixTime, Valid};
//!
//! let now = Instant::EPOCH;
//! let (mut out, mut control) = (Actions::new(), Actions::new());
//! let mut hub = Hub::new(&Valid::default());
//! let id = hub.admit(now)?;
//! let mut config = Config::default();
//! config.protocol = Protocol::V1_4;
//! let mut connection = Connection::accept(&config.validate()?, Observed::Nothing, now, &mut out);
//! hub.opened(now, id, &mut control);
//!
//! let (mut login, mut sent) = (None, Vec::new());
//! connection.handle_message(now, b"\x7f\x01\0\0\0\0\0\0\0\x05login"[..].into(), &mut out);
//! while let Some(action) = out.pop() {
//!     match action {
//!         Action::Send(frame) => sent.push(frame),
//!         Action::Request(request) => {
//!             let key = SessionKey::from_entropy([7; 48]); // from a random source, really
//!             let info = SessionInfo::new();
//!             let id = connection.create_session(key, UnixTime::from_seconds(0), info, &mut out)?;
//!             login = Some((id, request.id));
//!         }
//!         Action::Session(command) => hub.handle(now, id, command, &mut control),
//!         Action::SessionEvent(event) => {
//!             if let Some((id, request)) = login.take() {
//!                 assert!(matches!(event, SessionEvent::Created(of, _) if of == id));
//!                 connection.reply(request, Ok("welcome".into()), &mut out)?;
//!             }
//!         }
//!         _ => {} // signals, pings, the end
//!     }
//!     while let Some(action) = control.pop() {
//!         match action {
//!             HubAction::Deliver { outcome, .. } => connection.handle_session(now, outcome, &mut out),
//!             HubAction::Store(job) => {
//!                 let answer = match job.work {
//!                     Work::LookUp(_) => StoreAnswer::LookedUp(Ok(None)),
//!                     Work::Create(_) => StoreAnswer::Created(Ok(())),
//!                     Work::Update(_) => StoreAnswer::Updated(Ok(true)),
//!                     Work::Destroy(_) => StoreAnswer::Destroyed(Ok(())),
//!                     Work::Expire { .. } => StoreAnswer::Expired(Ok(())),
//!                 };
//!                 hub.answered(now, job.id, answer, &mut control);
//!             }
//!             _ => {} // shutdown
//!         }
//!     }
//! }
//! assert_eq!(sent.len(), 2);
//! assert!(sent[0].starts_with(b"\x15{\"k\":"));
//! assert_eq!(&sent[1][..], b"\xc0\x01\0\0\0\0\0\0\0welcome");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Reading the source
//!
//! Modules depend downwards only: `time`, `dialect`, then `wire` and `session`, then `cluster`, then `server` and
//! `client`, which do not know each other. Comments name sections of the protocol (§5.4) and known
//! mistakes of the reference (Q14-05): both are in `docs/protocol.md` of the repository.
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
mod backlog;
pub mod client;
mod close;
pub mod cluster;
mod dialect;
mod format;
pub mod handshake;
pub mod names;
mod pings;
pub mod preflight;
pub mod server;
pub mod session;
mod time;
mod valid;
pub mod wire;

pub use actions::Actions;
pub use backlog::{Backlog, NoRoom, SlowReader};
pub use close::{CloseFrame, InvalidCloseFrame};
pub use dialect::{Dialect, Liveness, MalformedRequest, Pongs, Rules, SpecialErrors};
pub use format::{FormatError, FormatErrorKind};
pub use session::{InvalidInfo, KeyFormat, Session, SessionInfo, SessionKey, TypedInfoError};
pub use time::{Instant, InvalidTime, UnixTime};
pub use valid::{InvalidConfig, Valid};
pub use wire::{
    Content, Encoding, ErrorCode, InvalidName, InvalidSignal, Name, Payload, PreparedSignal,
    UnreadableSignal,
};
