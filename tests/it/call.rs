//! One call for all who ask at a time: who shares it, who does not, and what its closure may be.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use sync_coalesce::{CallError, Key, Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{
    Gate, Holding, assert_idle, bounded, crowd, hold_at, join, until, until_following, until_running,
};

#[test]
fn a_lone_call_returns_its_value_and_runs_once() {
    let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
    let mut runs = 0;
    let value = coalesce.call("key", || {
        runs += 1;
        7
    });
    assert_eq!((*value.unwrap(), runs), (7, 1));
    let stats = coalesce.stats();
    assert_eq!((stats.underlying_calls, stats.coalesced_calls, stats.in_flight), (1, 0, 0));
    assert_idle(&coalesce);
}

/// ```text
/// leader     lead --------- all 49 follow -- returns
/// 49 others       join, wait ----------------------- get the same Arc
/// ```
#[test]
fn fifty_concurrent_callers_share_one_run() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, u64> = SyncCoalesce::new();
        let runs = AtomicU64::new(0);
        let values = thread::scope(|scope| {
            join(crowd(scope, 50, |_| {
                coalesce.call("key", || {
                    until_following(&coalesce, 49);
                    runs.fetch_add(1, SeqCst)
                })
            }))
        });
        let first = values[0].as_ref().unwrap();
        assert!(values.iter().all(|value| Arc::ptr_eq(value.as_ref().unwrap(), first)));
        assert_eq!(runs.load(SeqCst), 1);
        assert_eq!(coalesce.stats().coalesced_calls, 49);
        assert_idle(&coalesce);
    });
}

#[test]
fn a_hundred_callers_make_one_run() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, usize> = SyncCoalesce::new();
        let roles = thread::scope(|scope| {
            join(crowd(scope, 100, |number| {
                let outcome = coalesce.on(&1).call(|flight| {
                    until("99 followers", || flight.followers() == 99);
                    number
                });
                (outcome.role, outcome.result.map(|value| *value).ok())
            }))
        });
        let leaders: Vec<_> = roles.iter().filter(|(role, _)| *role == Role::Leader { followers: 99 }).collect();
        assert_eq!(leaders.len(), 1);
        let followers = roles.iter().filter(|(role, _)| matches!(role, Role::Follower { .. })).count();
        assert_eq!(followers, 99);
        assert!(roles.iter().all(|(_, value)| *value == leaders[0].1));
        assert_idle(&coalesce);
    });
}

#[test]
fn twenty_followers_do_not_serialize() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::new();
        // All twenty must be waiting at one time for the leader to return at all.
        let results =
            thread::scope(|scope| join(crowd(scope, 21, |_| coalesce.call("key", || until_following(&coalesce, 20)))));
        assert!(results.into_iter().all(|result| result.is_ok()));
        assert_eq!(coalesce.stats().underlying_calls, 1);
        assert_idle(&coalesce);
    });
}

#[test]
fn three_keys_meet_inside_their_closures() {
    bounded(|| {
        // One shard, so that a lock held during the work would show.
        let coalesce: SyncCoalesce<usize, usize> = SyncCoalesce::builder().shards(1).build();
        let meet = Barrier::new(3);
        let values = thread::scope(|scope| {
            join(crowd(scope, 3, |key| {
                coalesce.call(&key, || {
                    meet.wait();
                    key
                })
            }))
        });
        assert_eq!(values.iter().map(|value| **value.as_ref().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
        assert_idle(&coalesce);
    });
}

#[test]
fn after_a_success_the_same_key_runs_afresh() {
    let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
    assert_eq!(*coalesce.call("key", || 1).unwrap(), 1);
    assert_eq!(*coalesce.call("key", || 2).unwrap(), 2);
    assert_eq!(coalesce.stats().underlying_calls, 2);
    assert_idle(&coalesce);
}

#[test]
fn a_call_that_begins_after_the_leader_returned_starts_afresh() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, u64> = SyncCoalesce::new();
        thread::scope(|scope| {
            for round in 0..200 {
                let followers = crowd(scope, 4, {
                    let coalesce = &coalesce;
                    move |_| {
                        until_running(coalesce, 1);
                        coalesce.call("key", || unreachable!("the flight waits for four"))
                    }
                });
                let first = coalesce.call("key", || {
                    until_following(&coalesce, 4);
                    round
                });
                // The followers of the first flight may still be waking up.
                let second = coalesce.call("key", || round + 1_000);
                assert_eq!((*first.unwrap(), *second.unwrap()), (round, round + 1_000));
                assert!(join(followers).into_iter().all(|value| *value.unwrap() == round));
            }
        });
        assert_idle(&coalesce);
    });
}

