//! How flights end: by a value, a panic, an abandoned lead, and from outside by forget, cancel and close.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Crowd, Handle, Seen, building, plainly, together};
use crate::error::CallError;
use crate::flight::enter::Entry;
use crate::flight::enter::WaitMode;
use crate::flight::faults::Fault;
use crate::flight::follow::Waited;
#[cfg(feature = "pace")]
use crate::flight::watch::{Signal, Watcher};
use crate::options::CallOptions;
#[cfg(feature = "pace")]
use crate::sync::Barrier;
use crate::sync::{self, catches, holds};
use crate::wait::limits::WaitLimits;

/// ```text
/// leader                          follower
/// closure returns                 joins: makes the slot, or finds it
/// end: remove, publish            looks; sleeps
/// wake all                        wakes with the result
/// ```
fn join_against_finish() {
    let crowd = Crowd::new(building());
    let part = |number| {
        let crowd = &crowd;
        move |seen: &Seen| {
            crowd.call(seen, 1, plainly, |_| crowd.alone(|| Ok(number))).unwrap();
        }
    };
    crowd.settle(together([&part(1), &part(2), &part(3)]));
}

#[test]
fn who_joins_as_the_flight_ends_gets_its_result() {
    holds(join_against_finish);
}

#[test]
fn an_end_that_wakes_nobody_is_caught() {
    catches(Fault::WakesNobody, "deadlock", join_against_finish);
}

#[test]
fn an_end_that_wakes_the_followers_of_one_lane_is_caught() {
    catches(Fault::WakesOneLane, "deadlock", join_against_finish);
}

#[test]
fn an_end_that_is_set_in_one_lane_is_caught() {
    catches(Fault::SetsOneLane, "deadlock", join_against_finish);
}

#[test]
fn a_leader_that_looks_for_followers_without_the_lock_is_caught() {
    catches(Fault::LooksForFollowersTooSoon, "deadlock", join_against_finish);
}

#[test]
fn a_slot_made_twice_is_caught() {
    catches(Fault::MakesSlotAgain, "deadlock", join_against_finish);
}

/// ```text
/// leader of a key            caller                       caller
/// that shares their bit      looks: absent; makes a key   looks: absent; makes a key
///                            looks: nothing begun; leads
///                                                         looks: begun; joins
/// ```
fn keys_made_at_a_time() {
    let crowd = Crowd::new(building());
    let same = |seen: &Seen| {
        crowd.call(seen, 1, plainly, |_| crowd.alone(|| Ok(7))).unwrap();
    };
    let (outer, mut seen) = (Seen::default(), Vec::new());
    let run_both = |_: &Handle<'_>| {
        seen = together([&same, &same]);
        Ok(2)
    };
    crowd.call(&outer, 65, plainly, run_both).unwrap();
    seen.push(outer);
    crowd.settle(seen);
}

#[test]
fn who_has_made_its_key_looks_again() {
    holds(keys_made_at_a_time);
}

#[test]
fn a_caller_that_leads_as_soon_as_its_key_is_made_is_caught() {
    catches(Fault::LeadsUnseen, "two leaders", keys_made_at_a_time);
}

/// ```text
/// leader of 2, and in it of 1,                          caller of 1
/// and in it of 65, which shares a bit with 1
/// ends 65: the bit stays, for 1
///                                                       looks: joins 1
/// ends 1 and 2
/// ```
fn a_bit_for_two() {
    let crowd = Crowd::new(building());
    let leader = |seen: &Seen| {
        let shares_a_bit = || {
            crowd.call(seen, 65, plainly, |_| Ok(3)).unwrap();
            sync::pause();
            Ok(7)
        };
        let one = || crowd.call(seen, 1, plainly, |_| crowd.alone(shares_a_bit)).map(|_| 2).map_err(|_| 0);
        crowd.call(seen, 2, plainly, |_| one()).unwrap();
    };
    let caller = |seen: &Seen| {
        crowd.call(seen, 1, plainly, |_| crowd.alone(|| Ok(7))).unwrap();
    };
    crowd.settle(together([&leader, &caller]));
}

#[test]
fn a_flight_is_found_when_another_one_of_its_bit_has_ended() {
    holds(a_bit_for_two);
}

#[test]
fn a_filter_that_loses_other_flights_is_caught() {
    catches(Fault::FilterLosesOthers, "two leaders", a_bit_for_two);
}

/// ```text
/// leader                          caller
/// end: remove, publish
///                                 has the result; calls again: no flight, so it leads
/// ```
fn call_after_the_result() {
    let crowd = Crowd::new(building());
    let part = |number| {
        let crowd = &crowd;
        move |seen: &Seen| {
            let first = crowd.call(seen, 1, plainly, |_| crowd.alone(|| Ok(number))).unwrap();
            let second = crowd.call(seen, 1, plainly, |_| crowd.alone(|| Ok(number))).unwrap();
            assert!(!Arc::ptr_eq(&first, &second), "a result that was out already");
        }
    };
    crowd.settle(together([&part(1), &part(2)]));
}

