//! The protocol against a sequential model of it, in one thread: every order of enter, end, elect, forget, cancel,
//! leave and close. What a follower that does not wait yet shows is in the modules beneath.

mod deferred;
mod support;
mod vacant;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use crate::error::CallError;
use crate::flight::enter::{Entry, WaitMode};
use crate::flight::flights::Flights;
use crate::flight::follow::{Follower, Waited};
use crate::flight::lead::LeaderGuard;
use crate::flight::settings::{Policy, Settings};
use crate::options::CallOptions;
use crate::outcome::{Mark, Outcome, Role, Shared};
use crate::policy::OnFailure;
use crate::stats::Stats;
use crate::sync;
use crate::wait::limits::WaitLimits;
use crate::wait::thread;

/// Few keys, so that flights meet: two with one hash, one whose hash shares their bit of the filter, and one apart.
const KEYS: u8 = 4;

/// How many runs may follow a first one that returned an error. A panic is shared.
const ELECTIONS: u32 = 1;

fn hash(key: u8) -> u64 {
    [0, 0, 64, 1][usize::from(key)]
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Mark,
    /// Whether the call is after the last mark.
    Enter(u8, bool),
    /// Lets one of the running leaders end; the index is taken modulo their number.
    End(usize, End),
    /// One of the followers wakes, if there is something to see: a result, or a vacant lead.
    Look(usize),
    /// One of the followers wakes at its deadline.
    Leave(usize),
    Forget(u8),
    Cancel(u8),
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Value,
    Error,
    Panic,
    /// The lead goes away without being run.
    Abandon,
}

/// A fault like those that peers have shipped, planted to see that the model notices.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The end of a flight removes whichever flight is there under its key.
    RemoveByKey,
    /// A caller gets a result that belongs to the flight before.
    LateJoin,
    /// A follower leaves without being uncounted.
    LeaveUncounted,
    /// A follower leads although its deadline has passed.
    LeadLate,
}

