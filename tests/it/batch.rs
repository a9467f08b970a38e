//! Many keys at once.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use sync_coalesce::observe::{FlightId, FollowerLeft, Observer, RunEnded};
use sync_coalesce::{CallError, OnDeadlock, OnFailure, OnOverflow, Outcome, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, Random, assert_idle, bounded, crowd, join, until, until_following, until_running};

type Numbers = SyncCoalesce<u64, u64, &'static str>;
type Answer = Result<Arc<u64>, CallError<&'static str>>;
type Results = Vec<Answer>;

fn tenfold(missing: &[&u64]) -> Vec<u64> {
    missing.iter().map(|key| **key * 10).collect()
}

fn values(results: &[Answer]) -> Vec<u64> {
    results.iter().map(|result| **result.as_ref().unwrap()).collect()
}

fn is_refused<T>(result: &Result<T, CallError<&str>>) -> bool {
    matches!(result, Err(CallError::Deadlock { .. }))
}

/// Waits until so many followers have joined, some of whom may have left again.
#[track_caller]
fn until_joined(coalesce: &Numbers, count: u64) {
    until(format_args!("{count} followers"), || coalesce.stats().coalesced_calls == count);
}

fn results<T, E>(outcomes: Vec<Outcome<T, E>>) -> Vec<Result<Arc<T>, CallError<E>>> {
    outcomes.into_iter().map(Outcome::into_result).collect()
}

#[test]
fn a_batch_makes_one_call_for_all_its_keys_however_many_shards_they_are_in() {
    let coalesce: Numbers = SyncCoalesce::builder().shards(64).build();
    let mut asked = Vec::new();
    let results = coalesce.try_call_many(&[4, 1, 4, 3, 1, 2], |missing| {
        asked.push(missing.iter().map(|key| **key).collect::<Vec<_>>());
        Ok(tenfold(missing))
    });
    assert_eq!(asked, [[4, 1, 3, 2]], "each key once, in order, in one call");
    assert_eq!(values(&results), [40, 10, 40, 30, 10, 20]);
    assert!(Arc::ptr_eq(results[0].as_ref().unwrap(), results[2].as_ref().unwrap()));
    let stats = coalesce.stats();
    assert_eq!((stats.underlying_calls, stats.calls()), (4, 4), "a call for each different key");
    assert_idle(&coalesce);
}

#[test]
fn an_empty_batch_asks_for_nothing() {
    let coalesce: Numbers = SyncCoalesce::new();
    assert!(coalesce.call_many(&[], |_: &[&u64]| unreachable!("nothing is missing")).is_empty());
    assert_eq!(coalesce.stats().calls(), 0);
}

#[test]
fn keys_come_in_their_borrowed_form_and_from_any_iterator() {
    let coalesce: SyncCoalesce<String, usize> = SyncCoalesce::new();
    let owned = vec!["one".to_owned(), "three".to_owned()];
    let borrowed = ["one", "three"];
    let answers = [
        coalesce.call_many(&owned, |missing| missing.iter().map(|text| text.len()).collect()),
        coalesce.call_many(borrowed, |missing| missing.iter().map(|text| text.len()).collect()),
        coalesce.call_many(borrowed.iter().copied(), |missing| missing.iter().map(|text| text.len()).collect()),
    ];
    for answer in answers {
        assert!(answer.into_iter().map(Result::unwrap).map(|length| *length).eq([3, 5]));
    }
}

/// ```text
/// single  lead(1) ------------------------------------ until the batch's caller for 3 is there
/// batch           follows 1, leads 2 and 3 --- until 3 is followed
/// single                                    join(3)
/// ```
#[test]
fn single_calls_and_batches_coalesce_key_by_key() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                coalesce.call(&1, || {
                    until_joined(&coalesce, 2);
                    100
                })
            });
            until_running(&coalesce, 1);
            let batch = scope.spawn(|| {
                coalesce.call_many(&[1, 2, 3], |missing| {
                    assert_eq!(missing, [&2, &3]);
                    until_joined(&coalesce, 2);
                    tenfold(missing)
                })
            });
            until_running(&coalesce, 3);
            assert_eq!(*coalesce.call(&3, || unreachable!("the batch leads it")).unwrap(), 30);
            assert_eq!(values(&batch.join().unwrap()), [100, 20, 30]);
            assert_eq!(*first.join().unwrap().unwrap(), 100);
        });
        let stats = coalesce.stats();
        assert_eq!((stats.underlying_calls, stats.coalesced_calls, stats.calls()), (3, 2, 5));
        assert_idle(&coalesce);
    });
}

