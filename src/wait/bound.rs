//! [`Bound`]: at most this many of something at a time.

use crate::sync::{AtomicU64, Ordering};
#[cfg(sync_coalesce_shuttle)]
use crate::wait::faults::Fault;

/// Counts places that are taken, up to a limit. Without a limit it counts nothing, and costs nothing.
pub(crate) struct Bound {
    limit: Option<u64>,
    taken: AtomicU64,
}

impl Bound {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { limit, taken: AtomicU64::new(0) }
    }

    /// Takes a place. False if there is none.
    pub(crate) fn take(&self) -> bool {
        let Some(limit) = self.limit else { return true };
        #[cfg(sync_coalesce_shuttle)]
        if crate::sync::is_planted(Fault::CountsApart) {
            return self.take_in_two_steps(limit);
        }
        let taken =
            self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < limit).then_some(taken + 1));
        taken.is_ok()
    }

    /// [`Fault::CountsApart`].
    #[cfg(sync_coalesce_shuttle)]
    fn take_in_two_steps(&self, limit: u64) -> bool {
        let before = self.taken.load(Ordering::Relaxed);
        self.taken.store((before + 1).min(limit), Ordering::Relaxed);
        before < limit
    }

    #[cfg(sync_coalesce_shuttle)]
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn give_back(&self, places: u64) {
        if self.limit.is_some() {
            self.taken.fetch_sub(places, Ordering::Relaxed);
        }
    }
}
