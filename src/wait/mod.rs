//! What every wait of the crate shares: the wait-for graph, bounds, limits, and the place of a pool thread that blocks.

pub(crate) mod blocking;
pub(crate) mod bound;
pub(crate) mod faults;
pub(crate) mod graph;
pub(crate) mod limits;
