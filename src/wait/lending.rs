//! A pool thread that blocks in a wait of ours lends its place to another.

use std::cell::RefCell;
use std::sync::Arc;

use crate::sync::{self, Fault, planted};

/// Whoever counts a thread as active, and is told when it blocks.
pub(crate) trait Lender {
    /// The calling thread blocks.
    fn lend(self: Arc<Self>);

    /// The calling thread goes on.
    fn take_back(&self);
}

sync::per_thread! {
    /// Whoever counts this thread.
    static LENDER: RefCell<Option<Arc<dyn Lender>>> = RefCell::new(None);
}

/// Says who counts this thread from now on.
pub(crate) fn set_lender(lender: Option<Arc<dyn Lender>>) {
    LENDER.with(|own| own.replace(lender));
}

/// Runs `wait`, which blocks and runs no user code. If this thread belongs to a pool, another one takes its place.
pub(crate) fn lending<R>(wait: impl FnOnce() -> R) -> R {
    // In the destructors of a thread's own values there may be none any more.
    let lender = LENDER.try_with(|lender| lender.borrow().clone()).ok().flatten();
    let Some(lender) = lender.filter(|_| !planted(Fault::BlockedKeepsPlace)) else { return wait() };
    Arc::clone(&lender).lend();
    let waited = wait();
    lender.take_back();
    waited
}
