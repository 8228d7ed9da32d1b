//! Time as the machines see it: a monotonic [`Instant`] for deadlines and a wall clock
//! [`UnixTime`] for sessions. Machines cannot read either; the host passes them in.

use core::fmt;
use core::ops::Add;
use core::str::FromStr;
use core::time::Duration;

/// A point on the host's monotonic clock, in nanoseconds since an epoch the host chooses.
///
/// Machines only compare and add. The range is 584 years, arithmetic saturates.
///
/// ```
/// use core::time::Duration;
/// use wwr::Instant;
///
/// let start = Instant::from_millis(5);
/// assert_eq!(start + Duration::from_millis(7), Instant::from_millis(12));
/// assert_eq!(start.saturating_since(Instant::from_millis(9)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Instant(u64);

impl Instant {
    /// The host's epoch.
    pub const EPOCH: Self = Self(0);

    /// Returns the instant that lies `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Returns the instant that lies `millis` milliseconds after the epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Returns the nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns how long `earlier` lies before this instant; zero if it does not.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        self + Span::from(duration)
    }
}

/// A duration as the core keeps it: half the size of a [`Duration`]. It saturates at 584 years,
/// which an [`Instant`] does not reach either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(u64);

impl Span {
    pub(crate) const SECOND: Self = Self(1_000_000_000);
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Add<Span> for Instant {
    type Output = Self;

    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// A wall clock time, as sessions carry it: to the nanosecond, from the year 0 to the end
/// of 30 December 9999, 22:00 UTC.
///
/// Written and read as RFC 3339 (protocol §3.1). Writing is always in UTC (`Z`), with as many
/// fractional digits as the value needs; reading accepts any offset and drops digits past the
/// ninth.
///
/// ```
/// use wwr::UnixTime;
///
/// let time: UnixTime = "2018-06-13T10:20:30.1234567891+02:00".parse()?;
/// assert_eq!(time.to_string(), "2018-06-13T08:20:30.123456789Z");
/// assert_eq!(UnixTime::from_seconds(0).to_string(), "1970-01-01T00:00:00Z");
/// # Ok::<(), wwr::InvalidTime>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime {
    seconds: i64,
    nanos: u32,
}

/// The first second that RFC 3339 can write, and the last that the date library can.
const SECONDS: (i64, i64) = (-62_167_219_200, 253_402_207_200);

/// The last nanosecond of a second.
const MAX_NANOS: u32 = 999_999_999;

impl UnixTime {
    /// 1 January of year 1, what the reference writes for "never" (protocol §3.1).
    pub const NEVER: Self = Self::from_seconds(-62_135_596_800);

    /// Returns the time `seconds` after 1970-01-01T00:00:00Z, clamped to the range of the type.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self::from_parts(seconds, 0)
    }

    /// Returns the time `seconds` and `nanos` (0 to 999 999 999) after 1970-01-01T00:00:00Z, both
    /// clamped.
    pub const fn from_parts(seconds: i64, nanos: u32) -> Self {
        let nanos = match nanos {
            0..=MAX_NANOS => nanos,
            _ => MAX_NANOS,
        };
        if seconds < SECONDS.0 {
            Self { seconds: SECONDS.0, nanos: 0 }
        } else if seconds > SECONDS.1 {
            Self { seconds: SECONDS.1, nanos: MAX_NANOS }
        } else {
            Self { seconds, nanos }
        }
    }

    /// Returns the whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Returns how long `earlier` lies before this time; zero if it does not.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        let nanos = |time: Self| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
        let since = (nanos(self) - nanos(earlier)).max(0);
        Duration::from_nanos(u64::try_from(since).unwrap_or(u64::MAX))
    }

    fn timestamp(self) -> jiff::Timestamp {
        let nanos = i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanos);
        jiff::Timestamp::from_nanosecond(nanos).unwrap_or_default()
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.timestamp(), f)
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an RFC 3339 time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RFC 3339 time such as 2018-06-13T10:20:30Z")]
pub struct InvalidTime;

impl FromStr for UnixTime {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        // The shape is checked here because the library reads more than RFC 3339.
        let (head, rest) = text.split_at_checked(19).ok_or(InvalidTime)?;
        let (fraction, zone) = match rest.strip_prefix('.') {
            Some(rest) => {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                rest.split_at(digits)
            }
            None => ("", rest),
        };
        let zoned = zone == "Z" || has_shape(zone, "+00:00") || has_shape(zone, "-00:00");
        if !has_shape(head, "0000-00-00T00:00:00") || !zoned {
            return Err(InvalidTime);
        }
        let kept = fraction.get(..9).map(|kept| alloc::format!("{head}.{kept}{zone}"));
        let parsed = kept.as_deref().unwrap_or(text).parse::<jiff::Timestamp>();
        let nanos = parsed.map_err(|_| InvalidTime)?.as_nanosecond();
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).map_err(|_| InvalidTime)?;
        let nanos = u32::try_from(nanos.rem_euclid(1_000_000_000)).map_err(|_| InvalidTime)?;
        Ok(Self::from_parts(seconds, nanos))
    }
}

