//! One flight's meeting point: the leader publishes, its followers wait.

use std::time::Instant;

use crate::outcome::Shared;
use crate::sync::Monitor;

/// Comes into being with the first follower, so that a lone flight pays nothing for it.
pub(crate) struct Slot<T, E> {
    result: Monitor<Option<Shared<T, E>>>,
}

impl<T, E> Slot<T, E> {
    pub(crate) fn new() -> Self {
        Self { result: Monitor::new(None) }
    }

    /// Sets the result, and wakes nobody yet: the caller still holds the shard's lock.
    ///
    /// A follower that misses the [`wake_all`](Slot::wake_all) cannot exist: it looks and goes to sleep under the lock
    /// taken here, so it either sees the result or sleeps before it is set, and so before it is woken.
    pub(crate) fn publish(&self, result: Shared<T, E>) {
        *self.result.lock() = Some(result);
    }

    /// Wakes every follower, once no lock is held.
    pub(crate) fn wake_all(&self) {
        self.result.notify_all();
    }

    /// The result, if it is there.
    pub(crate) fn result(&self) -> Option<Shared<T, E>> {
        self.result.lock().clone()
    }

    /// Blocks for the result; `None` when the deadline passes first. A result that is there beats a deadline that has passed.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<Shared<T, E>> {
        let mut result = self.result.lock();
        loop {
            if let Some(result) = &*result {
                return Some(result.clone());
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            result = self.result.wait(result, deadline);
        }
    }
}
