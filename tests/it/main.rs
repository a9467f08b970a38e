//! All integration tests, in one binary.

mod errors;
mod examples;
mod golang;
mod key;
mod original;
mod process;
mod provider;
mod stress;
mod support;
mod traps;
mod types;
