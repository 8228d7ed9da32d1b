//! What attacks cost a server, and what a good client beside them notices.

fn main() -> std::process::ExitCode {
    wwr_benches::attack()
}
