//! The hook for changes of the session: what it is told, and when.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};

use wwr::server::RequestError;
use wwr::{Content, Payload, SessionInfo, SessionKey};

use super::stores::{Mood, Moody};
use super::wwr1::one_that_answers;
use crate::adapter::runtime;
use crate::adapter::server::{
    Connection, Connections, Fate, Handler, Local, LocalHandler, Server, SessionChange,
};
use crate::suite::support::app::Gates;
use crate::suite::support::message::{
    NOT_FOUND, SESSION_CLOSED, UTF8, answer, ask, close_session, empty_reply, restore, signal,
    special,
};
use crate::suite::support::peer::{BINARY, PING, PONG, Peer, frame};
use crate::suite::support::{Running, SAFETY, until};

/// Tells what is called, in order. Its hook for changes waits at the gate "hook" if the session says so.
struct Diary {
    lines: mpsc::Sender<String>,
    gates: Arc<Gates>,
}

impl Diary {
    fn start() -> (Running, mpsc::Receiver<String>, Arc<Gates>) {
        let (diary, lines, gates) = Self::new();
        (Running::new(Server::builder_on(runtime(), diary)), lines, gates)
    }

    fn new() -> (Self, mpsc::Receiver<String>, Arc<Gates>) {
        let (sender, lines) = mpsc::channel();
        let gates = Arc::<Gates>::default();
        (Self { lines: sender, gates: gates.clone() }, lines, gates)
    }

    fn note(&self, line: impl Into<String>) {
        let _ = self.lines.send(line.into());
    }
}

impl Handler for Diary {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, RequestError> {
        let name = String::from_utf8_lossy(request.name()).into_owned();
        self.note(format!("request {name}"));
        match name.as_str() {
            "login" => {
                let user = request.text().map_err(|_| RequestError::Internal)?.into_owned();
                let info = SessionInfo::new().public("user", user);
                Ok(Payload::utf8(from.create_session(info).await?.key.as_str()))
            }
            "logout" => Ok(Payload::utf8(from.close_session().await?.to_string())),
            _ => Ok(request.into_payload()),
        }
    }

    async fn signal(&self, _: &Connection, signal: Content) {
        self.note(format!("signal {}", String::from_utf8_lossy(signal.name())));
    }

    async fn connected(&self, connection: &Connection) {
        self.note("connected");
        assert_eq!(connection.session(), None);
    }

    async fn session_changed(&self, of: &Connection, change: SessionChange) {
        let user = |session: Option<&wwr::Session>| {
            let user = session.and_then(|session| session.info.value("user"));
            user.and_then(|user| user.as_str().map(str::to_owned)).unwrap_or("nobody".into())
        };
        let users = format!("{} to {}", user(change.before()), user(change.after()));
        let kind = match &change {
            SessionChange::Created { .. } => "created".into(),
            SessionChange::Restored { .. } => "restored".into(),
            SessionChange::Updated { .. } => "updated".into(),
            SessionChange::Rotated { .. } => "rotated".into(),
            SessionChange::Closed { by, fate: Fate::Destroyed, .. } => format!("closed by {by:?}"),
            SessionChange::Closed { by, fate: Fate::LivesOn, .. } => {
                format!("closed by {by:?}, lives on")
            }
            SessionChange::Closed { by, fate: Fate::Unknown, .. } => {
                format!("closed by {by:?}, fate unknown")
            }
            SessionChange::Lost { .. } => "lost".into(),
            other => format!("{other:?}"),
        };
        self.note(format!("{kind}: {users}"));
        if users.contains("slow") {
            self.gates.pass("hook").await;
            self.note("the hook has ended");
        }
        if users.ends_with("asker") {
            let answer = of.ask("sure", "?").await.unwrap();
            let session = of.session().is_some();
            self.note(format!("{}, session: {session}", answer.text().unwrap_or_default()));
        }
        if users.contains("member")
            && let Some(session) = change.after()
        {
            let joined = of.join_for_session(&session.key, "members");
            self.note(format!("joined: {joined:?}"));
        }
        assert!(!users.contains("panic"), "a hook of a test panics on purpose");
    }

    async fn disconnected(&self, connection: &Connection) {
        let session = connection.session().is_some();
        self.note(format!("disconnected, session: {session}"));
    }
}

/// Logs in, and returns the key.
fn login(peer: &mut Peer, user: &str) -> String {
    peer.send(&ask(1, "login", user));
    assert_eq!(peer.message()[0], 21);
    let reply = peer.message();
    assert_eq!(reply[..9], special(192, 1));
    String::from_utf8(reply[9..].to_vec()).unwrap()
}

fn lines(received: &mpsc::Receiver<String>, expected: &[&str]) {
    for line in expected {
        assert_eq!(received.recv_timeout(SAFETY).as_deref(), Ok(*line), "of {expected:?}");
    }
}

