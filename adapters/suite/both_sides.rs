//! Our client against our server, over a real socket.

use std::time::Duration;

use smol::channel::Receiver;
use wwr::client::{DisconnectReason, Pings, Protocol, RequestError, Status};
use wwr::server::RequestError as Answer;
use wwr::{CloseFrame, Content, Dialect, Name, Payload, SessionInfo};

use crate::adapter::block_on;
use crate::adapter::client::{Client, Config, Error, Event};
use crate::adapter::server::{Connection, Handler, Server, ServerHandle};

use super::support::spawn;

struct Application;

impl Handler for Application {
    async fn request(&self, connection: &Connection, request: Content) -> Result<Payload, Answer> {
        match request.name() {
            b"login" => {
                let info = SessionInfo::new().public("user", "ada").private("secret", 7);
                connection.create_session(info).await?;
                Ok("welcome".into())
            }
            b"login large" => {
                let info = SessionInfo::new().public("notes", "x".repeat(100_000));
                connection.create_session(info).await?;
                Ok("welcome".into())
            }
            b"whoami" => Ok(connection.session().map_or("nobody".into(), |_| "somebody".into())),
            b"signal" => {
                connection.signal("news", request.into_payload()).map_err(|_| Answer::Internal)?;
                Ok(Payload::EMPTY)
            }
            b"never" => std::future::pending().await,
            b"fail" => Err(Answer::failed("NO", "because")),
            _ => Ok(request.into_payload()),
        }
    }
}

