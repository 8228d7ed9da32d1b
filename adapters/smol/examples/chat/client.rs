//! The client: lines of the terminal go to the room, and what is said in it comes out.

use std::fmt::Display;
use std::future::pending;

use smol::future::or;
use smol::stream::{Stream, StreamExt};
use wwr_smol::client::{Client, Error, Event, RequestError};

use super::server::{Text, User};

/// What the program waits for.
enum Next {
    Line(Option<String>),
    Event(Option<Event>),
}

/// Chats in a room until the lines end. The client connects again by itself.
pub(crate) async fn chat(
    client: &Client,
    name: &str,
    room: &str,
    mut lines: impl Stream<Item = String> + Unpin,
    show: impl Fn(&dyn Display),
) {
    let mut events = client.events();
    let mut is_in = shown(enter(client, name, room, &show).await, &show);
    // What was typed and is not said yet. It waits until the client is in the room, and what follows with it.
    let mut line = None;
    loop {
        let waits = line.is_some();
        let typed = async { if waits { pending().await } else { Next::Line(lines.next().await) } };
        match or(async { Next::Event(events.next().await) }, typed).await {
            Next::Line(Some(text)) => line = Some(text),
            // Rooms end with the connection, and with the session if somebody else has the name now.
            Next::Event(Some(Event::Connected | Event::SessionClosed)) => {
                is_in = shown(enter(client, name, room, &show).await, &show);
            }
            Next::Event(Some(Event::Signal(signal))) if signal.name() == b"said" => {
                match signal.json::<(User, Text)>() {
                    Ok((by, said)) => show(&format_args!("{}: {}", by.name, said.text)),
                    Err(error) => show(&format_args!("({error})")),
                }
            }
            Next::Event(Some(Event::Disconnected { .. })) => {
                is_in = false;
                show(&"(disconnected)");
            }
            Next::Event(Some(_)) => {}
            Next::Line(None) | Next::Event(None) => break,
        }
        if let Some(text) = line.take_if(|_| is_in) {
            match say(client, room, &text).await {
                Err(error) if is_too_early(&error) => (line, is_in) = (Some(text), false),
                said => drop(shown(said, &show)),
            }
        }
    }
}

/// The connection is about to end, or a new one has not entered the room yet: the line can be said later.
fn is_too_early(error: &Error) -> bool {
    matches!(error, Error::Request(RequestError::ServerShutdown))
        || error.code().is_some_and(|code| code == "NOT_IN_ROOM")
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

async fn say(client: &Client, room: &str, text: &str) -> Result<(), Error> {
    client
        .call::<usize>("say", &Text { room: room.to_owned(), text: text.to_owned() })
        .await
        .map(drop)
}

/// Shows an error. Returns whether there was none.
fn shown(result: Result<(), Error>, show: &impl Fn(&dyn Display)) -> bool {
    if let Err(error) = &result {
        show(&format_args!("({error})"));
    }
    result.is_ok()
}
