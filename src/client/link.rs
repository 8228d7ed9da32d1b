//! The connection: its states and transitions.

use core::time::Duration;

use super::action::{Action, Anomaly, DisconnectReason, Event, SessionLoss};
use super::error::ConnectError;
use super::inbound::Reply;
use super::machine::Client;
use super::requests::RequestId;
use crate::actions::Actions;
use crate::close::CloseFrame;
use crate::session::{Position, SessionKey};
use crate::time::Instant;
use crate::wire::{SpecialReply, length};

/// The state of the connection.
#[derive(Debug)]
pub(super) enum Link {
    /// Not asked to connect yet, or stopped trying.
    Idle,
    /// The preflight is under way.
    Probing { deadline: Instant },
    /// The WebSocket is being opened.
    Dialing { deadline: Instant },
    /// The WebSocket is open. The client does not know yet whether the server advertises 2.0.
    AwaitingConf { deadline: Instant },
    /// The WebSocket is open, and the session held is not resumed yet.
    Resuming(Resumption),
    /// Requests and signals can be sent.
    Ready { since: Instant },
    /// Pausing before the next attempt, which may come `earliest` if it is asked for.
    Waiting { until: Instant, earliest: Instant },
    /// The application closed it.
    Closed,
}

/// The resumption of a session on a new connection.
#[derive(Debug)]
pub(super) struct Resumption {
    /// All attempts use the same identifier, so that a late answer still counts.
    pub(super) id: RequestId,
    /// The session's key. If the client holds another session by now, this one does not matter any
    /// more.
    key: SessionKey,
    /// How often the server was asked.
    attempts: u32,
    /// How many of these have no answer yet. An answer that comes after the resumption has ended
    /// counts, too.
    unanswered: u32,
    step: Step,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The server was asked.
    Asked { deadline: Instant },
    /// It will be asked again.
    Pausing { until: Instant },
}

/// The state of a client, as far as an application cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not asked to connect yet, or stopped trying: nothing happens without `connect`.
    Idle,
    /// An attempt to connect is under way.
    Connecting,
    /// Requests and signals are sent at once.
    Connected,
    /// The next attempt to connect comes after a pause.
    Waiting,
    /// Closed by the application: nothing happens without `connect`.
    Closed,
}

impl Link {
    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Idle | Self::Ready { .. } | Self::Closed => None,
            Self::Probing { deadline }
            | Self::Dialing { deadline }
            | Self::AwaitingConf { deadline } => Some(*deadline),
            Self::Waiting { until, .. } => Some(*until),
            Self::Resuming(resumption) => Some(match resumption.step {
                Step::Asked { deadline } => deadline,
                Step::Pausing { until } => until,
            }),
        }
    }

    /// Returns whether the WebSocket is open and the version known.
    pub(super) const fn knows_version(&self) -> bool {
        match self {
            Self::Resuming(_) | Self::Ready { .. } => true,
            Self::Idle
            | Self::Probing { .. }
            | Self::Dialing { .. }
            | Self::AwaitingConf { .. }
            | Self::Waiting { .. }
            | Self::Closed => false,
        }
    }

    pub(super) const fn status(&self) -> Status {
        match self {
            Self::Idle => Status::Idle,
            Self::Probing { .. }
            | Self::Dialing { .. }
            | Self::AwaitingConf { .. }
            | Self::Resuming(_) => Status::Connecting,
            Self::Ready { .. } => Status::Connected,
            Self::Waiting { .. } => Status::Waiting,
            Self::Closed => Status::Closed,
        }
    }
}

/// What the host reports about the connection.
impl Client {
    /// Reports that the WebSocket ended without a close frame of the server, or could not be
    /// opened. Ignored if the client did not ask for one.
    ///
    /// Requests that were sent end as [`ConnectionLost`](super::RequestError::ConnectionLost).
    /// Those that were not sent stay queued if the client will connect again, and otherwise end as
    /// [`NotSent`](super::RequestError::NotSent).
    pub fn handle_disconnect(&mut self, now: Instant, out: &mut Actions<Action>) {
        self.advance(now);
        match self.link {
            Link::Dialing { .. } => self.dial_failed(out),
            Link::AwaitingConf { .. } => self.lost_before_version(out),
            Link::Resuming(_) => self.fail(ConnectError::LostBeforeReady, out),
            Link::Ready { since } => self.lose(since, DisconnectReason::Lost, out),
            Link::Idle | Link::Probing { .. } | Link::Waiting { .. } | Link::Closed => {}
        }
    }

