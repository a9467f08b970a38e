//! The header `Retry-After`.

use std::time::{Duration, SystemTime};

/// The delay that a provider asks for in its header `Retry-After`: a number of seconds, or a date, which is compared
/// with the system's clock. `None` if `value` is neither.
///
/// A date in the past gives a delay of 0, and a number too large for a [`Duration`] gives [`Duration::MAX`]. Seconds may have a fraction, which the standard does not allow but some
/// providers send.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use sync_coalesce::stack::retry::retry_after;
///
/// assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
/// assert_eq!(retry_after("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
/// assert_eq!(retry_after("soon"), None);
/// ```
#[must_use]
pub fn retry_after(value: &str) -> Option<Duration> {
    retry_after_at(value, SystemTime::now())
}

/// As [`retry_after`], for a response received at `now`, such as the time in its header `Date`.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use sync_coalesce::stack::retry::retry_after_at;
///
/// let wait = retry_after_at("Thu, 01 Jan 1970 00:01:30 GMT", SystemTime::UNIX_EPOCH);
/// assert_eq!(wait, Some(Duration::from_secs(90)));
/// ```
#[must_use]
pub fn retry_after_at(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    // Only digits and a point: `f64` would also parse "inf", "nan", "-1" and "1e9".
    if value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        // A number too large for a `Duration` is one all the same, and asks for more patience than anybody has.
        return Some(Duration::try_from_secs_f64(value.parse().ok()?).unwrap_or(Duration::MAX));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}
