//! Why a call of the engine failed, without secrets.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a call of the engine failed.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The engine did not answer in time.
    Late,
    /// There is no connection, and the last attempt failed for this reason. The next one is made after this time.
    Unconnected { cause: Answer, pause: Duration },
    /// The engine, or the connection to it, said no.
    Failed(Answer),
}

/// What the engine or the system said.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Answer {
    pub(crate) reason: Reason,
    text: Arc<str>,
}

/// What an operator can do about it depends on this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// An attempt to connect took too long.
    ConnectTimeout,
    /// The socket failed, or was closed.
    Socket,
    /// One side does not trust the certificate of the other.
    Certificate,
    /// User or password are wrong or missing.
    Password,
    /// The user may not do this.
    Permission,
    /// A value of another kind has the name.
    WrongType,
    /// The engine cannot write: it is a replica.
    ReadOnly,
    /// The engine has no memory left.
    Memory,
    /// The engine is reading its data.
    Loading,
    /// The engine is a node of a cluster.
    Cluster,
    /// The engine does not have the script.
    NoScript,
    /// Sentinels do not know the master.
    NoMaster,
    /// It is too old, or not such an engine.
    Unsupported,
    /// The call was not made in a runtime of tokio.
    #[cfg(all(feature = "tokio", not(any(feature = "rustls", feature = "smol"))))]
    NoRuntime,
    /// Anything else.
    Other,
}

impl Answer {
    pub(crate) fn connect_timeout() -> Self {
        Self { reason: Reason::ConnectTimeout, text: "it took too long".into() }
    }

    #[cfg(all(feature = "tokio", not(any(feature = "rustls", feature = "smol"))))]
    pub(crate) fn no_runtime() -> Self {
        Self { reason: Reason::NoRuntime, text: "there is no runtime of tokio here".into() }
    }

    pub(crate) fn unexpected() -> Self {
        Self { reason: Reason::Unsupported, text: "the answer makes no sense".into() }
    }

    /// Reads an error of the library. `secrets` do not appear in the text.
    pub(crate) fn of(error: &RedisError, secrets: &[String]) -> Self {
        let said = error.to_string();
        let reason = reason(error, &said);
        // An engine that does not know a command repeats what it was given, such as the password.
        let repeats = said.contains("with args beginning with");
        let said = if repeats { "it does not know the command" } else { &said };
        let text = secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .fold(said.to_string(), |text, secret| text.replace(secret.as_str(), "[secret]"));
        Self { reason, text: text.into() }
    }
}

fn reason(error: &RedisError, said: &str) -> Reason {
    match error.kind() {
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound if error.is_timeout() => {
            Reason::ConnectTimeout
        }
        // The words of rustls. Its error cannot be reached from here.
        ErrorKind::Io if said.contains("peer certificate") || said.contains("fatal alert") => {
            Reason::Certificate
        }
        ErrorKind::Io | ErrorKind::ClusterConnectionNotFound => Reason::Socket,
        ErrorKind::AuthenticationFailed => Reason::Password,
        ErrorKind::Server(ServerErrorKind::NoPerm) => Reason::Permission,
        ErrorKind::Server(ServerErrorKind::ReadOnly) => Reason::ReadOnly,
        ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown) => {
            Reason::Loading
        }
        ErrorKind::Server(ServerErrorKind::NoScript) => Reason::NoScript,
        ErrorKind::Server(
            ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::CrossSlot
            | ServerErrorKind::ClusterDown,
        ) => Reason::Cluster,
        ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::EmptySentinelList => Reason::NoMaster,
        ErrorKind::RESP3NotSupported | ErrorKind::Parse => Reason::Unsupported,
        _ => match error.code() {
            Some("WRONGTYPE") => Reason::WrongType,
            Some("OOM") => Reason::Memory,
            Some("WRONGPASS" | "NOAUTH") => Reason::Password,
            _ if said.contains("unknown command") => Reason::Unsupported,
            _ => Reason::Other,
        },
    }
}