/// What the model knows of a flight.
struct Flown {
    key: u8,
    mark: u64,
    runs: u32,
    free: bool,
    followers: u64,
    ended: Option<Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ended {
    As(End),
    Cancelled,
    Closed,
}

struct Checker<'a> {
    flights: &'a Flights<u8, u64, u64>,
    fault: Fault,
    mark: Mark,
    closed: bool,
    flown: Vec<Flown>,
    joinable: BTreeMap<u8, usize>,
    leads: Vec<(usize, LeaderGuard<'a, u8, u64, u64>)>,
    follows: Vec<(usize, Follower<'a, u8, u64, u64>)>,
    expected: Stats,
}

impl<'a> Checker<'a> {
    fn new(flights: &'a Flights<u8, u64, u64>, fault: Fault) -> Self {
        Self {
            flights,
            fault,
            mark: Mark(0),
            closed: false,
            flown: Vec::new(),
            joinable: BTreeMap::new(),
            leads: Vec::new(),
            follows: Vec::new(),
            expected: Stats::default(),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Mark => self.mark = self.flights.mark(),
            Step::Enter(key, after) => self.enter(key, after)?,
            Step::End(index, end) if !self.leads.is_empty() => self.end(index % self.leads.len(), end)?,
            Step::Look(index) if !self.follows.is_empty() => self.look(index % self.follows.len())?,
            Step::Leave(index) if !self.follows.is_empty() => self.leave(index % self.follows.len())?,
            Step::Forget(key) => {
                let was_there = self.joinable.remove(&key).is_some();
                prop_assert_eq!(self.flights.forget(hash(key), &key), was_there);
            }
            Step::Cancel(key) => {
                let flight = self.joinable.remove(&key);
                prop_assert_eq!(self.flights.cancel(hash(key), &key), flight.is_some());
                if let Some(flight) = flight {
                    self.expected.cancelled += self.flown[flight].followers;
                    self.settle(flight, Ended::Cancelled);
                }
            }
            Step::Close => {
                self.flights.close();
                self.closed = true;
                self.joinable.clear();
                for flight in 0..self.flown.len() {
                    self.expected.cancelled += self.flown[flight].followers;
                    self.settle(flight, Ended::Closed);
                }
            }
            Step::End(..) | Step::Look(_) | Step::Leave(_) => {}
        }
        self.expected.in_flight = self.joinable.len() as u64;
        self.expected.running = self.leads.len() as u64;
        prop_assert_eq!(self.flights.stats(), self.expected);
        Ok(())
    }

    /// Holds a lead as if another thread held it. Otherwise every follower in this thread would seem to wait for
    /// itself.
    fn hold(&mut self, flight: usize, lead: LeaderGuard<'a, u8, u64, u64>) {
        thread::end_lead();
        self.leads.push((flight, lead));
    }

    fn enter(&mut self, key: u8, after: bool) -> Result<(), TestCaseError> {
        let joinable = self.joinable.get(&key).copied();
        let too_old = after && joinable.is_some_and(|flight| self.flown[flight].mark < self.mark.0);
        let options = CallOptions { after: after.then_some(self.mark), ..CallOptions::default() };
        let entered = self.flights.enter(WaitMode::Now, hash(key), &key, &options);
        match (entered, joinable.filter(|_| !too_old)) {
            (Entry::Done(Outcome { result: Err(CallError::Closed), .. }), None) if self.closed => {
                self.expected.closed += 1;
            }
            (Entry::Lead(lead), None) => {
                self.expected.underlying_calls += 1;
                self.joinable.insert(key, self.flown.len());
                self.hold(self.flown.len(), lead);
                let mark = self.mark.0;
                self.flown.push(Flown { key, mark, runs: 1, free: false, followers: 0, ended: None });
            }
            (Entry::Lead(lead), Some(flight)) if self.flown[flight].free => {
                self.expected.underlying_calls += 1;
                self.flown[flight].free = false;
                self.flown[flight].runs += 1;
                self.hold(flight, lead);
            }
            (Entry::Follow(follow), Some(flight)) if !self.flown[flight].free => {
                self.expected.coalesced_calls += 1;
                self.expected.following += 1;
                self.flown[flight].followers += 1;
                let told = if self.fault == Fault::LateJoin { flight.saturating_sub(1) } else { flight };
                self.follows.push((told, follow));
            }
            (Entry::Lead(_), _) => return Err(TestCaseError::fail("a second leader")),
            _ => return Err(TestCaseError::fail("neither led nor followed as it should")),
        }
        Ok(())
    }

    /// The followers of `flight` are released.
    fn settle(&mut self, flight: usize, ended: Ended) {
        let flown = &mut self.flown[flight];
        if flown.ended.is_none() {
            flown.ended = Some(ended);
            flown.free = false;
            self.expected.following -= flown.followers;
            flown.followers = 0;
        }
    }

    fn end(&mut self, index: usize, end: End) -> Result<(), TestCaseError> {
        let (flight, lead) = self.leads.swap_remove(index);
        thread::begin_lead();
        let Flown { key, followers, runs, .. } = self.flown[flight];
        let hands_over = end == End::Error && followers > 0 && runs <= ELECTIONS;
        let number = flight as u64;
        let leader_of = |followers| Role::Leader { followers };
        match end {
            End::Value => {
                let outcome = lead.run_work(|_| Ok(number));
                prop_assert_eq!((*outcome.result.unwrap(), outcome.role), (number, leader_of(followers)));
                self.expected.cost_spent += 2.0;
                self.expected.cost_saved += 2.0 * f64::from(u32::try_from(followers).unwrap());
            }
            End::Error => {
                let outcome = lead.run_work(|_| Err(number));
                prop_assert!(matches!(outcome.result, Err(CallError::Failed(error)) if *error == number));
                prop_assert_eq!(outcome.role, leader_of(if hands_over { 0 } else { followers }));
                self.expected.failed += 1;
            }
            End::Panic => {
                let panic = catch_unwind(AssertUnwindSafe(|| lead.run_work(|_| resume_unwind(Box::new(number)))));
                prop_assert_eq!(panic.err().and_then(|payload| payload.downcast::<u64>().ok()), Some(Box::new(number)));
                self.expected.panicked += 1;
            }
            End::Abandon => {
                drop(lead);
                self.expected.panicked += 1;
            }
        }
        if self.fault == Fault::RemoveByKey {
            self.flights.forget(hash(key), &key);
        }
        if hands_over {
            self.flown[flight].free = true;
        } else {
            self.joinable.retain(|_, &mut joinable| joinable != flight);
            self.settle(flight, Ended::As(end));
        }
        Ok(())
    }

    fn look(&mut self, index: usize) -> Result<(), TestCaseError> {
        let flown = &self.flown[self.follows[index].0];
        if flown.ended.is_none() && !flown.free {
            return Ok(()); // it would block
        }
        let (flight, follow) = self.follows.swap_remove(index);
        // Nothing makes it wait, unless a fault is planted.
        let deadline = sync::now().checked_add(Duration::from_secs(1));
        match follow.wait(sync::now(), WaitLimits { deadline, patience: None }) {
            Waited::Over(outcome) => self.check(flight, &outcome.result),
            Waited::Lead(lead) => self.elected(flight, lead),
            Waited::Bypass(_) => Err(TestCaseError::fail("it had all the patience in the world")),
        }
    }

    fn elected(&mut self, flight: usize, lead: LeaderGuard<'a, u8, u64, u64>) -> Result<(), TestCaseError> {
        let flown = &mut self.flown[flight];
        prop_assert!(flown.free, "led a flight whose lead was not free");
        flown.free = false;
        flown.runs += 1;
        flown.followers -= 1;
        self.expected.following -= 1;
        self.expected.underlying_calls += 1;
        self.expected.elected += 1;
        self.hold(flight, lead);
        Ok(())
    }

    fn leave(&mut self, index: usize) -> Result<(), TestCaseError> {
        let (flight, follow) = self.follows.swap_remove(index);
        let late = WaitLimits { deadline: Some(sync::now()), patience: None };
        let flown = &mut self.flown[flight];
        let limits = if self.fault == Fault::LeadLate && flown.free { WaitLimits::default() } else { late };
        if flown.ended.is_none() {
            flown.followers -= 1;
            self.expected.following -= 1;
            self.expected.timed_out += 1;
            if flown.free && flown.followers == 0 {
                // The last one removes the flight.
                flown.free = false;
                self.joinable.retain(|_, &mut joinable| joinable != flight);
            }
            if self.fault == Fault::LeaveUncounted {
                return Ok(());
            }
        }
        match follow.wait(sync::now(), limits) {
            Waited::Over(outcome) => self.check(flight, &outcome.result),
            Waited::Lead(_) | Waited::Bypass(_) => Err(TestCaseError::fail("its deadline had passed")),
        }
    }

    /// A result that is there beats the deadline; without one, the follower times out.
    fn check(&self, flight: usize, result: &Shared<u64, u64>) -> Result<(), TestCaseError> {
        let number = flight as u64;
        let right = match self.flown[flight].ended {
            None => matches!(result, Err(CallError::TimedOut)),
            Some(Ended::Cancelled) => matches!(result, Err(CallError::Cancelled)),
            Some(Ended::Closed) => matches!(result, Err(CallError::Closed)),
            Some(Ended::As(End::Value)) => matches!(result, Ok(value) if **value == number),
            Some(Ended::As(End::Error)) => matches!(result, Err(CallError::Failed(error)) if **error == number),
            Some(Ended::As(End::Panic | End::Abandon)) => matches!(result, Err(CallError::LeaderPanicked { .. })),
        };
        prop_assert!(right, "flight {} ended {:?}, follower got {:?}", flight, self.flown[flight].ended, result);
        Ok(())
    }

    /// Ends what still runs, and lets every follower see its result. Nothing is left.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        while !self.leads.is_empty() {
            self.step(Step::End(0, End::Value))?;
        }
        while !self.follows.is_empty() {
            self.step(Step::Leave(0))?;
        }
        let stats = self.flights.stats();
        prop_assert_eq!((stats.in_flight, stats.following, stats.running), (0, 0, 0));
        for shard in self.flights.table.shards() {
            prop_assert!(shard.lock().unlinked.is_empty());
        }
        Ok(())
    }
}

