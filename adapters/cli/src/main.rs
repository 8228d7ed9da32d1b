//! The command `wwr`.
fn main() {}