impl Reason {
    /// What to do about it. Names the setting.
    pub(crate) const fn advice(self) -> &'static str {
        match self {
            Self::ConnectTimeout => {
                "check that the engine is up and can be reached, or raise RedisConfig::connect_timeout"
            }
            Self::Socket => "check that the engine is up and can be reached",
            Self::Certificate => {
                "check RedisConfig::roots, RedisConfig::client_certificate, and the name in its certificate"
            }
            Self::Password => "check the user and the password in the URL of the engine",
            Self::Permission => {
                "allow its user the commands EVALSHA, EVAL, SET, GET, GETRANGE, SETRANGE, STRLEN, EXISTS, PEXPIRE, \
                 PERSIST and DEL on names that begin with RedisConfig::prefix; many nodes need more, see the README"
            }
            Self::WrongType => "choose a RedisConfig::prefix that nothing else uses",
            Self::ReadOnly => {
                "it is a replica: connect to the master, or find it by Engine::sentinel"
            }
            Self::Memory => "raise its maxmemory, or lower RedisConfig::expire_after",
            Self::Loading => "it is not ready yet",
            Self::Cluster => {
                "it is a cluster: use Engine::cluster, and check that all slots are served"
            }
            Self::NoMaster => "check the name of the master, which is the host in the URL",
            Self::NoScript => "allow scripts",
            Self::Unsupported => "it has to be Redis or Valkey, version 7 or newer",
            #[cfg(all(feature = "tokio", not(any(feature = "rustls", feature = "smol"))))]
            Self::NoRuntime => "use the feature `smol` of wwr-redis outside of tokio",
            Self::Other => "see its log",
        }
    }
}

impl Fault {
    /// What went wrong with this command, on this engine.
    pub(crate) fn describe(
        &self,
        engine: &dyn fmt::Display,
        verb: &str,
        within: Duration,
    ) -> String {
        match self {
            Self::Late => format!(
                "{engine} did not answer {verb} within {within:?}; check that it is up, or raise RedisConfig::timeout"
            ),
            Self::Unconnected { cause, pause } => format!(
                "there is no connection to {engine}; {} (it is tried again {pause:?} after the last attempt)",
                cause.reason.advice()
            ),
            Self::Failed(answer) => {
                format!("{engine} failed at {verb}; {}", answer.reason.advice())
            }
        }
    }

    /// What was said, if anything was.
    pub(crate) fn answer(self) -> Option<Answer> {
        match self {
            Self::Late => None,
            Self::Unconnected { cause: answer, .. } | Self::Failed(answer) => Some(answer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str, secrets: &[&str]) -> Answer {
        let line = format!("-{text}\r\n");
        let value = redis::parse_redis_value(line.as_bytes()).unwrap();
        let error = value.extract_error().unwrap_err();
        let secrets: Vec<_> = secrets.iter().map(ToString::to_string).collect();
        Answer::of(&error, &secrets)
    }

    #[test]
    fn what_an_engine_says_is_told_without_what_it_was_given() {
        let old =
            "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `ada`, `pw`, ";
        let answer = said(old, &[]);
        assert_eq!(answer.to_string(), "it does not know the command");
        assert_eq!(answer.reason, Reason::Unsupported);

        let answer = said("ERR something odd about hunter2", &["hunter2", ""]);
        assert!(answer.to_string().contains("odd about [secret]"), "{answer}");
    }

    #[test]
    fn what_an_engine_says_leads_to_advice() {
        for (text, reason) in [
            ("WRONGTYPE Operation against a key", Reason::WrongType),
            ("OOM command not allowed", Reason::Memory),
            ("WRONGPASS invalid username-password pair", Reason::Password),
            ("NOAUTH Authentication required.", Reason::Password),
            ("NOPERM this user has no permissions", Reason::Permission),
            ("READONLY You can't write against a read only replica.", Reason::ReadOnly),
            ("LOADING Redis is loading", Reason::Loading),
            ("MOVED 1 127.0.0.1:1", Reason::Cluster),
            ("NOSCRIPT No matching script.", Reason::NoScript),
            ("ERR anything", Reason::Other),
        ] {
            assert_eq!(said(text, &[]).reason, reason, "{text}");
        }
    }
}
