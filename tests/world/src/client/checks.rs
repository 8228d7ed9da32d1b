//! What holds for a client: each call has one outcome, and that is true.

use wwr::client::{
    Anomaly, ConnectError, DisconnectReason, Event as Told, Outcome, Question, RequestError,
    RequestId, Status,
};
use wwr::wire::{DecodeError, Kind};
use wwr::{CloseFrame, Content, Dialect, Instant, Payload, SessionKey, server};

use super::{Call, Host, Node, Open};
use crate::application::{NEWS, STATES, answer_to, leading_number};
use crate::coverage::{Fact, LinkState};
use crate::invariants::Invariant;
use crate::ledger::Token;
use crate::network::SocketId;
use crate::setup::{
    BACKOFF, BACKOFF_RESET_AFTER, FINAL_CODE, RESUME_ATTEMPTS, RESUME_TIMEOUT, STEP_TIMEOUT,
};
use crate::stage::Stage;
use crate::store::short;

impl Node {
    /// A machine was called: its bounds, and where it stands.
    pub(super) fn look_at(&mut self, stage: &mut Stage) {
        let link = match (self.machine.status(), self.host) {
            (Status::Idle, _) => LinkState::Idle,
            (Status::Closed, _) => LinkState::Closed,
            (Status::Waiting, _) => LinkState::Waiting,
            (Status::Connected, _) => LinkState::Ready,
            (Status::Connecting, Host::Open(_)) if self.resumes => LinkState::Resuming,
            (Status::Connecting, Host::Open(_)) => LinkState::AwaitingConf,
            (Status::Connecting, Host::Dialing(_)) => LinkState::Dialing,
            (Status::Connecting, Host::Probing(_) | Host::Nothing) => LinkState::Probing,
        };
        if link != self.link {
            stage.count(Fact::Link(self.link, link));
            (self.link, self.link_since) = (link, self.clock.latest());
        }
        let (actor, host) = (self.actor(), self.host);
        let fits = match link {
            LinkState::Idle | LinkState::Closed | LinkState::Waiting => host == Host::Nothing,
            LinkState::Ready => matches!(host, Host::Open(_)),
            _ => host != Host::Nothing,
        };
        stage.check(fits, Invariant::CallsAreHonoured, || {
            format!("{actor}: {link:?} with {host:?}")
        });
        let (pending, bytes) = (self.machine.pending_requests(), self.machine.queued_bytes());
        let bounded =
            pending <= self.settings.max_pending && bytes <= self.settings.max_queued_bytes;
        stage.check(bounded, Invariant::QueuesBounded, || {
            format!("{actor}: {pending} requests without an outcome, {bytes} bytes queued")
        });
        let open = self.open.len();
        stage.check(pending == open, Invariant::OneOutcome, || {
            format!("{actor}: {open} calls have no outcome, {pending} by its account")
        });
    }

    /// No call is without an outcome after its deadline.
    pub(super) fn check_deadlines(&self, now: Instant, stage: &mut Stage) {
        let late = self.open.iter().find(|(_, open)| open.deadline <= now);
        if let Some((id, open)) = late {
            let actor = self.actor();
            stage
                .check(false, Invariant::OneOutcome, || format!("{actor}: {id} is late: {open:?}"));
        }
    }

    /// No step of connecting takes longer than configured.
    pub(super) fn check_liveness_timeout(&self, stage: &mut Stage) {
        let most = match self.link {
            LinkState::Idle | LinkState::Ready | LinkState::Closed => return,
            LinkState::Probing | LinkState::Dialing | LinkState::AwaitingConf => STEP_TIMEOUT,
            LinkState::Resuming => RESUME_ATTEMPTS * (RESUME_TIMEOUT + BACKOFF.1),
            LinkState::Waiting => BACKOFF.1.max(self.asked_to_wait * 5 / 4),
        };
        let (actor, link, asked) = (self.actor(), self.link, self.resumptions);
        let since = self.clock.latest().saturating_since(self.link_since);
        let counts = !stage.time_is_torn && self.timers_rest_until == Instant::EPOCH;
        let fits = (since <= most || !counts) && asked <= RESUME_ATTEMPTS;
        stage.check(fits || !self.settings.hurries, Invariant::CloseTimeouts, || {
            format!("{actor}: {link:?} for {since:?}, asked for its session {asked} times")
        });
    }

