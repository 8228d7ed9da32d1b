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

/// What scripts of a store begin with: they return if there is no record, or none of a version that is known, which is left
/// as it is. Then `head` is what is before the info, and `version` is 1 or 2.
///
/// ARGV: how long a record may be.
macro_rules! prelude {
    () => {
        r"
        local length = redis.call('STRLEN', KEYS[1])
        if length == 0 and redis.call('EXISTS', KEYS[1]) == 0 then return {0, ''} end
        if length > tonumber(ARGV[1]) or length < 25 then return {2, ''} end
        local head = redis.call('GETRANGE', KEYS[1], 0, 24)
        local version = string.byte(head)
        if version == 2 then
            head = redis.call('GETRANGE', KEYS[1], 0, 33)
            if #head == 34 and string.sub(head, 26, 26) == 'c' then return {0, ''} end
        elseif version ~= 1 then
            return {2, string.sub(head, 1, 1)}
        end
        if length < #head + 2 then return {2, ''} end
        if redis.call('GETRANGE', KEYS[1], #head, #head) ~= '{' then return {2, string.char(version)} end
        if redis.call('GETRANGE', KEYS[1], -1, -1) ~= '}' then return {2, string.char(version)} end
        "
    };
}

/// Finds a record, writes the time of the look-up into it, and begins its time anew. Returns a list: what became of it,
/// and the record as it was before.
///
/// ARGV, from 2 on: where the time is (from 0), the time, milliseconds until it expires or 0.
static LOOK_UP: LazyLock<Scripted> = LazyLock::new(|| {
    Scripted::new(concat!(
        prelude!(),
        r"
        local record = redis.call('GET', KEYS[1])
        redis.call('SETRANGE', KEYS[1], ARGV[2], ARGV[3])
        if ARGV[4] == '0' then
            redis.call('PERSIST', KEYS[1])
        else
            redis.call('PEXPIRE', KEYS[1], ARGV[4])
        end
        return {1, record}
        "
    ))
});

/// Replaces the info of a record, if there is one, raises its revision, and changes nothing else. Returns the same as
/// the other, without a record.
///
/// ARGV, from 2 on: the info.
static UPDATE: LazyLock<Scripted> = LazyLock::new(|| {
    Scripted::new(concat!(
        prelude!(),
        r"
        if version == 2 then
            local revision = struct.unpack('>I8', head, 27)
            head = string.sub(head, 1, 26) .. struct.pack('>I8', revision + 1)
        end
        redis.call('SET', KEYS[1], head .. ARGV[2], 'KEEPTTL')
        return {1, ''}
        "
    ))
});

/// Removes a record, whatever it is. Of one of a cluster, it stays known for a minute that it is closed: see
/// `cluster/session.lua`.
static DESTROY: LazyLock<Scripted> = LazyLock::new(|| {
    Scripted::new(
        r"
        local head = redis.pcall('GETRANGE', KEYS[1], 0, 33)
        if type(head) == 'string' and #head == 34 and string.byte(head) == 2 then
            if string.sub(head, 26, 26) ~= 'o' then return {1, ''} end
            local revision = struct.unpack('>I8', head, 27)
            local closed = string.sub(head, 1, 25) .. 'c' .. struct.pack('>I8', revision + 1)
            redis.call('SET', KEYS[1], closed, 'PX', 60000)
        else
            redis.call('DEL', KEYS[1])
        end
        return {1, ''}
        ",
    )
});

/// A script with its text, which the library keeps to itself.
pub(crate) struct Scripted {
    text: String,
    digest: String,
}

impl Scripted {
    /// Comments are whole lines, and left out.
    pub(crate) fn new(text: &str) -> Self {
        let is_code = |line: &&str| !line.is_empty() && !line.starts_with("--");
        let lines: Vec<_> = text.lines().map(str::trim).filter(is_code).collect();
        let text = lines.join("\n");
        Self { digest: Script::new(&text).get_hash().to_string(), text }
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

    /// Runs a script with these names, all of one slot, and these arguments.
    pub(crate) fn script(script: &Scripted, names: &[&str], arguments: &[&[u8]]) -> Self {
        Self {
            command: run("EVALSHA", &script.digest, names, arguments),
            with_script: Some(run("EVAL", &script.text, names, arguments)),
            verb: "EVALSHA",
        }
    }

    /// The same, for requests that have to stay in order: the text goes with each. Those that the engine does not know
    /// by their digest would be sent once more, after later ones.
    pub(crate) fn script_in_order(script: &Scripted, names: &[&str], arguments: &[&[u8]]) -> Self {
        Self::of(run("EVAL", &script.text, names, arguments), "EVAL")
    }

    /// Tells the subscribers of a channel.
    pub(crate) fn publish(channel: &str, message: &[u8]) -> Self {
        let mut command = cmd("PUBLISH");
        command.arg(channel).arg(message);
        Self::of(command, "PUBLISH")
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
        let longest = record::LONGEST.to_string();
        let arguments: [&[u8]; 4] = [longest.as_bytes(), at.as_bytes(), now, expire.as_bytes()];
        Self::script(&LOOK_UP, &[name], &arguments)
    }

    /// Replaces the info of a record.
    pub(crate) fn update(name: &str, info: &str) -> Self {
        let longest = record::LONGEST.to_string();
        Self::script(&UPDATE, &[name], &[longest.as_bytes(), info.as_bytes()])
    }

    /// Removes a record.
    pub(crate) fn destroy(name: &str) -> Self {
        Self::script(&DESTROY, &[name], &[])
    }
}

fn run(verb: &str, script: &str, names: &[&str], arguments: &[&[u8]]) -> Cmd {
    let mut command = cmd(verb);
    command.arg(script).arg(names.len()).arg(names);
    for argument in arguments {
        command.arg(*argument);
    }
    command
}

/// Not zero: the settings are from a second to a century.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
