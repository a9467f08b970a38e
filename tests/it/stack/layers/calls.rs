//! The options of a call through the stack, and its detached form.

use std::sync::Arc;
use std::time::Duration;

use sync_coalesce::stack::cache::Cache;
use sync_coalesce::stack::ledger::LedgerState;
use sync_coalesce::stack::{Stack, StackError, Via};
use sync_coalesce::{BypassReason, Role, SyncCoalesce};

use super::{Layers, after};
use crate::support::thread;
use crate::support::{Gate, LIMIT, assert_idle, bounded, until};

#[test]
fn a_bypassing_call_passes_budget_retries_and_pacer_and_nothing_else() {
    let layers = Layers::new();
    let stack = layers.all().build();
    layers.cache.insert(1, "kept".to_owned());
    let mut work = after(1, "four");
    let mut permits = 0;
    let outcome = stack.on(&1).bypass().try_call(|flight| {
        permits += layers.pacer.status().running;
        assert_eq!((flight.followers(), flight.is_cancelled()), (0, false));
        work()
    });
    assert_eq!(*outcome.result.unwrap(), "four");
    assert_eq!(outcome.via, Via::Flight(Role::Bypassed(BypassReason::Requested)));
    assert_eq!((stack.stats().attempts, permits, layers.total()), (2, 2, 4));
    assert_eq!((layers.state(1), layers.cache.get(&1).unwrap().as_str()), (LedgerState::Absent, "kept"));
    layers.assert_released();
    assert_idle(stack.coalescer());
}

#[test]
fn a_call_after_a_mark_gets_no_value_from_before_it() {
    let layers = Layers::new();
    let stack: Stack<u32, String, u16> = Stack::builder().cache(layers.cache.clone()).build();
    assert_eq!(*stack.call(&1, || "old".to_owned()).unwrap(), "old");
    let mark = stack.mark();
    assert_eq!(*stack.call(&1, || unreachable!()).unwrap(), "old", "who has no mark has the cached value");
    let fresh = stack.on(&1).after(mark).call(|_| "new".to_owned());
    assert_eq!((fresh.result.unwrap().as_str(), fresh.via), ("new", Via::Flight(Role::Leader { followers: 0 })));
    let again = stack.on(&1).after(mark).call(|_| unreachable!());
    assert_eq!((again.result.unwrap().as_str(), again.via), ("new", Via::Cache));
    assert_eq!(*stack.call(&1, || unreachable!()).unwrap(), "new");

    // A value that was put there by hand has no age.
    layers.cache.insert(1, "by hand".to_owned());
    assert_eq!(*stack.on(&1).after(mark).call(|_| "newer".to_owned()).result.unwrap(), "newer");
    // And a mark of one stack says nothing about the values of another.
    let other: Stack<u32, String, u16> = Stack::builder().cache(layers.cache.clone()).build();
    let _ = other.mark();
    let outcome = other.on(&1).after(other.mark()).call(|_| "of the other".to_owned());
    assert_eq!(*outcome.result.unwrap(), "of the other");
    assert_idle(stack.coalescer());
}

#[test]
fn an_impatient_call_after_a_mark_gets_no_value_from_before_it_either() {
    bounded(|| {
        let cache = Layers::new().cache;
        let stack: Stack<u32, String, u16> = Stack::builder().cache(cache.clone()).build();
        assert_eq!(*stack.call(&1, || "old".to_owned()).unwrap(), "old");
        let mark = stack.mark();
        let led = stack.on(&1).after(mark).call(|_| {
            let impatient = || stack.on(&1).after(mark).patience(Duration::ZERO).call(|_| "own".to_owned());
            let alone = thread::scope(|scope| scope.spawn(impatient).join().unwrap());
            assert_eq!(*alone.result.unwrap(), "own");
            assert_eq!(alone.via, Via::Flight(Role::Bypassed(BypassReason::Impatient)));
            "new".to_owned()
        });
        assert_eq!((led.result.unwrap().as_str(), cache.get(&1).unwrap().as_str()), ("new", "new"));
        assert_idle(stack.coalescer());
    });
}

