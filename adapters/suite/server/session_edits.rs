//! Changes of the info and the key of a session, and groups that last as long as it: by an application on real
//! sockets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use wwr::server::RequestError;
use wwr::{Content, Payload, Session, SessionInfo, SessionKey, UnixTime};

use crate::adapter::server::{
    ClosedBy, Connection, Connections, Handler, Server, SessionChange, SessionEdit, SessionError,
};
use crate::adapter::{FileStore, MemoryStore, SessionStore, StoreError, StoreErrorKind, runtime};
use crate::suite::support::app::Gates;
use crate::suite::support::message::{
    NOT_FOUND, SESSION_CLOSED, answer, ask, close_session, empty_reply, restore, special,
};
use crate::suite::support::peer::Peer;
use crate::suite::support::{Running, SAFETY};

/// An application whose users have a role, and a room that their session gives them.
struct Club {
    lines: mpsc::Sender<String>,
}

fn role(session: &Session) -> String {
    let role = session.info.value("role").and_then(|role| role.as_str());
    role.unwrap_or("none").to_owned()
}

impl Handler for Club {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, RequestError> {
        let text = request.text().map_err(|_| RequestError::Internal)?.into_owned();
        let info = SessionInfo::new().public("role", text.as_str()).private("secret", 1);
        let told = |result: Result<Session, SessionError>| match result {
            Ok(session) => session.key.as_str().to_owned(),
            Err(error) => format!("{error:?}"),
        };
        Ok(Payload::utf8(match request.name() {
            b"login" => told(from.create_session(info).await),
            b"role" => told(from.update_session(info).await),
            b"rotate" => told(from.edit_session(SessionEdit::new().new_key()).await),
            b"take over" => told(
                from.edit_session(SessionEdit::new().info(info).new_key().close_others()).await,
            ),
            b"nothing" => told(from.edit_session(SessionEdit::new()).await),
            b"members" => from.server().group("room").len().to_string(),
            _ => text,
        }))
    }

    async fn session_changed(&self, of: &Connection, change: SessionChange) {
        let kind = match &change {
            SessionChange::Created { .. } | SessionChange::Restored { .. } => {
                assert_eq!(of.join_for_session("room"), Ok(true));
                "begins"
            }
            SessionChange::Updated { before, session } => {
                assert!(before.key == session.key && before.info != session.info);
                "updated"
            }
            SessionChange::Rotated { before, session } => {
                assert!(before.key != session.key);
                "rotated"
            }
            SessionChange::Closed { by: ClosedBy::OtherConnection, .. } => "is taken over",
            _ => "ends",
        };
        let role = change.after().or(change.before()).map(role).unwrap_or_default();
        let _ = self.lines.send(format!("{kind} {role}"));
    }
}

impl Club {
    fn start(store: impl SessionStore) -> (Running, mpsc::Receiver<String>) {
        let (sender, lines) = mpsc::channel();
        let builder = Server::builder_on(runtime(), Self { lines: sender });
        (Running::new(builder.store(store)), lines)
    }
}

/// The text of the reply that comes next.
fn text(peer: &mut Peer, id: u64) -> String {
    let reply = peer.message();
    assert_eq!(reply[..9], special(192, id));
    String::from_utf8(reply[9..].to_vec()).unwrap()
}

/// The session of the session-created message that comes next.
fn created(peer: &mut Peer) -> Session {
    let message = peer.message();
    assert_eq!(message[0], 21);
    Session::from_json(&message[1..]).unwrap()
}

fn login(peer: &mut Peer, role: &str) -> String {
    peer.send(&ask(1, "login", role));
    let session = created(peer);
    assert_eq!(text(peer, 1), session.key.as_str());
    session.key.as_str().to_owned()
}

fn resume(peer: &mut Peer, key: &str) -> Session {
    peer.send(&restore(1, key));
    Session::from_json(text(peer, 1).as_bytes()).unwrap()
}

