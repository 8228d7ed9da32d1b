//! Counting instructions with valgrind's tool callgrind.

use std::env;
use std::error::Error;
use std::process::{Command, Stdio};

use super::operations::Operation;

/// How often an operation is done before it is counted, so that what is reused exists.
pub(super) const WARM_UP: u32 = 2_000;

/// How often it is counted: often enough that what is rarely done, such as allocating a chunk, has
/// its share.
pub(super) const TIMES: u32 = 10_000;

/// Whether valgrind can be started.
pub(super) fn is_there() -> bool {
    let output = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    output.is_ok_and(|status| status.success())
}

/// The instructions of one operation, in the mean.
pub(super) fn count(operation: &Operation) -> Result<f64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted_by_callgrind*")
        .arg(env::current_exe()?)
        .args(["--bench", "--run", operation.name])
        .output()?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{}: {log}", operation.name).into());
    }
    // ==1234== Collected : 567890
    let collected = log.lines().find_map(|line| line.split_once("Collected :"));
    let (_, collected) = collected.ok_or("callgrind does not say what it collected")?;
    let collected: u64 = collected.trim().parse()?;
    if collected < u64::from(TIMES) {
        return Err(format!("{}: callgrind did not see the operation", operation.name).into());
    }
    Ok(collected as f64 / f64::from(TIMES) / f64::from(operation.messages))
}

/// Does an operation again and again.
pub(super) fn repeat(operation: &Operation) {
    let mut once = (operation.prepare)();
    for _ in 0..WARM_UP {
        once();
    }
    counted_by_callgrind(&mut *once);
}

/// What callgrind counts, found by this name. The loop takes a handful of instructions itself.
#[inline(never)]
fn counted_by_callgrind(once: &mut dyn FnMut()) {
    for _ in 0..TIMES {
        once();
    }
}
