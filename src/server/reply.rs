//! Replies, as the dialect knows them.

use super::action::Action;
use super::error::RequestError;
use crate::actions::Actions;
use crate::dialect::{Rules, SpecialErrors};
use crate::wire::{Identifier, Payload, SpecialReply};

type Out = Actions<Action>;

/// The reply to a request that succeeded.
pub(super) fn payload(id: Identifier, payload: &Payload, out: &mut Out) {
    let frame = out.encoder.reply(id, payload);
    out.push(Action::Send(frame));
}

/// A special reply that every dialect knows: any but the protocol error.
pub(super) fn special(id: Identifier, reply: SpecialReply, out: &mut Out) {
    let frame = out.encoder.special_reply(id, reply);
    out.push(Action::Send(frame));
}

/// A special reply of a handler, or an internal error where the dialect wants that instead
/// (protocol §5.4).
pub(super) fn translated(rules: &Rules, id: Identifier, reply: SpecialReply, out: &mut Out) {
    let understood = match rules.special_errors {
        SpecialErrors::Mapped => true,
        SpecialErrors::MappedButProtocol => reply != SpecialReply::ProtocolError,
        SpecialErrors::Internal => false,
    };
    special(id, if understood { reply } else { SpecialReply::InternalError }, out);
}

/// The reply to a request that failed (protocol §5.4).
pub(super) fn failure(rules: &Rules, id: Identifier, error: &RequestError, out: &mut Out) {
    let reply = match error {
        RequestError::Failed { code, message } => {
            let frame = out.encoder.error_reply(id, code, message);
            return out.push(Action::Send(frame));
        }
        RequestError::Internal => return special(id, SpecialReply::InternalError, out),
        RequestError::SessionNotFound => SpecialReply::SessionNotFound,
        RequestError::MaxSessionConnections => SpecialReply::MaxSessionConnections,
        RequestError::SessionsDisabled => SpecialReply::SessionsDisabled,
        RequestError::Protocol => SpecialReply::ProtocolError,
    };
    translated(rules, id, reply, out);
}
