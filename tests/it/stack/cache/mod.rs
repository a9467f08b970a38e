//! The cache alone, and in front of a coalescer.

mod expired;
mod weights;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use sync_coalesce::observe::{FlightId, Observer, RunEnded};
use sync_coalesce::stack::ManualClock;
use sync_coalesce::stack::cache::{Cache, CacheBuildError, CacheStats};
use sync_coalesce::{CallError, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until, until_following};

const SECOND: Duration = Duration::from_secs(1);

fn cache(capacity: u64) -> Cache<u32, u32> {
    Cache::builder(capacity).build().unwrap()
}

fn looks(stats: CacheStats) -> (u64, u64) {
    (stats.hits, stats.misses)
}

/// To count, it brings up to date what was done up to now.
fn settle(cache: &Cache<u32, u32>) {
    let _ = cache.stats();
}

#[track_caller]
fn assert_keeps(cache: &Cache<u32, u32>, keys: &[u32]) {
    let kept: Vec<u32> = (0..10).filter(|key| cache.get(key).is_some()).collect();
    assert_eq!(kept, keys);
}

#[test]
fn a_value_is_kept_replaced_and_removed() {
    let cache = cache(10);
    assert!(cache.get(&1).is_none());
    cache.insert(1, 10);
    assert_eq!(*cache.get(&1).unwrap(), 10);
    cache.insert(1, 11);
    assert_eq!(*cache.get(&1).unwrap(), 11);
    assert_eq!((cache.stats().entries, cache.stats().evictions), (1, 0));
    assert_eq!(*cache.remove(&1).unwrap(), 11);
    assert!(cache.remove(&1).is_none());
    cache.insert(1, 12);
    cache.insert(2, 20);
    cache.clear();
    assert_keeps(&cache, &[]);
    until("the sweep", || cache.stats().entries == 0);
}

#[test]
fn get_returns_what_was_inserted() {
    let cache = cache(10);
    let value = Arc::new(7);
    cache.insert(1, Arc::clone(&value));
    assert!(Arc::ptr_eq(&cache.get(&1).unwrap(), &value));
    assert!(Arc::ptr_eq(&cache.clone().get(&1).unwrap(), &value), "a clone is the same cache");
}

#[test]
fn no_room_and_no_time_are_errors() {
    assert_eq!(Cache::<u32, u32>::builder(0).build().unwrap_err(), CacheBuildError::Capacity);
    let no_time = Cache::<u32, u32>::builder(1).time_to_live(Duration::ZERO).build();
    assert_eq!(no_time.unwrap_err(), CacheBuildError::TimeToLive);
}

#[test]
fn the_least_recently_used_one_goes() {
    let cache = cache(3);
    for key in [1, 2, 3] {
        cache.insert(key, key);
        // So that what comes after comes after for the cache too.
        settle(&cache);
    }
    cache.get(&1);
    settle(&cache);
    cache.insert(3, 30);
    settle(&cache);
    cache.insert(4, 4);
    until("the sweep", || cache.stats().entries == 3);
    assert_eq!(cache.stats().evictions, 1);
    assert_keeps(&cache, &[1, 3, 4]);
}

#[test]
fn threads_together_do_not_pass_the_capacity() {
    let cache = cache(50);
    thread::scope(|scope| {
        let cache = &cache;
        join(crowd(scope, 5, |thread| {
            for key in (0..500_u32).skip(thread).step_by(5) {
                cache.insert(key, 0);
                cache.get(&key);
            }
        }));
    });
    until("the sweep", || cache.stats().entries <= 50);
    let stats = cache.stats();
    assert_eq!((stats.evictions, stats.hits + stats.misses), (500 - stats.entries, 500));
}

#[test]
fn a_value_is_kept_until_its_time_has_passed() {
    let hands = ManualClock::new();
    let cache = Cache::builder(10).time_to_live(10 * SECOND).clock(&hands).build().unwrap();
    cache.insert(1, 1);
    hands.advance(Duration::from_nanos(9_999_999_999));
    assert!(cache.get(&1).is_some());
    hands.advance(Duration::from_nanos(1));
    assert!(cache.get(&1).is_none());
    assert!(cache.get(&1).is_none());
    let stats = cache.stats();
    assert_eq!((looks(stats), stats.expirations), ((1, 2), 1), "an expiration is counted once");

    // Put again, it has its whole time again.
    cache.insert(1, 2);
    hands.advance(9 * SECOND);
    cache.insert(1, 3);
    hands.advance(9 * SECOND);
    assert_eq!(*cache.get(&1).unwrap(), 3);
    hands.advance(SECOND);
    assert!(cache.remove(&1).is_none());
    assert_eq!((cache.stats().expirations, cache.stats().evictions), (2, 0));
}

