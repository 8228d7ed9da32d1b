//! What an application knows about a session.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::number::is_kept_by_value;

/// The fields of a session: names and JSON values, sorted by name.
///
/// Public fields are sent to the client with the session, private ones are only stored.
///
/// A [`Value`] holds integers of 64 bits and finite floating-point numbers of 64 bits. A field with
/// other numbers, read from JSON, keeps its text: [`value`](Self::value) then returns the nearest
/// numbers, while [`json`](Self::json), the client and the store get them digit for digit.
///
/// ```
/// use wwr::SessionInfo;
///
/// let info = SessionInfo::new().public("user", "ada").private("quota", 10);
/// assert_eq!(info.value("user"), Some(&"ada".into()));
/// assert_eq!(info.names().collect::<Vec<_>>(), ["quota", "user"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionInfo {
    /// Instead of fields that were not read, one without a name holds their text.
    fields: BTreeMap<String, Field>,
}

#[derive(Clone, Debug)]
struct Field {
    value: Value,
    /// The text it was read from, if that has numbers that the value cannot hold.
    exact: Option<Box<RawValue>>,
    visibility: Visibility,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visibility {
    Public,
    Private,
    /// It is the text of all fields.
    Unread,
}

/// The JSON text is not a [`SessionInfo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInfo {
    /// It is not JSON, or not an object.
    #[error("session info is a JSON object")]
    NotAnObject,
    /// A field is nested more deeply than [`SessionInfo::MAX_DEPTH`], has a number beyond what 64-bit
    /// floating point holds, or half of a surrogate pair.
    #[error(
        "a field of the session info is nested more than {most} levels deep, has a number \
         beyond 64-bit floating point, or half of a surrogate pair",
        most = SessionInfo::MAX_DEPTH
    )]
    UnreadableField,
}

impl SessionInfo {
    /// The maximum depth of arrays and objects in the value of a field: 125 levels. The clients and
    /// stores of this crate read that much, with the field itself two levels down.
    pub const MAX_DEPTH: usize = 125;

    /// Returns an empty set of fields.
    pub const fn new() -> Self {
        Self { fields: BTreeMap::new() }
    }

    /// Adds or replaces a field that the client sees. A number that is not finite becomes `null`,
    /// as everywhere in JSON.
    #[must_use]
    pub fn public(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(name.into(), value.into(), None, Visibility::Public)
    }

    /// Adds or replaces a field that stays on the server.
    #[must_use]
    pub fn private(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(name.into(), value.into(), None, Visibility::Private)
    }

    fn with(
        mut self,
        name: String,
        value: Value,
        exact: Option<Box<RawValue>>,
        visibility: Visibility,
    ) -> Self {
        self.fields.insert(name, Field { value, exact, visibility });
        self
    }

    /// Makes all members of a JSON object public fields.
    pub fn from_public(object: Map<String, Value>) -> Self {
        object.into_iter().fold(Self::new(), |info, (name, value)| info.public(name, value))
    }

    /// Makes all members of the JSON object in this text public fields, with every digit of their
    /// numbers. The last one of several members with the same name counts.
    ///
    /// ```
    /// use wwr::SessionInfo;
    ///
    /// let info = SessionInfo::from_public_json(r#"{"balance":123456789012345678901234567890}"#)?;
    /// assert_eq!(info.json("balance").as_deref(), Some("123456789012345678901234567890"));
    /// # Ok::<(), wwr::InvalidInfo>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInfo`] if the text is not an object, or has a field that cannot be read.
    pub fn from_public_json(object: &str) -> Result<Self, InvalidInfo> {
        Self::new().with_members(object, Visibility::Public, OnUnreadable::Refuse)
    }

    /// Keeps this JSON text of the fields, and does not read it: all methods but
    /// [`unread_json`](Self::unread_json) find no fields. For a host that has a reader of JSON, as browsers
    /// do, and hands the text on: a program that reads sessions in no other way than
    /// [its own](crate::client::Client::with_reader) does not contain the reader of this crate.
    ///
    /// ```
    /// use wwr::SessionInfo;
    ///
    /// let info = SessionInfo::unread(r#"{"user":"ada"}"#);
    /// assert_eq!((info.unread_json(), info.value("user")), (Some(r#"{"user":"ada"}"#), None));
    /// ```
    pub fn unread(json: impl Into<String>) -> Self {
        Self::new().with(String::new(), Value::String(json.into()), None, Visibility::Unread)
    }

