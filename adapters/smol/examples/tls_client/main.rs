//! A client with TLS: `cargo run --features rustls --example tls_client -- wss://localhost:7777/ root.pem`
//!
//! Without a file, it trusts the roots of the system.

use std::env::args;
use std::error::Error;

use wwr_smol::client::{Client, Config, Tls};

fn main() -> Result<(), Box<dyn Error>> {
    let url = args().nth(1).ok_or("which URL?")?;
    let roots = args().nth(2).map(std::fs::read).transpose()?;
    println!("{}", smol::block_on(talk(&url, roots.as_deref()))?);
    Ok(())
}

async fn talk(url: &str, roots: Option<&[u8]>) -> Result<String, Box<dyn Error>> {
    let mut config = Config::default();
    if let Some(pem) = roots {
        config.tls = Tls::roots_pem(pem)?;
    }
    let client = Client::builder(url)?.config(config).connect().await?;
    let reply = client.request("echo", "hello").await?.text()?.into_owned();
    client.close().await;
    Ok(reply)
}

#[cfg(test)]
mod tests;
