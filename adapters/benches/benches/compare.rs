//! What the protocol costs: WebWire, bare WebSockets and JSON-RPC under the same load.

fn main() -> std::process::ExitCode {
    wwr_benches::compare()
}
