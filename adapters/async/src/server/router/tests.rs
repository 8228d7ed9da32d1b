use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use allocation_counter::measure;
use serde::{Deserialize, Serialize};
use smol::block_on;
use wwr::{Content, InvalidName, Session, SessionInfo, SessionKey, UnixTime};

use super::*;
use crate::format::Json;
use crate::server::hub::tests::connection as ended;

/// Makes a request on a new connection with this session info.
fn ask_as(
    routes: &Routes<impl Handler>,
    info: Option<SessionInfo>,
    name: &str,
    payload: &Payload,
) -> Result<Payload, RequestError> {
    let connection = ended();
    if let Some(info) = info {
        let key = SessionKey::from_entropy([7; 48]);
        connection.show_session(Some(&Session::new(key, UnixTime::from_seconds(0), info)));
    }
    let request = Content::new(name.as_bytes(), payload).unwrap();
    block_on(routes.request(&connection, request))
}

fn ask(routes: &Routes<impl Handler>, name: &str, payload: &str) -> Result<String, RequestError> {
    let reply = ask_as(routes, None, name, &payload.into())?;
    Ok(reply.text().unwrap().into_owned())
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i32,
}

async fn nothing() {}

#[test]
fn arguments_are_taken_out_of_the_message() {
    async fn all(
        content: Content,
        text: String,
        Json(point): Json<Point>,
        connection: Connection,
        State(state): State<&'static str>,
        session: Option<Session>,
        call: Call,
    ) -> String {
        assert_eq!(content.payload(), text.as_bytes());
        assert_eq!(session, None);
        assert_eq!((call.kind(), call.name()), (CallKind::Request, &b"all"[..]));
        assert_eq!(call.connection().id(), connection.id());
        format!("{} {} {state}", call.name_str().unwrap(), point.x)
    }
    let routes = Router::with_state("state").request("all", all).build().unwrap();
    assert_eq!(ask(&routes, "all", r#"{"x":3}"#).unwrap(), "all 3 state");
}

#[test]
fn results_become_replies() {
    enum Mistake {
        Known,
    }
    impl From<Mistake> for RequestError {
        fn from(Mistake::Known: Mistake) -> Self {
            Self::failed("KNOWN", "")
        }
    }
    let routes = Router::new()
        .request("nothing", nothing)
        .request("json", async || Json(Point { x: 1 }))
        .request("text", async || "text")
        .request("own", async || Ok::<_, RequestError>(Ok::<_, Mistake>("inner".to_owned())))
        .request("mistake", async || Err::<(), _>(Mistake::Known))
        .request("unwritable", async || {
            Json([((1, 2), 3)].into_iter().collect::<std::collections::BTreeMap<_, _>>())
        })
        .build()
        .unwrap();
    for (name, reply) in
        [("nothing", ""), ("json", r#"{"x":1}"#), ("text", "text"), ("own", "inner")]
    {
        assert_eq!(ask(&routes, name, "").as_deref(), Ok(reply), "{name}");
    }
    assert_eq!(ask(&routes, "mistake", ""), Err(RequestError::failed("KNOWN", "")));
    assert_eq!(ask(&routes, "unwritable", ""), Err(RequestError::Internal));
}

#[test]
fn a_payload_that_cannot_be_read_reaches_no_handler() {
    let calls = AtomicUsize::new(0);
    let count = async |State(calls): State<AtomicUsize>, Json(_): Json<Point>| {
        calls.fetch_add(1, Ordering::Relaxed);
    };
    let router = Router::with_state(calls).request("count", count);
    let calls = router.state.clone();
    let routes = router.build().unwrap();
    for wrong in ["", "{", r#"{"x":"secret"}"#, r#"{"x":1} {}"#] {
        let refused = RequestError::failed("BAD_PAYLOAD", "the payload cannot be read");
        assert_eq!(ask(&routes, "count", wrong), Err(refused), "{wrong}");
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    ask(&routes, "count", r#"{"x":1}"#).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn sessions_have_the_type_of_the_handler() {
    #[derive(Deserialize)]
    struct User {
        name: String,
        admin: bool,
    }
    let routes = Router::new()
        .request("user", async |SessionOf(user): SessionOf<User>| {
            format!("{} {}", user.name, user.admin)
        })
        .request("maybe", async |user: Option<SessionOf<User>>| match user {
            Some(SessionOf(user)) => user.name,
            None => "nobody".to_owned(),
        })
        .request("raw", async |session: Session| session.info.names().collect::<String>())
        .build()
        .unwrap();
    let ask = |info: Option<&SessionInfo>, name| {
        let reply = ask_as(&routes, info.cloned(), name, &Payload::EMPTY)?;
        Ok(reply.text().unwrap().into_owned())
    };
    let needed = || Err(RequestError::failed("NO_SESSION", "a session is needed"));
    assert_eq!(ask(None, "user"), needed());
    assert_eq!(ask(None, "raw"), needed());
    assert_eq!(ask(None, "maybe"), Ok("nobody".into()));
    let ada = SessionInfo::new().public("name", "ada").private("admin", true);
    assert_eq!(ask(Some(&ada), "user"), Ok("ada true".into()));
    assert_eq!(ask(Some(&ada), "maybe"), Ok("ada".into()));
    assert_eq!(ask(Some(&ada), "raw"), Ok("adminname".into()));
    let other = SessionInfo::new().public("name", 7);
    assert_eq!(ask(Some(&other), "user"), Err(RequestError::Internal));
    assert_eq!(ask(Some(&other), "maybe"), Err(RequestError::Internal));
}

#[test]
fn names_without_a_handler_go_to_the_fallback_or_to_the_handler_below() {
    struct Below;
    impl Handler for Below {
        async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
            Ok(format!("below {}", request.name_str().unwrap_or("?")).into())
        }
    }
    let router = || Router::new().request("a", async || "a");
    let routes = router().build().unwrap();
    assert_eq!(ask(&routes, "a", ""), Ok("a".into()));
    let unknown = RequestError::failed("UNKNOWN_NAME", "there is no such request");
    assert_eq!(ask(&routes, "b", ""), Err(unknown));
    let routes = router().build_over(Below).unwrap();
    assert_eq!(ask(&routes, "a", ""), Ok("a".into()));
    assert_eq!(ask(&routes, "b", ""), Ok("below b".into()));
    let fallback = async |call: Call| format!("fallback {}", call.name_str().unwrap());
    let routes = router().fallback(fallback).build_over(Below).unwrap();
    assert_eq!(ask(&routes, "a", ""), Ok("a".into()));
    assert_eq!(ask(&routes, "b", ""), Ok("fallback b".into()));
}

#[test]
fn a_router_that_is_wrong_is_not_built() {
    let inner = || Router::with_state(1).request("b", nothing).signal("b", nothing);
    let (request, signal) = (CallKind::Request, CallKind::Signal);
    let duplicate = |kind, name: &str| InvalidRouter::Duplicate { kind, name: name.into() };
    for (router, wrong) in [
        (Router::new().request("a", nothing).request("a", nothing), duplicate(request, "a")),
        (Router::new().signal("a", nothing).signal("a", nothing), duplicate(signal, "a")),
        (Router::new().request("a.b", nothing).nest("a.", inner()), duplicate(request, "a.b")),
        (
            Router::new().request("naïve", nothing),
            InvalidRouter::Name {
                kind: request,
                name: "naïve".into(),
                reason: InvalidName::NotPrintable { position: 2, byte: 0xc3 },
            },
        ),
        (
            Router::new().nest(&"x".repeat(255), inner()),
            InvalidRouter::Name {
                kind: request,
                name: "x".repeat(255) + "b",
                reason: InvalidName::TooLong { length: 256 },
            },
        ),
        (Router::new().fallback(nothing).fallback(nothing), InvalidRouter::TwoFallbacks),
        (
            (0..300)
                .map(|number| format!("{number:0>250}"))
                .fold(Router::new().list_names(), |router, name| router.request(&name, nothing)),
            InvalidRouter::ListTooLong { length: 300 * 253 - 1 + 28 },
        ),
        (
            Router::new().nest("c.", Router::new().nest("a.", inner().fallback(nothing))),
            InvalidRouter::NestedFallback { prefix: "a.".into() },
        ),
    ] {
        assert_eq!(router.build().unwrap_err(), wrong);
    }
    let error = std::io::Error::from(duplicate(signal, "a"));
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "two handlers take the signal \"a\": remove or rename one");

    // A request and a signal may have the same name, and the empty name is one.
    let router = Router::new().request("", nothing).nest("a.", inner()).signal("z", nothing);
    let names = [(request, ""), (request, "a.b"), (signal, "a.b"), (signal, "z")];
    assert!(router.build().unwrap().names().eq(names));
}

#[test]
fn names_are_listed_if_the_outermost_router_says_so_with_those_of_the_handler_below() {
    fn names(routes: &impl Handler) -> Option<(String, String)> {
        let names = routes.listed_names()?;
        Some((names.requests.join(" "), names.signals.join(" ")))
    }
    let inner = || Router::new().request("b", nothing).signal("b", nothing).list_names();
    let outer = || Router::new().request("a", nothing).nest("x.", inner());
    assert_eq!(names(&outer().build().unwrap()), None);
    let routes = outer().list_names().build_over(inner().build().unwrap()).unwrap();
    assert_eq!(names(&routes), Some(("a b x.b".into(), "b x.b".into())));
    let silent = outer().build_over(inner().build().unwrap()).unwrap();
    assert_eq!(names(&silent), Some(("b".into(), "b".into())));
}

/// A layer that writes down when it begins and ends.
fn noting(
    log: &Arc<Mutex<Vec<String>>>,
    layer: &'static str,
) -> impl Fn(Call, Next) -> BoxFuture<'static, Result<Payload, RequestError>> + Send + Sync + 'static
{
    let log = log.clone();
    move |call, next| {
        let log = log.clone();
        Box::pin(async move {
            let name = call.name_str().unwrap().to_owned();
            log.lock().unwrap().push(format!("{layer} {name}"));
            let reply = next.run(call).await;
            log.lock().unwrap().push(format!("{layer} {}", reply.is_ok()));
            reply
        })
    }
}

#[test]
fn layers_run_around_the_handlers_of_their_router() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let inner = Router::new().request("c", nothing).layer(noting(&log, "inner"));
    let routes = Router::new()
        .request("a", nothing)
        .layer(noting(&log, "first"))
        .layer(noting(&log, "second"))
        .nest("b.", inner)
        .fallback(async || Err::<(), _>(RequestError::Internal))
        .build()
        .unwrap();
    for (name, order) in [
        ("a", &["first a", "second a", "second true", "first true"][..]),
        (
            "b.c",
            &["first b.c", "second b.c", "inner b.c", "inner true", "second true", "first true"],
        ),
        ("d", &["first d", "second d", "second false", "first false"]),
    ] {
        assert_eq!(ask(&routes, name, "").is_ok(), name != "d");
        assert_eq!(std::mem::take(&mut *log.lock().unwrap()), order, "{name}");
    }
}

#[test]
fn a_layer_can_refuse() {
    let locked = async |_: Call, _: Next| Err(RequestError::failed("LOCKED", ""));
    let admin = Router::new().request("stop", nothing).layer(locked);
    let routes = Router::new().request("ping", nothing).nest("admin.", admin).build().unwrap();
    assert_eq!(ask(&routes, "ping", ""), Ok(String::new()));
    assert_eq!(ask(&routes, "admin.stop", ""), Err(RequestError::failed("LOCKED", "")));
}

#[test]
fn hooks_of_all_routers_run_in_order() {
    type Log = Mutex<Vec<&'static str>>;
    struct Below(Arc<Log>);
    impl Handler for Below {
        async fn request(&self, _: &Connection, _: Content) -> Result<Payload, RequestError> {
            Err(RequestError::Internal)
        }

        async fn connected(&self, _: &Connection) {
            self.0.lock().unwrap().push("below");
        }

        async fn disconnected(&self, _: &Connection) {
            self.0.lock().unwrap().push("gone");
        }

        async fn signal(&self, _: &Connection, _: Content) {
            self.0.lock().unwrap().push("signal below");
        }
    }
    let log = Arc::<Log>::default();
    let note = |what: &'static str| {
        move |_: Connection, State(log): State<Arc<Log>>| async move { log.lock().unwrap().push(what) }
    };
    let inner = Router::with_state(log.clone()).connected(note("inner")).disconnected(note("left"));
    let fails = async |State(log): State<Arc<Log>>| {
        log.lock().unwrap().push("signal");
        Err::<(), _>(RequestError::Internal)
    };
    let routes = Router::with_state(log.clone())
        .connected(note("outer"))
        .nest("a.", inner)
        .signal("b", fails)
        .build_over(Below(log.clone()))
        .unwrap();
    let connection = ended();
    block_on(async {
        routes.connected(&connection).await;
        for name in [b"b", b"c"] {
            routes.signal(&connection, Content::new(name, &Payload::EMPTY).unwrap()).await;
        }
        routes.disconnected(&connection).await;
    });
    let order = ["outer", "inner", "below", "signal", "signal below", "left", "gone"];
    assert_eq!(*log.lock().unwrap(), order);
}

#[test]
fn a_hook_that_panics_does_not_keep_the_others_from_running() {
    type Log = Mutex<Vec<&'static str>>;
    struct Below(Arc<Log>);
    impl Handler for Below {
        async fn request(&self, _: &Connection, _: Content) -> Result<Payload, RequestError> {
            Err(RequestError::Internal)
        }

        async fn connected(&self, _: &Connection) {
            self.0.lock().unwrap().push("connected below");
        }

        async fn session_changed(&self, _: &Connection, _: SessionChange) {
            self.0.lock().unwrap().push("changed below");
        }

        async fn disconnected(&self, _: &Connection) {
            self.0.lock().unwrap().push("disconnected below");
        }
    }
    let log = Arc::<Log>::default();
    let note = |what: &'static str| {
        move |_: Connection, State(log): State<Arc<Log>>| async move { log.lock().unwrap().push(what) }
    };
    let note_change = |_: Connection, _: SessionChange, State(log): State<Arc<Log>>| async move {
        log.lock().unwrap().push("changed inside");
    };
    let inner = Router::with_state(log.clone())
        .connected(note("connected inside"))
        .session_changed(note_change)
        .disconnected(note("disconnected inside"));
    // One panics before its future exists, the others in it.
    let early = |_: Connection, _: State<()>| -> std::future::Ready<()> { panic!("early") };
    let routes = Router::new()
        .connected(early)
        .session_changed(async |_: Connection, _: SessionChange, _: State<()>| panic!("changed"))
        .disconnected(async |_: Connection, _: State<()>| panic!("disconnected"))
        .nest("a.", inner)
        .build_over(Below(log.clone()))
        .unwrap();
    let connection = ended();
    let key = SessionKey::from_entropy([7; 48]);
    let session = Session::new(key, UnixTime::from_seconds(0), SessionInfo::default());
    block_on(async {
        routes.connected(&connection).await;
        routes.session_changed(&connection, SessionChange::Lost { session }).await;
        routes.disconnected(&connection).await;
    });
    let order = [
        "connected inside",
        "connected below",
        "changed inside",
        "changed below",
        "disconnected inside",
        "disconnected below",
    ];
    assert_eq!(*log.lock().unwrap(), order);
}

#[test]
fn a_message_costs_one_allocation_and_one_for_each_layer() {
    let pass = async |call: Call, next: Next| next.run(call).await;
    let echo = async |_: Connection, _: State<()>, payload: Payload| payload;
    let wait = async |payload: Payload| {
        smol::future::yield_now().await;
        payload
    };
    let nested = Router::new().request("echo", echo).layer(pass).layer(pass);
    let routes = Router::new()
        .request("echo", echo)
        .request("wait", wait)
        .nest("nested.", nested)
        .build()
        .unwrap();
    let connection = ended();
    for (name, allocations) in [("echo", 1), ("wait", 1), ("nested.echo", 3), ("unknown", 0)] {
        let request = Content::new(name.as_bytes(), &"payload".into()).unwrap();
        let ask = || block_on(routes.request(&connection, request.clone()));
        let _ = ask();
        let counted = measure(|| assert_eq!(ask().is_ok(), name != "unknown"));
        assert_eq!(counted.count_total, allocations, "{name}");
    }
}
