//! Crowds and ends: bounds, patience, marks, close and drain.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use sync_coalesce::{Bypass, CallError, Overflow, Role, SyncCoalesce};

use crate::support::{Gate, assert_idle, bounded, crowd, join, until, until_following, until_running};

#[test]
fn one_follower_too_many_is_rejected_or_runs_uncoalesced() {
    bounded(|| {
        for overflow in [Overflow::Reject, Overflow::Bypass] {
            let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::builder().max_followers(2).overflow(overflow).build();
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
                let one_more = coalesce.request(&1).call(|_| 2);
                if overflow == Overflow::Reject {
                    assert!(matches!(one_more.result, Err(CallError::Overloaded)));
                    assert_eq!(one_more.role, Role::Refused);
                } else {
                    assert_eq!(*one_more.result.unwrap(), 2);
                    assert_eq!(one_more.role, Role::Bypassed(Bypass::Overloaded));
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
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::builder().max_followers_in_all(2).build();
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
                    coalesce.request(&u8::try_from(number).unwrap()).timeout(timeout).call(|_| unreachable!())
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
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::builder().max_followers_in_all(1).build();
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
                coalesce.request(&1).timeout(Duration::from_millis(5)).call(|_| unreachable!("it has timed out"))
            });
            assert!(join(herd).into_iter().all(|outcome| matches!(outcome.result, Err(CallError::TimedOut))));
            gate.open();
            leader.join().unwrap().unwrap();
        });
        assert_eq!(coalesce.stats().underlying_calls, 1);
        assert_idle(&coalesce);
    });
}

#[test]
fn the_impatient_run_alone_and_not_more_than_so_many_at_a_time() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> =
            SyncCoalesce::builder().patience(Duration::from_millis(1)).max_impatient(2).build();
        let gate = Gate::new();
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.call(&1, || {
                    gate.pass();
                    1
                })
            });
            until_running(&coalesce, 1);
            let impatient = crowd(scope, 12, |_| {
                coalesce.request(&1).call(|_| {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    thread::yield_now();
                    now.fetch_sub(1, SeqCst);
                    2
                })
            });
            for outcome in join(impatient) {
                assert_eq!(outcome.role, Role::Bypassed(Bypass::Impatient));
                assert_eq!(*outcome.result.unwrap(), 2);
            }
            gate.open();
            leader.join().unwrap().unwrap();
        });
        assert!(most.load(SeqCst) <= 2, "{most:?}");
        let stats = coalesce.stats();
        assert_eq!((stats.impatient, stats.coalesced_calls, stats.bypassed, stats.calls()), (12, 12, 0, 13));
        assert_idle(&coalesce);
    });
}

#[test]
fn a_deadline_comes_before_a_longer_patience_and_patience_before_a_longer_deadline() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::new();
        let value = coalesce.call(&1, || {
            let (short, long) = (Duration::from_millis(5), Duration::MAX);
            thread::scope(|scope| {
                let late = scope.spawn(|| coalesce.request(&1).timeout(short).patience(long).call(|_| 2));
                assert!(matches!(late.join().unwrap().result, Err(CallError::TimedOut)));
                let impatient = scope.spawn(|| coalesce.request(&1).timeout(long).patience(short).call(|_| 2));
                *impatient.join().unwrap().result.unwrap()
            })
        });
        assert_eq!(*value.unwrap(), 2);
        assert_idle(&coalesce);
    });
}

/// ```text
/// old leader   lead(1) ------------------------------------------- gate -- 1
/// old follower         join(1) ------------------------------------------- 1
/// writer                       changes something, makes a mark
/// first                               after(mark): lead(2) --------------------- gate -- 2
/// second                                     after(mark): join(2) ---------------------- 2
/// ```
#[test]
fn after_a_mark_an_older_flight_is_forgotten_and_one_new_flight_serves_all() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::new();
        let (old_gate, new_gate, mark) = (Gate::new(), Gate::new(), OnceLock::new());
        thread::scope(|scope| {
            let old = scope.spawn(|| {
                coalesce.call(&1, || {
                    old_gate.pass();
                    1
                })
            });
            until_running(&coalesce, 1);
            let old_follower = scope.spawn(|| coalesce.call(&1, || unreachable!("a flight is on")));
            until_following(&coalesce, 1);
            let mark = mark.get_or_init(|| coalesce.mark());
            let new = crowd(scope, 5, |_| {
                coalesce.request(&1).after(*mark).call(|_| {
                    new_gate.pass();
                    2
                })
            });
            until_following(&coalesce, 5);
            assert_eq!((coalesce.in_flight(), coalesce.stats().underlying_calls), (1, 2));
            old_gate.open();
            assert_eq!((*old.join().unwrap().unwrap(), *old_follower.join().unwrap().unwrap()), (1, 1));
            new_gate.open();
            assert!(join(new).into_iter().all(|outcome| *outcome.result.unwrap() == 2));
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn a_flight_begun_after_the_mark_is_joined() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::new();
        let mark = coalesce.mark();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.call(&1, || {
                    until_following(&coalesce, 1);
                    1
                })
            });
            until_running(&coalesce, 1);
            let outcome = coalesce.request(&1).after(mark).call(|_| unreachable!("a fresh flight is on"));
            assert_eq!(*outcome.result.unwrap(), 1);
            leader.join().unwrap().unwrap();
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn close_wakes_every_follower_refuses_new_calls_and_leaves_leaders_their_results() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let lead = |key: u8| {
                let (coalesce, gate) = (&coalesce, &gate);
                scope.spawn(move || {
                    coalesce.request(&key).call(|flight| {
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
            for refused in [coalesce.request(&1).call(|_| 2), coalesce.request(&2).bypass().call(|_| 2)] {
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
            scope.spawn(move || coalesce.request(&1).bypass().call(|_| wait()));
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
            let drained = coalesce.request(&2).bypass().call(|_| {
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
                coalesce.request(&1).bypass().call(|_| {
                    second.pass();
                    coalesce.drain(Duration::MAX)
                })
            });
            until_running(&coalesce, 1);
            let ends = scope.spawn(|| {
                coalesce.request(&1).bypass().call(|_| {
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
