//! What this thread is, and how many flights it leads.

use std::cell::Cell;
use std::thread::ThreadId;

use crate::sync::{self, AtomicU64, Ordering};

/// The identity of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadToken {
    pub(crate) id: ThreadId,
    /// The same as a number other than 0, which fits into an atomic.
    pub(crate) number: u64,
}

/// This thread. It is cached, because std counts a reference up and down each time.
#[inline(always)]
pub(crate) fn this_thread() -> ThreadToken {
    sync::global! {
        static THREADS: AtomicU64 = AtomicU64::new(0);
    }
    sync::per_thread! {
        static ME: Cell<Option<ThreadToken>> = Cell::new(None);
    }
    ME.with(Cell::get).unwrap_or_else(|| {
        let me = ThreadToken { id: sync::thread_id(), number: THREADS.fetch_add(1, Ordering::Relaxed) + 1 };
        ME.with(|remembered| remembered.set(Some(me)));
        me
    })
}

sync::per_thread! {
    /// How many flights this thread leads.
    static LEADS: Cell<u32> = Cell::new(0);
}

#[inline]
pub(crate) fn begin_lead() {
    LEADS.with(|leads| leads.set(leads.get() + 1));
}

#[inline]
pub(crate) fn end_lead() {
    LEADS.with(|leads| leads.set(leads.get() - 1));
}

/// Whether this thread leads a flight: only then can one of its waits close a cycle.
pub(crate) fn leads_something() -> bool {
    LEADS.with(Cell::get) > 0
}
