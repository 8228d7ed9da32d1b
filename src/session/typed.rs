//! Session info as types of the application.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::info::{InvalidInfo, OnUnreadable, SessionInfo};
use crate::format::{self, FormatError};

/// Why a type of the application is no session info, or session info is not of the type. The text
/// names the field or the place, for the log; it may contain values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session info of this type: {cause}")]
pub struct TypedInfoError {
    cause: Cause,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Format(FormatError),
    #[error(transparent)]
    Info(InvalidInfo),
}

impl TypedInfoError {
    /// Returns the field that is not of its type, as a path such as `roles[1].name`. Empty if there is no
    /// such field, for example because it is missing.
    pub fn path(&self) -> &str {
        match &self.cause {
            Cause::Format(error) => error.path(),
            Cause::Info(_) => "",
        }
    }
}

impl From<FormatError> for TypedInfoError {
    fn from(error: FormatError) -> Self {
        Self { cause: Cause::Format(error) }
    }
}

impl From<InvalidInfo> for TypedInfoError {
    fn from(error: InvalidInfo) -> Self {
        Self { cause: Cause::Info(error) }
    }
}

impl SessionInfo {
    /// Adds or replaces the fields of a struct, or of anything else that is an object in JSON. The
    /// client sees them. [`read`](Self::read) reads them back.
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use wwr::{SessionInfo, TypedInfoError};
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// struct User {
    ///     name: String,
    ///     roles: Vec<String>,
    /// }
    ///
    /// let user = User { name: "ada".into(), roles: vec!["admin".into()] };
    /// let info = SessionInfo::new().with_public(&user)?.private("quota", 10);
    /// assert_eq!(info.read::<User>()?, user);
    /// # Ok::<(), TypedInfoError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TypedInfoError`] if the value is not an object in JSON, or has a field that session info
    /// cannot have: one that is nested more deeply than [`MAX_DEPTH`](Self::MAX_DEPTH).
    pub fn with_public<T: Serialize + ?Sized>(self, fields: &T) -> Result<Self, TypedInfoError> {
        let json = format::write(fields)?;
        Ok(self.with_public_json(&json, OnUnreadable::Refuse)?)
    }

    /// Like [`with_public`](Self::with_public), with fields that stay on the server.
    ///
    /// # Errors
    ///
    /// As for [`with_public`](Self::with_public).
    pub fn with_private<T: Serialize + ?Sized>(self, fields: &T) -> Result<Self, TypedInfoError> {
        let json = format::write(fields)?;
        Ok(self.with_private_json(&json, OnUnreadable::Refuse)?)
    }

    /// Reads the fields, public and private, as a type of the application. On a client there are only
    /// the public ones.
    ///
    /// ```
    /// use wwr::{SessionInfo, TypedInfoError};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct User {
    ///     name: String,
    ///     admin: bool,
    /// }
    ///
    /// let info = SessionInfo::new().public("name", "ada").private("admin", true);
    /// let user: User = info.read()?;
    /// assert!(user.name == "ada" && user.admin);
    /// # Ok::<(), TypedInfoError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TypedInfoError`] if a field is missing or is not of its type. The path names the field. In a
    /// handler of requests, `?` makes it an internal error: it is not the client's mistake.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, TypedInfoError> {
        let object = self.to_object().map_err(|error| FormatError::unwritable("JSON", &error))?;
        Ok(format::read(object.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use alloc::{format, vec};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::session::{Session, SessionKey};
    use crate::time::UnixTime;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct User {
        name: String,
        roles: Vec<Role>,
        score: f64,
        id: u64,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Role {
        Admin,
        Guest { until: i64 },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Kept {
        secret: Option<String>,
    }

    fn user() -> User {
        let roles = vec![Role::Admin, Role::Guest { until: -1 }];
        User { name: "ada \u{1f600}\0".into(), roles, score: 0.1, id: u64::MAX }
    }

    #[test]
    fn types_pass_through_the_store_and_the_client_sees_only_what_is_public() {
        let kept = Kept { secret: Some("x".into()) };
        let info = SessionInfo::new().with_public(&user()).unwrap().with_private(&kept).unwrap();
        let key = SessionKey::new("k").unwrap();
        let session = Session::new(key.clone(), UnixTime::from_seconds(0), info);
        assert_eq!(session.check(), Ok(()));
        let stored = Session::from_stored(key, session.to_stored().as_bytes()).unwrap();
        assert_eq!(stored.info.read::<User>().unwrap(), user());
        assert_eq!(stored.info.read::<Kept>().unwrap(), kept);
        let sent = Session::from_json(session.to_json().as_bytes()).unwrap();
        assert_eq!(sent.info.read::<User>().unwrap(), user());
        assert_eq!(sent.info.read::<Kept>().unwrap(), Kept { secret: None });
    }

    #[test]
    fn numbers_keep_every_digit() {
        #[derive(Serialize, Deserialize)]
        struct Balance {
            balance: u128,
        }
        let balance = Balance { balance: u128::MAX };
        let info = SessionInfo::new().with_private(&balance).unwrap();
        assert_eq!(info.read::<Balance>().unwrap().balance, u128::MAX);
    }

    #[test]
    fn later_fields_replace_earlier_ones_public_or_private() {
        let info = SessionInfo::new().public("secret", "seen");
        let info = info.with_private(&Kept { secret: None }).unwrap();
        assert!(info.to_public().is_empty());
        assert_eq!(info.read::<Kept>().unwrap(), Kept { secret: None });
    }

    #[test]
    fn errors_say_what_does_not_fit() {
        let error = SessionInfo::new().public("name", 1).read::<User>().unwrap_err();
        assert!(error.to_string().contains("expected a string"), "{error}");
        let error = SessionInfo::new().read::<User>().unwrap_err();
        assert!(error.to_string().contains("missing field `name`"), "{error}");
        for error in [
            SessionInfo::new().with_public("text").unwrap_err(),
            SessionInfo::new().with_private(&[1, 2][..]).unwrap_err(),
        ] {
            assert!(error.to_string().contains("JSON object"), "{error}");
        }
        let mut deep = serde_json::Value::Null;
        for _ in 0..=SessionInfo::MAX_DEPTH {
            deep = serde_json::Value::Array(vec![deep]);
        }
        let deep = serde_json::Map::from_iter([("deep".to_string(), deep)]);
        let error = SessionInfo::new().with_public(&deep).unwrap_err();
        let most = format!("more than {} levels", SessionInfo::MAX_DEPTH);
        assert!(error.to_string().contains(&most), "{error}");
    }

    #[test]
    fn session_info_is_read_with_every_digit() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Account {
            #[serde(rename = "a\"b")]
            odd: bool,
            balance: u128,
        }
        let info =
            SessionInfo::from_public_json(r#"{"balance":123456789012345678901234567890}"#).unwrap();
        let info = info.private("a\"b", true).public("other", 1);
        let account = Account { odd: true, balance: 123_456_789_012_345_678_901_234_567_890 };
        assert_eq!(info.read::<Account>().unwrap(), account);
        let error = info.public("balance", "x").read::<Account>().unwrap_err();
        assert_eq!(error.path(), "balance");
        assert!(SessionInfo::new().read::<Account>().is_err());
        SessionInfo::new().read::<BTreeMap<String, u8>>().unwrap();
    }
}
