//! Weights, several limits at once, what is given back, and limits that change at run time.

use std::time::Duration;

use proptest::prelude::*;
use sync_coalesce::stack::ManualClock;
use sync_coalesce::stack::pace::{
    AcquireError, Adaptive, Limit, LimitError, Pacer, PacerBuildError, PacerBuilder, Permit,
};

use super::{MS, SECOND, pacer, waiting_and_running};
use crate::support::thread;
use crate::support::{bounded, until};

const DAY: Duration = Duration::from_secs(86_400);

/// Ten calls and a hundred tokens at once, and as many per second.
fn two_limits(hands: &ManualClock) -> Pacer {
    let tokens = Limit::per_second(100.0).burst(100);
    pacer(hands, |builder| builder.per_second(10.0).burst(10).limit("tokens", tokens))
}

fn with_tokens(pacer: &Pacer, tokens: u64) -> Result<Permit, AcquireError> {
    pacer.request().weight("tokens", tokens).try_acquire()
}

#[track_caller]
fn assert_available(pacer: &Pacer, expected: &[i64]) {
    let limits = pacer.limits();
    assert_eq!(limits.iter().map(|limit| limit.available).collect::<Vec<_>>(), expected);
}

#[test]
fn looks_and_tries_cost_nobody_anything() {
    let hands = ManualClock::new();
    let pacer = pacer(&hands, |builder| builder.per_second(1.9));
    let mut through = 0;
    // A hundred seconds, in steps in which less than one part in a thousand of a call flows in.
    for _ in 0..200_000 {
        hands.advance(MS / 2);
        let _ = (pacer.status(), pacer.limits());
        through += u32::from(pacer.try_acquire().is_ok());
    }
    assert_eq!(through, 190);
}

proptest! {
    /// What a pacer lets through in the end does not depend on who has looked before.
    #[test]
    fn a_pacer_that_is_looked_at_is_no_slower(
        rate in 0.01_f64..100.0,
        looks in prop::collection::vec((1_u64..2_000_000_000, any::<bool>()), 1..50),
    ) {
        let build = |hands: &ManualClock| {
            let builder = Pacer::builder().per_second(rate).burst(1000).adaptive(Adaptive::default().calm(SECOND));
            let pacer = builder.limit("rare", Limit::per_day(1.0)).clock(hands).build().unwrap();
            drop(pacer.request().weight("rare", 1).try_acquire().unwrap());
            let all: Vec<_> = std::iter::from_fn(|| pacer.try_acquire().ok()).collect();
            pacer.throttled(None);
            drop(all);
            pacer
        };
        let (hands, unseen_hands) = (ManualClock::new(), ManualClock::new());
        let (pacer, unseen) = (build(&hands), build(&unseen_hands));
        for (nanoseconds, takes) in looks {
            for hands in [&hands, &unseen_hands] {
                hands.advance(Duration::from_nanos(nanoseconds));
            }
            let _ = (pacer.status(), pacer.limits());
            prop_assert!(pacer.request().weight("rare", 1).try_acquire().is_err());
            if takes {
                prop_assert_eq!(pacer.try_acquire().is_ok(), unseen.try_acquire().is_ok());
            }
        }
        prop_assert_eq!(pacer.limits(), unseen.limits());
    }
}

#[test]
fn three_seconds_are_enough_at_twenty_per_minute() {
    let hands = ManualClock::new();
    let pacer = pacer(&hands, |builder| builder.per_minute(20.0));
    for _ in 0..10 {
        drop(pacer.try_acquire().unwrap());
        hands.advance(Duration::from_nanos(2_999_999_999));
        assert!(pacer.try_acquire().is_err());
        hands.advance(Duration::from_nanos(1));
    }
}

#[test]
fn a_permit_takes_from_all_limits_or_from_none() {
    let hands = ManualClock::new();
    let pacer = two_limits(&hands);
    drop(with_tokens(&pacer, 70).unwrap());
    assert_available(&pacer, &[9, 30]);
    for _ in 0..20 {
        assert_eq!(with_tokens(&pacer, 31).unwrap_err(), AcquireError::Unavailable);
    }
    assert_available(&pacer, &[9, 30]);
    drop(with_tokens(&pacer, 30).unwrap());
    // Now it is the calls that are short.
    (0..8).for_each(|_| drop(pacer.try_acquire().unwrap()));
    hands.advance(99 * MS);
    assert!(with_tokens(&pacer, 5).is_err());
    assert_available(&pacer, &[0, 9]);
    hands.advance(MS);
    assert!(with_tokens(&pacer, 5).is_ok());
}

