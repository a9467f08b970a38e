//! What a coalescer has done and is doing: [`Stats`] in numbers, [`FlightInfo`] flight by flight.

use std::ops::AddAssign;
use std::thread::ThreadId;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// The counters of a coalescer, read at one moment.
///
/// Every call is counted exactly once, among the fields that [`calls`](Stats::calls) adds up. The fields under *parts*
/// count some of the same calls again from another side, and those under *live* say what is going on right now;
/// [`reset_stats`](crate::SyncCoalesce::reset_stats) leaves the live ones alone.
///
/// With `serde` it becomes one flat JSON object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that took the lead and ran their closure; counted when the lead is taken, whatever became of it.
    pub underlying_calls: u64,
    /// Calls that joined a flight as followers; counted on joining, and never taken back.
    pub coalesced_calls: u64,
    /// Calls that ran their closure without coalescing, the impatient apart, who were counted as they joined.
    pub bypassed: u64,
    /// Calls that got the result of a flight that had ended before, by the builder's [`linger`](crate::Builder::linger).
    pub lingered: u64,
    /// Calls refused because they would have waited for themselves. A key of a batch that had joined before that is
    /// among the coalesced ones instead.
    pub deadlocks: u64,
    /// Calls refused because a bound left no room for them.
    pub overloaded: u64,
    /// Calls refused because the coalescer was closed.
    pub closed: u64,
    /// Followers that took the lead, and so are among both the underlying and the coalesced calls;
    /// [`calls`](Stats::calls) counts them once.
    pub elected: u64,

    /// Part: runs of a closure, led or bypassed, that returned an error.
    pub failed: u64,
    /// Part: runs of a closure, led or bypassed, that panicked.
    pub panicked: u64,
    /// Part: followers that left at their deadline.
    pub timed_out: u64,
    /// Part: followers that [`cancel`](crate::SyncCoalesce::cancel) or [`close`](crate::SyncCoalesce::close) woke.
    pub cancelled: u64,
    /// Part: followers whose [`patience`](crate::Call::patience) ended and who ran their own closure; and keys of a
    /// batch that had joined when waiting for them would have closed a cycle, under
    /// [`OnDeadlock::Bypass`](crate::OnDeadlock::Bypass).
    pub impatient: u64,

    /// Live: flights that a new caller would join.
    pub in_flight: u64,
    /// Live: followers that have joined a flight and have not been released yet.
    pub following: u64,
    /// Live: closures running now, those of forgotten, cancelled and bypassed calls too, and those of detached flights
    /// that wait for a thread.
    pub running: u64,

    /// What the successful runs cost, in the unit of the builder's [`cost`](crate::Builder::cost).
    pub cost_spent: f64,
    /// What the followers that got a value would have cost on their own, in the same unit.
    pub cost_saved: f64,
}

impl Stats {
    /// All calls so far, each counted once.
    #[must_use]
    pub fn calls(&self) -> u64 {
        let led = self.underlying_calls.saturating_sub(self.elected);
        led + self.coalesced_calls + self.bypassed + self.lingered + self.refused()
    }

    /// Calls that were refused, for whatever reason: as many as had the role [`Refused`](crate::Role::Refused), apart from
    /// a batch's keys that had joined before and requests of which no key could be made.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.deadlocks + self.overloaded + self.closed
    }

    /// The share of calls, 0 to 1, that got a result without a run of their own, an error or a panic among them; 0 when
    /// there were none.
    ///
    /// Those that joined count, but for the elected and the impatient, who ran after all, and for those that left at
    /// their deadline or were cancelled, who got nothing. A follower that waits still counts already.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts beyond 2^53 needs no more digits")]
    pub fn coalesce_ratio(&self) -> f64 {
        let left = self.elected + self.impatient + self.timed_out + self.cancelled;
        match self.calls() {
            0 => 0.0,
            // After a reset, callers may leave whose joining is not counted any more.
            calls => (self.coalesced_calls.saturating_sub(left) + self.lingered) as f64 / calls as f64,
        }
    }

    /// Sets everything to zero but the live figures.
    pub(crate) fn reset(&mut self) {
        *self = Self { in_flight: self.in_flight, following: self.following, running: self.running, ..Self::default() };
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.underlying_calls += other.underlying_calls;
        self.coalesced_calls += other.coalesced_calls;
        self.bypassed += other.bypassed;
        self.lingered += other.lingered;
        self.deadlocks += other.deadlocks;
        self.overloaded += other.overloaded;
        self.closed += other.closed;
        self.elected += other.elected;
        self.failed += other.failed;
        self.panicked += other.panicked;
        self.timed_out += other.timed_out;
        self.cancelled += other.cancelled;
        self.impatient += other.impatient;
        self.in_flight += other.in_flight;
        self.following += other.following;
        self.running += other.running;
        self.cost_spent += other.cost_spent;
        self.cost_saved += other.cost_saved;
    }
}

/// One flight as [`flights`](crate::SyncCoalesce::flights) saw it, for a status page or the dump of a stuck process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FlightInfo<K> {
    /// What the flight is for.
    pub key: K,
    /// How many callers are waiting for its result.
    pub followers: u64,
    /// How long ago the flight began. `None` unless the builder's [`track_age`](crate::Builder::track_age), an observer
    /// or [linger](crate::Builder::linger) asked for time, since reading the clock costs as much as half a lone call.
    pub age: Option<Duration>,
    /// The thread that runs the closure; `None` while a follower is being elected, and while a detached flight waits
    /// for a thread. Serialised as its `Debug` text, such as `ThreadId(7)`.
    #[serde(serialize_with = "as_text")]
    pub leader: Option<ThreadId>,
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde demands a reference to the field")]
fn as_text<S: Serializer>(leader: &Option<ThreadId>, serializer: S) -> Result<S::Ok, S::Error> {
    leader.map(|leader| format!("{leader:?}")).serialize(serializer)
}
