//! The client: shows the board as it changes.

use std::fmt::Display;

use tokio::sync::mpsc::Receiver;
use wwr_tokio::client::{Client, Error, Event};

use super::server::{Person, Status};

/// Shows the board until the lines end. The client connects again by itself.
pub(crate) async fn run(
    client: &Client,
    name: &str,
    mut lines: Receiver<String>,
    show: impl Fn(&dyn Display),
) {
    let mut events = client.events();
    let mut shown = watch(client, name, &show).await;
    loop {
        if let Err(error) = shown {
            show(&format_args!("({error})"));
        }
        shown = tokio::select! {
            line = lines.recv() => match line.as_deref() {
                Some("/away") => client.call("away", &true).await,
                Some("/back") => client.call("away", &false).await,
                Some("/quit") | None => break,
                Some(_) => { show(&"(/away, /back or /quit)"); Ok(()) }
            },
            event = events.next() => match event {
                Some(Event::Connected | Event::Missed(_)) => watch(client, name, &show).await,
                Some(Event::Signal(signal)) => {
                    if let Ok(person) = signal.json::<Person>() {
                        show(&line(&person));
                    }
                    Ok(())
                }
                Some(_) => Ok(()),
                None => break,
            },
        };
    }
}

async fn watch(client: &Client, name: &str, show: &impl Fn(&dyn Display)) -> Result<(), Error> {
    if client.session().is_none() {
        client.call::<()>("login", name).await?;
    }
    for person in client.call::<Vec<Person>>("watch", &()).await? {
        show(&line(&person));
    }
    Ok(())
}

fn line(person: &Person) -> String {
    match person.status {
        Status::Online => format!("{} is online", person.name),
        Status::Away => format!("{} is away", person.name),
        Status::Offline(since) => format!("{} was seen last at {since}", person.name),
    }
}
