//! What an application wants to know: reconnects, timeouts, shutdowns, sessions, slow and silent peers.

use wwr::client::{DisconnectReason, RequestError};

use futures_lite::future::zip;

use super::*;
use crate::client::{Client, Config, Error};
use crate::server::{self, Router, State};
use crate::store::{FileStore, MemoryStore, SharedStore};

#[test]
fn a_client_comes_back_with_growing_pauses_after_its_server_was_away_for_an_hour() {
    let world = Fixture::new(1);
    world.simulation.run(async {
        let client = world.client().await;
        let mut events = client.events();
        world.server.refuse();
        world.server.cut();
        world.simulation.sleep(3600 * SECOND).await;
        world.server.accept();
        let before = until_connected(&mut events).await;
        let pause = |event: &Event| match event {
            Event::Disconnected { reason: DisconnectReason::Lost, retry_in }
            | Event::ConnectFailed { retry_in, .. } => retry_in.unwrap(),
            other => panic!("{other:?}"),
        };
        let pauses: Vec<_> = before.iter().map(pause).collect();
        assert!(pauses[0] <= SECOND / 2 && pauses.len() > 120, "{pauses:?}");
        assert!(pauses[10..].iter().all(|pause| *pause >= 15 * SECOND && *pause <= 30 * SECOND));
        assert_eq!(client.request("echo", "hello").await.unwrap().text().unwrap(), "hello");
    });
    assert!((3600 * SECOND..3631 * SECOND).contains(&world.elapsed()), "{:?}", world.elapsed());
}

#[test]
fn a_request_times_out_at_its_deadline_to_the_nanosecond() {
    let world = Fixture::new(1);
    let error = world.simulation.run(async {
        let client = world.client().await;
        client.request_within(90 * SECOND, "never", "").await.unwrap_err()
    });
    assert!(matches!(error, Error::Request(RequestError::TimedOut { sent: true })), "{error:?}");
    assert_eq!(world.elapsed(), 90 * SECOND);
}

#[test]
fn a_shutdown_waits_for_a_handler_that_takes_long_and_not_longer_than_it_may() {
    for (within, ends_at) in [(60 * SECOND, 30), (10 * SECOND, 10)] {
        let world = Fixture::new(1);
        let client = world.simulation.run(async {
            let client = world.client().await;
            let shutdown = async {
                world.simulation.sleep(SECOND / 1000).await;
                world.handle.shut_down(within).await;
            };
            let late = async {
                world.simulation.sleep(SECOND).await;
                let client = world.ada.client("ws://chat.test/").unwrap();
                client.connect().await
            };
            let asked = client.request("slow", "");
            let (reply, ((), late)) = zip(asked, zip(shutdown, late)).await;
            assert_eq!(reply.is_ok(), ends_at == 30, "{reply:?}");
            assert!(late.is_err(), "the server takes no new clients");
            client
        });
        let elapsed = world.elapsed();
        let expected = ends_at * SECOND..(ends_at + 3) * SECOND;
        assert!(expected.contains(&elapsed), "{within:?}: {elapsed:?}");
        assert_eq!(world.handle.connection_count(), 0);
        // Nothing listens any more.
        let refused = world.simulation.run(client.connect()).unwrap_err();
        assert!(refused.to_string().contains("refused"), "{refused}");
    }
}

#[test]
fn a_session_is_restored_after_the_server_was_restarted_with_the_same_store() {
    let (world, store) = (Fixture::new(1), SharedStore::new(MemoryStore::new()));
    let serve = || {
        let builder = world.server.server(app(&world.server, &world.log)).store(store.clone());
        world.server.serve(builder).unwrap()
    };
    serve();
    world.simulation.run(async {
        let client = world.client().await;
        let mut events = client.events();
        client.request("login", "").await.unwrap();
        let session = client.session().unwrap();
        assert_eq!(session.created.to_string(), "2025-01-01T00:00:00Z");
        world.server.crash();
        world.simulation.sleep(60 * SECOND).await;
        let handle = serve();
        let events = until_connected(&mut events).await;
        assert!(matches!(&events[..], [.., Event::SessionRestored(_)]), "{events:?}");
        assert_eq!(client.session().unwrap().key, session.key);
        assert_eq!(client.request("whoami", "").await.unwrap().text().unwrap(), "ada");
        assert_eq!(handle.connection_count(), 1);
    });
    assert!(world.log.all().is_empty(), "a server that crashes runs no hooks");
}

#[test]
fn sessions_in_files_are_restored_as_well() {
    let (world, directory) = (Fixture::new(1), tempfile::tempdir().unwrap());
    world.simulation.run(async {
        let serve = async || {
            let store = FileStore::open_on(world.server.runtime(), directory.path()).await.unwrap();
            let builder = world.server.server(app(&world.server, &world.log)).store(store);
            world.server.serve(builder).unwrap();
        };
        serve().await;
        let client = world.client().await;
        let mut events = client.events();
        client.request("login", "").await.unwrap();
        world.server.crash();
        serve().await;
        let events = until_connected(&mut events).await;
        assert!(matches!(&events[..], [.., Event::SessionRestored(_)]), "{events:?}");
    });
}

