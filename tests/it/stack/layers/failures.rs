//! What each failure leaves behind.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use sync_coalesce::stack::budget::{Budget, Spend};
use sync_coalesce::stack::cache::Cache;
use sync_coalesce::stack::ledger::{Ledger, LedgerError, LedgerState, MemoryStore, Record, Store, StoreError};
use sync_coalesce::stack::pace::Pacer;
use sync_coalesce::stack::retry::Retry;
use sync_coalesce::stack::{Stack, StackError, Via};
use sync_coalesce::{CallError, Key, OnFailure, Role, SyncCoalesce};

use super::{BUSY, Layers, MOST, Whole, after, cost, fingerprint};
use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, until, until_following};

/// Calls with work that panics.
fn panics(stack: &Whole, key: u32) {
    let call = || stack.try_call(&key, || panic!("in the work")).map(drop);
    let panicked = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
    assert_eq!(*panicked.downcast::<&str>().unwrap(), "in the work");
}

#[test]
fn a_panic_leaves_nothing_reserved_and_the_ledger_unknown() {
    let layers = Layers::new();
    let stack = layers.all().build();
    panics(&stack, 1);
    layers.assert_released();
    assert_eq!((layers.total(), layers.state(1), layers.cache.stats().entries), (0, LedgerState::Unknown, 0));
    let again = stack.try_call(&1, || unreachable!());
    assert!(matches!(again, Err(StackError::Ledger(LedgerError::Unknown))));
    assert_eq!(stack.stats().refused_by_ledger, 1);
    // Until somebody has found out.
    assert!(layers.ledger.forget(1_u32.to_be_bytes()).unwrap());
    assert!(stack.try_call(&1, after(0, "four")).is_ok());
    assert_idle(stack.coalescer());
}

#[test]
fn followers_of_a_panic_are_told_of_it() {
    bounded(|| {
        let layers = Layers::new();
        let stack = layers.all().build();
        let gate = Gate::new();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                stack.call(&1, || {
                    gate.pass();
                    panic!("in the work")
                })
            });
            until("the attempt", || stack.stats().attempts == 1);
            let follower = scope.spawn(|| stack.call(&1, || unreachable!()));
            until_following(stack.coalescer(), 1);
            gate.open();
            assert!(leader.join().is_err());
            let error = follower.join().unwrap().unwrap_err();
            assert!(
                matches!(error, StackError::Call(CallError::LeaderPanicked { message }) if &*message == "in the work")
            );
        });
        layers.assert_released();
        assert_eq!(layers.budget.status().saved, Spend::default());
    });
}

#[test]
fn failed_work_costs_nothing_and_can_be_done_again() {
    let layers = Layers::new();
    let stack = layers.all().build();
    let exhausted = stack.try_call(&1, after(9, "four")).unwrap_err();
    assert!(matches!(&exhausted, StackError::Exhausted { attempts: 3, error } if **error == BUSY));
    assert_eq!(exhausted.work().map(|status| **status), Some(BUSY));
    let failed = stack.try_call(&1, || Err(404)).unwrap_err();
    assert!(matches!(&failed, StackError::Failed { attempts: 1, error } if **error == 404));
    layers.assert_released();
    assert_eq!((layers.total(), layers.state(1), layers.cache.stats().entries), (0, LedgerState::Absent, 0));
    assert!(stack.try_call(&1, after(2, "four")).is_ok());
    assert_eq!(stack.stats().attempts, 3 + 1 + 3);
}

#[test]
fn a_budget_that_is_used_up_refuses_before_anything_runs() {
    let layers = Layers::new();
    let stack = layers.all().build();
    let all = layers.budget.reserve(Spend::from_tokens(901)).unwrap();
    let refused = stack.try_call(&1, || unreachable!()).unwrap_err();
    assert!(matches!(&refused, StackError::Budget(exceeded) if exceeded.requested == MOST));
    assert!(refused.work().is_none());
    assert_eq!((layers.state(1), stack.stats().refused_by_budget), (LedgerState::Absent, 1));
    drop(all);
    assert!(stack.try_call(&1, after(0, "four")).is_ok());
}

