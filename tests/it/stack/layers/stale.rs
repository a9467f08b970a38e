//! Values that have expired, and are served while they are refreshed, or in place of an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use sync_coalesce::stack::budget::{Budget, Spend};
use sync_coalesce::stack::cache::{Cache, CacheBuilder};
use sync_coalesce::stack::ledger::Ledger;
use sync_coalesce::stack::pace::Pacer;
use sync_coalesce::stack::{ManualClock, Stack, StackBuilder, StackError, StackOutcome, Via};
use sync_coalesce::{CallError, OnOverflow, Role, SyncCoalesce};

use super::fingerprint;
use crate::support::thread;
use crate::support::{Gate, LIMIT, assert_idle, bounded, crowd, join, until, until_following, until_running};

type Served = Stack<u32, u32, u16>;

const MINUTE: Duration = Duration::from_secs(60);

fn minute(clock: &ManualClock) -> CacheBuilder<u32, u32> {
    Cache::builder(10).time_to_live(MINUTE).clock(clock)
}

/// A stack whose cache has had 1 for key 1 for two minutes, one more than it lives.
fn expired(build: impl FnOnce(CacheBuilder<u32, u32>) -> CacheBuilder<u32, u32>) -> (ManualClock, Cache<u32, u32>) {
    let clock = ManualClock::new();
    let cache = build(minute(&clock)).build().unwrap();
    let stack = stack(&cache).build();
    assert_eq!(*stack.call(&1, || 1).unwrap(), 1);
    clock.advance(2 * MINUTE);
    (clock, cache)
}

fn stack(cache: &Cache<u32, u32>) -> StackBuilder<u32, u32, u16> {
    Stack::builder().cache(cache.clone())
}

fn while_revalidate(cache: CacheBuilder<u32, u32>) -> CacheBuilder<u32, u32> {
    cache.stale_while_revalidate(5 * MINUTE)
}

fn if_error(cache: CacheBuilder<u32, u32>) -> CacheBuilder<u32, u32> {
    cache.stale_if_error(5 * MINUTE)
}

#[track_caller]
fn assert_stale(outcome: &StackOutcome<u32, u16>, value: u32, age: Duration) {
    assert_eq!((outcome.result.as_ref().ok().map(|value| **value), outcome.via), (Some(value), Via::Stale { age }));
}

/// ```text
/// first     finds the stale value, refreshes it
/// others                                         find it, get it at once
/// ```
#[test]
fn the_first_caller_refreshes_and_the_others_get_the_stale_value() {
    bounded(|| {
        let (_clock, cache) = expired(while_revalidate);
        let stack = stack(&cache).build();
        let gate = Gate::new();
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                stack.on(&1).call(|_| {
                    gate.pass();
                    2
                })
            });
            until_running(stack.coalescer(), 1);
            for outcome in join(crowd(scope, 5, |_| stack.on(&1).call(|_| unreachable!()))) {
                assert_stale(&outcome, 1, 2 * MINUTE);
                assert!(outcome.stale_error.is_none());
            }
            gate.open();
            let first = first.join().unwrap();
            assert_eq!((*first.result.unwrap(), first.via), (2, Via::Flight(Role::Leader { followers: 0 })));
        });
        assert_eq!(*stack.call(&1, || unreachable!()).unwrap(), 2);
        assert_eq!((stack.stats().attempts, cache.stats().stale_hits, cache.stats().misses), (1, 5, 7));
        assert_idle(stack.coalescer());
    });
}

#[test]
fn a_value_is_served_while_it_is_refreshed_by_a_call_that_says_so() {
    let (_clock, cache) = expired(while_revalidate);
    let stack = stack(&cache).build();
    let refreshed = stack.refresh(&1, || {
        assert_stale(&stack.on(&1).call(|_| unreachable!()), 1, 2 * MINUTE);
        Ok(2)
    });
    assert_eq!((*refreshed.unwrap(), *stack.call(&1, || unreachable!()).unwrap()), (2, 2));
}

#[test]
fn after_a_refresh_that_fails_or_panics_the_next_caller_tries() {
    let (_clock, cache) = expired(while_revalidate);
    let stack = stack(&cache).build();
    assert!(matches!(stack.try_call(&1, || Err(503)), Err(StackError::Failed { .. })));
    let panics = AssertUnwindSafe(|| drop(stack.call(&1, || panic!("in the work"))));
    assert!(catch_unwind(panics).is_err());
    assert!(matches!(
        stack.on(&1).timeout(Duration::ZERO).call(|_| 2).result,
        Err(StackError::Call(CallError::TimedOut))
    ));
    assert_eq!(*stack.call(&1, || 2).unwrap(), 2);
    assert_idle(stack.coalescer());
}

