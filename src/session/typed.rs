//! Session info as types of the application.

use core::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::info::{OnUnreadable, SessionInfo};
use super::object::Session;

/// Why a type of the application is no session info, or session info is not of the type. The text
/// names the field or the place, for the log; it may contain values.
#[derive(Debug)]
pub struct TypedInfoError {
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Json(serde_json::Error),
    Info(super::info::InvalidInfo),
}

impl fmt::Display for TypedInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Json(error) => write!(f, "session info of this type: {error}"),
            Cause::Info(error) => write!(f, "session info of this type: {error}"),
        }
    }
}

impl core::error::Error for TypedInfoError {}

impl From<serde_json::Error> for TypedInfoError {
    fn from(error: serde_json::Error) -> Self {
        Self { cause: Cause::Json(error) }
    }
}

impl From<super::info::InvalidInfo> for TypedInfoError {
    fn from(error: super::info::InvalidInfo) -> Self {
        Self { cause: Cause::Info(error) }
    }
}

impl SessionInfo {
    /// Adds or replaces the fields of a struct, or of anything else that is an object in JSON. The
    /// client sees them. [`to`](Self::to) reads them back.
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
    /// assert_eq!(info.to::<User>()?, user);
    /// # Ok::<(), TypedInfoError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`TypedInfoError`] if the value is not an object in JSON, or has a field that session info
    /// cannot have: one that is nested more deeply than [`MAX_DEPTH`](Self::MAX_DEPTH).
    pub fn with_public<T: Serialize + ?Sized>(self, fields: &T) -> Result<Self, TypedInfoError> {
        let json = serde_json::to_string(fields)?;
        Ok(self.with_public_json(&json, OnUnreadable::Refuse)?)
    }

    /// Like [`with_public`](Self::with_public), with fields that stay on the server.
    ///
    /// # Errors
    ///
    /// As for [`with_public`](Self::with_public).
    pub fn with_private<T: Serialize + ?Sized>(self, fields: &T) -> Result<Self, TypedInfoError> {
        let json = serde_json::to_string(fields)?;
        Ok(self.with_private_json(&json, OnUnreadable::Refuse)?)
    }

    /// Reads the fields, public and private, as a type of the application. On a client there are only
    /// the public ones.
    ///
    /// # Errors
    ///
    /// [`TypedInfoError`] if a field is missing or has another type.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, TypedInfoError> {
        Ok(serde_json::from_str(&self.to_object()?)?)
    }
}

impl Session {
    /// Reads the info as a type of the application: see [`SessionInfo::to`].
    ///
    /// # Errors
    ///
    /// As for [`SessionInfo::to`].
    pub fn info_as<T: DeserializeOwned>(&self) -> Result<T, TypedInfoError> {
        self.info.to()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString};
    use alloc::vec::Vec;
    use alloc::{format, vec};

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::session::SessionKey;
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
        assert_eq!(stored.info_as::<User>().unwrap(), user());
        assert_eq!(stored.info_as::<Kept>().unwrap(), kept);
        let sent = Session::from_json(session.to_json().as_bytes()).unwrap();
        assert_eq!(sent.info_as::<User>().unwrap(), user());
        assert_eq!(sent.info_as::<Kept>().unwrap(), Kept { secret: None });
    }

    #[test]
    fn numbers_keep_every_digit() {
        #[derive(Serialize, Deserialize)]
        struct Balance {
            balance: u128,
        }
        let balance = Balance { balance: u128::MAX };
        let info = SessionInfo::new().with_private(&balance).unwrap();
        assert_eq!(info.to::<Balance>().unwrap().balance, u128::MAX);
    }

    #[test]
    fn later_fields_replace_earlier_ones_public_or_private() {
        let info = SessionInfo::new().public("secret", "seen");
        let info = info.with_private(&Kept { secret: None }).unwrap();
        assert!(info.to_public().is_empty());
        assert_eq!(info.to::<Kept>().unwrap(), Kept { secret: None });
    }

    #[test]
    fn errors_say_what_does_not_fit() {
        let error = SessionInfo::new().public("name", 1).to::<User>().unwrap_err();
        assert!(error.to_string().contains("expected a string"), "{error}");
        let error = SessionInfo::new().to::<User>().unwrap_err();
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
}
