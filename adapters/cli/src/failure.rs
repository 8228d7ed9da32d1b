//! Failures between the command line and a server, and their texts.

use std::io;
use std::process::ExitCode;

use serde::Serialize;
use wwr::client::{ConnectError as Kind, Misuse, RequestError};
use wwr_smol::client::{ConnectError, Error, InvalidConfig};

use crate::deadline::OutOfTime;
use crate::settings::with_options;
use crate::stderr;
use crate::text::one_line;

/// Why a command that connects to a server failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{what}: {error}")]
    Read { what: String, error: io::Error },
    #[error("{what}: longer than the {most} bytes that a payload may have")]
    TooLong { what: String, most: u64 },
    /// An error in the combination of options and environment.
    #[error("{0}")]
    Setting(io::Error),
    #[error(transparent)]
    OutOfTime(#[from] OutOfTime),
    #[error("the payload is not UTF-8; send it with --encoding binary")]
    NotUtf8,
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(
        "a message of this --size has {length} bytes, the server reads at most {buffer}; send less, or \
         in 2.0 use --protocol 1.4 if the server speaks that too"
    )]
    LongerThanBuffer { length: u64, buffer: u64 },
    #[error("the inspection page at {address}: {reason}")]
    Inspection { address: String, reason: String },
    #[error("{0}")]
    Call(#[from] Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Setting(error)
    }
}

/// The cause of a failure, as an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    Server = 1,
    Caller = 2,
    Connection = 3,
    Time = 4,
}

/// The object that describes a failure. It follows the name that was to be sent, if any.
#[derive(Debug, Serialize)]
pub(crate) struct FailureRow {
    error: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    message: String,
}

impl Failure {
    /// Returns a name for programs, and the cause.
    fn class(&self) -> (&'static str, Blame) {
        match self {
            Self::Read { .. } => ("unreadable-payload", Blame::Caller),
            Self::TooLong { .. } => ("too-large", Blame::Caller),
            Self::Setting(_) => ("invalid-setting", Blame::Caller),
            Self::OutOfTime(_) => ("timed-out", Blame::Time),
            Self::NotUtf8 => ("not-utf8", Blame::Caller),
            Self::Config(_) => ("invalid-setting", Blame::Caller),
            Self::Connect(error) => of_connecting(error),
            Self::LongerThanBuffer { .. } => ("too-large", Blame::Caller),
            Self::Inspection { .. } => ("inspection-failed", Blame::Connection),
            Self::Call(Error::Request(error)) => of_request(error),
            Self::Call(Error::Misuse(misuse)) => of_misuse(misuse),
            Self::Call(Error::InvalidName(_)) => ("invalid-name", Blame::Caller),
            Self::Call(Error::Ended) => ("ended", Blame::Connection),
            Self::Call(_) => ("failed", Blame::Connection),
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.class().1 as u8)
    }

    /// Returns its name for programs, with the code if the application on the server sent one.
    pub(crate) fn kind_and_code(&self) -> String {
        let kind = self.class().0;
        match self {
            Self::Call(Error::Request(RequestError::Failed(error))) => {
                format!("{kind} {}", one_line(&error.code()))
            }
            _ => kind.into(),
        }
    }

    /// Returns whether the same call would fail again, at any server or at this one.
    pub(crate) fn is_of_the_caller(&self) -> bool {
        self.class().1 == Blame::Caller
    }

    /// Returns whether the server's answer is the failure.
    pub(crate) fn is_of_the_server(&self) -> bool {
        self.class().1 == Blame::Server
    }

    pub(crate) fn is_lost_connection(&self) -> bool {
        self.class().1 == Blame::Connection
    }

    pub(crate) fn is_out_of_time(&self) -> bool {
        self.class().1 == Blame::Time
    }

    pub(crate) fn row(&self) -> FailureRow {
        let (code, message) = match self {
            Self::Call(Error::Request(RequestError::Failed(error))) => {
                (Some(error.code().into_owned()), error.message().into_owned())
            }
            _ => (None, with_options(&self.to_string()).into_owned()),
        };
        FailureRow { error: self.class().0, code, message }
    }

    /// Reports the failure on standard error.
    pub(crate) fn tell(&self, command: &str) {
        let (kind, _) = self.class();
        stderr::say(&format!(
            "wwr {command}: {kind}: {}",
            one_line(&with_options(&self.to_string()))
        ));
    }
}

fn of_connecting(error: &ConnectError) -> (&'static str, Blame) {
    let name = error.kind().map_or("closed", Kind::name);
    match error.kind() {
        Some(Kind::ProbeTimedOut | Kind::DialTimedOut) => (name, Blame::Time),
        Some(_) | None => (name, Blame::Connection),
    }
}

fn of_request(error: &RequestError) -> (&'static str, Blame) {
    let blame = match error {
        RequestError::TimedOut { .. } => Blame::Time,
        RequestError::TooLarge { .. } => Blame::Caller,
        RequestError::Cancelled | RequestError::NotSent | RequestError::ConnectionLost => {
            Blame::Connection
        }
        _ => Blame::Server,
    };
    (error.name(), blame)
}

fn of_misuse(misuse: &Misuse) -> (&'static str, Blame) {
    match misuse {
        // The command has connected before: it has lost the connection.
        Misuse::NotConnected => ("connection-lost", Blame::Connection),
        _ => (misuse.name(), Blame::Caller),
    }
}
