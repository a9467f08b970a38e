//! A bound on what the values weigh, and not on their number.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use sync_coalesce::SyncCoalesce;
use sync_coalesce::stack::Stack;
use sync_coalesce::stack::cache::Cache;

use crate::support::thread;
use crate::support::{assert_idle, bounded, crowd, join, until};

/// Values weigh what they say, and 0 panics.
fn cache(capacity: u64) -> Cache<u32, u64> {
    let weigh = |_: &u32, weight: &u64| {
        assert_ne!(*weight, 0, "in the weigher");
        *weight
    };
    Cache::builder(capacity).weigher(weigh).build().unwrap()
}

#[track_caller]
fn assert_keeps(cache: &Cache<u32, u64>, keys: &[u32]) {
    let kept: Vec<u32> = (0..20).filter(|key| cache.get(key).is_some()).collect();
    assert_eq!(kept, keys);
    let weight = kept.iter().map(|key| *cache.get(key).unwrap()).sum();
    assert_eq!((cache.stats().entries, cache.stats().weight), (keys.len() as u64, weight));
}

#[test]
fn the_sum_of_the_weights_is_bounded() {
    let cache = cache(100);
    for key in 1..=4 {
        cache.insert(key, 25);
    }
    assert_keeps(&cache, &[1, 2, 3, 4]);
    // One that takes the room of three.
    cache.insert(5, 60);
    assert_keeps(&cache, &[4, 5]);
    assert_eq!(cache.stats().evictions, 3);
    // Another value under the same key may weigh more, or less.
    cache.insert(4, 40);
    assert_keeps(&cache, &[4, 5]);
    cache.insert(5, 1);
    cache.insert(6, 59);
    assert_keeps(&cache, &[4, 5, 6]);
}

#[test]
fn the_bound_holds_whenever_an_insertion_has_returned() {
    let cache = cache(1_000);
    for key in 0..5_000 {
        cache.insert(key, u64::from(key % 90) + 10);
        let entries = cache.stats();
        assert!(entries.weight <= 1_000, "{entries:?}");
    }
    assert!(cache.stats().weight > 800);
}

/// A value that is dropped, so that a test can see what is in memory, whatever the cache says.
struct Counted(Arc<AtomicU64>, u64);

impl Counted {
    fn new(live: &Arc<AtomicU64>, weight: u64) -> Self {
        live.fetch_add(weight, SeqCst);
        Self(Arc::clone(live), weight)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, SeqCst);
    }
}

#[test]
fn what_was_evicted_is_freed_soon() {
    bounded(|| {
        let live = Arc::new(AtomicU64::new(0));
        let cache = Cache::builder(1_000).weigher(|_: &u64, value: &Counted| value.1).build().unwrap();
        let stack: Stack<u64, Counted> = Stack::builder().cache(cache.clone()).build();
        let freed = || until("the memory", || cache.stats().weight >= live.load(SeqCst));
        for key in 0..30 {
            cache.insert(key, Counted::new(&live, 100));
            assert!(stack.call(&(key + 1_000), || Counted::new(&live, 150)).is_ok());
            freed();
        }
        thread::scope(|scope| {
            join(crowd(scope, 4, |thread| {
                for key in 0..200 {
                    cache.insert(key * 4 + thread as u64, Counted::new(&live, 100));
                }
            }));
        });
        freed();
        assert!(cache.stats().weight <= 1_000);
    });
}

#[test]
fn a_value_that_is_too_heavy_is_not_kept() {
    let cache = cache(100);
    cache.insert(1, 100);
    assert_keeps(&cache, &[1]);
    // Nor is the one that it was to replace.
    cache.insert(1, 101);
    assert_keeps(&cache, &[]);
    let coalesce: SyncCoalesce<u32, Arc<u64>> = SyncCoalesce::new();
    cache.insert(2, 50);
    assert_eq!(*cache.refresh(&coalesce, &2, || Ok(u64::MAX)).unwrap(), u64::MAX);
    assert_keeps(&cache, &[]);
    let vast: Cache<u32, u64> = Cache::builder(u64::MAX).weigher(|_, weight| *weight).build().unwrap();
    vast.insert(1, u64::from(u32::MAX));
    vast.insert(2, u64::from(u32::MAX) + 1);
    assert!(vast.get(&1).is_some() && vast.get(&2).is_none());
}

#[test]
fn the_key_can_be_weighed_too() {
    let cache = Cache::builder(10).weigher(|key: &String, (): &()| key.len() as u64).build().unwrap();
    for key in ["four", "fives", "sixsix"] {
        cache.insert(key.to_owned(), ());
    }
    assert!(cache.get("four").is_none() && cache.get("fives").is_none() && cache.get("sixsix").is_some());
    assert_eq!(cache.stats().weight, 6);
}

#[test]
fn a_weigher_that_panics_costs_no_value_that_was_paid_for() {
    let cache = cache(100);
    let coalesce: SyncCoalesce<u32, Arc<u64>> = SyncCoalesce::new();
    assert_eq!(*cache.get_or_call(&coalesce, &1, || Ok(0)).unwrap(), 0);
    // The older value is not shown after the newer one.
    cache.insert(1, 7);
    assert_eq!(*cache.refresh(&coalesce, &1, || Ok(0)).unwrap(), 0);
    assert_keeps(&cache, &[]);
    // An insertion by hand passes it on.
    assert!(catch_unwind(AssertUnwindSafe(|| cache.insert(1, 0))).is_err());
    assert_keeps(&cache, &[]);
    assert_idle(&coalesce);
}

#[test]
fn without_a_weigher_each_value_counts_as_one() {
    let cache: Cache<u32, u64> = Cache::builder(10).build().unwrap();
    cache.insert(1, 1_000);
    cache.insert(2, 1_000);
    assert_eq!((cache.stats().entries, cache.stats().weight), (2, 2));
}
