//! What the page asks for, and what it can do.

use std::collections::HashSet;

use bytes::Bytes;
use futures_lite::future::yield_now;
use hyper::{Response, StatusCode};
use serde::Serialize;
use wwr::{CloseFrame, Session};

use super::answer::{Refused, json};
use super::message::Shown;
use super::query::{By, Query, Top};
use super::row::{self, ConnectionRow, GroupRow, MOST_NAMED, Overview, SessionRow};
use super::{Shared, row::milliseconds};
use crate::server::{Connection, Connections, ServerHandle};

/// How many connections or groups are visited before other tasks get a turn.
const PORTION: usize = 256;

/// The close code for clients whose connection an operator closes: the service restarts, come again
/// (IANA, RFC 6455 §7.4).
const CLOSED: (u16, &str) = (1012, "closed by an operator");

const UNKNOWN_SORT: Refused = Refused::new(StatusCode::BAD_REQUEST, "It cannot be sorted by that.");

/// The rows of a table.
#[derive(Serialize)]
struct Table<T> {
    /// On the server's own clock, for rates.
    at_ms: u64,
    rows: Vec<T>,
    /// How many rows there would be without a limit.
    matched: usize,
    /// How many there would be without a filter.
    total: usize,
}

/// A chosen connection.
#[derive(Serialize)]
struct Chosen {
    at_ms: u64,
    connection: ConnectionRow,
    messages: Vec<Shown>,
    /// The number of the next message.
    next: u64,
}

#[derive(Serialize)]
struct Done {
    closed: usize,
}

pub(super) async fn show(
    shared: &Shared,
    path: &str,
    query: &Query,
) -> Result<Response<Bytes>, Refused> {
    let server = &shared.server;
    match path {
        "overview" => Ok(json(&Overview::new(server))),
        "connections" => Ok(json(&connections(server, query).await?)),
        "sessions" => Ok(json(&sessions(server, query).await?)),
        "groups" => Ok(json(&groups(server, query).await?)),
        _ => chosen(shared, &connection(server, path)?, query),
    }
}

pub(super) async fn close(
    shared: &Shared,
    path: &str,
    query: &Query,
) -> Result<Response<Bytes>, Refused> {
    let server = &shared.server;
    if path == "session" {
        return close_session(server, query).await;
    }
    let connection = connection(server, path)?;
    let closed = usize::from(connection.is_connected());
    let (id, remote) = (connection.id(), connection.info().remote_addr);
    tracing::info!(connection = id, %remote, "closed through the inspection page");
    let (code, reason) = CLOSED;
    if connection.close_with(code, reason).is_err() {
        connection.close();
    }
    Ok(json(&Done { closed }))
}

/// Closes the session that a connection has, unless that has changed meanwhile.
async fn close_session(server: &ServerHandle, query: &Query) -> Result<Response<Bytes>, Refused> {
    const GONE: Refused =
        Refused::new(StatusCode::NOT_FOUND, "The connection has another session now.");
    let connection = query.connection.and_then(|id| server.connection(id)).ok_or(GONE)?;
    let key = connection.session_key().ok_or(GONE)?;
    let session = row::short(&key);
    if query.session.as_ref() != Some(&session) {
        return Err(GONE);
    }
    tracing::info!(session, "session closed through the inspection page");
    let (code, reason) = CLOSED;
    let how = CloseFrame::new(code, reason).map_or(Connections::Close, Connections::CloseWith);
    match server.close_session(key, how).await {
        Ok(closed) => Ok(json(&Done { closed })),
        Err(_) => Err(Refused::new(
            StatusCode::BAD_GATEWAY,
            "The session store failed; the log says why. Its connections are closed.",
        )),
    }
}

fn connection(server: &ServerHandle, path: &str) -> Result<Connection, Refused> {
    let id = path.strip_prefix("connections/").and_then(|id| id.parse().ok());
    id.and_then(|id| server.connection(id)).ok_or(Refused::NOT_FOUND)
}

fn chosen(
    shared: &Shared,
    connection: &Connection,
    query: &Query,
) -> Result<Response<Bytes>, Refused> {
    let server = &shared.server;
    shared.watches.watch(server, connection)?;
    let recording = connection.recorder().recorded(query.from);
    let (messages, next) = recording.map_or_else(Default::default, |recording| {
        (recording.messages.into_iter().map(Shown::new).collect(), recording.next)
    });
    let connection = ConnectionRow::new(connection);
    Ok(json(&Chosen { at_ms: now(server), connection, messages, next }))
}

fn now(server: &ServerHandle) -> u64 {
    server.now().as_nanos() / 1_000_000
}