#[test]
fn a_stale_value_is_not_served_beyond_its_time() {
    for build in [while_revalidate, if_error] {
        let (clock, cache) = expired(build);
        let stack = stack(&cache).build();
        clock.advance(4 * MINUTE);
        let failed = stack.on(&1).try_call(|_| {
            let inner = stack.on(&1).timeout(Duration::ZERO).try_call(|_| unreachable!());
            assert!(inner.result.is_err());
            Err(503)
        });
        assert!(failed.result.is_err());
    }
}

#[test]
fn nothing_stale_is_served_unless_the_cache_says_so() {
    let (_clock, cache) = expired(|cache| cache);
    let stack = stack(&cache).build();
    assert!(stack.try_call(&1, || Err(503)).is_err());
    let (_clock, cache) = expired(while_revalidate);
    assert!(self::stack(&cache).build().try_call(&1, || Err(503)).is_err());
    // Nor while it is refreshed, if only errors are to be covered.
    let (_clock, cache) = expired(if_error);
    let stack = self::stack(&cache).build();
    let value = stack.on(&1).call(|_| {
        let inner = stack.on(&1).call(|_| unreachable!());
        assert!(matches!(inner.result, Err(StackError::Call(CallError::Deadlock { .. }))));
        2
    });
    assert_eq!(*value.result.unwrap(), 2);
}

#[test]
fn with_tickets_everybody_gets_the_stale_value_and_the_pool_refreshes_it() {
    bounded(|| {
        let (_clock, cache) = expired(while_revalidate);
        // The refresh goes on though nobody wants its result.
        let stack = stack(&cache).coalesce(SyncCoalesce::builder().cancel_when_abandoned(true)).build();
        let gate = Arc::new(Gate::new());
        let passes = Arc::clone(&gate);
        let first = stack.on(&1).detach(move |flight| {
            passes.pass();
            assert!(!flight.is_cancelled());
            Ok(2)
        });
        let second = stack.on(&1).detach(|_| unreachable!());
        for ticket in [&first, &second] {
            assert_eq!((*ticket.wait().unwrap(), ticket.via()), (1, Via::Stale { age: 2 * MINUTE }));
            assert_eq!(*ticket.try_wait().unwrap().unwrap(), 1);
            assert!(ticket.ticket().is_none());
        }
        until_running(stack.coalescer(), 1);
        assert_stale(&stack.on(&1).call(|_| unreachable!()), 1, 2 * MINUTE);
        drop((first, second));
        assert_eq!(stack.coalescer().stats().in_flight, 1);
        gate.open();
        assert!(stack.coalescer().drain(LIMIT));
        let refreshed = stack.on(&1).call(|_| unreachable!());
        assert_eq!((*refreshed.result.unwrap(), refreshed.via), (2, Via::Cache));
        assert_eq!((stack.stats().attempts, cache.stats().stale_hits), (1, 3));
        assert_idle(stack.coalescer());
    });
}

#[test]
fn a_pool_that_takes_no_refresh_leaves_it_to_the_next_caller() {
    let (_clock, cache) = expired(while_revalidate);
    let full = SyncCoalesce::builder().pool_threads(1).pool_queue(0).on_full_pool(OnOverflow::Refuse);
    let stack = stack(&cache).coalesce(full).build();
    bounded(|| {
        let gate = Arc::new(Gate::new());
        let passes = Arc::clone(&gate);
        let other = stack.on(&2).detach(move |_| {
            passes.pass();
            Ok(0)
        });
        until_running(stack.coalescer(), 1);
        let refused = stack.on(&1).detach(|_| unreachable!());
        assert_eq!((*refused.wait().unwrap(), refused.via()), (1, Via::Stale { age: 2 * MINUTE }));
        assert_eq!(*stack.call(&1, || 2).unwrap(), 2);
        gate.open();
        assert!(other.wait().is_ok());
    });
}

