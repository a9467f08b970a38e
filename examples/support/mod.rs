//! What the examples share: a provider on loopback, a client for real ones, and their arguments.

#![allow(dead_code, reason = "each example uses a part of it")]

pub(crate) mod args;
pub(crate) mod client;
pub(crate) mod provider;
