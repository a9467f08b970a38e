//! [`CalendarUnit`] and [`Zone`]: periods that begin at a midnight.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// A stretch of the calendar, from one midnight to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CalendarUnit {
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday, as in ISO 8601.
    Week,
    /// From the first of a month to the first of the next.
    Month,
    /// From the first of January to the next.
    Year,
}

/// Where it is midnight: at an offset from UTC, or in a time zone with its daylight saving time.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// Seconds east of Greenwich.
    Offset(i32),
    #[cfg(feature = "jiff")]
    Rules(jiff::tz::TimeZone),
}

/// There is no such time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZoneError {
    /// The offset from UTC, in seconds, is 24 hours or more.
    Offset(i32),
    /// The system's time zone database has none of this name, or there is no such database.
    #[cfg(feature = "jiff")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jiff")))]
    Unknown(String),
    /// The system's own time zone cannot be found out.
    #[cfg(feature = "jiff")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jiff")))]
    System,
}

const DAY: i64 = 24 * 60 * 60;

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(Kind::Offset(0));

    /// A fixed offset from UTC, in seconds to the east, less than 24 hours either way.
    ///
    /// # Errors
    ///
    /// [`ZoneError::Offset`] if it is 24 hours or more.
    pub fn offset(seconds: i32) -> Result<Self, ZoneError> {
        if i64::from(seconds).abs() < DAY { Ok(Self(Kind::Offset(seconds))) } else { Err(ZoneError::Offset(seconds)) }
    }

    /// A time zone by its name in the IANA database, such as `America/Los_Angeles`. Its days are 23 or 25 hours long
    /// where daylight saving time begins or ends.
    ///
    /// The rules are those of the system's database when this is called; on Windows, those of the crate `jiff`.
    ///
    /// # Errors
    ///
    /// [`ZoneError::Unknown`] if the database has no such zone.
    ///
    /// # Examples
    ///
    /// ```
    /// use sync_coalesce::stack::budget::{Budget, CalendarUnit, Zone};
    ///
    /// // Google's daily quotas are renewed at midnight Pacific time.
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # if Zone::named("America/Los_Angeles").is_err() { return Ok(()) } // no database
    /// let zone = Zone::named("America/Los_Angeles")?;
    /// let budget = Budget::builder().tokens(1_000_000).calendar(CalendarUnit::Day, zone).build()?;
    /// assert!(budget.status().period_ends_in.unwrap().as_secs() <= 25 * 60 * 60);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "jiff")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jiff")))]
    pub fn named(name: &str) -> Result<Self, ZoneError> {
        let zone = jiff::tz::TimeZone::get(name).map_err(|_| ZoneError::Unknown(name.to_owned()))?;
        Ok(Self(Kind::Rules(zone)))
    }

    /// The system's own time zone, as it is when this is called.
    ///
    /// # Errors
    ///
    /// [`ZoneError::System`] if it cannot be found out.
    #[cfg(feature = "jiff")]
    #[cfg_attr(docsrs, doc(cfg(feature = "jiff")))]
    pub fn system() -> Result<Self, ZoneError> {
        jiff::tz::TimeZone::try_system().map(|zone| Self(Kind::Rules(zone))).map_err(|_| ZoneError::System)
    }

    /// Seconds to the east at this time, in seconds since 1970 began in UTC.
    fn offset_at(
        &self,
        #[cfg_attr(not(feature = "jiff"), expect(unused_variables, reason = "for a library that is off"))] time: i64,
    ) -> i64 {
        match &self.0 {
            Kind::Offset(seconds) => i64::from(*seconds),
            #[cfg(feature = "jiff")]
            Kind::Rules(zone) => {
                jiff::Timestamp::from_second(time).map_or(0, |time| i64::from(zone.to_offset(time).seconds()))
            }
        }
    }

    /// The day that it is at this time, in days since 1970-01-01.
    fn day(&self, time: i64) -> i64 {
        time.saturating_add(self.offset_at(time)).div_euclid(DAY)
    }

    /// When the day begins.
    fn midnight(&self, day: i64) -> i64 {
        let in_utc = day.saturating_mul(DAY);
        match &self.0 {
            Kind::Offset(seconds) => in_utc.saturating_sub(i64::from(*seconds)),
            #[cfg(feature = "jiff")]
            Kind::Rules(zone) => start_of_day(zone, day).unwrap_or(in_utc),
        }
    }
}

