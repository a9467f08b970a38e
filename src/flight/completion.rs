//! [`Completion`]: running a closure, and how it ended.

use std::any::Any;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use crate::error::CallError;
use crate::observe::RunOutcome;
use crate::outcome::Shared;
use crate::panic::{catch_panic, message};
use crate::sync::catch_unwind;

/// The builder's `cost`.
pub(crate) type Cost<T> = dyn Fn(&T) -> f64 + Send + Sync;

/// How a closure ended.
pub(crate) enum Completion<T, E> {
    Value {
        value: Arc<T>,
        cost: f64,
    },
    Error(Arc<E>),
    /// A batch's closure returned more or fewer values than it got keys.
    Miscounted {
        expected: usize,
        got: usize,
    },
    Panicked {
        message: Arc<str>,
        payload: Box<dyn Any + Send>,
    },
}

/// How a batch's closure ended for each key, or for all of them together if it panicked.
pub(super) type Completions<T, E> = Result<Vec<Completion<T, E>>, Completion<T, E>>;

/// Runs a closure. User code, with these outcomes: `work` returns a value, returns an error, or panics; for a value,
/// `cost` returns any number or panics.
pub(super) fn attempt<T, E>(work: impl FnOnce() -> Result<T, E>, cost: Option<&Cost<T>>) -> Completion<T, E> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => returned(result, cost),
        Err(payload) => panicked(payload),
    }
}

/// The same for a batch's closure, which answers for `expected` flights: how each of them ended, or all of them if it
/// panicked. `part` makes a result from one of its answers.
pub(super) fn attempt_many<R, T, E>(
    expected: usize,
    work: impl FnOnce() -> Result<Vec<R>, E>,
    part: fn(R) -> Result<T, E>,
    cost: Option<&Cost<T>>,
) -> Completions<T, E> {
    let work = || {
        let parts = work()?;
        let got = parts.len();
        if got == expected {
            return Ok(Ok(parts));
        }
        // One by one: two panics at once would end the process.
        for part in parts {
            catch_panic(|| drop(part));
        }
        Ok(Err(got))
    };
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(Ok(parts))) => Ok(parts.into_iter().map(|one| returned(part(one), cost)).collect()),
        Ok(Ok(Err(got))) => Ok((0..expected).map(|_| Completion::Miscounted { expected, got }).collect()),
        Ok(Err(error)) => {
            let error = Arc::new(error);
            Ok((0..expected).map(|_| Completion::Error(Arc::clone(&error))).collect())
        }
        Err(payload) => Err(panicked(payload)),
    }
}

#[inline]
fn returned<T, E>(result: Result<T, E>, cost: Option<&Cost<T>>) -> Completion<T, E> {
    match result {
        Ok(value) => {
            let cost = cost.map_or(0.0, |cost| catch_panic(|| cost(&value)));
            Completion::Value { value: Arc::new(value), cost: if cost.is_finite() { cost } else { 0.0 } }
        }
        Err(error) => Completion::Error(Arc::new(error)),
    }
}

fn panicked<T, E>(payload: Box<dyn Any + Send>) -> Completion<T, E> {
    Completion::Panicked { message: message(&*payload), payload }
}

impl<T, E> Completion<T, E> {
    /// The outcome for observers.
    pub(super) fn kind(&self) -> RunOutcome {
        match self {
            Self::Value { .. } => RunOutcome::Value,
            Self::Error(_) | Self::Miscounted { .. } => RunOutcome::Error,
            Self::Panicked { .. } => RunOutcome::Panic,
        }
    }

    /// The result for the followers.
    pub(super) fn shared(&self) -> Shared<T, E> {
        match self {
            Self::Value { value, .. } => Ok(Arc::clone(value)),
            Self::Error(error) => Err(CallError::Failed(Arc::clone(error))),
            Self::Miscounted { expected, got } => Err(CallError::WrongCount { expected: *expected, got: *got }),
            Self::Panicked { message, .. } => Err(CallError::LeaderPanicked { message: Arc::clone(message) }),
        }
    }

    /// Resumes the panic, if it is one.
    pub(super) fn resume_panic(self) {
        if let Self::Panicked { payload, .. } = self {
            resume_unwind(payload);
        }
    }

    /// The result for the caller whose closure it was. Its own panic goes on, unchanged.
    pub(super) fn into_result_or_resume(self) -> Shared<T, E> {
        match self {
            Self::Value { value, .. } => Ok(value),
            Self::Error(error) => Err(CallError::Failed(error)),
            Self::Miscounted { expected, got } => Err(CallError::WrongCount { expected, got }),
            Self::Panicked { payload, .. } => resume_unwind(payload),
        }
    }
}
