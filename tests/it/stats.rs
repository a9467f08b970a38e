//! Counters, costs, and what is known of the flights under way.

use std::panic::resume_unwind;
use std::time::Duration;

use sync_coalesce::observe::Observer;
use sync_coalesce::{Stats, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until_following, until_running};

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

#[test]
fn a_failed_run_counts_as_an_underlying_call() {
    let coalesce: SyncCoalesce<String, (), ()> = SyncCoalesce::new();
    coalesce.try_call("key", || Err(())).unwrap_err();
    let stats = coalesce.stats();
    assert_eq!((stats.underlying_calls, stats.failed, stats.calls()), (1, 1, 1));
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
        assert!((stats.coalesce_ratio() - 4.0 / 6.0).abs() < 1e-9, "four of six calls were coalesced");
        assert_idle(&coalesce);
    });
}

#[test]
fn a_cost_that_panics_or_is_not_finite_counts_nothing() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, f64> = SyncCoalesce::builder()
            .cost(|cost: &f64| if *cost < 0.0 { resume_unwind(Box::new("cost")) } else { *cost })
            .build();
        for cost in [-1.0, f64::NAN, f64::INFINITY, 2.0] {
            let values = thread::scope(|scope| {
                join(crowd(scope, 2, |_| {
                    coalesce.call("key", || {
                        until_following(&coalesce, 1);
                        cost
                    })
                }))
            });
            assert!(values.into_iter().all(|value| value.unwrap().to_bits() == cost.to_bits()));
        }
        let stats = coalesce.stats();
        assert_eq!((stats.cost_spent, stats.cost_saved, stats.panicked), (2.0, 2.0, 0));
        assert_idle(&coalesce);
    });
}

#[test]
fn who_joined_and_got_nothing_or_ran_after_all_is_no_hit() {
    let mut stats = Stats::default();
    (stats.underlying_calls, stats.elected, stats.coalesced_calls) = (3, 1, 16);
    (stats.impatient, stats.timed_out, stats.cancelled, stats.lingered) = (2, 3, 4, 2);
    assert_eq!(stats.calls(), 20);
    assert!((stats.coalesce_ratio() - 8.0 / 20.0).abs() < 1e-9, "six followers and two of what lingers");
    stats.coalesced_calls = 0;
    assert!((stats.coalesce_ratio() - 2.0 / 4.0).abs() < 1e-9, "their joining was before a reset");
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