    /// Reports that the server has closed the WebSocket with a close frame. Like
    /// [`handle_disconnect`](Self::handle_disconnect), but the client does not connect again by
    /// itself if the code is [final](super::Config::final_close_codes).
    pub fn handle_closed(&mut self, now: Instant, frame: CloseFrame, out: &mut Actions<Action>) {
        self.advance(now);
        match self.link {
            Link::Dialing { .. } => self.dial_failed(out),
            Link::AwaitingConf { .. } => {
                self.forget_server();
                self.fail(ConnectError::ClosedBeforeReady(frame), out);
            }
            Link::Resuming(_) => self.fail(ConnectError::ClosedBeforeReady(frame), out),
            Link::Ready { since } => self.lose(since, DisconnectReason::ClosedByServer(frame), out),
            Link::Idle | Link::Probing { .. } | Link::Waiting { .. } | Link::Closed => {}
        }
    }

    /// Does what is due: ends requests whose deadline has passed, gives up a phase of connecting
    /// that takes too long, makes the next attempt, sends a heartbeat or a ping, gives up a silent
    /// server. A no-op before [`next_timeout`](Self::next_timeout).
    ///
    /// Hand over what the socket has ready before this call: what was not read yet counts as not
    /// sent.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Actions<Action>) {
        let now = self.advance(now);
        self.end_expired(out);
        self.release_queued(out);
        self.check_expiry(out);
        if self.link.deadline().is_some_and(|deadline| deadline <= now) {
            self.handle_link_timeout(out);
        }
        self.check_liveness(out);
        // Last, because anything sent before makes it unnecessary.
        self.beat(out);
    }

    /// Sends a heartbeat if one is due, and gives up a server that has closed the connection by its own rule (see
    /// [`wake`](Self::wake)). A part of [`handle_timeout`](Self::handle_timeout), for a host that comes late and has yet to
    /// read what has arrived meanwhile.
    pub fn keep_alive(&mut self, now: Instant, out: &mut Actions<Action>) {
        self.advance(now);
        self.check_expiry(out);
        self.beat(out);
    }

    fn handle_link_timeout(&mut self, out: &mut Actions<Action>) {
        match core::mem::replace(&mut self.link, Link::Idle) {
            Link::Probing { .. } => self.probe_timed_out(out),
            Link::Dialing { .. } => self.dial_timed_out(out),
            link @ Link::AwaitingConf { .. } => {
                self.link = link;
                self.conf_timed_out(out);
            }
            Link::Waiting { .. } => self.attempt(out),
            Link::Resuming(resumption) => match resumption.step {
                Step::Asked { .. } => {
                    let now = self.now();
                    if let Some(liveness) = &mut self.liveness {
                        liveness.timed_out(now, resumption.id);
                    }
                    self.pause_resumption(resumption, out);
                }
                Step::Pausing { .. } => self.ask_again_for_session(resumption, out),
            },
            link @ (Link::Idle | Link::Ready { .. } | Link::Closed) => self.link = link,
        }
    }
}

/// The transitions.
impl Client {
    /// An attempt failed. The next one comes after a pause, unless it would fail likewise.
    pub(super) fn fail(&mut self, error: ConnectError, out: &mut Actions<Action>) {
        self.fail_for(error, None, out);
    }

    /// Like `fail`, for a server that has named the shortest pause.
    pub(super) fn fail_for(
        &mut self,
        error: ConnectError,
        retry_after: Option<Duration>,
        out: &mut Actions<Action>,
    ) {
        let told_to_stay_away = match &error {
            ConnectError::ClosedBeforeReady(frame) => self.is_final(frame.code()),
            _ => false,
        };
        let retry = if error.is_definite() || told_to_stay_away {
            self.link = Link::Idle;
            self.backoff.reset();
            self.forget_server();
            None
        } else {
            let pause = self.backoff.after_failure();
            let wanted = retry_after.unwrap_or_default().min(self.config.max_retry_after);
            let wanted = self.backoff.beyond(wanted);
            self.wait_or_idle(pause.max(wanted), wanted)
        };
        self.forget_offers();
        out.push(Action::Event(Event::ConnectFailed { error, retry }));
        self.end_queued_unless(retry, out);
        self.end_questions(out);
    }

