//! What a budget remembers over a restart.

use std::time::{Duration, SystemTime};

use sync_coalesce::stack::ManualClock;
use sync_coalesce::stack::budget::{Budget, BudgetBuilder, BudgetSnapshot, CalendarUnit, Spend, Zone};

use super::{HOUR, left, spend, tokens};

/// A machine's clock at noon, in UTC, of a day in March.
fn at_noon(day: u64) -> ManualClock {
    ManualClock::at(SystemTime::UNIX_EPOCH + Duration::from_secs((20_515 + day) * 24 * 3600 + 12 * 3600))
}

fn daily() -> BudgetBuilder {
    Budget::builder().tokens(100).calendar(CalendarUnit::Day, Zone::UTC)
}

/// Written and read, as by another process.
fn written(snapshot: &BudgetSnapshot) -> BudgetSnapshot {
    serde_json::from_str(&serde_json::to_string(snapshot).unwrap()).unwrap()
}

fn restart(before: &Budget, builder: BudgetBuilder, clock: &ManualClock) -> Budget {
    builder.restore(written(&before.snapshot())).clock(clock).build().unwrap()
}

#[test]
fn spend_is_there_again_after_a_restart() {
    let clock = at_noon(4);
    let before = daily().dollars(2.0).clock(&clock).build().unwrap();
    spend(&before, Spend::new(70, 1.5).unwrap());
    before.count_saved(tokens(5), 2);
    let after = restart(&before, daily().dollars(2.0), &clock);
    assert_eq!(after.status(), before.status());
    assert_eq!((left(&after), after.status().dollars_left), (30, Some(0.5)));
}

#[test]
fn all_digits_are_kept() {
    let before = Budget::builder().build().unwrap();
    // So many billionths that an `f64` of dollars cannot hold the last one.
    for amount in [Spend::new(u64::MAX - 1, 18e9).unwrap(), Spend::new(1, 1e-9).unwrap()] {
        spend(&before, amount);
    }
    assert_eq!(before.status().used.nanodollars(), 18_000_000_000_000_000_001);
    let after = restart(&before, Budget::builder(), &ManualClock::new());
    assert_eq!(after.status(), before.status());
}

#[test]
fn a_snapshot_of_an_earlier_period_carries_what_is_to_be_carried() {
    let clock = at_noon(4);
    let before = daily().clock(&clock).build().unwrap();
    spend(&before, tokens(70));
    for (day, carried, expected) in [(4, 200, 30), (5, 0, 100), (5, 200, 130), (6, 200, 230), (9, 200, 300)] {
        let after = restart(&before, daily().carry_over(tokens(carried)), &at_noon(day));
        assert_eq!(left(&after), expected, "day {day}, {carried} carried");
        assert_eq!(after.status().total, tokens(70));
    }
}

#[test]
fn what_was_carried_before_a_restart_still_counts() {
    let clock = at_noon(4);
    let before = daily().carry_over(tokens(50)).clock(&clock).build().unwrap();
    clock.advance(HOUR * 24);
    spend(&before, tokens(20));
    assert_eq!(left(&before), 130);
    assert_eq!(left(&restart(&before, daily().carry_over(tokens(50)), &at_noon(5))), 130);
    // As far as the settings still allow.
    assert_eq!(left(&restart(&before, daily().carry_over(tokens(10)), &at_noon(5))), 90);
    assert_eq!(left(&restart(&before, daily().carry_over(tokens(50)).tokens(30), &at_noon(5))), 60);
}

