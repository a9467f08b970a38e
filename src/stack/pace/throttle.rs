//! [`Throttle`]: how far a pacer is slowed down, as refusals and the calms after them have left it.

use std::time::Instant;

use super::adaptive::Adaptive;
use super::rate::{Ramp, Rate};
use crate::stack::pace::faults::Fault;
use crate::sync::also_if;

/// The slowdown of one pacer, the same for all its limits. It is computed when it is asked for; nothing happens as time
/// passes.
pub(super) struct Throttle {
    adaptive: Adaptive,
    /// The rate of calls when nothing slows them down.
    full: f64,
    last: Option<Refusal>,
    /// Which calls can still tell of what the last cut was about.
    window: Window,
}

/// The last refusal.
#[derive(Clone, Copy)]
struct Refusal {
    at: Instant,
    /// The part of the full rate that was left just after it: above 0, up to 1.
    fraction: f64,
}

/// The calls from before the last cut.
#[derive(Default)]
struct Window {
    /// The number of the last permit granted before the cut: `recover` in RFC 6582.
    recover: u64,
    /// How many permits of these calls are held.
    held: u32,
    /// How many of these calls may yet report that they were refused.
    unreported: u32,
}

/// What a throttle needs to know of the permits.
#[derive(Clone, Copy)]
pub(super) struct Permits {
    /// How many were granted; also the number of the last one.
    pub(super) granted: u64,
    pub(super) held: u32,
}

impl Throttle {
    pub(super) fn new(adaptive: Adaptive, full: f64) -> Self {
        Self { adaptive, full, last: None, window: Window::default() }
    }

    /// After a refusal: the call of this permit, or of any. Buckets are to be filled up to `now` before.
    pub(super) fn refused(&mut self, now: Instant, number: Option<u64>, permits: Permits) {
        let is_cut = also_if!(CutsForEach, self.begins_window(number, permits));
        let mut fraction = self.fraction(now);
        if is_cut {
            let floor = (self.adaptive.floor / self.full).min(1.0);
            fraction = (fraction * self.adaptive.decrease).max(floor);
            self.window =
                Window { recover: permits.granted, held: permits.held, unreported: permits.held.saturating_sub(1) };
        }
        // Also without a cut, the calm begins now.
        self.last = Some(Refusal { at: now, fraction });
    }

    /// Whether the refusal is about the rate since the last cut.
    fn begins_window(&mut self, number: Option<u64>, permits: Permits) -> bool {
        if self.last.is_none() {
            return true;
        }
        let window = &mut self.window;
        if let Some(number) = number {
            return number > window.recover;
        }
        if window.held > 0 && window.unreported > 0 {
            window.unreported -= 1;
            return false;
        }
        permits.granted > window.recover
    }

    /// A permit is no longer held.
    pub(super) fn left(&mut self, number: u64) {
        if number <= self.window.recover {
            self.window.held = self.window.held.saturating_sub(1);
        }
    }

    /// Buckets are to be filled up to now before.
    pub(super) fn set_full(&mut self, full: f64) {
        self.full = full;
    }

    fn fraction(&self, now: Instant) -> f64 {
        self.ramp(Rate::new(self.full)).map_or(1.0, |ramp| {
            let rate = ramp.rate(now);
            if rate == ramp.full { 1.0 } else { rate.per_second() / self.full }
        })
    }

    /// How the rate of one limit comes back; `None` if it is `full`.
    pub(super) fn ramp(&self, full: Rate) -> Option<Ramp> {
        let Refusal { at, fraction } = self.last?;
        Some(Ramp {
            since: at,
            low: full.times(fraction).min(full),
            step: full.times(self.adaptive.increase / self.full),
            calm: self.adaptive.calm,
            interval: self.adaptive.interval,
            full,
        })
    }
}
