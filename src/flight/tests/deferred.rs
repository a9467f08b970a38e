//! A follower that is counted and does not wait yet: a key of a batch, or a call whose observers hear that it joined.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use super::support::{HASH, Numbers, follow, lead, lead_elsewhere, observed, patient, settings};
use crate::error::CallError;
use crate::flight::completion::Completion;
use crate::flight::enter::{Entry, WaitMode};
use crate::flight::flights::Flights;
use crate::flight::follow::Waited;
use crate::options::CallOptions;
use crate::outcome::{BypassReason, Role};
use crate::policy::OnDeadlock;
use crate::sync;

#[test]
fn whoever_is_elected_waits_and_its_observers_have_heard() {
    for waits in [false, true] {
        let (flights, heard) = observed(OnDeadlock::Refuse);
        let first = lead_elsewhere(&flights, &1);
        let mut follower = follow(&flights, WaitMode::Now, &1);
        if waits {
            assert!(follower.start_waiting(&mut || None).is_ok());
        }
        let followers = u64::from(!waits);
        assert_eq!(first.end(Err(7)).role, Role::Leader { followers });
        assert_eq!((flights.in_flight(), flights.stats().following), (u64::from(waits), u64::from(waits)));
        if !waits {
            assert!(follower.start_waiting(&mut || None).is_ok());
        }
        match follower.wait(sync::now(), patient()) {
            Waited::Lead(lead) if waits => assert_eq!(*lead.run_work(|_| Ok(2)).result.unwrap(), 2),
            Waited::Over(outcome) if !waits => {
                assert!(matches!(outcome.result, Err(CallError::Failed(error)) if *error == 7));
            }
            _ => panic!("elected, or not, in the wrong case"),
        }
        let expected: &[&str] = if waits {
            &["joined", "led", "ended", "elected", "led", "ended"]
        } else {
            &["led", "ended", "joined", "left result"]
        };
        assert_eq!(heard.events(), expected);
        assert_eq!(flights.stats().coalesced_calls, 1);
    }
}

/// ```text
/// this thread                                              another
///                                                          leads 1
/// joins 1; before it waits, it comes to lead what 1 waits for
/// would wait for itself: is refused, or runs alone
/// ```
#[test]
fn a_wait_that_closes_a_cycle_when_it_comes_is_left_and_not_counted_as_refused() {
    for on_deadlock in [OnDeadlock::Refuse, OnDeadlock::Bypass] {
        let (flights, heard) = observed(on_deadlock);
        let other = lead_elsewhere(&flights, &1);
        let follower = follow(&flights, WaitMode::Now, &1);
        // The other lead is this thread's, as it leads something now, and so its wait is one for itself.
        let own = lead(&flights, &2);
        let limits = || (sync::now(), patient());
        let value = |value: u64| Completion::Value { value: value.into(), cost: 0.0 };
        let outcome = flights.act(HASH, Entry::Follow(follower), limits, || None, |_| value(3));
        if on_deadlock == OnDeadlock::Bypass {
            assert_eq!((*outcome.result.unwrap(), outcome.role), (3, Role::Bypassed(BypassReason::Deadlock)));
        } else {
            assert!(matches!(outcome.result, Err(CallError::Deadlock { .. })), "{:?}", outcome.result);
            assert_eq!(outcome.role, Role::Refused);
        }
        assert_eq!(heard.events(), ["joined", "left deadlock"]);
        let stats = flights.stats();
        let alone = u64::from(on_deadlock == OnDeadlock::Bypass);
        assert_eq!((stats.coalesced_calls, stats.deadlocks, stats.impatient, stats.bypassed), (1, 0, alone, 0));
        assert_eq!((stats.following, stats.calls()), (0, 3));
        assert!(own.run_work(|_| Ok(2)).result.is_ok());
        assert_eq!(other.end(Ok(1)).role, Role::Leader { followers: 0 });
    }
}

#[test]
fn observers_hear_of_no_join_when_the_label_panics() {
    let (flights, heard) = observed(OnDeadlock::Refuse);
    let other = lead_elsewhere(&flights, &1);
    let follower = follow(&flights, WaitMode::AfterBatch, &1);
    let own = lead(&flights, &2);
    let limits = || (sync::now(), patient());
    let label = || resume_unwind(Box::new("a label"));
    let act = || flights.act(HASH, Entry::Follow(follower), limits, label, |_| unreachable!("it has no place"));
    assert!(catch_unwind(AssertUnwindSafe(act)).is_err());
    assert!(heard.events().is_empty(), "{:?}", heard.events());
    assert_eq!(flights.stats().following, 0);
    assert!(own.run_work(|_| Ok(2)).result.is_ok());
    assert_eq!(other.end(Ok(1)).role, Role::Leader { followers: 0 });
}

/// How many could be elected in the flight of this key.
fn waiting(flights: &Numbers, key: u8) -> u64 {
    let mut locked = flights.table.shard(HASH).lock();
    locked.find(HASH, &key).map_or(0, |(record, _)| record.waiting())
}

/// ```text
/// leader    leads 1 ----------------------- fails
/// batch           leads 2, ends it; waits for 1 ... is elected, and asks for 1 alone
/// ```
#[test]
#[expect(clippy::disallowed_methods, reason = "the batch waits in a thread of its own")]
fn a_batch_that_waits_for_a_key_can_be_elected_and_asks_for_that_key_alone() {
    let flights: Numbers = Flights::new(1, settings());
    let first = lead_elsewhere(&flights, &1);
    thread::scope(|scope| {
        let batch = scope.spawn(|| {
            let mut asked = Vec::new();
            let outcomes = flights.call_many(
                &[(HASH, &1), (HASH, &2)],
                &CallOptions::default(),
                |missing| {
                    asked.push(missing.iter().map(|key| **key).collect::<Vec<u8>>());
                    Ok(missing.iter().map(|key| u64::from(**key) * 10).collect())
                },
                Ok,
            );
            let values: Vec<u64> = outcomes.into_iter().map(|outcome| *outcome.result.unwrap()).collect();
            (asked, values)
        });
        let deadline = patient();
        while waiting(&flights, 1) == 0 {
            assert!(!deadline.deadline_has_passed(), "the batch does not come to wait");
            thread::yield_now();
        }
        assert!(first.end(Err(7)).result.is_err());
        assert_eq!(batch.join().unwrap(), (vec![vec![2], vec![1]], vec![10, 20]));
    });
    let stats = flights.stats();
    assert_eq!((stats.underlying_calls, stats.elected, stats.calls()), (3, 1, 3));
    assert_eq!((stats.in_flight, stats.following, stats.running), (0, 0, 0));
}