/// Returns whether `text` is like `shape`, in which `0` stands for any digit.
fn has_shape(text: &str, shape: &str) -> bool {
    let fits = |(byte, shape): (u8, u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn times_written_by_go_are_read() {
        for (text, utc) in [
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("2026-11-22T12:50:56.384422638Z", "2026-11-22T12:50:56.384422638Z"),
            ("2026-11-22T12:50:56.120Z", "2026-11-22T12:50:56.12Z"),
            ("2018-06-13T10:20:30+05:30", "2018-06-13T04:50:30Z"),
            ("2018-06-13T10:20:30.123456789987-05:00", "2018-06-13T15:20:30.123456789Z"),
        ] {
            assert_eq!(text.parse::<UnixTime>().unwrap().to_string(), utc);
        }
        assert_eq!("0001-01-01T00:00:00Z".parse(), Ok(UnixTime::NEVER));
    }

    #[test]
    fn texts_other_than_rfc_3339_are_refused() {
        for text in [
            "",
            "2018-06-13",
            "2018-06-13T10:20:30",
            "2018-06-13 10:20:30Z",
            "2018-13-13T10:20:30Z",
            "2018-06-13T10:20:30Zx",
            "2018-06-13T10:20:30.Z",
            "-002018-06-13T10:20:30Z",
            "2018-06-13T10:20:3\u{e9}.1Z",
            "2018-06-13T10:20:30,5Z",
            "2018-06-13T102030.50Z",
            "2018-06-13T10:20:30z",
            "2018-06-13T10:20:30+02",
            "2018-06-13T10:20:30+0200",
            "2018-06-13T10:20:30+02:00:30",
            "2018-06-13T10:20:30Z[UTC]",
            "2018-06-13T24:00:00Z",
            "2018-06-13T10:20:30.123456789\u{663}Z",
        ] {
            assert_eq!(text.parse::<UnixTime>(), Err(InvalidTime), "{text}");
        }
    }

    #[test]
    fn parts_are_clamped_and_carried() {
        assert_eq!(UnixTime::from_parts(-1, 500_000_000).to_string(), "1969-12-31T23:59:59.5Z");
        assert_eq!(UnixTime::from_parts(-1, 500_000_000).seconds(), -1);
        assert_eq!(UnixTime::from_parts(7, u32::MAX).to_string(), "1970-01-01T00:00:07.999999999Z");
        assert!(UnixTime::from_seconds(i64::MAX) > UnixTime::from_seconds(0));
        assert!(UnixTime::from_seconds(i64::MIN) < UnixTime::NEVER);
        let later = UnixTime::from_seconds(10);
        assert_eq!(later.saturating_since(UnixTime::from_seconds(4)), Duration::from_secs(6));
        assert_eq!(UnixTime::from_seconds(4).saturating_since(later), Duration::ZERO);
        let half_a_second_less = UnixTime::from_parts(9, 500_000_000);
        assert_eq!(later.saturating_since(half_a_second_less), Duration::from_millis(500));
    }

    #[test]
    fn the_first_and_the_last_second_are_within_the_range() {
        for seconds in [SECONDS.0, SECONDS.1] {
            assert_eq!(UnixTime::from_parts(seconds, 5).nanos, 5);
        }
        assert_eq!(UnixTime::from_parts(SECONDS.0 - 1, 5).nanos, 0);
        assert_eq!(UnixTime::from_parts(SECONDS.1 + 1, 5).nanos, 999_999_999);
    }

    #[test]
    fn every_written_time_can_be_read_again() {
        let first = UnixTime::from_seconds(i64::MIN);
        assert_eq!(first.to_string(), "0000-01-01T00:00:00Z");
        let last = UnixTime::from_seconds(i64::MAX);
        assert_eq!(last.to_string(), "9999-12-30T22:00:00.999999999Z");
        assert_eq!(last.seconds(), jiff::Timestamp::MAX.as_second());
        for time in [first, UnixTime::NEVER, UnixTime::from_parts(-1, 1), last] {
            assert_eq!(time.to_string().parse(), Ok(time));
            assert_eq!(alloc::format!("{time:?}"), time.to_string(), "dumps are readable");
        }
        assert_eq!("0000-01-01T00:00:00+14:00".parse(), Ok(first), "clamped");
    }

    #[test]
    fn instants_saturate() {
        assert_eq!(Instant::from_nanos(u64::MAX) + Duration::MAX, Instant::from_nanos(u64::MAX));
        assert_eq!(Instant::from_millis(u64::MAX), Instant::from_nanos(u64::MAX));
    }
}
