//! Periods: what is carried from one to the next, and those of the calendar.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use sync_coalesce::stack::ManualClock;
use sync_coalesce::stack::budget::{Budget, CalendarUnit, Spend, Zone, ZoneError};

use super::{HOUR, left, periods, spend, tokens};

#[test]
fn each_period_begins_with_the_whole_cap() {
    let hands = ManualClock::new();
    let budget = periods(&hands, |builder| builder);
    spend(&budget, tokens(80));
    hands.advance(HOUR.checked_sub(Duration::from_nanos(1)).unwrap());
    assert_eq!(left(&budget), 20);
    assert_eq!(budget.status().period_ends_in, Some(Duration::from_nanos(1)));
    hands.advance(Duration::from_nanos(1));
    assert_eq!((left(&budget), budget.status().used), (100, Spend::default()));
    assert_eq!((budget.status().total, budget.status().period_ends_in), (tokens(80), Some(HOUR)));
    // Periods go on whether anybody looks or not.
    hands.advance(HOUR * 5 / 2);
    assert_eq!(budget.status().period_ends_in, Some(HOUR / 2));
    spend(&budget, tokens(100));
    hands.advance(HOUR / 2);
    assert_eq!(left(&budget), 100);
}

#[test]
fn a_reservation_that_is_kept_over_the_end_of_a_period_takes_its_part_of_the_next() {
    let hands = ManualClock::new();
    let budget = periods(&hands, |builder| builder);
    let reservation = budget.reserve(tokens(60)).unwrap();
    hands.advance(HOUR);
    assert_eq!(left(&budget), 40);
    assert!(budget.reserve(tokens(41)).is_err());
    reservation.commit(tokens(30));
    assert_eq!((left(&budget), budget.status().used), (70, tokens(30)));
}

#[test]
fn what_a_period_leaves_over_is_carried_as_far_as_allowed() {
    let hands = ManualClock::new();
    let budget = periods(&hands, |builder| builder.carry_over(tokens(150)));
    spend(&budget, tokens(80));
    for expected in [120, 220, 250, 250] {
        hands.advance(HOUR);
        assert_eq!(left(&budget), expected);
    }
    spend(&budget, tokens(250));
    hands.advance(HOUR);
    assert_eq!(left(&budget), 100);
    // Several at once are the same as one after the other.
    hands.advance(HOUR * 2);
    assert_eq!(left(&budget), 250);
}

#[test]
fn what_is_carried_does_not_depend_on_who_looks() {
    let figures = |looks: u32| {
        let hands = ManualClock::new();
        let budget = periods(&hands, |builder| builder.carry_over(tokens(150)));
        let reservation = budget.reserve(tokens(60)).unwrap();
        for _ in 0..looks {
            hands.advance(HOUR * 3 / looks);
            let _ = budget.status();
        }
        let held = left(&budget);
        reservation.commit(tokens(60));
        (held, left(&budget), budget.status().used)
    };
    assert_eq!(figures(1), (190, 190, tokens(60)));
    for looks in [2, 3, 3 * 3600] {
        assert_eq!(figures(looks), figures(1), "{looks} looks");
    }
}

#[test]
fn a_reservation_is_taken_from_one_period_only() {
    let hands = ManualClock::new();
    let budget = periods(&hands, |builder| builder.carry_over(tokens(100)));
    let reservation = budget.reserve(tokens(100)).unwrap();
    hands.advance(HOUR);
    // Nothing was spent in the first period, so all of it is carried; the call is paid for in the second.
    assert_eq!(left(&budget), 100);
    reservation.commit(tokens(100));
    hands.advance(HOUR);
    assert_eq!(left(&budget), 200);
}

proptest! {
    /// Two budgets with the same history, one of which is looked at in between.
    #[test]
    fn looks_change_nothing(
        carry in 0_u64..300,
        steps in prop::collection::vec((0_u64..5_000, 0_u64..120, 0_u64..120, any::<bool>()), 1..40),
        looks in 1_u32..7,
    ) {
        let (hands, others) = (ManualClock::new(), ManualClock::new());
        let budgets = [&hands, &others].map(|hands| periods(hands, |builder| builder.carry_over(tokens(carry))));
        let mut held = [Vec::new(), Vec::new()];
        for (seconds, reserved, spent, commits) in steps {
            hands.advance(Duration::from_secs(seconds) * looks);
            for _ in 0..looks {
                others.advance(Duration::from_secs(seconds));
                let _ = budgets[1].status();
            }
            for (budget, held) in budgets.iter().zip(&mut held) {
                held.extend(budget.reserve(tokens(reserved)));
                if commits && !held.is_empty() {
                    held.remove(0).commit(tokens(spent));
                }
            }
            prop_assert_eq!(budgets[0].status(), budgets[1].status());
        }
    }
}

