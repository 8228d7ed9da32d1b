//! Breaks a cluster, and checks what clients saw: `chaos --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    wwr_chaos::conduct::main()
}