#[test]
fn a_batch_whose_keys_are_all_in_flight_calls_nothing() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        thread::scope(|scope| {
            let batches = crowd(scope, 5, |_| {
                coalesce.call_many(&[1, 2], |missing| {
                    until_joined(&coalesce, 8);
                    tenfold(missing)
                })
            });
            assert!(join(batches).iter().all(|results| values(results) == [10, 20]));
        });
        assert_eq!((coalesce.stats().underlying_calls, coalesce.stats().coalesced_calls), (2, 8));
        assert_idle(&coalesce);
    });
}

/// What one follower of each key gets when a batch's closure for 1 and 2 ends like this.
fn followers_of(
    coalesce: &Numbers,
    end: impl FnMut(&[&u64]) -> Result<Vec<u64>, &'static str> + Send,
) -> (thread::Result<Results>, Results) {
    thread::scope(|scope| {
        let mut end = end;
        let batch = scope.spawn(move || {
            catch_unwind(AssertUnwindSafe(|| {
                coalesce.try_call_many(&[1, 2], |missing| {
                    until_following(coalesce, 2);
                    end(missing)
                })
            }))
        });
        until_running(coalesce, 2);
        let followers = crowd(scope, 2, |place| coalesce.call(&(place as u64 + 1), || unreachable!("it is in flight")));
        let followed = join(followers);
        (batch.join().unwrap(), followed)
    })
}

#[test]
fn a_failing_batch_shares_one_error_with_all_its_keys() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        let (led, followed) = followers_of(&coalesce, |_| Err("no"));
        let errors: Vec<_> = led
            .unwrap()
            .into_iter()
            .chain(followed)
            .map(|result| match result {
                Err(CallError::Failed(error)) => error,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(errors.len(), 4);
        assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));
        assert_eq!(coalesce.stats().failed, 2, "each key that the closure ran for");
        assert_idle(&coalesce);
    });
}

#[test]
fn a_wrong_number_of_values_is_an_error_of_every_claimed_key() {
    bounded(|| {
        for got in [0, 1, 3] {
            let coalesce: Numbers = SyncCoalesce::new();
            let (led, followed) = followers_of(&coalesce, |_| Ok(vec![7; got]));
            for result in led.unwrap().into_iter().chain(followed) {
                let wrong = result.unwrap_err();
                assert!(matches!(wrong, CallError::WrongCount { expected: 2, got: counted } if counted == got));
                assert_eq!(wrong.to_string(), format!("the shared call was asked for 2 values and returned {got}"));
            }
            assert_eq!(values(&coalesce.call_many(&[1, 2], tenfold)), [10, 20], "the next call runs afresh");
            assert_idle(&coalesce);
        }
    });
}

#[test]
fn a_panic_releases_every_claimed_key_and_goes_on_to_the_caller() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        let (led, followed) = followers_of(&coalesce, |_| resume_unwind(Box::new("down")));
        assert_eq!(*led.unwrap_err().downcast::<&str>().unwrap(), "down");
        for result in followed {
            assert!(matches!(result, Err(CallError::LeaderPanicked { message }) if &*message == "down"));
        }
        assert_eq!(coalesce.stats().panicked, 2);
        assert_idle(&coalesce);
    });
}

#[test]
fn a_panic_leaves_the_flights_of_others_too() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        let value = coalesce.call(&1, || {
            thread::scope(|scope| {
                let batch = scope.spawn(|| coalesce.call_many(&[1, 2], |_| resume_unwind(Box::new("down"))));
                assert!(batch.join().is_err());
            });
            assert_eq!((coalesce.stats().following, coalesce.in_flight()), (0, 1));
            7
        });
        assert_eq!(*value.unwrap(), 7);
        assert_idle(&coalesce);
    });
}

#[test]
fn each_key_may_fail_on_its_own() {
    let coalesce: Numbers = SyncCoalesce::new();
    let odd =
        |missing: &[&u64]| missing.iter().map(|key| if **key % 2 == 1 { Ok(**key) } else { Err("even") }).collect();
    let results = coalesce.try_call_many_each(&[1, 2, 3], odd);
    assert_eq!((**results[0].as_ref().unwrap(), **results[2].as_ref().unwrap()), (1, 3));
    assert!(matches!(&results[1], Err(CallError::Failed(error)) if **error == "even"));
    assert!(matches!(
        coalesce.try_call_many_each(&[1], |_| Vec::new())[0],
        Err(CallError::WrongCount { expected: 1, got: 0 })
    ));
    assert_eq!((coalesce.stats().underlying_calls, coalesce.stats().failed), (4, 2));
    assert_idle(&coalesce);
}

