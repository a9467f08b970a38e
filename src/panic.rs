//! Running and dropping user code that may panic.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[cfg(sync_coalesce_noise)]
use crate::sync;

/// Runs it; what it returns is the default if it panics.
pub(crate) fn catch_panic<R: Default>(code: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(code)).unwrap_or_else(|payload| {
        // What it panicked with may panic in its Drop, and what that panics with too: the second one is never dropped.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(again);
        }
        R::default()
    })
}

/// Runs a closure or pulls from a source. Nothing unwinds out of here. What a panic leaves behind belongs to what is
/// run, and nobody runs it again, so nobody sees it half done.
#[inline]
pub(crate) fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    #[cfg(sync_coalesce_noise)]
    sync::noise();
    let ran = catch_unwind(AssertUnwindSafe(work));
    #[cfg(sync_coalesce_noise)]
    sync::noise();
    ran
}

/// The text of a panic: what `panic!` was given, as far as it was text.
pub(crate) fn message(payload: &(dyn Any + Send)) -> Arc<str> {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a value that is not text").into()
}

/// A user's value, or none, that is dropped quietly.
///
/// A function that returns a lead or a place must not have anything in its hands whose Drop may panic: the compiler
/// forgets a value that is on its way out when something that is dropped after it panics (Rust's issue 47949), and a
/// lead that is forgotten is never ended.
#[must_use]
pub(crate) struct CatchDrop<V>(Option<V>);

impl<V> CatchDrop<V> {
    pub(crate) const NONE: Self = Self(None);

    pub(crate) fn new(value: V) -> Self {
        Self(Some(value))
    }

    pub(crate) fn get(&self) -> Option<&V> {
        self.0.as_ref()
    }

    pub(crate) fn take(&mut self) -> Option<V> {
        self.0.take()
    }
}

impl<V> Drop for CatchDrop<V> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            catch_panic(|| drop(value));
        }
    }
}
