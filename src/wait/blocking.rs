//! A pool thread that blocks in a wait of ours gives its place to a spare thread to another.

use std::cell::RefCell;
use std::sync::Arc;

use crate::sync::{self, Fault, planted};

/// Whoever counts a thread as active, and is told when it blocks.
pub(crate) trait Compensate {
    /// The calling thread blocks.
    fn block_begin(self: Arc<Self>);

    /// The calling thread goes on.
    fn block_end(&self);
}

sync::per_thread! {
    /// Whoever counts this thread.
    static POOL: RefCell<Option<Arc<dyn Compensate>>> = RefCell::new(None);
}

/// Says who counts this thread from now on.
pub(crate) fn set_pool(pool: Option<Arc<dyn Compensate>>) {
    POOL.with(|own| own.replace(pool));
}

/// Runs `wait`, which blocks and runs no user code. If this thread belongs to a pool, another one takes its place.
pub(crate) fn blocking<R>(wait: impl FnOnce() -> R) -> R {
    // In the destructors of a thread's own values there may be none any more.
    let pool = POOL.try_with(|pool| pool.borrow().clone()).ok().flatten();
    let Some(pool) = pool.filter(|_| !planted(Fault::BlockedKeepsPlace)) else { return wait() };
    Arc::clone(&pool).block_begin();
    let waited = wait();
    pool.block_end();
    waited
}
