//! The operations of this folder, counted per thread in tests: costs that are exact, where times are not.

use std::cell::Cell;
use std::sync::atomic::Ordering;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Locks of shards and of the wait-for graph.
    pub(crate) locks: u32,
    /// Locks of slots.
    pub(crate) monitors: u32,
    pub(crate) notifies: u32,
    pub(crate) atomics: u32,
    pub(crate) clock: u32,
}

std::thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { locks: 0, monitors: 0, notifies: 0, atomics: 0, clock: 0 }) };
}

pub(super) fn add(one: impl FnOnce(&mut Counts)) {
    let mut counts = COUNTS.get();
    one(&mut counts);
    COUNTS.set(counts);
}

/// The operations of this thread while `work` runs.
pub(crate) fn during<R>(work: impl FnOnce() -> R) -> (R, Counts) {
    let before = COUNTS.replace(Counts::default());
    let result = work();
    (result, COUNTS.replace(before))
}

/// `parking_lot`'s, counted.
pub(crate) struct Mutex<S>(parking_lot::Mutex<S>);

impl<S> Mutex<S> {
    pub(crate) const fn new(state: S) -> Self {
        Self(parking_lot::Mutex::new(state))
    }

    pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, S> {
        add(|counts| counts.locks += 1);
        self.0.lock()
    }
}

/// std's, counted.
pub(crate) struct AtomicU64(std::sync::atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) const fn new(value: u64) -> Self {
        Self(std::sync::atomic::AtomicU64::new(value))
    }

    fn counted(&self) -> &std::sync::atomic::AtomicU64 {
        add(|counts| counts.atomics += 1);
        &self.0
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        self.counted().load(order)
    }

    pub(crate) fn store(&self, value: u64, order: Ordering) {
        self.counted().store(value, order);
    }

    pub(crate) fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.counted().fetch_add(value, order)
    }

    pub(crate) fn fetch_sub(&self, value: u64, order: Ordering) -> u64 {
        self.counted().fetch_sub(value, order)
    }

    pub(crate) fn fetch_update(
        &self,
        set: Ordering,
        fetch: Ordering,
        update: impl FnMut(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        self.counted().fetch_update(set, fetch, update)
    }
}
