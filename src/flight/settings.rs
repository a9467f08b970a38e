//! [`Settings`]: what is fixed for all flights of a coalescer, including the user's callbacks.

use std::time::Duration;

use super::completion::{Completion, Cost};
use super::table::lingering::Linger;
use crate::observe::Observer;
use crate::panic::catch_panic;
use crate::policy::{OnDeadlock, OnFailure, OnOverflow};
use crate::sync::{self, Instant};

/// A policy for failures of one kind.
pub(crate) enum Policy<F: ?Sized> {
    Always(OnFailure),
    Ask(Box<F>),
}

pub(crate) type OnError<E> = dyn Fn(&E) -> OnFailure + Send + Sync;
pub(crate) type OnPanic = dyn Fn(&str) -> OnFailure + Send + Sync;

pub(crate) struct Settings<K, T, E> {
    pub(crate) name: Option<Box<str>>,
    pub(crate) key_label: Option<fn(&K) -> String>,
    pub(crate) track_age: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) patience: Option<Duration>,
    pub(crate) cost: Option<Box<Cost<T>>>,
    pub(crate) on_error: Policy<OnError<E>>,
    pub(crate) on_panic: Policy<OnPanic>,
    /// Which errors are the leader's alone, such as that its own time was up: a follower is elected whatever the policy,
    /// and they do not linger.
    pub(crate) is_own_error: Option<fn(&E) -> bool>,
    pub(crate) on_deadlock: OnDeadlock,
    pub(crate) max_followers: u64,
    pub(crate) max_followers_total: Option<u64>,
    pub(crate) on_overflow: OnOverflow,
    pub(crate) max_impatient: Option<u64>,
    pub(crate) max_batch: usize,
    pub(crate) on_full_pool: OnOverflow,
    pub(crate) cancel_when_abandoned: bool,
    pub(crate) linger: Linger,
    pub(crate) observers: Vec<Box<dyn Observer>>,
}

impl<K, T, E> Settings<K, T, E> {
    pub(crate) fn new() -> Self {
        Self {
            name: None,
            key_label: None,
            track_age: false,
            timeout: None,
            patience: None,
            cost: None,
            on_error: Policy::Always(OnFailure::Share),
            on_panic: Policy::Always(OnFailure::Share),
            is_own_error: None,
            on_deadlock: OnDeadlock::Refuse,
            max_followers: u64::MAX,
            max_followers_total: None,
            on_overflow: OnOverflow::Refuse,
            max_impatient: None,
            max_batch: usize::MAX,
            on_full_pool: OnOverflow::Refuse,
            cancel_when_abandoned: false,
            linger: Linger { values: None, errors: None, most: 1_000 },
            observers: Vec::new(),
        }
    }

    /// How many runs may follow the first, after a run that failed so. If the policy panics, 0.
    pub(super) fn elections(&self, completion: &Completion<T, E>) -> u32 {
        if self.is_own(completion) {
            return u32::MAX;
        }
        let on_failure = match (completion, &self.on_error, &self.on_panic) {
            (Completion::Value { .. } | Completion::Miscounted { .. }, ..) => OnFailure::Share,
            (Completion::Error(_), Policy::Always(on_failure), _)
            | (Completion::Panicked { .. }, _, Policy::Always(on_failure)) => *on_failure,
            (Completion::Error(error), Policy::Ask(ask), _) => catch_panic(|| ask(error)),
            (Completion::Panicked { message, .. }, _, Policy::Ask(ask)) => catch_panic(|| ask(message)),
        };
        on_failure.times()
    }

    /// From when until when this result lingers, if it does.
    pub(super) fn lingers(&self, completion: &Completion<T, E>) -> Option<(Instant, Instant)> {
        if self.is_own(completion) { None } else { self.linger.span(completion, sync::now()) }
    }

    /// Whether this concerns the leader alone.
    fn is_own(&self, completion: &Completion<T, E>) -> bool {
        match (completion, self.is_own_error) {
            (Completion::Error(error), Some(is_own)) => is_own(error),
            _ => false,
        }
    }

    /// Notifies the observers, one after the other. A panic in one of them is caught, and the others are still
    /// notified.
    pub(super) fn observe(&self, event: &dyn Fn(&dyn Observer)) {
        for observer in &self.observers {
            catch_panic(|| event(&**observer));
        }
    }

    pub(super) fn is_observed(&self) -> bool {
        !self.observers.is_empty()
    }

    /// Whether to read the clock when a flight begins.
    pub(super) fn is_timed(&self) -> bool {
        self.track_age || self.is_observed() || self.linger.is_on()
    }
}
