//! Rates that follow a provider's refusals.

use std::time::Duration;

use sync_coalesce::stack::ManualClock;
use sync_coalesce::stack::pace::{Adaptive, Limit, Pacer, PacerBuilder, Permit};

use super::{Crowd, MS, SECOND, pacer, to_next};
use crate::support::thread;
use crate::support::{bounded, join, until};

#[track_caller]
fn assert_rate(pacer: &Pacer, expected: f64) {
    let rate = pacer.status().rate.unwrap();
    assert!((rate - expected).abs() < 1e-9, "{rate} and not {expected} calls per second");
}

#[test]
fn the_rate_falls_with_each_refusal_and_recovers_after_a_calm() {
    let hands = ManualClock::new();
    let pacer = pacer(&hands, |builder| builder.per_second(10.0).burst(1000).adaptive(Adaptive::default()));
    // Each call is made when the one before was refused.
    let is_refused = || pacer.try_acquire().unwrap().throttled(None);
    assert_rate(&pacer, 10.0);
    for expected in [7.0, 4.9, 3.43] {
        is_refused();
        assert_rate(&pacer, expected);
    }
    // Seconds since the last refusal, and the rate then.
    let mut at = 0;
    for (second, expected) in [(1, 3.43), (59, 3.43), (60, 3.43), (61, 3.53), (62, 3.63), (100, 7.43), (1000, 10.0)] {
        hands.advance((second - at) * SECOND);
        at = second;
        assert_rate(&pacer, expected);
    }
    for _ in 0..100 {
        is_refused();
    }
    assert_rate(&pacer, 0.2);
    hands.advance(60 * SECOND + 500 * MS);
    assert_rate(&pacer, 0.2);
    hands.advance(500 * MS);
    assert_rate(&pacer, 0.3);
    // Another refusal in the recovery: the calm begins anew.
    is_refused();
    hands.advance(60 * SECOND);
    assert_rate(&pacer, 0.21);
}

#[test]
fn a_rate_below_the_floor_is_not_raised_by_a_refusal() {
    let pacer = pacer(&ManualClock::new(), |builder| builder.per_second(0.1).adaptive(Adaptive::default()));
    pacer.throttled(None);
    assert_rate(&pacer, 0.1);
}

#[test]
fn calls_keep_the_pace_that_the_refusals_have_left() {
    bounded(|| {
        let hands = ManualClock::new();
        let halving = Adaptive::default().decrease(0.5);
        let pacer = pacer(&hands, |builder| builder.per_second(10.0).adaptive(halving));
        let crowd = Crowd::new(&pacer, &hands);
        pacer.throttled(None);
        thread::scope(|scope| {
            let callers = crowd.send(scope, 20);
            crowd.run(&hands, 20, || to_next(&hands));
            join(callers);
        });
        let expected: Vec<_> = (0..20).map(|number| (number, 200 * MS * u32::try_from(number).unwrap())).collect();
        assert_eq!(crowd.through(), expected);
    });
}

fn fifty_per_second(hands: &ManualClock) -> Pacer {
    pacer(hands, |builder| builder.per_second(50.0).burst(20).adaptive(Adaptive::default()))
}

fn out_together(pacer: &Pacer) -> Vec<Permit> {
    let out: Vec<_> = std::iter::from_fn(|| pacer.try_acquire().ok()).collect();
    assert_eq!(out.len(), 20);
    out
}

/// However a caller reports it: while it holds its permit, by the permit, or when all of them are gone.
#[test]
fn calls_that_were_out_together_cut_the_rate_once() {
    let reports: [fn(&Pacer, Vec<Permit>); 4] = [
        |pacer, out| {
            for permit in out {
                pacer.throttled(None);
                drop(permit);
            }
        },
        |_, out| out.iter().for_each(|permit| permit.throttled(None)),
        |_, out| out.into_iter().for_each(|permit| permit.throttled(None)),
        |pacer, out| {
            let count = out.len();
            drop(out);
            (0..count).for_each(|_| pacer.throttled(None));
        },
    ];
    for report in reports {
        let hands = ManualClock::new();
        let pacer = fifty_per_second(&hands);
        report(&pacer, out_together(&pacer));
        assert_eq!(pacer.status().rate, Some(35.0));
        let mut seconds = 0;
        while pacer.status().rate < Some(50.0) {
            hands.advance(SECOND);
            seconds += 1;
        }
        assert_eq!(seconds, 210);
    }
}

