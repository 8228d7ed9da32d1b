//! Idempotent requests over several nodes.

use std::sync::LazyLock;

use wwr_async::Runtime;
use wwr_async::cluster::{
    Answer, DataId, EngineError, EngineErrorKind, OutcomeAnswer, OutcomeRequest, OutcomeStep,
};
use wwr_async::cluster::{Begun, Fingerprint, Scope};

use super::answer::{self, Read};
use super::{Cluster, names::Names};
use crate::record::BrokenRecord;
use crate::script::{self, Scripted};

static OUTCOME: LazyLock<Scripted> = LazyLock::new(|| Scripted::new(include_str!("outcome.lua")));

/// A number as the script compares it.
fn padded(number: u64) -> Vec<u8> {
    format!("{number:020}").into_bytes()
}

impl<R: Runtime> Cluster<R> {
    pub(super) async fn outcome(&self, request: OutcomeRequest) -> Result<Answer, EngineError> {
        let OutcomeRequest { instance, epoch, number, membership, limits, step } = request;
        let what = "record an idempotent request";
        let nothing = Fingerprint([0; 16]);
        let expected = match step {
            OutcomeStep::Attach { data, .. } => format!("{:016x}", data.0),
            _ => String::new(),
        };
        let (word, (scope, token, content, begun, outcome)) = match step {
            OutcomeStep::Attach { fresh, .. } => ("attach", (fresh, 0, nothing, 0, None)),
            OutcomeStep::Begin { scope, token, content } => {
                ("begin", (scope, token, content, 0, None))
            }
            OutcomeStep::Finish { scope, token, begun, outcome } => {
                ("finish", (scope, token, nothing, begun, outcome))
            }
            OutcomeStep::Undo { scope, token, begun } => {
                ("undo", (scope, token, nothing, begun, None))
            }
        };
        let client = self.shared.names.client(&instance);
        let kept = Names::outcomes(&client);
        let mut alive = String::from(",");
        for epoch in &membership.alive {
            alive.push_str(&format!("{},", epoch.0));
        }
        let arguments: [&[u8]; 15] = [
            word.as_bytes(),
            &epoch.0.to_string().into_bytes(),
            &padded(number),
            &membership.through.to_string().into_bytes(),
            alive.as_bytes(),
            &script::millis(limits.keep).max(1).to_string().into_bytes(),
            &limits.outcomes.to_string().into_bytes(),
            &limits.bytes.to_string().into_bytes(),
            &scope.0.to_string().into_bytes(),
            &padded(token),
            &data_encoding::HEXLOWER.encode(&content.0).into_bytes(),
            &padded(begun),
            if outcome.is_some() { b"1" } else { b"0" },
            outcome.as_deref().unwrap_or_default(),
            expected.as_bytes(),
        ];
        let reply = self.run(what, &OUTCOME, &[&client, &kept], &arguments).await?;
        match read(&reply) {
            Ok(answer) => Ok(Answer::Outcome(answer)),
            Err(Some(cause)) => {
                let engine = &self.shared.link.engine;
                let message = format!(
                    "cannot {what}: what {engine} has stored of the client is none of this version; is a \
                     node of a newer release using it?"
                );
                Err(EngineError::new(EngineErrorKind::Broken, message).with_source(cause))
            }
            Err(None) => Err(self.unexpected(what)),
        }
    }
}

/// Reads what `outcome.lua` answers.
fn read(reply: &[Vec<u8>]) -> Read<OutcomeAnswer> {
    let (word, rest) = answer::split(reply)?;
    Ok(match word {
        "attached" => {
            OutcomeAnswer::Attached { scope: Scope(answer::number(answer::first(rest)?)?) }
        }
        "other data" => {
            let id = core::str::from_utf8(answer::first(rest)?).map_err(|_| None)?;
            OutcomeAnswer::OtherData(DataId(u64::from_str_radix(id, 16).map_err(|_| None)?))
        }
        "fresh" => OutcomeAnswer::Begun(Begun::Fresh),
        "running" => OutcomeAnswer::Running { by: answer::epoch(answer::first(rest)?)? },
        "done" => {
            let outcome = answer::first(rest)?.to_vec();
            OutcomeAnswer::Begun(Begun::Done(outcome.into()))
        }
        "unknown" => OutcomeAnswer::Begun(Begun::Unknown),
        "other" => OutcomeAnswer::Begun(Begun::OtherRequest),
        "ok" => OutcomeAnswer::Done,
        "no scope" => OutcomeAnswer::NoScope,
        "overtaken" => OutcomeAnswer::Overtaken,
        "fenced" => OutcomeAnswer::Fenced,
        "broken" => return Err(Some(BrokenRecord::Beside)),
        _ => return Err(None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_make_no_sense_are_errors() {
        let reply = |words: &[&str]| -> Vec<Vec<u8>> {
            words.iter().map(|word| word.as_bytes().to_vec()).collect()
        };
        for words in
            [&[][..], &["no data"], &["attached"], &["attached", "x"], &["running", "0"], &["done"]]
        {
            assert_eq!(read(&reply(words)), Err(None), "{words:?}");
        }
        assert_eq!(read(&reply(&["broken", "2"])), Err(Some(BrokenRecord::Beside)));
        let largest = u64::MAX.to_string();
        let scope = Scope(u64::MAX);
        assert_eq!(read(&reply(&["attached", &largest])), Ok(OutcomeAnswer::Attached { scope }));
    }
}
