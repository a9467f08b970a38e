//! What was invalidated does not come back, whenever the old work ends.

use std::sync::Arc;

use sync_coalesce::stack::Stack;
use sync_coalesce::stack::cache::Cache;
use sync_coalesce::{OnDeadlock, SyncCoalesce};

use super::{MEETS, Meets};
use crate::support::thread;
use crate::support::{LIMIT, assert_idle, bounded};

type Cached = Stack<u32, u32, u16>;

fn stack(cache: &Cache<u32, u32>) -> Cached {
    Stack::builder().cache(cache.clone()).build()
}

fn cache() -> Cache<u32, u32> {
    Cache::builder(10).build().unwrap()
}

/// ```text
/// old leader        writer                           reader
/// reads 1
///                   changes it to 2, invalidates
///                                                    leads, reads 2, fills
/// ends with 1
///                                                    has 2
/// ```
#[track_caller]
fn assert_new_value_stays(invalidate: impl Fn(&Cached, &Cache<u32, u32>)) {
    let cache = cache();
    let stack = stack(&cache);
    let old = stack.call(&1, || {
        invalidate(&stack, &cache);
        let fresh = stack.on(&1).after(stack.mark()).call(|_| 2);
        assert_eq!(*fresh.result.unwrap(), 2);
        1
    });
    assert_eq!(*old.unwrap(), 1);
    assert_eq!(*stack.call(&1, || 3).unwrap(), 2);
    assert_idle(stack.coalescer());
}

#[test]
fn a_flight_that_was_forgotten_does_not_fill_over_the_newer_value() {
    assert_new_value_stays(|stack, _| assert!(stack.coalescer().forget(&1)));
}

#[test]
fn a_flight_that_was_cancelled_does_not_fill_over_the_newer_value() {
    assert_new_value_stays(|stack, _| assert!(stack.coalescer().cancel(&1)));
}

#[test]
fn a_flight_that_was_invalidated_does_not_fill_over_the_newer_value() {
    assert_new_value_stays(|stack, _| assert!(stack.invalidate(&1)));
}

#[test]
fn a_flight_that_was_superseded_by_a_mark_does_not_fill_over_the_newer_value() {
    assert_new_value_stays(|_, _| ());
}

/// Nobody asks meanwhile, so there is no newer value that could stay.
#[track_caller]
fn assert_old_value_is_not_kept(invalidate: impl Fn(&Cached, &Cache<u32, u32>)) {
    let cache = cache();
    let stack = stack(&cache);
    let old = stack.on(&1).call(|flight| {
        invalidate(&stack, &cache);
        u32::from(flight.is_current())
    });
    let _ = old.result.unwrap();
    assert_eq!(cache.get(&1).map(|kept| *kept), None);
    assert_idle(stack.coalescer());
}

#[test]
fn a_flight_that_is_not_current_does_not_fill() {
    assert_old_value_is_not_kept(|stack, _| assert!(stack.coalescer().forget(&1)));
    assert_old_value_is_not_kept(|stack, _| assert!(stack.coalescer().cancel(&1)));
    assert_old_value_is_not_kept(|stack, _| stack.coalescer().close());
    assert_old_value_is_not_kept(|stack, _| assert!(stack.invalidate(&1)));
}

#[test]
fn a_value_that_is_removed_or_cleared_during_the_flight_does_not_come_back() {
    assert_old_value_is_not_kept(|_, cache| assert!(cache.remove(&1).is_none()));
    assert_old_value_is_not_kept(|_, cache| cache.clear());
}

#[test]
fn a_value_that_is_inserted_during_the_flight_stays() {
    let cache = cache();
    let stack = stack(&cache);
    let old = stack.call(&1, || {
        cache.insert(1, 2);
        1
    });
    assert_eq!((*old.unwrap(), *stack.call(&1, || 3).unwrap()), (1, 2));
    // And what is done to another key is no reason.
    let other = stack.call(&4, || {
        cache.insert(5, 5);
        assert!(cache.remove(&6).is_none());
        4
    });
    assert_eq!((*other.unwrap(), *stack.call(&4, || 0).unwrap()), (4, 4));
}

/// The leader makes the key and the time to live after its work and before it fills: if it looked before that whether it
/// may, what comes in here would be undone.
#[test]
fn nothing_comes_between_the_look_and_the_fill() {
    let ways: [fn(&Stack<Meets, u32>); 2] = [
        |stack| assert!(stack.invalidate(&Meets(1))),
        |stack| {
            assert!(stack.coalescer().forget(&Meets(1)));
        },
    ];
    for invalidate in ways {
        let cache: Cache<Meets, u32> = Cache::builder(10).build().unwrap();
        let stack: Arc<Stack<Meets, u32>> = Arc::new(Stack::builder().cache(cache.clone()).build());
        let inner = Arc::clone(&stack);
        let old = stack.call(&Meets(1), || {
            let inner = Arc::clone(&inner);
            MEETS.set(Some(Box::new(move || invalidate(&inner))));
            1
        });
        assert_eq!(*old.unwrap(), 1);
        assert!(cache.get(&Meets(1)).is_none(), "it came back");
    }
}

