//! Restoring a session.

use std::hint::black_box;

use bytes::Bytes;
use wwr::server::{Action, Config, Connection, Hub, HubAction, Observed, StoreAnswer, Work};
use wwr::session::ConnectionId;
use wwr::wire::Message;
use wwr::{Actions, Session, SessionInfo, SessionKey, UnixTime, Valid};

use super::{NOW, Once, frame, id};

/// A client connects, restores a session and is gone; the store answers at once.
pub(super) fn restore() -> Once {
    let key = SessionKey::from_entropy([7; SessionKey::ENTROPY]);
    let info = SessionInfo::new().public("user", "ada").private("quota", 10);
    let session = Session::new(key.clone(), UnixTime::from_seconds(1_500_000_000), info);
    let key = Bytes::copy_from_slice(key.as_str().as_bytes());
    let frame = frame(&Message::RestoreSession { id: id(), key });
    let config = Valid::<Config>::default();
    let mut hub = Hub::new(&Valid::default());
    let mut control = Actions::<HubAction>::new();
    let mut out = Actions::new();
    Box::new(move || {
        let id = hub.admit(NOW).expect("it is the only one");
        let mut connection = Connection::accept(&config, Observed::Nothing, NOW, &mut out);
        hub.opened(NOW, id, &mut control);
        connection.handle_message(NOW, black_box(frame.clone()), &mut out);
        while !(out.is_empty() && control.is_empty()) {
            carry_out(&mut connection, id, &mut hub, &mut out, &mut control);
            answer(&mut connection, &mut hub, &session, &mut out, &mut control);
        }
        connection.handle_disconnect(&mut out);
        carry_out(&mut connection, id, &mut hub, &mut out, &mut control);
        hub.left(NOW, id, &mut control);
        assert!(hub.is_idle());
    })
}

fn carry_out(
    connection: &mut Connection,
    id: ConnectionId,
    hub: &mut Hub,
    out: &mut Actions<Action>,
    control: &mut Actions<HubAction>,
) {
    while let Some(action) = out.pop() {
        match action {
            Action::Send(frame) => drop(black_box(frame)),
            Action::Session(command) => hub.handle(NOW, id, command, control),
            Action::SessionEvent(_) => assert!(connection.session().is_some()),
            other => unreachable!("{other:?}"),
        }
    }
}

fn answer(
    connection: &mut Connection,
    hub: &mut Hub,
    session: &Session,
    out: &mut Actions<Action>,
    control: &mut Actions<HubAction>,
) {
    while let Some(action) = control.pop() {
        match action {
            HubAction::Store(job) => {
                assert!(matches!(job.work, Work::LookUp(_)));
                let found = StoreAnswer::LookedUp(Ok(Some(Box::new(session.clone()))));
                hub.answered(NOW, job.id, found, control);
            }
            HubAction::Deliver { outcome, .. } => connection.handle_session(NOW, outcome, out),
            other => unreachable!("{other:?}"),
        }
    }
}
