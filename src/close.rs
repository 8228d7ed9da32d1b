//! What WebSocket close frames say.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

/// Code and reason of a WebSocket close frame (RFC 6455 §5.5.1, RFC 6455 §7.4).
///
/// [`new`](Self::new) checks a frame to send; [`received`](Self::received) takes a received one as
/// it is. A peer may have written the text of the reason: [`Display`] shows it escaped, in one
/// line, for logs.
///
/// [`Display`]: fmt::Display
///
/// ```
/// use wwr::CloseFrame;
///
/// let banned = CloseFrame::new(4003, "banned")?;
/// assert_eq!((banned.code(), banned.reason()), (4003, "banned"));
/// assert_eq!(banned.to_string(), "4003 \"banned\"");
/// assert!(CloseFrame::new(1006, "").is_err());
/// # Ok::<(), wwr::InvalidCloseFrame>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CloseFrame {
    code: u16,
    reason: Cow<'static, str>,
}

/// Why a close frame is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidCloseFrame {
    /// The code must not be sent (RFC 6455 §7.4).
    #[error(
        "close code {code} must not be sent: 1000 to 1003, 1007 to 1013 and 3000 to 4999 may be, of \
             which 4000 to 4999 are for applications"
    )]
    Code {
        /// The code.
        code: u16,
    },
    /// The reason does not fit into a control frame (RFC 6455 §5.5).
    #[error(
        "the reason has {length} bytes of UTF-8, a close frame holds {}",
        CloseFrame::MAX_REASON
    )]
    ReasonTooLong {
        /// The length of the reason in bytes of UTF-8.
        length: usize,
    },
}

impl CloseFrame {
    /// The longest reason, in bytes of UTF-8: 123.
    pub const MAX_REASON: usize = 123;

    /// The close frame of a connection that has fulfilled its purpose: code 1000, no reason.
    pub const NORMAL: Self = Self::known(1000, "");

    /// The close frame of a connection whose session is served elsewhere, or will be here again: code 1012, which
    /// the registry of RFC 6455 has for servers that restart.
    pub(crate) const MOVED: Self = Self::known(1012, "reconnect");

    /// The code that a received frame without a code counts as (RFC 6455 §7.1.5). Never sent.
    pub const NO_CODE: u16 = 1005;

    /// Creates a close frame to send. The codes 4000 to 4999 are for applications.
    ///
    /// # Errors
    ///
    /// [`InvalidCloseFrame`] if the code must not be sent (RFC 6455 §7.4), or the reason is longer
    /// than [`MAX_REASON`](Self::MAX_REASON).
    pub fn new(code: u16, reason: impl Into<String>) -> Result<Self, InvalidCloseFrame> {
        let reason = reason.into();
        match Self::check(code, &reason) {
            Ok(()) => Ok(Self { code, reason: Cow::Owned(reason) }),
            Err(error) => Err(error),
        }
    }

    /// As [`new`](Self::new), for a reason that lives as long as the program: copies and allocates
    /// nothing.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub const fn from_static(code: u16, reason: &'static str) -> Result<Self, InvalidCloseFrame> {
        match Self::check(code, reason) {
            Ok(()) => Ok(Self { code, reason: Cow::Borrowed(reason) }),
            Err(error) => Err(error),
        }
    }

    const fn check(code: u16, reason: &str) -> Result<(), InvalidCloseFrame> {
        if !Self::may_be_sent(code) {
            return Err(InvalidCloseFrame::Code { code });
        }
        if reason.len() > Self::MAX_REASON {
            return Err(InvalidCloseFrame::ReasonTooLong { length: reason.len() });
        }
        Ok(())
    }

    /// Creates a close frame from what was received. Without a code it gets
    /// [`NO_CODE`](Self::NO_CODE). A reason that is longer than a frame holds is cut.
    pub fn received(code: Option<u16>, reason: &str) -> Self {
        let end = (0..=reason.len().min(Self::MAX_REASON)).rev();
        let end = end.into_iter().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
        let reason = Cow::Owned(reason[..end].into());
        Self { code: code.unwrap_or(Self::NO_CODE), reason }
    }

    /// Returns whether a close frame may carry this code: the codes that RFC 6455 and its registry
    /// define for close frames, and 3000 to 4999. Not 1014, which was registered late: clients and
    /// servers of the reference, and of this project, take it for a violation.
    pub const fn may_be_sent(code: u16) -> bool {
        matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999)
    }

    /// Creates one that is known to be valid.
    pub(crate) const fn known(code: u16, reason: &'static str) -> Self {
        Self { code, reason: Cow::Borrowed(reason) }
    }

    /// Returns the code, or [`NO_CODE`](Self::NO_CODE) if the frame had none.
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// Returns the reason, for people. It may be empty, and the peer may have written it.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for CloseFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Self::NO_CODE => f.write_str("no code")?,
            code => write!(f, "{code}")?,
        }
        if self.reason.is_empty() {
            return Ok(());
        }
        write!(f, " \"{}\"", self.reason.escape_debug())
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for CloseFrame {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self::received(u.arbitrary()?, u.arbitrary()?))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn the_codes_that_may_be_sent_are_those_of_the_rfc_and_its_registry() {
        for (codes, valid) in [
            (0..=999, false),
            (1000..=1003, true),
            (1004..=1006, false),
            (1007..=1013, true),
            (1014..=2999, false),
            (3000..=4999, true),
            (5000..=u16::MAX, false),
        ] {
            for code in codes {
                let expected = if valid { Ok(()) } else { Err(InvalidCloseFrame::Code { code }) };
                assert_eq!(CloseFrame::new(code, "").map(drop), expected, "{code}");
            }
        }
    }

    #[test]
    fn a_reason_has_at_most_as_many_bytes_as_fit() {
        let longest = "é".repeat(61) + "x";
        assert_eq!(CloseFrame::new(1000, longest.clone()).unwrap().reason(), longest);
        let error = CloseFrame::new(1000, longest.clone() + "y").unwrap_err();
        assert_eq!(error, InvalidCloseFrame::ReasonTooLong { length: 124 });
        assert_eq!(error.to_string(), "the reason has 124 bytes of UTF-8, a close frame holds 123");
        let cut = CloseFrame::received(Some(4000), &"é".repeat(100));
        assert_eq!(cut.reason(), "é".repeat(61));
        assert_eq!(CloseFrame::received(Some(4000), &longest).reason(), longest);
    }

    #[test]
    fn a_received_reason_is_shown_in_one_line() {
        for (code, reason, shown) in [
            (Some(1001), "", "1001"),
            (None, "", "no code"),
            (Some(4003), "a\n\u{1b}[31m\u{202e}\"", "4003 \"a\\n\\u{1b}[31m\\u{202e}\\\"\""),
        ] {
            assert_eq!(CloseFrame::received(code, reason).to_string(), shown);
        }
        assert_eq!(CloseFrame::received(None, "").code(), 1005);
    }
}
