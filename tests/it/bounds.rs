//! Bounds on followers: for each flight, and over all of them.

use std::time::Duration;

use sync_coalesce::{BypassReason, CallError, OnOverflow, Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until, until_following, until_running};

#[test]
fn one_follower_too_many_is_rejected_or_runs_uncoalesced() {
    bounded(|| {
        for overflow in [OnOverflow::Refuse, OnOverflow::Bypass] {
            let coalesce: SyncCoalesce<u8, u32> =
                SyncCoalesce::builder().max_followers(2).on_overflow(overflow).build();
            let gate = Gate::new();
            thread::scope(|scope| {
                let leader = scope.spawn(|| {
                    coalesce.call(&1, || {
                        gate.pass();
                        1
                    })
                });
                until_running(&coalesce, 1);
                let followers = crowd(scope, 2, |_| coalesce.call(&1, || unreachable!("there is room")));
                until_following(&coalesce, 2);
                let one_more = coalesce.on(&1).call(|_| 2);
                if overflow == OnOverflow::Refuse {
                    assert!(matches!(one_more.result, Err(CallError::Overloaded)));
                    assert_eq!(one_more.role, Role::Refused);
                } else {
                    assert_eq!(*one_more.result.unwrap(), 2);
                    assert_eq!(one_more.role, Role::Bypassed(BypassReason::Overloaded));
                }
                gate.open();
                leader.join().unwrap().unwrap();
                assert!(join(followers).into_iter().all(|value| *value.unwrap() == 1));
            });
            let stats = coalesce.stats();
            assert_eq!((stats.coalesced_calls, stats.overloaded + stats.bypassed, stats.calls()), (2, 1, 4));
            assert_idle(&coalesce);
        }
    });
}

#[test]
fn places_for_followers_in_all_are_given_back_however_they_leave() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::builder().max_followers_total(2).build();
        // One way to leave after the other; had one kept its place, a later round would be rejected.
        for way in ["end", "cancel", "timeout", "panic", "forget"] {
            let gates = [Gate::new(), Gate::new()];
            thread::scope(|scope| {
                let leaders = crowd(scope, 2, |number| {
                    coalesce.call(&u8::try_from(number).unwrap(), || {
                        gates[number].pass();
                        if way == "panic" {
                            std::panic::resume_unwind(Box::new("the round's way"));
                        }
                        1
                    })
                });
                until_running(&coalesce, 2);
                let followers = crowd(scope, 2, |number| {
                    let timeout = if way == "timeout" { Duration::from_millis(50) } else { Duration::MAX };
                    coalesce.on(&u8::try_from(number).unwrap()).timeout(timeout).call(|_| unreachable!())
                });
                if way != "timeout" {
                    until_following(&coalesce, 2);
                    assert!(matches!(coalesce.call(&0, || unreachable!()), Err(CallError::Overloaded)), "{way}");
                }
                match way {
                    "cancel" => assert!(coalesce.cancel(&0) && coalesce.cancel(&1)),
                    "forget" => assert!(coalesce.forget(&0) && coalesce.forget(&1)),
                    "timeout" => until("both to have left", || coalesce.stats().timed_out == 2),
                    _ => {}
                }
                gates.iter().for_each(Gate::open);
                assert!(join(followers).iter().all(|outcome| matches!(outcome.role, Role::Follower { .. })), "{way}");
                for leader in leaders {
                    assert_eq!(leader.join().is_err(), way == "panic");
                }
            });
            assert_idle(&coalesce);
        }
    });
}

#[test]
fn a_follower_that_leads_something_takes_a_place_among_followers_in_all_too() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::builder().max_followers_total(1).build();
        let gate = Gate::new();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.call(&0, || {
                    gate.pass();
                    1
                })
            });
            until_running(&coalesce, 1);
            let nested = scope.spawn(|| coalesce.call(&1, || *coalesce.call(&0, || unreachable!()).unwrap()));
            until_following(&coalesce, 1);
            assert!(matches!(coalesce.call(&0, || unreachable!()), Err(CallError::Overloaded)));
            let leads = coalesce.call(&2, || {
                assert!(matches!(coalesce.call(&0, || unreachable!()), Err(CallError::Overloaded)));
                2
            });
            assert!(leads.is_ok());
            gate.open();
            assert!(leader.join().unwrap().is_ok() && nested.join().unwrap().is_ok());
        });
        assert_eq!(coalesce.stats().overloaded, 2);
        assert_idle(&coalesce);
    });
}
