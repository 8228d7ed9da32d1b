//! The client side of a connection as a pure state machine (protocol §6).
//!
//! A [`Client`] keeps one connection to a server: it finds out which version the server speaks, has
//! the WebSocket opened, resumes the session, sends requests and signals, and starts again when the
//! connection is lost. It does none of the input and output itself.
//!
//! # Contract
//!
//! * **Inputs** are the commands of the application ([`connect`](Client::connect),
//!   [`request`](Client::request), [`signal`](Client::signal), ...) and what the host reports, the
//!   `handle_` methods. A report that does not fit the state is harmless.
//! * **Outputs** are [`Action`]s, appended to the list that every such method takes. Their order is
//!   the order of execution. Nothing else needs to be asked for but
//!   [`next_timeout`](Client::next_timeout).
//! * **Time** is an argument. A time before one seen earlier counts as that one. After
//!   [`handle_timeout`](Client::handle_timeout) the next timeout lies in the future; a call too
//!   early or once too often does nothing.
//! * **Requests** end in exactly one [`Action::Done`]. One deadline covers waiting for a connection
//!   and for the reply. A request made while there is no connection waits in a bounded queue; one
//!   that was sent is never sent again.
//! * **Sessions** survive connections: the session held is resumed on a new connection before
//!   anything else is sent. [`Client::close`] keeps it, too.
//! * **Bounds**: a call takes time in proportion to what it reports at most, and nothing that a
//!   server sends is kept but the session object and what it announced of itself.
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
//! Without automatic reconnection, and after an error that is
//! [definite](ConnectError::is_definite), Idle takes the place of Waiting. [`Client::close`] leads
//! to Closed from everywhere.
//!
//! # Versions
//!
//! With [`Protocol::Auto`], a client speaks whatever its server does (protocol §7.3):
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
//! Nothing is waited for if the preflight names 1.4 or 1.5 and no more: most such servers never
//! advertise anything. Servers of this crate that do say so ([`preflight::ACCEPT_CONF`]). The client speaks what the preflight names, unless an accept-conf has come with the
//! opening of the WebSocket. One that comes later, as the first message, switches the connection to
//! 2.0. What was sent before was sent as 1.x: it may be longer than the message buffer, and a
//! server with another sub-protocol may have handled it. A client that is to talk to nobody but 2.0
//! servers, or to those with its sub-protocol only, is set to [`Protocol::V2_0`]. A signal for a
//! server of unknown version carries a payload, as 1.x reads no other.
//!
//! A server that advertised 2.0 is dialled without a preflight the next time, and has to advertise it
//! again, within a second: if not, the client begins anew. AwaitingConf takes no time after a
//! preflight that names 1.x, and is skipped by clients that are set to 1.x; Probing is skipped by
//! those set to 2.0. [`Client::discovered`] has what was found out.
//!
//! With 2.0 nothing longer than the server's message buffer is sent. With 1.5 and 2.0 a heartbeat is
//! sent when nothing else was for three quarters of the server's read timeout (protocol §4.6).
//!
//! [`preflight::ACCEPT_CONF`]: crate::preflight::ACCEPT_CONF
//!
//! # Liveness
//!
//! A server that has vanished without a word is noticed ([`DisconnectReason::Silent`]): with the
//! [pings](Config::pings) of the default, after 45 s if it is one that answers them. All that
//! the host reads is a sign of life: messages, and by [`Client::handle_activity`] and
//! [`Client::handle_pong`] what it reads besides. What has come is handed over before
//! [`Client::handle_timeout`] is called, or a host that slept would take its server for silent.
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
//! // This host has a server of few words. It speaks 2.0, which has no preflight.
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
mod machine;
mod protocol;
mod pulse;
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
pub use machine::Client;
pub use protocol::Protocol;
pub use requests::RequestId;
