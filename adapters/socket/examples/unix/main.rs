//! A server on a unix socket, and a client of it: files say who may connect, and nothing is on the network.
//!
//! ```text
//! cargo run --release -p wwr-socket --example unix -- serve /tmp/wwr.sock
//! cargo run --release -p wwr-socket --example unix -- call /tmp/wwr.sock echo hello
//! ```

#[cfg(unix)]
mod client;
#[cfg(unix)]
mod server;

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", path] => Ok(server::Server::bind(path.as_ref())?.run()?),
        ["call", path, name, payload] => {
            let reply = client::call(path.as_ref(), name, payload.to_owned().into())?;
            println!("{}", reply.text()?);
            Ok(())
        }
        _ => Err("unix serve PATH, or unix call PATH NAME PAYLOAD".into()),
    }
}

#[cfg(not(unix))]
fn main() {
    eprintln!("this system has no unix sockets that mio knows");
}