fn lines(told: &mpsc::Receiver<String>, expected: &[&str]) {
    for line in expected {
        assert_eq!(told.recv_timeout(SAFETY).as_deref(), Ok(*line), "of {expected:?}");
    }
}

/// Changes the info and the key, on two connections, and returns the key.
fn change_all(server: &Running, told: &mpsc::Receiver<String>) -> String {
    let (mut ada, mut phone) = (Peer::connect(server.address), Peer::connect(server.address));
    let old = login(&mut ada, "guest");
    lines(told, &["begins guest"]);
    assert_eq!(role(&resume(&mut phone, &old)), "guest");
    lines(told, &["begins guest"]);

    ada.send(&ask(2, "role", "admin"));
    let session = created(&mut ada);
    assert_eq!((role(&session), session.key.as_str()), ("admin".into(), &*old));
    assert!(session.info.to_private().is_empty());
    assert_eq!(text(&mut ada, 2), old);
    assert_eq!(role(&created(&mut phone)), "admin");
    lines(told, &["updated admin", "updated admin"]);

    phone.send(&ask(3, "rotate", "x"));
    let new = created(&mut phone);
    assert_eq!((role(&new), text(&mut phone, 3)), ("admin".into(), new.key.as_str().into()));
    assert_eq!(created(&mut ada).key, new.key);
    lines(told, &["rotated admin", "rotated admin"]);

    let mut thief = Peer::connect(server.address);
    thief.send(&restore(1, &old));
    assert_eq!(thief.message(), special(NOT_FOUND, 1));
    assert_eq!(ada.ask(4, "members", "x"), answer(4, "2"));
    drop((ada, phone));
    lines(told, &["ends admin", "ends admin"]);
    let mut again = Peer::connect(server.address);
    assert_eq!(role(&resume(&mut again, new.key.as_str())), "admin");
    lines(told, &["begins admin"]);
    drop(again);
    lines(told, &["ends admin"]);
    assert_ne!(new.key.as_str(), old);
    new.key.as_str().to_owned()
}

#[test]
fn all_connections_of_a_session_learn_of_its_new_info_and_key() {
    let (server, told) = Club::start(MemoryStore::new());
    change_all(&server, &told);
}

#[test]
fn changes_of_a_session_survive_a_restart_of_the_server() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("sessions");
    let open = || crate::adapter::block_on(FileStore::open(&directory)).unwrap();
    let key = {
        let (server, told) = Club::start(open());
        change_all(&server, &told)
    };
    let files = std::fs::read_dir(&directory).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, [format!("{key}.wwrsess").as_str()], "one key lives");
    let (server, told) = Club::start(open());
    let mut peer = Peer::connect(server.address);
    assert_eq!(role(&resume(&mut peer, &key)), "admin");
    lines(&told, &["begins admin"]);
}

#[test]
fn a_group_of_a_session_has_no_member_whose_session_has_ended() {
    let (server, told) = Club::start(MemoryStore::new());
    let (mut ada, mut bob) = (Peer::connect(server.address), Peer::connect(server.address));
    login(&mut ada, "guest");
    let key = login(&mut bob, "guest");
    lines(&told, &["begins guest", "begins guest"]);
    assert_eq!(ada.ask(2, "members", "x"), answer(2, "2"));
    ada.send(&close_session(3));
    assert_eq!((ada.message(), ada.message()), (SESSION_CLOSED.into(), empty_reply(3)));
    assert_eq!(server.handle.group("room").len(), 1, "before the client is told");
    let key = SessionKey::new(key).unwrap();
    smol::block_on(server.handle.close_session(key, Connections::Keep)).unwrap();
    assert!(server.handle.group("room").is_empty());
    assert_eq!(bob.message(), SESSION_CLOSED);
    lines(&told, &["ends guest", "ends guest"]);
    assert_eq!(bob.ask(4, "echo", "still here"), answer(4, "still here"));
    let connection = server.handle.connections().pop().unwrap();
    assert!(connection.join_for_session("room").is_err());
    // Without a session there is nothing to change.
    let refused = "Misuse(NoSession)";
    assert_eq!(bob.ask(5, "role", "admin"), answer(5, refused));
    assert_eq!(bob.ask(6, "rotate", "x"), answer(6, refused));
    assert_eq!(bob.ask(7, "nothing", "x"), answer(7, refused));
}

