//! The WebSocket handshake (RFC 6455 section 4.2.1).

use alloc::boxed::Box;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::decision::Terms;
use super::head::{Field, Head, HttpVersion};
use super::refusal::Refusal;
use super::sub_protocol::{NotSelectable, offered_sub_protocols};
use crate::handshake::{self, ACCEPT_LENGTH, SubProtocol, accept_bytes};
use crate::preflight;
use crate::server::protocol::Observed;

/// The only version of WebSocket.
const VERSION: &[u8] = handshake::VERSION.as_bytes();

/// Base64 as clients write it. Surplus bits do not matter: some clients make keys of random
/// letters.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// What accepts a handshake: the value of `Sec-WebSocket-Accept`, and the sub-protocol (RFC 6455
/// section 4.2.2).
#[derive(Clone, PartialEq, Eq)]
pub struct Accept {
    value: [u8; ACCEPT_LENGTH],
    sub_protocol: Option<Selected>,
}

/// A selected sub-protocol.
#[derive(Clone, PartialEq, Eq)]
enum Selected {
    Ours(SubProtocol),
    /// One of the application.
    Other(Box<str>),
}

impl Accept {
    /// Returns what answers a `Sec-WebSocket-Key`, without a sub-protocol. `None` if the key is not
    /// the base64 of 16 bytes.
    pub fn of_key(key: &[u8]) -> Option<Self> {
        // 16 bytes in base64, and room for a longer, invalid key.
        let mut nonce = [0; 18];
        let length = BASE64.decode_slice(key, &mut nonce).ok()?;
        if length != 16 {
            return None;
        }
        Some(Self { value: accept_bytes(key), sub_protocol: None })
    }

    /// Returns the value of `Sec-WebSocket-Accept`.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.value).unwrap_or_default()
    }

    /// Returns the selected sub-protocol, the value of `Sec-WebSocket-Protocol`, if any (protocol
    /// §10.1).
    pub fn sub_protocol(&self) -> Option<&str> {
        self.sub_protocol.as_ref().map(|selected| match selected {
            Selected::Ours(ours) => ours.as_str(),
            Selected::Other(name) => name,
        })
    }

    /// Selects a sub-protocol for the application, among those that the headers of the request
    /// offer. There is only one: if `wwr.1` is selected already, it stays (protocol §10.1).
    ///
    /// # Errors
    ///
    /// [`NotSelectable`]. Then nothing is selected that was not selected before.
    pub fn select<'a>(
        &mut self,
        name: &str,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<(), NotSelectable> {
        let is_ours = name == SubProtocol::Wwr1.as_str();
        let speaks = !is_ours || matches!(self.sub_protocol, Some(Selected::Ours(_)));
        if !speaks || !offered_sub_protocols(headers).any(|offered| offered == name) {
            return Err(NotSelectable);
        }
        self.sub_protocol.get_or_insert_with(|| Selected::Other(name.into()));
        Ok(())
    }

    /// Returns what this shows about the client.
    pub const fn observed(&self) -> Observed {
        match self.sub_protocol {
            Some(Selected::Ours(SubProtocol::Wwr1)) => Observed::SubProtocol,
            Some(Selected::Other(_)) | None => Observed::Nothing,
        }
    }
}

impl core::fmt::Debug for Accept {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // A sub-protocol of the application may be a token.
        let selected = self.sub_protocol.as_ref().map(|selected| match selected {
            Selected::Ours(ours) => ours.as_str(),
            Selected::Other(_) => "(not shown)",
        });
        f.debug_tuple("Accept").field(&self.as_str()).field(&selected).finish()
    }
}

/// Checks a handshake whose origin is allowed.
pub(super) fn check(head: &Head<'_>, terms: &Terms<'_>) -> Result<Accept, Refusal> {
    let asks = head.connection_upgrade && head.upgrades_to_websocket;
    if !asks || head.version == HttpVersion::Http10 {
        return Err(no_upgrade(head));
    }
    if head.method != "GET" {
        return Err(Refusal::MethodNotAllowed);
    }
    // Bytes behind the head would count as WebSocket frames.
    if head.has_body() {
        return Err(Refusal::Body);
    }
    // Each of these may occur once: RFC 6455 section 11.3.
    match head.websocket_version {
        Field::Once(VERSION) => {}
        Field::Absent | Field::Once(_) => return Err(Refusal::WrongVersion),
        Field::Several => return Err(Refusal::SeveralVersions),
    }
    match head.key {
        Field::Absent => Err(Refusal::NoKey),
        Field::Once(key) => {
            let accept = Accept::of_key(key).ok_or(Refusal::InvalidKey)?;
            let agreed = terms.selects_wwr1 && head.offers_wwr1;
            let sub_protocol = agreed.then_some(Selected::Ours(SubProtocol::Wwr1));
            Ok(Accept { sub_protocol, ..accept })
        }
        Field::Several => Err(Refusal::SeveralKeys),
    }
}

/// Returns what is wrong with a request that is not a handshake.
fn no_upgrade(head: &Head<'_>) -> Refusal {
    match head.method {
        _ if head.has_body() => Refusal::Body,
        preflight::METHOD => Refusal::NoPreflight,
        "GET" | "HEAD" if head.upgrades_to_websocket => match head.version {
            HttpVersion::Http10 => Refusal::Http10,
            HttpVersion::Http11 => Refusal::NoConnectionUpgrade,
        },
        "GET" | "HEAD" => Refusal::NoWebSocket,
        _ => Refusal::MethodNotAllowed,
    }
}