    /// Returns the JSON text of the fields, if it was not read.
    pub fn unread_json(&self) -> Option<&str> {
        let unread = self.fields.values().find(|field| field.visibility == Visibility::Unread);
        unread.and_then(|field| field.value.as_str())
    }

    /// Adds the members of a JSON object that a peer or a store wrote.
    pub(super) fn with_public_json(
        self,
        object: &str,
        on_unreadable: OnUnreadable,
    ) -> Result<Self, InvalidInfo> {
        self.with_members(object, Visibility::Public, on_unreadable)
    }

    /// Like [`with_public_json`](Self::with_public_json), for private fields.
    pub(super) fn with_private_json(
        self,
        object: &str,
        on_unreadable: OnUnreadable,
    ) -> Result<Self, InvalidInfo> {
        self.with_members(object, Visibility::Private, on_unreadable)
    }

    fn with_members(
        self,
        object: &str,
        visibility: Visibility,
        on_unreadable: OnUnreadable,
    ) -> Result<Self, InvalidInfo> {
        let members = members(object).ok_or(InvalidInfo::NotAnObject)?;
        members.into_iter().try_fold(self, |info, (name, json)| {
            let value = serde_json::from_str(json.get()).ok();
            match (value.filter(|value| !exceeds_depth(value, Self::MAX_DEPTH)), on_unreadable) {
                (Some(value), _) => {
                    let exact = (!is_kept_by_value(json.get())).then(|| json.to_owned());
                    Ok(info.with(name, value, exact, visibility))
                }
                (None, OnUnreadable::LeaveOut) => Ok(info),
                (None, OnUnreadable::Refuse) => Err(InvalidInfo::UnreadableField),
            }
        })
    }

    /// Returns the value of a field, public or private. See [above](Self) for numbers that it
    /// cannot hold.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.field(name).map(|field| &field.value)
    }

    /// Returns the JSON of a field, public or private, with every digit of its numbers.
    pub fn json(&self, name: &str) -> Option<Cow<'_, str>> {
        self.field(name).map(Field::json)
    }

    /// Returns the names of all fields, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known().map(|(name, _)| name.as_str())
    }

    /// Returns whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.known().next().is_none()
    }

    /// The fields that were read.
    fn known(&self) -> impl Iterator<Item = (&String, &Field)> {
        self.fields.iter().filter(|(_, field)| field.visibility != Visibility::Unread)
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(name).filter(|field| field.visibility != Visibility::Unread)
    }

    /// Returns the public fields as a JSON object: what the client sees.
    pub fn to_public(&self) -> Map<String, Value> {
        self.select(Visibility::Public)
    }

    /// Returns the private fields as a JSON object.
    pub fn to_private(&self) -> Map<String, Value> {
        self.select(Visibility::Private)
    }

    fn select(&self, visibility: Visibility) -> Map<String, Value> {
        let selected = self.fields.iter().filter(|(_, field)| field.visibility == visibility);
        selected.map(|(name, field)| (name.clone(), field.value.clone())).collect()
    }

    /// Returns all fields, public and private, as one JSON object.
    pub(super) fn to_object(&self) -> Result<String, serde_json::Error> {
        match self.unread_json() {
            Some(_) => Ok("{}".into()),
            None => serde_json::to_string(&self.fields),
        }
    }

    /// Returns the public fields for serialising. `None` if there are no such fields.
    pub(super) fn public_fields(&self) -> Option<Fields<'_>> {
        self.fields_of(Visibility::Public)
    }

    /// Returns the private fields for serialising. `None` if there are no such fields.
    pub(super) fn private_fields(&self) -> Option<Fields<'_>> {
        self.fields_of(Visibility::Private)
    }

    fn fields_of(&self, visibility: Visibility) -> Option<Fields<'_>> {
        let any = self.fields.values().any(|field| field.visibility == visibility);
        any.then_some(Fields { fields: &self.fields, visibility })
    }

    /// An upper bound for the length of all fields as JSON, in bytes. It costs far less than to write
    /// that JSON.
    pub(super) fn max_json_length(&self) -> usize {
        let fields = self.fields.iter();
        let lengths = fields.map(|(name, field)| max_text_length(name) + 2 + field.max_length());
        lengths.fold(2, usize::saturating_add)
    }

    /// Returns whether a field is nested more deeply than [`MAX_DEPTH`](Self::MAX_DEPTH).
    pub(crate) fn is_too_deep(&self) -> bool {
        self.fields.values().any(|field| exceeds_depth(&field.value, Self::MAX_DEPTH))
    }
}

