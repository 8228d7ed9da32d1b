//! The client against servers made by hand, good ones and bad ones.

mod answers;
mod calls;
mod changes;
mod closing;
mod ends;
mod loss;
mod messages;
mod probe;
mod proxies;
mod questions;
mod raw;
mod redirects;
mod silence;
mod slow;
mod streams;
#[cfg(feature = "rustls")]
mod tls;
mod urls;
mod versions;
mod wwr1;

use std::future::Future;
use std::time::Duration;

use smol::Task;
use wwr::Payload;
use wwr::client::Protocol;

use crate::adapter::client::{
    Builder, Client, Config, ConnectError, Error, Event, Events, InvalidUrl,
};
use crate::adapter::runtime;

use raw::{RawServer, RawSocket, TIMEOUT};

/// Settings under which no pause is long; nothing is decided by how long it is. Most tests are about
/// what all versions have in common, and speak 1.4.
fn config() -> Config {
    config_of(Protocol::V1_4)
}

fn config_of(protocol: Protocol) -> Config {
    let pause = Duration::from_millis(1);
    changed(Config::default(), |config| {
        config.machine.protocol = protocol;
        config.machine.initial_backoff = pause;
        config.machine.max_backoff = pause;
        config.machine.probe_timeout = TIMEOUT;
        config.machine.dial_timeout = TIMEOUT;
    })
}

/// Settings that differ in this from others.
fn changed(mut config: Config, change: impl FnOnce(&mut Config)) -> Config {
    change(&mut config);
    config
}

fn builder(server: &RawServer) -> Builder {
    builder_with(server, config())
}

fn builder_with(server: &RawServer, config: Config) -> Builder {
    builder_at(&server.url("/")).unwrap().config(config)
}

/// A builder of a client on the runtime under test.
fn builder_at(url: &str) -> Result<Builder, InvalidUrl> {
    Ok(Builder::new_on(runtime(), url.parse()?))
}

/// Waits for something that has to happen.
fn wait<T>(future: impl Future<Output = T>) -> T {
    smol::block_on(in_time(future))
}

/// Fails if something that has to happen does not.
async fn in_time<T>(future: impl Future<Output = T>) -> T {
    let late = async {
        smol::Timer::after(TIMEOUT).await;
        panic!("it did not happen");
    };
    smol::future::or(future, late).await
}

/// Waits until something is so.
fn until(condition: impl Fn() -> bool) {
    wait(async {
        while !condition() {
            smol::future::yield_now().await;
        }
    });
}

/// A client with a connection to a server, and everything it tells from then on.
fn connected(server: &RawServer) -> (Client, Events, RawSocket) {
    connected_with(server, builder(server))
}

fn connected_with(server: &RawServer, builder: Builder) -> (Client, Events, RawSocket) {
    let client = builder.build().unwrap();
    let mut events = client.events();
    let connecting = spawn(&client, |client| async move { client.connect().await });
    let socket = server.open();
    assert_eq!(wait(connecting), Ok(()));
    assert_eq!(wait(events.next()), Some(Event::Connected));
    (client, events, socket)
}

/// Asks a client to connect, in the background.
fn connecting(client: &Client) -> Task<Result<(), ConnectError>> {
    spawn(client, |client| async move { client.connect().await })
}

/// Does something with a client in the background. Until it first waits, it has run when this returns, however
/// busy the background is: the client has what it was asked for.
fn spawn<T, F>(client: &Client, work: impl FnOnce(Client) -> F) -> Task<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut working = Box::pin(work(client.clone()));
    let done = poll_once(&mut working);
    smol::spawn(async {
        match done {
            Some(result) => result,
            None => working.await,
        }
    })
}

/// Makes a request in the background.
fn request(client: &Client, name: &'static str, payload: &'static str) -> Answer {
    spawn(client, move |client| async move { client.request(name, payload).await })
}

type Answer = Task<Result<Payload, Error>>;

/// Polls a future once, as its caller would before dropping it.
fn poll_once<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    smol::block_on(smol::future::poll_once(future))
}