    /// It goes to a server, and none has asked it to wait for longer.
    pub(super) fn check_wanted(&self, stage: &mut Stage) {
        let (actor, now, until) = (self.actor(), self.clock.latest(), self.unwanted_until);
        stage.check(now >= until, Invariant::ComesWhenAsked, || {
            format!("{actor}: comes at {now:?}, a server wants it at {until:?}")
        });
    }

    /// A message that wants a reply goes out.
    pub(super) fn sends(&mut self, socket: SocketId, frame: &[u8], stage: &mut Stage) {
        let actor = self.actor();
        let resumes = self.resumes || !self.is_connected();
        let open = self.call_of(frame).and_then(|id| self.open.get_mut(&id));
        let token = match open {
            Some(open) => {
                let is_first = !std::mem::replace(&mut open.sent, true);
                stage.check(is_first, Invariant::OneAnswer, || {
                    format!("{actor}: a call is sent twice: {open:?}")
                });
                match open.call {
                    Call::Request(token) => Some(token),
                    Call::Restore(_) | Call::CloseSession => None,
                }
            }
            // The resumption of the session is not a call of the application.
            None if resumes => None,
            None => {
                let text = frame.escape_ascii().to_string();
                return stage.check(false, Invariant::TrueOutcome, || {
                    format!("{actor}: sends what has no outcome to come: {text}")
                });
            }
        };
        self.check_in_time(frame, stage);
        if let Some(token) = token {
            let is_first = stage.ledger.sends(token, socket);
            stage.check(is_first, Invariant::OneAnswer, || {
                format!("{actor}: request {token} is sent twice")
            });
            let before = self.sent_last.replace(token);
            stage.check(before < Some(token), Invariant::RequestsInOrder, || {
                format!("{actor}: request {token} is sent after {before:?}")
            });
        }
    }

    /// What goes out is still of use to the caller, also when the timers are late.
    fn check_in_time(&self, frame: &[u8], stage: &mut Stage) {
        let latest = self.clock.latest();
        let open = self.call_of(frame).and_then(|id| self.open.get(&id));
        let late = open.filter(|open| open.deadline < latest);
        let actor = self.actor();
        stage.check(late.is_none(), Invariant::OneOutcome, || {
            format!("{actor}: is sent after its deadline: {late:?}")
        });
    }

    /// The server reads messages of this length: it has said how long they may be.
    pub(super) fn check_length(&self, socket: SocketId, length: usize, stage: &mut Stage) {
        let is_bounded = self.machine.dialect().rules().bounded_by_buffer;
        let (actor, most) = (self.actor(), self.reads_at_most);
        stage.check(!is_bounded || length <= most, Invariant::OnlyReadable, || {
            format!("{actor}: {length} bytes on #{socket} for a server that reads {most}")
        });
    }

    /// A client reports the close frame of the server, and heeds it.
    fn check_close_frame(
        &self,
        told: Option<CloseFrame>,
        retry: Option<Instant>,
        stage: &mut Stage,
    ) {
        let actor = self.actor();
        let (said, code) = (&self.close_frame, told.as_ref().map(CloseFrame::code));
        stage.check(told == *said, Invariant::CloseFramesAreTold, || {
            format!("{actor}: is told of {told:?}, the server said {said:?}")
        });
        let stays = retry.is_none();
        stage.check(stays || code != Some(FINAL_CODE), Invariant::CloseFramesAreTold, || {
            format!("{actor}: comes back after {code:?}")
        });
        if code == Some(FINAL_CODE) {
            stage.count(Fact::Told("told to stay away"));
        }
    }

    /// It will try again, or not.
    fn check_pause(&mut self, retry: Option<Instant>, stage: &mut Stage) {
        let Some(until) = retry else {
            (self.failures, self.losses) = (0, 0);
            return;
        };
        let Some((first, most)) = self.settings.backoff else { return };
        let failures = self.losses + self.failures;
        let whole = first.saturating_mul(1 << failures.min(20)).min(most);
        let pause = until.saturating_since(self.clock.latest());
        let (actor, asked) = (self.actor(), self.asked_to_wait);
        let expected = (whole / 2).max(asked)..=whole.max(asked * 5 / 4);
        stage.check(expected.contains(&pause), Invariant::CloseTimeouts, || {
            format!("{actor}: waits for {pause:?} after {failures} failures, asked for {asked:?}")
        });
    }

