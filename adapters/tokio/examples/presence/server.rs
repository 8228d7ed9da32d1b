//! The server: a board of people, each with a session and any number of connections.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wwr_tokio::server::{Builder, Config, Connection, Expiry, InvalidRouter, RequestError};
use wwr_tokio::server::{Router, Routes, Server, SessionChange, SessionOf, SlowReader, State};
use wwr_tokio::{Json, Payload, SessionInfo};

/// How many people who are offline stay on the board.
const KEPT: usize = 1000;

/// What a session is about. The server numbers people, because names may repeat.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Person {
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) status: Status,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Status {
    Online,
    Away,
    /// When they were seen last, in seconds since 1970.
    Offline(u64),
}

#[derive(Default)]
struct Board {
    last_number: AtomicU64,
    people: Mutex<BTreeMap<u64, Person>>,
}

/// Puts a person on the board, and takes the one off who is offline longest, if there are too many.
fn show(people: &mut BTreeMap<u64, Person>, person: Person) {
    people.insert(person.number, person);
    let offline = people.values().filter_map(|person| match person.status {
        Status::Offline(since) => Some((since, person.number)),
        Status::Online | Status::Away => None,
    });
    let offline: Vec<_> = offline.collect();
    if offline.len() > KEPT
        && let Some((_, number)) = offline.iter().min()
    {
        people.remove(number);
    }
}

async fn login(
    of: Connection,
    Json(name): Json<String>,
    board: State<Board>,
) -> Result<(), RequestError> {
    if name.is_empty() || name.len() > 40 || name.chars().any(char::is_control) {
        return Err(RequestError::failed("BAD_NAME", "a name has 1 to 40 bytes of text"));
    }
    let number = board.last_number.fetch_add(1, Ordering::Relaxed) + 1;
    of.create_session(info(&Person { number, name, status: Status::Online })?).await?;
    Ok(())
}

fn info(person: &Person) -> Result<SessionInfo, RequestError> {
    Ok(SessionInfo::new().with_public(person)?)
}

/// Joins those who hear of changes, before the board is read: nothing is missed in between.
async fn watch(of: Connection, board: State<Board>) -> Result<Json<Vec<Person>>, RequestError> {
    of.join("watchers")?;
    Ok(Json(board.people.lock().unwrap().values().cloned().collect()))
}

async fn away(
    of: Connection,
    SessionOf(person): SessionOf<Person>,
    Json(away): Json<bool>,
) -> Result<(), RequestError> {
    let status = if away { Status::Away } else { Status::Online };
    of.update_session(info(&Person { status, ..person })?).await?;
    Ok(())
}

/// The sessions are the truth, as the connections that hold them have it now: a change itself may be told
/// late, after newer ones of other connections. Each connection that holds a session, or ends, is told once
/// more what it does not know yet.
async fn session_changed(of: Connection, change: SessionChange, board: State<Board>) {
    let Some(session) = change.after().or(change.before()) else { return };
    // Until the watchers are told: connections of one person come and go at the same time, and the last
    // one to look has to be the last one to tell.
    let mut people = board.people.lock().unwrap();
    let holders = of.server().session_connections(&session.key);
    let newest = holders.iter().find_map(Connection::session);
    let Ok(mut person) = newest.as_ref().unwrap_or(session).info.read::<Person>() else { return };
    let shown = people.get(&person.number);
    if holders.is_empty() {
        if shown.is_some_and(|shown| matches!(shown.status, Status::Offline(_))) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        person.status = Status::Offline(now.as_secs());
    } else if newest.is_none() || shown == Some(&person) {
        return;
    }
    let signal = Payload::json(&person);
    let name = format!("person.{}", person.number);
    show(&mut people, person);
    let watchers = of.server().group("watchers").slow_readers(SlowReader::Coalesce);
    let told = signal.ok().and_then(|signal| watchers.signal(name, signal).ok());
    for refused in told.into_iter().flat_map(|told| told.refused) {
        // It gets the whole board when it connects again.
        refused.connection.close();
    }
}

pub(crate) fn presence() -> Router<impl Send + Sync> {
    Router::with_state(Board::default())
        .request("login", login)
        .request("watch", watch)
        .request("away", away)
        .session_changed(session_changed)
}

pub(crate) fn serve<S>(presence: Router<S>) -> Result<Builder<Routes>, InvalidRouter>
where
    S: Send + Sync + 'static,
{
    let mut config = Config::default();
    config.hub.expiry = Some(Expiry::new(Duration::from_secs(86_400), Duration::from_secs(60)));
    Ok(Server::builder(presence.build()?).config(config))
}
