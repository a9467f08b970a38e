//! Timeouts and deadlines of followers. Those of batches, tickets and elections are beside their verbs.

use std::time::{Duration, Instant};

use sync_coalesce::{CallError, Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until_following, until_running};

#[test]
fn a_follower_leaves_at_its_timeout_while_the_flight_goes_on() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.call("key", || {
                    gate.pass();
                    7
                })
            });
            until_running(&coalesce, 1);
            let patient = scope.spawn(|| coalesce.on("key").timeout(Duration::MAX).call(|_| unreachable!()));
            until_following(&coalesce, 1);
            for timeout in [Duration::ZERO, Duration::from_millis(20)] {
                let outcome = coalesce.on("key").timeout(timeout).call(|_| unreachable!());
                assert!(matches!(outcome.result, Err(CallError::TimedOut)));
                assert!(matches!(outcome.role, Role::Follower { waited } if waited >= timeout));
            }
            let past = Instant::now();
            let outcome = coalesce.on("key").deadline(past).call(|_| unreachable!());
            assert!(matches!(outcome.result, Err(CallError::TimedOut)));
            gate.open();
            assert_eq!(*leader.join().unwrap().unwrap(), 7);
            assert_eq!(*patient.join().unwrap().result.unwrap(), 7, "the one with time is still there");
        });
        let stats = coalesce.stats();
        assert_eq!((stats.coalesced_calls, stats.timed_out), (4, 3));
        assert_idle(&coalesce);
    });
}

#[test]
fn the_builders_timeout_holds_where_a_request_says_nothing() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::builder().timeout(Duration::ZERO).build();
        let gate = Gate::new();
        thread::scope(|scope| {
            let leader = scope.spawn(|| coalesce.call("key", || gate.pass()));
            until_running(&coalesce, 1);
            assert!(matches!(coalesce.call("key", || unreachable!()), Err(CallError::TimedOut)));
            let patient = scope.spawn(|| coalesce.on("key").timeout(Duration::MAX).call(|_| unreachable!()));
            until_following(&coalesce, 1);
            gate.open();
            leader.join().unwrap().unwrap();
            patient.join().unwrap().result.unwrap();
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn a_herd_whose_timeout_ended_does_not_lead() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.call(&1, || {
                    gate.pass();
                    1
                })
            });
            until_running(&coalesce, 1);
            let herd = crowd(scope, 20, |_| {
                coalesce.on(&1).timeout(Duration::from_millis(5)).call(|_| unreachable!("it has timed out"))
            });
            assert!(join(herd).into_iter().all(|outcome| matches!(outcome.result, Err(CallError::TimedOut))));
            gate.open();
            leader.join().unwrap().unwrap();
        });
        assert_eq!(coalesce.stats().underlying_calls, 1);
        assert_idle(&coalesce);
    });
}