    pub(super) fn done(&mut self, id: RequestId, outcome: Outcome, stage: &mut Stage) {
        let actor = self.actor();
        let name = outcome.as_ref().map_or_else(name_of, |_| "Ok");
        stage.count(Fact::Outcome(name));
        stage.trace.note(stage.now, actor, 6, name.as_bytes(), || format!("{id}: {outcome:?}"));
        if let Some(record) = &mut stage.record {
            record.outcomes.insert((self.id, id), outcome.clone());
        }
        let Some(open) = self.open.remove(&id) else {
            return stage.check(false, Invariant::OneOutcome, || {
                format!("{actor}: {id} has no outcome to come: {outcome:?}")
            });
        };
        if let Err(RequestError::TimedOut { sent: true }) = outcome {
            self.unheard += 1;
        }
        let waiting = self.out.len();
        self.machine.cancel(id, &mut self.out);
        stage.check(self.out.len() == waiting, Invariant::OneOutcome, || {
            format!("{actor}: {id} is cancelled after its end, and has another outcome")
        });
        let latest = self.clock.latest();
        let fits = match &outcome {
            Err(RequestError::TimedOut { sent }) => *sent == open.sent && open.deadline <= latest,
            Err(RequestError::NotSent | RequestError::TooLarge { .. }) => !open.sent,
            Err(RequestError::Cancelled) => open.cancelled,
            Err(RequestError::ConnectionLost) => open.sent,
            Ok(_) => open.sent || open.call == Call::CloseSession,
            Err(_) => open.sent,
        };
        stage.check(fits, Invariant::TrueOutcome, || {
            format!("{actor}: {open:?} ends as {outcome:?}")
        });
        match open.call {
            Call::Request(token) => self.check_reply(token, &open, &outcome, stage),
            Call::Restore(_) => self.restored = Some(outcome),
            Call::CloseSession => {}
        }
    }

    fn check_reply(&self, token: Token, open: &Open, outcome: &Outcome, stage: &mut Stage) {
        let actor = self.actor();
        let number = match outcome {
            Ok(payload) => leading_number(payload.as_bytes()),
            Err(RequestError::Failed(error)) => leading_number(error.message_bytes()),
            Err(_) => None,
        };
        let crossed = number.is_some_and(|number| number != token as u64);
        stage.check(!crossed, Invariant::RepliesDoNotCross, || {
            format!("{actor}: request {token} got the reply to {number:?}")
        });
        let entry = stage.ledger.entry(token);
        let (reply, reached) = (entry.reply.clone(), entry.reached);
        use server::RequestError as Said;
        let is_true = match outcome {
            Ok(payload) => reply.as_ref() == Some(&Ok(payload.clone())),
            Err(RequestError::Failed(error)) => match &reply {
                Some(Err(Said::Failed { code, message })) => {
                    error.code() == code.as_str() && error.message() == *message
                }
                _ => false,
            },
            Err(RequestError::Internal) => {
                matches!(reply, Some(Err(Said::Internal | Said::Protocol | Said::SessionsDisabled)))
            }
            Err(RequestError::Protocol) => reply == Some(Err(Said::Protocol)),
            Err(RequestError::SessionsDisabled) => reply == Some(Err(Said::SessionsDisabled)),
            Err(
                RequestError::NotSent
                | RequestError::TimedOut { sent: false }
                | RequestError::TooLarge { .. }
                | RequestError::ServerShutdown,
            ) => !reached,
            Err(
                RequestError::ConnectionLost
                | RequestError::Cancelled
                | RequestError::TimedOut { sent: true },
            ) => true,
            Err(
                RequestError::SessionNotFound
                | RequestError::MaxSessionConnections
                | RequestError::InvalidSession(_),
            ) => false,
            Err(other) => unreachable!("{other:?} has no check"),
        };
        stage.check(is_true, Invariant::TrueOutcome, || {
            format!(
                "{actor}: request {token}, {open:?}, ends as {outcome:?}, the handler said {reply:?}"
            )
        });
    }