/// Hands requests on to another server, on any runtime.
struct Gateway<R>(R);

impl<R: Runtime> Handler for Gateway<R> {
    async fn request(
        &self,
        _: &Connection,
        asked: Content,
    ) -> Result<Payload, server::RequestError> {
        let asked_there = async {
            let builder = Client::builder_on(self.0.clone(), "ws://chat.test/")?;
            let other = builder.connect().await?;
            let name = asked.name_str().unwrap_or_default().to_owned();
            Ok(other.request(&*name, asked.into_payload()).await?)
        };
        asked_there.await.map_err(|error: Box<dyn std::error::Error + Send + Sync>| {
            server::RequestError::failed("GATEWAY", error.to_string())
        })
    }
}

#[test]
fn a_server_is_a_client_of_another_one_with_the_runtime_of_its_host() {
    let world = Fixture::new(1);
    let gateway = world.simulation.host("gateway.test");
    gateway.serve(gateway.server(Gateway(gateway.runtime()))).unwrap();
    gateway.set_latency(SECOND);
    world.simulation.run(async {
        let client = world.ada.client("ws://gateway.test/").unwrap().connect().await.unwrap();
        let remote = client.request("remote", "").await.unwrap();
        assert!(remote.text().unwrap().starts_with(&gateway.address().to_string()));
        world.server.refuse();
        let refused = client.request("remote", "").await.unwrap_err();
        assert!(refused.to_string().contains("GATEWAY"), "{refused}");
    });
}

#[test]
fn a_client_that_reads_nothing_is_disconnected_when_its_time_to_take_something_is_over() {
    let world = Fixture::new(1);
    let mut config = server::Config::default();
    config.limits.stall_timeout = 7 * SECOND;
    let builder = world.server.server(app(&world.server, &world.log)).config(config);
    let handle = world.server.serve(builder).unwrap();
    world.simulation.run(async {
        let client = world.client().await;
        let mut events = client.events();
        world.ada.stop_reading();
        let flood = client.request("flood", "");
        let watch = async {
            world.simulation.sleep(SECOND * 69 / 10).await;
            assert_eq!(handle.connection_count(), 1);
            world.simulation.sleep(SECOND * 4).await;
            assert_eq!(handle.connection_count(), 0);
            world.ada.resume_reading();
        };
        let (flood, ()) = zip(flood, watch).await;
        assert!(matches!(flood, Err(Error::Request(RequestError::ConnectionLost))), "{flood:?}");
        until_connected(&mut events).await;
    });
    assert_eq!(world.log.all().len(), 1);
}

#[test]
fn both_sides_notice_a_silent_peer_and_the_client_comes_back_when_the_network_does() {
    let world = Fixture::new(1);
    world.simulation.run(async {
        let client = world.client().await;
        let mut events = client.events();
        // The first ping after a second, and its answer.
        world.simulation.sleep(10 * SECOND).await;
        world.ada.partition();
        let event = events.next().await.unwrap();
        let Event::Disconnected { reason, retry_in } = event else { panic!("{event:?}") };
        assert_eq!(reason, DisconnectReason::Silent);
        assert!(retry_in.is_some());
        assert_eq!(
            world.elapsed(),
            46 * SECOND,
            "pings after 30 s of silence, and 15 s for an answer"
        );
        world.simulation.sleep(60 * SECOND).await;
        assert_eq!(world.handle.connection_count(), 0, "the server has noticed it, too");
        world.ada.heal();
        until_connected(&mut events).await;
        client.request("echo", "").await.unwrap();
        assert_eq!(world.handle.connection_count(), 1);
    });
}

#[test]
fn an_attempt_to_connect_into_a_partition_ends_at_its_timeout() {
    let world = Fixture::new(1);
    world.server.partition();
    let mut config = Config::default();
    config.machine.probe_timeout = 3 * SECOND;
    config.machine.dial_timeout = 2 * SECOND;
    let client = world.ada.client("ws://chat.test/").unwrap().config(config);
    let failed = world.simulation.run(client.connect()).unwrap_err();
    assert_eq!(world.elapsed(), 5 * SECOND, "{failed}");
}

#[test]
fn the_handlers_of_a_router_wait_in_virtual_time() {
    async fn soup<R: Runtime>(State(runtime): State<R>) -> &'static str {
        sleep(&*runtime, 600 * SECOND).await;
        "soup"
    }

    let simulation = Simulation::new(1);
    let host = simulation.host("kitchen.test");
    let routes = Router::with_state(host.runtime()).request("soup", soup::<VirtualRuntime>);
    host.serve(host.server(routes.build().unwrap())).unwrap();
    simulation.run(async {
        let client = host.client("ws://kitchen.test:8080/").unwrap().connect().await.unwrap();
        let soup = client.request_within(3600 * SECOND, "soup", "").await.unwrap();
        assert_eq!(soup.text().unwrap(), "soup");
    });
    assert_eq!(simulation.elapsed(), 600 * SECOND);
}
