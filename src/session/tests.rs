//! The registry, one call and all its effects at a time.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::num::NonZeroUsize;

use super::{
    Change, Command, ConnectionId, Edit, EditCommand, Effect, NewKey, OtherConnections, Registry,
    RegistryConfig, Session, SessionInfo, SessionKey, StoreFailed, Ticket,
};
use crate::actions::Actions;
use crate::time::UnixTime;

mod edits;
mod history;
mod matrix;
mod outcomes;
mod scenarios;
mod walk;

fn key(text: &str) -> SessionKey {
    SessionKey::new(text).unwrap()
}

fn session(text: &str) -> Box<Session> {
    Box::new(Session::new(key(text), UnixTime::from_seconds(1), SessionInfo::new()))
}

/// Info that can be told apart by a number.
fn numbered(number: u64) -> SessionInfo {
    SessionInfo::new().public("number", number)
}

/// The number of the info; 0 if there is no info.
fn number(info: &SessionInfo) -> u64 {
    info.value("number").and_then(serde_json::Value::as_u64).unwrap_or_default()
}

fn edit(text: &str, edit: Edit) -> Command {
    Command::Edit(Box::new(EditCommand { key: key(text), edit }))
}

fn new_key(to: &str, info: Option<SessionInfo>, others: OtherConnections) -> Edit {
    Edit::NewKey(NewKey { key: key(to), now: UnixTime::from_seconds(7), info, others })
}

/// A registry and a protocol of what it wants done. Connections are numbers; so are the questions
/// to the store, from 1, in the order in which they are asked.
struct Desk {
    registry: Registry,
    out: Actions<Effect>,
    tickets: BTreeMap<u64, (Ticket, SessionKey)>,
}

impl Desk {
    fn new() -> Self {
        Self::with(RegistryConfig::default())
    }

    fn limited(most: usize) -> Self {
        let max_connections = NonZeroUsize::new(most);
        Self::with(RegistryConfig { max_connections, durable: false })
    }

    fn durable() -> Self {
        Self::with(RegistryConfig { max_connections: None, durable: true })
    }

    fn with(config: RegistryConfig) -> Self {
        Self { registry: Registry::new(config), out: Actions::new(), tickets: BTreeMap::new() }
    }