    pub(super) fn told(&mut self, event: Told, stage: &mut Stage) {
        let actor = self.actor();
        stage.count(Fact::Told(name_of_event(&event)));
        let code = name_of_event(&event);
        stage.trace.note(stage.now, actor, 7, code.as_bytes(), || format!("is told: {event:?}"));
        if let Some(record) = &mut stage.record {
            record.told.entry(self.id).or_default().push(event.clone());
        }
        match event {
            Told::Connected => {
                (self.failures, self.connected_since) = (0, self.clock.latest());
            }
            Told::ConnectFailed { error, retry } => {
                let told = match error {
                    ConnectError::ClosedBeforeReady(frame) => Some(frame),
                    _ => None,
                };
                // A server may also turn out not to suit by its last word.
                if told.is_some() {
                    self.check_close_frame(told, retry, stage);
                }
                self.check_pause(retry, stage);
                self.failures += u32::from(retry.is_some());
            }
            Told::Disconnected { retry, reason } => {
                let silent = reason == DisconnectReason::Silent;
                match reason {
                    DisconnectReason::ClosedByServer(frame) => {
                        self.check_close_frame(Some(frame), retry, stage);
                    }
                    DisconnectReason::Lost => self.check_close_frame(None, retry, stage),
                    DisconnectReason::Closed
                    | DisconnectReason::Silent
                    | DisconnectReason::Incompatible
                    | DisconnectReason::TooManyQuestions => {}
                    other => unreachable!("{other:?} has no check"),
                }
                let lasted = self.clock.latest().saturating_since(self.connected_since);
                if lasted >= BACKOFF_RESET_AFTER {
                    self.losses = 0;
                }
                self.check_pause(retry, stage);
                self.losses += u32::from(retry.is_some());
                if silent {
                    self.check_end(stage);
                }
            }
            Told::Question(Question { id, content }) => {
                let is_new = self.questions.insert(id);
                stage.check(is_new, Invariant::QuestionsEndOnce, || {
                    format!("{actor}: is asked {id:?} twice")
                });
                if let Some(answer) = answer_to(content.payload()) {
                    let now = self.clock.latest();
                    self.questions.remove(&id);
                    let sent = self.machine.answer(now, id, answer, &mut self.out);
                    let again = self.machine.answer(now, id, Ok(Payload::EMPTY), &mut self.out);
                    stage.check(sent && !again, Invariant::QuestionsEndOnce, || {
                        format!("{actor}: {id:?} is answered: {sent}, and again: {again}")
                    });
                }
            }
            Told::QuestionCancelled(id) => {
                let was_open = self.questions.remove(&id);
                stage.check(was_open, Invariant::QuestionsEndOnce, || {
                    format!("{actor}: {id:?} is cancelled, and was not open")
                });
            }
            Told::Signal(content) if content.name() == NEWS.as_bytes() => {
                let Host::Open(socket) = self.host else { return };
                let expected = format!("{socket}/{}", self.signals);
                self.signals += 1;
                let fits = content.payload() == expected.as_bytes();
                stage.check(fits, Invariant::SignalsInOrder, || {
                    format!(
                        "{actor}: signal {} instead of {expected}",
                        content.payload().escape_ascii()
                    )
                });
            }
            Told::Signal(content) => self.check_state(&content, stage),
            Told::SessionCreated(session) | Told::SessionUpdated(session) => {
                self.check_announced(&session.key, stage);
                stage.ledger.session(&session.key).announced = true;
            }
            Told::SessionRestored(session) => {
                let known = stage.ledger.sessions.contains_key(&session.key);
                stage.check(known, Invariant::TrueOutcome, || {
                    format!("{actor}: restored {}, which nobody made", short(&session.key))
                });
            }
            Told::Anomaly(Anomaly::Unreadable(error)) => {
                let noisy = self.socket().is_some_and(|socket| stage.network.is_noisy(socket));
                // Clients of 1.x ignore it (protocol §4.5).
                let is_accept_conf = error == DecodeError::UnknownKind(Kind::AcceptConf.as_byte());
                stage.check(
                    noisy || is_accept_conf || self.is_signal_without_payload(&error),
                    Invariant::OnlyReadable,
                    || format!("{actor}: {error}"),
                );
            }
            _ => {}
        }
    }

