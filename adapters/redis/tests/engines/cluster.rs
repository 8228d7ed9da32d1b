//! Engines that are a cluster.

use std::thread::sleep;
use std::time::{Duration, Instant};

use smol::block_on;
use tokio::runtime::Builder;
use wwr_async::testing::{StoreExpiry, check_store};
use wwr_async::{SessionStore as _, StoreErrorKind};
use wwr_redis::{Engine as Place, RedisConfig, RedisStore};
use wwr_smol::Smol;
use wwr_tokio::Tokio;

use crate::contract::{InTokio, unused};
use crate::support::{
    Engine, Program, SAFETY, configured, free_port, impatient, key, seconds, session, whole_text,
};

/// Starts a cluster of two nodes.
pub(crate) fn start(program: Program) -> Option<[Engine; 2]> {
    let node = || {
        Engine::with(program, |_, _| {
            let bus = free_port().to_string();
            let partly = ["--cluster-require-full-coverage", "no"];
            let own = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            own.into_iter().chain(partly).map(str::to_string).collect()
        })
    };
    let nodes = [node()?, node()?];
    nodes[0].tell("CLUSTER ADDSLOTSRANGE 0 8000");
    nodes[1].tell("CLUSTER ADDSLOTSRANGE 8001 16383");
    let [_, other] = &nodes;
    let bus = other.tell("CONFIG GET cluster-port");
    let bus: Vec<String> = redis::from_redis_value(bus).unwrap();
    nodes[0].tell(&format!("CLUSTER MEET 127.0.0.1 {} {}", other.port, bus[1]));
    let started = Instant::now();
    let knows_all = |node: &Engine| {
        let info = format!("{:?}", node.tell("CLUSTER INFO"));
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
    };
    while !nodes.iter().all(knows_all) {
        assert!(started.elapsed() < SAFETY);
        sleep(Duration::from_millis(50));
    }
    Some(nodes)
}

fn behaves(program: Program) {
    let Some(nodes) = start(program) else { return };
    let urls = || Place::cluster([nodes[0].url()]);
    check_store(StoreExpiry::ByItself, || {
        (block_on(RedisStore::<Smol>::connect(urls(), unused())).unwrap(), ())
    });
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    check_store(StoreExpiry::ByItself, || {
        let store = runtime.block_on(RedisStore::<Tokio>::connect(urls(), unused()));
        (InTokio(store.unwrap(), runtime.handle().clone()), ())
    });
}

#[test]
fn sessions_in_a_cluster_behave() {
    behaves(Program::Redis);
}

#[test]
fn sessions_in_a_cluster_of_valkey_behave() {
    behaves(Program::Valkey);
}

#[test]
fn sessions_of_a_cluster_are_on_all_nodes() {
    let Some(nodes) = start(Program::Redis) else { return };
    let place = Place::cluster(nodes.iter().map(Engine::url));
    let store = block_on(RedisStore::<Smol>::connect(place, RedisConfig::default())).unwrap();
    block_on(async {
        for number in 0..100 {
            store.create(&session(&number.to_string())).await.unwrap();
        }
        for number in 0..100 {
            let found = store.look_up(&key(&number.to_string()), seconds(200)).await.unwrap();
            assert_eq!(found, Some(session(&number.to_string())));
        }
    });
    let counts = nodes.each_ref().map(|node| node.names().len());
    assert!(
        counts.iter().all(|count| *count > 10) && counts.iter().sum::<usize>() == 100,
        "{counts:?}"
    );
}

#[test]
fn a_node_of_a_cluster_alone_is_refused_with_the_reason() {
    let Some(nodes) = start(Program::Redis) else { return };
    let failed = block_on(async {
        let store = RedisStore::<Smol>::open(nodes[0].url(), configured(|_| ())).await.unwrap();
        let mut failed = None;
        for number in 0..100 {
            failed = failed.or(store.create(&session(&number.to_string())).await.err());
        }
        failed.unwrap()
    });
    let text = whole_text(&failed);
    assert!(text.contains("Engine::cluster"), "{text}");
}

#[test]
fn a_node_that_hangs_does_not_keep_the_others_from_being_used() {
    let Some(nodes) = start(Program::Redis) else { return };
    let place = || Place::cluster(nodes.iter().map(Engine::url));
    let store = block_on(RedisStore::<Smol>::connect(place(), impatient())).unwrap();
    let keys: Vec<_> = (0..40).map(|number| key(&number.to_string())).collect();
    let (mut on_first, mut on_second) = (Vec::new(), Vec::new());
    for key in keys {
        let before = nodes[0].names().len();
        block_on(store.create(&session(key.as_str()))).unwrap();
        if nodes[0].names().len() > before { on_first.push(key) } else { on_second.push(key) }
    }
    nodes[1].pause();
    let failed = block_on(store.look_up(&on_second[0], seconds(200))).unwrap_err();
    assert_eq!(failed.kind(), StoreErrorKind::Failed);
    for key in &on_first {
        assert!(block_on(store.look_up(key, seconds(200))).unwrap().is_some());
    }
    // One that begins now finds them, too.
    let other = block_on(RedisStore::<Smol>::open(place(), configured(|_| ()))).unwrap();
    for key in &on_first {
        assert!(block_on(other.look_up(key, seconds(200))).unwrap().is_some());
    }
    nodes[1].resume();
    for store in [store, other] {
        let started = Instant::now();
        while let Err(error) = block_on(store.look_up(&on_second[0], seconds(200))) {
            assert!(started.elapsed() < SAFETY, "{error}");
        }
        for key in on_first.iter().chain(&on_second) {
            assert!(block_on(store.look_up(key, seconds(200))).unwrap().is_some());
        }
    }
}
