//! Batches: batches that cross, and how their keys end.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Crowd, Seen, building, plainly, together};
use crate::error::CallError;
use crate::flight::faults::Fault;
use crate::policy::{OnDeadlock, OnFailure};
use crate::sync::{self, catches, holds};

fn ones(missing: &[&u64]) -> Vec<u64> {
    sync::pause();
    missing.iter().map(|_| 1).collect()
}

/// ```text
/// first batch                     second batch
/// claims 1                        claims 2
/// is deferred in 2                is deferred in 1
/// runs; ends 1                    runs; ends 2
/// waits for 2: no cycle          waits for 1
/// ```
fn crossing_batches() {
    let crowd = Crowd::new(building().shards(4));
    let [one, two, three] = crowd.keys_apart();
    let part = |keys: [u64; 3]| {
        let crowd = &crowd;
        move |_: &Seen| {
            for result in crowd.calls.call_many(&keys, ones) {
                result.expect("no cycle");
            }
        }
    };
    together([&part([one, two, three]), &part([three, two, one]), &part([two, one, three])]);
    crowd.assert_nothing_left();
    assert_eq!(crowd.calls.stats().calls(), 9);
}

#[test]
fn crossing_batches_are_served_and_never_refused() {
    holds(crossing_batches);
}

#[test]
fn a_batch_that_waits_while_it_leads_is_caught() {
    catches(Fault::WaitsWhileClaiming, "deadlock", crossing_batches);
}

/// ```text
/// batch                           single callers
/// claims 1 and 2                  join 1, join 2
/// panics: ends both               wake with LeaderPanicked
/// ```
fn panic_of_a_batch() {
    let crowd = Crowd::new(building());
    let batch = |_: &Seen| {
        let led = catch_unwind(AssertUnwindSafe(|| {
            crowd.calls.try_call_many(&[1, 2], |missing| {
                sync::pause();
                resume_unwind(Box::new(missing.len()))
            })
        }));
        if let Err(payload) = led {
            payload.downcast::<usize>().expect("its own panic");
        }
    };
    let caller = |key| {
        let crowd = &crowd;
        move |seen: &Seen| {
            let result = crowd.call(seen, key, plainly, |_| Ok(1));
            assert!(matches!(result, Ok(_) | Err(CallError::LeaderPanicked { .. })), "{result:?}");
        }
    };
    together([&batch, &caller(1), &caller(2)]);
    crowd.assert_nothing_left();
    assert_eq!(crowd.calls.stats().calls(), 4);
}

#[test]
fn a_panic_of_a_batch_strands_nobody() {
    holds(panic_of_a_batch);
}

#[test]
fn a_panic_that_releases_one_key_of_a_batch_is_caught() {
    catches(Fault::PanicReleasesOne, "deadlock", panic_of_a_batch);
}

/// ```text
/// leader of 1         batch                           follower of 1
///                     claims 2, is deferred in 1      joins 1
/// fails: elects the
/// follower, or shares if there is none
///                     ends 2; waits for 1             leads, or leaves at its deadline: then the
///                                                     batch gets the failure
/// ```
fn election_beside_an_absent_follower() {
    let crowd = Crowd::new(building().on_error(OnFailure::Elect { times: 2 }));
    let leader = |seen: &Seen| {
        let _ = crowd.call(seen, 1, plainly, |_| {
            sync::pause();
            Err(1)
        });
    };
    let batch = |_: &Seen| {
        let results = crowd.calls.try_call_many(&[1, 2], |missing| {
            // Long enough for all the others to join and leave.
            (0..8).for_each(|_| sync::pause());
            Ok(ones(missing))
        });
        assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(CallError::Failed(_)))), "{results:?}");
    };
    let hurried = |seen: &Seen| {
        let _ = crowd.call(seen, 1, |asking| asking.timeout(Duration::from_secs(1)), |_| Err(2));
    };
    together([&leader, &batch, &hurried]);
    crowd.assert_nothing_left();
    assert_eq!(crowd.calls.stats().calls(), 4);
}

#[test]
fn an_absent_follower_is_not_elected_and_hears_of_the_end() {
    holds(election_beside_an_absent_follower);
}

/// ```text
/// leader of 1                     batch                           waits for nobody else
///                                 claims 2, is deferred in 1
/// fails: nobody can be elected
///                                 its closure waits for the failure, by a wait outside this crate
/// ```
fn closure_that_waits_for_another_flight_to_end() {
    let crowd = Crowd::new(building().on_error(OnFailure::Elect { times: 1 }));
    let leader = |seen: &Seen| {
        let _ = crowd.call(seen, 1, plainly, |_| {
            sync::pause();
            Err(1)
        });
    };
    let batch = |_: &Seen| {
        let results = crowd.calls.try_call_many(&[1, 2], |missing| {
            if !missing.contains(&&1) {
                // If a deferred follower is elected, nobody leads the flight.
                for _ in 0..200 {
                    let flights = crowd.calls.flights();
                    let Some(flight) = flights.iter().find(|flight| flight.key == 1) else { break };
                    assert!(flight.leader.is_some(), "a deferred follower was elected");
                    sync::give_way();
                }
            }
            Ok(ones(missing))
        });
        drop(results);
    };
    together([&leader, &batch]);
    crowd.assert_nothing_left();
}

#[test]
fn a_flight_that_only_absent_followers_are_in_ends_with_its_leader() {
    holds(closure_that_waits_for_another_flight_to_end);
}

#[test]
fn an_election_of_the_absent_is_caught() {
    catches(Fault::ElectsTheDeferred, "was elected", closure_that_waits_for_another_flight_to_end);
}

/// One of them finds the lead vacant over and over, and no flight to lead.
#[test]
fn absent_followers_who_are_not_told_of_the_end_are_caught() {
    catches(Fault::DeferredAreForgotten, "exceeded max_steps", election_beside_an_absent_follower);
}

/// ```text
/// leader of 1                         leader of 2
///                                     its batch is deferred in 1
/// waits for 2
///                                     may not wait for 1: leaves, and runs its closure alone,
/// leaves at its deadline; ends 1      unless the result has come meanwhile
/// ```
fn batch_that_may_not_wait() {
    let crowd = Crowd::new(building().on_deadlock(OnDeadlock::Bypass));
    let runs = AtomicU64::new(0);
    let run = || runs.fetch_add(1, Ordering::Relaxed);
    let first = |_: &Seen| {
        let led = crowd.calls.try_call(&1, || {
            run();
            let asking = crowd.calls.on(&2).timeout(Duration::from_secs(1));
            drop(asking.try_call(|_| Ok(run())));
            Ok(1)
        });
        led.unwrap();
    };
    let second = |_: &Seen| {
        let led = crowd.calls.try_call(&2, || {
            run();
            let results = crowd.calls.call_many(&[1], |missing| {
                run();
                ones(missing)
            });
            assert!(matches!(results[..], [Ok(_)]), "{results:?}");
            Ok(1)
        });
        led.unwrap();
    };
    together([&first, &second]);
    crowd.assert_nothing_left();
    let stats = crowd.calls.stats();
    assert_eq!(stats.underlying_calls + stats.bypassed + stats.impatient, runs.into_inner(), "runs: {stats:?}");
}

#[test]
fn a_batch_that_may_not_wait_runs_alone_or_has_what_came_meanwhile() {
    holds(batch_that_may_not_wait);
}

#[test]
fn a_run_of_one_that_may_not_wait_and_is_not_counted_is_caught() {
    catches(Fault::RunsUncounted, "runs: ", batch_that_may_not_wait);
}
