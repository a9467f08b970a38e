//! The faults that can be planted where threads wait.

use crate::sync::faults;

faults! {
    /// A step done wrong, named after what goes wrong.
    pub(crate) enum Fault {
        /// The graph of waits is unlocked between looking for a cycle and entering the wait.
        #[cfg(sync_coalesce_shuttle)]
        ChecksApart,
        /// A wait that is over stays in the graph.
        EdgeStays,
        /// The end of a wait that was made before another one, by an observer, ends that too in the graph.
        InnerWaitHidesOuter,
        /// A caller enters the graph of waits before it is known whether it may follow.
        #[cfg(sync_coalesce_shuttle)]
        WaitsWithoutPlace,
        /// The bound over all flights is looked at and taken in two steps.
        #[cfg(sync_coalesce_shuttle)]
        CountsApart,
        /// A pool thread that blocks keeps its place, so that no spare takes it.
        BlockedKeepsPlace,
    }
}
