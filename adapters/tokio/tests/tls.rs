//! A server with TLS and a unix socket on tokio: large messages in both directions, at once with a proper
//! end. What TLS does otherwise is tested on smol.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use wwr_tokio::rustls::pki_types::PrivatePkcs8KeyDer;
use wwr_tokio::rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, StreamOwned};
use wwr_tokio::server::{Config, Connection, Handler, Protocol, RequestError, Server};
use wwr_tokio::{Content, Listen, Payload, SocketAddress};

/// Ends a test that hangs.
const SAFETY: Duration = Duration::from_secs(60);

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

fn runtimes() -> [Runtime; 2] {
    let mut one = Builder::new_current_thread();
    let mut several = Builder::new_multi_thread();
    [one.enable_all().build().unwrap(), several.worker_threads(2).enable_all().build().unwrap()]
}

/// A conversation of a client of 1.4, up to the end of the connection.
fn converse(mut stream: impl Read + Write) {
    let handshake = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    let payload: Vec<u8> = (0..900_000_u32).map(|at| (at % 251) as u8).collect();
    let length = (payload.len() as u64 + 10 + 4).to_be_bytes();
    // Masked with zeros.
    let head = [&[0x82, 0xff][..], &length, &[0; 4], b"\x7f\0\0\0\0\0\0\0\x01\x04echo"].concat();
    for _ in 0..3 {
        stream.write_all(&[&head[..], &payload].concat()).unwrap();
        let mut reply = vec![0; 10 + 9 + payload.len()];
        stream.read_exact(&mut reply).unwrap();
        assert!(reply[19..] == payload && reply[..2] == [0x82, 127]);
    }
    stream.write_all(b"\x88\x82\0\0\0\0\x03\xe8").unwrap();
    let mut end = Vec::new();
    // With TLS, an error if the server ends without `close_notify`.
    stream.read_to_end(&mut end).unwrap();
    assert_eq!(end[..4], *b"\x88\x02\x03\xe8");
}

#[test]
fn clients_are_served_over_tls_and_on_unix_sockets() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let client = Arc::new(client);
    for runtime in runtimes() {
        let directory = tempfile::tempdir().unwrap();
        let (tls, client) = (tls.clone(), client.clone());
        runtime.block_on(async {
            let mut config = Config::default();
            config.connection.protocol = Protocol::V1_4;
            let builder = Server::builder(Echo).config(config).tls(tls);
            #[cfg(unix)]
            let on = [Listen::from("127.0.0.1:0"), Listen::unix(directory.path().join("socket"))];
            #[cfg(not(unix))]
            let on = [Listen::from("127.0.0.1:0")];
            let server = builder.listen(on).await.unwrap();
            let (addresses, handle) = (server.local_addrs().to_vec(), server.handle());
            let running = tokio::spawn(server.run());
            let clients = tokio::task::spawn_blocking(move || {
                for address in addresses {
                    match address {
                        SocketAddress::Tcp(address) => {
                            let stream = TcpStream::connect(address).unwrap();
                            stream.set_read_timeout(Some(SAFETY)).unwrap();
                            let name = "localhost".try_into().unwrap();
                            let session = ClientConnection::new(client.clone(), name).unwrap();
                            converse(StreamOwned::new(session, stream));
                        }
                        #[cfg(unix)]
                        SocketAddress::Unix(path) => {
                            converse(std::os::unix::net::UnixStream::connect(path).unwrap());
                        }
                    }
                }
            });
            clients.await.unwrap();
            handle.shut_down(SAFETY).await;
            running.await.unwrap();
        });
    }
}
