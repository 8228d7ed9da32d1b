//! The client side of a connection as a pure state machine (protocol §6).
//!
//! A [`Client`] keeps one connection to a server. It finds out which version the server speaks,
//! asks the host to open the WebSocket, resumes the session, sends requests and signals, and starts
//! again when the connection is lost. It does no input or output itself.
//!
//! # Contract
//!
//! * **Inputs** are the commands of the application ([`connect`](Client::connect),
//!   [`request`](Client::request), [`signal`](Client::signal), ...) and what the host reports, the
//!   `handle_` methods. A report that does not fit the state is harmless.
//! * **Outputs** are [`Action`]s, appended to the list that every such method takes. Their order is
//!   the order of execution. The host polls nothing but [`next_timeout`](Client::next_timeout).
//! * **Time** is an argument. A time that lies before an earlier one counts as the earlier one.
//!   After [`handle_timeout`](Client::handle_timeout) the next timeout lies in the future. A call
//!   that comes too early or once too often does nothing.
//! * **Requests** end in exactly one [`Action::Done`]. One deadline covers waiting for a connection
//!   and for the reply. Without a connection, a request waits in a bounded queue. A request that
//!   was sent is never sent again, unless it is an [idempotent](Client::request_idempotent) one.
//! * **Questions** of a server of `wwr.1` are reported as [`Event::Question`], and the application
//!   [answers](Client::answer) each once, unless it is told that the answer is not wanted any more
//!   ([`Event::QuestionCancelled`]).
//! * **Sessions** survive connections: the client resumes its session on a new connection before it
//!   sends anything else. [`Client::close`] keeps the session, too.
//! * **Bounds**: a call takes time at most in proportion to what it reports. Of what a server
//!   sends, the client keeps only the session object and the advertised settings.
//! * The same calls and the same seed give the same actions.
//!
//! # States
//!
//! ```text
//!            connect            answer           opened                no session
//!   Idle ──────────────▶ Probing ─────▶ Dialing ───────▶ AwaitingConf ───────────▶ Ready
//!  Closed                   ▲ │            │                  │ │ session held      ▲ │
//!                   pause is│ │failed      │failed            │ └──────▶ Resuming ──┘ │
//!                   over    │ ▼            ▼                  ▼ failed      │lost      │lost
//!                          Waiting ◀───────┴──────────────────┴─────────────┴──────────┘
//! ```
//!
//! Without automatic reconnection, and after a [definite](ConnectError::is_definite) error, the
//! client becomes Idle instead of Waiting. [`Client::close`] leads to Closed from every state.
//!
//! # Versions
//!
//! With [`Protocol::Auto`], a client speaks the version of its server (protocol §7.3):
//!
//! | the preflight | the first message | then |
//! |---|---|---|
//! | names 1.4 or 1.5 | accept-conf of 2.0, at any time | 2.0 from then on |
//! | | none yet, or another | what the preflight names |
//! | does, and promises an accept-conf | none for a second | what the preflight names |
//! | has another answer, or none | accept-conf of 2.0 | 2.0 |
//! | | none in time | tries again; an error if the answer named a version |
//! | | another | an error; tries again if there was no answer |
//! | | the connection is lost before | tries again |
//! | has status 429, 502, 503 or 504 | | tries again, not before the time in `Retry-After` |
//!
//! The client waits for nothing if the preflight names 1.4 or 1.5 and no more, because most such
//! servers never send an accept-conf. Servers of this crate say in their answer that they do
//! ([`preflight::ACCEPT_CONF`]). The client speaks what the preflight names, unless an accept-conf
//! has come with the opening of the WebSocket. An accept-conf that comes later, as the first
//! message, switches the connection to 2.0. Everything before it was sent as 1.x: a message may be
//! longer than the message buffer, and a server with another sub-protocol may have handled it. Set
//! a client to [`Protocol::V2_0`] if it must talk only to 2.0 servers, or only to servers with its
//! sub-protocol. While the version is unknown, a signal needs a payload, because 1.x reads no
//! signal without one.
//!
//! The next time, the client dials a server that advertised 2.0 without a preflight. The server
//! then has to advertise it again within a second, or the client begins anew. After a preflight
//! that names 1.x, AwaitingConf takes no time. Clients that are set to 1.x skip AwaitingConf;
//! clients that are set to 2.0 skip Probing. [`Client::discovered`] returns what the client has
//! found out.
//!
//! With 2.0, the client sends nothing longer than the server's message buffer. With 1.5 and 2.0, it
//! sends a heartbeat when it has sent nothing else for three quarters of the server's read timeout
//! (protocol §4.6).
//!
//! [`preflight::ACCEPT_CONF`]: crate::preflight::ACCEPT_CONF
//!
//! # Liveness
//!
//! The client notices a server that has vanished without closing the connection
//! ([`DisconnectReason::Silent`]). With the default [pings](Config::pings) that takes 45 s,
//! if the server answers pings. Everything that the host reads is a sign of life: messages, and by
//! [`Client::handle_activity`] and [`Client::handle_pong`] what it reads besides. The host hands
//! over what has come before it calls [`Client::handle_timeout`]. Otherwise a host that slept would
//! take its server for silent.
//!
//! # Run loop
//!
//! ```
//! use bytes::Bytes;
//! use wwr::client::{Action, Client, Event};
//! use wwr::{Actions, Instant, Name, Payload, Valid, preflight};
//!
//! let mut client = Client::new(&Valid::default(), 7);
//! let mut out = Actions::new();
//! let now = Instant::EPOCH;
//! client.connect(now, &mut out);
//! let question = client.request(now, "greet".parse()?, Payload::utf8("Ada"), None, &mut out)?;
//!
//! // This host has a server that says little. It speaks 2.0, which has no preflight.
//! let mut answer = None;
//! while let Some(action) = out.pop() {
//!     match action {
//!         Action::Probe => {
//!             let body = "Bad Request\n".into();
//!             let answer = preflight::Answer { status: 400, body, retry_after: None };
//!             client.handle_probed(now, Ok(answer), &mut out);
//!         }
//!         Action::Dial => {
//!             client.handle_opened(now, None, &mut out);
//!             let accept_conf = b"\x17\x02\0\x60\xea\0\0\0\x20\0\0";
//!             client.handle_message(now, Bytes::from_static(accept_conf), &mut out);
//!         }
//!         Action::Send(frame) => {
//!             assert_eq!(&frame[..], b"\x80\x01\0\0\0\0\0\0\0\x05greetAda");
//!             let reply = Bytes::from_static(b"\xc0\x01\0\0\0\0\0\0\0hello Ada");
//!             client.handle_message(now, reply, &mut out);
//!         }
//!         Action::Ping | Action::Hangup => {}
//!         Action::Done { id, outcome } if id == question => answer = Some(outcome?),
//!         Action::Done { .. } => {}
//!         Action::Event(event) => assert_eq!(event, Event::Connected),
//!     }
//! }
//! assert_eq!(answer, Some(Payload::utf8("hello Ada")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod action;
mod backoff;
mod config;
mod discovery;
mod error;
mod heartbeat;
mod inbound;
mod link;
mod liveness;
mod machine;
mod offers;
mod protocol;
mod questions;
mod recovery;
mod requests;
mod table;
#[cfg(test)]
mod tests;

pub use crate::pings::Pings;
pub use action::{Action, Anomaly, DisconnectReason, Event, Outcome, SessionLoss};
pub use config::Config;
pub use discovery::Discovered;
pub use error::{ConnectError, Misuse, RequestError};
pub use link::Status;
pub use machine::{Client, SessionReader};
pub use protocol::Protocol;
pub use questions::{AnswerError, Question, QuestionId};
pub use requests::RequestId;
