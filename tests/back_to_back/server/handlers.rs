//! The application of the server.

use wwr::server::{Action, RequestError, RequestId, SessionEvent};
use wwr::{Name, Payload, SessionInfo, SessionKey, UnixTime};

use super::Server;
use crate::application::{self, Deed, LARGE, Reply, Token, Work};
use crate::fabric::{Fabric, SocketId};

/// The application.
impl Server {
    pub(crate) fn work(&mut self, socket: SocketId, work: Work, fabric: &mut Fabric) {
        // A handler whose connection is gone is abandoned.
        let Some(served) = self.connections.get_mut(&socket) else { return };
        match work {
            Work::SignalHandled(id) => {
                assert_eq!(served.machine.signal_handled(id, &mut self.out), Ok(()));
            }
            Work::Handle { id, deed, token } => {
                if let Some(reply) = self.perform(socket, id, deed, token, fabric) {
                    self.reply(socket, id, token, reply);
                }
            }
        }
        self.work_off(socket, fabric);
    }

    /// Gives the reply, unless it comes later.
    fn perform(
        &mut self,
        socket: SocketId,
        id: RequestId,
        deed: Deed,
        token: Token,
        fabric: &mut Fabric,
    ) -> Option<Reply> {
        let served = self.connections.get_mut(&socket)?;
        let machine = &mut served.machine;
        match deed {
            Deed::Echo | Deed::Slow => Some(Ok(application::payload(token))),
            Deed::Never => None,
            Deed::Large => Some(Ok(Payload::binary(vec![b'x'; LARGE]))),
            Deed::LargeFailure => Some(Err(RequestError::failed("LARGE", "x".repeat(LARGE)))),
            Deed::Blame => Some(Err(RequestError::Protocol)),
            Deed::Shout => {
                let name = Name::new("shout").expect("a name");
                let odd = [
                    Payload::EMPTY,
                    Payload::utf8(""),
                    Payload::binary(vec![b'x'; LARGE]),
                    Payload::utf16("wide"),
                    Payload::utf16(""),
                ];
                for payload in odd {
                    // What the peer does not read is refused.
                    let _ = machine.signal(&name, &payload, &mut self.out);
                }
                Some(Ok(Payload::EMPTY))
            }
            Deed::Fail => Some(Err(RequestError::failed("FAIL", "as you wished"))),
            Deed::Crash => Some(Err(RequestError::Internal)),
            Deed::WhoAmI => {
                let key = machine.session().map_or("", |session| session.key.as_str());
                Some(Ok(Payload::utf8(key)))
            }
            Deed::LogIn | Deed::LargeLogIn => {
                let number = self.keys.len() as u64 + 1;
                let mut entropy = [0; SessionKey::ENTROPY];
                entropy[..8].copy_from_slice(&number.to_le_bytes());
                let key = SessionKey::from_entropy(entropy);
                let now = UnixTime::from_seconds(number as i64);
                let large = if deed == Deed::LargeLogIn { LARGE } else { 0 };
                let info =
                    SessionInfo::new().public("number", number).public("more", "x".repeat(large));
                match machine.create_session(key.clone(), now, info, &mut self.out) {
                    Ok(_) => {
                        self.keys.push(key);
                        assert_eq!(served.creating.replace((id, token)), None);
                        None
                    }
                    Err(misuse) => Some(Err(misuse.into())),
                }
            }
            Deed::LogOut => match machine.close_session(&mut self.out) {
                Ok(true) => {
                    assert_eq!(served.closing.replace((id, token)), None);
                    None
                }
                Ok(false) => Some(Ok(Payload::EMPTY)),
                Err(misuse) => Some(Err(misuse.into())),
            },
            Deed::Kick | Deed::KickOut => {
                let key = machine.session().map(|session| session.key.clone());
                let told = key.map_or(0, |key| {
                    let disconnect = deed == Deed::KickOut;
                    self.registry.close_key(key, disconnect, &mut self.effects)
                });
                // The reply comes behind what the registry has to say.
                while let Some(effect) = self.effects.pop() {
                    self.effect(effect, fabric);
                }
                self.connections.get(&socket)?;
                Some(Ok(Payload::utf8(told.to_string())))
            }
            Deed::Leave => {
                machine.close(fabric.now, &mut self.out);
                Some(Ok(Payload::utf8("farewell")))
            }
            Deed::Tell => {
                let name = Name::new("news").expect("a name");
                for _ in 0..3 {
                    let payload = application::payload((socket as usize, served.signals_sent));
                    served.signals_sent += 1;
                    assert_eq!(machine.signal(&name, &payload, &mut self.out), Ok(()));
                }
                Some(Ok(Payload::EMPTY))
            }
        }
    }

    fn reply(&mut self, socket: SocketId, id: RequestId, token: Token, reply: Reply) {
        let served = self.connections.get_mut(&socket).expect("a connection with a handler");
        assert_eq!(served.machine.reply(id, reply.clone(), &mut self.out), Ok(()));
        let actions: Vec<_> = self.out.drain().collect();
        let is_too_large = |action: &Action| matches!(action, Action::ReplyTooLarge { .. });
        let too_large = actions.iter().any(is_too_large);
        self.record.replied(token, if too_large { Err(RequestError::Internal) } else { reply });
        self.actions.extend(actions.into_iter().map(|action| (socket, action)));
    }

    pub(super) fn session_event(&mut self, socket: SocketId, event: SessionEvent) {
        let Some(served) = self.connections.get_mut(&socket) else { return };
        let (who, reply) = match event {
            SessionEvent::Created(_) => (&mut served.creating, Ok(Payload::utf8("welcome"))),
            SessionEvent::CreateFailed(_) => (&mut served.creating, Err(RequestError::Internal)),
            SessionEvent::Closed => (&mut served.closing, Ok(Payload::utf8("goodbye"))),
            SessionEvent::CloseFailed => (&mut served.closing, Err(RequestError::Internal)),
            SessionEvent::Restored => return,
        };
        if let Some((id, token)) = who.take() {
            self.reply(socket, id, token, reply);
        }
    }
}
