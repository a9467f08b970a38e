//! `close` refuses new calls and wakes followers; `drain` waits until no closure runs.

use std::time::Duration;

use sync_coalesce::{CallError, Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until, until_following, until_running};

#[test]
fn close_wakes_every_follower_refuses_new_calls_and_leaves_leaders_their_results() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let lead = |key: u8| {
                let (coalesce, gate) = (&coalesce, &gate);
                scope.spawn(move || {
                    coalesce.on(&key).call(|flight| {
                        gate.pass();
                        assert!(flight.is_cancelled());
                        1
                    })
                })
            };
            let forgotten = lead(1);
            until_running(&coalesce, 1);
            let of_forgotten = scope.spawn(|| coalesce.call(&1, || unreachable!("a flight is on")));
            until_following(&coalesce, 1);
            assert!(coalesce.forget(&1));
            let leader = lead(1);
            until_running(&coalesce, 2);
            let followers = crowd(scope, 3, |_| coalesce.call(&1, || unreachable!("a flight is on")));
            until_following(&coalesce, 4);

            coalesce.close();
            assert!(matches!(of_forgotten.join().unwrap(), Err(CallError::Closed)));
            assert!(join(followers).into_iter().all(|result| matches!(result, Err(CallError::Closed))));
            for refused in [coalesce.on(&1).call(|_| 2), coalesce.on(&2).bypass().call(|_| 2)] {
                assert!(matches!(refused.result, Err(CallError::Closed)));
                assert_eq!(refused.role, Role::Refused);
            }
            assert!(!coalesce.drain(Duration::ZERO), "two closures run");
            gate.open();
            gate.open();
            assert_eq!(*forgotten.join().unwrap().result.unwrap(), 1);
            assert_eq!(*leader.join().unwrap().result.unwrap(), 1);
        });
        assert!(coalesce.drain(Duration::MAX));
        coalesce.close();
        let stats = coalesce.stats();
        assert_eq!((stats.closed, stats.cancelled, stats.calls()), (2, 4, 8));
        assert_idle(&coalesce);
    });
}

#[test]
fn drain_waits_for_led_forgotten_and_bypassed_closures() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let (coalesce, gate) = (&coalesce, &gate);
            let wait = move || {
                gate.pass();
                1
            };
            scope.spawn(move || coalesce.call(&1, wait));
            until_running(coalesce, 1);
            coalesce.forget(&1);
            scope.spawn(move || coalesce.call(&1, wait));
            scope.spawn(move || coalesce.on(&1).bypass().call(|_| wait()));
            until_running(coalesce, 3);
            let drained = scope.spawn(|| coalesce.drain(Duration::MAX));
            for left in [3, 2, 1] {
                assert!(!drained.is_finished(), "{left} closures run");
                assert!(!coalesce.drain(Duration::from_millis(1)));
                gate.open();
                until_running(coalesce, left - 1);
            }
            assert!(drained.join().unwrap());
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn a_closure_can_drain_all_others() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, bool> = SyncCoalesce::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                coalesce.call(&1, || {
                    gate.pass();
                    true
                })
            });
            until_running(&coalesce, 1);
            let drained = coalesce.on(&2).bypass().call(|_| {
                *coalesce
                    .call(&3, || {
                        assert!(!coalesce.drain(Duration::from_millis(1)), "another closure runs");
                        gate.open();
                        coalesce.drain(Duration::MAX)
                    })
                    .unwrap()
            });
            assert!(*drained.result.unwrap());
            assert!(*other.join().unwrap().unwrap());
        });
        until("nothing to run", || coalesce.stats().running == 0);
        assert_idle(&coalesce);
    });
}

#[test]
fn a_closure_that_runs_alone_is_left_out_of_its_own_drain_after_another_one_has_ended() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, bool> = SyncCoalesce::builder().shards(1).build();
        let (first, second) = (Gate::new(), Gate::new());
        thread::scope(|scope| {
            let drains = scope.spawn(|| {
                coalesce.on(&1).bypass().call(|_| {
                    second.pass();
                    coalesce.drain(Duration::MAX)
                })
            });
            until_running(&coalesce, 1);
            let ends = scope.spawn(|| {
                coalesce.on(&1).bypass().call(|_| {
                    first.pass();
                    true
                })
            });
            until_running(&coalesce, 2);
            first.open();
            assert!(*ends.join().unwrap().result.unwrap());
            second.open();
            assert!(*drains.join().unwrap().result.unwrap(), "it waited for itself");
        });
        assert_idle(&coalesce);
    });
}
