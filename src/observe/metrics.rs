//! [`MetricsObserver`]: counters, gauges and histograms for the `metrics` facade.

use std::fmt;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label, Unit, counter, gauge, histogram};
use metrics::{describe_counter, describe_gauge, describe_histogram};

use super::{FlightId, FollowerLeft, LeaveReason, Observer, RefusalReason, RunEnded, RunOutcome};

/// An [`Observer`] that records metrics through the [`metrics`](https://docs.rs/metrics) facade, for whichever recorder
/// the program installs, such as that of Prometheus.
///
/// | name | kind | what |
/// |---|---|---|
/// | `sync_coalesce_led_total` | counter | calls that took the lead, elected ones included |
/// | `sync_coalesce_joined_total` | counter | calls that joined a flight |
/// | `sync_coalesce_elected_total` | counter | followers that took the lead |
/// | `sync_coalesce_left_total` | counter | followers that left, by `reason`: `result`, `timed_out`, `impatient`, `cancelled`, `closed` |
/// | `sync_coalesce_failed_total` | counter | closures that returned an error |
/// | `sync_coalesce_panicked_total` | counter | closures that panicked |
/// | `sync_coalesce_refused_total` | counter | calls refused, by `reason`: `deadlock`, `overloaded`, `closed` |
/// | `sync_coalesce_running` | gauge | closures of leaders that run now |
/// | `sync_coalesce_following` | gauge | followers that wait now |
/// | `sync_coalesce_run_seconds` | histogram | how long closures ran |
/// | `sync_coalesce_wait_seconds` | histogram | how long followers waited, whatever ended it |
///
/// Each has the label `coalescer` if this one has a name. Runs that bypass coalescing are not among them:
/// [`Stats`](crate::Stats) counts those. The share of calls that needed no run of their own is
/// `rate(sync_coalesce_left_total{reason="result"}[5m])` over `rate(sync_coalesce_led_total[5m]) +
/// rate(sync_coalesce_joined_total[5m]) - rate(sync_coalesce_elected_total[5m])`, each in `sum by (coalescer)`.
///
/// **Install the recorder first.** Everything is described and registered when this observer is made, so that each series
/// begins with a zero and no event looks anything up. It keeps the recorder of that moment.
///
/// # Examples
///
/// ```
/// use sync_coalesce::SyncCoalesce;
/// use sync_coalesce::observe::MetricsObserver;
///
/// // The recorder is installed first, at the start of the program.
/// let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::builder()
///     .name("answers")
///     .observer(MetricsObserver::named("answers"))
///     .build();
/// assert_eq!(*coalesce.call("key", || 42).unwrap(), 42);
/// ```
pub struct MetricsObserver {
    led: Counter,
    joined: Counter,
    elected: Counter,
    left: LeftCounters,
    failed: Counter,
    panicked: Counter,
    refused: RefusedCounters,
    running: Gauge,
    following: Gauge,
    run_seconds: Histogram,
    wait_seconds: Histogram,
}

struct LeftCounters {
    result: Counter,
    timed_out: Counter,
    impatient: Counter,
    cancelled: Counter,
    closed: Counter,
    deadlock: Counter,
}

struct RefusedCounters {
    deadlock: Counter,
    overloaded: Counter,
    closed: Counter,
}

const LED: &str = "sync_coalesce_led_total";
const JOINED: &str = "sync_coalesce_joined_total";
const ELECTED: &str = "sync_coalesce_elected_total";
const LEFT: &str = "sync_coalesce_left_total";
const FAILED: &str = "sync_coalesce_failed_total";
const PANICKED: &str = "sync_coalesce_panicked_total";
const REFUSED: &str = "sync_coalesce_refused_total";
const RUNNING: &str = "sync_coalesce_running";
const FOLLOWING: &str = "sync_coalesce_following";
const RUN_SECONDS: &str = "sync_coalesce_run_seconds";
const WAIT_SECONDS: &str = "sync_coalesce_wait_seconds";

impl MetricsObserver {
    /// An observer whose metrics have no label `coalescer`: for a program with one coalescer, or one that does not tell
    /// them apart.
    #[must_use]
    pub fn new() -> Self {
        Self::labelled(&[])
    }

    /// An observer whose metrics have the label `coalescer` with this name, as a rule the builder's
    /// [`name`](crate::Builder::name).
    #[must_use]
    pub fn named(coalescer: impl Into<String>) -> Self {
        Self::labelled(&[Label::new("coalescer", coalescer.into())])
    }

