//! Every lock, condition variable, thread and thread-local that the crate uses, so that a model checker can stand in
//! for all of them.
//!
//! `clippy.toml` forbids naming them elsewhere. This file holds what does not depend on where they come from:
//! `sync/system.rs` takes them from the system, and `sync/checked.rs`, for tests built with `--cfg
//! sync_coalesce_shuttle`, from the model checker.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "this is where they are named")]

#[cfg(sync_coalesce_shuttle)]
mod checked;
#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod counted;
#[cfg(sync_coalesce_noise)]
mod noise;
mod planted;
#[cfg(not(sync_coalesce_shuttle))]
mod system;

use std::num::NonZeroUsize;
// For a closure, or one pull of a source: a panic can leave only its own state half done, and it is not run again.
#[cfg(not(sync_coalesce_noise))]
pub(crate) use std::panic::catch_unwind;
pub(crate) use std::sync::atomic::Ordering;
use std::thread::{self, ThreadId};
pub(crate) use std::time::Instant;

use once_cell::race::OnceNonZeroUsize;

#[cfg(sync_coalesce_shuttle)]
pub(crate) use self::checked::*;
#[cfg(all(test, not(sync_coalesce_shuttle)))]
pub(crate) use self::counted::{Counts, during as counted_during};
#[cfg(sync_coalesce_noise)]
pub(crate) use self::noise::catch_unwind;
pub(crate) use self::planted::{Faults, also_if, faults, is_planted, only_if, step};
#[cfg(not(sync_coalesce_shuttle))]
pub(crate) use self::system::*;

pub(crate) fn thread_id() -> ThreadId {
    thread::current().id()
}

/// How many threads can run at once here. The system is asked only once, because it reads files to answer.
pub(crate) fn parallelism() -> NonZeroUsize {
    // Two threads may both ask, without waiting for each other.
    static PARALLELISM: OnceNonZeroUsize = OnceNonZeroUsize::new();
    PARALLELISM.get_or_init(|| thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
}

/// Declares a place, one per thread, where a value waits between two uses.
///
/// The value is taken out as a whole: code that re-enters on the same thread finds the place empty, and a panic in
/// between loses the spare value and nothing else. While the thread is being torn down, the place is always empty.
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

            /// Takes the spare value out.
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
