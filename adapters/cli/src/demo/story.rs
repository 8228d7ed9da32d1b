//! What happens in the demo.

use core::time::Duration;
use std::time::Instant;

use smol::channel::{Receiver, Sender};
use smol::future::zip;
use wwr::client::{DisconnectReason, RequestError, Status};
use wwr::server::RequestError as Answer;
use wwr::{Content, Name, Payload, PreparedSignal, SessionKey};
use wwr_smol::client::{Client, Config, Error, Event, Events};
use wwr_smol::server::{Connection, Handler, Server, ServerHandle};

use super::relay::Relay;
use super::stage::{Stage, StoryError, expect, story_error};
use crate::playground::Playground;
use crate::runtime::Tasks;

type Told = Result<(), StoryError>;

/// How long the network is down.
const OUTAGE: Duration = Duration::from_millis(1000);
/// How long the request takes for which the shutdown waits, and the payload that asks for it.
const SLOW: (Duration, &str) = (Duration::from_millis(1500), "1500");

/// The playground, which reports when a slow request has begun.
struct Theatre {
    slow_request_began: Sender<()>,
}

impl Handler for Theatre {
    async fn request(&self, connection: &Connection, request: Content) -> Result<Payload, Answer> {
        if request.name() == b"sleep" {
            // The demo may have ended already.
            let _ = self.slow_request_began.try_send(());
        }
        Playground::default().request(connection, request).await
    }

    async fn signal(&self, connection: &Connection, signal: Content) {
        Playground::default().signal(connection, signal).await;
    }
}

/// All participants.
struct Cast {
    server: ServerHandle,
    running: smol::Task<()>,
    slow_request_began: Receiver<()>,
    relay: Relay,
    client: Client,
    events: Events,
}

/// Tells the story, and checks every step of it.
pub(super) async fn tell(stage: &mut Stage, tasks: &Tasks) -> Told {
    let started = Instant::now();
    let mut cast = connect(stage, tasks).await?;
    requests(stage, &cast).await?;
    error(stage, &cast).await?;
    signals(stage, &mut cast).await?;
    let key = login(stage, &mut cast).await?;
    outage(stage, &mut cast, &key).await?;
    kick(stage, tasks, &mut cast, &key).await?;
    shutdown(stage, tasks, cast).await?;
    stage.end(format_args!("That was WebWire, in {:.1} s.", started.elapsed().as_secs_f32()))?;
    Ok(())
}

async fn connect(stage: &mut Stage, tasks: &Tasks) -> Result<Cast, StoryError> {
    stage.step("A server listens, a client connects")?;
    let (began, slow_request_began) = smol::channel::bounded(1);
    let server = Server::builder(Theatre { slow_request_began: began }).executor(tasks.clone());
    let server = server.listen("127.0.0.1:0").await.map_err(story_error)?;
    let relay = Relay::start(server.local_addr(), tasks).await.map_err(story_error)?;
    stage.say(format_args!(
        "The server is on {}; the client sees {}, a relay that shows what passes.",
        server.local_addr(),
        relay.address(),
    ))?;
    let (handle, running) = (server.handle(), tasks.spawn(server.run()));
    let client = client(&relay, tasks)?;
    let events = client.events();
    client.connect().await.map_err(story_error)?;
    stage.show(&relay)?;
    let dialect = client.dialect();
    stage.good(format_args!("connected: the newest version that both speak is {dialect}"))?;
    let mut cast = Cast { server: handle, running, slow_request_began, relay, client, events };
    expect(cast.event().await? == Event::Connected, "the news of the connection")?;
    Ok(cast)
}

fn client(relay: &Relay, tasks: &Tasks) -> Result<Client, StoryError> {
    let (soon, later) = (Duration::from_millis(200), Duration::from_millis(800));
    let mut config = Config::default();
    (config.machine.initial_backoff, config.machine.max_backoff) = (soon, later);
    let url = format!("ws://{}/", relay.address());
    let client = Client::builder(&url).map_err(story_error)?;
    client.config(config).executor(tasks.clone()).build().map_err(story_error)
}

