//! The application of a server.

use wwr::server::{Action, ClosedBy, Connection, EditId, Fate, Misuse, RequestError, SessionEvent};
use wwr::session::{Edit, NewKey, OtherConnections};
use wwr::{CloseFrame, Name, Payload, SessionInfo, SessionKey, UnixTime};

use super::{Served, Server};
use crate::application::{Deed, LARGE, NEWS, Task, signal_payload};
use crate::invariants::Invariant;
use crate::ledger::Reply;
use crate::network::SocketId;
use crate::stage::Stage;

impl Server {
    /// Runs a handler, and replies unless that comes later.
    pub(super) fn perform(&mut self, socket: SocketId, task: Task, stage: &mut Stage) {
        if let Some(reply) = self.reply_of(socket, task, stage) {
            self.reply(socket, task, reply, stage);
        }
        self.collect(socket, stage);
    }

    fn reply_of(&mut self, socket: SocketId, task: Task, stage: &mut Stage) -> Option<Reply> {
        let now = self.clock.read(stage.now);
        let Task { deed, token, .. } = task;
        let said = |what: &str| {
            Payload::utf8(token.map_or(what.into(), |token| format!("{token} {what}")))
        };
        let served = self.connections.get_mut(&socket)?;
        match deed {
            Deed::Echo => Some(Ok(said("echo"))),
            Deed::Never => None,
            Deed::Large => Some(Ok(said(&"x".repeat(LARGE)))),
            Deed::LargeFailure => Some(Err(RequestError::failed("LARGE", "x".repeat(LARGE)))),
            Deed::Blame => Some(Err(RequestError::Protocol)),
            Deed::Fail => {
                let message = token.map_or(String::new(), |token| format!("{token} as you wished"));
                Some(Err(RequestError::failed("FAIL", message)))
            }
            Deed::Crash => Some(Err(RequestError::Internal)),
            Deed::Shout => {
                self.shout(socket);
                Some(Ok(said("shouted")))
            }
            Deed::LogIn => self.log_in(socket, task, 0, stage),
            Deed::LargeLogIn => self.log_in(socket, task, LARGE, stage),
            Deed::Update => self.update(socket, task, stage),
            Deed::Rotate | Deed::TakeOver => self.new_key(socket, task, stage),
            Deed::LogOut => match served.machine.close_session(&mut self.out) {
                Ok(true) => {
                    served.closing.push_back(task);
                    None
                }
                Ok(false) => Some(Ok(said("no session"))),
                Err(misuse) => Some(Err(misuse.into())),
            },
            Deed::Kick | Deed::KickOut => {
                let key = served.machine.session().map(|session| session.key.clone());
                let Some(key) = key else { return Some(Ok(said("0"))) };
                let waits = Some((socket, task));
                self.close_everywhere(&key, deed == Deed::KickOut, waits, stage);
                None
            }
            Deed::Join => {
                let members = self.join(socket, token.unwrap_or_default(), stage);
                Some(Ok(said(&members.to_string())))
            }
            Deed::LeaveGroup => {
                let left = self.leave_group(socket, token.unwrap_or_default(), stage);
                Some(Ok(said(if left { "left" } else { "not in it" })))
            }
            Deed::TellGroup => {
                let told = self.tell_group(token.unwrap_or_default(), stage);
                Some(Ok(said(&told.to_string())))
            }
            Deed::WhoAmI => {
                let key = served.machine.session().map_or("", |session| session.key.as_str());
                Some(Ok(said(key)))
            }
            Deed::Leave => {
                served.may_close = true;
                match close_frame(stage) {
                    Some(frame) => served.machine.close_with(now, frame, &mut self.out),
                    None => served.machine.close(now, &mut self.out),
                }
                Some(Ok(said("farewell")))
            }
            Deed::Tell => {
                for _ in 0..3 {
                    self.news(socket, stage);
                }
                Some(Ok(said("told")))
            }
            Deed::TellAll => {
                let key = served.machine.session().map(|session| session.key.clone());
                let holders = key.iter().flat_map(|key| self.known_holders(key));
                let members = holders.filter_map(|id| self.control.members.get(&id));
                let holders: Vec<_> = members.map(|member| member.socket).collect();
                for holder in &holders {
                    self.news(*holder, stage);
                }
                Some(Ok(said(&holders.len().to_string())))
            }
        }
    }

    /// Sends the next of the numbered signals.
    pub(super) fn news(&mut self, socket: SocketId, stage: &mut Stage) {
        let actor = self.actor(socket);
        let Some(served) = self.connections.get_mut(&socket) else { return };
        let (Ok(name), payload) = (Name::new(NEWS), signal_payload(socket, served.signals_sent))
        else {
            return;
        };
        let sent = served.machine.signal(&name, &payload, &mut self.out);
        served.signals_sent += u64::from(sent.is_ok());
        stage.check(sent != Err(Misuse::UnknownHandler), Invariant::CallsAreHonoured, || {
            format!("{actor}: a signal is refused: {sent:?}")
        });
        self.collect(socket, stage);
    }

