//! What happens, in words that can be compared.

use data_encoding::HEXLOWER;
use serde_json::Value;
use wwr::UnixTime;

/// A message in words that can be compared: hex, and the JSON of sessions without its times.
pub(crate) fn words(frame: &[u8]) -> String {
    let header = match frame.first() {
        Some(0x15) => 1,
        Some(0xc0) => 9,
        _ => frame.len(),
    };
    match serde_json::from_slice(&frame[header..]) {
        Ok(Value::Object(mut session)) if session.contains_key("k") => {
            for time in ["c", "l"] {
                let time = session.remove(time).expect("a time");
                time.as_str().expect("text").parse::<UnixTime>().expect("RFC 3339");
            }
            let session = as_floats(Value::Object(session));
            format!("{} {session}", HEXLOWER.encode(&frame[..header]))
        }
        _ => HEXLOWER.encode(frame),
    }
}

fn as_floats(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(values) => values.into_iter().map(as_floats).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name, as_floats(value))).collect()
        }
        other => other,
    }
}

/// An event of the application, without what the messages show anyway.
pub(crate) fn shortened(text: &str) -> String {
    let text = text.strip_prefix("session manager ").unwrap_or(text);
    for event in ["OnRequest(", "OnSignal("] {
        if let Some((_, named)) = text.strip_prefix(event).and_then(|rest| rest.split_once("name "))
        {
            let name = named.split("; ").next().unwrap_or(named).trim_end_matches(')');
            return format!("{event}name {name})");
        }
    }
    text.to_owned()
}
