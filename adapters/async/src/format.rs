//! Values as payloads: JSON, texts, and formats of an application's own.

#[cfg(feature = "msgpack")]
mod message_pack;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wwr::{FormatError, Payload};

#[cfg(feature = "msgpack")]
pub use message_pack::MessagePack;

/// What a payload can be read as.
///
/// Such a type can be an argument of a handler of a [`Router`](crate::server::Router), the result of
/// [`Client::call_as`](crate::client::Client::call_as), and the item of
/// [`Signals`](crate::client::Signals). For a format of your own, implement this and [`ToPayload`] for a
/// wrapper like [`Json`].
///
/// ```
/// use wwr_async::{FormatError, FromPayload, Payload, ToPayload};
///
/// /// Numbers, separated by commas.
/// struct Commas(Vec<u32>);
///
/// impl FromPayload for Commas {
///     fn from_payload(payload: Payload) -> Result<Self, FormatError> {
///         let text = String::from_payload(payload)?;
///         let numbers = text.split(',').enumerate().map(|(position, number)| {
///             let wrong = |error| FormatError::unreadable("list of numbers", &position, &error);
///             number.parse().map_err(wrong)
///         });
///         numbers.collect::<Result<_, _>>().map(Self)
///     }
/// }
///
/// impl ToPayload for Commas {
///     fn to_payload(&self) -> Result<Payload, FormatError> {
///         let numbers: Vec<_> = self.0.iter().map(u32::to_string).collect();
///         Ok(Payload::utf8(numbers.join(",")))
///     }
/// }
///
/// let Commas(numbers) = Commas::from_payload("1,2,3".into())?;
/// assert_eq!(numbers, [1, 2, 3]);
/// let error = Commas::from_payload("1,x".into()).err().unwrap();
/// assert_eq!(error.to_string(), "cannot read the list of numbers: 1: invalid digit found in string");
/// # Ok::<(), FormatError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a payload cannot be read as `{Self}`",
    note = "wrap a type that implements `serde::Deserialize` in `Json`, as in `Json<Message>`",
    note = "`String`, `Bytes` and `Payload` are read as they are"
)]
pub trait FromPayload: Sized {
    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`FormatError::unreadable`] if it is not of this format and type.
    fn from_payload(payload: Payload) -> Result<Self, FormatError>;
}

/// What can be written as a payload. Such a type can be the reply of a handler of a
/// [`Router`](crate::server::Router), and a request of
/// [`Client::call_as`](crate::client::Client::call_as).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be written as a payload",
    note = "wrap a type that implements `serde::Serialize` in `Json`, as in `Json(message)`",
    note = "`String`, `&'static str`, `Bytes` and `Payload` are written as they are"
)]
pub trait ToPayload {
    /// Writes the payload.
    ///
    /// # Errors
    ///
    /// [`FormatError::unwritable`] if the format cannot express the value.
    fn to_payload(&self) -> Result<Payload, FormatError>;
}

/// A value that is JSON on the wire.
///
/// ```
/// use wwr_async::{FromPayload, Json, ToPayload};
///
/// let payload = Json(["ada", "bob"]).to_payload()?;
/// assert_eq!(payload.text().unwrap(), r#"["ada","bob"]"#);
/// let Json(names) = Json::<Vec<String>>::from_payload(payload)?;
/// assert_eq!(names, ["ada", "bob"]);
/// # Ok::<(), wwr_async::FormatError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromPayload for Json<T> {
    /// Like [`Payload::read_json`]: nothing is `null`.
    fn from_payload(payload: Payload) -> Result<Self, FormatError> {
        payload.read_json().map(Self)
    }
}

impl<T: Serialize> ToPayload for Json<T> {
    fn to_payload(&self) -> Result<Payload, FormatError> {
        Payload::json(&self.0)
    }
}

impl FromPayload for Payload {
    fn from_payload(payload: Payload) -> Result<Self, FormatError> {
        Ok(payload)
    }
}

impl ToPayload for Payload {
    fn to_payload(&self) -> Result<Payload, FormatError> {
        Ok(self.clone())
    }
}

impl FromPayload for Bytes {
    /// The bytes, whatever the encoding.
    fn from_payload(payload: Payload) -> Result<Self, FormatError> {
        Ok(payload.into_bytes())
    }
}

impl ToPayload for Bytes {
    /// A binary payload.
    fn to_payload(&self) -> Result<Payload, FormatError> {
        Ok(self.clone().into())
    }
}

impl FromPayload for String {
    /// The text, in any encoding; see [`Payload::text`].
    fn from_payload(payload: Payload) -> Result<Self, FormatError> {
        match payload.text() {
            Ok(text) => Ok(text.into_owned()),
            Err(error) => Err(FormatError::unreadable("text", &"", &error)),
        }
    }
}

impl ToPayload for String {
    /// A UTF-8 payload.
    fn to_payload(&self) -> Result<Payload, FormatError> {
        Ok(self.as_str().into())
    }
}

impl ToPayload for &'static str {
    /// A UTF-8 payload, without a copy.
    fn to_payload(&self) -> Result<Payload, FormatError> {
        Ok(Payload::utf8_static(self))
    }
}

#[cfg(test)]
mod tests {
    use wwr::Encoding;

    use super::*;

    #[test]
    fn texts_and_bytes_are_read_and_written_as_they_are() {
        let utf16 = Payload::utf16("é");
        assert_eq!(String::from_payload(utf16.clone()).unwrap(), "é");
        assert_eq!(Bytes::from_payload(utf16.clone()).unwrap(), &b"\xe9\0"[..]);
        assert_eq!(Payload::from_payload(utf16.clone()).unwrap(), utf16);
        assert_eq!(utf16.to_payload().unwrap(), utf16);
        let error = String::from_payload(Payload::binary(&b"\xff"[..])).unwrap_err();
        assert!(error.to_string().starts_with("cannot read the text: invalid utf-8"), "{error}");
        for text in ["é".to_payload().unwrap(), "é".to_owned().to_payload().unwrap()] {
            assert_eq!(text, Payload::utf8("é"));
        }
        let bytes = Bytes::from_static(b"x").to_payload().unwrap();
        assert_eq!((bytes.encoding(), bytes.as_bytes()), (Encoding::Binary, &b"x"[..]));
    }
}
