//! A client with TLS: `cargo run --features rustls --example tls_client -- wss://localhost:7777/ root.pem`
//!
//! Without a file, it trusts the roots of the system.

use std::env::args;

use wwr_smol::client::{Client, Config, Tls};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = args().nth(1).ok_or("which URL?")?;
    let mut config = Config::default();
    if let Some(file) = args().nth(2) {
        config.tls = Tls::roots_pem(&std::fs::read(file)?)?;
    }
    smol::block_on(async {
        let client = Client::builder(&url)?.config(config).connect().await?;
        println!("{}", client.request("echo", "hello").await?.text()?);
        client.close().await;
        Ok(())
    })
}