async fn requests(stage: &mut Stage, cast: &Cast) -> Told {
    stage.step("Requests, in three encodings")?;
    let texts: [Payload; 3] =
        [Payload::binary(vec![0x00, 0xff]), "h\u{e9}llo".into(), Payload::utf16("h\u{e9}llo")];
    for payload in texts {
        let reply = cast.client.request("echo", payload.clone()).await.map_err(story_error)?;
        expect(reply == payload, "the same payload in the same encoding")?;
    }
    stage.show(&cast.relay)?;
    stage.good("each came back as it was")?;
    Ok(())
}

async fn error(stage: &mut Stage, cast: &Cast) -> Told {
    stage.step("A request that fails")?;
    let result = cast.client.request("error", "NO_TEA there is coffee").await;
    stage.show(&cast.relay)?;
    let Err(Error::Request(RequestError::Failed(error))) = result else {
        return Err(story_error(format_args!("expected an error, got {result:?}")));
    };
    expect(error.code() == "NO_TEA", "the code NO_TEA")?;
    stage.good("a code for the program and a message for people")?;
    Ok(())
}

async fn signals(stage: &mut Stage, cast: &mut Cast) -> Told {
    stage.step("Signals, which have no reply")?;
    cast.client.signal("echo", "ping").await.map_err(story_error)?;
    let returned = cast.event().await?;
    let echo = Content::new(b"echo", &"ping".into()).map_err(story_error)?;
    expect(returned == Event::Signal(echo), "the signal to come back")?;
    let tea = Payload::utf16("tea is ready");
    let name = Name::new("news").map_err(story_error)?;
    let told = cast.server.signal_all(&PreparedSignal::new(&name, &tea).map_err(story_error)?);
    expect(told.sent == 1, "one client to tell")?;
    let news = Content::new(b"news", &tea).map_err(story_error)?;
    expect(cast.event().await? == Event::Signal(news), "the signal of the server")?;
    stage.show(&cast.relay)?;
    stage.good("one came back, the server sent another")?;
    Ok(())
}

