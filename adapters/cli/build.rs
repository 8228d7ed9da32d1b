//! Embeds the client for browsers into the command, if the environment variable `WWR_WEB_PACKAGE` names the
//! directory of one that is built (`.ci/web`). Without it, the command builds with nothing but a Rust
//! toolchain, and its page says that it has no client.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The files of the module for browsers that a page loads.
const FILES: [&str; 3] = ["index.js", "wasm/wwr_web.js", "wasm/wwr_web_bg.wasm"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=WWR_WEB_PACKAGE");
    let directory = env::var_os("WWR_WEB_PACKAGE").filter(|directory| !directory.is_empty());
    let embedded = match directory.map(PathBuf::from) {
        Some(directory) => format!("Some([{}])", included(&directory)?),
        None => "None".to_owned(),
    };
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?;
    fs::write(
        out.join("client.rs"),
        format!(
            "/// Names and contents.\npub(super) const EMBEDDED: Option<[(&str, &[u8]); {}]> = {embedded};\n\
             /// What it consists of.\npub(super) const FILES: [&str; {}] = {FILES:?};\n",
            FILES.len(),
            FILES.len()
        ),
    )
}

/// Returns the elements of an array with the files.
fn included(directory: &Path) -> io::Result<String> {
    let mut elements = String::new();
    for file in FILES {
        let path = directory.join(file);
        let path = fs::canonicalize(&path).map_err(|error| {
            let text = format!("WWR_WEB_PACKAGE: {}: {error}", path.display());
            io::Error::new(error.kind(), text)
        })?;
        println!("cargo::rerun-if-changed={}", path.display());
        elements.push_str(&format!("({file:?}, include_bytes!({path:?}) as &[u8]), "));
    }
    Ok(elements)
}
