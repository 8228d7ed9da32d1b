//! When a server wants to be asked again.

use std::time::{Duration, SystemTime};

use hyper::header::{DATE, HeaderMap, RETRY_AFTER};

/// Returns how long the server wants the client to wait before it asks again (RFC 9110 §10.2.3), if
/// it says so. A date counts from the date of the answer, because the two clocks may differ.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that overflows is longer than any client waits.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    let answered = date.and_then(|date| httpdate::parse_http_date(date.trim()).ok()).unwrap_or(now);
    Some(at.duration_since(answered).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";

    fn wait(text: &'static str, date: Option<&'static str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_static(date));
        }
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 11:00:00 GMT").unwrap();
        retry_after(&headers, now)
    }

    #[test]
    fn seconds_and_dates_are_read() {
        for (text, date, seconds) in [
            ("0", None, 0),
            ("120", Some(NOON), 120),
            (" 7 ", None, 7),
            ("99999999999999999999999999", None, u64::MAX),
            (NOON, None, 3600),
            (NOON, Some("Sun, 06 Nov 1994 11:59:50 GMT"), 10),
            ("Sunday, 06-Nov-94 12:00:30 GMT", Some(NOON), 30),
            ("Sun Nov  6 12:00:30 1994", Some(NOON), 30),
            (NOON, Some("some time"), 3600),
            ("Sun, 06 Nov 1994 10:00:00 GMT", None, 0),
        ] {
            assert_eq!(wait(text, date), Some(Duration::from_secs(seconds)), "{text} {date:?}");
        }
    }

    #[test]
    fn other_values_are_ignored() {
        for text in ["", "soon", "-1", "+1", "1.5", "1, 2", "0x10", "Sun, 06 Nov 1994"] {
            assert_eq!(wait(text, None), None, "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), SystemTime::now()), None);
    }
}
