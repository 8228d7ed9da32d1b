//! The same seed is the same run.

use futures_lite::future::zip;

use super::*;
use crate::store::{MemoryStore, SharedStore};

/// Lets three clients have a bad day, and returns all that could be seen of it.
fn history(seed: u64) -> Vec<(Duration, String)> {
    let simulation = Simulation::new(seed);
    let (server, log) = (simulation.host("chat.test"), Log::default());
    let store = SharedStore::new(MemoryStore::new());
    let serve = || {
        let builder = server.server(app(&server, &log)).store(store.clone());
        server.serve(builder).unwrap();
    };
    serve();
    server.set_latency(SECOND / 100);
    let seen = Log::default();
    let clients = ["ada", "bea", "cleo"].map(|name| {
        let host = simulation.host(name);
        host.set_jitter(SECOND / 20);
        let client = host.client("ws://chat.test/").unwrap().start().unwrap();
        (host, client)
    });
    let day = async {
        simulation.sleep(10 * SECOND).await;
        clients[0].0.cut();
        server.crash();
        simulation.sleep(100 * SECOND).await;
        serve();
        clients[1].0.partition();
        simulation.sleep(100 * SECOND).await;
        clients[1].0.heal();
        simulation.sleep(100 * SECOND).await;
    };
    let lives = clients.iter().map(|(host, client)| {
        let (simulation, seen) = (&simulation, &seen);
        async move {
            let note =
                |what: String| seen.note(simulation.elapsed(), host.name().to_owned() + &what);
            let mut events = client.events();
            let watch = async {
                while let Some(event) = events.next().await {
                    note(format!("{event:?}"));
                }
            };
            let ask = async {
                loop {
                    let login = client.request("login", "").await;
                    note(format!(
                        "{login:?} {:?}",
                        client.session().map(|held| held.key.as_str().to_owned())
                    ));
                    let many = (0..5).map(|number| {
                        let note = &note;
                        async move {
                            note(format!("{number} {:?}", client.request("slow", "").await));
                        }
                    });
                    futures_util::future::join_all(many).await;
                }
            };
            zip(watch, ask).await;
        }
    });
    simulation.run(async {
        futures_lite::future::or(day, async {
            futures_util::future::join_all(lives).await;
        })
        .await;
    });
    let mut all = seen.all();
    all.extend(log.all());
    all
}

#[test]
fn the_same_seed_is_the_same_history_and_another_seed_is_another_one() {
    let first = history(7);
    assert!(first.len() > 50, "{first:#?}");
    for _ in 0..5 {
        assert_eq!(history(7), first);
    }
    assert_ne!(history(8), first);
}

#[test]
fn callers_learn_in_order_that_their_client_has_ended() {
    let (world, log) = (Fixture::new(1), Log::default());
    world.simulation.run(async {
        let client = world.client().await;
        for number in 0..50 {
            let (client, log) = (client.clone(), log.clone());
            world.simulation.runtime().spawn(async move {
                client.request("never", "").await.unwrap_err();
                log.note(Duration::ZERO, number.to_string());
            });
        }
        world.simulation.sleep(SECOND).await;
        world.ada.crash();
        world.simulation.sleep(SECOND).await;
    });
    let numbers: Vec<u64> = log.all().into_iter().map(|(_, text)| text.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..50), "{numbers:?}");
}