    /// Sends signals of odd kinds and sizes; those that the peer does not read are refused.
    fn shout(&mut self, socket: SocketId) {
        let Some(served) = self.connections.get_mut(&socket) else { return };
        let Ok(name) = Name::new("shout") else { return };
        let odd = [
            Payload::EMPTY,
            Payload::utf8(""),
            Payload::binary(vec![b'x'; LARGE]),
            Payload::utf16("wide"),
            Payload::utf16(""),
        ];
        for payload in odd {
            let _ = served.machine.signal(&name, &payload, &mut self.out);
        }
    }

    fn log_in(
        &mut self,
        socket: SocketId,
        task: Task,
        length: usize,
        stage: &mut Stage,
    ) -> Option<Reply> {
        let (key, number) = new_key(stage);
        let now = UnixTime::from_seconds(number as i64);
        let info = SessionInfo::new().public("number", number).private("more", "secret");
        let info = if length > 0 { info.public("long", "x".repeat(length)) } else { info };
        let served = self.connections.get_mut(&socket)?;
        match served.machine.create_session(key.clone(), now, info, &mut self.out) {
            Ok(_) => {
                stage.ledger.made(&key);
                served.creating.push_back(task);
                None
            }
            Err(misuse) => Some(Err(misuse.into())),
        }
    }

    /// Changes the info of the session. Of several at once, each has another number.
    fn update(&mut self, socket: SocketId, task: Task, stage: &mut Stage) -> Option<Reply> {
        let number = task.token.unwrap_or_default();
        let info =
            SessionInfo::new().public("number", number).private("more", stage.aside.below(9));
        let served = self.connections.get_mut(&socket)?;
        match served.machine.edit_session(Edit::Info(info), &mut self.out) {
            Ok(edit) => {
                served.editing.push_back((edit, task));
                None
            }
            Err(misuse) => Some(Err(misuse.into())),
        }
    }

    fn new_key(&mut self, socket: SocketId, task: Task, stage: &mut Stage) -> Option<Reply> {
        let (key, number) = new_key(stage);
        let served = self.connections.get_mut(&socket)?;
        let before = served.machine.session().map(|session| session.key.clone());
        let now = UnixTime::from_seconds(number as i64);
        let (info, others) = if task.deed == Deed::TakeOver {
            let info = SessionInfo::new().public("number", number).private("more", "taken over");
            (Some(info), OtherConnections::Close)
        } else {
            (None, OtherConnections::Keep)
        };
        let new = NewKey { key: key.clone(), now, info, others };
        match served.machine.edit_session(Edit::NewKey(new), &mut self.out) {
            Ok(edit) => {
                stage.ledger.made(&key);
                if let Some(before) = before {
                    let only = (others == OtherConnections::Close).then_some(socket);
                    stage.ledger.renamed(&before, &key, only);
                }
                served.editing.push_back((edit, task));
                None
            }
            Err(misuse) => Some(Err(misuse.into())),
        }
    }

    fn reply(&mut self, socket: SocketId, task: Task, reply: Reply, stage: &mut Stage) {
        let actor = self.actor(socket);
        let Some(served) = self.connections.get_mut(&socket) else { return };
        let machine: &mut Connection = &mut served.machine;
        let waiting = self.out.len();
        let done = machine.reply(task.id, reply.clone(), &mut self.out);
        stage.check(done.is_ok(), Invariant::CallsAreHonoured, || {
            format!("{actor}: a reply is refused: {done:?}")
        });
        served.running.retain(|id| *id != task.id);
        let sent = self.out.len();
        let others = served.ended_request.replace(task.id).into_iter().chain([task.id]);
        let empty = || Ok(Payload::EMPTY);
        let mut again = others.map(|id| machine.reply(id, empty(), &mut self.out));
        let refused = again.all(|again| again.is_err()) && self.out.len() == sent;
        stage.check(refused, Invariant::CallsAreHonoured, || {
            format!("{actor}: a second reply to the same request is accepted")
        });
        let is_too_large = |action: &Action| matches!(action, Action::ReplyTooLarge { .. });
        let too_large = self.out.iter().skip(waiting).any(is_too_large);
        if let Some(token) = task.token {
            let entry = stage.ledger.entry(token);
            let before =
                entry.reply.replace(if too_large { Err(RequestError::Internal) } else { reply });
            stage.check(before.is_none(), Invariant::OneAnswer, || {
                format!("{actor}: request {token} is answered twice")
            });
        }
    }

    /// A session was closed everywhere, as a handler wanted.
    pub(super) fn kicked(&mut self, socket: SocketId, task: Task, told: usize, stage: &mut Stage) {
        let text = task.token.map_or(told.to_string(), |token| format!("{token} {told}"));
        self.reply(socket, task, Ok(Payload::utf8(text)), stage);
        self.collect(socket, stage);
    }

