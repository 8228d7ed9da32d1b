//! `wwr-web-bindgen FILE.wasm DIRECTORY`: writes the module and its WebAssembly into the directory.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(wasm), Some(directory), None) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: wwr-web-bindgen FILE.wasm DIRECTORY");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    // The types of what applications use are written by hand.
    bindgen.input_path(wasm).typescript(false);
    bindgen.remove_name_section(true).remove_producers_section(true);
    match bindgen.web(true).and_then(|bindgen| bindgen.generate(directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
