//! The server: a name for each session, rooms, and those that are in them.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};
use std::{sync::Mutex, time::Duration};

use serde::{Deserialize, Serialize};
use wwr_smol::server::{Builder, Config, Connection, Expiry, InvalidRouter, RequestError, Router};
use wwr_smol::server::{Routes, Server, SessionChange, SessionOf, SlowReader, State};
use wwr_smol::{Json, Payload, SessionInfo};

#[derive(Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct User {
    pub(crate) name: String,
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Text {
    pub(crate) room: String,
    pub(crate) text: String,
}

/// The names in use, by the connections that have them.
type Names = Mutex<BTreeMap<u64, String>>;

/// Gives a name to a connection, unless it has one, or another session has this one.
fn claim(names: &Names, of: &Connection, name: &str) -> bool {
    let own = of.session_key().map(|key| of.server().session_connections(&key));
    let own: Vec<u64> = own.into_iter().flatten().map(|each| each.id()).collect();
    let mut names = names.lock().unwrap();
    let taken = names.iter().any(|(id, it)| it.eq_ignore_ascii_case(name) && !own.contains(id));
    let Entry::Vacant(entry) = names.entry(of.id()) else { return false };
    !taken && entry.insert(name.to_owned()) == name
}

fn release(names: &Names, of: &Connection) {
    names.lock().unwrap().remove(&of.id());
}

type Reply<T> = Result<T, RequestError>;

async fn login(of: Connection, Json(name): Json<String>, names: State<Names>) -> Reply<()> {
    if !(1..=20).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(RequestError::failed("BAD_NAME", "a name has 1 to 20 letters and digits"));
    }
    if of.session_key().is_some() || !claim(&names, &of, &name) {
        return Err(RequestError::failed("NAME_TAKEN", "log out, or choose another name"));
    }
    let created = of.create_session(SessionInfo::new().public("name", name)).await;
    created.inspect_err(|_| release(&names, &of)).map(drop).map_err(Into::into)
}

async fn enter(of: Connection, Json(room): Json<String>) -> Reply<Json<BTreeSet<User>>> {
    of.join_for_session(&room)?;
    let members = of.server().group(room).members().into_iter();
    Ok(Json(members.filter_map(|member| member.session()?.info.read().ok()).collect()))
}

async fn say(of: Connection, by: SessionOf<User>, Json(said): Json<Text>) -> Reply<Json<usize>> {
    if said.text.len() > 2000 || !of.groups().contains(&said.room) {
        return Err(RequestError::failed("REFUSED", "enter the room, and say at most 2000 bytes"));
    }
    let room = of.server().group(&said.room).slow_readers(SlowReader::DropOldest);
    Ok(Json(room.signal("said", Payload::json(&(by.0, said))?)?.sent))
}

/// A name comes back with its session, unless somebody else has it now, and is free without it.
async fn session_changed(of: Connection, change: SessionChange, names: State<Names>) {
    if let SessionChange::Restored { session } = change {
        let user = session.info.read::<User>();
        if !user.is_ok_and(|user| claim(&names, &of, &user.name)) {
            let _ = of.close_session().await;
        }
    } else if change.after().is_none() {
        release(&names, &of);
    }
}

pub(crate) fn chat() -> Result<Builder<Routes>, InvalidRouter> {
    let routes = Router::with_state(Names::default())
        .request("login", login)
        .request("enter", enter)
        .request("leave", async |of: Connection, Json(room): Json<String>| Json(of.leave(&room)))
        .request("say", say)
        .session_changed(session_changed)
        .disconnected(async |of, names: State<Names>| release(&names, &of))
        .build()?;
    let mut config = Config::default();
    config.hub.expiry = Some(Expiry::new(Duration::from_secs(3600), Duration::from_secs(60)));
    Ok(Server::builder(routes).config(config))
}