    fn labelled(labels: &[Label]) -> Self {
        describe();
        let with_reason = |reason: &'static str| {
            let mut labels = labels.to_vec();
            labels.push(Label::new("reason", reason));
            labels
        };
        let left = |reason: LeaveReason| counter!(LEFT, with_reason(reason.as_str()));
        let refused = |reason: RefusalReason| counter!(REFUSED, with_reason(reason.as_str()));
        Self {
            led: counter!(LED, labels.iter()),
            joined: counter!(JOINED, labels.iter()),
            elected: counter!(ELECTED, labels.iter()),
            left: LeftCounters {
                result: left(LeaveReason::Result),
                timed_out: left(LeaveReason::TimedOut),
                impatient: left(LeaveReason::Impatient),
                cancelled: left(LeaveReason::Cancelled),
                closed: left(LeaveReason::Closed),
                deadlock: left(LeaveReason::Deadlock),
            },
            failed: counter!(FAILED, labels.iter()),
            panicked: counter!(PANICKED, labels.iter()),
            refused: RefusedCounters {
                deadlock: refused(RefusalReason::Deadlock),
                overloaded: refused(RefusalReason::Overloaded),
                closed: refused(RefusalReason::Closed),
            },
            running: gauge!(RUNNING, labels.iter()),
            following: gauge!(FOLLOWING, labels.iter()),
            run_seconds: histogram!(RUN_SECONDS, labels.iter()),
            wait_seconds: histogram!(WAIT_SECONDS, labels.iter()),
        }
    }

    fn waits_no_longer(&self, waited: Duration) {
        self.following.decrement(1.0);
        self.wait_seconds.record(waited);
    }
}

fn describe() {
    describe_counter!(LED, Unit::Count, "Calls that took the lead of a flight and ran their closure");
    describe_counter!(JOINED, Unit::Count, "Calls that joined a flight as followers");
    describe_counter!(ELECTED, Unit::Count, "Followers that took the lead after a failure");
    describe_counter!(LEFT, Unit::Count, "Followers that left a flight, by reason");
    describe_counter!(FAILED, Unit::Count, "Closures of leaders that returned an error");
    describe_counter!(PANICKED, Unit::Count, "Closures of leaders that panicked");
    describe_counter!(REFUSED, Unit::Count, "Calls that were refused, by reason");
    describe_gauge!(RUNNING, Unit::Count, "Closures of leaders that are running");
    describe_gauge!(FOLLOWING, Unit::Count, "Followers that are waiting");
    describe_histogram!(RUN_SECONDS, Unit::Seconds, "How long closures of leaders ran");
    describe_histogram!(WAIT_SECONDS, Unit::Seconds, "How long followers waited");
}

impl Observer for MetricsObserver {
    fn led(&self, _: &FlightId<'_>) {
        self.led.increment(1);
        self.running.increment(1.0);
    }

    fn joined(&self, _: &FlightId<'_>) {
        self.joined.increment(1);
        self.following.increment(1.0);
    }

    fn ended(&self, _: &FlightId<'_>, ended: &RunEnded) {
        self.running.decrement(1.0);
        match ended.outcome {
            RunOutcome::Value => {}
            RunOutcome::Error => self.failed.increment(1),
            RunOutcome::Panic => self.panicked.increment(1),
        }
        self.run_seconds.record(ended.duration);
    }

    fn left(&self, _: &FlightId<'_>, left: &FollowerLeft) {
        self.waits_no_longer(left.waited);
        let counters = &self.left;
        let counter = match left.reason {
            LeaveReason::Result => &counters.result,
            LeaveReason::TimedOut => &counters.timed_out,
            LeaveReason::Impatient => &counters.impatient,
            LeaveReason::Cancelled => &counters.cancelled,
            LeaveReason::Closed => &counters.closed,
            LeaveReason::Deadlock => &counters.deadlock,
        };
        counter.increment(1);
    }

    fn refused(&self, _: Option<&str>, reason: RefusalReason) {
        let counters = &self.refused;
        let counter = match reason {
            RefusalReason::Deadlock => &counters.deadlock,
            RefusalReason::Overloaded => &counters.overloaded,
            RefusalReason::Closed => &counters.closed,
        };
        counter.increment(1);
    }

    fn elected(&self, _: &FlightId<'_>, waited: Duration) {
        self.waits_no_longer(waited);
        self.elected.increment(1);
    }
}

impl Default for MetricsObserver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MetricsObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsObserver").finish_non_exhaustive()
    }
}
