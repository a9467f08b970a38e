//! The real permits under the model checker, in front of a cell: no older value comes over a newer one, or stays in its
//! stead, and one caller refreshes a stale value.

use std::sync::Arc;

use super::fills::{Fills, Permit};
use crate::flight::watch::{Signal, Watcher};
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
        self.lead_with(&self.fills.begin(7))
    }

    fn lead_with(&self, permit: &Permit) -> u64 {
        let value = self.truth.load(Ordering::SeqCst);
        let put = |kept| {
            *self.kept.lock() = kept;
            None
        };
        let _: Option<()> = permit.fill(|| put(Some(value)), || put(None));
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

/// ```text
/// leader    reads the truth, changed        shows it to those who are in its flight, looks into the cache
/// another                            forgets its flight
/// ```
fn a_flight_that_is_not_current() {
    let cached = Cached::new();
    *cached.kept.lock() = Some(1);
    cached.truth.store(2, Ordering::SeqCst);
    let permit = cached.fills.begin(7);
    scope(|threads| {
        threads.spawn(|| {
            assert_eq!(cached.lead_with(&permit), 2);
            assert_ne!(*cached.kept.lock(), Some(1), "an older value is still there");
        });
        threads.spawn(|| permit.notify(Signal::Unlinked));
    });
    drop(permit);
    cached.settle();
}

#[test]
fn what_was_shown_and_not_kept_leaves_no_older_value_behind() {
    holds(a_flight_that_is_not_current);
}

#[test]
fn an_older_value_that_stays_is_caught() {
    catches(Fault::OlderStays, "an older value is still there", a_flight_that_is_not_current);
}

/// Two callers find the stale value 1. Who may refresh it leads, looks again, and reads the truth if it is still there.
fn two_who_find_a_stale_value() {
    let cached = Cached::new();
    *cached.kept.lock() = Some(1);
    cached.truth.store(2, Ordering::SeqCst);
    let runs = AtomicU64::new(0);
    scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                if *cached.kept.lock() != Some(1) {
                    return;
                }
                let Some(claim) = cached.fills.claim(7) else { return };
                let permit = cached.fills.begin(7);
                drop(claim);
                if *cached.kept.lock() == Some(1) {
                    runs.fetch_add(1, Ordering::SeqCst);
                    cached.lead_with(&permit);
                }
            });
        }
    });
    assert_eq!(runs.load(Ordering::SeqCst), 1, "both refreshed it, or nobody");
    assert_eq!(*cached.kept.lock(), Some(2));
    cached.settle();
}

#[test]
fn one_of_two_refreshes_a_stale_value() {
    holds(two_who_find_a_stale_value);
}

#[test]
fn a_second_refresh_is_caught() {
    catches(Fault::ClaimsTwice, "both refreshed it, or nobody", two_who_find_a_stale_value);
}

/// ```text
/// one        may refresh, fails
/// another                        finds the stale value, may refresh; or has come too early, and comes again
/// ```
fn a_refresh_that_fails() {
    let cached = Cached::new();
    scope(|threads| {
        threads.spawn(|| drop(cached.fills.claim(7)));
        threads.spawn(|| drop(cached.fills.claim(7)));
    });
    assert!(cached.fills.claim(7).is_some(), "nobody refreshes it any more");
    cached.settle();
}

#[test]
fn after_a_refresh_that_fails_the_next_one_may() {
    holds(a_refresh_that_fails);
}

#[test]
fn a_refresh_that_never_ends_is_caught() {
    catches(Fault::ClaimStays, "nobody refreshes it any more", a_refresh_that_fails);
}
