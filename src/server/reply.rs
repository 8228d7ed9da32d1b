//! Replies in the form of each dialect.

use super::action::Action;
use super::error::RequestError;
use super::peer::{Peer, TooLarge};
use crate::actions::Actions;
use crate::dialect::SpecialErrors;
use crate::wire::{Identifier, Payload, SpecialReply, length};

type Out = Actions<Action>;

/// Replies to a request that succeeded, if the peer can read a message of that length. Otherwise
/// the peer gets an internal error (unlike Q20-08).
#[inline]
pub(super) fn payload(peer: &Peer, id: Identifier, payload: &Payload, out: &mut Out) -> bool {
    let fits = peer.reads(length::reply(payload));
    match fits {
        Ok(()) => {
            let frame = out.encoder.reply(id, payload);
            out.push_with(|| Action::Send(frame));
        }
        Err(too_large) => oversized(id, too_large, out),
    }
    fits.is_ok()
}

/// Replies to a session message that succeeded, without a payload.
pub(super) fn done(id: Identifier, out: &mut Out) {
    let frame = out.encoder.reply(id, &Payload::EMPTY);
    out.push(Action::Send(frame));
}

#[cold]
fn oversized(id: Identifier, TooLarge { length, buffer }: TooLarge, out: &mut Out) {
    out.push(Action::ReplyTooLarge { length, buffer });
    special(id, SpecialReply::InternalError, out);
}

/// Sends a special reply that every dialect knows: any but the protocol error.
pub(super) fn special(id: Identifier, reply: SpecialReply, out: &mut Out) {
    let frame = out.encoder.special_reply(id, reply);
    out.push(Action::Send(frame));
}

/// Sends a special reply of a handler, or an internal error where the dialect wants that instead
/// (protocol §5.4).
pub(super) fn translated(peer: &Peer, id: Identifier, reply: SpecialReply, out: &mut Out) {
    let understood = match peer.rules().special_errors {
        SpecialErrors::Mapped => true,
        SpecialErrors::MappedButProtocol => reply != SpecialReply::ProtocolError,
        SpecialErrors::Internal => false,
    };
    special(id, if understood { reply } else { SpecialReply::InternalError }, out);
}

/// Replies to a request that failed (protocol §5.4). Returns whether the application gave a reason for
/// it that the peer can read: otherwise the peer gets an internal error.
pub(super) fn failure(peer: &Peer, id: Identifier, error: &RequestError, out: &mut Out) -> bool {
    let reply = match error {
        RequestError::Failed { code, message } => {
            return match peer.reads(length::error_reply(code, message)) {
                Ok(()) => {
                    let frame = out.encoder.error_reply(id, code, message);
                    out.push(Action::Send(frame));
                    true
                }
                Err(too_large) => {
                    oversized(id, too_large, out);
                    false
                }
            };
        }
        RequestError::Internal => {
            special(id, SpecialReply::InternalError, out);
            return false;
        }
        RequestError::SessionNotFound => SpecialReply::SessionNotFound,
        RequestError::MaxSessionConnections => SpecialReply::MaxSessionConnections,
        RequestError::SessionsDisabled => SpecialReply::SessionsDisabled,
        RequestError::Protocol => SpecialReply::ProtocolError,
    };
    translated(peer, id, reply, out);
    true
}
