//! Sessions that some connections change faster than another one reads, or than its hook ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use wwr::server::RequestError;
use wwr::{Content, Payload, Session, SessionInfo};

use crate::adapter::runtime;
use crate::adapter::server::{Connection, Handler, Server, SessionChange, SignalError};
use crate::suite::support::app::Gates;
use crate::suite::support::message::{ask, restore, special};
use crate::suite::support::peer::Peer;
use crate::suite::support::{Running, SAFETY, configured, until};

/// How often the session is changed. All changes together are far more than sockets have room for.
const CHANGES: u64 = 2000;

/// How many bytes may wait for a connection: the signals, what is written before the server notices that the
/// socket is full, and a little. All the changes together have much more.
const MOST: usize = (64 + 128 + 8) << 10;

/// An application whose hook waits at the gate "hook" when the session of the slow connection changes.
#[derive(Default)]
struct Counter {
    slow: Arc<AtomicU64>,
    gates: Arc<Gates>,
    told: Option<mpsc::Sender<(u64, u64)>>,
}

fn info(number: u64) -> SessionInfo {
    SessionInfo::new().public("number", number).public("padding", "x".repeat(2000))
}

fn number(session: &Session) -> u64 {
    session.info.value("number").and_then(|number| number.as_u64()).unwrap()
}

impl Handler for Counter {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, RequestError> {
        if request.name() == b"login" {
            return Ok(Payload::utf8(from.create_session(info(0)).await?.key.as_str()));
        }
        Ok(request.into_payload())
    }

    async fn session_changed(&self, of: &Connection, change: SessionChange) {
        if of.id() == self.slow.load(Ordering::Relaxed)
            && let (Some(before), Some(after)) = (change.before(), change.after())
            && let Some(told) = &self.told
        {
            let _ = told.send((number(before), number(after)));
            self.gates.pass("hook").await;
        }
    }
}

/// Sends signals until nothing gets through any more.
fn fill(connection: &Connection) {
    let payload = Payload::binary(vec![7; 10_000]);
    let mut rounds_without = 0;
    while rounds_without < 50 {
        match connection.signal("fill", payload.clone()) {
            Ok(()) => rounds_without = 0,
            Err(SignalError::Backlogged) => {
                rounds_without += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_connection_that_does_not_read_keeps_the_last_state_of_its_session_only() {
    let (sender, told) = mpsc::channel();
    let counter = Counter { told: Some(sender), ..Counter::default() };
    let (slow, gates) = (counter.slow.clone(), counter.gates.clone());
    let config = configured(|config| {
        config.limits.max_signal_backlog = 1 << 16;
        config.limits.stall_timeout = Duration::from_secs(3600);
    });
    let server = Running::new(Server::builder_on(runtime(), counter).config(config));
    let mut ada = Peer::connect(server.address);
    ada.send(&ask(1, "login", "x"));
    assert_eq!(ada.message()[0], 21);
    let key = String::from_utf8(ada.message()[9..].to_vec()).unwrap();
    let active = server.handle.connections().pop().unwrap();
    let mut phone = Peer::connect(server.address);
    phone.send(&restore(1, &key));
    assert_eq!(phone.message()[..9], special(192, 1));
    let sluggish =
        server.handle.connections().into_iter().find(|one| one.id() != active.id()).unwrap();
    slow.store(sluggish.id(), Ordering::Relaxed);

    fill(&sluggish);
    let reader = std::thread::spawn(move || {
        let mut last = 0;
        while last < CHANGES {
            let session = Session::from_json(&ada.message()[1..]).unwrap();
            assert!(number(&session) > last, "in order, and the last one in any case");
            last = number(&session);
        }
        ada
    });
    for count in 1..=CHANGES {
        smol::block_on(active.update_session(info(count))).unwrap();
    }
    let knows = |session: Option<Session>| session.is_some_and(|one| number(&one) == CHANGES);
    until(|| knows(sluggish.session()));
    reader.join().unwrap().is_served();
    let waiting = sluggish.stats().load.queued_bytes;
    assert!((1..MOST).contains(&waiting), "{waiting} bytes wait");

    let (mut sent, mut last) = (0, 0);
    while last < CHANGES {
        let message = phone.message();
        if message[0] == 21 {
            last = number(&Session::from_json(&message[1..]).unwrap());
            sent += 1;
        }
    }
    // The sockets may have had a little room once more.
    assert!(sent < CHANGES / 10, "{sent} of {CHANGES} changes were sent");
    // The hook of that connection has waited as well, and is told the rest as one change.
    assert_eq!(told.recv_timeout(SAFETY), Ok((0, 1)));
    gates.open("hook");
    assert_eq!(told.recv_timeout(SAFETY), Ok((1, CHANGES)));
    gates.open("hook");
    phone.is_served();
    assert!(told.try_recv().is_err());
}