#[test]
fn what_is_missing_is_asked_for_in_parts() {
    let coalesce: Numbers = SyncCoalesce::builder().max_batch(2).build();
    let mut sizes = Vec::new();
    let results = coalesce.try_call_many(&[1, 2, 3, 4, 5], |missing| {
        sizes.push(missing.len());
        // The keys of this part are in flight, those of the parts before it no longer.
        assert_eq!(coalesce.in_flight(), 5 - (*missing[0] - 1));
        if sizes.len() == 2 { Err("the second part") } else { Ok(tenfold(missing)) }
    });
    assert_eq!(sizes, [2, 2, 1]);
    let failed: Vec<bool> = results.iter().map(Result::is_err).collect();
    assert_eq!(failed, [false, false, true, true, false], "an error is that of its own part");

    let coalesce: Numbers = SyncCoalesce::builder().max_batch(0).build();
    assert_eq!(values(&coalesce.call_many(&[1, 2], tenfold)), [10, 20], "none at a time counts as one");
}

#[test]
fn a_panic_in_one_part_releases_the_parts_after_it() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::builder().max_batch(1).build();
        let (led, followed) = followers_of(&coalesce, |_| resume_unwind(Box::new("down")));
        assert!(led.is_err());
        assert!(followed.iter().all(|result| matches!(result, Err(CallError::LeaderPanicked { .. }))));
        assert_idle(&coalesce);
    });
}

/// A key that has somebody wait for it when it is claimed.
#[derive(Debug)]
struct Meeting {
    id: u64,
    claimed: Option<Arc<Barrier>>,
}

impl Clone for Meeting {
    fn clone(&self) -> Self {
        if let Some(claimed) = &self.claimed {
            claimed.wait();
        }
        Self { id: self.id, claimed: None }
    }
}

impl Hash for Meeting {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl PartialEq for Meeting {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Meeting {}

/// ```text
/// first    claims 1 --- claims 11 --- follows 2 --- runs for 1 and 11 ---- waits for 2
/// second   claims 2 --- claims 12 --- follows 1 --- runs for 2 and 12 ---- waits for 1
///                       (together)                  (together)
/// ```
#[test]
fn batches_with_crossing_keys_never_wait_in_a_circle() {
    bounded(|| {
        let coalesce: SyncCoalesce<Meeting, u64> = SyncCoalesce::new();
        let (both_claim, both_run) = (Arc::new(Barrier::new(2)), Barrier::new(2));
        thread::scope(|scope| {
            let batches = crowd(scope, 2, |place| {
                let (own, other) = if place == 0 { (1, 2) } else { (2, 1) };
                let key = |id, claimed| Meeting { id, claimed };
                let keys = [key(own, None), key(own + 10, Some(Arc::clone(&both_claim))), key(other, None)];
                let results = coalesce.call_many(&keys, |missing| {
                    assert_eq!(missing, [&keys[0], &keys[1]]);
                    both_run.wait();
                    missing.iter().map(|key| key.id * 10).collect()
                });
                let values: Vec<u64> = results.into_iter().map(|result| *result.unwrap()).collect();
                assert_eq!(values, [own * 10, own * 10 + 100, other * 10]);
            });
            join(batches);
        });
        assert_eq!((coalesce.stats().underlying_calls, coalesce.stats().coalesced_calls), (4, 2));
        assert_idle(&coalesce);
    });
}

#[test]
fn a_batch_that_asks_for_what_its_own_thread_leads_is_refused_for_that_key_alone() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        let results = coalesce.call_many(&[1, 2], |_| {
            let inner = coalesce.call_many(&[1, 3, 2], tenfold);
            assert!(is_refused(&inner[0]) && is_refused(&inner[2]));
            assert_eq!(**inner[1].as_ref().unwrap(), 30);
            vec![1, 2]
        });
        assert_eq!(values(&results), [1, 2]);
        let stats = coalesce.stats();
        assert_eq!((stats.underlying_calls, stats.deadlocks, stats.calls()), (3, 2, 5));
        assert_idle(&coalesce);
    });
}