#[test]
fn a_stale_value_is_served_in_place_of_an_error() {
    let (_clock, cache) = expired(if_error);
    let stack = stack(&cache).build();
    let outcome = stack.on(&1).try_call(|_| Err(503));
    assert_stale(&outcome, 1, 2 * MINUTE);
    assert!(matches!(outcome.stale_error, Some(StackError::Failed { error, .. }) if *error == 503));
    assert_eq!(*stack.try_call(&1, || Err(503)).unwrap(), 1);
    // And a new value when there is one.
    assert_eq!(*stack.try_call(&1, || Ok(2)).unwrap(), 2);
    assert_eq!((stack.stats().attempts, cache.stats().stale_hits), (3, 2));
    assert_idle(stack.coalescer());
}

#[test]
fn followers_of_an_error_get_the_stale_value_too() {
    bounded(|| {
        let (_clock, cache) = expired(if_error);
        let stack = stack(&cache).build();
        thread::scope(|scope| {
            let callers = crowd(scope, 5, |_| {
                stack.on(&1).try_call(|_| {
                    until_following(stack.coalescer(), 4);
                    Err(503)
                })
            });
            for outcome in join(callers) {
                assert_stale(&outcome, 1, 2 * MINUTE);
                assert!(outcome.stale_error.is_some());
            }
        });
        assert_eq!(stack.stats().attempts, 1);
        assert_idle(stack.coalescer());
    });
}

#[test]
fn tickets_get_a_stale_value_in_place_of_an_error_and_keep_it() {
    bounded(|| {
        let (clock, cache) = expired(if_error);
        let stack = stack(&cache).serve_stale_on(|status| *status >= 500).build();
        let ticket = stack.on(&1).detach(|_| Err(503));
        assert_eq!(*ticket.wait().unwrap(), 1);
        assert_eq!(ticket.via(), Via::Stale { age: 2 * MINUTE });
        assert!(ticket.ticket().unwrap().try_wait().unwrap().is_err());
        clock.advance(5 * MINUTE);
        assert!(stack.invalidate(&1) || cache.stale(&1).is_none());
        assert_eq!(*ticket.try_wait().unwrap().unwrap(), 1);
        // Which one that got an error does not.
        let failed = stack.on(&1).detach(|_| Err(404));
        assert!(failed.wait().is_err() && matches!(failed.via(), Via::Flight(_)));
        cache.insert(1, 3);
        assert!(failed.wait().is_err());
        drop((ticket, failed));
        assert!(stack.coalescer().drain(LIMIT));
        assert_idle(stack.coalescer());
    });
}

#[test]
fn only_errors_of_the_provider_are_covered() {
    let (_clock, cache) = expired(if_error);
    let builder = stack(&cache).serve_stale_on(|status| match *status {
        0 => panic!("in the predicate"),
        status => status >= 500,
    });
    let stack = builder.build();
    assert_eq!(*stack.try_call(&1, || Err(503)).unwrap(), 1);
    assert!(stack.try_call(&1, || Err(404)).is_err());
    assert!(stack.try_call(&1, || Err(0)).is_err());
    for end in [SyncCoalesce::cancel, |coalesce: &SyncCoalesce<_, _, _>, _: &u32| {
        coalesce.close();
        true
    }] {
        let stack = self::stack(&cache).retry(super::retry()).build();
        let ended = stack.try_call(&1, || {
            assert!(end(stack.coalescer(), &1));
            Err(super::BUSY)
        });
        assert!(matches!(ended, Err(StackError::Call(CallError::Cancelled | CallError::Closed))));
    }
    let ledger = Ledger::in_memory();
    ledger.run_once("order", &fingerprint(1), || Ok::<_, u16>(1)).unwrap();
    let other = self::stack(&cache).ledger(ledger, |_| Some(("order", fingerprint(2)))).build();
    assert!(matches!(other.call(&1, || unreachable!()), Err(StackError::Ledger(_))));
    assert!(cache.stale(&1).is_some(), "it is there");
}

#[test]
fn refusals_by_the_other_layers_are_covered() {
    let (_clock, cache) = expired(if_error);
    let budget = Budget::builder().tokens(0).build().unwrap();
    let refused = stack(&cache).budget(budget, Spend::from_tokens(1), |_| Spend::default()).build();
    let outcome = refused.on(&1).call(|_| unreachable!());
    assert_stale(&outcome, 1, 2 * MINUTE);
    assert!(matches!(outcome.stale_error, Some(StackError::Budget(_))));

    let pacer = Pacer::builder().concurrency(1).build().unwrap();
    let _taken = pacer.acquire();
    let refused = stack(&cache).pace(pacer).pace_timeout(Duration::ZERO).build();
    let outcome = refused.on(&1).call(|_| unreachable!());
    assert_stale(&outcome, 1, 2 * MINUTE);
    assert!(matches!(outcome.stale_error, Some(StackError::Pace(_))));

    let late = stack(&cache).build();
    assert_stale(&late.on(&1).timeout(Duration::ZERO).call(|_| unreachable!()), 1, 2 * MINUTE);
}

