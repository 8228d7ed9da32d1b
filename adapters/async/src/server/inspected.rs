//! What the inspection page asks a server for.

use std::pin::Pin;
use std::time::Duration;

use wwr::Instant;
use wwr::session::ConnectionId;

use super::connection::Connection;
use super::handle::ServerHandle;
use super::hub::Hub;

/// What the inspection page needs beyond the public interface.
impl ServerHandle {
    /// Walks over all connections, and never locks out other tasks for long.
    pub(crate) fn walk(&self) -> impl Iterator<Item = Connection> {
        self.hub().walk()
    }

    /// The same for the members of a group.
    pub(crate) fn walk_group(&self, name: &str) -> impl Iterator<Item = Connection> {
        self.hub().walk_group(name)
    }

    /// Returns at most so many groups behind this name, each with the number of its members.
    pub(crate) fn groups_after(&self, name: &str, most: usize) -> Vec<(String, usize)> {
        self.hub().groups_after(name, most)
    }

    pub(crate) fn connection(&self, id: u64) -> Option<Connection> {
        self.hub().connection(ConnectionId(id))
    }

    pub(crate) fn now(&self) -> Instant {
        self.hub().clock.now()
    }

    pub(crate) fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        self.hub().sleep(duration)
    }

    /// Starts a task that ends with the server.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        Hub::spawn_until_stopped(self.hub(), task);
    }

    /// Waits until the server has stopped.
    pub(crate) async fn stopped(&self) {
        self.hub().stops().await;
    }
}