async fn login(stage: &mut Stage, cast: &mut Cast) -> Result<SessionKey, StoryError> {
    stage.step("A login")?;
    cast.client.request("login", r#"{"user":"ada"}"#).await.map_err(story_error)?;
    let created = cast.event().await?;
    stage.show(&cast.relay)?;
    let Event::SessionCreated(session) = created else {
        return Err(story_error(format_args!("expected a session, got {created:?}")));
    };
    expect(session.info.value("user") == Some(&"ada".into()), "the session of ada")?;
    expect(cast.server.active_sessions() == 1, "one active session on the server")?;
    stage.good("server and client have a session, and the client has its key")?;
    Ok(session.key)
}

async fn outage(stage: &mut Stage, cast: &mut Cast, key: &SessionKey) -> Told {
    stage.step("The connection is cut")?;
    let cut = async {
        let began = cast.slow_request_began.recv().await;
        cast.relay.cut();
        began
    };
    let (lost, _) = zip(cast.client.request("sleep", "300"), cut).await;
    stage.show(&cast.relay)?;
    expect(lost == Err(RequestError::ConnectionLost.into()), "the request to be lost")?;
    stage.good("the request under way ends at once: whether the server acted is unknown")?;
    let event = cast.event().await?;
    let noticed =
        matches!(event, Event::Disconnected { reason: DisconnectReason::Lost, retry_in: Some(_) });
    expect(noticed, "the news of the loss")?;
    expect(cast.client.session().is_some_and(|s| s.key == *key), "the session to be kept")?;
    stage.good("the session is kept, and the client tries to connect by itself")?;

    stage.step("A request made while offline")?;
    let mend = async {
        stage.meanwhile("no network", OUTAGE, smol::Timer::after(OUTAGE)).await;
        let waiting = cast.client.pending_requests();
        let status = cast.client.status();
        cast.relay.mend();
        (waiting, status)
    };
    let (reply, (waiting, status)) = zip(cast.client.request("whoami", ""), mend).await;
    stage.show(&cast.relay)?;
    expect(waiting == 1, "the request to wait")?;
    expect(status != Status::Connected, "no connection during the outage")?;
    let reply = reply.map_err(story_error)?;
    let reply = reply.text().map_err(story_error)?;
    expect(reply.contains(key.as_str()), "the session in the reply")?;
    let restored = cast.event_after_failures().await?;
    let is_ours = matches!(&restored, Event::SessionRestored(session) if session.key == *key);
    expect(is_ours, "the session to be restored")?;
    expect(cast.event().await? == Event::Connected, "the news of the connection")?;
    stage.good("connected again: the client restored the session, then sent the request")?;
    Ok(())
}

async fn kick(stage: &mut Stage, tasks: &Tasks, cast: &mut Cast, key: &SessionKey) -> Told {
    stage.step("A second client shares the session, and closes it for both")?;
    let second = client(&cast.relay, tasks)?;
    second.connect().await.map_err(story_error)?;
    second.restore_session(key.clone()).await.map_err(story_error)?;
    let holders = cast.server.session_connections(key).len();
    expect(holders == 2, "two connections of the session")?;
    let told = second.request("kick", key.as_str().to_owned()).await.map_err(story_error)?;
    let closed = cast.event().await?;
    let whoami = cast.client.request("whoami", "").await;
    second.close().await;
    stage.show(&cast.relay)?;
    expect(told == "2".into(), "both to be told")?;
    expect(closed == Event::SessionClosed, "the session to be closed")?;
    let Err(Error::Request(RequestError::Failed(error))) = whoami else {
        return Err(story_error(format_args!("expected an error, got {whoami:?}")));
    };
    expect(error.code() == "NO_SESSION", "no session any more")?;
    stage.good("no client has that session any more, and none can restore it")?;
    Ok(())
}

async fn shutdown(stage: &mut Stage, tasks: &Tasks, cast: Cast) -> Told {
    stage.step("A graceful shutdown")?;
    let Cast { server, running, slow_request_began, relay, client, .. } = cast;
    let slow = client.request("sleep", SLOW.1);
    let shutting_down = async {
        let began = slow_request_began.recv().await;
        let shut_down = tasks.spawn({
            let server = server.clone();
            async move { server.shut_down(Duration::from_secs(10)).await }
        });
        while !server.is_shutting_down() {
            smol::future::yield_now().await;
        }
        let refused = client.request("echo", "too late?").await;
        (began, refused, shut_down)
    };
    let work = zip(slow, shutting_down);
    let (slow, (_, refused, shut_down)) =
        stage.meanwhile("a request is running", SLOW.0, work).await;
    shut_down.await;
    running.await;
    client.close().await;
    stage.show(&relay)?;
    expect(refused == Err(RequestError::ServerShutdown.into()), "new requests to be refused")?;
    expect(slow == Ok(SLOW.1.into()), "the running request to finish")?;
    expect(server.connection_count() == 0, "all connections to be closed")?;
    stage.good("new requests were refused, the running one got its reply, then all was closed")?;
    Ok(())
}

impl Cast {
    async fn event(&mut self) -> Result<Event, StoryError> {
        self.events.next().await.ok_or_else(|| story_error("the client has ended"))
    }

    /// Returns the next event, without those of attempts to connect while the network is down.
    async fn event_after_failures(&mut self) -> Result<Event, StoryError> {
        loop {
            let event = self.event().await?;
            if !matches!(event, Event::ConnectFailed { .. }) {
                return Ok(event);
            }
        }
    }
}
