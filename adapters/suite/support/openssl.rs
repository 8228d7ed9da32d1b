//! The command of OpenSSL, which is the other side of some tests.

use std::io::Write as _;
use std::process::Command;

/// Says that the command has to be there.
const REQUIRED: &str = "WWR_TEST_OPENSSL";

/// Returns whether the command is there. If it is not, the test has to be skipped, and standard error says
/// so.
///
/// # Panics
///
/// If the command is missing although the environment requires it.
pub(crate) fn is_installed() -> bool {
    let Err(error) = Command::new("openssl").arg("version").output() else { return true };
    assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, but openssl: {error}");
    // The test harness hides what the macros print in tests that pass.
    let skipped = format!("skipped: a test that needs openssl: {error}\n");
    std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    false
}