/// ```text
/// leader     lead --- the other has joined -- returns
/// follower        join, stop ........................... go on: the value is there
/// ```
#[test]
fn a_leader_does_not_wait_for_its_followers_to_wake() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::builder().observer(Holding).build();
        let goes_on = Arc::new(Gate::new());
        thread::scope(|scope| {
            let follower = scope.spawn(|| {
                until_running(&coalesce, 1);
                hold_at(&goes_on);
                coalesce.on("key").timeout(Duration::ZERO).call(|_| unreachable!("a flight is on"))
            });
            let led = coalesce.on("key").call(|_| {
                until_following(&coalesce, 1);
                7
            });
            assert_eq!((*led.result.unwrap(), led.role), (7, Role::Leader { followers: 1 }));
            assert_idle(&coalesce);
            goes_on.open();
            let outcome = follower.join().unwrap();
            assert_eq!(*outcome.result.unwrap(), 7);
            assert!(matches!(outcome.role, Role::Follower { .. }));
        });
    });
}

#[test]
fn what_the_closure_captures_reaches_it_by_value_and_by_reference() {
    let coalesce: SyncCoalesce<String, String> = SyncCoalesce::new();
    let by_reference = "question".to_owned();
    let by_value = "?".to_owned();
    // Neither `Send` nor `'static`.
    let not_send = std::rc::Rc::new(std::cell::Cell::new(0));
    let counter = std::rc::Rc::clone(&not_send);
    let value = coalesce.call("key", || {
        counter.set(counter.get() + 1);
        let mut whole = by_value;
        whole.insert_str(0, &by_reference);
        whole
    });
    assert_eq!(*value.unwrap(), "question?");
    assert_eq!((not_send.get(), by_reference.as_str()), (1, "question"));
    assert_idle(&coalesce);
}

#[test]
fn a_wrapped_function_coalesces() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, usize> = SyncCoalesce::new();
        let lengths = coalesce.wrap(
            |text: &str| text.to_lowercase(),
            |text: &str| {
                until_following(&coalesce, 4);
                Ok(text.len())
            },
        );
        let values = thread::scope(|scope| {
            let lengths = &lengths;
            join(crowd(scope, 5, move |number| lengths(if number % 2 == 0 { "Hello" } else { "hello" })))
        });
        assert!(values.into_iter().all(|value| *value.unwrap() == 5));
        assert_eq!(coalesce.stats().underlying_calls, 1);
        assert_idle(&coalesce);
    });
}

#[test]
fn every_verb_on_one_key_joins_the_same_flight() {
    bounded(|| {
        let coalesce: SyncCoalesce<Key, u8> = SyncCoalesce::new();
        let question = "why?";
        let key = Key::of(question).unwrap();
        let wrapped = coalesce.wrap(|(): &()| key, |()| unreachable!("a flight is on"));
        let verbs: [&(dyn Fn() -> Result<Arc<u8>, CallError<_>> + Sync); 5] = [
            &|| coalesce.call(&key, || unreachable!()),
            &|| coalesce.try_call(&key, || unreachable!()),
            &|| coalesce.on(&key).try_call(|_| unreachable!()).result,
            &|| coalesce.try_call_for(question, |_| unreachable!()),
            &|| wrapped(&()),
        ];
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.on(&key).call(|flight| {
                    until_following(&coalesce, 5);
                    assert_eq!(flight.followers(), 5);
                    7
                })
            });
            until_running(&coalesce, 1);
            for value in join(crowd(scope, 5, |number| verbs[number]())) {
                assert_eq!(*value.unwrap(), 7);
            }
            assert_eq!(leader.join().unwrap().role, Role::Leader { followers: 5 });
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn a_request_that_cannot_be_serialised_runs_nothing() {
    let coalesce: SyncCoalesce<Key, ()> = SyncCoalesce::new();
    let result = coalesce.try_call_for(&f64::NAN, |_| unreachable!("there is no key"));
    assert!(matches!(result, Err(CallError::BadKey(_))));
    assert_eq!(coalesce.stats().calls(), 0);
    assert_idle(&coalesce);
}

#[test]
fn a_bypassed_call_neither_joins_nor_can_be_joined() {
    let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
    let outer = coalesce.call("key", || {
        let inner = coalesce.on("key").bypass().call(|flight| {
            assert_eq!((flight.followers(), flight.is_cancelled()), (0, false));
            assert!(format!("{flight:?}").starts_with("Flight"));
            assert_eq!(coalesce.stats().running, 2);
            2
        });
        assert_eq!(inner.role, Role::Bypassed(sync_coalesce::BypassReason::Requested));
        *inner.result.unwrap() + 1
    });
    assert_eq!(*outer.unwrap(), 3);
    let stats = coalesce.stats();
    assert_eq!((stats.underlying_calls, stats.bypassed, stats.calls()), (1, 1, 2));
    assert_idle(&coalesce);
}
