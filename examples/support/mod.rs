//! What the examples share: a provider on loopback, a client for real ones, and the command line.

#![allow(dead_code, reason = "each example uses a part of it")]

pub(crate) mod cli;
pub(crate) mod client;
pub(crate) mod endpoint;
pub(crate) mod provider;