    /// What the last call caused, one line each: `ask 1 lookup k`, `tell 5 k Restored`.
    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.effects(), expected);
    }

    fn effects(&mut self) -> Vec<String> {
        self.registry.assert_consistent();
        let mut lines = Vec::new();
        while let Some(effect) = self.out.pop() {
            let (ticket, key, what) = match effect {
                Effect::Lookup { ticket, key } => (ticket, key, "lookup"),
                Effect::Store { ticket, session } => (ticket, session.key, "store"),
                Effect::Update { ticket, update } => (ticket, update.key, "update"),
                Effect::Destroy { ticket, key } => (ticket, key, "destroy"),
                Effect::Renewed(result) => {
                    lines.push(format!("renewed {result:?}"));
                    continue;
                }
                Effect::Deliver { connection, outcome } => {
                    let key = outcome.key.as_str();
                    let change = match outcome.change {
                        Change::Restored(session) => {
                            assert_eq!(session.key.as_str(), key);
                            "Restored".into()
                        }
                        Change::Updated { info, own } => {
                            format!("Updated {} own {own}", number(&info))
                        }
                        Change::Rotated { session, own } => {
                            let (to, info) = (session.key.as_str(), number(&session.info));
                            format!("Rotated {to} {info} own {own}")
                        }
                        Change::ClosedByOther { destroyed: false } => "ClosedByOther".into(),
                        Change::ClosedByOther { destroyed: true } => {
                            "ClosedByOther destroyed".into()
                        }
                        other => format!("{other:?}"),
                    };
                    lines.push(format!("tell {} {key} {change}", connection.0));
                    continue;
                }
            };
            let number = self.tickets.len() as u64 + 1;
            lines.push(format!("ask {number} {what} {}", key.as_str()));
            self.tickets.insert(number, (ticket, key));
        }
        lines
    }

    #[track_caller]
    fn ask(&mut self, from: u64, command: Command, expected: &[&str]) {
        self.registry.handle(ConnectionId(from), command, &mut self.out);
        self.expect(expected);
    }

    #[track_caller]
    fn restore(&mut self, from: u64, text: &str, expected: &[&str]) {
        self.ask(from, Command::Restore(key(text)), expected);
    }

    #[track_caller]
    fn create(&mut self, from: u64, text: &str, expected: &[&str]) {
        self.ask(from, Command::Create(session(text)), expected);
    }

    #[track_caller]
    fn close(&mut self, from: u64, text: &str, expected: &[&str]) {
        self.ask(from, Command::Close(key(text)), expected);
    }

    #[track_caller]
    fn leave(&mut self, from: u64, text: &str) {
        self.ask(from, Command::Leave(key(text)), &[]);
    }

    #[track_caller]
    fn close_key(&mut self, text: &str, told: usize, expected: &[&str]) {
        assert_eq!(self.registry.close_key(key(text), false, &mut self.out), told);
        self.expect(expected);
    }

    #[track_caller]
    fn found(&mut self, question: u64, expected: &[&str]) {
        let (ticket, key) = self.tickets[&question].clone();
        let session = Box::new(Session { key, ..*session("whatever the store wrote") });
        self.registry.looked_up(ticket, Ok(Some(session)), &mut self.out);
        self.expect(expected);
    }

    #[track_caller]
    fn looked_up(&mut self, question: u64, answer: Result<(), StoreFailed>, expected: &[&str]) {
        let ticket = self.tickets[&question].0;
        self.registry.looked_up(ticket, answer.map(|()| None), &mut self.out);
        self.expect(expected);
    }

    #[track_caller]
    fn stored(&mut self, question: u64, answer: Result<(), StoreFailed>, expected: &[&str]) {
        self.registry.stored(self.tickets[&question].0, answer, &mut self.out);
        self.expect(expected);
    }

    #[track_caller]
    fn destroyed(&mut self, question: u64, answer: Result<(), StoreFailed>, expected: &[&str]) {
        self.registry.destroyed(self.tickets[&question].0, answer, &mut self.out);
        self.expect(expected);
    }

    #[track_caller]
    fn update(&mut self, from: u64, text: &str, number: u64, expected: &[&str]) {
        self.ask(from, edit(text, Edit::Info(numbered(number))), expected);
    }

    #[track_caller]
    fn rotate(&mut self, from: u64, text: &str, to: &str, expected: &[&str]) {
        self.ask(from, edit(text, new_key(to, None, OtherConnections::Keep)), expected);
    }

    /// A new key, info of this number, and the session is closed for all other connections.
    #[track_caller]
    fn take_over(&mut self, from: u64, text: &str, to: &str, number: u64, expected: &[&str]) {
        let what = new_key(to, Some(numbered(number)), OtherConnections::Close);
        self.ask(from, edit(text, what), expected);
    }

    #[track_caller]
    fn updated(&mut self, question: u64, answer: Result<bool, StoreFailed>, expected: &[&str]) {
        self.registry.updated(self.tickets[&question].0, answer, &mut self.out);
        self.expect(expected);
    }

    #[track_caller]
    fn renew(&mut self, text: &str, expected: &[&str]) {
        let begins = self.registry.renew(&key(text), &mut self.out);
        self.expect(expected);
        assert_eq!(begins, self.registry.connection_count(&key(text)) > 0);
    }

    /// The connections that hold the session.
    fn holders(&self, text: &str) -> Vec<u64> {
        let holders: Vec<_> = self.registry.connections(&key(text)).map(|id| id.0).collect();
        assert_eq!(self.registry.connection_count(&key(text)), holders.len());
        holders
    }

    #[track_caller]
    fn expect_idle(&self) {
        assert!(self.registry.is_idle());
        assert_eq!(self.registry.active_sessions(), 0);
    }
}
