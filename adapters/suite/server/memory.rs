//! What a connection keeps on the heap while nothing happens on it.

use allocation_counter::measure;
use wwr::server::RequestError;
use wwr::{Content, Payload};

use crate::adapter::server::{Connection, Handler, Server};
use crate::adapter::{Manual, Runtime as _};
use crate::suite::support::peer::Peer;

/// How many bytes at most: some 2800 on each runtime, and a little that depends on chance.
const MOST: i64 = 3200;

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

/// Counts what the thread of the server allocates and does not free. The clients are on other threads.
#[test]
fn an_idle_connection_keeps_little_on_the_heap() {
    const IDLE: usize = 200;
    let manual = Manual::new();
    let server = Server::builder_on(manual.runtime(), Echo).listen("127.0.0.1:0");
    let server = smol::block_on(server).unwrap();
    let (address, handle) = (server.local_addr(), server.handle());
    manual.runtime().spawn(server.run());
    let open = |count| {
        let connect = move || {
            let mut peers: Vec<_> = (0..count).map(|_| Peer::connect_unasked(address)).collect();
            // The server has to do all that was to be done for the others before it answers this one.
            peers.last_mut().unwrap().is_served();
            peers
        };
        manual.run(smol::unblock(connect))
    };
    // Fills pools, and lists that grow now and then.
    let first = open(IDLE / 4);
    let mut idle = Vec::new();
    let kept = measure(|| idle = open(IDLE)).bytes_current;
    assert_eq!(handle.connection_count(), first.len() + idle.len());
    let each = kept / IDLE as i64;
    assert!((1..MOST).contains(&each), "{each} bytes for each of {IDLE} connections");
}
