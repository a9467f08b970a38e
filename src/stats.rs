//! [`Stats`], the counters of a coalescer, and [`FlightInfo`], one of its flights.

use std::ops::AddAssign;
use std::thread::ThreadId;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// The counters of a coalescer, read at one moment.
///
/// Every call is counted exactly once among the fields that [`calls`](Stats::calls) adds up. Fields marked *part* count
/// some of the same calls by how they ended. Fields marked *live* are about this moment, and
/// [`reset_stats`](crate::SyncCoalesce::reset_stats) leaves them alone.
///
/// `serde` makes one flat JSON object of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that took the lead and ran their closure; counted when the lead is taken, however the run ends.
    pub underlying_calls: u64,
    /// Calls that joined a flight as followers; counted on joining, and never decreased.
    pub coalesced_calls: u64,
    /// Calls that ran their closure uncoalesced, except impatient ones, which were counted when they joined.
    pub bypassed: u64,
    /// Calls that got a result that [lingers](crate::Builder::linger).
    pub lingered: u64,
    /// Calls refused because they would have waited for themselves. One that had joined a flight before is among the
    /// coalesced calls instead: a batch's key, or a call whose [observers](crate::observe::Observer) ran first.
    pub deadlocks: u64,
    /// Calls refused because they exceeded a bound.
    pub overloaded: u64,
    /// Calls refused because the coalescer was closed.
    pub closed: u64,
    /// Followers that claimed the lead. They are among both the underlying and the coalesced calls, and
    /// [`calls`](Stats::calls) counts them once.
    pub elected: u64,

    /// Part: runs of a closure, led or bypassed, that returned an error.
    pub failed: u64,
    /// Part: runs of a closure, led or bypassed, that panicked.
    pub panicked: u64,
    /// Part: followers whose deadline passed.
    pub timed_out: u64,
    /// Part: followers that [`cancel`](crate::SyncCoalesce::cancel) or [`close`](crate::SyncCoalesce::close) woke.
    pub cancelled: u64,
    /// Part: followers whose [`patience`](crate::Call::patience) ran out, and that ran their own closure; and, with
    /// [`OnDeadlock::Bypass`](crate::OnDeadlock::Bypass), those that had joined a flight when waiting for it would have
    /// closed a cycle.
    pub impatient: u64,

    /// Live: flights that a new caller can join.
    pub in_flight: u64,
    /// Live: followers that wait now.
    pub following: u64,
    /// Live: closures that run now, including those of forgotten, cancelled and bypassed calls, and those of detached
    /// flights that wait for a thread.
    pub running: u64,

    /// The cost of all successful runs, in the unit of the builder's [`cost`](crate::Builder::cost).
    pub cost_spent: f64,
    /// What the followers that got a value would have cost by themselves, in the same unit.
    pub cost_saved: f64,
}

impl Stats {
    /// All calls so far, each counted once.
    #[must_use]
    pub fn calls(&self) -> u64 {
        let led = self.underlying_calls.saturating_sub(self.elected);
        led + self.coalesced_calls + self.bypassed + self.lingered + self.refused()
    }

    /// Calls that were refused, for any reason. These are the calls with the role [`Refused`](crate::Role::Refused),
    /// except those that had joined a flight before, and requests from which no key can be made.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.deadlocks + self.overloaded + self.closed
    }

    /// The share of calls, 0 to 1, that got a result (a value, an error or another caller's panic) without a run of
    /// their own; 0 if there were no calls.
    ///
    /// Calls that joined a flight count, except those that ran after all (elected or impatient) and those that got
    /// nothing (their deadline passed, or they were cancelled). A follower that still waits counts already.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts beyond 2^53 needs no more digits")]
    pub fn coalesce_ratio(&self) -> f64 {
        let left = self.elected + self.impatient + self.timed_out + self.cancelled;
        match self.calls() {
            0 => 0.0,
            // After a reset, callers may leave that joined before it.
            calls => (self.coalesced_calls.saturating_sub(left) + self.lingered) as f64 / calls as f64,
        }
    }

    /// Sets everything to zero except the live figures.
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

/// One flight at the moment of [`flights`](crate::SyncCoalesce::flights), for a status page or the dump of a stuck
/// process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FlightInfo<K> {
    /// The flight's key.
    pub key: K,
    /// How many callers wait for its result.
    pub followers: u64,
    /// How long ago the flight began. `None` unless the builder's [`track_age`](crate::Builder::track_age), an observer
    /// or [`linger`](crate::Builder::linger) asks for it: reading the clock costs half as much as a lone call.
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
