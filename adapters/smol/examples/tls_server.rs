//! An echo server with TLS: `cargo run --features rustls --example tls_server -- chain.pem key.pem`

use std::env::args;

use wwr_smol::server::{Connection, Handler, RequestError, Server, Tls};
use wwr_smol::{Content, Payload};

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [certificate, key] = [1, 2].map(|at| args().nth(at).unwrap_or_default());
    let tls = Tls::from_pem_files(certificate, key)?;
    smol::block_on(async {
        let server = Server::builder(Echo).tls(tls).listen("127.0.0.1:7777").await?;
        println!("listening on wss://{}", server.local_addr());
        server.run().await;
        Ok(())
    })
}
