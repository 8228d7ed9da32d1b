//! Any sequence of calls and reports to the client machine, fitting its state or not: each request
//! has one outcome and that is true, nothing is sent without a connection or before its version is
//! settled, bounds and the rule of timeouts hold.
#![no_main]

mod client_world;

use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use wwr::client::{Config, Pings, Protocol};
use wwr::preflight::{Answer, ProbeFailed, Promise};
use wwr::wire::AcceptConf;
use wwr::{Name, Payload, SessionKey, Valid};

use client_world::World;

/// A run from beginning to end.
#[derive(Arbitrary, Debug)]
struct Run<'a> {
    limits: Limits,
    seed: u64,
    steps: Vec<Step<'a>>,
}

/// The settings, with small bounds, so that a short run meets them.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Limits {
    protocol: Protocol,
    skip_preflight: bool,
    sub_protocol: SubProtocol,
    /// In milliseconds, less ten.
    pings: Option<[u8; 2]>,
    reconnect: bool,
    #[arbitrary(with = |u: &mut arbitrary::Unstructured<'_>| u.int_in_range(1..=6))]
    pending_requests: usize,
    queued_bytes: u8,
    #[arbitrary(with = |u: &mut arbitrary::Unstructured<'_>| u.int_in_range(0..=3))]
    questions: u16,
    #[arbitrary(with = |u: &mut arbitrary::Unstructured<'_>| u.int_in_range(1..=3))]
    resume_attempts: u32,
    /// In milliseconds, less one: request, probe, dial, resume.
    timeouts: [u8; 4],
    needs_selection: bool,
    can_ping: bool,
}

/// The name of the application's protocol, on either side.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum SubProtocol {
    None,
    Ours,
    Another,
}

impl SubProtocol {
    fn name(self) -> Option<Bytes> {
        match self {
            Self::None => None,
            Self::Ours => Some(Bytes::from_static(b"ours/1")),
            Self::Another => Some(Bytes::from_static(b"another")),
        }
    }
}

impl Limits {
    fn config(self) -> Valid<Config> {
        let [request, probe, dial, resume] =
            self.timeouts.map(|timeout| Duration::from_millis(u64::from(timeout) + 1));
        let pings = self.pings.map(|times| {
            let [after, timeout] =
                times.map(|millis| Duration::from_millis(u64::from(millis) + 10));
            Pings::new(after, timeout)
        });
        let mut config = Config::default();
        config.sub_protocol = self.sub_protocol.name();
        config.protocol = self.protocol;
        config.skip_preflight = self.skip_preflight && self.protocol != Protocol::Auto;
        config.pings = pings;
        config.reconnect = self.reconnect;
        config.request_timeout = request;
        config.probe_timeout = probe;
        config.dial_timeout = dial;
        config.initial_backoff = Duration::from_millis(1);
        config.max_backoff = Duration::from_millis(64);
        config.backoff_reset_after = Duration::from_millis(32);
        config.max_pending_requests = self.pending_requests;
        config.max_queued_bytes = usize::from(self.queued_bytes);
        config.max_open_questions = self.questions;
        config.resume_attempts = self.resume_attempts;
        config.resume_timeout = resume;
        config.needs_selection = self.needs_selection;
        config.can_ping = self.can_ping;
        config.validate().expect("settings within their ranges")
    }
}