impl Drop for Checker<'_> {
    /// A case that fails leaves leads behind.
    fn drop(&mut self) {
        for _ in &self.leads {
            thread::begin_lead();
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![2 => Just(End::Value), 3 => Just(End::Error), 1 => Just(End::Panic), 1 => Just(End::Abandon)];
    let step = prop_oneof![
        2 => Just(Step::Mark),
        20 => (0..KEYS, prop::bool::weighted(0.1)).prop_map(|(key, after)| Step::Enter(key, after)),
        10 => (any::<usize>(), end).prop_map(|(index, end)| Step::End(index, end)),
        5 => any::<usize>().prop_map(Step::Look),
        6 => any::<usize>().prop_map(Step::Leave),
        3 => (0..KEYS).prop_map(Step::Forget),
        3 => (0..KEYS).prop_map(Step::Cancel),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 0..60)
}

fn settings<K>() -> Settings<K, u64, u64> {
    Settings {
        cost: Some(Box::new(|_| 2.0)),
        on_error: Policy::Always(OnFailure::Elect { times: ELECTIONS }),
        ..Settings::new()
    }
}

fn run(fault: Fault) -> Result<(), TestError<Vec<Step>>> {
    // A planted fault need not be shrunk to the fewest steps.
    let max_shrink_iters = if fault == Fault::None { u32::MAX } else { 0 };
    let cases = if cfg!(debug_assertions) { 1_000 } else { 5_000 };
    let config = Config { cases, failure_persistence: None, max_shrink_iters, ..Config::default() };
    TestRunner::new(config).run(&steps(), |steps| {
        let flights = Flights::new(1, settings());
        let mut checker = Checker::new(&flights, fault);
        for step in steps {
            checker.step(step)?;
        }
        checker.finish()
    })
}

#[test]
fn every_order_of_steps_agrees_with_the_model() {
    run(Fault::None).unwrap();
}

#[test]
fn the_model_catches_removal_by_key() {
    assert!(matches!(run(Fault::RemoveByKey), Err(TestError::Fail(..))));
}

#[test]
fn the_model_catches_a_result_of_another_flight() {
    assert!(matches!(run(Fault::LateJoin), Err(TestError::Fail(..))));
}

#[test]
fn the_model_catches_a_follower_that_leaves_uncounted() {
    assert!(matches!(run(Fault::LeaveUncounted), Err(TestError::Fail(..))));
}

#[test]
fn the_model_catches_a_follower_that_leads_past_its_deadline() {
    assert!(matches!(run(Fault::LeadLate), Err(TestError::Fail(..))));
}