/// ```text
/// leader              another                         a caller after the mark
/// misses
///                     leads, fills, ends
///                                                     makes a mark
/// begins its flight,
/// finds the value
///                                                     joins that flight, which is younger than the mark
/// ```
#[test]
fn a_flight_after_a_mark_does_not_share_a_cached_value_from_before_it() {
    let cache: Cache<super::Meets, String> = Cache::builder(10).build().unwrap();
    let stack: Arc<Stack<super::Meets, String>> = Arc::new(Stack::builder().cache(cache).build());
    let inner = Arc::clone(&stack);
    // A leader clones its key after its first look and before its flight.
    super::MEETS.set(Some(Box::new(move || {
        assert_eq!(*inner.call(&super::Meets(1), || "old".to_owned()).unwrap(), "old");
        let _ = inner.mark();
    })));
    let outcome = stack.on(&super::Meets(1)).call(|_| "new".to_owned());
    assert_eq!(*outcome.result.unwrap(), "new");
    assert_eq!(stack.stats().attempts, 2);
}

#[test]
fn detached_work_goes_through_all_layers() {
    bounded(|| {
        let layers = Layers::new();
        let stack = layers.all().build();
        let gate = Arc::new(Gate::new());
        let mut work = after(1, "four");
        let first = stack.on(&1).detach({
            let gate = Arc::clone(&gate);
            move |_| {
                let value = work()?;
                gate.pass();
                Ok(value)
            }
        });
        until("the second attempt", || stack.stats().attempts == 2);
        let second = stack.on(&1).detach(|_| unreachable!());
        assert!(second.try_wait().is_none());
        let late = second.wait_timeout(Duration::ZERO);
        assert!(matches!(late, Err(StackError::Call(sync_coalesce::CallError::TimedOut))));
        gate.open();
        let value = first.wait_timeout(LIMIT).unwrap();
        assert_eq!(*value, "four");
        assert!(Arc::ptr_eq(&value, &second.wait().unwrap()));
        assert_eq!(first.via(), Via::Flight(Role::Leader { followers: 1 }));
        assert_eq!((layers.total(), layers.budget.status().saved.tokens()), (4, 4));
        assert_eq!((layers.state(1), layers.cache.stats().entries), (LedgerState::Done, 1));

        let third = stack.on(&1).detach(|_| unreachable!());
        assert_eq!((third.wait().unwrap().as_str(), third.via()), ("four", Via::Cache));
        assert!(third.ticket().is_none() && first.ticket().is_some());
        assert!(stack.coalescer().drain(LIMIT));
        layers.assert_released();
        drop((first, second, third));
        assert_idle(stack.coalescer());
    });
}

#[test]
fn a_stack_that_goes_away_takes_its_queued_flights_with_it() {
    bounded(|| {
        let one = SyncCoalesce::builder().pool_threads(1);
        let stack: Stack<u32, String, u16> = Stack::builder().coalesce(one).build();
        let (begun, gate) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
        let running = stack.on(&1).detach({
            let (begun, gate) = (Arc::clone(&begun), Arc::clone(&gate));
            move |_| {
                begun.open();
                gate.pass();
                Ok("four".to_owned())
            }
        });
        begun.pass();
        let queued = stack.on(&2).detach(|_| unreachable!());
        drop(stack);
        assert!(matches!(queued.wait(), Err(StackError::Call(sync_coalesce::CallError::Closed))));
        gate.open();
        assert_eq!(*running.wait().unwrap(), "four");
    });
}

#[test]
fn work_in_a_stack_learns_that_it_was_cancelled() {
    bounded(|| {
        let layers = Layers::new();
        let stack = layers.all().build();
        let outcome = stack.on(&1).call(|flight| {
            assert!(!flight.is_cancelled());
            thread::scope(|scope| scope.spawn(|| assert!(stack.coalescer().cancel(&1))).join().unwrap());
            assert!(flight.is_cancelled());
            "four".to_owned()
        });
        assert_eq!(*outcome.result.unwrap(), "four");
        assert_idle(stack.coalescer());
    });
}
