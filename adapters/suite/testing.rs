//! An application that is written once: on the runtime under test, and in a simulation.

use std::time::Duration;

use wwr::server::RequestError;
use wwr::{Content, Payload};
use wwr_async::client::Client;

use crate::adapter::server::{Connection, Handler, Router, Routes, Server, State};
use crate::adapter::testing::Simulation;
use crate::adapter::{Runtime, block_on, runtime, sleep};

use super::support::spawn;

const PAUSE: Duration = Duration::from_millis(20);

/// The application as a handler.
struct Kitchen<R>(R);

impl<R: Runtime> Handler for Kitchen<R> {
    async fn request(&self, _: &Connection, order: Content) -> Result<Payload, RequestError> {
        sleep(&self.0, PAUSE).await;
        Ok(order.into_payload())
    }
}

/// The same as a router.
fn routes<R: Runtime>(runtime: R) -> Routes {
    async fn order<R: Runtime>(State(runtime): State<R>, order: Payload) -> Payload {
        sleep(&*runtime, PAUSE).await;
        order
    }

    Router::with_state(runtime).request("order", order::<R>).build().unwrap()
}

/// What a guest does, on any runtime.
async fn eat<R: Runtime>(client: &Client<R>) {
    let soup = client.request("order", "soup").await.unwrap();
    assert_eq!(soup.text().unwrap(), "soup");
}

fn on_sockets(handler: impl Handler) {
    block_on(async {
        let server = Server::builder_on(runtime(), handler).listen("127.0.0.1:0").await.unwrap();
        let (handle, url) = (server.handle(), format!("ws://{}/", server.local_addr()));
        let running = spawn(server.run());
        eat(&Client::builder_on(runtime(), &url).unwrap().connect().await.unwrap()).await;
        handle.shut_down(PAUSE).await;
        assert!(running.recv().await.is_err(), "it is only closed");
    });
}

fn in_simulation(simulation: &Simulation, handler: impl Handler) {
    let host = simulation.host("kitchen.test");
    let handle = host.serve(host.server(handler)).unwrap();
    simulation.run(async {
        let client = host.client("ws://kitchen.test/").unwrap().connect().await.unwrap();
        let before = simulation.elapsed();
        eat(&client).await;
        assert_eq!(simulation.elapsed() - before, PAUSE);
        handle.shut_down(PAUSE).await;
    });
}

#[test]
fn an_application_is_the_same_on_sockets_and_in_a_simulation() {
    on_sockets(Kitchen(runtime()));
    on_sockets(routes(runtime()));
    let simulation = Simulation::new(1);
    in_simulation(&simulation, Kitchen(simulation.runtime()));
    in_simulation(&simulation, routes(simulation.runtime()));
}
