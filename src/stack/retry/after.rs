//! The header `Retry-After`.

use std::time::{Duration, SystemTime};

/// After how long a provider wants to be asked again, from the value of its header `Retry-After`: a number of seconds,
/// or a date by the system's clock. `None` if it is neither.
///
/// A date that has passed is no wait at all. Seconds may have a fraction, which the standard does not know but some
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

/// As [`retry_after`], for an answer that came at `now`, for instance by the provider's own header `Date`.
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
    // Only digits and one point: `f64` would also read "inf", "nan", "-1" and "1e9".
    if value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Duration::try_from_secs_f64(value.parse().ok()?).ok();
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}
