//! What the inspection page asks the hub for.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::or;
use wwr::session::ConnectionId;

use super::Hub;
use crate::server::connection::Connection;

impl Hub {
    pub(in crate::server) fn connection(&self, id: ConnectionId) -> Option<Connection> {
        self.lock().connections.get(&id).cloned()
    }

    /// Returns at most so many groups behind this name, each with the number of its members.
    pub(in crate::server) fn groups_after(&self, name: &str, most: usize) -> Vec<(String, usize)> {
        let control = self.lock();
        let groups = control.machine.groups_after(name).take(most);
        groups.map(|(name, members)| (name.to_owned(), members)).collect()
    }

    pub(in crate::server) fn sleep(
        &self,
        duration: Duration,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.runtime.sleep_boxed(duration)
    }

    /// Starts a task that ends when the server has stopped.
    pub(in crate::server) fn spawn_until_stopped(
        hub: &Arc<Self>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let this = hub.clone();
        hub.spawn(async move { or(task, this.stops()).await });
    }
}
