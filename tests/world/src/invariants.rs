//! What holds in every world, by name.

use std::fmt;

/// What holds, whatever happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Each request has one outcome, and has it by its deadline.
    OneOutcome,
    /// The outcome is true: a reply is what the handler said, what was "not sent" never was.
    TrueOutcome,
    /// Each request that reaches a server is answered once, by the one it was sent to.
    OneAnswer,
    /// Each question of a server to a client has one outcome, and a true one, whatever happens.
    QuestionsEndOnce,
    /// No reply ends another request than its own.
    RepliesDoNotCross,
    /// The requests of a client are sent in the order of the calls, those of a connection handled
    /// in the order in which they were sent.
    RequestsInOrder,
    /// The signals of a connection arrive in order, none is lost in between, none comes twice.
    SignalsInOrder,
    /// A client that resumes signals misses none without being told so.
    GapsAreTold,
    /// No idempotent request is executed more than once.
    ExecutedOnce,
    /// The hubs know what the connections hold, no less and no more.
    RegistryIsUnion,
    /// No session is held by more connections than allowed.
    SessionLimit,
    /// A session that was closed for good is never restored.
    ClosedStaysClosed,
    /// With durable sessions, what the client was told of can be restored until it is closed.
    AnnouncedIsDurable,
    /// What the application is told of the session of a connection is a story: what was after one change is
    /// before the next one, each session begins and ends once, and edits end in order.
    ChangesTellAStory,
    /// After an edit that closes a session for the other connections, only the one that has asked for it
    /// holds the session, and no other one ever gets the new key from the server, unless its client has
    /// shown that it knows it.
    NewKeyIsForOne,
    /// All connections of a session have the same info, and so does the store, unless its answer was lost.
    InfoIsShared,
    /// A client holds the session that its connection does, once all is quiet.
    SessionsAgree,
    /// No queue is longer than configured, and none is taken for full that is not.
    QueuesBounded,
    /// After a timeout was handled, the next lies ahead; one too early does nothing.
    DeadlinesForward,
    /// A machine whose connection is over sends nothing and asks for nothing.
    SilentAfterClose,
    /// A client reports the close frame of the server, and stays away if it is to.
    CloseFramesAreTold,
    /// A connection that is to close has done so by its deadline, and a server that is to shut down
    /// has stopped by its own, whatever clients and the store do.
    ShutdownEnds,
    /// A server never has more connections than it may have, and refuses one only if it has as
    /// many, or shuts down.
    AdmissionLimit,
    /// Each job of the store is answered or times out, once, and not before its time.
    JobsEndOnce,
    /// Each caller that closes a session is told once how that ended, and the truth.
    WaitersAreTold,
    /// A session that a connection of the server holds never expires.
    InUseNeverExpires,
    /// Those are in a group that joined it and have neither left it nor the server.
    GroupsAreMembers,
    /// Of what a peer that reads slowly is sent, it gets what was accepted and not dropped, in order, and
    /// the last value of each name that is coalesced.
    LastValueWins,
    /// Each signal that was accepted is sent, waits, or counts as dropped.
    DroppedIsCounted,
    /// A server counts each request once when it starts and once when it ends, also when the connection ends
    /// before it, and each job of the store.
    CountersAddUp,
    /// During a shutdown idle connections stay while any handler of the server runs, if they are
    /// to; then all are closed, for the reason of the shutdown.
    IdleStay,
    /// A shutdown tells connections to shut down, to close, and drops them, each in its time.
    ShutdownInStages,
    /// No peer of ours gets a message that it cannot read, or more than it reads.
    OnlyReadable,
    /// Calls that fit the state of a machine are carried out, the others refused without effect.
    CallsAreHonoured,
    /// A client waits for as long as configured, when it connects and before it tries again: longer
    /// from failure to failure, and shortly again after a success.
    CloseTimeouts,
    /// A client does not come back before the time that a server has asked it to wait, unless its
    /// application wants it to.
    ComesWhenAsked,
    /// A preflight tells of one connection at most.
    PreflightsCountOnce,
    /// When the faults are over, clients are connected again and stay it.
    Recovery,
    /// Peers that are gone silently are noticed.
    SilenceIsNoticed,
    /// Peers that are there and keep to the rules are not taken for gone, nor sent away for less
    /// than is allowed.
    LifeIsNoticed,
    /// When all is over, nothing is left.
    MemoryFloor,
    /// The world comes to rest.
    Termination,
    /// No input makes a machine panic.
    NoPanic,
    /// The same seed repeats the same trace.
    SameTrace,
    /// What comes out of the bytes of a link is what was put in.
    BytesAreMessages,
    /// A host names each of its sockets for which there is something to do.
    NothingForgotten,
    /// The application of a host is told once that a connection is there, and once that it has ended, and of nothing
    /// before and after that.
    ConnectionsEndOnce,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 47] = [
        Self::OneOutcome,
        Self::TrueOutcome,
        Self::OneAnswer,
        Self::QuestionsEndOnce,
        Self::RepliesDoNotCross,
        Self::RequestsInOrder,
        Self::SignalsInOrder,
        Self::GapsAreTold,
        Self::ExecutedOnce,
        Self::RegistryIsUnion,
        Self::SessionLimit,
        Self::ClosedStaysClosed,
        Self::AnnouncedIsDurable,
        Self::ChangesTellAStory,
        Self::NewKeyIsForOne,
        Self::InfoIsShared,
        Self::SessionsAgree,
        Self::QueuesBounded,
        Self::DeadlinesForward,
        Self::SilentAfterClose,
        Self::CloseFramesAreTold,
        Self::ShutdownEnds,
        Self::AdmissionLimit,
        Self::JobsEndOnce,
        Self::WaitersAreTold,
        Self::InUseNeverExpires,
        Self::GroupsAreMembers,
        Self::LastValueWins,
        Self::DroppedIsCounted,
        Self::CountersAddUp,
        Self::IdleStay,
        Self::ShutdownInStages,
        Self::OnlyReadable,
        Self::CallsAreHonoured,
        Self::CloseTimeouts,
        Self::ComesWhenAsked,
        Self::PreflightsCountOnce,
        Self::Recovery,
        Self::SilenceIsNoticed,
        Self::LifeIsNoticed,
        Self::MemoryFloor,
        Self::Termination,
        Self::NoPanic,
        Self::SameTrace,
        Self::BytesAreMessages,
        Self::NothingForgotten,
        Self::ConnectionsEndOnce,
    ];
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which it is.
    pub invariant: Invariant,
    /// What was seen instead.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.text)
    }
}
