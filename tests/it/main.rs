//! All integration tests, in one binary.

mod crowd;
mod deadlock;
mod election;
mod errors;
mod examples;
mod golang;
mod key;
mod original;
mod process;
mod provider;
mod soak;
mod stress;
mod support;
mod traps;
mod types;
