//! What the program does with the library; each step is `Some` if it went well.

use bytes::Bytes;
use wwr::server::{Hub, HubAction, HubConfig, StoreAnswer, Work};
use wwr::wire::{Encoder, Identifier, Message, decode};
use wwr::{
    Actions, Content, Dialect, Instant, Name, Payload, SessionInfo, SessionKey, UnixTime, Valid,
};
use wwr::{client, preflight, server};

pub(crate) const STEPS: &[fn() -> Option<()>] =
    &[reads, writes, refuses, converses, crate::bytes::carries];

fn reads() -> Option<()> {
    let frame = Bytes::from_static(b"\x41\x05alarm\0f\0i\0r\0e\0");
    let Ok(Message::Signal(content)) = decode(Dialect::V1_4, frame) else { return None };
    (content.name() == b"alarm" && content.text().ok()? == "fire").then_some(())
}

fn writes() -> Option<()> {
    let id = Identifier::from_counter(1);
    let content = Content::new(b"echo", &Payload::utf8("hi")).ok()?;
    let request = Message::Request { id, content };
    let frame = Encoder::new().encode(Dialect::V2_0, &request).ok()?;
    (decode(Dialect::V2_0, frame) == Ok(request)).then_some(())
}

fn refuses() -> Option<()> {
    decode(Dialect::V1_4, Bytes::from_static(b"\x7f")).is_err().then_some(())
}

/// All machines, joined by nothing but their actions: a login, and an echo.
fn converses() -> Option<()> {
    let now = Instant::EPOCH;
    let (mut ours, mut theirs, mut control) = (Actions::new(), Actions::new(), Actions::new());
    let mut hub = Hub::new(&Valid::<HubConfig>::default());
    let id = hub.admit(now).ok()?;
    hub.opened(now, id, &mut control);
    let config = Valid::<server::Config>::default();
    let observed = server::Observed::Preflight;
    let mut server = server::Connection::accept(&config, observed, now, &mut theirs);
    let mut client = client::Client::new(&Valid::default(), 7);
    client.connect(now, &mut ours);
    let login =
        client.request(now, Name::new("login").ok()?, "ada".into(), None, &mut ours).ok()?;

    let (mut open, mut waiting, mut outcome) = (false, None, None);
    while !(ours.is_empty() && theirs.is_empty() && control.is_empty()) {
        match ours.pop() {
            Some(client::Action::Probe) => {
                let body = config.metadata()?.to_body();
                let answer = preflight::Answer { status: 200, body, retry_after: None };
                client.handle_probed(now, Ok(answer), &mut ours);
            }
            Some(client::Action::Dial) => {
                client.handle_opened(now, None, &mut ours);
                open = true;
            }
            Some(client::Action::Send(frame)) => server.handle_message(now, frame, &mut theirs),
            Some(client::Action::Done { id, outcome: done }) if id == login => outcome = Some(done),
            _ => {}
        }
        match if open { theirs.pop() } else { None } {
            Some(server::Action::Send(frame)) => client.handle_message(now, frame, &mut ours),
            Some(server::Action::Request(request)) => {
                let key = SessionKey::from_entropy([7; SessionKey::ENTROPY]);
                let info = SessionInfo::new().public("name", &*request.content.text().ok()?);
                server.create_session(key, UnixTime::from_seconds(0), info, &mut theirs).ok()?;
                waiting = Some(request);
            }
            Some(server::Action::SessionEvent(server::SessionEvent::Created(..))) => {
                let request = waiting.take()?;
                let echo = request.content.into_payload();
                server.reply(request.id, Ok(echo), &mut theirs).ok()?;
            }
            Some(server::Action::Session(command)) => hub.handle(now, id, command, &mut control),
            _ => {}
        }
        match control.pop() {
            Some(HubAction::Deliver { outcome, .. }) => {
                server.handle_session(now, outcome, &mut theirs)
            }
            Some(HubAction::Store(job)) if matches!(job.work, Work::Create(_)) => {
                hub.answered(now, job.id, StoreAnswer::Created(Ok(())), &mut control);
            }
            _ => {}
        }
    }
    let name = client.session()?.info.value("name")?.as_str()? == "ada";
    (name && outcome == Some(Ok("ada".into()))).then_some(())
}
