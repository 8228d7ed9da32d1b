use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use async_tungstenite::tungstenite::protocol::Role;
use futures_lite::future::block_on;
use wwr::server::{ClosedBy, Fate, Observed};
use wwr::session::Outcome;
use wwr::{Content, Valid};

use super::*;
use crate::server::change::SessionChange;
use crate::server::connection::Ended;
use crate::server::hub::tests::{admitted, hub};
use crate::socket::{Socket, Transport};
use crate::test_runtime::{TestRuntime, TestStream};

struct Nothing;

impl Handler for Nothing {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }
}

/// Returns the size of the future that a function returns.
const fn size_of_future<A, B, F: Future>(_: &impl Fn(A, B) -> F) -> usize {
    size_of::<F>()
}

/// The memory of each idle connection on a server. A field that is added shows here; raise the
/// number if the field is needed.
#[cfg(target_pointer_width = "64")]
#[test]
fn an_idle_connection_is_small() {
    let run = |task: Box<Task<'static, Nothing, TestRuntime>>, admission| task.run(admission);
    let mut large = vec![
        ("the task", size_of::<Task<'_, Nothing, TestRuntime>>(), 1048),
        ("its future", size_of_future(&run), 384),
        ("the socket of it", size_of::<WebSocket<TestRuntime>>(), 336),
    ];
    large.retain(|(_, size, most)| size > most);
    assert_eq!(large, [], "name, size, and the most it may be");
}

/// Keeps the changes of the session that it is told.
#[derive(Default)]
struct Told(Mutex<Vec<SessionChange>>);

impl Handler for Told {
    async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(request.into_payload())
    }

    async fn session_changed(&self, _: &Connection, change: SessionChange) {
        self.0.lock().unwrap().push(change);
    }
}

/// The client closes its session and its socket at once.
#[test]
fn a_session_that_is_closed_when_the_socket_breaks_is_told_once() {
    let by_key = Change::ClosedByKey { disconnect: false };
    for (closes, news, expected) in [
        // The socket refuses the message to the client, and so the event after it is left.
        (false, by_key, (ClosedBy::Key, Fate::Destroyed)),
        (true, Change::Closed, (ClosedBy::Application, Fate::Destroyed)),
        (true, Change::Detached, (ClosedBy::Application, Fate::LivesOn)),
    ] {
        let told = told_of_close(closes, news.clone());
        let [
            SessionChange::Created { session },
            SessionChange::Closed { session: closed, by, fate },
        ] = &told[..]
        else {
            panic!("{told:?}")
        };
        assert_eq!(closed, session, "{news:?}");
        assert_eq!((*by, *fate), expected, "{news:?}");
    }
}

/// Returns what the hook is told of a session that is created on a connection whose socket breaks, after
/// these news have come, and before they are taken.
fn told_of_close(closes: bool, news: Change) -> Vec<SessionChange> {
    let (hub, handler) = (hub(), Told::default());
    let (admission, connection) = admitted(&hub);
    let (stream, mut peer) = TestStream::pair();
    let (socket, limit) = (Socket::new(Transport::native(stream)), Duration::from_secs(60));
    let mut socket = WebSocket::new(&TestRuntime, socket, Vec::new(), Role::Server, 1 << 20, limit);
    // After a close frame it takes no message any more.
    peer.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
    let closed = block_on(poll_fn(|cx| socket.poll_incoming(cx)));
    assert!(matches!(closed, Incoming::Closed(Some(_))), "{closed:?}");
    let mut out = Actions::new();
    let opened = Opened {
        machine: server::Connection::accept(
            &Valid::default(),
            Observed::Nothing,
            hub.clock.now(),
            &mut out,
        ),
        out,
        socket,
        timeouts: CloseTimeouts { close: limit, drain: limit },
        first: None,
        presumed: None,
    };
    let mut task = Task::new(&TestRuntime, hub.clone(), &handler, &connection, opened);
    task.create_session(SessionInfo::new()).unwrap();
    let key = std::iter::from_fn(|| task.out.pop()).find_map(|action| match action {
        Action::Session(wwr::session::Command::Create(session)) => Some(session.key.clone()),
        _ => None,
    });
    let key = key.unwrap();
    for change in [Change::Created, Change::Stored] {
        task.take_input(Input::Session(Outcome { key: key.clone(), change }));
    }
    while let Some(action) = task.out.pop() {
        if let Action::SessionEvent(event) = action {
            task.take_session_event(event);
        }
    }
    if closes {
        assert_eq!(task.machine.close_session(&mut task.out), Ok(true));
    }
    connection.push(Input::Session(Outcome { key, change: news }), 0).unwrap();
    block_on(task.run(admission));
    assert_eq!(connection.ended(), Some(Ended::Lost));
    handler.0.into_inner().unwrap()
}