/// ```text
/// heavy   waits for 60 tokens, 300 ms --------------- goes
/// light             waits behind it ------------------------ goes
/// ```
#[test]
fn a_heavy_caller_is_not_overtaken_by_light_ones() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = two_limits(&hands);
        drop(with_tokens(&pacer, 70).unwrap());
        thread::scope(|scope| {
            let heavy = scope.spawn(|| pacer.request().weight("tokens", 60).acquire().unwrap().waited());
            until("the heavy one", || hands.until_next() == Some(300 * MS));
            let light = scope.spawn(|| pacer.request().weight("tokens", 1).acquire().unwrap().waited());
            until("the light one", || pacer.status().waiting == 2);
            assert!(pacer.try_acquire().is_err());
            hands.advance(300 * MS);
            assert_eq!(heavy.join().unwrap(), 300 * MS);
            until("the light one to be first", || hands.until_next() == Some(10 * MS));
            hands.advance(10 * MS);
            assert_eq!(light.join().unwrap(), 310 * MS);
        });
        assert_eq!(waiting_and_running(&pacer), (0, 0));
    });
}

#[test]
fn a_weight_above_the_burst_goes_when_the_limit_is_full_and_leaves_a_debt() {
    let hands = ManualClock::new();
    let pacer = two_limits(&hands);
    drop(with_tokens(&pacer, 10).unwrap());
    assert!(with_tokens(&pacer, 350).is_err());
    hands.advance(100 * MS);
    drop(with_tokens(&pacer, 350).unwrap());
    assert_available(&pacer, &[9, -250]);
    hands.advance(2499 * MS);
    assert!(pacer.try_acquire().is_err(), "in debt, it lets nobody through");
    hands.advance(MS);
    assert!(pacer.try_acquire().is_ok());
}

#[test]
fn a_weight_that_would_never_be_paid_off_is_an_error() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = two_limits(&hands);
        let most = 100 + 86_400 * 100;
        for too_much in [most + 1, u64::MAX] {
            let error = pacer.request().weight("tokens", too_much).acquire().unwrap_err();
            assert_eq!(error, AcquireError::TooHeavy { unit: "tokens".to_owned() });
            assert!(error.to_string().contains("`tokens`"));
        }
        let added_up = pacer.request().weight("tokens", u64::MAX).weight("tokens", 2).try_acquire();
        assert_eq!(added_up.unwrap_err(), AcquireError::TooHeavy { unit: "tokens".to_owned() });
        assert_available(&pacer, &[10, 100]);
        drop(with_tokens(&pacer, most).unwrap());
        hands.advance(DAY);
        assert!(pacer.try_acquire().is_ok());
    });
}

#[test]
fn a_unit_that_no_limit_counts_is_an_error() {
    let pacer = two_limits(&ManualClock::new());
    let error = pacer.request().weight("tokens", 1).weight("token", 1).acquire().unwrap_err();
    assert_eq!(error, AcquireError::UnknownUnit { unit: "token".to_owned() });
    assert_eq!(error.to_string(), "no limit of the pacer counts `token`");
    let unknown = LimitError::Unknown { name: "token".to_owned() };
    assert_eq!(pacer.acquire().settle("token", 1).unwrap_err(), unknown);
    assert_eq!(pacer.set_rate("token", 1.0).unwrap_err(), unknown);
    assert_eq!(pacer.set_remaining("token", 1, SECOND).unwrap_err(), unknown);
    assert_available(&pacer, &[9, 100]);
}

#[test]
fn one_unit_may_have_several_limits() {
    let hands = ManualClock::new();
    let tokens = |limit: Limit| limit.burst(100).of("tokens");
    let pacer = pacer(&hands, |builder| {
        builder
            .per_second(10.0)
            .burst(5)
            .limit("calls per day", Limit::per_day(20.0).burst(20).of(Pacer::CALLS))
            .limit("tokens per second", tokens(Limit::per_second(100.0)))
            .limit("tokens per hour", tokens(Limit::per_hour(360.0)))
    });
    let mut permit = with_tokens(&pacer, 60).unwrap();
    assert_available(&pacer, &[4, 19, 40, 40]);
    permit.settle("tokens", 50).unwrap();
    assert_available(&pacer, &[4, 19, 50, 50]);
    drop(pacer.request().weight(Pacer::CALLS, 3).try_acquire().unwrap());
    assert_available(&pacer, &[1, 16, 50, 50]);
    hands.advance(SECOND);
    assert!(with_tokens(&pacer, 51).is_err());
    assert_available(&pacer, &[5, 16, 100, 50]);
}

