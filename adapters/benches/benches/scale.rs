//! What happens to a server with very many connections.

fn main() -> std::process::ExitCode {
    wwr_benches::scale()
}
