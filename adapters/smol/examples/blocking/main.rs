//! A client in a program without async. `cargo run -p wwr-cli -- serve`, then
//! `cargo run -p wwr-smol --example blocking`.

use std::error::Error;
use std::time::Duration;

use wwr_smol::client::Event;
use wwr_smol::client::blocking::Client;

fn main() -> Result<(), Box<dyn Error>> {
    println!("signalled: {}", talk("ws://localhost:7777/")?);
    Ok(())
}

fn talk(url: &str) -> Result<String, Box<dyn Error>> {
    let client = Client::connect_to(url)?;
    let mut events = client.events();
    println!("replied: {}", client.request("echo", "hello")?.text()?);
    client.signal("echo", "news")?;
    loop {
        if let Event::Signal(signal) = events.recv_timeout(Duration::from_secs(10))? {
            return Ok(signal.text()?.into_owned());
        }
    }
}

#[cfg(test)]
mod tests;