#[test]
fn each_value_can_have_its_own_time() {
    let hands = ManualClock::new();
    let own = |value: &u32| match value {
        0 => Some(Duration::ZERO),
        100 => None,
        seconds => Some(*seconds * SECOND),
    };
    let cache = Cache::builder(10).time_to_live(4 * SECOND).time_to_live_of(own).clock(&hands).build().unwrap();
    for (key, value) in [(0, 0), (1, 1), (2, 2), (3, 100)] {
        cache.insert(key, value);
    }
    cache.insert_for(5, 1, Duration::MAX);
    cache.insert_for(6, 1, 3 * SECOND);
    assert_keeps(&cache, &[1, 2, 3, 5, 6]);
    for kept in [&[2, 3, 5, 6][..], &[3, 5, 6], &[3, 5], &[5]] {
        hands.advance(SECOND);
        assert_keeps(&cache, kept);
    }
    // No time at all takes away what is there.
    cache.insert(5, 0);
    assert_keeps(&cache, &[]);
}

#[test]
fn an_expired_value_is_removed_without_a_lookup() {
    bounded(|| {
        let cache = Cache::builder(10).build().unwrap();
        cache.insert_for(1, 1, Duration::from_millis(1));
        cache.insert(2, 2);
        until("the sweep", || cache.stats().entries == 1);
        assert_eq!(cache.stats().expirations, 1);
        assert_keeps(&cache, &[2]);
    });
}

#[test]
fn looks_are_counted() {
    let cache = cache(10);
    assert!(cache.stats().hit_ratio().abs() < f64::EPSILON);
    cache.insert(1, 1);
    for key in [1, 1, 1, 2] {
        cache.get(&key);
    }
    assert_eq!(looks(cache.stats()), (3, 1));
    assert!((cache.stats().hit_ratio() - 0.75).abs() < f64::EPSILON);
    cache.reset_stats();
    assert_eq!((looks(cache.stats()), cache.stats().entries), ((0, 0), 1));
    assert!(cache.get(&1).is_some());
}

#[test]
fn nothing_found_is_a_value_too() {
    let cache: Cache<u32, Option<u32>> = Cache::builder(10).build().unwrap();
    let coalesce: SyncCoalesce<u32, Arc<Option<u32>>> = SyncCoalesce::new();
    for _ in 0..2 {
        assert_eq!(*cache.get_or_call(&coalesce, &1, || Ok(None)).unwrap(), None);
    }
    assert_eq!((looks(cache.stats()), coalesce.stats().underlying_calls), ((1, 1), 1));
}

#[test]
fn an_error_or_a_panic_is_not_kept() {
    let cache = cache(10);
    let coalesce: SyncCoalesce<u32, Arc<u32>, &str> = SyncCoalesce::new();
    let failed = cache.get_or_call(&coalesce, &1, || Err("busy"));
    assert!(matches!(failed, Err(CallError::Failed(error)) if *error == "busy"));
    let panics = || cache.get_or_call(&coalesce, &1, || panic!("in the work")).map(drop);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
    assert_eq!(*cache.get_or_call(&coalesce, &1, || Ok(1)).unwrap(), 1);
    assert_eq!(*cache.get_or_call(&coalesce, &1, || Err("busy")).unwrap(), 1);
    assert_idle(&coalesce);
}

#[test]
fn a_panic_on_the_way_into_the_cache_does_not_lose_the_value() {
    let cache: Cache<u32, u32> = Cache::builder(10).time_to_live_of(|_| panic!("a time to live")).build().unwrap();
    let coalesce: SyncCoalesce<u32, Arc<u32>> = SyncCoalesce::new();
    assert_eq!(*cache.get_or_call(&coalesce, &1, || Ok(1)).unwrap(), 1);
    assert!(cache.get(&1).is_none());
    assert_idle(&coalesce);
}

#[test]
fn of_many_callers_one_runs_and_all_later_ones_hit() {
    bounded(|| {
        let cache = cache(10);
        let coalesce: SyncCoalesce<u32, Arc<u32>> = SyncCoalesce::new();
        let gate = Gate::new();
        let ask = || {
            let work = || {
                gate.pass();
                Ok(7)
            };
            cache.get_or_call(&coalesce, &1, work).unwrap()
        };
        thread::scope(|scope| {
            let callers = crowd(scope, 10, |_| ask());
            until_following(&coalesce, 9);
            gate.open();
            let values = join(callers);
            assert!(values.iter().all(|value| Arc::ptr_eq(value, &values[0])));
            assert!(Arc::ptr_eq(&ask(), &values[0]));
        });
        assert_eq!(looks(cache.stats()), (1, 10));
        assert_idle(&coalesce);
    });
}

