//! Every lock, condition variable, thread and thread-local that the crate uses, so that a model checker can stand in for all of them.
//!
//! `clippy.toml` forbids naming them elsewhere.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "this is where they are named")]

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::sync::PoisonError;
pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ThreadId};
pub(crate) use std::time::Instant;

use once_cell::race::OnceNonZeroUsize;

/// A `static`.
macro_rules! global {
    ($(#[$attribute:meta])* static $name:ident: $kind:ty = $value:expr;) => {
        $(#[$attribute])*
        static $name: $kind = $value;
    };
}
pub(crate) use global;

/// A `static` of each thread.
macro_rules! per_thread {
    ($(#[$attribute:meta])* static $name:ident: $kind:ty = $value:expr;) => {
        ::std::thread_local! {
            #[expect(clippy::disallowed_types, reason = "written in src/sync.rs, expanded elsewhere")]
            $(#[$attribute])*
            static $name: $kind = const { $value };
        }
    };
}
pub(crate) use per_thread;

/// The lock of a shard.
pub(crate) struct Mutex<S>(parking_lot::Mutex<S>);

impl<S> Mutex<S> {
    pub(crate) const fn new(state: S) -> Self {
        Self(parking_lot::Mutex::new(state))
    }

    pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, S> {
        self.0.lock()
    }
}

/// A lock and the condition variable that goes with it: the meeting point of one flight.
///
/// std's pair and not `parking_lot`'s, whose `notify_all` moves every waiter onto the mutex, to be woken one after
/// another. No user code runs under the lock, so it cannot be poisoned, and poison is ignored.
pub(crate) struct Monitor<S> {
    state: std::sync::Mutex<S>,
    changed: std::sync::Condvar,
}

pub(crate) type MonitorGuard<'a, S> = std::sync::MutexGuard<'a, S>;

impl<S> Monitor<S> {
    pub(crate) fn new(state: S) -> Self {
        Self { state: std::sync::Mutex::new(state), changed: std::sync::Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MonitorGuard<'_, S> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until notified or until `deadline`; may also wake for no reason.
    pub(crate) fn wait<'a>(&self, guard: MonitorGuard<'a, S>, deadline: Option<Instant>) -> MonitorGuard<'a, S> {
        match deadline {
            None => self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let woken = self.changed.wait_timeout(guard, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    pub(crate) fn notify_one(&self) {
        self.changed.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        self.changed.notify_all();
    }
}

/// The thread that this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Me {
    pub(crate) id: ThreadId,
    /// The same as a number that is not 0, which fits into an atomic.
    pub(crate) number: u64,
}

/// This thread, remembered: `std::thread::current()` counts a reference up and down each time.
pub(crate) fn me() -> Me {
    global! {
        static THREADS: AtomicU64 = AtomicU64::new(0);
    }
    per_thread! {
        static ME: Cell<Option<Me>> = Cell::new(None);
    }
    ME.with(|me| {
        me.get().unwrap_or_else(|| {
            let number = THREADS.fetch_add(1, Ordering::Relaxed) + 1;
            me.set(Some(Me { id: thread::current().id(), number }));
            Me { id: thread::current().id(), number }
        })
    })
}

pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn has_passed(deadline: Instant) -> bool {
    now() >= deadline
}

/// How many threads can run at once here; asked of the system once, which reads files to answer.
pub(crate) fn parallelism() -> NonZeroUsize {
    // Two threads may both ask, and neither waits for the other.
    static PARALLELISM: OnceNonZeroUsize = OnceNonZeroUsize::new();
    PARALLELISM.get_or_init(|| thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

/// Declares a place, one per thread, where a value waits between two uses.
///
/// The value is taken out whole: who re-enters on the same thread finds the place empty, and a panic in between loses
/// the spare value and nothing else. While the thread is being torn down the place is always empty.
macro_rules! spare_per_thread {
    ($(#[$attribute:meta])* $place:ident: $kind:ty) => {
        $(#[$attribute])*
        struct $place;

        impl $place {
            #[expect(clippy::disallowed_types, reason = "written in src/sync.rs, expanded elsewhere")]
            fn with<R>(visit: impl FnOnce(&::std::cell::Cell<Option<$kind>>) -> R) -> Option<R> {
                ::std::thread_local! {
                    static SPARE: ::std::cell::Cell<Option<$kind>> = const { ::std::cell::Cell::new(None) };
                }
                SPARE.try_with(visit).ok()
            }

            /// The spare value, which is then no longer there.
            fn take() -> Option<$kind> {
                Self::with(::std::cell::Cell::take).flatten()
            }

            /// Leaves a value for the next use on this thread.
            fn put(value: $kind) {
                // On a thread that is ending there is no next use; the value is dropped.
                let _: Option<()> = Self::with(|place| place.set(Some(value)));
            }
        }
    };
}

pub(crate) use spare_per_thread;