#[test]
fn it_tells_every_change_of_a_session_with_what_it_was_and_is() {
    let (server, told, _) = Diary::start();
    let mut peer = Peer::connect(server.address);
    let key = login(&mut peer, "ada");
    lines(&told, &["connected", "request login", "created: nobody to ada"]);
    drop(peer);
    lines(&told, &["lost: ada to nobody", "disconnected, session: true"]);

    let mut peer = Peer::connect(server.address);
    peer.send(&restore(2, &key));
    assert_eq!(peer.message()[..9], special(192, 2));
    lines(&told, &["connected", "restored: nobody to ada"]);
    peer.send(&close_session(3));
    assert_eq!((peer.message(), peer.message()), (SESSION_CLOSED.into(), empty_reply(3)));
    lines(&told, &["closed by Client: ada to nobody"]);

    login(&mut peer, "bob");
    lines(&told, &["request login", "created: nobody to bob"]);
    peer.send(&ask(4, "logout", "x"));
    assert_eq!((peer.message(), peer.message()), (SESSION_CLOSED.into(), answer(4, "true")));
    lines(&told, &["request logout", "closed by Application: bob to nobody"]);

    let key = SessionKey::new(login(&mut peer, "eve")).unwrap();
    lines(&told, &["request login", "created: nobody to eve"]);
    smol::block_on(server.handle.close_session(key, Connections::Close)).unwrap();
    assert_eq!(peer.message(), SESSION_CLOSED);
    peer.closed_with(1000);
    lines(&told, &["closed by Key: eve to nobody", "disconnected, session: false"]);
}

#[test]
fn it_tells_whether_a_session_that_is_closed_lives_on() {
    let (server, told, _) = Diary::start();
    let mut peers: Vec<_> = (0..3).map(|_| Peer::connect(server.address)).collect();
    let key = login(&mut peers[0], "ada");
    lines(
        &told,
        &["connected", "connected", "connected", "request login", "created: nobody to ada"],
    );
    for peer in &mut peers[1..] {
        peer.send(&restore(1, &key));
        assert_eq!(peer.message()[..9], special(192, 1));
        lines(&told, &["restored: nobody to ada"]);
    }
    peers[0].send(&close_session(2));
    lines(&told, &["closed by Client, lives on: ada to nobody"]);
    peers[1].send(&ask(2, "logout", "x"));
    lines(&told, &["request logout", "closed by Application, lives on: ada to nobody"]);
    peers[2].send(&close_session(2));
    lines(&told, &["closed by Client: ada to nobody"]);
    peers[0].send(&restore(3, &key));
    assert_eq!((peers[0].message(), peers[0].message()), (SESSION_CLOSED.into(), empty_reply(2)));
    assert_eq!(peers[0].message(), special(3, 3));
}

/// A client that has logged out and gone is not one that comes back.
#[test]
fn a_connection_that_ends_before_its_session_is_destroyed_has_closed_it() {
    let store = Moody::new(Mood::Works);
    let (diary, told, _) = Diary::new();
    let server = Running::new(Server::builder_on(runtime(), diary).store(store.clone()));
    let mut peer = Peer::connect(server.address);
    login(&mut peer, "ada");
    lines(&told, &["connected", "request login", "created: nobody to ada"]);
    store.becomes(Mood::Waits);
    peer.send(&close_session(2));
    until(|| store.waits.load(Ordering::Relaxed) == 1);
    drop(peer);
    lines(
        &told,
        &["closed by Client, fate unknown: ada to nobody", "disconnected, session: false"],
    );
    store.gates.open("destroy");
}

/// Otherwise a client that has closed its session could still be found in what it got by it.
#[test]
fn no_message_is_handled_before_the_hook_has_ended() {
    let (server, told, gates) = Diary::start();
    let mut peer = Peer::connect(server.address);
    peer.send(&ask(1, "login", "slow"));
    // In one write with what changes the session, and later.
    let next = signal(UTF8, "next", b"x");
    peer.send(&next);
    assert_eq!(peer.message()[0], 21);
    assert_eq!(peer.message()[..9], special(192, 1), "the reply does not wait for the hook");
    lines(&told, &["connected", "request login", "created: nobody to slow"]);
    peer.send(&ask(2, "echo", "late"));
    gates.open("hook");
    assert_eq!(peer.message(), answer(2, "late"));
    lines(&told, &["the hook has ended", "signal next", "request echo"]);

    let frames = [close_session(3), ask(4, "echo", "after")].map(|message| frame(BINARY, &message));
    peer.write(&frames.concat());
    assert_eq!((peer.message(), peer.message()), (SESSION_CLOSED.into(), empty_reply(3)));
    lines(&told, &["closed by Client: slow to nobody"]);
    assert!(told.try_recv().is_err());
    gates.open("hook");
    assert_eq!(peer.message(), answer(4, "after"));
    lines(&told, &["the hook has ended", "request echo"]);
}

