//! Which threads run closures in a shard: for `drain`, which leaves its own out.

use super::shard::Shard;
use crate::wait::thread::ThreadToken;

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

    /// How many closures run here in threads other than this one. The next one that ends will notify.
    pub(crate) fn running_but_for(&mut self, me: ThreadToken) -> u64 {
        self.draining = true;
        let led = self.flights().map(|entry| &entry.record).chain(self.unlinked.iter());
        let own = led.filter(|record| record.leader == Some(me)).count()
            + self.bypassing.iter().filter(|alone| **alone == me).count();
        self.counters.running - own as u64
    }
}
