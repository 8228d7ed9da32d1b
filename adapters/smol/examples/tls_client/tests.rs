use std::time::Duration;

use wwr_smol::rustls::ServerConfig;
use wwr_smol::rustls::pki_types::PrivatePkcs8KeyDer;
use wwr_smol::server::{Connection, Handler, RequestError, Server};
use wwr_smol::{Content, Payload};

use super::*;

struct Echo;

impl Handler for Echo {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, RequestError> {
        assert!(from.info().tls.is_some());
        Ok(request.into_payload())
    }
}

#[test]
fn a_server_whose_certificate_is_trusted_replies() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let tls = ServerConfig::builder().with_no_client_auth();
    let tls = tls.with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
    let server = Server::builder(Echo).tls(tls).listen("127.0.0.1:0");
    let server = smol::block_on(server).unwrap();
    let (port, handle) = (server.local_addr().port(), server.handle());
    let running = smol::spawn(server.run());

    let url = format!("wss://localhost:{port}/");
    let reply = smol::block_on(talk(&url, Some(made.cert.pem().as_bytes()))).unwrap();
    assert_eq!(reply, "hello");
    assert!(smol::block_on(talk(&url, Some(b""))).is_err());

    smol::block_on(handle.shut_down(Duration::from_secs(60)));
    smol::block_on(running);
}
