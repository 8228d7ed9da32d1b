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

use tokio::signal::ctrl_c;
use tokio::sync::mpsc::channel;
use wwr_tokio::client::Client;

const ADDRESS: &str = "127.0.0.1:7777";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => {
            println!("listening on {ADDRESS}");
            server::serve(server::presence())?.listen(ADDRESS).await?.run().await;
        }
        [name] => {
            let client = Client::connect_to(&format!("ws://{ADDRESS}/")).await?;
            let (typed, lines) = channel(1);
            // Not a task: a runtime does not end before a read of the terminal has.
            std::thread::spawn(move || {
                let mut input = std::io::stdin().lines().map_while(Result::ok);
                input.try_for_each(|line| typed.blocking_send(line))
            });
            tokio::select! {
                () = client::run(&client, name, lines, |line| println!("{line}")) => {}
                _ = ctrl_c() => {}
            }
            client.close().await;
        }
        _ => return Err("usage: presence serve, or presence NAME".into()),
    }
    Ok(())
}