/// What happens if a field cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnUnreadable {
    /// The field is left out.
    LeaveOut,
    /// The whole object is refused.
    Refuse,
}

/// Returns the members of a JSON object by name, unread. `None` if the text is not an object. Does
/// not recurse, however deeply the object is nested.
pub(super) fn members(object: &str) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_str(object).ok()
}

/// Returns whether arrays and objects in this value are nested deeper than a number of levels.
fn exceeds_depth(value: &Value, levels: usize) -> bool {
    let within = |inner: &Value| match levels.checked_sub(1) {
        Some(levels) => exceeds_depth(inner, levels),
        None => false,
    };
    match value {
        Value::Array(_) | Value::Object(_) if levels == 0 => true,
        Value::Array(values) => values.iter().any(within),
        Value::Object(members) => members.values().any(within),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// An upper bound for the length of a value as JSON, in bytes. Values as deep as
/// [`SessionInfo::MAX_DEPTH`] only.
fn max_value_length(value: &Value) -> usize {
    /// What 64 bits take at most in decimal, be they an integer or a floating-point number.
    const NUMBER: usize = 32;

    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => NUMBER,
        Value::String(text) => max_text_length(text),
        Value::Array(values) => {
            let lengths = values.iter().map(|value| max_value_length(value) + 1);
            lengths.fold(2, usize::saturating_add)
        }
        Value::Object(members) => {
            let lengths = members
                .iter()
                .map(|(name, value)| max_text_length(name) + max_value_length(value) + 2);
            lengths.fold(2, usize::saturating_add)
        }
    }
}

/// An upper bound for the length of a text as JSON, in bytes: every byte may be escaped (`\u001f`).
const fn max_text_length(text: &str) -> usize {
    text.len().saturating_mul(6).saturating_add(2)
}

impl Field {
    fn max_length(&self) -> usize {
        match &self.exact {
            Some(exact) => max_text_length(exact.get()),
            None => max_value_length(&self.value),
        }
    }

    fn json(&self) -> Cow<'_, str> {
        match &self.exact {
            Some(exact) => Cow::Borrowed(exact.get()),
            None => Cow::Owned(self.value.to_string()),
        }
    }
}

impl PartialEq for Field {
    /// Numbers that the value cannot hold count, too.
    fn eq(&self, other: &Self) -> bool {
        let same = match (&self.exact, &other.exact) {
            (None, None) => self.value == other.value,
            _ => self.value == other.value && self.json() == other.json(),
        };
        same && self.visibility == other.visibility
    }
}

