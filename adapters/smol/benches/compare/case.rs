//! The loads that are compared.

/// One load: how many connections, each with how many requests in flight, of which size.
#[derive(Debug)]
pub(crate) struct Case {
    /// What `--case` calls it.
    pub(crate) name: &'static str,
    pub(crate) connections: usize,
    /// Requests in flight on each connection.
    pub(crate) depth: usize,
    /// Bytes of payload of each request.
    pub(crate) payload: usize,
    /// How the payload is shown.
    pub(crate) size: &'static str,
}

/// What `--case` calls the memory of idle connections, which is measured without a load.
pub(crate) const IDLE: &str = "idle";

pub(crate) const CASES: [Case; 6] = [
    case("1x1", 1, 1, 32, "32 B"),
    case("1x64", 1, 64, 32, "32 B"),
    case("16x16", 16, 16, 32, "32 B"),
    case("64x16", 64, 16, 1 << 10, "1 KiB"),
    case("4x4", 4, 4, 64 << 10, "64 KiB"),
    case("1MiB", 1, 1, 1 << 20, "1 MiB"),
];

const fn case(
    name: &'static str,
    connections: usize,
    depth: usize,
    payload: usize,
    size: &'static str,
) -> Case {
    Case { name, connections, depth, payload, size }
}