/// ```text
/// first    leads 1 ------- both lead ---- batch of 2: waits
/// second   leads 2 ------- both lead ---- batch of 1: refused, or the other way round
/// ```
#[test]
fn two_threads_whose_batches_wait_for_what_the_other_leads_are_told_apart() {
    bounded(|| {
        for on_deadlock in [OnDeadlock::Refuse, OnDeadlock::Bypass] {
            let coalesce: Numbers = SyncCoalesce::builder().on_deadlock(on_deadlock).build();
            let both_lead = Barrier::new(2);
            let (refused, alone) = (AtomicU64::new(0), AtomicU64::new(0));
            thread::scope(|scope| {
                let callers = crowd(scope, 2, |place| {
                    let (own, other) = if place == 0 { (1, 2) } else { (2, 1) };
                    coalesce.call(&own, || {
                        both_lead.wait();
                        let results = coalesce.call_many(&[other, own + 10], |missing| {
                            if missing == [&other] {
                                alone.fetch_add(1, SeqCst);
                            }
                            tenfold(missing)
                        });
                        refused.fetch_add(u64::from(is_refused(&results[0])), SeqCst);
                        assert_eq!(**results[1].as_ref().unwrap(), (own + 10) * 10);
                        own * 10
                    })
                });
                assert!(join(callers).into_iter().all(|result| result.is_ok()));
            });
            let expected = if on_deadlock == OnDeadlock::Refuse { (1, 0) } else { (0, 1) };
            assert_eq!((refused.into_inner(), alone.into_inner()), expected);
            let stats = coalesce.stats();
            assert_eq!((stats.underlying_calls, stats.coalesced_calls, stats.calls()), (4, 2, 6), "{stats:?}");
            assert_eq!(stats.impatient, expected.1);
            assert_idle(&coalesce);
        }
    });
}

/// ```text
/// first   leads 1 ------- follows 2 ------------------------ fails
/// other           follows 1 ------------------------------------- is elected
/// batch   leads 2 -- joins 1, leads 3 -- refused; ends 2
/// ```
#[test]
fn a_batch_that_is_refused_when_it_comes_to_wait_leaves_the_lead_to_others() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::builder().on_error(OnFailure::Elect { times: 1 }).build();
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                coalesce.try_call(&1, || {
                    until("the flight of 2", || coalesce.in_flight() > 1);
                    assert_eq!(*coalesce.call(&2, || 0).unwrap(), 20);
                    Err("no")
                })
            });
            until_running(&coalesce, 1);
            let other = scope.spawn(|| coalesce.call(&1, || 11));
            until_following(&coalesce, 1);
            let batch = coalesce.call(&2, || {
                let results = coalesce.call_many(&[1, 3], |missing| {
                    until_following(&coalesce, 3);
                    tenfold(missing)
                });
                assert!(is_refused(&results[0]));
                assert_eq!(values(&results[1..]), [30]);
                20
            });
            assert_eq!(*batch.unwrap(), 20);
            assert!(matches!(first.join().unwrap(), Err(CallError::Failed(_))));
            assert_eq!(*other.join().unwrap().unwrap(), 11);
        });
        assert_eq!(coalesce.stats().elected, 1);
        assert_idle(&coalesce);
    });
}

/// ```text
/// single  lead(1) -------------------------- fails
/// batch           follows 1, leads 2 ------------------ until it has failed
/// ```
#[test]
fn a_batch_whose_closure_still_runs_is_not_elected_for_another_key() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::builder().on_error(OnFailure::Elect { times: 1 }).build();
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                coalesce.try_call(&1, || {
                    until_following(&coalesce, 1);
                    Err("no")
                })
            });
            until_running(&coalesce, 1);
            let results = coalesce.call_many(&[1, 2], |missing| {
                assert_eq!(missing, [&2]);
                until("the flight of 1 to end", || coalesce.stats().failed == 1 && coalesce.stats().following == 0);
                tenfold(missing)
            });
            assert!(matches!(&results[0], Err(CallError::Failed(error)) if **error == "no"));
            assert_eq!(**results[1].as_ref().unwrap(), 20);
            assert!(first.join().unwrap().is_err());
        });
        assert_eq!(coalesce.stats().elected, 0);
        assert_idle(&coalesce);
    });
}

