//! An echo server with TLS: `cargo run --features rustls --example tls_server -- chain.pem key.pem`

use wwr_smol::server::{Connection, Handler, RequestError, Server, Tls};
use wwr_smol::{Content, Payload};

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

async fn listen(certificate: &str, key: &str, address: &str) -> std::io::Result<Server<Echo>> {
    let tls = Tls::from_pem_files(certificate, key)?;
    Server::builder(Echo).tls(tls).listen(address).await
}

fn main() -> std::io::Result<()> {
    let file = |number| std::env::args().nth(number).unwrap_or_default();
    smol::block_on(async {
        let server = listen(&file(1), &file(2), "127.0.0.1:7777").await?;
        println!("listening on wss://{}", server.local_addr());
        server.run().await;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;
    use std::sync::Arc;
    use std::time::Duration;

    use wwr_smol::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::*;

    #[test]
    fn a_client_that_trusts_the_certificate_is_served() {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.into_os_string().into_string().unwrap()
        };
        let certificate = file("chain.pem", made.cert.pem());
        let key = file("key.pem", made.signing_key.serialize_pem());
        let server = smol::block_on(listen(&certificate, &key, "127.0.0.1:0")).unwrap();
        let (address, handle) = (server.local_addr(), server.handle());
        let running = smol::spawn(server.run());

        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = "localhost".try_into().unwrap();
        let session = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut client = StreamOwned::new(session, TcpStream::connect(address).unwrap());
        let preflight = b"WEBWIRE / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        client.write_all(preflight).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

        smol::block_on(handle.shut_down(Duration::ZERO));
        smol::block_on(running);
    }
}
