//! Client and server on executors that do not drive the reactor of the sockets.

fn main() -> std::process::ExitCode {
    wwr_benches::foreign()
}