#[test]
fn who_calls_after_the_result_is_out_does_not_get_it() {
    holds(call_after_the_result);
}

#[test]
fn a_result_that_is_out_before_the_flight_is_removed_is_caught() {
    catches(Fault::PublishesBeforeRemoving, "out already", call_after_the_result);
}

/// ```text
/// leader                          follower
/// closure panics                  joins
/// end: remove, publish            wakes with LeaderPanicked
/// the panic goes on
/// ```
fn panic_of_the_leader() {
    let crowd = Crowd::new(building());
    let part = |number: u64| {
        let crowd = &crowd;
        move |seen: &Seen| {
            let result = crowd.call(seen, 1, plainly, |_| {
                sync::pause();
                resume_unwind(Box::new(number));
            });
            let own = seen.0.borrow()[0].is_none();
            assert!(own || matches!(result, Err(CallError::LeaderPanicked { .. })), "{result:?}");
        }
    };
    crowd.settle(together([&part(1), &part(2), &part(3)]));
}

#[test]
fn a_panic_strands_nobody() {
    holds(panic_of_the_leader);
}

#[test]
fn a_panic_that_ends_nothing_is_caught() {
    catches(Fault::PanicEndsNothing, "deadlock", panic_of_the_leader);
}

/// ```text
/// leader                          follower
/// takes the lead
///                                 joins
/// goes away without running       wakes with LeaderPanicked
/// ```
fn abandoned_lead() {
    let crowd = Crowd::new(building());
    let part = || {
        let entered = crowd.calls.flights.enter(WaitMode::Now, 1, &1, &CallOptions::default());
        sync::pause();
        match entered {
            Entry::Lead(lead) => drop(lead),
            Entry::Follow(follow) => match follow.wait(sync::now(), WaitLimits::default()) {
                Waited::Over(outcome) => assert!(matches!(outcome.result, Err(CallError::LeaderPanicked { .. }))),
                Waited::Lead(_) | Waited::Bypass(_) => unreachable!("nothing was wished for"),
            },
            Entry::Bypass(_) | Entry::Done(_) => unreachable!("nothing was wished for"),
        }
    };
    together([&|_| part(), &|_| part()]);
    let stats = crowd.calls.stats();
    assert_eq!((stats.in_flight, stats.following, stats.running, stats.calls()), (0, 0, 0, 2));
}

#[test]
fn a_lead_that_goes_away_unrun_strands_nobody() {
    holds(abandoned_lead);
}

#[test]
fn an_abandoned_lead_that_ends_nothing_is_caught() {
    catches(Fault::AbandonedLeadEndsNothing, "ends as a leader", abandoned_lead);
}

/// ```text
/// leader of 1                     another caller
///                                 forget; leads a new flight
/// end: removes by id, and
/// publishes to its own followers
///                                 end: its flight is still there
/// ```
fn forget_against_finish() {
    let crowd = Crowd::new(building());
    let changes = AtomicU64::new(0);
    let work = || {
        let seen = changes.load(Ordering::Relaxed);
        sync::pause();
        Ok(seen)
    };
    let caller = |seen: &Seen| {
        crowd.call(seen, 1, plainly, |_| work()).unwrap();
    };
    let forgetter = |seen: &Seen| {
        changes.store(1, Ordering::Relaxed);
        crowd.calls.forget(&1);
        let result = crowd.call(seen, 1, plainly, |_| work()).unwrap();
        assert_eq!(*result, 1, "a result from before it was forgotten");
    };
    crowd.settle(together([&caller, &caller, &forgetter, &caller]));
}

#[test]
fn who_calls_after_forget_starts_afresh_and_the_old_followers_are_served() {
    holds(forget_against_finish);
}

#[test]
fn removal_by_key_is_caught() {
    catches(Fault::RemovesByKey, "deadlock", forget_against_finish);
}

#[test]
fn a_slot_lost_by_forget_is_caught() {
    catches(Fault::ForgetLosesSlot, "deadlock", forget_against_finish);
}

/// ```text
/// leader                          canceller
/// closure returns                 forgets, publishes Cancelled, wakes all
/// end: its own caller gets        (or comes too late, and finds no flight)
/// the value, nobody else
/// ```
fn cancel_against_finish() {
    let crowd = Crowd::new(building());
    let part = |number| {
        let crowd = &crowd;
        move |seen: &Seen| {
            let result = crowd.call(seen, 1, plainly, |flight| {
                sync::pause();
                // A closure never sees followers that were woken because its flight was cancelled.
                assert!(!flight.is_cancelled() || flight.followers() == 0);
                Ok(number)
            });
            assert!(matches!(result, Ok(_) | Err(CallError::Cancelled)));
        }
    };
    let canceller = |_: &Seen| {
        crowd.calls.cancel(&1);
    };
    crowd.settle(together([&part(1), &part(2), &part(3), &canceller]));
}

