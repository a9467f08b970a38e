//! `cancel` wakes the followers with an error, `forget` leaves them; after either, the next call leads a new flight.

use std::sync::Barrier;

use sync_coalesce::{CallError, Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until_following, until_running};

#[test]
fn cancelling_or_forgetting_an_unknown_key_says_false() {
    let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::new();
    assert!(!coalesce.cancel("key"));
    assert!(!coalesce.forget("key"));
}

/// ```text
/// leader      lead ------------------------------------ gate -- returns its own value
/// 3 followers      join, wait ---- Cancelled (before the gate)
/// canceller                   cancel
/// ```
#[test]
fn cancel_wakes_the_followers_before_the_leader_is_done() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
        let (begun, gate) = (Gate::new(), Gate::new());
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.on("key").call(|flight| {
                    assert!(!flight.is_cancelled());
                    begun.open();
                    gate.pass();
                    assert!(flight.is_cancelled());
                    assert_eq!(flight.followers(), 0);
                    7
                })
            });
            begun.pass();
            let followers = crowd(scope, 3, |_| coalesce.call("key", || unreachable!("a flight is on")));
            until_following(&coalesce, 3);
            assert!(coalesce.cancel("key"));
            assert!(!coalesce.cancel("key"), "it is gone already");
            for result in join(followers) {
                assert!(matches!(result, Err(CallError::Cancelled)));
            }
            let stats = coalesce.stats();
            assert_eq!((stats.in_flight, stats.following, stats.running, stats.cancelled), (0, 0, 1, 3));
            gate.open();
            let outcome = leader.join().unwrap();
            assert_eq!(*outcome.result.unwrap(), 7);
            assert_eq!(outcome.role, Role::Leader { followers: 0 });
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn forget_leaves_present_followers_in_their_flight() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.on("key").call(|flight| {
                    gate.pass();
                    assert_eq!((flight.followers(), flight.is_cancelled()), (3, false));
                    1
                })
            });
            until_running(&coalesce, 1);
            let followers = crowd(scope, 3, |_| coalesce.call("key", || unreachable!("a flight is on")));
            until_following(&coalesce, 3);
            assert!(coalesce.forget("key"));
            assert_eq!(*coalesce.call("key", || 2).unwrap(), 2, "later callers start afresh");
            gate.open();
            assert!(join(followers).into_iter().all(|value| *value.unwrap() == 1));
            assert_eq!(leader.join().unwrap().role, Role::Leader { followers: 3 });
        });
        assert_idle(&coalesce);
    });
}

/// ```text
/// old leader  lead(1) --------------------------- gate -- returns 1
/// canceller           cancel, in flight 0
/// new leader                  lead(2) ------------------------------ gate -- returns 2
/// follower                            join(2) ------------------------------ gets 2
/// ```
#[test]
fn after_cancel_or_forget_the_old_leader_does_not_touch_the_new_flight() {
    type Verb = fn(&SyncCoalesce<String, u32>, &str) -> bool;
    for end_joining in [SyncCoalesce::cancel as Verb, SyncCoalesce::forget] {
        bounded(|| {
            let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
            let (first, second) = (Gate::new(), Gate::new());
            thread::scope(|scope| {
                let old = scope.spawn(|| {
                    coalesce.call("key", || {
                        first.pass();
                        1
                    })
                });
                until_running(&coalesce, 1);
                assert!(end_joining(&coalesce, "key"));
                assert_eq!(coalesce.in_flight(), 0);
                let new = scope.spawn(|| {
                    coalesce.call("key", || {
                        second.pass();
                        2
                    })
                });
                until_running(&coalesce, 2);
                first.open();
                assert_eq!(*old.join().unwrap().unwrap(), 1);
                assert_eq!(coalesce.in_flight(), 1, "the new flight is still there");
                let follower = scope.spawn(|| coalesce.call("key", || unreachable!("a flight is on")));
                until_following(&coalesce, 1);
                second.open();
                assert_eq!(*new.join().unwrap().unwrap(), 2);
                assert_eq!(*follower.join().unwrap().unwrap(), 2);
            });
            assert_eq!(coalesce.stats().underlying_calls, 2);
            assert_idle(&coalesce);
        });
    }
}

/// A Python library threw away the leader's paid result when a cancel came between its end and its publication.
#[test]
fn a_cancel_that_races_with_the_end_leaves_the_leader_its_result() {
    bounded(|| {
        let coalesce: SyncCoalesce<u32, u32> = SyncCoalesce::new();
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                for key in 0..2_000 {
                    start.wait();
                    coalesce.cancel(&key);
                }
            });
            for key in 0..2_000 {
                let value = coalesce.call(&key, || {
                    start.wait();
                    key
                });
                assert_eq!(*value.unwrap(), key);
            }
        });
        assert_idle(&coalesce);
    });
}