/// One thing that happens.
#[derive(Arbitrary, Debug)]
enum Step<'a> {
    // The application.
    Connect,
    Close,
    Request { name: Name, payload: Payload, timeout: Option<u8> },
    Restore { key: SessionKey, timeout: Option<u8> },
    CloseSession { timeout: Option<u8> },
    Cancel { back: u8 },
    Signal { name: Name, payload: Payload },
    Resume { key: SessionKey },
    // The host, as far as it has been asked.
    Probed,
    ProbedOdd(Result<Answer, ProbeFailed>),
    Opened { agreed: bool },
    Refused { status: u16, retry_after: Option<u8> },
    Lost,
    SignOfLife { is_pong: bool },
    Wake,
    PromisesAcceptConf(Promise),
    // The host, whether it has been asked or not.
    StrayProbed(Answer),
    StrayOpened,
    StrayDisconnect,
    // The server.
    Reply { back: u8, kind: u8, body: &'a [u8] },
    SessionReply { back: u8, key: u8 },
    SessionCreated { key: u8 },
    SessionClosed,
    AcceptConf { minor: u8, read_timeout: u16, buffer: u8, sub_protocol: SubProtocol },
    AcceptConfOdd(AcceptConf),
    Raw(&'a [u8]),
    // Time.
    Pass { millis: u16 },
    Due,
    Timeout,
    ClockRunsBack { millis: u16 },
}

fuzz_target!(|run: Run<'_>| {
    let mut world = World::new(&run.limits.config(), run.limits.bounds(), run.seed);
    for step in run.steps {
        perform(&mut world, step);
        world.check();
    }
    world.finish();
});

impl Limits {
    fn bounds(self) -> client_world::Bounds {
        client_world::Bounds {
            pending: self.pending_requests,
            queued_bytes: usize::from(self.queued_bytes),
            questions: self.questions,
            sub_protocol: self.sub_protocol.name(),
        }
    }
}

fn perform(world: &mut World, step: Step<'_>) {
    let millis = |millis: Option<u8>| millis.map(|millis| Duration::from_millis(millis.into()));
    match step {
        Step::Connect => world.connect(),
        Step::Close => world.close(),
        Step::Request { name, payload, timeout } => world.request(name, payload, millis(timeout)),
        Step::Restore { key, timeout } => world.restore(key, millis(timeout)),
        Step::CloseSession { timeout } => world.close_session(millis(timeout)),
        Step::Cancel { back } => world.cancel(back),
        Step::Signal { name, payload } => world.signal(&name, &payload),
        Step::Resume { key } => world.resume(key),
        Step::Probed => {
            let body = Bytes::from_static(b"{\"protocol-version\":\"1.4\"}\n");
            world.probed(Ok(Answer { status: 200, body, retry_after: None }));
        }
        Step::ProbedOdd(answer) => world.probed(answer),
        Step::Opened { agreed } => world.opened(agreed),
        Step::Refused { status, retry_after } => world.refused(status, millis(retry_after)),
        Step::Lost => world.lost(),
        Step::SignOfLife { is_pong } => world.sign_of_life(is_pong),
        Step::Wake => world.wake(),
        Step::PromisesAcceptConf(promise) => world.expect_accept_conf(promise),
        Step::StrayProbed(answer) => world.stray_probed(answer),
        Step::StrayOpened => world.stray_opened(),
        Step::StrayDisconnect => world.stray_disconnect(),
        Step::Reply { back, kind, body } => world.reply(back, kind, body),
        Step::SessionReply { back, key } => world.reply(back, 0xc0, session(key).as_bytes()),
        Step::SessionCreated { key } => {
            world.receive([b"\x15", session(key).as_bytes()].concat().into());
        }
        Step::SessionClosed => world.receive(Bytes::from_static(b"\x16")),
        Step::AcceptConf { minor, read_timeout, buffer, sub_protocol } => {
            world.advertise(&AcceptConf {
                major: 2,
                minor,
                read_timeout_ms: read_timeout.into(),
                message_buffer_size: buffer.into(),
                sub_protocol: sub_protocol.name(),
            })
        }
        Step::AcceptConfOdd(conf) => world.advertise(&conf),
        Step::Raw(bytes) => world.receive(Bytes::copy_from_slice(bytes)),
        Step::Pass { millis } => world.pass(Duration::from_millis(millis.into())),
        Step::Due => world.due(),
        Step::Timeout => world.timeout(),
        Step::ClockRunsBack { millis } => world.run_back(Duration::from_millis(millis.into())),
    }
}

/// The session that a server describes; few keys, so that the same ones meet.
fn session(key: u8) -> String {
    let key = SessionKey::from_entropy([key % 3; SessionKey::ENTROPY]);
    let time = "2018-06-13T10:20:30Z";
    format!("{{\"k\":\"{}\",\"c\":\"{time}\",\"l\":\"{time}\"}}", key.as_str())
}
