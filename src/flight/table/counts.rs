//! What a shard counts of the closures that run.

use std::mem;

use super::shard::Shard;
use crate::flight::completion::Completion;
use crate::sync::ThreadToken;

impl<K, T, E> Shard<K, T, E> {
    /// Removes a thread from the list of those that bypass.
    pub(crate) fn remove_bypassing(&mut self, thread: ThreadToken) {
        if let Some(place) = self.bypassing.iter().position(|bypassing| *bypassing == thread) {
            self.bypassing.swap_remove(place);
            self.shrink_bypassing();
        }
    }

    /// As [`shrink`](crate::shrink::shrink).
    pub(super) fn shrink_bypassing(&mut self) {
        if self.bypassing.len() < self.bypassing.capacity() / 8 {
            self.bypassing.shrink_to(self.bypassing.len() * 2);
        }
    }

    /// Counts a closure that has ended. Returns whether a caller drains, and has to be notified.
    #[inline]
    pub(crate) fn count_end(&mut self, completion: &Completion<T, E>) -> bool {
        self.counters.running -= 1;
        match completion {
            Completion::Value { cost, .. } => self.counters.cost_spent += cost,
            Completion::Error(_) | Completion::Miscounted { .. } => self.counters.failed += 1,
            Completion::Panicked { .. } => self.counters.panicked += 1,
        }
        mem::take(&mut self.draining)
    }

    /// Counts a closure that will never run. Returns whether a caller drains, and has to be notified.
    pub(crate) fn count_unrun(&mut self) -> bool {
        self.counters.running -= 1;
        mem::take(&mut self.draining)
    }

    /// How many closures run here in threads other than this one. The next one that ends will notify.
    pub(crate) fn running_but_for(&mut self, me: ThreadToken) -> u64 {
        self.draining = true;
        let led = self.flights().map(|entry| &entry.record).chain(self.unlinked.values());
        let own = led.filter(|record| record.leader == Some(me)).count()
            + self.bypassing.iter().filter(|alone| **alone == me).count();
        self.counters.running - own as u64
    }
}
