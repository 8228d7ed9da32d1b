//! What an application knows about a session.

use alloc::collections::BTreeMap;
use alloc::string::String;

use serde_json::{Map, Value};

/// The fields of a session: names and JSON values, sorted by name.
///
/// Public fields are sent to the client with the session, private ones are only stored.
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
    fields: BTreeMap<String, Field>,
}

#[derive(Clone, Debug, PartialEq)]
struct Field {
    value: Value,
    visibility: Visibility,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visibility {
    Public,
    Private,
}

impl SessionInfo {
    /// No fields.
    pub const fn new() -> Self {
        Self { fields: BTreeMap::new() }
    }

    /// Adds or replaces a field that the client gets to see.
    #[must_use]
    pub fn public(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(name.into(), value.into(), Visibility::Public)
    }

    /// Adds or replaces a field that stays on the server.
    #[must_use]
    pub fn private(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(name.into(), value.into(), Visibility::Private)
    }

    fn with(mut self, name: String, value: Value, visibility: Visibility) -> Self {
        self.fields.insert(name, Field { value, visibility });
        self
    }

    /// All members of a JSON object as public fields.
    pub fn from_public(object: Map<String, Value>) -> Self {
        object.into_iter().fold(Self::new(), |info, (name, value)| info.public(name, value))
    }

    /// The value of a field, public or private.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).map(|field| &field.value)
    }

    /// The names of all fields, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The public fields as a JSON object: what the client sees.
    pub fn to_public(&self) -> Map<String, Value> {
        self.select(Visibility::Public)
    }

    /// The private fields as a JSON object.
    pub fn to_private(&self) -> Map<String, Value> {
        self.select(Visibility::Private)
    }

    fn select(&self, visibility: Visibility) -> Map<String, Value> {
        let selected = self.fields.iter().filter(|(_, field)| field.visibility == visibility);
        selected.map(|(name, field)| (name.clone(), field.value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use serde_json::json;

    use super::*;

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
    fn the_last_value_of_a_name_counts_and_so_does_who_sees_it() {
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
}
