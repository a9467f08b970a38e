//! What the waits of flights and streams share: the wait-for graph, bounds, limits, and compensation for pool threads
//! that block.

pub(crate) mod blocking;
pub(crate) mod bound;
pub(crate) mod faults;
pub(crate) mod graph;
pub(crate) mod limits;
pub(crate) mod thread;