#[test]
fn waiting_for_others_has_a_deadline_that_a_result_beats() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let slow = scope.spawn(|| {
                coalesce.call(&1, || {
                    gate.pass();
                    1
                })
            });
            until_running(&coalesce, 1);
            let quick = scope.spawn(|| {
                coalesce.call(&2, || {
                    until_following(&coalesce, 2);
                    2
                })
            });
            until_running(&coalesce, 2);
            let outcomes = coalesce.on_many(&[1, 2, 3]).timeout(Duration::ZERO).call(|missing| {
                // The flight of 2 ends while this closure runs.
                until("the quick one to end", || coalesce.stats().running == 2);
                tenfold(missing)
            });
            let roles: Vec<bool> = outcomes.iter().map(|outcome| outcome.role.ran()).collect();
            assert_eq!(roles, [false, false, true]);
            let answers = results(outcomes);
            assert!(matches!(answers[0], Err(CallError::TimedOut)));
            assert_eq!((**answers[1].as_ref().unwrap(), **answers[2].as_ref().unwrap()), (2, 30));
            gate.open();
            assert_eq!((*slow.join().unwrap().unwrap(), *quick.join().unwrap().unwrap()), (1, 2));
        });
        assert_eq!(coalesce.stats().timed_out, 1);
        assert_idle(&coalesce);
    });
}

#[test]
fn an_impatient_batch_asks_for_the_key_alone_and_its_wishes_hold_for_old_flights() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        let value = coalesce.call(&1, || {
            let mark = coalesce.mark();
            thread::scope(|scope| {
                scope.spawn(|| {
                    let answers = results(coalesce.on_many(&[1]).patience(Duration::from_millis(1)).call(tenfold));
                    assert_eq!(values(&answers), [10]);
                    let fresh = results(coalesce.on_many(&[1]).after(mark).call(|_| vec![2]));
                    assert_eq!(values(&fresh), [2]);
                });
            });
            7
        });
        assert_eq!(*value.unwrap(), 7);
        let stats = coalesce.stats();
        assert_eq!((stats.impatient, stats.underlying_calls, stats.calls()), (1, 2, 3));
        assert_idle(&coalesce);
    });
}

#[test]
fn a_batch_that_is_one_follower_too_many_is_rejected_or_asks_alone() {
    bounded(|| {
        for overflow in [OnOverflow::Refuse, OnOverflow::Bypass] {
            let coalesce: Numbers = SyncCoalesce::builder().max_followers(0).on_overflow(overflow).build();
            coalesce
                .call(&1, || {
                    thread::scope(|scope| {
                        let batch = scope.spawn(|| coalesce.call_many(&[1, 2], tenfold));
                        let results = batch.join().unwrap();
                        match overflow {
                            OnOverflow::Refuse => assert!(matches!(results[0], Err(CallError::Overloaded))),
                            _ => assert_eq!(values(&results), [10, 20]),
                        }
                    });
                    7
                })
                .unwrap();
            let stats = coalesce.stats();
            assert_eq!(stats.overloaded + stats.bypassed, 1);
            assert_eq!(stats.calls(), 3);
            assert_idle(&coalesce);
        }
    });
}

#[test]
fn close_and_cancel_reach_the_keys_of_a_batch() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.call(&1, || {
                    gate.pass();
                    1
                })
            });
            until_running(&coalesce, 1);
            let results = coalesce.call_many(&[1, 2], |missing| {
                assert!(coalesce.cancel(&1));
                assert!(coalesce.cancel(&2));
                tenfold(missing)
            });
            assert!(matches!(results[0], Err(CallError::Cancelled)));
            assert_eq!(**results[1].as_ref().unwrap(), 20, "the leader's own caller gets what its closure returns");
            gate.open();
            leader.join().unwrap().unwrap();
        });
        coalesce.close();
        let refused = coalesce.call_many(&[1, 2], |_| unreachable!("it is closed"));
        assert!(refused.iter().all(|result| matches!(result, Err(CallError::Closed))));
        let stats = coalesce.stats();
        assert_eq!((stats.closed, stats.cancelled, stats.calls()), (2, 1, 5));
        assert_idle(&coalesce);
    });
}

/// Counts the events of each kind.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Events {
    fn count(&self, what: &'static str) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }
}

impl Observer for Events {
    fn led(&self, _: &FlightId<'_>) {
        self.count("led");
    }

    fn joined(&self, _: &FlightId<'_>) {
        self.count("joined");
    }

    fn ended(&self, _: &FlightId<'_>, _: &RunEnded) {
        self.count("ended");
    }

    fn left(&self, _: &FlightId<'_>, _: &FollowerLeft) {
        self.count("left");
    }
}

