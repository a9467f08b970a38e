//! What is fixed for all streams of a coalescer.

use std::time::Duration;

use crate::panic::{CatchDrop, catch_panic};

/// The builder's `weigher`.
pub(super) type Weigher<C> = dyn Fn(&C) -> u64 + Send + Sync;

/// More than any answer of a language model has, and a megabyte of pointers at most.
const MAX_CHUNKS: usize = 1 << 16;

pub(super) struct Settings<C> {
    pub(super) name: Option<Box<str>>,
    pub(super) timeout: Option<Duration>,
    pub(super) max_readers: u64,
    pub(super) max_chunks: usize,
    pub(super) max_bytes: u64,
    /// Dropped with the last reader, perhaps, which a panic in its Drop must not meet.
    pub(super) weigher: CatchDrop<Box<Weigher<C>>>,
}

impl<C> Settings<C> {
    pub(super) fn new() -> Self {
        Self {
            name: None,
            timeout: None,
            max_readers: u64::MAX,
            max_chunks: MAX_CHUNKS,
            max_bytes: u64::MAX,
            weigher: CatchDrop::NONE,
        }
    }

    /// Runs user code; a chunk whose weighing panics weighs nothing.
    pub(super) fn weigh(&self, chunk: &C) -> u64 {
        self.weigher.get().map_or(0, |weigh| catch_panic(|| weigh(chunk)))
    }

    pub(super) fn is_over(&self, chunks: usize, bytes: u64) -> bool {
        chunks > self.max_chunks || bytes > self.max_bytes
    }
}
