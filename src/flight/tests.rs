//! The protocol against a sequential model of it, in one thread: every order of enter, end, forget, cancel and leave.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};

use super::{Entered, Flights, Follow, Lead};
use crate::outcome::Shared;
use crate::{CallError, Stats};

/// Few keys, two of them with one hash, so that flights meet.
const KEYS: u8 = 3;

fn hash(key: u8) -> u64 {
    u64::from(key / 2)
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter(u8),
    /// Lets one of the running leaders end; the index is taken modulo their number.
    End(usize, End),
    Forget(u8),
    Cancel(u8),
    /// One of the followers asks with a deadline that has passed.
    Leave(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Value,
    Error,
    Panic,
    /// The lead goes away without being run.
    Abandon,
}

/// A fault of the kind that peers have shipped, planted to see that the model notices.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The end of a flight removes what is there under its key, whosever it is.
    RemoveByKey,
    /// A caller is told of a result that belongs to the flight before.
    LateJoin,
    /// A follower leaves without saying so.
    LeaveUncounted,
}

/// What the model knows of a flight.
struct Flown {
    key: u8,
    followers: u64,
    ended: Option<Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ended {
    As(End),
    Cancelled,
}

struct Checker<'a> {
    flights: &'a Flights<u8, u64, u64>,
    fault: Fault,
    flown: Vec<Flown>,
    joinable: BTreeMap<u8, usize>,
    leads: Vec<(usize, Lead<'a, u8, u64, u64>)>,
    follows: Vec<(usize, Follow<'a, u8, u64, u64>)>,
    expected: Stats,
}

impl<'a> Checker<'a> {
    fn new(flights: &'a Flights<u8, u64, u64>, fault: Fault) -> Self {
        Self {
            flights,
            fault,
            flown: Vec::new(),
            joinable: BTreeMap::new(),
            leads: Vec::new(),
            follows: Vec::new(),
            expected: Stats::default(),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Enter(key) => self.enter(key)?,
            Step::End(index, end) if !self.leads.is_empty() => self.end(index % self.leads.len(), end)?,
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
            Step::End(..) | Step::Leave(_) => {}
        }
        self.expected.in_flight = self.joinable.len() as u64;
        self.expected.running = self.leads.len() as u64;
        prop_assert_eq!(self.flights.stats(), self.expected);
        Ok(())
    }

    fn enter(&mut self, key: u8) -> Result<(), TestCaseError> {
        match (self.flights.enter(hash(key), &key), self.joinable.get(&key)) {
            (Entered::Leads(lead), None) => {
                self.expected.underlying_calls += 1;
                self.joinable.insert(key, self.flown.len());
                self.leads.push((self.flown.len(), lead));
                self.flown.push(Flown { key, followers: 0, ended: None });
            }
            (Entered::Follows(follow), Some(&flight)) => {
                self.expected.coalesced_calls += 1;
                self.expected.following += 1;
                self.flown[flight].followers += 1;
                let told = if self.fault == Fault::LateJoin { flight.saturating_sub(1) } else { flight };
                self.follows.push((told, follow));
            }
            (Entered::Leads(_), Some(_)) => return Err(TestCaseError::fail("a second leader")),
            (Entered::Follows(_), None) => return Err(TestCaseError::fail("followed a flight that had ended")),
        }
        Ok(())
    }

    /// The followers of `flight` are released.
    fn settle(&mut self, flight: usize, ended: Ended) {
        let flown = &mut self.flown[flight];
        if flown.ended.is_none() {
            flown.ended = Some(ended);
            self.expected.following -= flown.followers;
            flown.followers = 0;
        }
    }

    fn end(&mut self, index: usize, end: End) -> Result<(), TestCaseError> {
        let (flight, lead) = self.leads.swap_remove(index);
        let key = self.flown[flight].key;
        let followers = self.flown[flight].followers;
        let number = flight as u64;
        match end {
            End::Value => {
                let (result, told) = lead.run(|_| Ok(number), Some(&|_: &u64| 2.0));
                prop_assert_eq!((*result.unwrap(), told), (number, followers));
                self.expected.cost_spent += 2.0;
                self.expected.cost_saved += 2.0 * f64::from(u32::try_from(followers).unwrap());
            }
            End::Error => {
                let (result, told) = lead.run(|_| Err(number), None);
                prop_assert!(matches!(result, Err(CallError::Failed(error)) if *error == number));
                prop_assert_eq!(told, followers);
                self.expected.failed += 1;
            }
            End::Panic => {
                let panic = catch_unwind(AssertUnwindSafe(|| lead.run(|_| resume_unwind(Box::new(number)), None)));
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
        self.joinable.retain(|_, &mut joinable| joinable != flight);
        self.settle(flight, Ended::As(end));
        Ok(())
    }

    fn leave(&mut self, index: usize) -> Result<(), TestCaseError> {
        let (flight, follow) = self.follows.swap_remove(index);
        if self.flown[flight].ended.is_none() {
            self.flown[flight].followers -= 1;
            self.expected.following -= 1;
            self.expected.timed_out += 1;
            if self.fault == Fault::LeaveUncounted {
                return Ok(());
            }
        }
        let result = follow.wait(Some(Instant::now()));
        self.check(flight, &result)
    }

    /// A result that is there beats the deadline; one that is not there is a time-out.
    fn check(&self, flight: usize, result: &Shared<u64, u64>) -> Result<(), TestCaseError> {
        let number = flight as u64;
        let right = match self.flown[flight].ended {
            None => matches!(result, Err(CallError::TimedOut)),
            Some(Ended::Cancelled) => matches!(result, Err(CallError::Cancelled)),
            Some(Ended::As(End::Value)) => matches!(result, Ok(value) if **value == number),
            Some(Ended::As(End::Error)) => matches!(result, Err(CallError::Failed(error)) if **error == number),
            Some(Ended::As(End::Panic | End::Abandon)) => matches!(result, Err(CallError::LeaderPanicked { .. })),
        };
        prop_assert!(right, "flight {} ended {:?}, follower got {:?}", flight, self.flown[flight].ended, result);
        Ok(())
    }

    /// Ends what still runs and lets every follower see its result; nothing is left.
    fn finish(mut self) -> Result<(), TestCaseError> {
        while !self.leads.is_empty() {
            self.step(Step::End(0, End::Value))?;
        }
        while !self.follows.is_empty() {
            self.step(Step::Leave(0))?;
        }
        let stats = self.flights.stats();
        prop_assert_eq!((stats.in_flight, stats.following, stats.running), (0, 0, 0));
        Ok(())
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let end = prop_oneof![Just(End::Value), Just(End::Error), Just(End::Panic), Just(End::Abandon)];
    let step = prop_oneof![
        6 => (0..KEYS).prop_map(Step::Enter),
        3 => (any::<usize>(), end).prop_map(|(index, end)| Step::End(index, end)),
        1 => (0..KEYS).prop_map(Step::Forget),
        1 => (0..KEYS).prop_map(Step::Cancel),
        2 => any::<usize>().prop_map(Step::Leave),
    ];
    prop::collection::vec(step, 0..60)
}

fn run(fault: Fault) -> Result<(), TestError<Vec<Step>>> {
    let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&steps(), |steps| {
        let flights = Flights::new(1, false);
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
fn a_table_shrinks_when_its_flights_have_ended() {
    let flights: Flights<u32, (), ()> = Flights::new(1, false);
    let leads: Vec<_> = (0..10_000_u32).map(|key| flights.enter(u64::from(key), &key)).collect();
    let shard = flights.table.shards().next().unwrap();
    assert!(shard.lock().capacity() >= 10_000);
    drop(leads);
    assert!(shard.lock().capacity() <= 128, "{}", shard.lock().capacity());
}

#[test]
fn a_lone_flight_makes_no_slot_and_a_followed_one_makes_one() {
    let flights: Flights<u8, (), ()> = Flights::new(1, false);
    let Entered::Leads(_lead) = flights.enter(0, &1) else { panic!("the first to enter leads") };
    let id = {
        let mut shard = flights.table.shards().next().unwrap().lock();
        let record = shard.find(0, &1).unwrap();
        assert!(record.slot.is_none());
        record.id
    };
    let _first = flights.enter(0, &1);
    let _second = flights.enter(0, &1);
    let mut shard = flights.table.shards().next().unwrap().lock();
    let slot = shard.record(0, id).unwrap().slot.clone().unwrap();
    assert_eq!(Arc::strong_count(&slot), 4, "the record's, two followers', this test's");
}
