//! Byte streams other than TCP: pipes in memory, unix sockets, and streams of the application.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use smol::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::adapter::client::{Destination, Dialed, Event};
use crate::adapter::server::{Connection, Handler, RequestError, Server};
use crate::adapter::{Content, Pipe, pipe, runtime};
use wwr::Payload;
use wwr::client::Protocol;

use crate::suite::client::{builder_at, changed, config, config_of, wait};

struct Echo;

impl Handler for Echo {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

#[test]
fn a_client_and_a_server_talk_without_sockets() {
    for (protocol, capacity) in
        [(Protocol::Auto, 64 * 1024), (Protocol::V1_4, 1), (Protocol::V2_0, 100)]
    {
        wait(async {
            let service = Server::builder_on(runtime(), Echo).headless().unwrap();
            let seen = Arc::new(Mutex::new(Vec::new()));
            let destinations = seen.clone();
            let handle = service.handle();
            let connect = move |to: Destination| {
                destinations.lock().unwrap().push((to.host().to_owned(), to.port()));
                let (ours, theirs) = pipe(capacity);
                service.serve_stream(theirs, ([127, 0, 0, 1], 0).into());
                async { Ok(ours) }
            };
            let builder = builder_at("ws://nowhere.invalid/").unwrap();
            let client = builder.config(config_of(protocol)).dial(connect);
            let client = client.connect().await.unwrap();
            for length in [0, 1, 1000, 8000] {
                let payload = Payload::binary(vec![b'x'; length]);
                assert_eq!(client.request("echo", payload.clone()).await, Ok(payload));
            }
            let mut events = client.events();
            client.close().await;
            assert!(matches!(events.next().await, Some(Event::Disconnected { .. })));
            handle.shut_down(std::time::Duration::ZERO).await;
            let seen = seen.lock().unwrap();
            assert!(seen.iter().all(|to| *to == ("nowhere.invalid".to_owned(), 80)), "{seen:?}");
        });
    }
}

/// For programs that speak HTTP themselves.
#[test]
fn a_stream_can_be_opened_without_a_client() {
    wait(async {
        let service = Server::builder_on(runtime(), Echo).headless().unwrap();
        let connect = move |_: Destination| {
            let (ours, theirs) = pipe(100);
            service.serve_stream(theirs, ([127, 0, 0, 1], 0).into());
            async { Ok(ours) }
        };
        let builder = builder_at("ws://nowhere.invalid/").unwrap().dial(connect);
        let mut stream = builder.open_stream().await.unwrap();
        stream
            .write_all(b"WEBWIRE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("{\"protocol-version\":\"1.4\"}\n"), "{answer}");
    });
    wait(async {
        let fails = |_: Destination| async { Err::<Pipe, _>(std::io::Error::other("not today")) };
        let builder = builder_at("ws://nowhere.invalid/").unwrap().dial(fails);
        let Err(error) = builder.open_stream().await else { panic!() };
        assert_eq!(error.to_string(), "not today");
        let mut config = config();
        config.max_events = 0;
        let builder = builder_at("ws://nowhere.invalid/").unwrap().config(config);
        let Err(error) = builder.open_stream().await else { panic!() };
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn an_error_of_the_application_is_shown_and_tried_again() {
    wait(async {
        let tries = Arc::new(AtomicUsize::new(0));
        let counted = tries.clone();
        let fails = move |_: Destination| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { Err::<Pipe, _>(std::io::Error::other("not today")) }
        };
        let client = builder_at("ws://nowhere.invalid/").unwrap().config(config());
        let client = client.dial(fails).build().unwrap();
        let mut events = client.events();
        let error = client.connect().await.unwrap_err();
        assert!(error.to_string().ends_with(": not today"), "{error}");
        for _ in 0..3 {
            let Some(Event::ConnectFailed { retry_in: Some(_), .. }) = events.next().await else {
                panic!()
            };
        }
        assert!(tries.load(Ordering::SeqCst) >= 3);
    });
}

#[cfg(unix)]
mod unix {
    use crate::adapter::client::{Dial, UnixSocket};
    use crate::adapter::{Listen, Runtime as _, SocketAddress, UnderTest};
    use crate::suite::support::Running;

    use super::*;

    #[test]
    fn a_unix_socket_is_connected_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let builder = Server::builder_on(runtime(), Echo);
        let (_server, _) = Running::listening(builder, Listen::unix(&path));
        wait(async {
            let builder = builder_at("ws://localhost/").unwrap().config(config());
            let client = builder.dial(UnixSocket::new(&path)).connect().await.unwrap();
            assert_eq!(client.request("echo", "hello").await, Ok("hello".into()));
            client.close().await;

            let config = changed(config(), |config| config.machine.reconnect = false);
            let builder = builder_at("ws://localhost/").unwrap().config(config);
            let none = UnixSocket::new(directory.path().join("none"));
            let client = builder.dial(none).build().unwrap();
            let text = client.connect().await.unwrap_err().to_string();
            assert!(text.contains("the unix socket ") && text.contains("/none: "), "{text}");
        });
    }

    /// A socket of the runtime that a dialer of the application opens.
    struct Named(std::path::PathBuf);

    impl Dial<UnderTest> for Named {
        async fn dial(
            &self,
            runtime: &UnderTest,
            _: &Destination,
        ) -> std::io::Result<Dialed<UnderTest>> {
            let stream = runtime.connect(SocketAddress::Unix(self.0.clone())).await?;
            Ok(Dialed::native(stream))
        }
    }

    #[test]
    fn a_dialer_of_the_application_may_use_the_runtime() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let builder = Server::builder_on(runtime(), Echo);
        let (_server, _) = Running::listening(builder, Listen::unix(&path));
        wait(async {
            let builder = builder_at("ws://localhost/").unwrap().config(config());
            let client = builder.dial(Named(path)).connect().await.unwrap();
            assert_eq!(client.request("echo", "hello").await, Ok("hello".into()));
        });
    }
}

mod addresses {
    use std::net::{SocketAddr, TcpListener};
    use std::sync::{Arc, Mutex};