#[test]
fn what_was_not_used_is_given_back_and_what_was_used_beyond_is_a_debt() {
    let hands = ManualClock::new();
    let pacer = two_limits(&hands);
    let mut permit = with_tokens(&pacer, 80).unwrap();
    permit.settle("tokens", 30).unwrap();
    assert_available(&pacer, &[9, 70]);
    permit.settle("tokens", 230).unwrap();
    assert_available(&pacer, &[9, -130]);
    permit.settle("tokens", 230).unwrap();
    assert_available(&pacer, &[9, -130]);
    drop(permit);
    hands.advance(1299 * MS);
    assert!(with_tokens(&pacer, 0).is_err());
    hands.advance(MS);
    assert!(with_tokens(&pacer, 0).is_ok());
    // What is given back late fills no limit above its burst.
    let mut permit = with_tokens(&pacer, 0).unwrap();
    hands.advance(10 * SECOND);
    permit.settle(Pacer::CALLS, 0).unwrap();
    assert_available(&pacer, &[10, 100]);
}

#[test]
fn no_debt_takes_longer_than_a_day() {
    let hands = ManualClock::new();
    let pacer = two_limits(&hands);
    let mut permit = pacer.acquire();
    permit.settle("tokens", u64::MAX).unwrap();
    drop(permit);
    hands.advance(MS * 86_399_999);
    assert!(pacer.try_acquire().is_err());
    hands.advance(MS);
    assert!(pacer.try_acquire().is_ok());
}

#[test]
fn a_permit_that_is_given_back_was_never_charged() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = two_limits(&hands);
        let mut permit = with_tokens(&pacer, 80).unwrap();
        permit.settle("tokens", 90).unwrap();
        permit.give_back();
        assert_available(&pacer, &[10, 100]);
        assert_eq!(waiting_and_running(&pacer), (0, 0));

        // And the first in line has it at once.
        let permit = pacer.request().weight(Pacer::CALLS, 10).try_acquire().unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| pacer.acquire().waited());
            until("one that waits", || hands.sleeping() == 1);
            permit.give_back();
            assert_eq!(waiter.join().unwrap(), Duration::ZERO);
        });
    });
}

/// ```text
/// waiter   waits for 10 s ----------------- looks again: 2 s -- goes
/// test                    sets another rate
/// ```
#[test]
fn the_first_in_line_looks_again_when_the_rate_is_set() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = pacer(&hands, |builder| builder.per_second(0.1));
        drop(pacer.acquire());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| pacer.acquire().waited());
            until("it to wait", || hands.until_next() == Some(10 * SECOND));
            hands.advance(5 * SECOND);
            pacer.set_rate(Pacer::CALLS, 0.25).unwrap();
            // Half of a call has flowed in at the old rate.
            until("it to look again", || hands.until_next() == Some(2 * SECOND));
            pacer.set_rate(Pacer::CALLS, 0.05).unwrap();
            until("it to look again", || hands.until_next() == Some(10 * SECOND));
            hands.advance(10 * SECOND);
            assert_eq!(waiter.join().unwrap(), 15 * SECOND);
        });
        assert_eq!(pacer.status().rate, Some(0.05));
    });
}

#[test]
fn a_rate_that_would_let_nothing_through_is_not_set() {
    let pacer = two_limits(&ManualClock::new());
    for per_second in [0.0, -1.0, f64::INFINITY, 1e-7, 2e9] {
        for limit in [Pacer::CALLS, "tokens"] {
            assert_eq!(pacer.set_rate(limit, per_second).unwrap_err(), LimitError::Rate { per_second });
        }
    }
    assert!(matches!(pacer.set_rate("tokens", f64::NAN), Err(LimitError::Rate { per_second }) if per_second.is_nan()));
    assert!(pacer.set_rate(Pacer::CALLS, 2e6).is_err());
    pacer.set_rate("tokens", 2e6).unwrap();
    assert_eq!(pacer.limits().iter().map(|limit| limit.rate).collect::<Vec<_>>(), [10.0, 2e6]);
}

