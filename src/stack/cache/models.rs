//! The real permits under the model checker, in front of a cell: no older value comes over a newer one.

use std::sync::Arc;

use super::fills::Fills;
use crate::stack::cache::faults::Fault;
use crate::sync::{AtomicU64, Mutex, Ordering, catches, holds, scope};

/// What the answer is made of, and a cache of one value for it.
struct Cached {
    fills: Arc<Fills>,
    truth: AtomicU64,
    kept: Mutex<Option<u64>>,
}

impl Cached {
    fn new() -> Self {
        Self { fills: Arc::new(Fills::new()), truth: AtomicU64::new(1), kept: Mutex::new(None) }
    }

    /// Work that reads the truth, and fills.
    fn lead(&self) -> u64 {
        let permit = self.fills.begin(7);
        let value = self.truth.load(Ordering::SeqCst);
        let _: Option<()> = permit.fill(|| {
            *self.kept.lock() = Some(value);
            None
        });
        value
    }

    fn change(&self) {
        self.truth.store(2, Ordering::SeqCst);
        self.fills.supersede(7, || *self.kept.lock() = None);
    }

    fn settle(&self) {
        assert_eq!(self.fills.pending(), 0, "something is left");
    }
}

/// ```text
/// leader    reads the truth, fills
/// writer    changes the truth, removes the value; reads the cache
/// ```
fn a_removal_during_work() {
    let cached = Cached::new();
    scope(|threads| {
        threads.spawn(|| {
            cached.lead();
        });
        threads.spawn(|| {
            cached.change();
            assert_ne!(*cached.kept.lock(), Some(1), "an old value came back");
        });
    });
    assert_ne!(*cached.kept.lock(), Some(1), "an old value came back");
    cached.settle();
}

#[test]
fn a_removed_value_does_not_come_back() {
    holds(a_removal_during_work);
}

#[test]
fn a_fill_after_the_look_is_caught() {
    catches(Fault::FillsAfterLooking, "an old value came back", a_removal_during_work);
}

#[test]
fn a_fill_that_was_revoked_is_caught() {
    catches(Fault::FillsRevoked, "an old value came back", a_removal_during_work);
}

/// ```text
/// old leader    reads the truth                      fills
/// new leader                     reads it, changed; fills
/// ```
fn two_leaders() {
    let cached = Cached::new();
    scope(|threads| {
        threads.spawn(|| {
            cached.lead();
        });
        threads.spawn(|| {
            // Nobody is told: two coalescers share the cache.
            cached.truth.store(2, Ordering::SeqCst);
            cached.lead();
        });
    });
    assert_eq!(*cached.kept.lock(), Some(2), "an older value came last");
    cached.settle();
}

#[test]
fn the_work_that_began_last_fills_last() {
    holds(two_leaders);
}

#[test]
fn an_older_fill_after_a_newer_one_is_caught() {
    catches(Fault::OlderFillsLater, "an older value came last", two_leaders);
}
