//! The gate of a server: what an HTTP request means (protocol §4.1 to §4.3).
//!
//! A host reads the head of a request with any HTTP library, lends it to the gate as a [`Head`],
//! and sends the [`Answer`] that results. Nothing here knows a socket, a clock or an HTTP library.
//!
//! ```
//! use wwr::preflight::Metadata;
//! use wwr::server::gate::{Answer, Decision, Head, HttpVersion, Origins, Terms, decide};
//!
//! let headers = [
//!     ("Host", &b"localhost:7777"[..]),
//!     ("Upgrade", b"websocket"),
//!     ("Connection", b"Upgrade"),
//!     ("Sec-WebSocket-Version", b"13"),
//!     ("Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
//! ];
//! let head = Head::new("GET", "/", HttpVersion::Http11, headers);
//! let terms = Terms {
//!     metadata: Some(Metadata::V1_4),
//!     origins: &Origins::SameHost,
//!     selects_wwr1: true,
//!     shutting_down: false,
//! };
//! let Decision::Ask { upgrade: Ok(accept) } = decide(&head, &terms) else { unreachable!() };
//! assert_eq!(accept.as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
//! assert_eq!(Answer::switching(&accept).status, 101);
//! ```

mod answer;
mod client;
mod decision;
mod forwarded;
mod handshake;
mod head;
mod host;
mod origin;
mod path;
mod proxies;
mod refusal;
mod slots;
mod sub_protocol;
#[cfg(test)]
mod tests;
mod throttle;

pub use answer::{Answer, CORS};
pub use client::{Client, Doubt};
pub use decision::{Decision, Terms, decide};
pub use handshake::Accept;
pub use head::{Head, HttpVersion};
pub use origin::{InvalidOrigin, Origin, Origins};
pub use path::{EndpointPath, InvalidPath};
pub use proxies::{InvalidNetwork, Network, ProxyHeaders, TrustedProxies};
pub use refusal::Refusal;
pub use slots::{HandshakeSlots, Relief, SlotId, Taken};
pub use sub_protocol::{NotSelectable, may_be_set, offered_sub_protocols};
pub use throttle::LogThrottle;