/// The fields of one kind as a JSON object.
pub(super) struct Fields<'a> {
    fields: &'a BTreeMap<String, Field>,
    visibility: Visibility,
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = self.fields.iter();
        serializer.collect_map(fields.filter(|(_, field)| field.visibility == self.visibility))
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.exact {
            Some(exact) => exact.serialize(serializer),
            None => self.value.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec::Vec;

    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_were_not_read_are_in_no_list() {
        let info = SessionInfo::unread(r#"{"user":"ada","":1}"#);
        assert_eq!(info.unread_json(), Some(r#"{"user":"ada","":1}"#));
        assert_eq!((info.value(""), info.json(""), info.value("user")), (None, None, None));
        assert_eq!((info.names().count(), info.is_empty()), (0, true));
        assert_eq!((info.to_public(), info.to_private()), (Map::new(), Map::new()));
        assert!(info.public_fields().is_none() && info.private_fields().is_none());
        assert_eq!(info.to_object().unwrap(), "{}");
        assert_eq!(SessionInfo::new().public("", 1).unread_json(), None);
    }

    #[test]
    fn every_field_is_either_public_or_private() {
        let info = SessionInfo::new().public("b", 1).private("c", 2).public("a", 3);
        assert_eq!(info.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(Value::Object(info.to_public()), json!({ "a": 3, "b": 1 }));
        assert_eq!(Value::Object(info.to_private()), json!({ "c": 2 }));
        assert_eq!(info.value("c"), Some(&json!(2)));
        assert_eq!(info.value("d"), None);
    }

    #[test]
    fn the_last_value_and_visibility_of_a_name_count() {
        let info = SessionInfo::new().public("a", 1).private("a", 2);
        assert_eq!(info, SessionInfo::new().private("a", 2));
        assert!(info.to_public().is_empty());
    }

    #[test]
    fn private_fields_are_fields() {
        assert!(SessionInfo::new().is_empty());
        assert!(!SessionInfo::new().private("a", 1).is_empty());
        assert!(!SessionInfo::new().public("a", 1).is_empty());
    }

    #[test]
    fn numbers_keep_every_digit() {
        let text = r#"{"a":123456789012345678901234567890,"b":[0.10000000000000000001,{"c":-18446744073709551616}],"d":1.50,"e":1e-400}"#;
        let info = SessionInfo::from_public_json(text).unwrap();
        for (name, json) in [
            ("a", "123456789012345678901234567890"),
            ("b", r#"[0.10000000000000000001,{"c":-18446744073709551616}]"#),
            ("d", "1.5"),
            ("e", "1e-400"),
        ] {
            assert_eq!(info.json(name).as_deref(), Some(json));
        }
        assert_eq!(info.json("f"), None);
        assert_eq!(info.value("a"), Some(&json!(1.2345678901234568e29)));
        assert_eq!(info, SessionInfo::from_public_json(text).unwrap());
        let other = text.replace("567890,", "567891,");
        assert_ne!(info, SessionInfo::from_public_json(&other).unwrap());
    }

    #[test]
    fn unreadable_json_is_refused() {
        let nested = |levels| {
            let (open, close) = ("[".repeat(levels), "]".repeat(levels));
            alloc::format!(r#"{{"deep":{open}{close}}}"#)
        };
        let most = SessionInfo::MAX_DEPTH;
        assert!(SessionInfo::from_public_json(&nested(most)).is_ok());
        let deep = nested(most + 1);
        let very_deep = nested(1_000_000);
        for unreadable in [&*deep, &*very_deep, r#"{"a":1e400}"#, r#"{"a":"\ud800"}"#] {
            let refused = SessionInfo::from_public_json(unreadable);
            assert_eq!(refused, Err(InvalidInfo::UnreadableField));
        }
        for no_object in ["", "[]", "1", "{}x", r#"{"a":}"#, "null"] {
            let refused = SessionInfo::from_public_json(no_object);
            assert_eq!(refused, Err(InvalidInfo::NotAnObject), "{no_object}");
        }
    }

    #[test]
    fn no_json_is_longer_than_the_upper_bound() {
        for value in [
            json!(null),
            json!(false),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(-f64::MIN_POSITIVE),
            json!(f64::MAX),
            json!(-2.2250738585072014e-308),
            json!(""),
            json!("\u{1f}\"\\\n<&\u{2028}"),
            json!([]),
            json!([[], [1], {}]),
            json!({ "\u{1}": ["<", {}], "": { "a": null } }),
        ] {
            let info = SessionInfo::new().public("\u{1f}", value.clone()).private("", value);
            let json = |fields: Option<Fields<'_>>| serde_json::to_string(&fields).unwrap().len();
            let length = json(info.public_fields()) + json(info.private_fields()) - 2;
            assert!(length <= info.max_json_length(), "{info:?}");
        }
        let exact = format!(r#"{{"n":{}}}"#, "1".repeat(300));
        let info = SessionInfo::from_public_json(&exact).unwrap();
        assert!(exact.len() <= info.max_json_length());
    }

    #[test]
    fn the_last_member_of_a_name_counts_and_any_name_is_kept() {
        let info = SessionInfo::from_public_json("{\"\":1,\"\\u0000\":2,\"a\":3,\"a\":4}").unwrap();
        assert_eq!(info.names().collect::<Vec<_>>(), ["", "\0", "a"]);
        assert_eq!(info.value("a"), Some(&json!(4)));
    }
}
