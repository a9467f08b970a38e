//! [`Observer`]: being told of each event, for metrics and traces.

use std::fmt;
use std::time::Duration;

/// Is told what happens in a coalescer; given to [`Builder::observer`](crate::Builder::observer).
///
/// Every method does nothing unless it is written. Each is called in the thread that the event is about and under no lock, so it
/// may take its time, at the cost of that thread. A panic in one of them is dropped and harms no flight.
pub trait Observer: Send + Sync {
    /// A call took the lead, at first or after an election, and its closure is about to run.
    fn led(&self, flight: &FlightId<'_>) {
        let _ = flight;
    }

    /// A call joined as a follower and is about to wait.
    fn joined(&self, flight: &FlightId<'_>) {
        let _ = flight;
    }

    /// A closure ended, and its flight with it or the lead is free.
    fn ended(&self, flight: &FlightId<'_>, ended: &Ended) {
        let _ = (flight, ended);
    }

    /// A follower left, with a result or without.
    fn left(&self, flight: &FlightId<'_>, left: &Left) {
        let _ = (flight, left);
    }

    /// A call was refused: because of a deadlock, a crowd, or a coalescer that is closed.
    fn refused(&self, refused: Refused) {
        let _ = refused;
    }

    /// A follower was elected; [`led`](Observer::led) comes next.
    fn elected(&self, flight: &FlightId<'_>) {
        let _ = flight;
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
pub struct Ended {
    /// How many followers were given its result; none if the lead was handed over.
    pub followers: u64,
    /// How long the closure ran.
    pub duration: Duration,
    /// What it came to.
    pub outcome: EndedAs,
}

/// What a closure came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndedAs {
    /// It returned a value.
    Value,
    /// It returned an error.
    Error,
    /// It panicked.
    Panic,
}

/// How a follower left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// How long it waited.
    pub waited: Duration,
    /// Why it waits no longer.
    pub why: LeftWith,
}

/// Why a follower waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeftWith {
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
}

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// It would have waited for itself.
    Deadlock,
    /// There were too many followers.
    Overloaded,
    /// The coalescer was closed.
    Closed,
}
