//! A board of people: online, away, or seen last at some time.
//!
//! ```text
//! cargo run -p wwr-tokio --example presence -- serve      # in one terminal
//! cargo run -p wwr-tokio --example presence -- ada        # in another one
//! cargo run -p wwr-tokio --example presence -- grace      # and in a third; then type /away
//! ```

mod client;
mod server;
#[cfg(test)]
mod tests;

use std::error::Error;

use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::sync::mpsc::unbounded_channel;
use wwr_tokio::client::Client;
use wwr_tokio::server::Server;

const ADDRESS: &str = "127.0.0.1:7777";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => {
            println!("listening on {ADDRESS}");
            Server::builder(server::presence()?).listen(ADDRESS).await?.run().await;
        }
        [name] => {
            let client = Client::connect_to(&format!("ws://{ADDRESS}/")).await?;
            let (typed, lines) = unbounded_channel();
            tokio::spawn(async move {
                let mut input = BufReader::new(stdin()).lines();
                while let Ok(Some(line)) = input.next_line().await {
                    if typed.send(line).is_err() {
                        break;
                    }
                }
            });
            client::run(&client, name, lines, |line| println!("{line}")).await;
        }
        _ => return Err("usage: presence serve, or presence NAME".into()),
    }
    Ok(())
}
