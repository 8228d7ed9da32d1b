//! Loads.

/// A load: how many connections, each with how many requests in flight, of which size.
#[derive(Debug)]
pub(crate) struct Case {
    /// What `--case` calls it.
    pub(crate) name: &'static str,
    pub(crate) connections: usize,
    /// Requests in flight on each connection.
    pub(crate) depth: usize,
    /// Bytes of payload of each request.
    pub(crate) payload: usize,
}

impl Case {
    pub(crate) const fn new(
        name: &'static str,
        connections: usize,
        depth: usize,
        payload: usize,
    ) -> Self {
        Self { name, connections, depth, payload }
    }

    /// Returns the size of the payload, for people.
    pub(crate) fn size(&self) -> String {
        match self.payload {
            bytes @ ..0x400 => format!("{bytes} B"),
            bytes @ ..0x10_0000 => format!("{} KiB", bytes >> 10),
            bytes => format!("{} MiB", bytes >> 20),
        }
    }
}