#[test]
fn cancel_and_finish_release_each_follower_once() {
    holds(cancel_against_finish);
}

#[test]
fn a_flight_published_again_after_cancel_is_caught() {
    catches(Fault::PublishesTwice, "early leavers", cancel_against_finish);
}

#[test]
fn a_cancel_that_wakes_nobody_is_caught() {
    catches(Fault::WakesNobody, "deadlock", cancel_against_finish);
}

/// ```text
/// caller                          closer
/// joins, or leads                 closes each shard: Closed to all followers
/// calls again: refused            nobody follows any more
///                                 drains: the last end wakes it
/// ```
fn close_against_join() {
    let crowd = Crowd::new(building());
    let is_closed = AtomicBool::new(false);
    let caller = |seen: &Seen| {
        for _ in 0..2 {
            let after = is_closed.load(Ordering::Relaxed);
            let result = crowd.call(seen, 1, plainly, |_| {
                sync::pause();
                Ok(1)
            });
            assert!(matches!(result, Ok(_) | Err(CallError::Closed)));
            assert!(!after || result.is_err(), "a call began after close");
        }
    };
    let forgetter = |seen: &Seen| {
        crowd.calls.forget(&1);
        caller(seen);
        // Returns at its timeout, or when notified; true if all closures have ended before it checks.
        let _ = crowd.calls.drain(Duration::from_secs(1));
    };
    let closer = |_: &Seen| {
        crowd.calls.close();
        is_closed.store(true, Ordering::Relaxed);
        assert_eq!(crowd.calls.stats().following, 0, "a follower outlives close");
        assert!(crowd.calls.drain(Duration::MAX));
        assert_eq!(crowd.calls.stats().running, 0, "a closure outlives drain");
    };
    crowd.settle(together([&caller, &caller, &forgetter, &closer]));
}

#[test]
fn close_releases_all_and_lets_nobody_in_and_drain_sees_the_last_closure_end() {
    holds(close_against_join);
}

#[test]
fn a_closed_coalescer_that_lets_calls_in_is_caught() {
    catches(Fault::StaysOpen, "after close", close_against_join);
}

#[test]
fn a_close_that_misses_forgotten_flights_is_caught() {
    catches(Fault::CloseMissesUnlinked, "outlives close", close_against_join);
}

#[test]
fn an_end_told_between_the_look_and_the_sleep_of_drain_is_caught() {
    catches(Fault::TellsDrainUnlocked, "deadlock", close_against_join);
}

/// Waits in something that is not a flight.
#[cfg(feature = "pace")]
struct Elsewhere(sync::Monitor<Option<Signal>>);

#[cfg(feature = "pace")]
impl Watcher for Elsewhere {
    fn notify(&self, signal: Signal) {
        *self.0.lock() = Some(signal);
        self.0.notify_all();
    }
}

#[cfg(feature = "pace")]
impl Elsewhere {
    fn wait(&self) -> Signal {
        let mut signal = self.0.lock();
        loop {
            if let Some(signal) = *signal {
                return signal;
            }
            signal = self.0.wait(signal, None);
        }
    }
}

/// ```text
/// leader    waits elsewhere until it is told
/// other     ends the joining of its flight, before or after that
/// ```
#[cfg(feature = "pace")]
fn told_elsewhere(expected: Signal, end: impl Fn(&Crowd) -> bool + Sync) {
    let crowd = Crowd::new(building());
    let begun = Barrier::new(2);
    let lead = |seen: &Seen| {
        let _ = crowd.call(seen, 1, plainly, |flight| {
            begun.wait();
            let elsewhere = Arc::new(Elsewhere(sync::Monitor::new(None)));
            let _watch = flight.watch(Arc::clone(&elsewhere) as Arc<dyn Watcher>);
            assert_eq!(elsewhere.wait(), expected);
            assert!(!flight.is_current());
            Ok(1)
        });
    };
    let other = |_: &Seen| {
        begun.wait();
        assert!(end(&crowd));
    };
    let seen = together([&lead, &other]);
    crowd.settle(seen);
}

#[cfg(feature = "pace")]
fn cancelled_elsewhere() {
    told_elsewhere(Signal::Cancelled, |crowd| crowd.calls.cancel(&1));
}

#[cfg(feature = "pace")]
#[test]
fn a_leader_that_waits_elsewhere_is_told() {
    holds(cancelled_elsewhere);
    holds(|| told_elsewhere(Signal::Unlinked, |crowd| crowd.calls.forget(&1)));
    holds(|| {
        told_elsewhere(Signal::Closed, |crowd| {
            crowd.calls.close();
            true
        });
    });
}

#[cfg(feature = "pace")]
#[test]
fn a_leader_that_waits_elsewhere_and_is_not_told_is_caught() {
    catches(Fault::WatchersAreNotNotified, "deadlock", cancelled_elsewhere);
}
