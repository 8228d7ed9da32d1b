//! The hub, one call and all its actions at a time.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::num::NonZeroUsize;
use core::time::Duration;

use super::*;
use crate::session::{
    Edit, EditCommand, NewKey, OtherConnections, RegistryConfig, Session, SessionInfo,
};
use crate::time::UnixTime;

mod admission;
mod cluster;
mod edits;
mod expiry;
mod groups;
mod histories;
mod outcomes;
mod sessions;
mod shutdown;

/// A hub and what became of it.
struct Script {
    hub: Hub,
    out: Actions<HubAction>,
    now: Instant,
}

fn key(text: &str) -> SessionKey {
    SessionKey::new(text).unwrap()
}

fn session(text: &str) -> Box<Session> {
    Box::new(Session::new(key(text), UnixTime::from_seconds(0), SessionInfo::new()))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Script {
    fn new(config: HubConfig) -> Self {
        Self {
            hub: Hub::new(&config.validate().unwrap()),
            out: Actions::new(),
            now: Instant::EPOCH,
        }
    }

    /// A hub with this many open connections, whose identifiers count from 1.
    fn with(connections: u64, config: HubConfig) -> Self {
        let mut script = Self::new(config);
        for id in 1..=connections {
            assert_eq!(script.admit(), Ok(ConnectionId(id)));
            script.opened(id, &[]);
        }
        script
    }

    fn admit(&mut self) -> Result<ConnectionId, Refusal> {
        self.hub.admit(self.now)
    }

    #[track_caller]
    fn opened(&mut self, id: u64, expected: &[&str]) {
        self.hub.opened(self.now, ConnectionId(id), &mut self.out);
        self.expect(expected);
    }

    #[track_caller]
    fn left(&mut self, id: u64, expected: &[&str]) {
        self.hub.left(self.now, ConnectionId(id), &mut self.out);
        self.expect(expected);
    }

    #[track_caller]
    fn drained(&mut self, id: u64, expected: &[&str]) {
        self.hub.drained(self.now, ConnectionId(id), &mut self.out);
        self.expect(expected);
    }

    #[track_caller]
    fn asks(&mut self, id: u64, command: Command, expected: &[&str]) {
        self.hub.handle(self.now, ConnectionId(id), command, &mut self.out);
        self.expect(expected);
    }

    #[track_caller]
    fn answers(&mut self, job: u64, answer: StoreAnswer, expected: &[&str]) {
        self.hub.answered(self.now, JobId(job), answer, &mut self.out);
        self.expect(expected);
    }

    #[track_caller]
    fn shut_down(&mut self, within: u64, expected: &[&str]) {
        self.hub.shut_down(self.now, seconds(within), &mut self.out);
        self.expect(expected);
    }

    /// So many seconds pass, and the host calls as it should: not before something is due.
    #[track_caller]
    fn pass(&mut self, time: u64, expected: &[&str]) {
        self.now = self.now + seconds(time);
        self.hub.handle_timeout(self.now, &mut self.out);
        assert!(self.hub.next_timeout().is_none_or(|next| next > self.now));
        self.expect(expected);
    }

    /// When the hub wants to be called, in seconds.
    fn next(&self) -> Option<u64> {
        self.hub.next_timeout().map(|next| next.saturating_since(Instant::EPOCH).as_secs())
    }

    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        let mut lines = Vec::new();
        while let Some(action) = self.out.pop() {
            lines.push(line(&action));
        }
        assert_eq!(lines, expected);
    }
}

/// An action in a line.
fn line(action: &HubAction) -> String {
    let since_start = |at: &Instant| at.saturating_since(Instant::EPOCH).as_secs();
    match action {
        HubAction::Deliver { to, outcome } => {
            let change = match &outcome.change {
                Change::Restored(_) => "Restored".to_string(),
                Change::Updated { own, .. } => format!("Updated own {own}"),
                Change::Rotated { session, own } => {
                    format!("Rotated {} own {own}", session.key.as_str())
                }
                Change::ClosedByOther { destroyed: false } => "ClosedByOther".into(),
                Change::ClosedByOther { destroyed: true } => "ClosedByOther destroyed".into(),
                other => format!("{other:?}"),
            };
            format!("tell {} {} {change}", to.0, outcome.key.as_str())
        }
        HubAction::Recover { to, news } => format!("news for {}: {news:?}", to.0),
        HubAction::ShutDown { to, deadline, idle } => {
            format!("shut down {} by {} {idle:?}", to.0, since_start(deadline))
        }
        HubAction::Close { to } => format!("close {}", to.0),
        HubAction::Abort { to } => format!("abort {}", to.0),
        HubAction::MoveAway { to } => format!("move {} away", to.0),
        HubAction::Cluster(action) => format!("{action:?}"),
        HubAction::Store(Job { id, work }) => match work {
            Work::LookUp(key) => format!("job {} look up {}", id.0, key.as_str()),
            Work::Create(session) => format!("job {} create {}", id.0, session.key.as_str()),
            Work::Update(update) => format!("job {} update {}", id.0, update.key.as_str()),
            Work::Destroy(key) => format!("job {} destroy {}", id.0, key.as_str()),
            Work::Expire { unused_for, at } => {
                format!("job {} expire {unused_for:?} at {}", id.0, since_start(at))
            }
        },
        HubAction::StoreTimedOut { job } => format!("job {} timed out", job.0),
        HubAction::ExpirySkipped => "expiry skipped".to_string(),
        HubAction::Done { waiter, told, result } => {
            format!(
                "done {} told {told} {}",
                waiter.0,
                if result.is_ok() { "ok" } else { "failed" }
            )
        }
        HubAction::Stopped => "stopped".to_string(),
    }
}