/// Settings of a client that differ from the default ones in this.
fn changed(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

async fn serve() -> (ServerHandle, Receiver<()>, String) {
    let server = Server::builder(Application).listen("127.0.0.1:0").await.unwrap();
    let (handle, url) = (server.handle(), format!("ws://{}/", server.local_addr()));
    (handle, spawn(server.run()), url)
}

#[test]
fn a_client_goes_through_a_day() {
    block_on(async {
        let (handle, running, url) = serve().await;
        let client = Client::connect_to(&url).await.unwrap();
        let mut events = client.events();
        assert_eq!(client.status(), Status::Connected);

        for payload in [Payload::binary(vec![1, 2]), "text".into(), Payload::utf16("😀")] {
            assert_eq!(client.request("echo", payload.clone()).await, Ok(payload));
        }
        // Names may be texts, or names already.
        let name: Name = "echo".parse().unwrap();
        assert_eq!(client.request(name.clone(), "x").await, Ok("x".into()));
        assert_eq!(client.signal(name, "x").await, Ok(()));
        let failed = client.request("fail", "").await.unwrap_err();
        let Error::Request(RequestError::Failed(error)) = failed else { panic!("{failed:?}") };
        assert_eq!((&*error.code(), &*error.message()), ("NO", "because"));

        assert_eq!(client.request("signal", "fire").await, Ok(Payload::EMPTY));
        let Some(Event::Signal(signal)) = events.next().await else { panic!("no signal") };
        assert_eq!((signal.name(), signal.payload()), (&b"news"[..], &b"fire"[..]));

        assert_eq!(client.request("login", "").await, Ok("welcome".into()));
        let session = client.session().unwrap();
        assert_eq!(session.info.value("user"), Some(&"ada".into()));
        assert_eq!(session.info.value("secret"), None);
        assert_eq!(events.next().await, Some(Event::SessionCreated(session.clone())));

        // The connection is lost; the client comes back and has its session.
        handle.connections()[0].close();
        let lost = events.next().await;
        let frame = CloseFrame::new(1000, "closed by the server").unwrap();
        let reason = DisconnectReason::ClosedByServer(frame);
        assert!(
            matches!(&lost, Some(Event::Disconnected { reason: r, .. }) if *r == reason),
            "{lost:?}"
        );
        assert_eq!(client.request("whoami", "").await, Ok("somebody".into()));
        assert!(
            matches!(events.next().await, Some(Event::SessionRestored(s)) if s.key == session.key)
        );
        assert_eq!(events.next().await, Some(Event::Connected));

        let second = Client::connect_to(&url).await.unwrap();
        assert_eq!(second.restore_session(session.key.clone()).await.unwrap().key, session.key);
        assert_eq!(handle.session_connections(&session.key).len(), 2);
        second.close_session().await.unwrap();
        assert_eq!(second.session(), None);
        client.close_session().await.unwrap();
        assert_eq!(handle.active_sessions(), 0);
        let gone = second.restore_session(session.key).await;
        assert_eq!(gone, Err(RequestError::SessionNotFound.into()));

        let late = client.request_within(Duration::from_millis(20), "never", "").await;
        assert_eq!(late, Err(RequestError::TimedOut { sent: true }.into()));
        drop((client, second));
        handle.shut_down(Duration::from_millis(10)).await;
        assert!(running.recv().await.is_err(), "it is only closed");
    });
}

#[test]
fn the_client_speaks_the_set_version_or_the_best_one() {
    block_on(async {
        let (handle, _running, url) = serve().await;
        for (protocol, dialect) in [
            (Protocol::Auto, Dialect::Wwr1),
            (Protocol::V1_4, Dialect::V1_4),
            (Protocol::V2_0, Dialect::V2_0),
        ] {
            let config = changed(|config| config.machine.protocol = protocol);
            let client = Client::builder(&url).unwrap().config(config).connect().await.unwrap();
            assert_eq!(client.dialect(), dialect, "{protocol}");
            assert_eq!(client.preflight_status().is_some(), protocol != Protocol::V2_0);
            assert_eq!(client.request("echo", "x").await, Ok("x".into()), "{protocol}");
            // Only 2.0 has so low a limit, and 1.x reads no signals without a payload.
            let large = client.request("echo", vec![0; 10_000]).await;
            assert_eq!(large.is_ok(), dialect != Dialect::V2_0, "{protocol}");
            let bare = client.signal("name", Payload::EMPTY).await;
            assert_eq!(bare.is_ok(), dialect != Dialect::V1_4, "{protocol}");
        }
        // The preflight of this server names 1.4.
        let config = changed(|config| config.machine.protocol = Protocol::V1_5);
        let refused = Client::builder(&url).unwrap().config(config).connect().await;
        assert!(refused.unwrap_err().to_string().contains("\"1.4\""));
        handle.shut_down(Duration::ZERO).await;
    });
}

/// Both at their defaults. 2.0 would allow none of these: they are longer than 8 KiB.
#[test]
fn long_messages_arrive_in_both_directions() {
    block_on(async {
        let (handle, _running, url) = serve().await;
        for _ in 0..10 {
            let client = Client::connect_to(&url).await.unwrap();
            let mut events = client.events();
            // The first thing that is done on the connection.
            assert_eq!(client.signal("echo", vec![1; 9000]).await, Ok(()));
            assert_eq!(client.dialect(), Dialect::Wwr1);
            let news = client.request("signal", vec![2; 9000]).await;
            assert_eq!(news, Ok(Payload::EMPTY));
            let Some(Event::Signal(signal)) = events.next().await else { panic!("no signal") };
            assert_eq!(signal.payload(), [2; 9000]);
            for length in [9000, 100_000, (1 << 20) - 14] {
                let payload = Payload::binary(vec![3; length]);
                assert_eq!(client.request("echo", payload.clone()).await, Ok(payload));
            }
            let too_large = client.request("echo", vec![0; (1 << 20) - 13]).await;
            let refused = wwr::client::Misuse::TooLarge { length: (1 << 20) + 1, buffer: 1 << 20 };
            assert!(
                refused.to_string().contains("in wwr.1 raise the longest message"),
                "{refused}"
            );
            assert_eq!(too_large, Err(Error::Misuse(refused)));
            let spoken = handle.connections().last().map(Connection::dialect);
            assert_eq!(spoken, Some(Dialect::Wwr1), "no heartbeat told");
        }
        handle.shut_down(Duration::ZERO).await;
    });
}

#[test]
fn a_session_may_be_as_large_as_both_read() {
    block_on(async {
        let (handle, running, url) = serve().await;
        let client = Client::connect_to(&url).await.unwrap();
        assert_eq!(client.request("login large", "").await, Ok("welcome".into()));
        let key = client.session().unwrap().key;
        let second = Client::connect_to(&url).await.unwrap();
        let restored = second.restore_session(key).await.unwrap();
        assert_eq!(restored.info.value("notes"), Some(&"x".repeat(100_000).into()));
        drop((client, second));
        handle.shut_down(Duration::from_secs(1)).await;
        assert!(running.recv().await.is_err(), "it is only closed");
    });
}

#[test]
fn either_side_can_do_without() {
    block_on(async {
        let mut config = crate::adapter::server::Config::default();
        config.connection.wwr1 = false;
        let server = Server::builder(Application).config(config);
        let server = server.listen("127.0.0.1:0").await.unwrap();
        let without = format!("ws://{}/", server.local_addr());
        let _running = spawn(server.run());
        let (_handle, _other, with) = serve().await;
        for (url, offers) in [(&without, true), (&with, false), (&without, false)] {
            let config = changed(|config| config.machine.wwr1 = offers);
            let client = Client::builder(url).unwrap().config(config).connect().await.unwrap();
            assert_eq!(client.dialect(), Dialect::V2_0);
            assert_eq!(client.request("echo", "x").await, Ok("x".into()));
            assert!(client.request("echo", vec![0; 9000]).await.is_err());
        }
    });
}

/// The second time no preflight is needed, and nothing is waited for.
#[test]
fn a_client_comes_back_without_a_preflight() {
    block_on(async {
        let (handle, _running, url) = serve().await;
        let client = Client::connect_to(&url).await.unwrap();
        assert_eq!(client.preflight_status(), Some(200));
        let mut events = client.events();
        handle.connections()[0].close();
        while !matches!(events.next().await, Some(Event::Connected)) {}
        assert_eq!(client.dialect(), Dialect::Wwr1);
        assert_eq!(client.request("echo", vec![0; 9000]).await, Ok(vec![0; 9000].into()));
        assert_eq!(handle.connections()[0].dialect(), Dialect::Wwr1);
        handle.shut_down(Duration::ZERO).await;
    });
}

#[test]
fn dropping_a_request_cancels_it_and_dropping_the_client_disconnects() {
    block_on(async {
        let (handle, _running, url) = serve().await;
        let client = Client::connect_to(&url).await.unwrap();
        let mut events = client.events();
        let request = client.request("never", "");
        let other = async {
            while client.pending_requests() == 0 {
                smol::future::yield_now().await;
            }
            Err(Error::Ended)
        };
        assert_eq!(smol::future::or(request, other).await, Err(Error::Ended));
        while client.pending_requests() > 0 {
            smol::future::yield_now().await;
        }
        drop(client);
        let reason = DisconnectReason::Closed;
        assert_eq!(events.next().await, Some(Event::Disconnected { reason, retry_in: None }));
        assert_eq!(events.next().await, None);
        handle.shut_down(Duration::ZERO).await;
    });
}

#[test]
fn a_client_reports_the_close_frame_and_obeys_final_codes() {
    block_on(async {
        let (handle, _running, url) = serve().await;
        let config = changed(|config| config.machine.final_close_codes = [4003].into());
        let client = Client::builder(&url).unwrap().config(config).connect().await.unwrap();
        let mut events = client.events();

        handle.connections()[0].close_with(4000, "come back\n").unwrap();
        let Some(Event::Disconnected { reason, retry_in }) = events.next().await else { panic!() };
        let frame = CloseFrame::new(4000, "come back\n").unwrap();
        assert_eq!(reason, DisconnectReason::ClosedByServer(frame));
        assert!(retry_in.is_some());
        let waiting = client.request("echo", "x");
        assert_eq!(waiting.await, Ok("x".into()), "it has come back");
        assert_eq!(events.next().await, Some(Event::Connected));

        let never = client.request("never", "");
        let ban = async {
            while client.pending_requests() == 0 {
                smol::future::yield_now().await;
            }
            let open = handle.connections();
            open.iter().for_each(|connection| connection.close_with(4003, "banned").unwrap());
            // The handler never ends. A shutdown has no timeout with it.
            handle.shut_down(Duration::ZERO).await;
            std::future::pending().await
        };
        let ended = smol::future::or(never, ban).await;
        assert_eq!(ended, Err(RequestError::ConnectionLost.into()));
        let Some(Event::Disconnected { reason, retry_in }) = events.next().await else { panic!() };
        let frame = CloseFrame::new(4003, "banned").unwrap();
        assert_eq!((reason, retry_in), (DisconnectReason::ClosedByServer(frame), None));
        assert_eq!(client.status(), Status::Idle);
        let late = client.request("echo", "x").await;
        assert_eq!(late, Err(wwr::client::Misuse::NotConnected.into()));
    });
}

#[test]
fn a_shutdown_of_the_server_is_not_reported_as_a_loss() {
    block_on(async {
        let (handle, _running, url) = serve().await;
        let client = Client::connect_to(&url).await.unwrap();
        let mut events = client.events();
        handle.shut_down(Duration::from_secs(60)).await;
        let Some(Event::Disconnected { reason, retry_in }) = events.next().await else { panic!() };
        let frame = CloseFrame::new(1001, "server shutting down").unwrap();
        assert_eq!(reason, DisconnectReason::ClosedByServer(frame));
        assert!(retry_in.is_some());
    });
}

#[test]
fn a_clients_close_frame_is_answered() {
    use async_tungstenite::tungstenite::Message;
    use futures_util::StreamExt;

    block_on(async {
        let (handle, _running, url) = serve().await;
        let stream = smol::net::TcpStream::connect(handle.local_addr().unwrap()).await.unwrap();
        let (mut socket, _) = async_tungstenite::client_async(url, stream).await.unwrap();
        let advertised = socket.next().await;
        assert!(matches!(advertised, Some(Ok(Message::Binary(_)))), "{advertised:?}");
        socket.send(Message::Close(None)).await.unwrap();
        let answer = socket.next().await;
        assert!(matches!(answer, Some(Ok(Message::Close(_)))), "{answer:?}");
        assert!(socket.next().await.is_none());
    });
}

/// Does not read before its hook for new connections is done, which takes a while.
struct Thoughtful;

impl Handler for Thoughtful {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, Answer> {
        Ok(request.into_payload())
    }

    async fn connected(&self, _: &Connection) {
        smol::Timer::after(Duration::from_millis(600)).await;
    }
}

/// It answers no pings meanwhile. Clients that know that it is one of ours bear that as well.
#[test]
fn a_server_may_take_its_time_before_it_reads() {
    block_on(async {
        let server = Server::builder(Thoughtful).listen("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", server.local_addr());
        let _running = spawn(server.run());
        let pings = Pings::new(Duration::from_millis(200), Duration::from_millis(200));
        for protocol in [Protocol::V2_0, Protocol::Auto] {
            let config = changed(|config| {
                (config.machine.protocol, config.machine.reconnect) = (protocol, false);
                config.machine.pings = Some(pings);
            });
            let client = Client::builder(&url).unwrap().config(config);
            let client = client.connect().await.unwrap();
            assert_eq!(client.request("echo", "x").await, Ok("x".into()), "{protocol}");
        }
    });
}

/// Types that are returned, or stand in what is returned, have a name in the adapter.
#[test]
fn results_can_be_named_without_the_core() {
    use crate::adapter::client::{Metadata, Verdict, Version};
    use crate::adapter::server::{CloseReason, Ended};
    use crate::adapter::{Clock, EmptyKey, Instant, InvalidTime, OddUtf16, SessionKey, UnixTime};

    let _: fn(&Clock) -> Instant = Clock::now;
    let _: fn(CloseReason) -> Ended = Ended::ByServer;
    let _: fn(Metadata) -> Verdict = Verdict::Speaks;
    let _: fn(Version) -> Verdict = Verdict::Unknown;
    let key: Result<SessionKey, EmptyKey> = "".parse();
    assert_eq!(key, Err(EmptyKey));
    let time: Result<UnixTime, InvalidTime> = "yesterday".parse();
    assert_eq!(time, Err(InvalidTime));
    let text: Result<Payload, OddUtf16> = Payload::new(crate::adapter::Encoding::Utf16, b"a");
    assert!(text.is_err());
}
