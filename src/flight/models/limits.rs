//! Deadlines, bounds and marks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Crowd, Seen, building, plainly, together};
use crate::error::CallError;
use crate::flight::faults::Fault;
use crate::sync::{catches, holds, pause};
use crate::wait::faults::Fault as WaitFault;

/// ```text
/// leader                          follower
///                                 its deadline passes
/// end: remove, publish
///                                 leaves: locks the shard, and looks once more: it takes the result
/// ```
fn deadline_against_finish() {
    let crowd = Crowd::new(building());
    let part = |number| {
        let crowd = &crowd;
        move |seen: &Seen| {
            let late = Duration::from_secs(number);
            let result = crowd.call(seen, 1, |asking| asking.timeout(late), |_| crowd.alone(|| Ok(number)));
            assert!(matches!(result, Ok(_) | Err(CallError::TimedOut)));
        }
    };
    crowd.settle(together([&part(1), &part(2), &part(3)]));
}

#[test]
fn a_deadline_loses_to_a_result_that_is_there_and_each_follower_is_counted_off_once() {
    holds(deadline_against_finish);
}

#[test]
fn a_follower_that_leaves_without_a_last_look_is_caught() {
    catches(Fault::LeavesBlindly, "early leavers", deadline_against_finish);
}

/// ```text
/// joiner of 1 (one shard)         joiner of 2 (another shard)
/// is there a place? one is left
///                                 is there a place? one is left
/// takes it                        takes another: over the limit
/// ```
fn bound_over_all_flights() {
    let crowd = Crowd::new(building().shards(2).max_followers_total(1));
    let [one, other] = crowd.keys_apart();
    let part = |key| {
        let crowd = &crowd;
        move |seen: &Seen| {
            let result = crowd.call(seen, key, plainly, |_| {
                pause();
                Ok(key)
            });
            assert!(matches!(result, Ok(_) | Err(CallError::Overloaded)));
            assert!(crowd.calls.flights.following.taken() <= 1, "more places than there are");
        }
    };
    crowd.settle(together([&part(one), &part(other), &part(one), &part(other)]));
}

#[test]
fn the_bound_over_all_flights_is_never_passed_and_given_back_whole() {
    holds(bound_over_all_flights);
}

#[test]
fn a_bound_taken_in_two_steps_is_caught() {
    catches(WaitFault::CountsApart, "place", bound_over_all_flights);
}

/// ```text
/// old leader and its followers    a thread that changes something
/// closure looks
///                                 changes it; mark; calls after the mark: the old flight is unlinked,
///                                 and this call leads, or joins one that began after the mark
/// end: serves its own followers
/// ```
fn call_after_a_mark() {
    let crowd = Crowd::new(building());
    let version = AtomicU64::new(0);
    let work = || {
        let seen = version.load(Ordering::Relaxed);
        pause();
        Ok(seen)
    };
    let caller = |seen: &Seen| {
        crowd.call(seen, 1, plainly, |_| work()).unwrap();
    };
    let changer = |seen: &Seen| {
        let change = version.fetch_add(1, Ordering::Relaxed) + 1;
        let mark = crowd.calls.mark();
        let result = crowd.call(seen, 1, |asking| asking.after(mark), |_| work()).unwrap();
        assert!(*result >= change, "a result from before the mark");
    };
    crowd.settle(together([&caller, &caller, &changer, &changer]));
}

#[test]
fn a_call_after_a_mark_gets_a_result_begun_after_it_and_the_old_followers_are_served() {
    holds(call_after_a_mark);
}

#[test]
fn a_call_that_joins_a_flight_older_than_its_mark_is_caught() {
    catches(Fault::JoinsOlder, "before the mark", call_after_a_mark);
}

#[test]
fn a_superseded_flight_that_is_lost_is_caught() {
    catches(Fault::SupersededIsLost, "deadlock", call_after_a_mark);
}

/// ```text
/// first after a mark              second after the same mark
/// leads
///                                 joins it: the flight began after the mark
/// ```
fn calls_after_one_mark() {
    let crowd = Crowd::new(building());
    let mark = crowd.calls.mark();
    let part = |number| {
        let crowd = &crowd;
        move |seen: &Seen| {
            crowd.call(seen, 1, |asking| asking.after(mark), |_| crowd.alone(|| Ok(number))).unwrap();
        }
    };
    crowd.settle(together([&part(1), &part(2), &part(3)]));
}

#[test]
fn calls_after_one_mark_share_a_flight() {
    holds(calls_after_one_mark);
}

#[test]
fn a_call_that_supersedes_a_flight_begun_after_its_mark_is_caught() {
    catches(Fault::SupersedesNewer, "two leaders", calls_after_one_mark);
}

/// ```text
/// follower of 1 (one shard)       follower of 2 (another shard)
/// its patience ends: takes the
/// one place, leaves, runs alone
///                                 its patience ends: no place, so it stays, and tries again later
/// ```
fn impatient_crowd() {
    let crowd = Crowd::new(building().shards(2).max_impatient(1));
    let alone = AtomicU64::new(0);
    let [one, other] = crowd.keys_apart();
    let part = |key| {
        let (crowd, alone) = (&crowd, &alone);
        move |seen: &Seen| {
            let hurry = Duration::from_secs(key);
            let result = crowd.call(
                seen,
                key,
                |asking| asking.patience(hurry),
                |flight| {
                    if flight.is_alone() {
                        assert_eq!(alone.fetch_add(1, Ordering::Relaxed), 0, "two run alone");
                        pause();
                        alone.fetch_sub(1, Ordering::Relaxed);
                    } else {
                        // Time for others to run out of patience.
                        (0..8).for_each(|_| pause());
                    }
                    Ok(key)
                },
            );
            result.unwrap();
        }
    };
    crowd.settle(together([&part(one), &part(other), &part(one), &part(other)]));
}

#[test]
fn no_more_run_alone_than_may() {
    holds(impatient_crowd);
}

#[test]
fn a_bound_on_the_impatient_taken_in_two_steps_is_caught() {
    catches(WaitFault::CountsApart, "two run alone", impatient_crowd);
}

/// ```text
/// leader                          caller
///                                 finds the flight, and follows
/// end: remove, publish, linger
///                                 or finds its result: there is no moment with neither
/// ```
fn end_of_a_flight_that_lingers() {
    let crowd = Crowd::new(building().linger(Duration::MAX));
    let part = |number| {
        let crowd = &crowd;
        move |seen: &Seen| {
            crowd.call(seen, 1, plainly, |_| crowd.alone(|| Ok(number))).unwrap();
        }
    };
    crowd.settle(together([&part(1), &part(2), &part(3)]));
    assert_eq!(crowd.calls.stats().underlying_calls, 1, "one call is enough");
}

#[test]
fn a_result_lingers_as_soon_as_its_flight_is_gone() {
    holds(end_of_a_flight_that_lingers);
}

#[test]
fn a_result_that_lingers_too_late_is_caught() {
    catches(Fault::LingersLate, "one call is enough", end_of_a_flight_that_lingers);
}