#[test]
fn no_more_is_let_through_than_remains_at_the_provider() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = two_limits(&hands);
        pacer.set_remaining("tokens", 30, 5 * SECOND).unwrap();
        assert!(with_tokens(&pacer, 31).is_err());
        drop(with_tokens(&pacer, 20).unwrap());
        hands.advance(SECOND);
        assert!(with_tokens(&pacer, 11).is_err());
        let mut permit = with_tokens(&pacer, 10).unwrap();
        assert!(pacer.try_acquire().is_err(), "nothing remains");
        // What was not used remains after all.
        permit.settle("tokens", 4).unwrap();
        drop(permit);
        drop(with_tokens(&pacer, 6).unwrap());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| pacer.acquire().waited());
            until("one that waits until the provider counts anew", || hands.until_next() == Some(4 * SECOND));
            // Another report replaces the first.
            pacer.set_remaining("tokens", 0, 2 * SECOND).unwrap();
            until("it to look again", || hands.until_next() == Some(2 * SECOND));
            pacer.set_remaining("tokens", 1, SECOND).unwrap();
            assert_eq!(waiter.join().unwrap(), Duration::ZERO);
        });
        pacer.set_remaining("tokens", 0, Duration::ZERO).unwrap();
        assert!(pacer.try_acquire().is_ok());
    });
}

#[test]
fn what_a_provider_grants_beyond_the_limit_is_not_taken() {
    let pacer = two_limits(&ManualClock::new());
    pacer.set_remaining(Pacer::CALLS, 1000, SECOND).unwrap();
    assert_eq!(std::iter::from_fn(|| pacer.try_acquire().ok()).count(), 10);
}

#[test]
fn a_permit_from_before_a_report_gives_nothing_back_to_it() {
    let pacer = two_limits(&ManualClock::new());
    let permit = with_tokens(&pacer, 50).unwrap();
    pacer.set_remaining("tokens", 10, SECOND).unwrap();
    permit.give_back();
    assert!(with_tokens(&pacer, 11).is_err());
    assert!(with_tokens(&pacer, 10).is_ok());
}

#[test]
fn no_report_holds_for_longer_than_a_day() {
    let hands = ManualClock::new();
    let pacer = two_limits(&hands);
    pacer.set_remaining(Pacer::CALLS, 0, Duration::MAX).unwrap();
    hands.advance(MS * 86_399_999);
    assert!(pacer.try_acquire().is_err());
    hands.advance(MS);
    assert!(pacer.try_acquire().is_ok());
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let build = |limit| Pacer::builder().limit("tokens", limit).build().unwrap_err();
    let limit = |setting| PacerBuildError::Limit { name: "tokens".to_owned(), setting };
    for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-7, 2e9] {
        assert_eq!(build(Limit::per_second(per_second)), limit("rate"));
    }
    assert_eq!(build(Limit::per_second(1.0).burst(0)), limit("burst"));
    assert_eq!(build(Limit::per_second(1.0).burst(u64::MAX)), limit("burst"));
    assert_eq!(build(Limit::per_second(1.0).burst(5).reserve(5)), limit("reserve"));

    let twice =
        |builder: PacerBuilder| builder.limit("tokens", Limit::per_day(1.0)).limit("tokens", Limit::per_day(1.0));
    let error = twice(Pacer::builder()).build().unwrap_err();
    assert_eq!(error, PacerBuildError::SameName { name: "tokens".to_owned() });
    let error = Pacer::builder().per_second(1.0).limit(Pacer::CALLS, Limit::per_day(1.0)).build().unwrap_err();
    assert_eq!(error, PacerBuildError::SameName { name: "calls".to_owned() });

    let reserve = |of| PacerBuildError::Reserve { of };
    let builder = || Pacer::builder().per_second(1.0).burst(3).concurrency(3);
    assert_eq!(builder().reserve_burst(3).build().unwrap_err(), reserve("burst"));
    assert_eq!(Pacer::builder().reserve_burst(1).build().unwrap_err(), reserve("burst"));
    assert_eq!(builder().reserve_concurrency(3).build().unwrap_err(), reserve("concurrency"));
    assert_eq!(Pacer::builder().reserve_concurrency(1).build().unwrap_err(), reserve("concurrency"));
    assert!(builder().reserve_burst(2).reserve_concurrency(2).build().is_ok());
}

/// The largest settings that are allowed neither overflow nor hang.
#[test]
fn the_largest_limits_work() {
    let hands = ManualClock::new();
    let most = Limit::per_second(1e9).burst(1_000_000_000_000_000);
    let pacer = pacer(&hands, |builder| builder.limit("tokens", most));
    drop(with_tokens(&pacer, 1_000_000_000_000_000).unwrap());
    assert_available(&pacer, &[0]);
    hands.advance(SECOND);
    assert_available(&pacer, &[1_000_000_000]);
    hands.advance(Duration::from_secs(1 << 33));
    assert_available(&pacer, &[1_000_000_000_000_000]);
}
