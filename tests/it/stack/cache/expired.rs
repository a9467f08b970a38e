//! Values that have expired, and refreshes.

use std::sync::Arc;
use std::time::Duration;

use sync_coalesce::stack::ManualClock;
use sync_coalesce::stack::cache::{Cache, CacheBuilder};
use sync_coalesce::{CallError, SyncCoalesce};

use super::{SECOND, cache};
use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until, until_following, until_running};

fn ten_seconds(hands: &ManualClock) -> CacheBuilder<u32, u32> {
    Cache::builder(10).time_to_live(10 * SECOND).clock(hands)
}

#[test]
fn an_expired_value_can_be_had_for_as_long_as_the_builder_says() {
    let hands = ManualClock::new();
    let cache = ten_seconds(&hands).stale_if_error(5 * SECOND).build().unwrap();
    cache.insert(1, 7);
    cache.insert_for(2, 8, Duration::MAX);
    assert!(cache.stale(&1).is_none(), "it has not expired");
    hands.advance(10 * SECOND);
    assert!(cache.get(&1).is_none() && cache.stale(&2).is_none());
    let stale = cache.stale(&1).unwrap();
    assert_eq!((*stale.value, stale.age), (7, 10 * SECOND));
    hands.advance(Duration::from_nanos(4_999_999_999));
    assert!(cache.stale(&1).is_some());
    hands.advance(Duration::from_nanos(1));
    assert!(cache.stale(&1).is_none());
    assert_eq!((cache.stats().stale_hits, cache.stats().expirations), (2, 1));
}

#[test]
fn no_expired_value_is_had_unless_the_builder_says_so() {
    let hands = ManualClock::new();
    for builder in [ten_seconds(&hands), ten_seconds(&hands).stale_while_revalidate(Duration::MAX)] {
        let cache = builder.build().unwrap();
        cache.insert(1, 7);
        hands.advance(10 * SECOND);
        assert!(cache.get(&1).is_none() && cache.stale(&1).is_none());
    }
}

#[test]
fn an_expired_value_is_kept_as_long_as_it_may_be_needed_and_then_swept() {
    bounded(|| {
        let cache = Cache::builder(10).stale_while_revalidate(Duration::MAX).build().unwrap();
        let brief = Cache::builder(10).stale_if_error(Duration::from_millis(5)).build().unwrap();
        for cache in [&cache, &brief] {
            cache.insert_for(1, 1, Duration::from_millis(1));
        }
        until("the sweep", || brief.stats().entries == 0);
        assert_eq!(cache.stats().entries, 1);
    });
}

#[test]
fn get_or_call_returns_no_expired_value() {
    let hands = ManualClock::new();
    let builder = ten_seconds(&hands).stale_if_error(Duration::MAX);
    let cache = builder.stale_while_revalidate(Duration::MAX).build().unwrap();
    let coalesce: SyncCoalesce<u32, Arc<u32>, u32> = SyncCoalesce::new();
    cache.insert(1, 7);
    hands.advance(10 * SECOND);
    assert!(matches!(cache.get_or_call(&coalesce, &1, || Err(5)), Err(CallError::Failed(error)) if *error == 5));
    assert_eq!(*cache.stale(&1).unwrap().value, 7);
    assert_eq!(*cache.get_or_call(&coalesce, &1, || Ok(8)).unwrap(), 8);
    assert_idle(&coalesce);
}

#[test]
fn a_removed_value_cannot_be_had_though_it_has_expired() {
    let removals: [fn(&Cache<u32, u32>); 3] =
        [|cache| assert!(cache.remove(&1).is_none()), Cache::clear, |cache| cache.insert_for(1, 8, Duration::ZERO)];
    for remove in removals {
        let hands = ManualClock::new();
        let cache = ten_seconds(&hands).stale_if_error(Duration::MAX).build().unwrap();
        cache.insert(1, 7);
        hands.advance(10 * SECOND);
        remove(&cache);
        assert!(cache.stale(&1).is_none());
    }
}

#[test]
fn a_refresh_keeps_the_old_value_until_there_is_a_new_one() {
    bounded(|| {
        let cache = cache(10);
        let coalesce: SyncCoalesce<u32, Arc<u32>, u32> = SyncCoalesce::new();
        cache.insert(1, 7);
        let gate = Gate::new();
        thread::scope(|scope| {
            let refreshes = scope.spawn(|| {
                cache.refresh(&coalesce, &1, || {
                    gate.pass();
                    Ok(8)
                })
            });
            until_running(&coalesce, 1);
            assert_eq!(*cache.get_or_call(&coalesce, &1, || unreachable!()).unwrap(), 7);
            gate.open();
            assert_eq!(*refreshes.join().unwrap().unwrap(), 8);
        });
        assert_eq!(*cache.get(&1).unwrap(), 8);
        assert!(cache.refresh(&coalesce, &1, || Err(5)).is_err());
        assert_eq!(*cache.get(&1).unwrap(), 8);
        assert_idle(&coalesce);
    });
}

#[test]
fn refreshes_at_the_same_time_share_one_run() {
    bounded(|| {
        let cache = cache(10);
        let coalesce: SyncCoalesce<u32, Arc<u32>, u32> = SyncCoalesce::new();
        cache.insert(1, 7);
        let gate = Gate::new();
        thread::scope(|scope| {
            let callers = crowd(scope, 5, |_| {
                let work = || {
                    gate.pass();
                    Ok(8)
                };
                cache.refresh(&coalesce, &1, work).unwrap()
            });
            until_following(&coalesce, 4);
            gate.open();
            assert!(join(callers).into_iter().all(|value| *value == 8));
        });
        assert_eq!(coalesce.stats().underlying_calls, 1);
        assert_idle(&coalesce);
    });
}

#[test]
fn a_refresh_of_what_was_removed_meanwhile_is_not_kept() {
    let cache = cache(10);
    let coalesce: SyncCoalesce<u32, Arc<u32>, u32> = SyncCoalesce::new();
    cache.insert(1, 7);
    let refreshed = cache.refresh(&coalesce, &1, || {
        assert_eq!(*cache.remove(&1).unwrap(), 7);
        Ok(8)
    });
    assert_eq!(*refreshed.unwrap(), 8);
    assert!(cache.get(&1).is_none());
    assert_idle(&coalesce);
}

/// Who was in the flight has seen a newer value.
#[test]
fn a_refresh_whose_flight_is_not_current_leaves_no_older_value_behind() {
    let cache = cache(10);
    let coalesce: SyncCoalesce<u32, Arc<u32>, u32> = SyncCoalesce::new();
    for end in [SyncCoalesce::forget, SyncCoalesce::cancel] {
        cache.insert(1, 7);
        let refreshed = cache.refresh(&coalesce, &1, || {
            assert!(end(&coalesce, &1));
            Ok(8)
        });
        assert_eq!(*refreshed.unwrap(), 8);
        assert!(cache.get(&1).is_none());
    }
    // But one that was inserted meanwhile is newer.
    let refreshed = cache.refresh(&coalesce, &1, || {
        assert!(coalesce.forget(&1));
        cache.insert(1, 9);
        Ok(8)
    });
    assert_eq!((*refreshed.unwrap(), *cache.get(&1).unwrap()), (8, 9));
    assert_idle(&coalesce);
}
