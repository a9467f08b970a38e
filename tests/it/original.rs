//! What the Python original does, behaviour by behaviour, and where it failed.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use sync_coalesce::{CallError, Observer, Role, Stats, SyncCoalesce};

use crate::support::{Gate, assert_idle, bounded, crowd, join, until, until_following, until_running};

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
fn leader_and_nine_followers_get_the_same_error() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, (), String> = SyncCoalesce::new();
        let results = thread::scope(|scope| {
            join(crowd(scope, 10, |_| {
                coalesce.try_call("key", || {
                    until_following(&coalesce, 9);
                    Err("quota".to_owned())
                })
            }))
        });
        let errors: Vec<Arc<String>> = results
            .into_iter()
            .map(|result| match result {
                Err(CallError::Failed(error)) => error,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(*errors[0], "quota");
        assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));
        assert_idle(&coalesce);
    });
}

#[test]
fn after_an_error_the_same_key_runs_afresh() {
    let coalesce: SyncCoalesce<String, u32, &str> = SyncCoalesce::new();
    assert!(matches!(coalesce.try_call("key", || Err("no")), Err(CallError::Failed(error)) if *error == "no"));
    assert_eq!(*coalesce.try_call("key", || Ok(2)).unwrap(), 2);
    assert_idle(&coalesce);
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
fn reset_zeroes_the_counters_and_leaves_the_live_figures() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let calls = crowd(scope, 3, {
                let (coalesce, gate) = (&coalesce, &gate);
                move |_| coalesce.call("key", || gate.pass())
            });
            until_following(&coalesce, 2);
            let stats = coalesce.stats();
            assert_eq!((stats.underlying_calls, stats.coalesced_calls), (1, 2));
            coalesce.reset_stats();
            let stats = coalesce.stats();
            assert_eq!((stats.underlying_calls, stats.coalesced_calls, stats.calls()), (0, 0, 0));
            assert_eq!((stats.in_flight, stats.following, stats.running), (1, 2, 1));
            gate.open();
            assert!(join(calls).into_iter().all(|result| result.is_ok()));
        });
        assert_idle(&coalesce);
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
                coalesce.request("key").call(|flight| {
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
fn a_fresh_coalescer_has_counted_nothing() {
    let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::new();
    assert_eq!(coalesce.stats(), Stats::default());
}

#[test]
fn in_flight_is_one_during_a_call_and_zero_after() {
    let coalesce: SyncCoalesce<String, u64> = SyncCoalesce::new();
    assert_eq!(*coalesce.call("key", || coalesce.in_flight()).unwrap(), 1);
    assert_eq!(coalesce.in_flight(), 0);
    assert_idle(&coalesce);
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
fn a_hundred_callers_make_one_run() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, usize> = SyncCoalesce::new();
        let roles = thread::scope(|scope| {
            join(crowd(scope, 100, |number| {
                let outcome = coalesce.request(&1).call(|flight| {
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
fn a_failed_run_counts_as_an_underlying_call() {
    let coalesce: SyncCoalesce<String, (), ()> = SyncCoalesce::new();
    coalesce.try_call("key", || Err(())).unwrap_err();
    let stats = coalesce.stats();
    assert_eq!((stats.underlying_calls, stats.failed, stats.calls()), (1, 1, 1));
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

/// The original threw away the leader's paid result when a cancel came between its end and its publication.
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

/// The original left followers waiting for ever when the leader's thread died.
#[test]
fn a_leader_thread_that_dies_strands_nobody() {
    bounded(|| {
        let coalesce: Arc<SyncCoalesce<String, ()>> = Arc::default();
        let leader = thread::spawn({
            let coalesce = Arc::clone(&coalesce);
            move || {
                coalesce.call("key", || {
                    until_following(&coalesce, 1);
                    std::panic::resume_unwind(Box::new("the thread ends here"))
                })
            }
        });
        until_running(&coalesce, 1);
        let result = coalesce.call("key", || unreachable!("a flight is on"));
        assert!(matches!(result, Err(CallError::LeaderPanicked { message }) if &*message == "the thread ends here"));
        assert!(leader.join().is_err());
        assert_idle(&coalesce);
    });
}

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
            let patient = scope.spawn(|| coalesce.request("key").timeout(Duration::MAX).call(|_| unreachable!()));
            until_following(&coalesce, 1);
            for timeout in [Duration::ZERO, Duration::from_millis(20)] {
                let outcome = coalesce.request("key").timeout(timeout).call(|_| unreachable!());
                assert!(matches!(outcome.result, Err(CallError::TimedOut)));
                assert!(matches!(outcome.role, Role::Follower { waited } if waited >= timeout));
            }
            let past = Instant::now();
            let outcome = coalesce.request("key").deadline(past).call(|_| unreachable!());
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
            let patient = scope.spawn(|| coalesce.request("key").timeout(Duration::MAX).call(|_| unreachable!()));
            until_following(&coalesce, 1);
            gate.open();
            leader.join().unwrap().unwrap();
            patient.join().unwrap().result.unwrap();
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn a_bypassed_call_neither_joins_nor_can_be_joined() {
    let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
    let outer = coalesce.call("key", || {
        let inner = coalesce.request("key").bypass().call(|flight| {
            assert_eq!((flight.followers(), flight.is_cancelled()), (0, false));
            assert!(format!("{flight:?}").starts_with("Flight"));
            assert_eq!(coalesce.stats().running, 2);
            2
        });
        assert_eq!(inner.role, Role::Bypassed(sync_coalesce::Bypass::Requested));
        *inner.result.unwrap() + 1
    });
    assert_eq!(*outer.unwrap(), 3);
    let stats = coalesce.stats();
    assert_eq!((stats.underlying_calls, stats.bypassed, stats.calls()), (1, 1, 2));
    assert_idle(&coalesce);
}

#[test]
fn cost_is_spent_once_and_saved_by_each_follower_with_a_value() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, u32, ()> =
            SyncCoalesce::builder().cost(|tokens: &u32| f64::from(*tokens) / 2.0).build();
        thread::scope(|scope| {
            join(crowd(scope, 5, |_| {
                coalesce.try_call("key", || {
                    until_following(&coalesce, 4);
                    Ok(3)
                })
            }))
        });
        coalesce.try_call("key", || Err(())).unwrap_err();
        let stats = coalesce.stats();
        assert_eq!((stats.cost_spent, stats.cost_saved), (1.5, 6.0));
        assert!((stats.hit_ratio() - 4.0 / 6.0).abs() < 1e-9, "four of six calls were coalesced");
        assert_idle(&coalesce);
    });
}

#[test]
fn who_joined_and_got_nothing_or_ran_after_all_is_no_hit() {
    let mut stats = Stats::default();
    (stats.underlying_calls, stats.elected, stats.coalesced_calls) = (3, 1, 16);
    (stats.impatient, stats.timed_out, stats.cancelled, stats.lingered) = (2, 3, 4, 2);
    assert_eq!(stats.calls(), 20);
    assert!((stats.hit_ratio() - 8.0 / 20.0).abs() < 1e-9, "six followers and two of what lingers");
    stats.coalesced_calls = 0;
    assert!((stats.hit_ratio() - 2.0 / 4.0).abs() < 1e-9, "their joining was before a reset");
}

#[test]
fn flights_tells_key_followers_leader_and_age_where_something_asks_for_time() {
    struct Nobody;

    impl Observer for Nobody {}

    bounded(|| {
        let builder = || SyncCoalesce::<String, ()>::builder();
        let builders = [
            (builder(), false),
            (builder().track_age(true), true),
            (builder().observer(Nobody), true),
            (builder().linger_errors(Duration::from_secs(1)), true),
        ];
        for (builder, tells_age) in builders {
            let coalesce = builder.build();
            let gate = Gate::new();
            thread::scope(|scope| {
                let leader = scope.spawn(|| coalesce.call("key", || gate.pass()));
                until_running(&coalesce, 1);
                let follower = scope.spawn(|| coalesce.call("key", || unreachable!("a flight is on")));
                until_following(&coalesce, 1);
                let [flight] = &coalesce.flights()[..] else { panic!("one flight") };
                assert_eq!(
                    (flight.key.as_str(), flight.followers, flight.leader),
                    ("key", 1, Some(leader.thread().id()))
                );
                assert_eq!(flight.age.is_some(), tells_age);
                gate.open();
                leader.join().unwrap().unwrap();
                follower.join().unwrap().unwrap();
            });
            assert_idle(&coalesce);
        }
    });
}
