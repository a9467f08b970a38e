//! All integration tests, in one binary.

mod batch;
mod chat;
#[cfg(feature = "example-chat-service")]
mod chat_service;
mod costs;
mod crowd;
mod deadlock;
mod detached;
mod drops;
mod election;
mod errors;
mod examples;
mod golang;
mod key;
mod linger;
#[cfg(sync_coalesce_lock_cycles)]
mod lock_cycles;
mod observe;
mod original;
mod process;
mod provider;
mod soak;
mod stack;
mod stream;
mod stress;
mod support;
mod traps;
mod types;
