//! What the machines want, carried out.

use wwr::server::{Action, CloseReason};
use wwr::wire::Kind;

use super::Server;
use super::backlog::BUSY;
use super::served::Input;
use crate::application::{Task, Work, deed, leading_number};
use crate::coverage::{Effect as Seen, Fact};
use crate::event::{Event, millis};
use crate::invariants::Invariant;
use crate::network::{Packet, Peer, SocketId, Way};
use crate::stage::Stage;
use crate::trace::Actor;

/// While a peer has this many bytes to read, nothing is read of it.
const CHOKED: usize = 16 * 1024;

/// A peer that has this many bytes to read is given up.
const GIVEN_UP: usize = 256 * 1024;

impl Server {
    /// Carries out what a call to the machine of a connection caused.
    pub(super) fn work_off(&mut self, socket: SocketId, stage: &mut Stage) {
        self.collect(socket, stage);
        self.carry_out(stage);
    }

    /// Takes what a call to the machine of a connection caused.
    pub(super) fn collect(&mut self, socket: SocketId, stage: &mut Stage) {
        let actor = self.actor(socket);
        while let Some(action) = self.out.pop() {
            if let Action::Answered { id, outcome } = &action {
                self.question_ended(socket, *id, outcome, stage);
            }
            let Some(served) = self.connections.get_mut(&socket) else { continue };
            match &action {
                Action::Session(command) => served.asks(command),
                Action::Request(_) | Action::Signal(_) => {
                    let waits = served.holds_up();
                    stage.check(!waits, Invariant::RequestsInOrder, || {
                        format!("{actor}: overtakes a session message: {action:?}")
                    });
                }
                Action::Send(frame) => {
                    let owed = served.answers(frame) || !served.peer.keeps_to_rules();
                    stage.check(owed, Invariant::OneAnswer, || format!("{actor}: {frame:?}"));
                }
                _ => {}
            }
            self.actions.push_back((socket, action));
        }
        self.look_at(socket, stage);
    }

    pub(super) fn carry_out(&mut self, stage: &mut Stage) {
        loop {
            self.take_hub_actions(stage);
            if let Some((socket, action)) = self.actions.pop_front() {
                self.act(socket, action, stage);
            } else if !self.read(stage) {
                break;
            }
        }
        self.check_sessions(stage);
        self.check_counts(stage);
        self.check_stage(stage);
        self.check_waiters(stage);
        self.check_pending(stage);
    }

    /// Hands one message that waited to a machine that wants it.
    fn read(&mut self, stage: &mut Stage) -> bool {
        let now = self.clock.read(stage.now);
        let readable = self.connections.iter().find(|(socket, served)| {
            !served.unread.is_empty()
                && served.machine.wants_input()
                && stage.network.outstanding(**socket, Way::Down) < CHOKED
        });
        let Some(socket) = readable.map(|(socket, _)| *socket) else { return false };
        let Some(served) = self.connections.get_mut(&socket) else { return false };
        let Some(input) = served.unread.pop_front() else { return false };
        let first = match &input {
            Input::Binary(frame) | Input::Text(frame) => {
                served.owes_for(frame);
                frame.first().copied()
            }
            Input::Ping => {
                served.machine.handle_activity(now);
                if self.settings.answers_pings() {
                    stage.send(self.actor(socket), socket, Way::Down, Packet::Pong);
                }
                self.collect(socket, stage);
                return true;
            }
        };
        match input {
            Input::Binary(frame) => served.machine.handle_message(now, frame, &mut self.out),
            Input::Text(frame) => served.machine.handle_text(now, frame, &mut self.out),
            Input::Ping => {}
        }
        let seen = self.out.iter().next().map_or(Seen::Nothing, effect_of);
        let known = first.filter(|byte| Kind::from_byte(*byte).is_some());
        stage.count(Fact::ToServer(known.map_or(256, u16::from), seen));
        self.collect(socket, stage);
        true
    }

    fn act(&mut self, socket: SocketId, action: Action, stage: &mut Stage) {
        let actor = self.actor(socket);
        match action {
            Action::Send(frame) => {
                self.check_length(socket, frame.len(), stage);
                self.check_key(socket, &frame, stage);
                stage.send(actor, socket, Way::Down, Packet::Frame(frame));
                if stage.network.outstanding(socket, Way::Down) > GIVEN_UP {
                    stage.note(actor, 20, || format!("#{socket} does not read and is given up"));
                    stage.cut(socket, millis(0));
                }
            }
            Action::Ping => {
                if let Some(record) = &mut stage.record {
                    record.pings += 1;
                }
                stage.send(actor, socket, Way::Down, Packet::Ping);
            }
            Action::Learned(dialect) => {
                let speaks = self.connections.get(&socket).map(|served| served.machine.dialect());
                stage.check(speaks == Some(dialect), Invariant::OnlyReadable, || {
                    format!("{actor}: has learned {dialect:?}, and speaks {speaks:?}")
                });
            }
            // What was answered is looked at when it is collected.
            Action::PeerReads(_) | Action::ReplyTooLarge { .. } | Action::Answered { .. } => {}
            Action::Request(request) => {
                let payload = request.content.payload();
                let token = match self.connections.get(&socket).map(|served| served.peer) {
                    Some(Peer::Client(_) | Peer::Reference(_)) => {
                        leading_number(payload).and_then(|number| usize::try_from(number).ok())
                    }
                    Some(Peer::Adversary(_) | Peer::Modest(_)) | None => None,
                };
                let (deed, takes) = deed(&request.content);
                let task = Task { id: request.id, deed, token };
                if let Some(served) = self.connections.get_mut(&socket) {
                    served.running.push(request.id);
                }
                self.heard_request(socket, task, stage);
                if takes.is_zero() && stage.dice.chance(60) {
                    self.perform(socket, task, stage);
                } else {
                    let delay = stage.dice.up_to(takes);
                    stage.after(delay, Event::Work { socket, work: Work::Handle(task) });
                }
            }
            Action::Signal(signal) => {
                self.heard_signal(socket, signal.content.payload(), stage);
                self.ask_client(socket, stage);
                let delay = stage.dice.up_to(millis(3));
                stage.after(delay, Event::Work { socket, work: Work::SignalHandled(signal.id) });
            }
            Action::Session(command) => self.ask_hub(socket, command, stage),
            // The servers of this world keep nothing.
            Action::Recover(_) => {}
            Action::SessionEvent(event) => self.session_event(socket, event, stage),
            Action::Drained => self.drained(socket, stage),
            Action::Close(reason) => self.end(socket, reason, stage),
        }
    }

