//! The loads under which the throughput is measured.

/// One load: how many connections, each with how many requests in flight, of which size.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) connections: usize,
    /// Requests in flight on each connection.
    pub(crate) depth: usize,
    /// Bytes of payload of each request.
    pub(crate) payload: usize,
}

/// Each connection waits for its reply; and each has some more requests on the way.
pub(crate) const CASES: [Case; 2] = [
    Case { name: "16x1", connections: 16, depth: 1, payload: 32 },
    Case { name: "16x16", connections: 16, depth: 16, payload: 32 },
];
