//! Running user code, and what can come of it.

use std::any::Any;
use std::panic::resume_unwind;
use std::sync::Arc;

use crate::error::CallError;
use crate::observe::RunOutcome;
use crate::outcome::Shared;
use crate::panic::{catch, catch_panic, message};

/// The builder's `cost`.
pub(crate) type Cost<T> = dyn Fn(&T) -> f64 + Send + Sync;

/// What came of a closure.
pub(crate) enum Completion<T, E> {
    Value {
        value: Arc<T>,
        cost: f64,
    },
    Error(Arc<E>),
    /// A batch's closure returned another number of values than it was asked for.
    Miscounted {
        expected: usize,
        got: usize,
    },
    Panicked {
        message: Arc<str>,
        payload: Box<dyn Any + Send>,
    },
}

/// What came of a batch's closure for each key, or for all of them together if it panicked.
pub(super) type Completions<T, E> = Result<Vec<Completion<T, E>>, Completion<T, E>>;

/// Runs user code, where each of these may happen: `work` returns a value, returns an error, or panics, and for a value
/// `cost` returns anything or panics.
pub(super) fn attempt<T, E>(work: impl FnOnce() -> Result<T, E>, cost: Option<&Cost<T>>) -> Completion<T, E> {
    match catch(work) {
        Ok(result) => returned(result, cost),
        Err(payload) => panicked(payload),
    }
}

/// The same for a batch's closure, which answers for as many flights as are `expected`: what came of each; or what came
/// of all of them, if it panicked. `part` says what one of its answers is.
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
        // One by one, for two that panic would end the process.
        for part in parts {
            catch_panic(|| drop(part));
        }
        Ok(Err(got))
    };
    match catch(work) {
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
    /// What an observer is told.
    pub(super) fn kind(&self) -> RunOutcome {
        match self {
            Self::Value { .. } => RunOutcome::Value,
            Self::Error(_) | Self::Miscounted { .. } => RunOutcome::Error,
            Self::Panicked { .. } => RunOutcome::Panic,
        }
    }

    /// What the followers get.
    pub(super) fn shared(&self) -> Shared<T, E> {
        match self {
            Self::Value { value, .. } => Ok(Arc::clone(value)),
            Self::Error(error) => Err(CallError::Failed(Arc::clone(error))),
            Self::Miscounted { expected, got } => Err(CallError::WrongCount { expected: *expected, got: *got }),
            Self::Panicked { message, .. } => Err(CallError::LeaderPanicked { message: Arc::clone(message) }),
        }
    }

    /// Goes on with the panic that this is, if it is one.
    pub(super) fn resume_panic(self) {
        if let Self::Panicked { payload, .. } = self {
            resume_unwind(payload);
        }
    }

    /// What the caller whose closure it was gets: its own panic goes on, unchanged.
    pub(super) fn into_result_or_resume(self) -> Shared<T, E> {
        match self {
            Self::Value { value, .. } => Ok(value),
            Self::Error(error) => Err(CallError::Failed(error)),
            Self::Miscounted { expected, got } => Err(CallError::WrongCount { expected, got }),
            Self::Panicked { payload, .. } => resume_unwind(payload),
        }
    }
}
