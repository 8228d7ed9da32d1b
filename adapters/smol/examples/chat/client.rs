//! The client: lines of the terminal go to the room, and what is said in it comes out.

use std::fmt::Display;

use smol::stream::{self, Stream, StreamExt};
use wwr_smol::client::{Client, Error, Event};

use super::server::{Text, User};

/// What the program waits for.
enum Next {
    Line(String),
    Event(Event),
    End,
}

/// Chats in a room until the lines end. The client connects again by itself.
pub(crate) async fn chat(
    client: &Client,
    name: &str,
    room: &str,
    lines: impl Stream<Item = String> + Unpin,
    show: impl Fn(&dyn Display),
) {
    let events = client.events();
    show_error(enter(client, name, room, &show).await, &show);
    let lines = lines.map(Next::Line).chain(stream::once(Next::End));
    let mut next = stream::or(lines, events.map(Next::Event));
    while let Some(next) = next.next().await {
        match next {
            Next::Line(text) => show_error(say(client, room, text).await, &show),
            // Rooms end with the connection, and with the session if somebody else has the name now.
            Next::Event(Event::Connected | Event::SessionClosed) => {
                show_error(enter(client, name, room, &show).await, &show);
            }
            Next::Event(Event::Signal(signal)) if signal.name() == b"said" => {
                match signal.json::<(User, Text)>() {
                    Ok((by, said)) => show(&format_args!("{}: {}", by.name, said.text)),
                    Err(error) => show(&format_args!("({error})")),
                }
            }
            Next::Event(Event::Disconnected { .. }) => show(&"(disconnected)"),
            Next::Event(_) => {}
            Next::End => break,
        }
    }
}

/// Ends the session, which the server would keep for a client that does not come back.
pub(crate) async fn log_out(client: &Client) {
    let _ = client.close_session().await;
    client.close().await;
}

async fn enter(
    client: &Client,
    name: &str,
    room: &str,
    show: &impl Fn(&dyn Display),
) -> Result<(), Error> {
    if client.session().is_none() {
        client.call::<()>("login", name).await?;
    }
    let members = client.call::<Vec<User>>("enter", room).await?;
    let names: Vec<_> = members.iter().map(|user| user.name.as_str()).collect();
    show(&format_args!("(in {room}: {})", names.join(", ")));
    Ok(())
}

async fn say(client: &Client, room: &str, text: String) -> Result<(), Error> {
    client.call::<usize>("say", &Text { room: room.to_owned(), text }).await.map(drop)
}

fn show_error(result: Result<(), Error>, show: &impl Fn(&dyn Display)) {
    if let Err(error) = result {
        show(&format_args!("({error})"));
    }
}