#[test]
fn a_call_that_went_out_after_the_cut_cuts_again() {
    let hands = ManualClock::new();
    let pacer = fifty_per_second(&hands);
    let old = out_together(&pacer);
    old[0].throttled(None);
    hands.advance(SECOND);
    let new = [pacer.acquire(), pacer.acquire()];
    // Calls of the same window, both before and after a newer one.
    old[1].throttled(None);
    assert_rate(&pacer, 35.0);
    new[0].throttled(None);
    assert_rate(&pacer, 24.5);
    old[2].throttled(None);
    new[1].throttled(None);
    assert_rate(&pacer, 24.5);
}

#[test]
fn a_later_call_cuts_again_where_only_the_pacer_is_told() {
    let hands = ManualClock::new();
    let pacer = fifty_per_second(&hands);
    for expected in [35.0, 24.5, 17.15] {
        let calls = [pacer.acquire(), pacer.acquire()];
        for _ in &calls {
            pacer.throttled(None);
        }
        assert_rate(&pacer, expected);
    }
}

/// A call that takes long stands for no more refusals than its window had calls.
#[test]
fn a_long_call_hides_no_more_refusals_than_calls_were_out() {
    let hands = ManualClock::new();
    let pacer = fifty_per_second(&hands);
    let (_long, refused) = (pacer.acquire(), pacer.acquire());
    pacer.throttled(None);
    drop(refused);
    let _new = pacer.acquire();
    pacer.throttled(None);
    assert_rate(&pacer, 35.0);
    pacer.throttled(None);
    assert_rate(&pacer, 24.5);
}

#[test]
fn only_the_permits_own_handle_knows_its_call() {
    let hands = ManualClock::new();
    let pacer = fifty_per_second(&hands);
    let old = pacer.acquire();
    old.pacer().throttled(None);
    let _new = pacer.acquire();
    old.pacer().throttled(None);
    assert_rate(&pacer, 35.0);
    let clone = old.pacer().clone();
    drop(old);
    clone.throttled(None);
    assert_rate(&pacer, 24.5);
}

#[test]
fn a_refusal_of_the_same_window_begins_the_calm_anew() {
    let hands = ManualClock::new();
    let pacer = fifty_per_second(&hands);
    let out = out_together(&pacer);
    out[0].throttled(None);
    hands.advance(62 * SECOND);
    assert_rate(&pacer, 35.2);
    out[1].throttled(None);
    hands.advance(60 * SECOND);
    assert_rate(&pacer, 35.2);
    hands.advance(SECOND);
    assert_rate(&pacer, 35.3);
}

/// ```text
/// waiter   waits, at 0.001 per second for 2 s, and at 10 from then on ------ goes at 2.0998 s
/// ```
#[test]
fn the_first_in_line_goes_when_the_rate_has_recovered() {
    bounded(|| {
        let hands = ManualClock::new();
        let slow = Adaptive::default().floor(0.001).decrease(0.0001).calm(SECOND).increase(10.0);
        let pacer = pacer(&hands, |builder| builder.per_second(10.0).adaptive(slow));
        drop(pacer.acquire());
        pacer.throttled(None);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| pacer.acquire().waited());
            until("it to wait", || hands.sleeping() == 1);
            let wait = 2 * SECOND + Duration::from_micros(99_800);
            assert_eq!(hands.until_next(), Some(wait));
            hands.advance(wait);
            assert_eq!(waiter.join().unwrap(), wait);
        });
    });
}

#[test]
fn all_limits_are_slowed_down_alike() {
    let hands = ManualClock::new();
    let tokens = |builder: PacerBuilder| builder.limit("tokens", Limit::per_second(100.0).burst(100));
    let halving = Adaptive::default().decrease(0.5).increase(1.0);
    let pacer = pacer(&hands, |builder| tokens(builder.per_second(10.0)).adaptive(halving));
    let rates = || pacer.limits().iter().map(|limit| limit.rate).collect::<Vec<_>>();
    pacer.request().weight("tokens", 100).acquire().unwrap().throttled(None);
    assert_eq!(rates(), [5.0, 50.0]);
    hands.advance(SECOND);
    assert_eq!(pacer.limits()[1].available, 50);
    hands.advance(61 * SECOND);
    assert_eq!(rates(), [7.0, 70.0]);
}

#[test]
fn a_new_full_rate_stays_slowed_down_in_proportion() {
    let hands = ManualClock::new();
    let pacer = fifty_per_second(&hands);
    pacer.throttled(None);
    pacer.set_rate(Pacer::CALLS, 100.0).unwrap();
    assert_rate(&pacer, 70.0);
    hands.advance(1000 * SECOND);
    assert_rate(&pacer, 100.0);
    pacer.set_rate(Pacer::CALLS, 10.0).unwrap();
    assert_rate(&pacer, 10.0);
}
