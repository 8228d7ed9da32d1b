//! A queue of jobs with progress.
//!
//! ```text
//! cargo run -p wwr-tokio --example jobs -- serve          # in one terminal
//! cargo run -p wwr-tokio --example jobs -- 150000         # in another one: the primes below a number
//! ```

mod client;
mod job;
mod queue;
mod server;
#[cfg(test)]
mod tests;

use std::error::Error;

use wwr_tokio::client::Client;

const ADDRESS: &str = "127.0.0.1:7777";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => {
            println!("listening on {ADDRESS}");
            server::jobs(2)?.listen(ADDRESS).await?.run().await;
        }
        [below] => {
            let client = Client::connect_to(&format!("ws://{ADDRESS}/")).await?;
            match client::count(&client, below.parse()?, |line| println!("{line}")).await? {
                Some(primes) => println!("{primes} primes"),
                None => println!("cancelled"),
            }
            client.close().await;
        }
        _ => return Err("usage: jobs serve, or jobs NUMBER".into()),
    }
    Ok(())
}
