//! Running user code, and dropping user values, where a panic must not get out.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Runs `code`. If it panics, returns the default.
pub(crate) fn catch_panic<R: Default>(code: impl FnOnce() -> R) -> R {
    let (mut code, mut returned) = (Some(code), None);
    contain(&mut || returned = code.take().map(|code| code()));
    returned.unwrap_or_default()
}

/// Runs `code`, and drops its panic. Apart from [`catch_panic`], because what catches is much code, and would be compiled for
/// each closure.
fn contain(code: &mut dyn FnMut()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(code)) {
        // The payload may panic in its Drop, and so may the payload of that panic: the second one is never dropped.
        if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(again);
        }
    }
}

/// The message of a panic, if its payload is text.
pub(crate) fn message(payload: &(dyn Any + Send)) -> Arc<str> {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a value that is not text").into()
}

/// A user's value, or none, whose panic in `Drop` is caught.
///
/// A function that returns a lead or a seat must not hold anything else whose `Drop` may panic: the compiler forgets a
/// value that is being returned if something that is dropped after it panics (Rust's issue 47949), and a flight whose
/// lead is forgotten never ends.
#[must_use]
pub(crate) struct CatchDrop<V>(Option<V>);

impl<V> CatchDrop<V> {
    pub(crate) const NONE: Self = Self(None);

    pub(crate) fn new(value: V) -> Self {
        Self(Some(value))
    }

    pub(crate) fn new_option(value: Option<V>) -> Self {
        Self(value)
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
