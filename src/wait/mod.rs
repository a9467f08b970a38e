//! What every wait of the crate shares: the graph of waits, bounds, and the place of a pool thread that blocks.

pub(crate) mod blocking;
pub(crate) mod bound;
pub(crate) mod graph;
