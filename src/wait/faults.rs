//! The faults that can be planted where threads wait.

use crate::sync::faults;

faults! {
    /// A step done wrong, named after what goes wrong.
    pub(crate) enum Fault {
        /// The wait-for graph is unlocked between the search for a cycle and the insertion of the edge.
        #[cfg(sync_coalesce_shuttle)]
        ChecksApart,
        /// A wait that is over stays in the graph.
        EdgeStays,
        /// Two waits of one thread share one edge, so the end of the inner one removes the outer one's.
        InnerWaitHidesOuter,
        /// A caller enters the wait-for graph before it is known whether it may follow.
        #[cfg(sync_coalesce_shuttle)]
        WaitsWithoutPlace,
        /// The bound over all flights is checked and taken in two steps.
        #[cfg(sync_coalesce_shuttle)]
        CountsApart,
        /// A pool thread that blocks keeps its place, so that no other thread takes it.
        BlockedKeepsPlace,
    }
}