#[test]
fn a_follower_that_runs_out_of_time_gets_the_stale_value() {
    bounded(|| {
        let (_clock, cache) = expired(if_error);
        let stack = stack(&cache).build();
        let gate = Gate::new();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                stack.call(&1, || {
                    gate.pass();
                    2
                })
            });
            until_running(stack.coalescer(), 1);
            let late = stack.on(&1).timeout(Duration::from_millis(1)).call(|_| unreachable!());
            assert_stale(&late, 1, 2 * MINUTE);
            gate.open();
            assert_eq!(*leader.join().unwrap().unwrap(), 2);
        });
        assert_idle(stack.coalescer());
    });
}

#[test]
fn a_call_that_wants_something_newer_gets_nothing_stale() {
    let both = |cache| if_error(while_revalidate(cache));
    let (clock, cache) = expired(both);
    let stack = stack(&cache).build();
    let outcomes = [
        stack.on(&1).refresh().try_call(|_| Err(503)),
        stack.on(&1).bypass().try_call(|_| Err(503)),
        stack.on(&1).after(stack.mark()).try_call(|_| Err(503)),
    ];
    for outcome in outcomes {
        assert!(outcome.result.is_err() && matches!(outcome.via, Via::Flight(_)));
    }
    bounded(|| {
        let ticket = stack.on(&1).refresh().detach(|_| Err(503));
        assert!(ticket.wait().is_err());
    });
    assert_eq!((stack.stats().attempts, cache.stats().stale_hits), (4, 0));
    // What began after the mark does for it, stale or not.
    let mark = stack.mark();
    assert_eq!(*stack.refresh(&1, || Ok(2)).unwrap(), 2);
    clock.advance(2 * MINUTE);
    assert_stale(&stack.on(&1).after(mark).try_call(|_| Err(503)), 2, 2 * MINUTE);
}

/// ```text
/// leader        finds the stale value 1                           fails
/// writer                               invalidates it
/// ```
#[test]
fn what_was_invalidated_is_not_served_stale() {
    for build in [while_revalidate, if_error] {
        let (_clock, cache) = expired(build);
        let stack = stack(&cache).build();
        assert!(stack.invalidate(&1));
        assert!(!stack.invalidate(&1));
        assert!(stack.try_call(&1, || Err(503)).is_err());

        let (_clock, cache) = expired(build);
        let stack = self::stack(&cache).build();
        let failed = stack.on(&1).try_call(|_| {
            assert!(stack.invalidate(&1));
            // A call that begins now does not get it while it is refreshed either.
            assert_eq!(*stack.call(&1, || 2).unwrap(), 2);
            Err(503)
        });
        // The leader gets what is there now, or its error.
        assert!(failed.result.is_ok_and(|_| false) || matches!(failed.via, Via::Flight(_)));
        assert_eq!(*stack.call(&1, || unreachable!()).unwrap(), 2);
    }
}

/// ```text
/// leader      finds the stale value 1, is forgotten, ends with 2
/// a later caller                                                 fails, and is not served 1
/// ```
#[test]
fn an_older_value_is_not_served_after_a_newer_one() {
    let ways: [fn(&Served); 3] = [
        |stack| assert!(stack.coalescer().forget(&1)),
        |stack| assert!(stack.on(&1).after(stack.mark()).try_call(|_| Err(503)).result.is_err()),
        |stack| assert!(stack.coalescer().cancel(&1)),
    ];
    for supersede in ways {
        let (_clock, cache) = expired(|cache| if_error(while_revalidate(cache)));
        let stack = stack(&cache).build();
        let newer = stack.call(&1, || {
            supersede(&stack);
            2
        });
        assert_eq!(*newer.unwrap(), 2);
        assert!(stack.try_call(&1, || Err(503)).is_err());
        assert_idle(stack.coalescer());
    }
}

