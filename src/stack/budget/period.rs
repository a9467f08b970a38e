//! Which period of a budget it is, and how many have ended since somebody last looked.

use std::time::{Duration, Instant, SystemTime};

use super::calendar::Calendar;
use crate::stack::clock::Clock;

/// One moment, by both of a machine's clocks.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) instant: Instant,
    /// Since 1970 began in UTC.
    pub(super) of_day: Duration,
}

impl Moment {
    pub(super) fn now(clock: &Clock) -> Self {
        let of_day = clock.system_time().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { instant: clock.now(), of_day }
    }
}

/// Where the periods of a budget begin and end.
#[derive(Clone, Debug)]
pub(super) enum Rhythm {
    /// Equal lengths, not 0, from when the budget is built.
    Every(Duration),
    Calendar(Calendar),
}

/// The current period.
pub(super) enum Period {
    Fixed {
        length: Duration,
        /// `None` for an end beyond what an `Instant` can represent.
        ends: Option<Instant>,
    },
    Calendar {
        calendar: Calendar,
        /// Its number in the calendar.
        index: i64,
        begins: Duration,
        ends: Duration,
    },
}

impl Period {
    /// The period that begins now, or that it is by the calendar.
    pub(super) fn new(rhythm: Rhythm, now: Moment) -> Self {
        match rhythm {
            Rhythm::Every(length) => Self::Fixed { length, ends: now.instant.checked_add(length) },
            Rhythm::Calendar(calendar) => {
                let index = calendar.index(now.of_day);
                let (begins, ends) = calendar.bounds(index);
                Self::Calendar { calendar, index, begins, ends }
            }
        }
    }

    /// The period now, and the number of periods that have ended since `then`, by the date and the time of day, when
    /// `elapsed` of its period had passed.
    pub(super) fn since(rhythm: Rhythm, then: Duration, elapsed: Duration, now: Moment) -> (Self, u64) {
        match rhythm {
            Rhythm::Every(length) => {
                // That period was longer. What was spent in it is not to be forgotten.
                let elapsed = if elapsed < length { elapsed } else { Duration::ZERO };
                let elapsed = now.of_day.saturating_sub(then).saturating_add(elapsed);
                let (passed, rest) = divide(elapsed, length);
                (Self::Fixed { length, ends: now.instant.checked_add(length.saturating_sub(rest)) }, passed)
            }
            Rhythm::Calendar(_) => {
                let mut period = Self::new(rhythm, Moment { of_day: then, ..now });
                let passed = period.roll(now);
                (period, passed)
            }
        }
    }

    /// The number of periods that have ended since the last call; 0 for a `now` that was read before another thread's
    /// call.
    pub(super) fn roll(&mut self, now: Moment) -> u64 {
        match self {
            Self::Fixed { length, ends: Some(end) } if now.instant >= *end => {
                let (more, rest) = divide(now.instant.saturating_duration_since(*end), *length);
                *self = Self::Fixed { length: *length, ends: now.instant.checked_add(length.saturating_sub(rest)) };
                more.saturating_add(1)
            }
            Self::Calendar { calendar, index, begins, ends } if !(*begins..*ends).contains(&now.of_day) => {
                let current = calendar.index(now.of_day);
                let passed = current.saturating_sub(*index);
                // A clock that is set back a little, over the begin of a period, must not begin that period twice. One
                // that was set back by more was wrong before, and that period may be years away.
                if !(-1..=0).contains(&passed) {
                    *index = current;
                    (*begins, *ends) = calendar.bounds(current);
                }
                u64::try_from(passed).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// How long the period goes on.
    pub(super) fn left(&self, now: Moment) -> Duration {
        match self {
            Self::Fixed { ends, .. } => ends.map_or(Duration::MAX, |end| end.saturating_duration_since(now.instant)),
            Self::Calendar { ends, .. } => ends.saturating_sub(now.of_day),
        }
    }

    /// How long it has been going on, unless that is to be seen from the calendar.
    pub(super) fn elapsed(&self, now: Moment) -> Duration {
        match self {
            Self::Fixed { length, .. } => length.saturating_sub(self.left(now)),
            Self::Calendar { .. } => Duration::ZERO,
        }
    }
}

/// How often `length`, which is not 0, goes into `time`, and the rest.
fn divide(time: Duration, length: Duration) -> (u64, Duration) {
    const SECOND: u128 = 1_000_000_000;
    let rest = time.as_nanos() % length.as_nanos();
    let times = u64::try_from(time.as_nanos() / length.as_nanos()).unwrap_or(u64::MAX);
    (times, Duration::new(u64::try_from(rest / SECOND).unwrap_or(u64::MAX), (rest % SECOND) as u32))
}