    /// One of the signals of which some may be dropped: none comes too late, and those of names that keep
    /// their order do so.
    fn check_state(&mut self, content: &Content, stage: &mut Stage) {
        let name = STATES.iter().position(|name| name.as_bytes() == content.name());
        let (Some(name), Host::Open(socket)) = (name, self.host) else { return };
        let text = content.text().unwrap_or_default();
        let number = text.strip_prefix(&format!("{socket}/")).and_then(|text| text.parse().ok());
        // The place of a value that is replaced is that of the first: others may be newer.
        let before = match name {
            0 | 1 => self.states[0].max(self.states[1]),
            _ => self.states[name],
        };
        self.states[name] = number;
        let actor = self.actor();
        stage.check(number.is_some() && number > before, Invariant::LastValueWins, || {
            format!("{actor}: {} {text:?} after {before:?}", STATES[name])
        });
    }

    /// A server that did not see the preflight of a client, or forgot it, may not know that a
    /// client speaks 1.x, and send it signals without payload, which 1.x ignores (protocol §7.2).
    fn is_signal_without_payload(&self, error: &DecodeError) -> bool {
        let is_signal = matches!(
            error,
            DecodeError::Malformed { kind: Kind::SignalBinary | Kind::SignalUtf8, .. }
        );
        let is_old = matches!(self.machine.dialect(), Dialect::V1_4 | Dialect::V1_5);
        is_signal && is_old
    }

    /// A client is told of a session: if sessions are durable, the store has it.
    fn check_announced(&self, key: &SessionKey, stage: &mut Stage) {
        let unwanted = stage.ledger.session(key).unwanted;
        let kept = stage.store.keeps(key);
        let (actor, durable) = (self.actor(), stage.durable);
        stage.check(!durable || unwanted || kept, Invariant::AnnouncedIsDurable, || {
            format!("{actor}: {} is announced and not stored", short(key))
        });
    }

    /// All is quiet: nothing is left to come.
    pub(crate) fn check_rest(&self, stage: &mut Stage) {
        let (actor, open, bytes) = (self.actor(), self.open.len(), self.machine.queued_bytes());
        let pending = self.machine.pending_requests();
        let rests = open == 0 && bytes == 0 && pending == 0;
        stage.check(rests, Invariant::OneOutcome, || {
            format!("{actor} at rest: {open} calls without an outcome, {bytes} bytes queued")
        });
    }
}

fn name_of(error: &RequestError) -> &'static str {
    match error {
        RequestError::Failed(_) => "Failed",
        RequestError::Internal => "Internal",
        RequestError::ServerShutdown => "ServerShutdown",
        RequestError::SessionNotFound => "SessionNotFound",
        RequestError::MaxSessionConnections => "MaxSessionConnections",
        RequestError::SessionsDisabled => "SessionsDisabled",
        RequestError::Protocol => "Protocol",
        RequestError::InvalidSession(_) => "InvalidSession",
        RequestError::TimedOut { sent: true } => "TimedOut, sent",
        RequestError::TimedOut { sent: false } => "TimedOut, not sent",
        RequestError::Cancelled => "Cancelled",
        RequestError::NotSent => "NotSent",
        RequestError::TooLarge { .. } => "TooLarge",
        RequestError::ConnectionLost => "ConnectionLost",
        _ => "another error",
    }
}

const fn name_of_event(event: &Told) -> &'static str {
    match event {
        Told::Connected => "Connected",
        Told::Disconnected { reason: DisconnectReason::Lost, .. } => "Disconnected, lost",
        Told::Disconnected { reason: DisconnectReason::ClosedByServer(_), .. } => {
            "Disconnected, closed by the server"
        }
        Told::Disconnected { reason: DisconnectReason::Closed, .. } => "Disconnected, closed",
        Told::Disconnected { reason: DisconnectReason::Silent, .. } => "Disconnected, silent",
        Told::Disconnected { reason: DisconnectReason::Incompatible, .. } => {
            "Disconnected, incompatible"
        }
        Told::ConnectFailed { .. } => "ConnectFailed",
        Told::Signal(_) => "Signal",
        Told::Question(_) => "Question",
        Told::QuestionCancelled(_) => "QuestionCancelled",
        Told::SessionCreated(_) => "SessionCreated",
        Told::SessionUpdated(_) => "SessionUpdated",
        Told::SessionRestored(_) => "SessionRestored",
        Told::SessionClosed => "SessionClosed",
        Told::SessionLost(_) => "SessionLost",
        Told::Anomaly(_) => "Anomaly",
        _ => "another event",
    }
}