async fn connections(
    server: &ServerHandle,
    query: &Query,
) -> Result<Table<ConnectionRow>, Refused> {
    let by = connection_order(&query.sort)?;
    let mut top = Top::new(query);
    let all: Box<dyn Iterator<Item = Connection> + Send> = match &query.group {
        Some(group) => Box::new(server.walk_group(group)),
        None => Box::new(server.walk()),
    };
    for (visited, connection) in all.enumerate() {
        if visited % PORTION == PORTION - 1 {
            yield_now().await;
        }
        if let Some(wanted) = &query.session
            && connection.session_key().is_none_or(|key| row::short(&key) != *wanted)
        {
            continue;
        }
        if finds(query, &connection) {
            top.add(by(&connection), connection.id(), connection);
        }
    }
    let matched = top.matched;
    let rows = top.into_rows().map(|connection| ConnectionRow::new(&connection)).collect();
    Ok(Table { at_ms: now(server), rows, matched, total: server.connection_count() })
}

/// Returns whether a connection has what is searched for.
fn finds(query: &Query, connection: &Connection) -> bool {
    if query.filter.is_empty() {
        return true;
    }
    let info = connection.info();
    let slow = if connection.is_behind() { "slow" } else { "" };
    let facts = [
        &*info.remote_addr.to_string(),
        &info.path,
        info.user_agent.as_deref().unwrap_or_default(),
        &connection.dialect().to_string(),
        &format!("#{}", connection.id()),
        slow,
    ];
    query.finds(facts)
        || connection.session().is_some_and(|session| finds_session(query, &session))
        || query.finds(connection.groups())
}

fn finds_session(query: &Query, session: &Session) -> bool {
    let public = serde_json::to_string(&session.info.to_public()).unwrap_or_default();
    query.finds([row::short(&session.key), public])
}

/// Returns what connections are sorted by.
fn connection_order(sort: &str) -> Result<fn(&Connection) -> By, Refused> {
    Ok(match sort {
        "" | "id" => |connection| By::Number(connection.id()),
        "peer" => |connection| By::Text(connection.info().remote_addr.to_string()),
        "dialect" => |connection| By::Text(connection.dialect().to_string()),
        "age" => |connection| By::Number(milliseconds(connection.stats().age)),
        "silent" => |connection| By::Number(milliseconds(connection.stats().silent_for)),
        "session" => |connection| {
            By::Text(connection.session_key().map_or_else(String::new, |key| row::short(&key)))
        },
        "requests" => |connection| By::Number(connection.stats().traffic.requests.started),
        "signals" => |connection| {
            let traffic = connection.stats().traffic;
            By::Number(traffic.signals_received.saturating_add(traffic.signals_sent))
        },
        "bytes" => |connection| {
            let traffic = connection.stats().traffic;
            By::Number(traffic.bytes_received.saturating_add(traffic.bytes_sent))
        },
        "handlers" => |connection| By::Number(connection.stats().load.running_handlers as u64),
        "queued" => |connection| By::Number(connection.stats().load.queued_bytes as u64),
        _ => return Err(UNKNOWN_SORT),
    })
}

async fn sessions(server: &ServerHandle, query: &Query) -> Result<Table<SessionRow>, Refused> {
    let by = match query.sort.as_str() {
        "" | "id" | "created" | "connections" => &query.sort,
        _ => return Err(UNKNOWN_SORT),
    };
    let mut top = Top::new(query);
    let mut seen = HashSet::new();
    for (visited, connection) in server.walk().enumerate() {
        if visited % PORTION == PORTION - 1 {
            yield_now().await;
        }
        let Some(session) = connection.session() else { continue };
        if connection.ended().is_some() || !seen.insert(session.key.clone()) {
            continue;
        }
        if finds_session(query, &session) {
            let by = match by.as_str() {
                "created" => By::Text(session.created.to_string()),
                "connections" => By::Number(server.session_connections(&session.key).len() as u64),
                _ => By::Text(row::short(&session.key)),
            };
            top.add(by, connection.id(), session);
        }
    }
    let matched = top.matched;
    let row =
        |session: Session| SessionRow::new(&session, &server.session_connections(&session.key));
    let rows = top.into_rows().map(row).collect();
    Ok(Table { at_ms: now(server), rows, matched, total: seen.len() })
}

async fn groups(server: &ServerHandle, query: &Query) -> Result<Table<GroupRow>, Refused> {
    let by_members = match query.sort.as_str() {
        "" | "name" => false,
        "members" => true,
        _ => return Err(UNKNOWN_SORT),
    };
    let mut top = Top::new(query);
    let (mut total, mut last) = (0, String::new());
    loop {
        let portion = server.groups_after(&last, PORTION);
        let Some((name, _)) = portion.last() else { break };
        last.clone_from(name);
        for (name, members) in portion {
            total += 1;
            if query.finds([&name]) {
                let by =
                    if by_members { By::Number(members as u64) } else { By::Text(name.clone()) };
                top.add(by, total, (name, members));
            }
        }
        yield_now().await;
    }
    let matched = top.matched;
    let row = |(name, members): (String, usize)| {
        let connections = server.walk_group(&name).take(MOST_NAMED);
        let connections = connections.map(|connection| connection.id()).collect();
        GroupRow { name, members, connections }
    };
    let rows = top.into_rows().map(row).collect();
    let total = usize::try_from(total).unwrap_or(usize::MAX);
    Ok(Table { at_ms: now(server), rows, matched, total })
}
