//! What the engine is asked to do.
//!
//! Each request has one name, so that it is for one slot of a cluster. Scripts are atomic: nothing else happens in
//! between.

use core::time::Duration;
use std::sync::LazyLock;

use redis::{Cmd, Script, cmd};

use crate::record;

/// What a script returns first if there is no such record.
pub(crate) const MISSING: i64 = 0;
/// What it returns first if it did what it is for. Anything else: the record is of another version, or none.
pub(crate) const DONE: i64 = 1;

/// What both scripts begin with: they return if there is no record, or none of this version, which is left as it is.
/// Then `head` is what is before the info.
///
/// ARGV: version, how long a record may be, how long the head is.
macro_rules! prelude {
    () => {
        r"
        local length = redis.call('STRLEN', KEYS[1])
        if length == 0 and redis.call('EXISTS', KEYS[1]) == 0 then return {0, ''} end
        if length > tonumber(ARGV[2]) or length < ARGV[3] + 2 then return {2, ''} end
        local head = redis.call('GETRANGE', KEYS[1], 0, ARGV[3] - 1)
        if string.sub(head, 1, 1) ~= ARGV[1] then return {2, string.sub(head, 1, 1)} end
        if redis.call('GETRANGE', KEYS[1], ARGV[3], ARGV[3]) ~= '{' then return {2, ARGV[1]} end
        if redis.call('GETRANGE', KEYS[1], -1, -1) ~= '}' then return {2, ARGV[1]} end
        "
    };
}

/// Finds a record, writes the time of the look-up into it, and begins its time anew. Returns a list: what became of it,
/// and the record as it was before.
///
/// ARGV, from 4 on: where the time is (from 0), the time, milliseconds until it expires or 0.
static LOOK_UP: LazyLock<Scripted> = LazyLock::new(|| {
    Scripted::new(concat!(
        prelude!(),
        r"
        local record = redis.call('GET', KEYS[1])
        redis.call('SETRANGE', KEYS[1], ARGV[4], ARGV[5])
        if ARGV[6] == '0' then
            redis.call('PERSIST', KEYS[1])
        else
            redis.call('PEXPIRE', KEYS[1], ARGV[6])
        end
        return {1, record}
        "
    ))
});

/// Replaces the info of a record, if there is one, and nothing else. Returns the same as the other, without a record.
///
/// ARGV, from 4 on: the info.
static UPDATE: LazyLock<Scripted> = LazyLock::new(|| {
    Scripted::new(concat!(
        prelude!(),
        r"
        redis.call('SET', KEYS[1], head .. ARGV[4], 'KEEPTTL')
        return {1, ''}
        "
    ))
});

/// A script with its text, which the library keeps to itself.
struct Scripted {
    text: &'static str,
    digest: String,
}

impl Scripted {
    fn new(text: &'static str) -> Self {
        Self { text, digest: Script::new(text).get_hash().to_string() }
    }
}

/// One request to the engine.
pub(crate) struct Request {
    /// What is sent.
    pub(crate) command: Cmd,
    /// What is sent if the engine does not have the script. It has it from then on.
    pub(crate) with_script: Option<Cmd>,
    /// The name of the command, for errors.
    pub(crate) verb: &'static str,
}

impl Request {
    fn of(command: Cmd, verb: &'static str) -> Self {
        Self { command, with_script: None, verb }
    }

    fn script(script: &Scripted, name: &str, arguments: &[&[u8]]) -> Self {
        let longest = record::LONGEST.to_string();
        let head = record::HEAD.to_string();
        let prelude: [&[u8]; 3] = [&[record::VERSION], longest.as_bytes(), head.as_bytes()];
        let command = |verb: &str, script: &str| {
            let mut command = cmd(verb);
            command.arg(script).arg(1).arg(name);
            for argument in prelude.iter().chain(arguments) {
                command.arg(*argument);
            }
            command
        };
        Self {
            command: command("EVALSHA", &script.digest),
            with_script: Some(command("EVAL", script.text)),
            verb: "EVALSHA",
        }
    }

    /// Stores a record, unless the name has one already. The reply is nil then.
    pub(crate) fn create(name: &str, record: &[u8], expire_after: Option<Duration>) -> Self {
        let mut command = cmd("SET");
        command.arg(name).arg(record).arg("NX");
        if let Some(after) = expire_after {
            command.arg("PX").arg(millis(after));
        }
        Self::of(command, "SET")
    }

    /// Finds a record and writes the time of the look-up into it.
    pub(crate) fn look_up(name: &str, now: &[u8], expire_after: Option<Duration>) -> Self {
        let at = record::LAST_LOOKUP.to_string();
        let expire = expire_after.map_or(0, millis).to_string();
        let arguments: [&[u8]; 3] = [at.as_bytes(), now, expire.as_bytes()];
        Self::script(&LOOK_UP, name, &arguments)
    }

    /// Replaces the info of a record.
    pub(crate) fn update(name: &str, info: &str) -> Self {
        Self::script(&UPDATE, name, &[info.as_bytes()])
    }

    /// Removes a record.
    pub(crate) fn destroy(name: &str) -> Self {
        let mut command = cmd("DEL");
        command.arg(name);
        Self::of(command, "DEL")
    }
}

/// Not zero: the settings are from a second to a century.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