    /// A connection that was ready has ended.
    fn lose(&mut self, since: Instant, reason: DisconnectReason, out: &mut Actions<Action>) {
        let retry = match &reason {
            DisconnectReason::ClosedByServer(frame) if self.is_final(frame.code()) => {
                self.link = Link::Idle;
                self.backoff.reset();
                None
            }
            _ => {
                let pause = self.backoff.after_loss(self.now().saturating_since(since));
                self.wait_or_idle(pause, Duration::ZERO)
            }
        };
        out.push(Action::Event(Event::Disconnected { reason, retry }));
        self.keep_or_end_sent(retry.is_some(), out);
        self.end_queued_unless(retry, out);
        self.end_questions(out);
    }

    /// Hangs up on a server that has fallen silent or asks too much.
    pub(super) fn give_up_server(&mut self, reason: DisconnectReason, out: &mut Actions<Action>) {
        out.push(Action::Hangup);
        match self.link {
            Link::Ready { since } => self.lose(since, reason, out),
            _ => self.fail(ConnectError::LostBeforeReady, out),
        }
    }

    /// The WebSocket is open, but the server does not suit.
    pub(super) fn refuse(&mut self, error: ConnectError, out: &mut Actions<Action>) {
        out.push(Action::Hangup);
        if let Link::Ready { .. } = self.link {
            let reason = DisconnectReason::Incompatible;
            out.push(Action::Event(Event::Disconnected { reason, retry: None }));
        }
        self.fail(error, out);
        let will_retry = matches!(self.link, Link::Waiting { .. });
        self.keep_or_end_sent(will_retry, out);
    }

    /// The version is known.
    pub(super) fn start(&mut self, out: &mut Actions<Action>) {
        match self.session_key().cloned() {
            Some(key) => {
                let id = self.requests.next_id();
                let step = Step::Pausing { until: self.now() };
                let first = Resumption { id, key, attempts: 0, unanswered: 0, step };
                self.ask_for_session(first, out);
            }
            None => self.become_ready(out),
        }
    }

    /// Returns whether the client must not reconnect by itself after a close frame with this code.
    fn is_final(&self, code: u16) -> bool {
        self.config.final_close_codes.contains(&code)
    }

    /// Waits for `pause`, of which nothing shortens the first part, `least`.
    fn wait_or_idle(&mut self, pause: Duration, least: Duration) -> Option<Instant> {
        if !self.config.reconnect {
            self.link = Link::Idle;
            return None;
        }
        let until = self.now() + pause;
        let earliest = until.min(self.now() + least.max(self.config.initial_backoff));
        self.link = Link::Waiting { until, earliest };
        Some(until)
    }

    fn end_queued_unless(&mut self, retry: Option<Instant>, out: &mut Actions<Action>) {
        if retry.is_none() {
            self.end_repeats(out);
            self.end_queued(out);
        }
    }

    fn become_ready(&mut self, out: &mut Actions<Action>) {
        self.link = Link::Ready { since: self.now() };
        self.backoff.connected();
        out.push(Action::Event(Event::Connected));
        self.send_repeats(out);
        self.release_queued(out);
    }
}

/// The resumption of the session.
impl Client {
    /// Asks the server, for the first time or again.
    fn ask_for_session(&mut self, mut resumption: Resumption, out: &mut Actions<Action>) {
        let key = resumption.key.as_str().as_bytes();
        let from = self.resumes_from();
        let place = if from.is_some() { length::PLACE } else { 0 };
        if self.check_length(length::IDENTIFIED + place + key.len()).is_err() {
            return self.lose_session(&resumption, SessionLoss::Refused, out);
        }
        let id = resumption.id.identifier();
        let frame = match from {
            None => out.encoder.restore_session(id, key),
            Some(Position { incarnation, offset }) => {
                out.encoder.resume_session(id, incarnation, offset, key)
            }
        };
        self.transmit(frame, out);
        if let Some(liveness) = &mut self.liveness {
            liveness.requested(resumption.id);
        }
        resumption.attempts = resumption.attempts.saturating_add(1);
        resumption.unanswered = resumption.unanswered.saturating_add(1);
        resumption.step = Step::Asked { deadline: self.now() + self.config.resume_timeout };
        self.link = Link::Resuming(resumption);
    }