    /// A change of the session has ended: the oldest first.
    fn edited(&mut self, socket: SocketId, edit: Option<EditId>, is_done: bool, stage: &mut Stage) {
        let (Some(edit), actor) = (edit, self.actor(socket)) else { return };
        let Some(served) = self.connections.get_mut(&socket) else { return };
        let waiting = served.editing.pop_front();
        let fits = waiting.as_ref().is_some_and(|(oldest, _)| *oldest == edit);
        stage.check(fits, Invariant::ChangesTellAStory, || {
            format!("{actor}: {edit:?} ends before {waiting:?}")
        });
        let Some((_, task)) = waiting else { return };
        let text = task.token.map_or("changed".into(), |token| format!("{token} changed"));
        let reply = if is_done { Ok(Payload::utf8(text)) } else { Err(RequestError::Internal) };
        self.reply(socket, task, reply, stage);
        self.collect(socket, stage);
    }

    pub(super) fn session_event(
        &mut self,
        socket: SocketId,
        event: SessionEvent,
        stage: &mut Stage,
    ) {
        let actor = self.actor(socket);
        let Some(served) = self.connections.get_mut(&socket) else { return };
        let fits = follows(served, &event);
        stage.check(fits, Invariant::ChangesTellAStory, || {
            format!("{actor}: {event:?} after {:?}", served.story)
        });
        let (waits, text) = match event {
            SessionEvent::Updated(edited) | SessionEvent::Rotated(edited) => {
                served.is_too_long |= edited.too_long.is_some();
                return self.edited(socket, edited.edit, true, stage);
            }
            SessionEvent::EditFailed(edit, _) => {
                return self.edited(socket, Some(edit), false, stage);
            }
            SessionEvent::Created(..) => (&mut served.creating, Some("welcome")),
            SessionEvent::CreateFailed(_) => (&mut served.creating, None),
            // The connection has ended, and nobody waits for a reply.
            SessionEvent::Closed { fate: Fate::Unknown, .. } => return,
            SessionEvent::Closed { .. } => (&mut served.closing, Some("goodbye")),
            SessionEvent::CloseFailed => (&mut served.closing, None),
            SessionEvent::Restored(_) => return,
        };
        if let Some(task) = waits.pop_front() {
            let text =
                text.map(|text| task.token.map_or(text.into(), |token| format!("{token} {text}")));
            let reply = text.map(Payload::utf8).ok_or(RequestError::Internal);
            self.reply(socket, task, reply, stage);
            self.collect(socket, stage);
        }
    }
}

/// A key that no session has, and its number.
fn new_key(stage: &Stage) -> (SessionKey, u64) {
    let number = stage.ledger.keys.len() as u64 + 1;
    let mut entropy = [0; SessionKey::ENTROPY];
    entropy[..8].copy_from_slice(&number.to_le_bytes());
    (SessionKey::from_entropy(entropy), number)
}

/// Whether a change of the session follows from those before: what was after them is before it.
fn follows(served: &mut Served, event: &SessionEvent) -> bool {
    match event {
        SessionEvent::Created(_, session) | SessionEvent::Restored(session) => {
            served.is_too_long = false;
            served.story.replace((**session).clone()).is_none()
        }
        SessionEvent::Updated(edited) | SessionEvent::Rotated(edited) => {
            let is_rotation = matches!(event, SessionEvent::Rotated(_));
            let (before, after) = (&edited.before, &edited.after);
            let same = before.created == after.created && before.last_lookup == after.last_lookup;
            let fits = served.story.as_ref() == Some(before)
                && is_rotation == (before.key != after.key)
                && same;
            served.story = Some(after.clone());
            fits
        }
        SessionEvent::Closed { session, by, fate } => {
            let is_true = match (by, fate) {
                (_, Fate::LivesOn) => served.others_hold,
                // For all.
                (ClosedBy::Key, Fate::Destroyed) => true,
                (_, Fate::Destroyed) => !served.others_hold,
                // Of those that have ended without an answer.
                (_, Fate::Unknown) => served.asked.is_none() && !served.machine.is_open(),
            };
            is_true && served.story.take().as_ref() == Some(&**session)
        }
        SessionEvent::CreateFailed(_)
        | SessionEvent::CloseFailed
        | SessionEvent::EditFailed(..) => true,
    }
}

/// What an application says when it closes a connection, if it says anything.
pub(super) fn close_frame(stage: &mut Stage) -> Option<CloseFrame> {
    let code = 4000 + u16::try_from(stage.aside.below(5)).unwrap_or_default();
    let reason = format!("goodbye {}", stage.aside.below(1000));
    let frame = CloseFrame::new(code, reason).ok();
    frame.filter(|_| stage.aside.chance(60))
}
