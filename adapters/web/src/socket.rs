//! The WebSocket of a client.

use std::rc::Weak;

use bytes::Bytes;
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, MessageEvent, WebSocket};
use wwr::CloseFrame;
use wwr::handshake::SubProtocol;

use crate::host::Host;

/// The code of the close event if no close frame came (RFC 6455 §7.1.5).
const ABNORMAL: u16 = 1006;

/// Pages may not close with 1009, which says that a message is too long (RFC 6455 §7.4.1), but with codes of
/// applications.
const TOO_LONG: u16 = 4009;

/// What all sockets of a client call, one after the other.
pub(crate) struct Handlers {
    opened: Closure<dyn FnMut()>,
    message: Closure<dyn FnMut(MessageEvent)>,
    closed: Closure<dyn FnMut(CloseEvent)>,
}

impl Handlers {
    pub(crate) fn new(host: &Weak<Host>) -> Self {
        let (opened, message, closed) = (host.clone(), host.clone(), host.clone());
        Self {
            opened: Closure::new(move || {
                if let Some(host) = opened.upgrade() {
                    host.opened();
                }
            }),
            message: Closure::new(move |event: MessageEvent| {
                if let Some(host) = message.upgrade() {
                    host.message(bytes(&event.data()));
                }
            }),
            closed: Closure::new(move |event: CloseEvent| {
                if let Some(host) = closed.upgrade() {
                    host.closed(match event.code() {
                        ABNORMAL => None,
                        code => Some(CloseFrame::received(Some(code), &event.reason())),
                    });
                }
            }),
        }
    }
}

/// Returns the bytes of a message. Text counts as well (protocol §1.1).
fn bytes(data: &JsValue) -> Bytes {
    match data.as_string() {
        Some(text) => text.into(),
        None => Uint8Array::new(data).to_vec().into(),
    }
}

/// A WebSocket that is being opened or open. When this is dropped, it is closed and reports nothing more.
pub(crate) struct Socket(WebSocket);

impl Socket {
    /// Begins to open one. `None` if the browser refuses even to try.
    pub(crate) fn open(
        url: &str,
        offered: Option<SubProtocol>,
        handlers: &Handlers,
    ) -> Option<Self> {
        let socket = match offered {
            Some(offered) => WebSocket::new_with_str(url, offered.as_str()),
            None => WebSocket::new(url),
        };
        let socket = socket.ok()?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        socket.set_onopen(Some(handlers.opened.as_ref().unchecked_ref()));
        socket.set_onmessage(Some(handlers.message.as_ref().unchecked_ref()));
        socket.set_onclose(Some(handlers.closed.as_ref().unchecked_ref()));
        Some(Self(socket))
    }

    /// Returns the sub-protocol that the server has selected.
    pub(crate) fn selected(&self) -> Option<SubProtocol> {
        let selected = self.0.protocol();
        (selected == SubProtocol::Wwr1.as_str()).then_some(SubProtocol::Wwr1)
    }

    /// Sends a message. Without effect if the socket is not open any more: its end is reported.
    pub(crate) fn send(&self, frame: &[u8]) {
        let _ = self.0.send_with_u8_array(frame);
    }

    /// Closes it, because a message of the server was too long.
    pub(crate) fn refuse_message(self) {
        // The first close counts.
        let _ = self.0.close_with_code_and_reason(TOO_LONG, "the message is too long");
    }

    /// Returns how many bytes wait for the server to read them.
    pub(crate) fn waiting(&self) -> u32 {
        self.0.buffered_amount()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.set_onopen(None);
        self.0.set_onmessage(None);
        self.0.set_onclose(None);
        // What was sent goes out before. Only codes of applications and this one are allowed here.
        let _ = self.0.close_with_code(CloseFrame::NORMAL.code());
    }
}
