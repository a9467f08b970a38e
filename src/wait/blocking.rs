//! Compensation: a pool thread that blocks in one of our waits gives its place to another thread, as in Java's
//! `ForkJoinPool` (Java 7, 2011).

use std::cell::RefCell;
use std::sync::Arc;

use crate::sync::{self, only_if};
use crate::wait::faults::Fault;

/// A pool that counts its active threads. The pool of detached flights is one; this room stands below it.
pub(crate) trait Compensate {
    /// The calling thread is about to block.
    fn block_begin(self: Arc<Self>);

    /// The calling thread goes on.
    fn block_end(&self);
}

sync::per_thread! {
    /// The pool that this thread belongs to.
    static POOL: RefCell<Option<Arc<dyn Compensate>>> = RefCell::new(None);
}

/// Makes this thread belong to `pool`, or to none.
pub(crate) fn set_pool(pool: Option<Arc<dyn Compensate>>) {
    POOL.with(|own| own.replace(pool));
}

/// Runs `wait`, which blocks and runs no user code. If this thread belongs to a pool, another thread takes its place
/// meanwhile.
pub(crate) fn blocking<R>(wait: impl FnOnce() -> R) -> R {
    // In the destructors of thread-locals, this one may already be gone.
    let pool = POOL.try_with(|pool| pool.borrow().clone()).ok().flatten();
    let Some(pool) = pool.filter(|_| only_if!(BlockedKeepsPlace, true)) else { return wait() };
    Arc::clone(&pool).block_begin();
    let waited = wait();
    pool.block_end();
    waited
}
