//! The server: a name for each session, rooms, and those that are in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use wwr_smol::server::{Connection, InvalidRouter, RequestError, Router, Routes};
use wwr_smol::server::{SessionChange, SessionOf, SlowReader, State};
use wwr_smol::{Json, Payload, Session, SessionInfo, SessionKey};

#[derive(Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct User {
    pub(crate) name: String,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Text {
    pub(crate) room: String,
    pub(crate) text: String,
}

/// The names in use, by connections. Without passwords, each is free again when its session is away.
type Names = Mutex<BTreeMap<u64, (Connection, String)>>;
type Reply<T> = Result<T, RequestError>;

/// Gives a name to a connection, unless it has one, or a connection with another session has this one.
fn claim(names: &Names, of: &Connection, key: Option<&SessionKey>, name: &str) -> bool {
    let mut names = names.lock().unwrap();
    let is_taken = names.values().any(|(other, taken)| {
        taken.eq_ignore_ascii_case(name) && (key.is_none() || other.session_key().as_ref() != key)
    });
    let is_free = !is_taken && !names.contains_key(&of.id());
    is_free && names.insert(of.id(), (of.clone(), name.to_owned())).is_none()
}

fn release(names: &Names, of: &Connection) {
    names.lock().unwrap().remove(&of.id());
}

async fn login(of: Connection, Json(name): Json<String>, names: State<Names>) -> Reply<()> {
    if !(1..=20).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(RequestError::failed("BAD_NAME", "a name has 1 to 20 letters and digits"));
    }
    if !claim(&names, &of, None, &name) {
        return Err(RequestError::failed("NAME_TAKEN", "log out, or choose another name"));
    }
    let created = of.create_session(SessionInfo::new().public("name", name)).await;
    created.inspect_err(|_| release(&names, &of)).map(drop).map_err(Into::into)
}

async fn enter(of: Connection, by: Session, Json(to): Json<String>) -> Reply<Json<BTreeSet<User>>> {
    of.join_for_session(&by.key, &to)?;
    let members = of.server().group(to).members().into_iter();
    Ok(Json(members.filter_map(|member| member.session()?.info.read().ok()).collect()))
}

async fn say(of: Connection, by: SessionOf<User>, Json(said): Json<Text>) -> Reply<Json<usize>> {
    if said.text.len() > 2000 || said.text.chars().any(char::is_control) {
        return Err(RequestError::failed("BAD_TEXT", "say one line of at most 2000 bytes"));
    }
    if !of.groups().contains(&said.room) {
        return Err(RequestError::failed("NOT_IN_ROOM", "enter the room first"));
    }
    let room = of.server().group(&said.room).slow_readers(SlowReader::DropOldest);
    Ok(Json(room.signal("said", Payload::json(&(by.0, said))?)?.sent))
}

/// A name comes back with its session, unless somebody else has it now, and is free without it.
async fn session_changed(of: Connection, change: SessionChange, names: State<Names>) {
    if let SessionChange::Restored { session } = change {
        let user = session.info.read::<User>();
        let has_name = user.is_ok_and(|user| claim(&names, &of, Some(&session.key), &user.name));
        if !has_name && of.close_session().await.is_err() {
            of.close();
        }
    } else if change.after().is_none() {
        release(&names, &of);
    }
}

pub(crate) fn chat() -> Result<Routes, InvalidRouter> {
    Router::with_state(Names::default())
        .request("login", login)
        .request("enter", enter)
        .request("leave", async |of: Connection, Json(room): Json<String>| Json(of.leave(&room)))
        .request("say", say)
        .session_changed(session_changed)
        .disconnected(async |of, names: State<Names>| release(&names, &of))
        .build()
}
