//! A WebSocket to any server: how a client of WebWire gets it, without the protocol on top.

use std::sync::Arc;

use super::config::Config;
use super::dial::Target;
use super::dialer::Tcp;
use crate::runtime::Runtime;
use crate::websocket::WebSocket;

/// Opens a WebSocket.
pub(crate) async fn open<R: Runtime>(
    runtime: &R,
    url: &str,
    max_message_size: u32,
) -> WebSocket<R> {
    let url = url.parse().unwrap();
    let mut config = Config::default();
    config.machine.max_message_size = max_message_size;
    let checked = config.check(&url).unwrap();
    let target = Target::new(url, Arc::new(Tcp), &checked);
    match target.dial(runtime.clone(), None).await {
        Ok(opened) => *opened.socket,
        Err(failure) => panic!("{failure}"),
    }
}