#[test]
fn a_pacer_that_refuses_gives_everything_back() {
    bounded(|| {
        let layers = Layers::new();
        let stack = layers.all().pace_timeout(Duration::ZERO).build();
        let permit = layers.pacer.acquire();
        let refused = stack.try_call(&1, || unreachable!()).unwrap_err();
        assert!(matches!(refused, StackError::Pace(_)));
        drop(permit);
        layers.assert_released();
        assert_eq!((layers.state(1), stack.stats().refused_by_pace), (LedgerState::Absent, 1));

        // And so does one that refuses a later attempt.
        let pacer = layers.pacer.clone();
        let taken = std::sync::Mutex::new(None);
        let sleep = move |_| *taken.lock().unwrap() = Some(pacer.acquire());
        let retry = Retry::builder(|_| true).sleep_with(sleep).build();
        let stack = layers.all().retry(retry).pace_timeout(Duration::ZERO).build();
        let refused = stack.try_call(&2, after(9, "four")).unwrap_err();
        assert!(matches!(refused, StackError::Pace(_)));
        drop(stack);
        layers.assert_released();
        assert_eq!((layers.state(2), layers.total()), (LedgerState::Absent, 0));
    });
}

#[test]
fn a_cost_that_panics_is_all_that_was_reserved() {
    let layers = Layers::new();
    let stack = layers.all().budget(layers.budget.clone(), MOST, |_| panic!("in the cost")).build();
    assert_eq!(*stack.try_call(&1, after(0, "four")).unwrap(), "four");
    layers.assert_released();
    assert_eq!((layers.total(), layers.state(1)), (MOST.tokens(), LedgerState::Done));
}

#[test]
fn a_cache_that_cannot_be_filled_costs_no_value() {
    let layers = Layers::new();
    let cache = Cache::builder(10).time_to_live_of(|_| panic!("in the time to live")).build().unwrap();
    let stack = layers.all().cache(cache).build();
    for via in [Via::Flight(Role::Leader { followers: 0 }), Via::Ledger] {
        let mut work = after(0, "four");
        let outcome = stack.on(&1).try_call(|_| work());
        assert_eq!((outcome.result.unwrap().as_str(), outcome.via), ("four", via));
    }
}

/// A store that cannot commit.
struct ReadOnly(MemoryStore);

impl Store for ReadOnly {
    fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError> {
        self.0.begin(key, fingerprint)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        self.0.get(key)
    }

    fn commit(&self, _: &[u8], _: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::new("the disk is full"))
    }

    fn remove(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.0.remove(key)
    }
}

#[test]
fn a_value_that_the_ledger_cannot_keep_is_shared_and_counted() {
    let layers = Layers { ledger: Ledger::new(ReadOnly(MemoryStore::new())), ..Layers::new() };
    let stack = layers.all().build();
    assert_eq!(*stack.try_call(&1, after(0, "four")).unwrap(), "four");
    assert_eq!((stack.stats().uncommitted, layers.total(), layers.state(1)), (1, 4, LedgerState::Unknown));
    assert!(stack.try_call(&1, || unreachable!()).is_ok(), "it is in the cache");
    layers.cache.clear();
    assert!(matches!(stack.try_call(&1, || unreachable!()), Err(StackError::Ledger(LedgerError::Unknown))));
}

#[test]
fn a_ledger_that_refuses_is_told_apart() {
    let ledger = Ledger::in_memory();
    let same = |_: &u32| Some(("order", Key::of("one request").unwrap()));
    let stack: Stack<u32, u32> = Stack::builder().ledger(ledger.clone(), same).build();
    assert_eq!(*stack.call(&1, || 1).unwrap(), 1);
    assert_eq!(*stack.call(&2, || 2).unwrap(), 1, "another key, and the same order");

    let other: Stack<u32, u32> =
        Stack::builder().ledger(ledger.clone(), |key: &u32| Some(("order", fingerprint(*key)))).build();
    assert!(matches!(other.call(&1, || 2), Err(StackError::Ledger(LedgerError::OtherRequest))));
    let text: Stack<u32, String> = Stack::builder().ledger(ledger, same).build();
    assert!(matches!(text.call(&1, String::new), Err(StackError::Ledger(LedgerError::Unreadable(_)))));
    assert_eq!((stack.stats().replayed, other.stats().refused_by_ledger), (1, 1));
}

