//! All integration tests, in one binary. `TESTING.md` says where a new one belongs.

mod allocations;
mod batch;
mod bounds;
mod call;
mod cancel_forget;
mod chat;
#[cfg(feature = "example-chat-service")]
mod chat_service;
mod close_drain;
mod conformance;
mod deadlines;
mod deadlock;
mod detached;
mod election;
mod errors;
mod errors_shared;
mod examples;
mod key;
mod linger;
#[cfg(sync_coalesce_lock_cycles)]
mod lock_cycles;
mod marks;
mod observe;
mod panics;
mod patience;
mod provider;
mod reentrancy;
mod soak;
mod stack;
mod stats;
mod stream;
mod stress;
mod support;
mod types;
