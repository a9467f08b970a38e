//! The faults that can be planted in the protocol of streams.

use crate::sync::faults;

faults! {
    /// A step done wrong, named after what goes wrong.
    pub(crate) enum Fault {
        /// A chunk that was pulled is told to nobody.
        ChunkWakesNobody,
        /// A reader looks, and then sleeps, with the lock released in between.
        ReaderSleepsBlindly,
        /// A pull that is over still has a puller in the wait-for graph.
        PullOutlivesStep,
        /// A puller does not see that its stream was cut off during the pull.
        PullerMissesCancel,
        /// A panic of the source leaves the stream as it is.
        SourcePanicEndsNothing,
        /// A reader that leaves looks whether it is the last one without the table's lock.
        LastReaderLooksFirst,
        /// A reader that leaves at its deadline is not taken off.
        LateReaderStays,
        /// A log sheds its first chunk while the stream can still be joined.
        RetiresLate,
        /// A reader whose deadline has passed while it slept leaves without another look for its chunk.
        LateReaderLooksNoMore,
        /// A thread that was started to pull is not written into the wait-for graph.
        HelperUnnamed,
        /// A thread that was started to pull one chunk pulls the next one, if a reader has pulled the first.
        HelperReadsAhead,
    }
}