#[test]
fn a_caller_that_runs_alone_is_refused_by_the_ledger() {
    bounded(|| {
        let layers = Layers::new();
        let stack = layers.all().build();
        let value = stack.call(&1, || {
            thread::scope(|scope| {
                let impatient = || stack.on(&1).patience(Duration::ZERO).call(|_| unreachable!());
                let outcome = scope.spawn(impatient).join().unwrap();
                assert!(matches!(outcome.result, Err(StackError::Ledger(LedgerError::InProgress))));
            });
            "four".to_owned()
        });
        assert_eq!((value.unwrap().as_str(), layers.state(1)), ("four", LedgerState::Done));
    });
}

#[test]
fn an_elected_follower_goes_through_all_layers_anew() {
    bounded(|| {
        let layers = Layers::new();
        let elect = SyncCoalesce::builder().on_error(OnFailure::Elect { times: 1 });
        let stack: Whole = layers.all().coalesce(elect).build();
        let gate = Gate::new();
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                stack.try_call(&1, || {
                    gate.pass();
                    Err(404)
                })
            });
            until("the attempt", || stack.stats().attempts == 1);
            let second = scope.spawn(|| stack.try_call(&1, after(0, "four")));
            until_following(stack.coalescer(), 1);
            gate.open();
            assert!(first.join().unwrap().is_err());
            assert_eq!(*second.join().unwrap().unwrap(), "four");
        });
        layers.assert_released();
        assert_eq!((layers.total(), layers.state(1)), (cost("four").tokens(), LedgerState::Done));
    });
}

#[test]
fn work_that_asks_for_its_own_key_is_refused() {
    bounded(|| {
        let layers = Layers::new();
        let stack = layers.all().build();
        let value = stack.call(&1, || {
            let own = stack.call(&1, || unreachable!());
            assert!(matches!(own, Err(StackError::Call(CallError::Deadlock { .. }))));
            "four".to_owned()
        });
        assert!(value.is_ok());
    });
}

/// Walks the sources as a report does.
fn report(error: &dyn Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(source) => format!("{error}: {}", report(source)),
    }
}

#[test]
fn errors_say_what_refused_and_why_and_say_it_once() {
    let pacer = Pacer::builder().concurrency(1).build().unwrap();
    let _permit = pacer.try_acquire().unwrap();
    let not_acquired = pacer.try_acquire().unwrap_err();
    let exceeded = Budget::builder().tokens(1).build().unwrap().reserve(Spend::from_tokens(2)).unwrap_err();
    let number = || Arc::new("x".parse::<u8>().unwrap_err());
    let errors: [(StackError<std::num::ParseIntError>, &str); 8] = [
        (StackError::Failed { attempts: 1, error: number() }, "the call failed: invalid digit found in string"),
        (
            StackError::Failed { attempts: 2, error: number() },
            "the call failed at attempt 2: invalid digit found in string",
        ),
        (
            StackError::Exhausted { attempts: 3, error: number() },
            "the call failed after 3 attempts: invalid digit found in string",
        ),
        (StackError::Pace(not_acquired), "the call was refused: no permit from the pacer in time"),
        (StackError::Budget(exceeded), "the call was refused: budget exceeded: 2 tokens requested, 1 left"),
        (
            StackError::Ledger(LedgerError::OtherRequest),
            "the call was refused: this ledger key was used for a different request",
        ),
        (
            StackError::Ledger(StoreError::new("the disk is full").into()),
            "the call was refused: the ledger's store failed: the disk is full",
        ),
        (StackError::Call(CallError::TimedOut), "timed out waiting for the shared call"),
    ];
    for (error, text) in errors {
        assert_eq!(report(&error), text);
        assert_eq!(report(&error.clone()), text);
        assert_eq!(report(&error.map_work(|error| (*error).clone())), text);
    }
}
