//! [`Flights`]: all flights of one coalescer.

#[cfg(feature = "cache")]
use std::sync::Arc;

use super::settings::Settings;
use super::table::Table;
use crate::outcome::Mark;
use crate::sync::{AtomicU64, Monitor, Ordering};
use crate::wait::bound::Bound;

/// All flights of one coalescer.
pub(crate) struct Flights<K, T, E> {
    pub(super) table: Table<K, T, E>,
    pub(crate) settings: Settings<K, T, E>,
    /// Tells this coalescer's marks from those of others.
    #[cfg(feature = "cache")]
    pub(crate) identity: Arc<()>,
    /// Whether to read the clock when a flight begins.
    pub(super) is_timed: bool,
    /// Whether any results linger.
    pub(super) lingers: bool,
    /// The number of marks given out so far, which is the last mark. Release where one is given out, Acquire where a flight
    /// begins: the closures of flights that begin after a mark see everything that was done before it.
    pub(super) marks: AtomicU64,
    pub(super) following: Bound,
    pub(super) impatient: Bound,
    /// Notified when closures end while somebody drains.
    pub(super) drained: Monitor<()>,
}

impl<K, T, E> Flights<K, T, E> {
    pub(crate) fn new(shards: usize, settings: Settings<K, T, E>) -> Self {
        Self {
            table: Table::new(shards, settings.linger.most),
            #[cfg(feature = "cache")]
            identity: Arc::new(()),
            is_timed: settings.is_timed(),
            lingers: settings.linger.is_on(),
            marks: AtomicU64::new(0),
            following: Bound::new(settings.max_followers_total),
            impatient: Bound::new(settings.max_impatient),
            drained: Monitor::new(()),
            settings,
        }
    }

    /// A mark of this moment: flights that began before it are older.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.marks.fetch_add(1, Ordering::AcqRel) + 1)
    }
}