/// The same for a call that runs alone, and for a value that is not kept.
#[test]
fn a_value_that_is_shown_and_not_kept_ends_the_stale_one() {
    bounded(|| {
        let (_clock, cache) = expired(if_error);
        let stack = stack(&cache).build();
        let gate = Gate::new();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                stack.try_call(&1, || {
                    gate.pass();
                    Err(503)
                })
            });
            until_running(stack.coalescer(), 1);
            let impatient = stack.on(&1).patience(Duration::ZERO).call(|_| 2);
            assert_eq!(*impatient.result.unwrap(), 2);
            gate.open();
            assert!(leader.join().unwrap().is_err());
        });
        assert_idle(stack.coalescer());
    });
    let clock = ManualClock::new();
    let builder = minute(&clock).stale_if_error(Duration::MAX).time_to_live_of(|value| match *value {
        2 => panic!("in the time to live"),
        value => Some(MINUTE * value),
    });
    let cache = builder.build().unwrap();
    let stack = stack(&cache).build();
    assert_eq!(*stack.call(&1, || 1).unwrap(), 1);
    clock.advance(2 * MINUTE);
    assert_eq!(*stack.call(&1, || 2).unwrap(), 2);
    assert!(stack.try_call(&1, || Err(503)).is_err());
    assert_eq!(*stack.refresh(&1, || Ok(3)).unwrap(), 3);
    assert_eq!(*stack.refresh(&1, || Ok(0)).unwrap(), 0);
    assert!(cache.get(&1).is_none());
}

#[test]
fn a_result_that_lingers_is_not_taken_for_a_refresh() {
    bounded(|| {
        let lingers = || SyncCoalesce::builder().linger(LIMIT);
        let cache = Cache::builder(10).build().unwrap();
        let stack = stack(&cache).coalesce(lingers()).build();
        assert_eq!(*stack.refresh(&1, || Ok(1)).unwrap(), 1);
        assert_eq!(*stack.refresh(&1, || Ok(2)).unwrap(), 2);
        let ticket = stack.on(&1).refresh().detach(|_| Ok(3));
        assert_eq!(*ticket.wait().unwrap(), 3);
        assert_eq!(*cache.remove(&1).unwrap(), 3);
        let lingering = stack.on(&1).call(|_| unreachable!());
        assert!(matches!(lingering.via, Via::Flight(Role::Lingering { .. })));
        assert_eq!(*lingering.result.unwrap(), 3);
        drop(ticket);

        // Nor where the value has expired while its result lingers.
        let clock = ManualClock::new();
        let cache = while_revalidate(minute(&clock)).build().unwrap();
        let stack = self::stack(&cache).coalesce(lingers()).build();
        assert_eq!(*stack.call(&1, || 1).unwrap(), 1);
        clock.advance(2 * MINUTE);
        assert_eq!(*stack.call(&1, || 2).unwrap(), 2);
        assert_idle(stack.coalescer());
    });
}

#[test]
fn a_refresh_goes_past_the_cache_and_fills_it() {
    bounded(|| {
        let clock = ManualClock::new();
        let cache = minute(&clock).build().unwrap();
        let stack = stack(&cache).build();
        assert_eq!(*stack.call(&1, || 1).unwrap(), 1);
        let gate = Gate::new();
        thread::scope(|scope| {
            let callers = crowd(scope, 3, |_| {
                let outcome = stack.on(&1).refresh().call(|_| {
                    gate.pass();
                    2
                });
                *outcome.result.unwrap()
            });
            until_following(stack.coalescer(), 2);
            // The others are not kept waiting.
            assert_eq!(*stack.call(&1, || unreachable!()).unwrap(), 1);
            gate.open();
            assert_eq!(join(callers), [2, 2, 2]);
        });
        assert_eq!((*stack.call(&1, || unreachable!()).unwrap(), stack.stats().attempts), (2, 2));
        let ticket = stack.on(&1).refresh().detach(|_| Ok(3));
        assert_eq!(*ticket.wait().unwrap(), 3);
        until("the pool", || stack.coalescer().stats().running == 0);
        assert_eq!(*stack.call(&1, || unreachable!()).unwrap(), 3);
        assert!(stack.refresh(&1, || Err(503)).is_err());
        assert_eq!(*stack.call(&1, || unreachable!()).unwrap(), 3);
        drop(ticket);
        assert_idle(stack.coalescer());
    });
}
