//! What the examples share: a provider on loopback, a client for real ones, and their arguments.

pub(crate) mod args;
pub(crate) mod client;
pub(crate) mod provider;
