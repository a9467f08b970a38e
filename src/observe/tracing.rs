//! [`TracingObserver`]: a span for each run of a closure, and events for followers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tracing::field::Empty;
use tracing::{Span, debug, info_span, warn};

use super::{FlightId, FollowerLeft, Observer, RefusalReason, RunEnded};
use crate::sync::Mutex;
use crate::wait::thread::this_thread;

/// What filters know spans and events by.
const TARGET: &str = "sync_coalesce";

/// An [`Observer`] that makes spans and events through the [`tracing`](https://docs.rs/tracing) facade, for whichever
/// subscriber the program installs. All have the target `sync_coalesce`.
///
/// Each run of a leader's closure is a span `flight`, at level `INFO`:
///
/// | field | what |
/// |---|---|
/// | `coalescer` | the coalescer's [`name`](crate::Builder::name), if it has one |
/// | `flight` | the flight's number; the runs of a flight that is elected on have the same |
/// | `followers` | at the end: how many followers were given the result; 0 if the lead was handed over |
/// | `outcome` | at the end: `value`, `error` or `panic` |
///
/// It is a child of the span that the leader called in, and is entered on the leader's thread while the closure runs,
/// so what the closure makes of spans and events is inside it. Each follower's span, the one that it called in,
/// [follows from](Span::follows_from) each run that it waits for. Two cases have no such link: a follower that called
/// in no span; and one that was told of having joined only after the run was over, as no lock holds either of them up.
///
/// Events, inside the span that the caller called in: `joined`, `left` with `reason` and `waited_seconds`, and
/// `elected` with `waited_seconds`, at level `DEBUG`; `refused` with `reason` at level `WARN`.
///
/// Give each coalescer one of its own: flights are known by their numbers. All threads are taken to have one
/// subscriber, the global one as a rule.
///
/// # Examples
///
/// ```
/// use sync_coalesce::SyncCoalesce;
/// use sync_coalesce::observe::TracingObserver;
/// use tracing::Span;
///
/// let coalesce: SyncCoalesce<String, u32> =
///     SyncCoalesce::builder().name("answers").observer(TracingObserver::new()).build();
///
/// // A program installs its subscriber once, at its start.
/// # #[cfg(feature = "test-tracing")]
/// tracing::subscriber::with_default(tracing_subscriber::registry(), || {
///     coalesce.call("key", || {
///         assert_eq!(Span::current().metadata().unwrap().name(), "flight");
///         42
///     })
/// })
/// .unwrap();
/// ```
pub struct TracingObserver {
    /// The flights in which a closure runs or a follower waits, by number.
    flights: Mutex<BTreeMap<u64, Parties>>,
}

/// The callers in a flight, each by its thread, which is in it once at a time.
///
/// A span calls its subscriber when it is cloned or dropped, which must not happen under the lock. An `Arc` does not,
/// unless it is the last one.
#[derive(Default)]
struct Parties {
    /// The runs, in the order in which they began: one, and for an instant two when another caller claims the lead.
    runs: Vec<(u64, Arc<Span>)>,
    /// The spans in which the followers called.
    followers: BTreeMap<u64, Arc<Span>>,
}

impl TracingObserver {
    /// An observer for one coalescer.
    #[must_use]
    pub fn new() -> Self {
        Self { flights: Mutex::new(BTreeMap::new()) }
    }

    /// Adds the run that begins on this thread. Returns the spans of the followers that wait for it.
    fn begin(&self, flight: u64, run: Arc<Span>) -> Vec<Arc<Span>> {
        let mut flights = self.flights.lock();
        let parties = flights.entry(flight).or_default();
        parties.runs.push((this_thread().number, run));
        parties.followers.values().cloned().collect()
    }

    /// Adds the follower on this thread. Returns the span of the run that it waits for, if that is known yet.
    fn join(&self, flight: u64, follower: Arc<Span>) -> Option<Arc<Span>> {
        let mut flights = self.flights.lock();
        let parties = flights.entry(flight).or_default();
        let replaced = parties.followers.insert(this_thread().number, follower);
        let run = parties.runs.last().map(|(_, run)| Arc::clone(run));
        drop(flights);
        drop(replaced);
        run
    }

    /// Removes a span of this thread, and the flight if nobody is left in it. The span is returned to be dropped under
    /// no lock.
    fn take(&self, flight: u64, party: impl FnOnce(&mut Parties, u64) -> Option<Arc<Span>>) -> Option<Arc<Span>> {
        let mut flights = self.flights.lock();
        let parties = flights.get_mut(&flight)?;
        let taken = party(parties, this_thread().number);
        if parties.runs.is_empty() && parties.followers.is_empty() {
            flights.remove(&flight);
        }
        taken
    }

    fn take_follower(&self, flight: u64) {
        drop(self.take(flight, |parties, thread| parties.followers.remove(&thread)));
    }
}

/// Records that what happens in `follower` comes of `run`.
fn link(follower: &Span, run: &Span) {
    // A thread that the closure started may follow in the run's own span.
    if follower.id() != run.id() {
        follower.follows_from(run.id());
    }
}

// The state is changed first and the subscriber called last, so that a panic in it leaves nothing behind.
impl Observer for TracingObserver {
    fn led(&self, flight: &FlightId<'_>) {
        let run = Arc::new(info_span!(
            target: TARGET,
            "flight",
            coalescer = flight.coalescer,
            flight = flight.number,
            followers = Empty,
            outcome = Empty,
        ));
        if run.is_disabled() {
            return;
        }
        let followers = self.begin(flight.number, Arc::clone(&run));
        // Left in `ended`, on this thread. The guards that the facade has for this could not be shared.
        run.with_subscriber(|(id, subscriber)| subscriber.enter(id));
        for follower in followers {
            link(&follower, &run);
        }
    }

    fn joined(&self, flight: &FlightId<'_>) {
        let follower = Arc::new(Span::current());
        if !follower.is_disabled() {
            if let Some(run) = self.join(flight.number, Arc::clone(&follower)) {
                link(&follower, &run);
            }
        }
        debug!(target: TARGET, coalescer = flight.coalescer, flight = flight.number, "joined");
    }

    fn ended(&self, flight: &FlightId<'_>, ended: &RunEnded) {
        let mine = |parties: &mut Parties, thread| {
            let place = parties.runs.iter().rposition(|(runner, _)| *runner == thread)?;
            Some(parties.runs.remove(place).1)
        };
        let Some(run) = self.take(flight.number, mine) else { return };
        run.with_subscriber(|(id, subscriber)| subscriber.exit(id));
        run.record("followers", ended.followers);
        run.record("outcome", ended.outcome.as_str());
    }

    fn left(&self, flight: &FlightId<'_>, left: &FollowerLeft) {
        self.take_follower(flight.number);
        debug!(
            target: TARGET,
            coalescer = flight.coalescer,
            flight = flight.number,
            reason = left.reason.as_str(),
            waited_seconds = left.waited.as_secs_f64(),
            "left",
        );
    }

    fn refused(&self, coalescer: Option<&str>, reason: RefusalReason) {
        warn!(target: TARGET, coalescer, reason = reason.as_str(), "refused");
    }

    fn elected(&self, flight: &FlightId<'_>, waited: Duration) {
        self.take_follower(flight.number);
        debug!(
            target: TARGET,
            coalescer = flight.coalescer,
            flight = flight.number,
            waited_seconds = waited.as_secs_f64(),
            "elected",
        );
    }
}

impl Default for TracingObserver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TracingObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracingObserver").field("flights", &self.flights.lock().len()).finish()
    }
}
