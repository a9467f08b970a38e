//! The first waiter sees every change of the limits, and takes from all of them or from none. Time stands still unless a
//! model moves it, so that no waiter is woken by it instead.

use super::{MS, SECOND, assert_idle, build};
use crate::stack::clock::ManualClock;
use crate::stack::pace::faults::Fault;
use crate::stack::pace::{Adaptive, Limit, Pacer};
use crate::sync::{Barrier, catches, holds, scope};

/// ```text
/// waiter   waits for a second, at one per second ------- looks again -------- goes
/// test                  sets 1000 per second      moves the time by a millisecond
/// ```
fn a_raised_rate() {
    let clock = ManualClock::new();
    let pacer = build(Pacer::builder().per_second(1.0).clock(&clock));
    drop(pacer.acquire());
    scope(|threads| {
        threads.spawn(|| drop(pacer.acquire()));
        assert!(pacer.set_rate(Pacer::CALLS, 1000.0).is_ok());
        clock.advance(MS);
    });
    assert_idle(&pacer);
}

#[test]
fn the_first_waiter_sees_a_raised_rate() {
    holds(a_raised_rate);
}

#[test]
fn a_raised_rate_unheard_is_caught() {
    catches(Fault::ChangeIsMissed, "deadlock", a_raised_rate);
}

/// ```text
/// waiter   waits for a second, because nothing remains ---- goes
/// test                       more remains
/// ```
fn more_remains() {
    let pacer = build(Pacer::builder().per_second(1.0).burst(2).clock(ManualClock::new()));
    assert!(pacer.set_remaining(Pacer::CALLS, 0, SECOND).is_ok());
    scope(|threads| {
        threads.spawn(|| drop(pacer.acquire()));
        assert!(pacer.set_remaining(Pacer::CALLS, 1, SECOND).is_ok());
    });
    assert_idle(&pacer);
}

#[test]
fn the_first_waiter_sees_that_more_remains() {
    holds(more_remains);
}

#[test]
fn a_report_unheard_is_caught() {
    catches(Fault::ChangeIsMissed, "deadlock", more_remains);
}

/// ```text
/// waiter   waits for the time ------- goes
/// test             gives its permit back
/// ```
fn given_back() {
    let pacer = build(Pacer::builder().per_second(1.0).clock(ManualClock::new()));
    let permit = pacer.acquire();
    scope(|threads| {
        threads.spawn(|| drop(pacer.acquire()));
        permit.give_back();
    });
    assert_idle(&pacer);
}

#[test]
fn a_permit_that_is_given_back_goes_to_the_next() {
    holds(given_back);
}

#[test]
fn a_permit_given_back_unheard_is_caught() {
    catches(Fault::PermitDropIsMissed, "deadlock", given_back);
}

/// ```text
/// waiter   waits for tokens ------------------ goes
/// test            settles for less, and keeps its permit
/// ```
fn settled() {
    let limit = Limit::per_second(1.0).burst(9);
    let pacer = build(Pacer::builder().limit("tokens", limit).clock(ManualClock::new()));
    let take = || pacer.request().weight("tokens", 9).acquire().expect("without a deadline");
    let mut permit = take();
    scope(|threads| {
        threads.spawn(|| drop(take()));
        assert!(permit.settle("tokens", 0).is_ok());
    });
    drop(permit);
    assert_idle(&pacer);
}

#[test]
fn what_was_not_used_goes_to_the_next() {
    holds(settled);
}

#[test]
fn a_settlement_unheard_is_caught() {
    catches(Fault::SettledUnheard, "deadlock", settled);
}

/// ```text
/// two threads at a pacer with two calls and three tokens: each takes one and two, and uses no token
/// ```
fn two_limits() {
    let limit = Limit::per_second(1.0).burst(3);
    let pacer = build(Pacer::builder().per_second(1.0).burst(2).limit("tokens", limit).clock(ManualClock::new()));
    scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let mut permit = pacer.request().weight("tokens", 2).acquire().expect("without a deadline");
                assert!(permit.settle("tokens", 0).is_ok());
            });
        }
    });
    assert_idle(&pacer);
    let available = pacer.limits().into_iter().map(|limit| limit.available);
    assert!(available.eq([0, 3]), "something is lost");
}

#[test]
fn a_caller_takes_from_all_limits_or_from_none() {
    holds(two_limits);
}

#[test]
fn a_caller_that_takes_in_part_is_caught() {
    catches(Fault::ChargesInPart, "deadlock", two_limits);
}

/// ```text
/// two threads whose calls are out together, and are refused
/// ```
fn refused_together() {
    let clock = ManualClock::new();
    let pacer = build(Pacer::builder().per_second(10.0).burst(2).adaptive(Adaptive::default()).clock(&clock));
    let both = Barrier::new(2);
    scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let permit = pacer.acquire();
                both.wait();
                permit.throttled(None);
            });
        }
    });
    assert_eq!(pacer.status().rate, Some(7.0), "not one cut");
    assert_idle(&pacer);
}

#[test]
fn calls_that_are_refused_together_cut_the_rate_once() {
    holds(refused_together);
}

#[test]
fn a_cut_for_each_refusal_is_caught() {
    catches(Fault::CutsForEach, "not one cut", refused_together);
}
