//! A busy input does not keep other inputs waiting.

use std::sync::atomic::{AtomicBool, Ordering};

use smol::future::yield_now;
use wwr::server::RequestError;
use wwr::{Content, Payload};

use crate::adapter::runtime;
use crate::adapter::server::{Connection, Handler, Server};
use crate::suite::support::message::{answer, ask};
use crate::suite::support::peer::{self, Peer, frame};
use crate::suite::support::{Running, configured};

/// Sends signals without end, as good as, until it is asked to stop.
#[derive(Default)]
struct Flood {
    stopped: AtomicBool,
}

impl Handler for Flood {
    async fn request(&self, to: &Connection, request: Content) -> Result<Payload, RequestError> {
        if request.name() == b"stop" {
            self.stopped.store(true, Ordering::Relaxed);
            return Ok(Payload::utf8("yes"));
        }
        for _ in 0..10_000 {
            if self.stopped.load(Ordering::Relaxed) {
                return Ok(Payload::utf8("stopped"));
            }
            // Refused if the client reads too slowly.
            let _ = to.signal("more", "x");
            yield_now().await;
        }
        Ok(Payload::utf8("not heard"))
    }
}

#[test]
fn a_client_is_heard_while_a_handler_sends_it_signal_after_signal() {
    let both = 2.try_into().unwrap();
    let server = Running::new(
        Server::builder_on(runtime(), Flood::default())
            .config(configured(|config| config.connection.concurrency = both)),
    );
    let mut peer = Peer::connect(server.address);
    let requests = [ask(1, "flood", "x"), ask(2, "stop", "x")];
    peer.write(&requests.map(|request| frame(peer::BINARY, &request)).concat());
    let mut replies: Vec<_> = std::iter::from_fn(|| Some(peer.message()))
        .filter(|message| matches!(message[0], 191..=193))
        .take(2)
        .collect();
    replies.sort_unstable();
    assert_eq!(replies, [answer(1, "stopped"), answer(2, "yes")]);
}