#[test]
fn a_fixed_period_goes_on_over_a_restart() {
    let hourly = || Budget::builder().tokens(100).carry_over(tokens(1_000)).period(HOUR);
    let clock = at_noon(4);
    let before = hourly().clock(&clock).build().unwrap();
    clock.advance(HOUR * 3 / 4);
    spend(&before, tokens(70));
    for (quarters, expected, ends_in) in [(0, 30, 1), (1, 130, 4), (2, 130, 3), (4, 130, 1), (5, 230, 4)] {
        let later = at_noon(4);
        later.advance(HOUR * 3 / 4 + HOUR / 4 * quarters);
        let after = restart(&before, hourly(), &later);
        assert_eq!(left(&after), expected, "after {quarters} quarters");
        assert_eq!(after.status().period_ends_in, Some(HOUR / 4 * ends_in), "after {quarters} quarters");
        // And on from there.
        later.advance(HOUR / 4 * ends_in);
        assert_eq!(left(&after), expected + 100);
    }
}

#[test]
fn a_restart_changes_nothing_whenever_it_comes() {
    for hours in 0..80 {
        let (clock, machine) = (at_noon(1), at_noon(1));
        let builder = || daily().carry_over(tokens(150));
        let stays = builder().clock(&clock).build().unwrap();
        let dies = builder().clock(&machine).build().unwrap();
        for budget in [&stays, &dies] {
            spend(budget, tokens(90));
        }
        for clock in [&clock, &machine] {
            clock.advance(HOUR * 30);
        }
        for budget in [&stays, &dies] {
            spend(budget, tokens(20));
        }
        let snapshot = written(&dies.snapshot());
        for clock in [&clock, &machine] {
            clock.advance(HOUR * hours);
        }
        let lives = builder().restore(snapshot).clock(&machine).build().unwrap();
        assert_eq!(lives.status(), stays.status(), "after {hours} hours");
    }
}

#[test]
fn what_was_reserved_is_given_back_unless_it_is_to_be_counted() {
    let clock = at_noon(4);
    let before = daily().clock(&clock).build().unwrap();
    spend(&before, tokens(20));
    let _dies_with_the_process = before.reserve(tokens(50)).unwrap();
    let snapshot = written(&before.snapshot());
    let after = daily().restore(snapshot).clock(&clock).build().unwrap().status();
    assert_eq!((after.used, after.reserved, after.total), (tokens(20), Spend::default(), tokens(20)));
    let after = daily().restore(snapshot.count_reserved()).clock(&clock).build().unwrap().status();
    assert_eq!((after.used, after.reserved, after.total), (tokens(70), Spend::default(), tokens(70)));
}

#[test]
fn periods_may_be_others_after_a_restart() {
    let clock = at_noon(4);
    let monthly = Budget::builder().tokens(1_000).calendar(CalendarUnit::Month, Zone::UTC);
    let before = daily().clock(&clock).build().unwrap();
    spend(&before, tokens(70));
    // What was spent today was spent this month, and in the hour that begins.
    assert_eq!(left(&restart(&before, monthly.clone(), &clock)), 930);
    assert_eq!(left(&restart(&before, Budget::builder().tokens(100), &clock)), 30);
    let hourly = restart(&before, Budget::builder().tokens(100).period(HOUR), &clock);
    assert_eq!(left(&hourly), 30);
    clock.advance(HOUR / 2);
    assert_eq!(left(&restart(&hourly, Budget::builder().tokens(100).period(HOUR / 4), &clock)), 30);
    let without = Budget::builder().clock(&clock).build().unwrap();
    spend(&without, tokens(70));
    assert_eq!(left(&restart(&without, monthly, &clock)), 930);
}

#[test]
fn a_clock_that_was_set_back_over_a_restart_does_no_harm() {
    let before = Budget::builder().tokens(100).period(HOUR).clock(at_noon(4)).build().unwrap();
    spend(&before, tokens(70));
    let after = restart(&before, Budget::builder().tokens(100).period(HOUR), &at_noon(1));
    assert_eq!((left(&after), after.status().period_ends_in), (30, Some(HOUR)));
}

#[test]
fn a_snapshot_that_is_none_is_an_error() {
    for text in ["", "{}", "[]", r#"{"used":{"tokens":-1,"nanodollars":0}}"#] {
        assert!(serde_json::from_str::<BudgetSnapshot>(text).is_err(), "{text}");
    }
}
