use wwr_smol::server::{Connection, Handler, RequestError, Server};
use wwr_smol::{Content, Payload};

use super::*;

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn signal(&self, from: &Connection, signal: Content) {
        assert_eq!(from.signal("echo", signal.into_payload()), Ok(()));
    }
}

#[test]
fn the_server_replies_and_signals() {
    let server = smol::block_on(Server::builder(Echo).listen("127.0.0.1:0")).unwrap();
    let (url, handle) = (format!("ws://{}/", server.local_addr()), server.handle());
    smol::spawn(server.run()).detach();
    assert_eq!(talk(&url).unwrap(), "news");
    smol::block_on(handle.shut_down(Duration::from_secs(60)));
    assert!(talk(&url).is_err());
}
