//! What a stream coalescer has done and is doing.

use serde::Serialize;

/// The counters of a [`StreamCoalesce`](crate::stream::StreamCoalesce), read at one moment.
///
/// Every call of [`stream`](crate::stream::StreamCoalesce::stream) is counted exactly once, among the fields that
/// [`calls`](StreamStats::calls) adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StreamStats {
    /// Calls that opened a source; counted as the opening begins, whatever became of it.
    pub opened: u64,
    /// Calls that joined a stream which another one opened; never taken back.
    pub joined: u64,
    /// Calls refused because they would have waited for themselves.
    pub refused: u64,
    /// Calls rejected because the stream had too many readers.
    pub overloaded: u64,
    /// Calls refused because the coalescer was closed.
    pub closed: u64,

    /// Streams that ended by an error, of the opening or of the source.
    pub failed: u64,
    /// Streams that ended by a panic, of the opening or of the source.
    pub panicked: u64,
    /// Streams that were cancelled, by [`cancel`](crate::stream::StreamCoalesce::cancel) or
    /// [`close`](crate::stream::StreamCoalesce::close).
    pub cancelled: u64,
    /// Readers that left at their deadline.
    pub timed_out: u64,
    /// Readers that left because they were too far behind.
    pub lagged: u64,

    /// Live: streams that a new caller would join.
    pub in_flight: u64,
    /// Live: streams that have not ended, those included that nobody can join any more.
    pub running: u64,
    /// Live: readers that have neither had all they get nor been dropped.
    pub readers: u64,
    /// Live: readers that are asleep until another one has pulled, or has opened the source.
    pub waiting: u64,
}

impl StreamStats {
    /// All calls so far, each counted once.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.opened + self.joined + self.refused + self.overloaded + self.closed
    }

    /// Sets everything to zero but the live figures.
    pub(super) fn reset(&mut self) {
        *self = Self { readers: self.readers, ..Self::default() };
    }
}
