//! The limits of a pacer, asked by one thread at a time.

use std::time::{Duration, Instant};

use super::LONGEST_PAUSE;
use super::bucket::Bucket;
use super::limit::Weights;
use super::throttle::{Permits, Throttle};
use crate::stack::pace::faults::Fault;
use crate::sync::also_if;

pub(super) struct Gate {
    buckets: Box<[Bucket]>,
    throttle: Option<Throttle>,
    concurrency: u32,
    /// The concurrent calls that only urgent callers may start.
    reserve: u32,
    running: u32,
    paused_until: Option<Instant>,
    /// How many permits were granted; also the number of the last one.
    granted: u64,
}

/// The answer of the gate.
pub(super) enum Admission {
    /// The caller is let through, and charged. Its permit has this number.
    Granted(u64),
    /// The caller should ask again then, or when it is notified.
    Wait(Option<Instant>),
}

impl Gate {
    pub(super) fn new(buckets: Box<[Bucket]>, throttle: Option<Throttle>, concurrency: u32, reserve: u32) -> Self {
        Self { buckets, throttle, concurrency, reserve, running: 0, paused_until: None, granted: 0 }
    }

    /// Takes from all limits or from none. A refusal changes nothing.
    pub(super) fn try_admit(&mut self, now: Instant, weights: &Weights, is_urgent: bool) -> Admission {
        if let Some(until) = self.paused_until.filter(|until| now < *until) {
            return Admission::Wait(Some(until));
        }
        let reserve = if is_urgent { 0 } else { self.reserve };
        if self.running >= self.concurrency - reserve {
            return Admission::Wait(None);
        }
        let throttle = self.throttle.as_ref();
        let mut refused: Option<Option<Instant>> = None;
        for (index, bucket) in self.buckets.iter_mut().enumerate() {
            let weight = weights.of(index, bucket.counts_calls);
            match bucket.ready(now, throttle, weight, is_urgent) {
                Err(until) => {
                    let later = |other: Option<Instant>| other.zip(until).map(|(other, until)| other.max(until));
                    refused = Some(refused.map_or(until, later));
                }
                Ok(()) if also_if!(ChargesInPart, false) => bucket.take(now, throttle, weight),
                Ok(()) => {}
            }
        }
        if let Some(until) = refused {
            return Admission::Wait(until);
        }
        for (index, bucket) in self.buckets.iter_mut().enumerate() {
            bucket.take(now, throttle, weights.of(index, bucket.counts_calls));
        }
        self.running += 1;
        self.granted += 1;
        Admission::Granted(self.granted)
    }

    /// Whether every limit could carry these weights, even if only after a wait; or else the first that could not.
    pub(super) fn carries(&self, weights: &Weights) -> Result<(), usize> {
        let buckets = self.buckets.iter().enumerate();
        let mut too_small = buckets.filter(|(index, bucket)| !bucket.carries(weights.of(*index, bucket.counts_calls)));
        too_small.next().map_or(Ok(()), |(index, _)| Err(index))
    }

    /// Corrects what a permit took from one limit.
    pub(super) fn correct(&mut self, now: Instant, index: usize, number: u64, taken: u64, used: u64) {
        self.buckets[index].correct(now, self.throttle.as_ref(), number, taken, used);
    }

    /// Whether a permit that says nothing else takes one from this limit.
    pub(super) fn counts_calls(&self, index: usize) -> bool {
        self.buckets[index].counts_calls
    }

    /// A permit is no longer held.
    pub(super) fn leave(&mut self, number: u64) {
        self.running -= 1;
        if let Some(throttle) = &mut self.throttle {
            throttle.left(number);
        }
    }

    /// A call was refused: that of the permit of this number, or any.
    pub(super) fn refused(&mut self, now: Instant, retry_after: Option<Duration>, number: Option<u64>) {
        if let Some(pause) = retry_after {
            self.paused_until = self.paused_until.max(now.checked_add(pause.min(LONGEST_PAUSE)));
        }
        self.fill(now);
        let permits = Permits { granted: self.granted, held: self.running };
        if let Some(throttle) = &mut self.throttle {
            throttle.refused(now, number, permits);
        }
    }

    pub(super) fn set_rate(&mut self, now: Instant, index: usize, per_second: f64, is_calls: bool) {
        self.fill(now);
        self.buckets[index].set_rate(per_second);
        if let Some(throttle) = self.throttle.as_mut().filter(|_| is_calls) {
            throttle.set_full(per_second);
        }
    }

    pub(super) fn set_quota(&mut self, now: Instant, index: usize, left: u64, reset: Duration) {
        let until = now.checked_add(reset.min(LONGEST_PAUSE)).filter(|_| !reset.is_zero());
        self.buckets[index].set_quota(left, until, self.granted);
    }

    fn fill(&mut self, now: Instant) {
        for bucket in &mut self.buckets {
            bucket.fill(now, self.throttle.as_ref());
        }
    }

    /// The rate of one limit, and what it has left.
    pub(super) fn limit(&self, index: usize, now: Instant) -> (f64, i128) {
        let (bucket, throttle) = (&self.buckets[index], self.throttle.as_ref());
        (bucket.rate(now, throttle), bucket.level(now, throttle))
    }

    pub(super) fn running(&self) -> u32 {
        self.running
    }
}