#[test]
fn a_new_key_may_be_for_one_connection_while_the_session_is_closed_for_the_others() {
    let (server, told) = Club::start(MemoryStore::new());
    let (mut ada, mut thief) = (Peer::connect(server.address), Peer::connect(server.address));
    let old = login(&mut thief, "guest");
    resume(&mut ada, &old);
    lines(&told, &["begins guest", "begins guest"]);
    ada.send(&ask(2, "take over", "admin"));
    let session = created(&mut ada);
    assert_eq!(role(&session), "admin");
    assert_eq!(text(&mut ada, 2), session.key.as_str());
    // The next thing that it hears, and the last one about this session.
    assert_eq!(thief.message(), SESSION_CLOSED);
    let mut both = [(); 2].map(|()| told.recv_timeout(SAFETY).unwrap());
    both.sort();
    assert_eq!(both, ["is taken over guest", "rotated admin"]);
    thief.send(&restore(3, &old));
    assert_eq!(thief.message(), special(NOT_FOUND, 3));
    assert_eq!(thief.ask(4, "members", "x"), answer(4, "1"));
    assert_eq!(thief.ask(5, "role", "admin"), answer(5, "Misuse(NoSession)"));
    // An edit without any change is answered as well.
    assert_eq!(ada.ask(6, "nothing", "x"), answer(6, session.key.as_str()));
    drop(ada);
    lines(&told, &["ends admin"]);
    assert_eq!(
        role(&resume(&mut thief, session.key.as_str())),
        "admin",
        "for a client that knows it"
    );
    let stats = server.handle.stats().sessions;
    assert_eq!((stats.rotated, stats.updated, stats.closed, stats.lost), (1, 0, 1, 1));
}

/// Does not remove sessions while it is told so.
struct Stubborn(MemoryStore, Arc<AtomicBool>);

impl SessionStore for Stubborn {
    async fn create(&self, session: &Session) -> Result<(), StoreError> {
        self.0.create(session).await
    }

    async fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreError> {
        self.0.look_up(key, now).await
    }

    async fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
        if self.1.swap(false, Ordering::Relaxed) {
            return Err(StoreError::new(StoreErrorKind::Failed, "not now"));
        }
        self.0.destroy(key).await
    }
}

#[test]
fn a_take_over_that_fails_in_the_middle_changes_nothing_for_anybody() {
    let fails = Arc::new(AtomicBool::new(false));
    let store = Arc::new(Stubborn(MemoryStore::new(), fails.clone()));
    let (server, told) = Club::start(store.clone());
    let (mut ada, mut phone) = (Peer::connect(server.address), Peer::connect(server.address));
    let old = login(&mut ada, "guest");
    resume(&mut phone, &old);
    lines(&told, &["begins guest", "begins guest"]);
    fails.store(true, Ordering::Relaxed);
    assert_eq!(ada.ask(2, "take over", "admin"), answer(2, "Store"));
    for peer in [&mut ada, &mut phone] {
        assert_eq!(peer.ask(3, "nothing", "x"), answer(3, &old));
    }
    assert_eq!(store.0.len(), 1, "what was stored under the new key is removed");
    assert_eq!(role(&resume(&mut Peer::connect(server.address), &old)), "guest");
    lines(&told, &["begins guest"]);
}

/// Has no update of its own.
struct Simple(MemoryStore);

impl SessionStore for Simple {
    async fn create(&self, session: &Session) -> Result<(), StoreError> {
        self.0.create(session).await
    }

    async fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreError> {
        self.0.look_up(key, now).await
    }

    async fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
        self.0.destroy(key).await
    }
}

