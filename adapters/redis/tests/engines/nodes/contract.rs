//! What every engine of a cluster has to do.

use tokio::runtime::{Builder, Handle};
use wwr_async::cluster::{Answer, Engine as Shared, EngineError, Epoch, News, Request};
use wwr_async::testing::check_engine;
use wwr_redis::{Cluster, Engine as Place};
use wwr_tokio::Tokio;

use super::open;
use crate::cluster::start;
use crate::contract::unused;
use crate::support::{Engine, Program};

/// Does its work in tasks of tokio, whoever waits for it.
struct InTokio(Cluster<Tokio>, Handle);

impl Shared for InTokio {
    async fn perform(&self, request: Request) -> Result<Answer, EngineError> {
        let cluster = self.0.clone();
        self.1.spawn(async move { cluster.perform(request).await }).await.unwrap()
    }

    async fn next_news(&self, epoch: Epoch) -> Option<News> {
        let cluster = self.0.clone();
        self.1.spawn(async move { cluster.next_news(epoch).await }).await.unwrap()
    }
}

fn on_smol(place: impl Fn() -> Place) {
    check_engine(|| (open(place(), unused()), ()));
}

fn on_tokio(place: impl Fn() -> Place) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    check_engine(|| {
        let cluster = Cluster::<Tokio>::connect(place(), unused());
        (InTokio(runtime.block_on(cluster).unwrap(), runtime.handle().clone()), ())
    });
}

#[test]
fn redis_behaves_on_smol() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    on_smol(|| engine.url().into());
}

#[test]
fn redis_behaves_on_tokio() {
    let Some(engine) = Engine::start(Program::Redis) else { return };
    on_tokio(|| engine.url().into());
}

#[test]
fn valkey_behaves_on_smol() {
    let Some(engine) = Engine::start(Program::Valkey) else { return };
    on_smol(|| engine.url().into());
}

#[test]
fn valkey_behaves_on_tokio() {
    let Some(engine) = Engine::start(Program::Valkey) else { return };
    on_tokio(|| engine.url().into());
}

#[test]
fn a_cluster_of_redis_behaves() {
    let Some(nodes) = start(Program::Redis) else { return };
    // News come from either.
    on_smol(|| Place::cluster(nodes.iter().map(Engine::url)));
    on_tokio(|| Place::cluster([nodes[1].url()]));
}

#[test]
fn a_cluster_of_valkey_behaves() {
    let Some(nodes) = start(Program::Valkey) else { return };
    on_smol(|| Place::cluster([nodes[1].url()]));
    on_tokio(|| Place::cluster(nodes.iter().map(Engine::url)));
}