/// The first moment of a day that may have no midnight; `None` beyond the year 9999.
#[cfg(feature = "jiff")]
fn start_of_day(zone: &jiff::tz::TimeZone, day: i64) -> Option<i64> {
    let (year, month) = civil_from_days(day);
    let first = days_from_civil(year, month);
    let date =
        jiff::civil::Date::new(year.try_into().ok()?, month.try_into().ok()?, (day - first + 1).try_into().ok()?);
    let noon = zone.to_zoned_datetime(date.ok()?.at(12, 0, 0, 0)).ok()?;
    Some(noon.start_of_day().ok()?.timestamp().as_second())
}

/// The days, weeks, months or years of one place.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    pub(super) unit: CalendarUnit,
    pub(super) zone: Zone,
}

impl Calendar {
    /// The number of the unit that it is at this time since 1970 began in UTC.
    pub(super) fn index(&self, time: Duration) -> i64 {
        let day = self.zone.day(i64::try_from(time.as_secs()).unwrap_or(i64::MAX));
        match self.unit {
            CalendarUnit::Day => day,
            // 1970-01-01 was a Thursday.
            CalendarUnit::Week => day.saturating_add(3).div_euclid(7),
            CalendarUnit::Month => {
                let (year, month) = civil_from_days(day);
                year * 12 + month - 1
            }
            CalendarUnit::Year => civil_from_days(day).0,
        }
    }

    /// When the unit of this number begins and ends.
    pub(super) fn bounds(&self, index: i64) -> (Duration, Duration) {
        (self.begin(index), self.begin(index.saturating_add(1)))
    }

    fn begin(&self, index: i64) -> Duration {
        let day = match self.unit {
            CalendarUnit::Day => index,
            CalendarUnit::Week => index.saturating_mul(7).saturating_sub(3),
            CalendarUnit::Month => days_from_civil(index.div_euclid(12), index.rem_euclid(12) + 1),
            CalendarUnit::Year => days_from_civil(index, 1),
        };
        Duration::from_secs(u64::try_from(self.zone.midnight(day)).unwrap_or(0))
    }
}

/// The number of days in 400 years.
const ERA: i64 = 146_097;

/// The year and the month, from 1, of a day since 1970-01-01, in the proleptic Gregorian calendar. After Howard
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days` (2021-09-01): years begin with March, so
/// that the day of a leap year is the last.
fn civil_from_days(day: i64) -> (i64, i64) {
    let since = day.saturating_add(719_468);
    let (era, of_era) = (since.div_euclid(ERA), since.rem_euclid(ERA));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let is_next = month >= 10;
    (era * 400 + year + i64::from(is_next), if is_next { month - 9 } else { month + 3 })
}

/// The first day of a month, in days since 1970-01-01: `days_from_civil` of the same.
fn days_from_civil(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era.saturating_mul(ERA).saturating_add(of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Offset(seconds) => write!(f, "Zone({seconds:+} s)"),
            #[cfg(feature = "jiff")]
            Kind::Rules(zone) => write!(f, "Zone({})", zone.iana_name().unwrap_or("system")),
        }
    }
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(seconds) => write!(f, "an offset of {seconds} s from UTC is not less than 24 hours"),
            #[cfg(feature = "jiff")]
            Self::Unknown(name) => write!(f, "the time zone database has no zone `{name}`"),
            #[cfg(feature = "jiff")]
            Self::System => f.write_str("the system's time zone cannot be found out"),
        }
    }
}

impl Error for ZoneError {}

#[cfg(test)]
mod tests {
    use super::{ERA, civil_from_days, days_from_civil};

    #[test]
    fn months_follow_each_other_without_a_gap_for_800_years() {
        let (mut year, mut month) = civil_from_days(-ERA);
        let mut first = days_from_civil(year, month);
        assert_eq!((year, month, first), (1570, 1, -ERA));
        while first < ERA {
            let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let days = match month {
                2 => 28 + i64::from(is_leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            assert!((first..first + days).all(|day| civil_from_days(day) == (year, month)), "{year}-{month}");
            first += days;
            (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            assert_eq!(days_from_civil(year, month), first, "{year}-{month}");
        }
    }
}