#[test]
fn a_period_that_never_ends_is_one_without_periods() {
    let hands = ManualClock::new();
    let budget = Budget::builder().tokens(100).period(Duration::MAX).clock(&hands).build().unwrap();
    spend(&budget, tokens(80));
    hands.advance(HOUR * 1_000_000);
    assert_eq!((left(&budget), budget.status().period_ends_in), (20, Some(Duration::MAX)));
}

/// A moment in UTC: seconds since midnight of a day since 1970-01-01.
fn utc(day: u64, seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(day * 24 * 3600 + seconds)
}

fn by_calendar(hands: &ManualClock, unit: CalendarUnit, zone: Zone) -> Budget {
    Budget::builder().tokens(100).carry_over(tokens(1_000)).calendar(unit, zone).clock(hands).build().unwrap()
}

fn ends_in(budget: &Budget) -> Duration {
    budget.status().period_ends_in.unwrap()
}

#[test]
fn a_day_begins_at_midnight_where_the_user_says() {
    // 2026-03-04, 20:15 in UTC.
    for (offset, hours) in [(0, 3), (3600, 2), (-5 * 3600, 8), (14 * 3600, 13)] {
        let hands = ManualClock::at(utc(20_516, 20 * 3600 + 900));
        let budget = by_calendar(&hands, CalendarUnit::Day, Zone::offset(offset).unwrap());
        let until_midnight = HOUR * hours + HOUR * 3 / 4;
        assert_eq!(ends_in(&budget), until_midnight, "{offset}");
        spend(&budget, tokens(70));
        hands.advance(until_midnight.checked_sub(Duration::from_nanos(1)).unwrap());
        assert_eq!((left(&budget), ends_in(&budget)), (30, Duration::from_nanos(1)), "{offset}");
        hands.advance(Duration::from_nanos(1));
        assert_eq!((left(&budget), ends_in(&budget)), (130, HOUR * 24), "{offset}");
    }
    assert_eq!(Zone::offset(0).unwrap(), Zone::UTC);
}

#[test]
fn weeks_months_and_years_begin_on_their_first_day() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    for (unit, day, lengths) in [
        // 2026-03-04 is a Wednesday.
        (CalendarUnit::Week, 20_516, [5, 7, 7]),
        // 2028-01-31, and February of a leap year.
        (CalendarUnit::Month, 21_214, [1, 29, 31]),
        // 2027-12-31.
        (CalendarUnit::Year, 21_183, [1, 366, 365]),
    ] {
        let hands = ManualClock::at(utc(day, 0));
        let budget = by_calendar(&hands, unit, Zone::UTC);
        for (begun, days) in lengths.into_iter().enumerate() {
            assert_eq!((left(&budget), ends_in(&budget)), (100 * (begun as u64 + 1), DAY * days), "{unit:?}");
            hands.advance(DAY * days);
        }
    }
}

#[test]
fn days_in_which_nobody_looks_are_counted_too() {
    let hands = ManualClock::at(utc(20_516, 3600));
    let budget = by_calendar(&hands, CalendarUnit::Day, Zone::UTC);
    spend(&budget, tokens(90));
    hands.advance(HOUR * 24 * 4);
    assert_eq!(left(&budget), 410);
}

#[test]
fn a_clock_that_is_set_back_begins_no_period_twice() {
    let hands = ManualClock::at(utc(20_516, 24 * 3600 - 1));
    let budget = by_calendar(&hands, CalendarUnit::Day, Zone::UTC);
    spend(&budget, tokens(100));
    for _ in 0..3 {
        hands.set_system_time(utc(20_517, 1));
        assert_eq!(left(&budget), 100);
        hands.set_system_time(utc(20_516, 24 * 3600 - 1));
        assert_eq!((left(&budget), ends_in(&budget)), (100, Duration::from_secs(24 * 3600 + 1)));
    }
}