/// ```text
/// invalidate     a leader                                   a later caller
///                misses
///                begins a flight, finds the old value
/// both
///                                                           does not have the old value
/// ```
#[test]
fn a_call_after_invalidate_does_not_join_a_flight_that_found_the_old_value() {
    bounded(|| {
        let cache: Cache<Meets, u32> = Cache::builder(10).build().unwrap();
        let stack: Arc<Stack<Meets, u32>> = Arc::new(Stack::builder().cache(cache.clone()).build());
        let inner = Arc::clone(&stack);
        cache.insert(Meets(1), 1);
        let mark = stack.mark();
        let (invalidates, asks) = (Arc::clone(&stack), Arc::clone(&stack));
        // After the first look of a call that wants a value from after the mark, and before its flight.
        MEETS.set(Some(Box::new(move || assert!(inner.invalidate(&Meets(1))))));
        let value = stack.on(&Meets(1)).after(mark).call(|_| {
            assert!(invalidates.invalidate(&Meets(1)));
            assert_eq!(*asks.call(&Meets(1), || 2).unwrap(), 2);
            1
        });
        assert_eq!((*value.result.unwrap(), *cache.get(&Meets(1)).unwrap()), (1, 2));
    });
}

#[test]
fn a_result_that_lingers_is_invalidated_too() {
    let linger = SyncCoalesce::builder().linger(LIMIT);
    let cache = cache();
    let stack: Cached = Stack::builder().coalesce(linger).cache(cache.clone()).build();
    assert_eq!(*stack.call(&1, || 1).unwrap(), 1);
    assert!(stack.invalidate(&1));
    assert!(!stack.invalidate(&1));
    assert_eq!(*stack.call(&1, || 2).unwrap(), 2);
}

/// It is in no flight, so nobody could tell it that its value is old by now.
#[test]
fn a_call_that_runs_alone_does_not_fill() {
    let cache = cache();
    let bypasses = SyncCoalesce::builder().on_deadlock(OnDeadlock::Bypass);
    let stack: Cached = Stack::builder().coalesce(bypasses).cache(cache.clone()).build();
    let value = stack.call(&1, || {
        let alone = stack.on(&1).call(|flight| {
            assert!(!flight.is_current());
            2
        });
        assert_eq!(*alone.result.unwrap(), 2);
        assert!(cache.get(&1).is_none());
        1
    });
    assert_eq!((*value.unwrap(), *cache.get(&1).unwrap()), (1, 1));
}

/// Two coalescers do not know of each other.
#[test]
fn work_that_began_earlier_does_not_fill_over_work_that_began_later() {
    let cache = cache();
    let (one, other) = (stack(&cache), stack(&cache));
    let old = one.call(&1, || {
        assert_eq!(*other.call(&1, || 2).unwrap(), 2);
        1
    });
    assert_eq!((*old.unwrap(), *cache.get(&1).unwrap()), (1, 2));
    // The other way round, the later one comes over the earlier one.
    cache.clear();
    let late = one.call(&1, || {
        thread::scope(|scope| scope.spawn(|| cache.insert(2, 0)).join().unwrap());
        3
    });
    assert_eq!((*late.unwrap(), *cache.get(&1).unwrap()), (3, 3));
}

#[test]
fn get_or_call_does_not_fill_over_a_newer_value_either() {
    let cache = cache();
    let coalesce: SyncCoalesce<u32, Arc<u32>, u16> = SyncCoalesce::new();
    let ways: [&dyn Fn(); 5] = [
        &|| assert!(coalesce.forget(&1)),
        &|| assert!(coalesce.cancel(&1)),
        &|| drop(coalesce.on(&1).after(coalesce.mark()).call(|_| Arc::new(2))),
        &|| assert!(cache.remove(&1).is_none()),
        &|| cache.clear(),
    ];
    for invalidate in ways {
        let old = cache.get_or_call(&coalesce, &1, || {
            invalidate();
            Ok(1)
        });
        assert_eq!(*old.unwrap(), 1);
        assert!(cache.get(&1).is_none(), "it came back");
    }
    assert_eq!(*cache.get_or_call(&coalesce, &1, || Ok(3)).unwrap(), 3);
    assert_eq!(*cache.get(&1).unwrap(), 3);
    assert_idle(&coalesce);
}