    /// Asks the server again, unless the session was closed or replaced in the meantime.
    fn ask_again_for_session(&mut self, resumption: Resumption, out: &mut Actions<Action>) {
        if self.still_wants(&resumption) {
            return self.ask_for_session(resumption, out);
        }
        self.expect_late_answers(&resumption);
        self.become_ready(out);
    }

    /// Ends the resumption. Late answers to earlier attempts may still restore the session.
    fn expect_late_answers(&mut self, resumption: &Resumption) {
        if resumption.unanswered > 0 {
            self.requests.expect_late_restore(resumption.id, resumption.unanswered);
        }
    }

    /// An attempt failed, but another one may succeed. Pauses, or gives up after too many attempts.
    fn pause_resumption(&mut self, resumption: Resumption, out: &mut Actions<Action>) {
        if resumption.attempts >= self.config.resume_attempts {
            return self.lose_session(&resumption, SessionLoss::GaveUp, out);
        }
        let earlier = resumption.attempts.saturating_sub(1);
        let step = Step::Pausing { until: self.now() + self.backoff.pause(earlier) };
        self.link = Link::Resuming(Resumption { step, ..resumption });
    }

    fn lose_session(
        &mut self,
        resumption: &Resumption,
        loss: SessionLoss,
        out: &mut Actions<Action>,
    ) {
        if self.still_wants(resumption) {
            (self.session, self.earlier) = (None, None);
            self.forget_place();
            out.push(Action::Event(Event::SessionLost(loss)));
        }
        self.expect_late_answers(resumption);
        self.become_ready(out);
    }

    /// Returns whether the session to resume is still the one that the client holds.
    fn still_wants(&self, resumption: &Resumption) -> bool {
        self.session_key() == Some(&resumption.key)
    }

    /// The server answered an attempt.
    pub(super) fn handle_resumption(&mut self, reply: Reply, out: &mut Actions<Action>) {
        let mut resumption = match core::mem::replace(&mut self.link, Link::Idle) {
            Link::Resuming(resumption) => resumption,
            link => {
                self.link = link;
                return;
            }
        };
        resumption.unanswered = resumption.unanswered.saturating_sub(1);
        match reply {
            Reply::Success(payload) => match (self.reader)(payload.as_bytes()) {
                Ok(session) => {
                    self.hold(session.clone());
                    out.push(Action::Event(Event::SessionRestored(session)));
                    self.session_resumed(out);
                    self.become_ready(out);
                }
                Err(invalid) => {
                    out.push(Action::Event(Event::Anomaly(Anomaly::InvalidSession(invalid))));
                    self.lose_session(&resumption, SessionLoss::InvalidReply, out);
                }
            },
            Reply::Error(_) => self.lose_session(&resumption, SessionLoss::Refused, out),
            Reply::Special(special) => match (special, resumption.step) {
                (SpecialReply::SessionNotFound, _) => {
                    self.lose_session(&resumption, SessionLoss::NotFound, out);
                }
                (SpecialReply::SessionsDisabled, _) => {
                    self.lose_session(&resumption, SessionLoss::Disabled, out);
                }
                (
                    SpecialReply::ProtocolError
                    | SpecialReply::OutcomeUnknown
                    | SpecialReply::NotExecuted,
                    _,
                ) => {
                    self.lose_session(&resumption, SessionLoss::Refused, out);
                }
                (
                    SpecialReply::Shutdown
                    | SpecialReply::InternalError
                    | SpecialReply::MaxSessionConnections,
                    Step::Asked { .. },
                ) => self.pause_resumption(resumption, out),
                (
                    SpecialReply::Shutdown
                    | SpecialReply::InternalError
                    | SpecialReply::MaxSessionConnections,
                    Step::Pausing { .. },
                ) => self.link = Link::Resuming(resumption),
            },
        }
    }
}