/// The socket is read then, so that the answer comes: what else comes has to wait.
#[test]
fn no_message_changes_the_session_while_the_hook_asks_the_client() {
    let (server, told, _) = Diary::start();
    let mut peer = one_that_answers(server.address);
    let key = login(&mut peer, "asker");
    let question = peer.message();
    assert_eq!(question[0], 12);
    peer.send(&close_session(2));
    peer.send(&restore(3, &key));
    // It has read all of this.
    peer.write(&frame(PING, b""));
    assert_eq!(peer.frame().map(|frame| frame.first), Some(PONG));
    peer.send(&[&[26], &question[1..9], b"yes"].concat());
    // Clients of `wwr.1` know that they have closed it.
    assert_eq!(peer.message(), empty_reply(2));
    assert_eq!(peer.message(), special(NOT_FOUND, 3));
    lines(
        &told,
        &[
            "connected",
            "request login",
            "created: nobody to asker",
            "yes, session: true",
            "closed by Client: asker to nobody",
        ],
    );
}

/// What it has given to a connection, it can always take back.
#[test]
fn a_connection_that_ends_while_the_hook_runs_is_told_in_order() {
    let (server, told, gates) = Diary::start();
    let mut peer = Peer::connect(server.address);
    login(&mut peer, "slow");
    lines(&told, &["connected", "request login", "created: nobody to slow"]);
    let connection = server.handle.connections().pop().unwrap();
    connection.close();
    gates.open("hook");
    gates.open("hook");
    peer.closed_with(1000);
    lines(
        &told,
        &[
            "the hook has ended",
            "lost: slow to nobody",
            "the hook has ended",
            "disconnected, session: true",
        ],
    );
}

#[test]
fn a_hook_that_panics_holds_nothing_up() {
    let (server, told, _) = Diary::start();
    let mut peer = Peer::connect(server.address);
    login(&mut peer, "panic");
    assert_eq!(peer.ask(2, "echo", "x"), answer(2, "x"));
    drop(peer);
    lines(
        &told,
        &[
            "connected",
            "request login",
            "created: nobody to panic",
            "request echo",
            "lost: panic to nobody",
            "disconnected, session: true",
        ],
    );
    until(|| server.handle.stats().traffic.panics == 2);
}

/// Lets the one-thread form of a handler do what its other form does.
struct Here(Diary);

impl LocalHandler for Here {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, RequestError> {
        self.0.request(from, request).await
    }

    async fn session_changed(&self, connection: &Connection, change: SessionChange) {
        self.0.session_changed(connection, change).await;
    }
}

#[test]
fn handlers_of_one_thread_have_the_hook_as_well() {
    let (diary, told, _) = Diary::new();
    let (local, calls) = Local::new(Here(diary));
    std::thread::scope(|scope| {
        // The handler is used on this thread alone.
        let server = Running::new(Server::builder_on(runtime(), local));
        let address = server.address;
        scope.spawn(move || {
            let mut peer = Peer::connect(address);
            login(&mut peer, "ada");
            lines(&told, &["request login", "created: nobody to ada"]);
            drop(peer);
            lines(&told, &["lost: ada to nobody"]);
            drop(server);
        });
        smol::block_on(calls);
    });
}

/// The wire does not change by it.
#[test]
fn without_a_session_nothing_is_told() {
    let (server, told, _) = Diary::start();
    let mut peer = Peer::connect(server.address);
    peer.send(&restore(1, &"a".repeat(64)));
    assert_eq!(peer.message(), special(3, 1));
    peer.send(&close_session(2));
    assert_eq!(peer.message(), empty_reply(2));
    assert_eq!(peer.ask(3, "logout", "x"), answer(3, "false"));
    drop(peer);
    lines(&told, &["connected", "request logout", "disconnected, session: false"]);
}

#[test]
fn a_hook_that_waits_gives_the_next_user_nothing_of_the_one_before() {
    let (server, told, gates) = Diary::start();
    let mut peer = Peer::connect(server.address);
    login(&mut peer, "slow member");
    lines(&told, &["connected", "request login", "created: nobody to slow member"]);
    let connection = server.handle.connections().pop().unwrap();
    // The client's messages wait for the hook. The application does not.
    smol::block_on(async {
        assert_eq!(connection.close_session().await, Ok(true));
        connection.create_session(SessionInfo::new().public("user", "bob, member")).await.unwrap();
    });
    gates.open("hook");
    lines(&told, &["the hook has ended", "joined: Err(OtherSession)"]);
    lines(&told, &["closed by Application: slow member to nobody"]);
    assert!(server.handle.group("members").is_empty());
    gates.open("hook");
    let joined = "joined: Ok(true)";
    lines(&told, &["the hook has ended", "created: nobody to bob, member", joined]);
    assert_eq!(server.handle.group("members").len(), 1);
}
