//! [`Observer`]: notified of each event, for metrics and traces.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod tracing;

use std::fmt;
use std::time::Duration;

#[cfg(feature = "metrics")]
pub use self::metrics::MetricsObserver;
#[cfg(feature = "tracing")]
pub use self::tracing::TracingObserver;

/// Is notified of what happens in a coalescer; given to [`Builder::observer`](crate::Builder::observer).
///
/// By default every method does nothing. Each is called on the thread that the event is about and under no lock, so it
/// may take its time, at the cost of that thread. A panic in one of them is caught and harms no flight.
///
/// # Order
///
/// The events of one thread come as they happen: [`led`](Observer::led), then one [`ended`](Observer::ended);
/// [`joined`](Observer::joined), then one [`left`](Observer::left), or one [`elected`](Observer::elected) and with it
/// `led`. Where a closure calls a coalescer, the events of that call come in between.
///
/// Between threads there is no order, since no lock is held. A follower's `joined` may come before its leader's `led`,
/// and its `left`, or its `elected` and `led` after an election, before the previous leader's `ended`.
///
/// Runs that bypass coalescing are not flights, and have no events. Neither have [tickets](crate::Ticket) that join.
///
/// # Calling back
///
/// An observer may call any coalescer; its calls are calls like any other. Those that it makes in
/// [`joined`](Observer::joined) come before the wait that the event is about. Until all observers have returned from it,
/// the caller counts as a follower, but it does not wait yet: nobody waits for it, it closes no cycle, and it cannot be
/// elected. If the flight fails meanwhile and no other follower waits, there is no election, and the caller gets the
/// failure. If its wait would then close a cycle, it is refused, or runs alone, as the builder's
/// [`on_deadlock`](crate::Builder::on_deadlock) says. It leaves with [`LeaveReason::Deadlock`] and stays among the
/// [coalesced](crate::Stats::coalesced_calls) calls; neither [`refused`](Observer::refused) nor
/// [`Stats::deadlocks`](crate::Stats::deadlocks) counts it.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use sync_coalesce::SyncCoalesce;
/// use sync_coalesce::observe::{FlightId, Observer, RunEnded, RunOutcome};
///
/// /// Counts the calls that failed.
/// struct Failures(&'static AtomicU64);
///
/// impl Observer for Failures {
///     fn ended(&self, _: &FlightId<'_>, ended: &RunEnded) {
///         if ended.outcome != RunOutcome::Value {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// static FAILURES: AtomicU64 = AtomicU64::new(0);
/// let coalesce: SyncCoalesce<String, u16, std::num::ParseIntError> =
///     SyncCoalesce::builder().observer(Failures(&FAILURES)).build();
/// coalesce.try_call("http", || "http".parse()).unwrap_err();
/// assert_eq!(FAILURES.load(Ordering::Relaxed), 1);
/// ```
pub trait Observer: Send + Sync {
    /// A call took the lead, at first or after an election, and its closure is about to run.
    fn led(&self, flight: &FlightId<'_>) {
        let _ = flight;
    }

    /// A call joined as a follower, and waits when its observers have returned.
    fn joined(&self, flight: &FlightId<'_>) {
        let _ = flight;
    }

    /// A closure ended, and with it its flight, unless the lead was offered to a follower.
    fn ended(&self, flight: &FlightId<'_>, ended: &RunEnded) {
        let _ = (flight, ended);
    }

    /// A follower left, with a result or without.
    fn left(&self, flight: &FlightId<'_>, left: &FollowerLeft) {
        let _ = (flight, left);
    }

    /// A call of the coalescer with this [`name`](crate::Builder::name) was refused before it joined a flight, because of
    /// a deadlock, a bound, or a closed coalescer.
    fn refused(&self, coalescer: Option<&str>, reason: RefusalReason) {
        let _ = (coalescer, reason);
    }

    /// A follower was elected after it had waited this long; [`led`](Observer::led) comes next.
    fn elected(&self, flight: &FlightId<'_>, waited: Duration) {
        let _ = (flight, waited);
    }
}

/// Which flight an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FlightId<'a> {
    /// The coalescer's [`name`](crate::Builder::name).
    pub coalescer: Option<&'a str>,
    /// The flight's number, which no other flight of the coalescer has.
    pub number: u64,
}

impl fmt::Display for FlightId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.coalescer.unwrap_or("flight"), self.number)
    }
}

/// How a closure ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunEnded {
    /// How many followers got its result; 0 if the lead was offered to one of them.
    pub followers: u64,
    /// How long the closure ran, including the builder's [`cost`](crate::Builder::cost) after it.
    pub duration: Duration,
    /// How it ended.
    pub outcome: RunOutcome,
}

/// How a closure ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunOutcome {
    /// It returned a value.
    Value,
    /// It returned an error.
    Error,
    /// It panicked.
    Panic,
}

impl RunOutcome {
    /// The outcome in one word, as metrics and traces have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Error => "error",
            Self::Panic => "panic",
        }
    }
}

/// How a follower left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FollowerLeft {
    /// How long it waited.
    pub waited: Duration,
    /// Why it stopped waiting.
    pub reason: LeaveReason,
}

/// Why a follower stopped waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaveReason {
    /// The flight ended, and it has the result.
    Result,
    /// Its deadline passed.
    TimedOut,
    /// Its patience ended, and it runs its own closure.
    Impatient,
    /// The flight was cancelled.
    Cancelled,
    /// The coalescer was closed.
    Closed,
    /// Its wait would have closed a cycle by the time it came to wait: a key of a batch, or a call whose observers took
    /// their time. It is refused, or runs its own closure.
    Deadlock,
}

impl LeaveReason {
    /// The reason in one word, as metrics and traces have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Result => "result",
            Self::TimedOut => "timed_out",
            Self::Impatient => "impatient",
            Self::Cancelled => "cancelled",
            Self::Closed => "closed",
            Self::Deadlock => "deadlock",
        }
    }
}

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalReason {
    /// It would have waited for itself.
    Deadlock,
    /// There were too many followers.
    Overloaded,
    /// The coalescer was closed.
    Closed,
}

impl RefusalReason {
    /// The reason in one word, as metrics and traces have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadlock => "deadlock",
            Self::Overloaded => "overloaded",
            Self::Closed => "closed",
        }
    }
}