    use crate::adapter::client::{Destination, Dial, Dialed};
    use crate::adapter::server::Server;
    use crate::adapter::{Runtime as _, SocketAddress, UnderTest, runtime};

    use super::Echo;
    use crate::suite::client::{builder_at, config, wait};
    use crate::suite::support::Running;

    /// Two addresses of one server, in an order, and those that were tried.
    #[derive(Clone)]
    struct Two([SocketAddr; 2], Arc<Mutex<Vec<SocketAddr>>>);

    impl Dial<UnderTest> for Two {
        async fn dial(
            &self,
            runtime: &UnderTest,
            to: &Destination,
        ) -> std::io::Result<Dialed<UnderTest>> {
            let helps = |address: &SocketAddr| !to.unhelpful().contains(address);
            let address = self.0.into_iter().find(helps).unwrap_or(self.0[0]);
            self.1.lock().unwrap().push(address);
            let stream = runtime.connect(SocketAddress::Tcp(address)).await?;
            Ok(Dialed::native(stream).with_address(address))
        }
    }

    #[test]
    fn an_address_with_no_server_behind_it_is_not_tried_again_before_the_others() {
        let server = Running::new(Server::builder_on(runtime(), Echo));
        let live = server.address;
        let broken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = broken.local_addr().unwrap();
        // It accepts, and ends the connection without an answer.
        let accepting = std::thread::spawn(move || drop(broken.accept()));
        let two = Two([address, live], Arc::default());
        wait(async {
            let builder = builder_at("ws://localhost/").unwrap().config(config());
            let client = builder.dial(two.clone()).build().unwrap();
            client.connect().await.unwrap_err();
            client.connect().await.unwrap();
            assert_eq!(client.request("echo", "hello").await, Ok("hello".into()));
            client.close().await;
        });
        accepting.join().unwrap();
        // The preflight, then the WebSocket.
        assert_eq!(*two.1.lock().unwrap(), [address, live, live]);
    }
}
