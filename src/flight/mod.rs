//! The protocol: who leads, who follows, and how a flight ends. `README.md` in this folder tells it step by step, and
//! begins with a glossary.
//!
//! The protocol is [`enter`] with [`join`], [`lead`], [`finish`], and [`follow`] with [`leave`]; [`call`] puts them
//! together for a single call.

pub(crate) mod batch;
mod bypass;
mod call;
mod completion;
mod control;
pub(crate) mod enter;
mod faults;
mod finish;
mod flight_ref;
pub(crate) mod flights;
pub(crate) mod follow;
pub(crate) mod handle;
mod join;
pub(crate) mod lead;
mod leave;
#[cfg(sync_coalesce_shuttle)]
mod models;
#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod op_counts;
pub(crate) mod pool;
pub(crate) mod settings;
mod slot;
mod stats;
mod table;
#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests;
pub(crate) mod watch;
