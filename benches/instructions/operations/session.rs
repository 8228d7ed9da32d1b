//! Restoring a session.

use std::hint::black_box;

use bytes::Bytes;
use wwr::server::{Action, Config, Connection, Observed};
use wwr::session::{ConnectionId, Effect, Registry, RegistryConfig};
use wwr::wire::Message;
use wwr::{Actions, Session, SessionInfo, SessionKey, UnixTime};

use super::{NOW, Once, frame, id};

/// A client connects, restores a session and is gone; the store answers at once.
pub(super) fn restore() -> Once {
    let key = SessionKey::from_entropy([7; SessionKey::ENTROPY]);
    let info = SessionInfo::new().public("user", "ada").private("quota", 10);
    let session = Session::new(key.clone(), UnixTime::from_seconds(1_500_000_000), info);
    let key = Bytes::copy_from_slice(key.as_str().as_bytes());
    let frame = frame(&Message::RestoreSession { id: id(), key });
    let config = Config::default();
    let mut registry = Registry::new(RegistryConfig::default());
    let mut effects = Actions::<Effect>::new();
    let mut out = Actions::new();
    Box::new(move || {
        let mut connection = Connection::accept(&config, Observed::Nothing, NOW, &mut out);
        connection.handle_message(NOW, black_box(frame.clone()), &mut out);
        while !(out.is_empty() && effects.is_empty()) {
            carry_out(&mut connection, &mut registry, &mut out, &mut effects);
            answer(&mut connection, &mut registry, &session, &mut out, &mut effects);
        }
        connection.handle_disconnect(&mut out);
        carry_out(&mut connection, &mut registry, &mut out, &mut effects);
        assert!(registry.is_idle());
    })
}

fn carry_out(
    connection: &mut Connection,
    registry: &mut Registry,
    out: &mut Actions<Action>,
    effects: &mut Actions<Effect>,
) {
    while let Some(action) = out.pop() {
        match action {
            Action::Send(frame) => drop(black_box(frame)),
            Action::Session(command) => registry.handle(ConnectionId(1), command, effects),
            Action::SessionEvent(_) => assert!(connection.session().is_some()),
            other => unreachable!("{other:?}"),
        }
    }
}

fn answer(
    connection: &mut Connection,
    registry: &mut Registry,
    session: &Session,
    out: &mut Actions<Action>,
    effects: &mut Actions<Effect>,
) {
    while let Some(effect) = effects.pop() {
        match effect {
            Effect::Lookup { ticket, .. } => {
                registry.looked_up(ticket, Ok(Some(Box::new(session.clone()))), effects);
            }
            Effect::Deliver { outcome, .. } => connection.handle_session(NOW, outcome, out),
            other => unreachable!("{other:?}"),
        }
    }
}