#[test]
fn a_store_that_cannot_change_sessions_leaves_them_as_they_are_and_rotates_keys() {
    let (server, told) = Club::start(Simple(MemoryStore::new()));
    let mut peer = Peer::connect(server.address);
    let old = login(&mut peer, "guest");
    lines(&told, &["begins guest"]);
    assert_eq!(peer.ask(2, "role", "admin"), answer(2, "Store"));
    let connection = server.handle.connections().pop().unwrap();
    assert_eq!(connection.session().as_ref().map(role).as_deref(), Some("guest"));
    peer.send(&ask(3, "rotate", "x"));
    let new = created(&mut peer);
    assert_eq!(text(&mut peer, 3), new.key.as_str());
    assert_ne!(new.key.as_str(), old);
    lines(&told, &["rotated guest"]);
}

/// Answers an update once its gate is opened.
struct Slow(MemoryStore, Arc<Gates>);

impl SessionStore for Slow {
    async fn create(&self, session: &Session) -> Result<(), StoreError> {
        self.0.create(session).await
    }

    async fn look_up(
        &self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreError> {
        self.0.look_up(key, now).await
    }

    async fn update(&self, key: &SessionKey, info: &SessionInfo) -> Result<bool, StoreError> {
        self.1.open("asked");
        self.1.pass("update").await;
        self.0.update(key, info).await
    }

    async fn destroy(&self, key: &SessionKey) -> Result<(), StoreError> {
        self.0.destroy(key).await
    }
}

#[test]
fn of_two_changes_at_once_the_last_one_wins_for_all() {
    let gates = Arc::<Gates>::default();
    let (server, told) = Club::start(Slow(MemoryStore::new(), gates.clone()));
    let (mut ada, mut phone) = (Peer::connect(server.address), Peer::connect(server.address));
    let key = login(&mut ada, "guest");
    resume(&mut phone, &key);
    lines(&told, &["begins guest", "begins guest"]);
    let [one, two] = <[Connection; 2]>::try_from(server.handle.connections()).unwrap();
    let info = |role: &str| SessionInfo::new().public("role", role);
    smol::block_on(async {
        let (mut first, mut second) = (
            Box::pin(one.update_session(info("first"))),
            Box::pin(two.update_session(info("second"))),
        );
        // Both are asked for before the store has answered.
        for waiting in [&mut first, &mut second] {
            assert!(smol::future::poll_once(waiting).await.is_none());
        }
        let mut late = Peer::connect(server.address);
        late.send(&restore(1, &key));
        gates.open("update");
        gates.open("update");
        let roles = [first.await, second.await].map(|session| role(&session.unwrap()));
        assert_eq!(roles, ["first", "second"]);
        text(&mut late, 1);
    });
    let last = [&mut ada, &mut phone].map(|peer| [role(&created(peer)), role(&created(peer))]);
    // The two connections have asked at the same time, so either may be the last one.
    assert_eq!(last[0], last[1]);
    let held = [&one, &two].map(|one| one.session().as_ref().map(role));
    assert_eq!(held, [Some(last[0][1].clone()), Some(last[0][1].clone())]);
}

#[test]
fn a_session_that_is_closed_meanwhile_is_not_changed() {
    let gates = Arc::<Gates>::default();
    let (server, told) = Club::start(Slow(MemoryStore::new(), gates.clone()));
    let mut peer = Peer::connect(server.address);
    let key = SessionKey::new(login(&mut peer, "guest")).unwrap();
    lines(&told, &["begins guest"]);
    peer.send(&ask(2, "role", "admin"));
    smol::block_on(async {
        gates.pass("asked").await;
        let closed = server.handle.close_session(key, Connections::Keep);
        let mut closed = Box::pin(closed);
        assert!(smol::future::poll_once(&mut closed).await.is_none());
        assert_eq!(peer.message(), SESSION_CLOSED);
        assert_eq!(text(&mut peer, 2), "Ended");
        gates.open("update");
        assert_eq!(closed.await.unwrap(), 1);
    });
    lines(&told, &["ends guest"]);
}
