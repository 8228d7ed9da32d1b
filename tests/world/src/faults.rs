//! What goes wrong, what operators do, and what peers do that should not.

/// A fault, by the name under which it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A connection breaks; what is on its way is lost.
    Cut,
    /// The same, and one side learns of it late.
    CutLate,
    /// A direction, or both, loses everything silently.
    HalfOpen,
    /// A connection that fell silent breaks at last.
    SilenceEnds,
    /// A server admits no client for a while.
    RefusedDial,
    /// A server sends clients away and says when to come back.
    SentAway,
    /// A preflight is lost.
    ProbeLost,
    /// A peer reads slowly.
    SlowReader,
    /// Messages without meaning reach a client.
    NoiseToClient,
    /// The store takes long.
    StoreSlow,
    /// The store fails each time.
    StoreDown,
    /// The store fails.
    StoreFails,
    /// The store does what it was asked for and answers that it failed.
    StoreLosesAnswer,
    /// The store never answers.
    StoreNeverAnswers,
    /// A server stops silently.
    Crash,
    /// A server shuts down gracefully.
    Shutdown,
    /// A server that shuts down is told so again.
    ShutdownAgain,
    /// All connections that a server may have are taken.
    Full,
    /// A server starts again with another version.
    OtherVersion,
    /// Another server takes its place, of a version that no client speaks.
    ForeignServer,
    /// The clock of a server or client jumps ahead.
    ClockForward,
    /// It jumps back.
    ClockBack,
    /// The operator closes a session everywhere.
    CloseKey,
    /// The operator closes a connection.
    CloseConnection,
    /// Clients are sent to other servers.
    Rebalance,
    /// A host calls `handle_timeout` too early.
    EarlyTimeout,
    /// A peer sends heartbeats without a pause.
    HeartbeatStorm,
    /// A peer sends text.
    TextFrame,
    /// A peer sends a large message.
    Oversize,
    /// A peer sends malformed messages.
    Malformed,
    /// A peer sends messages of unknown types, or none.
    UnknownType,
    /// A peer sends what only servers send.
    ServerOnly,
    /// A peer guesses keys of sessions.
    KeyGuess,
    /// A peer continues the session of another, whose key it has.
    StolenKey,
    /// A peer sends requests without waiting, all with the same identifier.
    Flood,
    /// A peer stops reading.
    NeverReads,
    /// A peer is gone without closing.
    Vanished,
    /// The timers of a host come late for a while.
    LateTimers,
    /// A server starts again with another read timeout and message buffer.
    Reconfigured,
}