#[test]
fn observers_are_told_of_each_key() {
    bounded(|| {
        let events = Events::default();
        let coalesce: Numbers = SyncCoalesce::builder().observer(events.clone()).build();
        coalesce
            .call(&1, || {
                thread::scope(|scope| {
                    scope.spawn(|| {
                        coalesce.on_many(&[1, 2, 3]).timeout(Duration::ZERO).call(tenfold);
                    });
                });
                1
            })
            .unwrap();
        let expected = [("ended", 3), ("joined", 1), ("led", 3), ("left", 1)];
        assert!(events.0.lock().unwrap().iter().map(|(&what, &count)| (what, count)).eq(expected));
    });
}

#[test]
fn observers_are_not_told_of_the_parts_after_a_panic() {
    let events = Events::default();
    let coalesce: Numbers = SyncCoalesce::builder().max_batch(2).observer(events.clone()).build();
    let asks = |missing: &[&u64]| if *missing[0] == 3 { resume_unwind(Box::new("down")) } else { tenfold(missing) };
    assert!(catch_unwind(AssertUnwindSafe(|| coalesce.call_many(&[1, 2, 3, 4, 5], asks))).is_err());
    let told = events.0.lock().unwrap().clone();
    assert_eq!(told.into_iter().collect::<Vec<_>>(), [("ended", 4), ("led", 4)]);
    assert_idle(&coalesce);
}

/// Sixteen threads ask for 100 of 300 texts each, over and over, and some ask for single ones.
#[test]
fn overlapping_batches_send_each_text_at_most_once_at_a_time() {
    const TEXTS: usize = 300;
    bounded(|| {
        let coalesce: SyncCoalesce<String, Vec<u8>> = SyncCoalesce::new();
        let texts: Vec<String> = (0..TEXTS).map(|number| format!("text {number}")).collect();
        let sending: Vec<AtomicU64> = texts.iter().map(|_| AtomicU64::new(0)).collect();
        let place = |text: &str| text.strip_prefix("text ").unwrap().parse::<usize>().unwrap();
        let sent = AtomicU64::new(0);
        let embed = |missing: &[&str]| {
            for text in missing {
                assert_eq!(sending[place(text)].fetch_add(1, SeqCst), 0, "{text} is under way twice");
            }
            if sent.fetch_add(missing.len() as u64, SeqCst) == 0 {
                // Only three batches can have no text in common.
                until("somebody to join", || coalesce.stats().coalesced_calls > 0);
            }
            thread::yield_now();
            for text in missing {
                sending[place(text)].fetch_sub(1, SeqCst);
            }
            missing.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>()
        };
        let all_ready = Barrier::new(16);
        let asked: u64 = thread::scope(|scope| {
            join(crowd(scope, 16, |number| {
                let mut random = Random::new(number);
                all_ready.wait();
                let mut asked = 0;
                for _ in 0..20 {
                    let start = random.below(TEXTS);
                    let batch: Vec<&str> = (0..100).map(|step| texts[(start + step * 7) % TEXTS].as_str()).collect();
                    let vectors = coalesce.call_many(batch.iter().copied(), |missing| embed(missing));
                    for (text, vector) in batch.iter().zip(vectors) {
                        assert_eq!(vector.unwrap().as_slice(), text.as_bytes());
                    }
                    let single = &texts[random.below(TEXTS)];
                    let vector = coalesce.call(single.as_str(), || embed(&[single]).remove(0)).unwrap();
                    assert_eq!(vector.as_slice(), single.as_bytes());
                    asked += 101;
                }
                asked
            }))
            .into_iter()
            .sum()
        });
        let stats = coalesce.stats();
        assert_eq!((stats.calls(), stats.underlying_calls), (asked, sent.into_inner()));
        assert!(stats.coalesced_calls > 0, "the batches never met");
        assert_idle(&coalesce);
    });
}

#[test]
fn each_key_of_a_batch_costs_and_saves_for_itself() {
    bounded(|| {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let coalesce: Numbers = SyncCoalesce::builder().cost(|value| *value as f64).build();
        thread::scope(|scope| {
            let batch = scope.spawn(|| {
                coalesce.call_many(&[1, 2], |missing| {
                    until_following(&coalesce, 2);
                    tenfold(missing)
                })
            });
            until_running(&coalesce, 2);
            let single = scope.spawn(|| coalesce.call(&1, || unreachable!("it is in flight")));
            let other = coalesce.call_many(&[1], |_| unreachable!("it is in flight"));
            assert_eq!((*single.join().unwrap().unwrap(), values(&other)), (10, vec![10]));
            assert_eq!(values(&batch.join().unwrap()), [10, 20]);
        });
        let stats = coalesce.stats();
        assert_eq!((stats.cost_spent, stats.cost_saved), (30.0, 20.0));
        assert_idle(&coalesce);
    });
}
