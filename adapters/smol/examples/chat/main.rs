//! A chat with rooms.
//!
//! ```text
//! cargo run -p wwr-smol --example chat -- serve             # in one terminal
//! cargo run -p wwr-smol --example chat -- ada rust          # in another one: a name and a room
//! cargo run -p wwr-smol --example chat -- grace rust        # and in a third
//! ```
//!
//! Stop the server and start it again: the clients come back by themselves. Ctrl-D and ctrl-C end a client.

mod client;
mod server;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::io;
use std::time::Duration;

use async_signal::{Signal, Signals};
use smol::Unblock;
use smol::future::or;
use smol::io::{AsyncBufReadExt, BufReader};
use smol::stream::StreamExt;
use wwr_smol::client::Client;
use wwr_smol::server::{Config, Expiry, Server};

const ADDRESS: &str = "127.0.0.1:7777";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    smol::block_on(async {
        match arguments[..] {
            ["serve"] => {
                println!("listening on {ADDRESS}");
                let mut config = Config::default();
                let hour = Duration::from_secs(3600);
                config.hub.expiry = Some(Expiry::new(24 * hour, hour));
                let server = Server::builder(server::chat()?).config(config);
                server.listen(ADDRESS).await?.run().await;
            }
            [name, room] => {
                let client = Client::connect_to(&format!("ws://{ADDRESS}/")).await?;
                let lines = BufReader::new(Unblock::new(io::stdin())).lines();
                let lines = lines.map_while(Result::ok).filter(|line| !line.trim().is_empty());
                let mut interrupted = Signals::new([Signal::Int])?;
                let chat = client::chat(&client, name, room, lines, |line| println!("{line}"));
                or(chat, async { drop(interrupted.next().await) }).await;
                client::log_out(&client).await;
            }
            _ => return Err("usage: chat serve, or chat NAME ROOM".into()),
        }
        Ok(())
    })
}
