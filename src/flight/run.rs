//! Running user code, and what can come of it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use super::settings::{Cost, quietly};
use crate::outcome::Shared;
use crate::{CallError, EndedAs};

/// What came of a closure.
pub(super) enum Ran<T, E> {
    Value { value: Arc<T>, cost: f64 },
    Error(Arc<E>),
    Panicked { message: Arc<str>, payload: Box<dyn Any + Send> },
}

/// Runs user code, where each of these may happen: `work` returns a value, returns an error, or panics, and for a value
/// `cost` returns anything or panics. Nothing unwinds out of here. What a panic leaves behind belongs to the closures,
/// and they are gone, so nobody sees it half done.
pub(super) fn attempt<T, E>(work: impl FnOnce() -> Result<T, E>, cost: Option<&Cost<T>>) -> Ran<T, E> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => {
            let cost = cost.map_or(0.0, |cost| quietly(|| cost(&value)));
            Ran::Value { value: Arc::new(value), cost: if cost.is_finite() { cost } else { 0.0 } }
        }
        Ok(Err(error)) => Ran::Error(Arc::new(error)),
        Err(payload) => Ran::Panicked { message: message(&*payload), payload },
    }
}

impl<T, E> Ran<T, E> {
    /// What an observer is told.
    pub(super) fn kind(&self) -> EndedAs {
        match self {
            Self::Value { .. } => EndedAs::Value,
            Self::Error(_) => EndedAs::Error,
            Self::Panicked { .. } => EndedAs::Panic,
        }
    }

    /// What the followers get.
    pub(super) fn shared(&self) -> Shared<T, E> {
        match self {
            Self::Value { value, .. } => Ok(Arc::clone(value)),
            Self::Error(error) => Err(CallError::Failed(Arc::clone(error))),
            Self::Panicked { message, .. } => Err(CallError::LeaderPanicked { message: Arc::clone(message) }),
        }
    }

    /// What the caller whose closure it was gets: its own panic goes on, unchanged.
    pub(super) fn into_result(self) -> Shared<T, E> {
        match self {
            Self::Value { value, .. } => Ok(value),
            Self::Error(error) => Err(CallError::Failed(error)),
            Self::Panicked { payload, .. } => resume_unwind(payload),
        }
    }
}

/// The text of a panic: what `panic!` was given, as far as it was text.
pub(crate) fn message(payload: &(dyn Any + Send)) -> Arc<str> {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a value that is not text").into()
}