#[test]
fn a_clock_that_was_years_ahead_does_not_stop_the_budget_for_years() {
    let hands = ManualClock::at(utc(40_000, 0));
    let budget = by_calendar(&hands, CalendarUnit::Day, Zone::UTC);
    spend(&budget, tokens(100));
    hands.set_system_time(utc(20_516, 3600));
    assert_eq!((left(&budget), ends_in(&budget)), (0, HOUR * 23));
    hands.advance(HOUR * 23);
    assert_eq!(left(&budget), 100);
}

#[test]
fn a_time_before_1970_or_far_away_does_no_harm() {
    for unit in [CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year] {
        let hands = ManualClock::at(SystemTime::UNIX_EPOCH - HOUR);
        let budget = by_calendar(&hands, unit, Zone::UTC);
        spend(&budget, tokens(100));
        hands.set_system_time(utc(100_000_000, 0));
        assert_eq!(left(&budget), 1_100, "{unit:?}");
    }
}

#[test]
fn an_offset_of_a_day_is_refused() {
    for seconds in [24 * 3600, -24 * 3600, i32::MIN, i32::MAX] {
        let error = Zone::offset(seconds).unwrap_err();
        assert_eq!(error, ZoneError::Offset(seconds));
        assert_eq!(error.to_string(), format!("an offset of {seconds} s from UTC is not less than 24 hours"));
    }
    assert!(Zone::offset(24 * 3600 - 1).is_ok());
}

#[cfg(feature = "jiff")]
mod zones {
    use super::{CalendarUnit, HOUR, ManualClock, SystemTime, Zone, ZoneError, by_calendar, ends_in, left, utc};

    /// The lengths of the days from this moment on, in quarters of an hour.
    fn lengths(zone: &str, from: SystemTime, days: usize) -> Vec<u64> {
        let hands = ManualClock::at(from);
        let budget = by_calendar(&hands, CalendarUnit::Day, Zone::named(zone).unwrap());
        let length = |_| {
            let length = ends_in(&budget);
            hands.advance(length);
            length.as_secs() / 900
        };
        let lengths = (0..days).map(length).collect();
        assert_eq!(left(&budget), 100 * (days as u64 + 1), "{zone}");
        lengths
    }

    #[test]
    fn days_in_which_the_clocks_change_are_shorter_or_longer() {
        // 2025-03-29 to 31, from midnight in Berlin, and 2025-10-25 to 27.
        assert_eq!(lengths("Europe/Berlin", utc(20_175, 23 * 3600), 3), [96, 92, 96]);
        assert_eq!(lengths("Europe/Berlin", utc(20_385, 22 * 3600), 3), [96, 100, 96]);
        // Half an hour of it: 2025-04-05 to 07.
        assert_eq!(lengths("Australia/Lord_Howe", utc(20_182, 13 * 3600), 3), [96, 98, 96]);
        // The clocks went forward at midnight: 2018-11-03 to 05.
        assert_eq!(lengths("America/Sao_Paulo", utc(17_838, 3 * 3600), 3), [96, 92, 96]);
    }

    #[test]
    fn a_month_with_a_change_of_the_clocks_is_an_hour_shorter() {
        let hands = ManualClock::at(utc(20_147, 23 * 3600));
        let budget = by_calendar(&hands, CalendarUnit::Month, Zone::named("Europe/Berlin").unwrap());
        assert_eq!(ends_in(&budget), HOUR * (31 * 24 - 1));
    }

    #[test]
    fn an_unknown_zone_is_an_error_that_names_it() {
        let error = Zone::named("Mars/Olympus_Mons").unwrap_err();
        assert_eq!(error, ZoneError::Unknown("Mars/Olympus_Mons".to_owned()));
        assert_eq!(error.to_string(), "the time zone database has no zone `Mars/Olympus_Mons`");
    }

    #[test]
    fn the_systems_zone_is_one_too() {
        let hands = ManualClock::new();
        let budget = by_calendar(&hands, CalendarUnit::Day, Zone::system().unwrap_or(Zone::UTC));
        assert!(ends_in(&budget) <= HOUR * 25);
    }

    #[test]
    fn beyond_what_the_library_knows_days_are_those_of_utc() {
        let hands = ManualClock::at(utc(100_000_000, 3600));
        let budget = by_calendar(&hands, CalendarUnit::Day, Zone::named("Europe/Berlin").unwrap());
        assert_eq!(ends_in(&budget), HOUR * 23);
    }
}