/// A key on whose clone something happens. A caller that finds nothing in the cache, and no flight, clones it between
/// its look and its flight.
#[derive(PartialEq, Eq, Hash)]
struct Key(u32);

thread_local! {
    static ON_CLONE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

impl Clone for Key {
    fn clone(&self) -> Self {
        let happens = ON_CLONE.with_borrow_mut(Option::take);
        if let Some(happens) = happens {
            happens();
        }
        Self(self.0)
    }
}

/// A cache and a coalescer, and how a caller uses them.
#[derive(Clone)]
struct Pair {
    cache: Cache<Key, u64>,
    coalesce: Arc<SyncCoalesce<Key, Arc<u64>>>,
    runs: Arc<AtomicU64>,
    ask: fn(&Self) -> Arc<u64>,
}

impl Pair {
    fn run(&self) -> u64 {
        self.runs.fetch_add(1, SeqCst) + 1
    }

    fn ours(&self) -> Arc<u64> {
        self.cache.get_or_call(&self.coalesce, &Key(1), || Ok(self.run())).unwrap()
    }

    /// The fault: it does not look again.
    fn looks_once(&self) -> Arc<u64> {
        self.cache.get(&Key(1)).unwrap_or_else(|| {
            let led = self.coalesce.call(&Key(1), || {
                let value = Arc::new(self.run());
                self.cache.insert(Key(1), Arc::clone(&value));
                value
            });
            Arc::clone(&*led.unwrap())
        })
    }

    /// The fault: it fills when the flight is over.
    fn fills_late(&self) -> Arc<u64> {
        self.cache.get(&Key(1)).unwrap_or_else(|| {
            let look = || self.cache.get(&Key(1)).unwrap_or_else(|| Arc::new(self.run()));
            let value = Arc::clone(&*self.coalesce.call(&Key(1), look).unwrap());
            self.cache.insert(Key(1), Arc::clone(&value));
            value
        })
    }
}

/// Asks once more when the first flight has just ended.
struct AsksAtTheEnd(Arc<std::sync::Mutex<Option<Pair>>>);

impl Observer for AsksAtTheEnd {
    fn ended(&self, _: &FlightId<'_>, _: &RunEnded) {
        let pair = self.0.lock().unwrap().take();
        if let Some(pair) = pair {
            (pair.ask)(&pair);
        }
    }
}

/// How often the work runs when two callers meet between a miss and a flight, and between a flight and its end.
fn runs(ask: fn(&Pair) -> Arc<u64>) -> (u64, u64) {
    let at_the_end = Arc::new(std::sync::Mutex::new(None));
    let pair = || Pair {
        cache: Cache::builder(10).build().unwrap(),
        coalesce: Arc::new(SyncCoalesce::builder().observer(AsksAtTheEnd(Arc::clone(&at_the_end))).build()),
        runs: Arc::default(),
        ask,
    };
    let before = pair();
    let other = before.clone();
    ON_CLONE.set(Some(Box::new(move || drop((other.ask)(&other)))));
    ask(&before);
    assert!(ON_CLONE.take().is_none(), "it happened");

    let after = pair();
    *at_the_end.lock().unwrap() = Some(after.clone());
    ask(&after);
    assert!(at_the_end.lock().unwrap().is_none(), "it happened");
    (before.runs.load(SeqCst), after.runs.load(SeqCst))
}

#[test]
fn there_is_no_gap_between_a_miss_and_a_fill() {
    assert_eq!(runs(Pair::ours), (1, 1));
}

#[test]
fn the_test_for_gaps_finds_them() {
    assert_eq!(runs(Pair::looks_once), (2, 1));
    assert_eq!(runs(Pair::fills_late), (1, 2));
}

#[test]
fn a_second_look_that_finds_something_is_counted_apart() {
    let cache: Cache<Key, u64> = Cache::builder(10).build().unwrap();
    let coalesce: SyncCoalesce<Key, Arc<u64>> = SyncCoalesce::new();
    let other = cache.clone();
    ON_CLONE.set(Some(Box::new(move || other.insert(Key(1), 5))));
    assert_eq!(*cache.get_or_call(&coalesce, &Key(1), || unreachable!()).unwrap(), 5);
    let stats = cache.stats();
    assert_eq!((looks(stats), stats.late_hits), ((0, 1), 1));
    assert!((stats.hit_ratio() - 1.0).abs() < f64::EPSILON);
}
