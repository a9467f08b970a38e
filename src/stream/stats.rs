//! What a stream coalescer has done and is doing.

use serde::Serialize;

/// The counters of a [`StreamCoalesce`](super::StreamCoalesce), read at one moment.
///
/// Every call of [`stream`](super::StreamCoalesce::stream) is counted exactly once, in one of the fields that
/// [`calls`](StreamStats::calls) adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StreamStats {
    /// Calls that opened a source. Counted when the opening begins, whether it succeeds or not.
    pub opened: u64,
    /// Calls that joined a stream that another caller opened. Never decremented.
    pub joined: u64,
    /// Calls refused because they would have waited for themselves.
    pub deadlocks: u64,
    /// Calls refused because the stream had too many readers.
    pub overloaded: u64,
    /// Calls refused because the coalescer was closed.
    pub closed: u64,

    /// Streams that ended by an error, of the opening or of the source.
    pub failed: u64,
    /// Streams that ended by a panic, of the opening or of the source.
    pub panicked: u64,
    /// Streams that [`cancel`](super::StreamCoalesce::cancel) or [`close`](super::StreamCoalesce::close) ended.
    pub cancelled: u64,
    /// Readers that left at their deadline.
    pub timed_out: u64,
    /// Readers that were cut off because they had fallen too far behind.
    pub lagged: u64,

    /// Live: streams that a new caller would join.
    pub in_flight: u64,
    /// Live: streams that have not ended, including those that nobody can join any more.
    pub running: u64,
    /// Live: readers that have neither reached their end nor been dropped.
    pub readers: u64,
    /// Live: readers that sleep until another thread has pulled the next chunk or opened the source.
    pub waiting: u64,
}

impl StreamStats {
    /// All calls so far, each counted once.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.opened + self.joined + self.refused()
    }

    /// Calls that were refused, for whatever reason; they are among the [`calls`](StreamStats::calls).
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.deadlocks + self.overloaded + self.closed
    }

    /// Sets everything to zero but the live figures.
    pub(super) fn reset(&mut self) {
        *self = Self { readers: self.readers, ..Self::default() };
    }
}
