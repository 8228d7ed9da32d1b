//! MessagePack.

use rmp_serde::Deserializer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wwr::{FormatError, Payload};

use super::{FromPayload, ToPayload};

/// How errors and logs call it.
const NAME: &str = "MessagePack";

/// How deep values may be nested, as in JSON.
const DEPTH: usize = 128;

/// A value that is [MessagePack](https://msgpack.org) on the wire: a binary payload in which fields of
/// structs have their names.
///
/// Reading also accepts structs without names, and payloads of any encoding. Values may be nested about
/// as deep as in JSON.
///
/// ```
/// use wwr_async::{FromPayload, MessagePack, ToPayload};
///
/// let payload = MessagePack(("ada", 36)).to_payload()?;
/// assert_eq!(payload.as_bytes(), b"\x92\xa3ada\x24");
/// let MessagePack((name, age)) = MessagePack::<(String, u8)>::from_payload(payload)?;
/// assert_eq!((&*name, age), ("ada", 36));
/// # Ok::<(), wwr_async::FormatError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MessagePack<T>(pub T);

impl<T: DeserializeOwned> FromPayload for MessagePack<T> {
    fn from_payload(payload: Payload) -> Result<Self, FormatError> {
        let mut rest = payload.as_bytes();
        let mut deserializer = Deserializer::new(&mut rest);
        deserializer.set_max_depth(DEPTH);
        match T::deserialize(&mut deserializer) {
            Ok(_) if !rest.is_empty() => {
                let position = payload.len() - rest.len();
                let reason = format_args!("the value ends before byte {position}");
                Err(FormatError::unreadable(NAME, &"", &reason))
            }
            Ok(value) => Ok(Self(value)),
            Err(error) => Err(locate::<T>(payload.as_bytes(), &error)),
        }
    }
}

/// Reads the payload again to find out where it is wrong.
#[cold]
fn locate<T: DeserializeOwned>(mut data: &[u8], error: &rmp_serde::decode::Error) -> FormatError {
    let mut deserializer = Deserializer::new(&mut data);
    deserializer.set_max_depth(DEPTH);
    let failed = serde_path_to_error::deserialize::<_, T>(&mut deserializer).err();
    let path = failed.map(|failed| failed.path().to_string()).filter(|path| path != ".");
    FormatError::unreadable(NAME, &path.unwrap_or_default(), error)
}

impl<T: Serialize> ToPayload for MessagePack<T> {
    fn to_payload(&self) -> Result<Payload, FormatError> {
        match rmp_serde::to_vec_named(&self.0) {
            Ok(data) => Ok(data.into()),
            Err(error) => Err(FormatError::unwritable(NAME, &error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Step {
        by: [i8; 2],
        note: Option<String>,
    }

    #[test]
    fn a_value_comes_back() {
        let step = Step { by: [1, -1], note: Some("é".into()) };
        let payload = MessagePack(&step).to_payload().unwrap();
        assert_eq!(payload.as_bytes(), b"\x82\xa2by\x92\x01\xff\xa4note\xa2\xc3\xa9");
        assert_eq!(MessagePack::<Step>::from_payload(payload).unwrap().0, step);
        let nameless = Payload::from(b"\x92\x92\x01\xff\xa2\xc3\xa9");
        assert_eq!(MessagePack::<Step>::from_payload(nameless).unwrap().0, step);
    }

    #[test]
    fn errors_say_where() {
        let error = |data: &[u8]| MessagePack::<Step>::from_payload(data.into()).unwrap_err();
        assert_eq!(error(b"\x82\xa2by\x92\x01\xc3\xa4note\xc0").path(), "by[1]");
        assert_eq!(error(b"").path(), "");
        let trailing = error(b"\x82\xa2by\x92\x01\xff\xa4note\xc0\x01");
        let shown = "cannot read the MessagePack: the value ends before byte 13";
        assert_eq!(trailing.to_string(), shown);
    }

    #[test]
    fn deep_nesting_and_false_lengths_are_refused() {
        /// A value that may be nested to any depth.
        #[derive(Debug, Deserialize)]
        struct Nested(Vec<Self>);

        let read = |data: Vec<u8>| MessagePack::<Nested>::from_payload(data.into());
        let deep = read(vec![0x91; 100_000]).unwrap_err();
        assert!(deep.to_string().contains("depth"), "{deep}");
        // An array of 2^32 - 1 values, of which none follows.
        read(vec![0xdd, 0xff, 0xff, 0xff, 0xff]).unwrap_err();
        assert!(read(vec![0x90]).unwrap().0.0.is_empty());
    }
}