    fn end(&mut self, socket: SocketId, reason: CloseReason, stage: &mut Stage) {
        let actor = self.actor(socket);
        stage.count(Fact::Closed(name_of(&reason)));
        let doubtful = match self.connections.get(&socket).map(|served| served.peer) {
            Some(Peer::Client(_)) => stage.is_deceptive,
            // It has shown what it speaks.
            Some(Peer::Modest(_)) => stage.time_is_torn,
            // Those that have given up for good read nothing any more.
            Some(Peer::Adversary(_) | Peer::Reference(_)) | None => true,
        };
        let is_there = stage.network.is_healthy(socket) && !doubtful;
        stage.check(!is_there || reason != CloseReason::Silent, Invariant::LifeIsNoticed, || {
            format!("{actor}: #{socket} is taken for gone")
        });
        self.check_closing(socket, &reason, stage);
        self.check_shut_down(socket, &reason, stage);
        stage.note(actor, 21, || format!("closes #{socket}: {reason:?}"));
        stage.ledger.close_frames.insert(socket, reason.frame());
        if let Some(record) = &mut stage.record {
            record.closed.push((socket, reason.clone()));
        }
        stage.send(actor, socket, Way::Down, Packet::Close(reason.frame()));
        let more = self.actions.iter().any(|(of, _)| *of == socket);
        stage.check(!more, Invariant::SilentAfterClose, || {
            format!("{actor}: something comes after the close: {:?}", self.actions)
        });
        self.check_end(socket, stage);
        self.connections.remove(&socket);
        self.departs(socket, stage);
    }

    /// The store or a task of another connection has news in the inbox of this one.
    pub(crate) fn take_inbox(&mut self, socket: SocketId, stage: &mut Stage) {
        let Some(served) = self.connections.get_mut(&socket) else { return };
        let Some(news) = served.inbox.pop_front() else { return };
        self.tell(socket, news, stage);
        self.carry_out(stage);
    }

    /// A handler gets further.
    pub(crate) fn work(&mut self, socket: SocketId, work: Work, stage: &mut Stage) {
        // A handler whose connection is gone is abandoned.
        let Some(served) = self.connections.get_mut(&socket) else { return };
        match work {
            Work::SignalHandled(id) => {
                let ended = served.machine.signal_handled(id, &mut self.out);
                let actor = Actor::Server(self.id, socket);
                stage.check(ended.is_ok(), Invariant::CallsAreHonoured, || {
                    format!("{actor}: a signal was handled: {ended:?}")
                });
                let waiting = self.out.len();
                let others = served.ended_signal.replace(id).into_iter().chain([id]);
                let mut again = others.map(|id| served.machine.signal_handled(id, &mut self.out));
                let refused = again.all(|again| again.is_err()) && self.out.len() == waiting;
                stage.check(refused, Invariant::CallsAreHonoured, || {
                    format!("{actor}: a signal was handled twice")
                });
            }
            Work::Handle(task) => self.perform(socket, task, stage),
        }
        self.work_off(socket, stage);
    }

    /// Checks whether a peer reads again.
    pub(crate) fn resume(&mut self, socket: SocketId, stage: &mut Stage) {
        if stage.network.outstanding(socket, Way::Down) < BUSY
            && let Some(served) = self.connections.get_mut(&socket)
        {
            served.machine.handle_writable(true, &mut self.out);
            self.work_off(socket, stage);
        }
        if self.connections.get(&socket).is_some_and(|served| !served.states.is_empty()) {
            self.drain_states(socket, stage);
            self.carry_out(stage);
        }
        if self.connections.get(&socket).is_some_and(|served| !served.unread.is_empty()) {
            self.carry_out(stage);
        }
    }
}

const fn effect_of(action: &Action) -> Seen {
    match action {
        Action::Send(_) => Seen::Answer,
        Action::Request(_) | Action::Signal(_) => Seen::Handler,
        Action::Session(_) | Action::Recover(_) => Seen::Registry,
        Action::Learned(_) | Action::PeerReads(_) => Seen::Learned,
        Action::Close(_) => Seen::Closed,
        Action::Answered { .. } => Seen::Answer,
        Action::Ping | Action::ReplyTooLarge { .. } | Action::SessionEvent(_) | Action::Drained => {
            Seen::Nothing
        }
    }
}

const fn name_of(reason: &CloseReason) -> &'static str {
    match reason {
        CloseReason::Requested => "Requested",
        CloseReason::Application(_) => "Application",
        CloseReason::Shutdown => "Shutdown",
        CloseReason::SessionClosed => "SessionClosed",
        CloseReason::TooManyIgnored => "TooManyIgnored",
        CloseReason::TooManyWaiting => "TooManyWaiting",
        CloseReason::Silent => "Silent",
        CloseReason::Text => "Text",
        CloseReason::Unreadable => "Unreadable",
        CloseReason::TooLarge => "TooLarge",
        _ => "another reason",
    }
}
