//! What becomes of followers when a closure fails.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use sync_coalesce::{CallError, OnFailure, Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until, until_following, until_running};

type Coalesce = SyncCoalesce<&'static str, u64, u64>;

#[test]
fn one_follower_leads_after_an_error_and_the_others_get_its_value() {
    bounded(|| {
        let coalesce: Coalesce = SyncCoalesce::builder().on_error(OnFailure::Elect { times: 3 }).build();
        let runs = AtomicU64::new(0);
        let outcomes = thread::scope(|scope| {
            join(crowd(scope, 10, |_| {
                coalesce.on(&"key").try_call(|flight| {
                    let run = runs.fetch_add(1, SeqCst);
                    if run == 0 {
                        until_following(&coalesce, 9);
                        return Err(0);
                    }
                    assert_eq!(flight.followers(), 8);
                    Ok(run)
                })
            }))
        });
        assert_eq!(runs.load(SeqCst), 2);
        let failed =
            |result: &Result<Arc<u64>, CallError<u64>>| matches!(result, Err(CallError::Failed(error)) if **error == 0);
        let of = |role| outcomes.iter().filter(move |outcome| outcome.role == role).collect::<Vec<_>>();
        let [first] = of(Role::Leader { followers: 0 })[..] else { panic!("the failed leader shares with nobody") };
        assert!(failed(&first.result));
        let [second] = of(Role::Leader { followers: 8 })[..] else { panic!("the elected one is a leader") };
        let value = second.result.as_ref().unwrap();
        let followers: Vec<_> =
            outcomes.iter().filter(|outcome| matches!(outcome.role, Role::Follower { .. })).collect();
        assert_eq!(followers.len(), 8);
        assert!(followers.iter().all(|outcome| Arc::ptr_eq(outcome.result.as_ref().unwrap(), value)));
        let stats = coalesce.stats();
        assert_eq!((stats.underlying_calls, stats.coalesced_calls, stats.elected, stats.failed), (2, 9, 1, 1));
        assert_eq!(stats.calls(), 10);
        assert_idle(&coalesce);
    });
}

#[test]
fn after_so_many_elections_the_last_error_is_shared() {
    bounded(|| {
        for times in 0..4 {
            let coalesce: Coalesce = SyncCoalesce::builder().on_error(OnFailure::Elect { times }).build();
            let runs = AtomicU64::new(0);
            let results = thread::scope(|scope| {
                join(crowd(scope, 8, |_| {
                    coalesce.try_call(&"key", || {
                        until("all to have come", || coalesce.stats().calls() == 8);
                        Err(runs.fetch_add(1, SeqCst))
                    })
                }))
            });
            assert_eq!(runs.load(SeqCst), u64::from(times) + 1);
            let last = results
                .iter()
                .filter(|result| matches!(result, Err(CallError::Failed(error)) if **error == u64::from(times)));
            assert_eq!(last.count(), 8 - times as usize, "each leader has its own error, all others the last");
            assert_idle(&coalesce);
        }
    });
}

#[test]
fn a_panic_elects_by_its_own_policy() {
    bounded(|| {
        let coalesce: Coalesce = SyncCoalesce::builder()
            .on_panic_with(|message| if message == "again" { OnFailure::Elect { times: 1 } } else { OnFailure::Share })
            .build();
        for (message, elects) in [("again", true), ("never", false)] {
            let runs = AtomicU64::new(0);
            thread::scope(|scope| {
                let callers = crowd(scope, 3, |_| {
                    coalesce.call(&"key", || {
                        if runs.fetch_add(1, SeqCst) == 0 {
                            until_following(&coalesce, 2);
                            resume_unwind(Box::new(message));
                        }
                        7
                    })
                });
                let results: Vec<_> = callers.into_iter().map(thread::ScopedJoinHandle::join).collect();
                assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1, "its own caller has the panic");
                let values = results.iter().filter(|result| matches!(result, Ok(Ok(value)) if **value == 7)).count();
                assert_eq!(values, if elects { 2 } else { 0 });
            });
            assert_idle(&coalesce);
        }
    });
}

#[test]
fn a_policy_decides_for_each_error_and_shares_when_it_panics() {
    bounded(|| {
        let coalesce: Coalesce = SyncCoalesce::builder()
            .on_error_with(|error| match error {
                429 => OnFailure::Elect { times: 1 },
                500 => OnFailure::Share,
                _ => resume_unwind(Box::new("no policy for that")),
            })
            .build();
        for (error, expected_runs) in [(429, 2), (500, 1), (400, 1)] {
            let runs = AtomicU64::new(0);
            let results = thread::scope(|scope| {
                join(crowd(scope, 4, |_| {
                    coalesce.try_call(&"key", || {
                        if runs.fetch_add(1, SeqCst) == 0 {
                            until_following(&coalesce, 3);
                        }
                        Err(error)
                    })
                }))
            });
            assert_eq!(runs.load(SeqCst), expected_runs, "{error}");
            assert!(results.iter().all(|result| matches!(result, Err(CallError::Failed(failed)) if **failed == error)));
            assert_idle(&coalesce);
        }
    });
}

#[test]
fn a_lone_leader_that_fails_elects_nobody() {
    let coalesce: Coalesce = SyncCoalesce::builder().on_error(OnFailure::Elect { times: 9 }).build();
    coalesce.try_call(&"key", || Err(1)).unwrap_err();
    assert_eq!(coalesce.stats().elected, 0);
    assert_idle(&coalesce);
}

/// Followers sleep in several places, 64 of them in the first. Who is woken to lead must be one who is there.
///
/// ```text
/// leader     lead --- the many have left, the last has joined -- fails
/// many            join, sleep, leave at their deadline
/// last                         join, sleep ------------------------- lead
/// ```
#[test]
fn whoever_sleeps_yet_is_woken_to_lead_wherever_that_is() {
    bounded(|| {
        // A round shows nothing if some of the many have left before all have come, or if the last is still awake as the
        // leader fails.
        for _ in 0..8 {
            let coalesce: Coalesce = SyncCoalesce::builder().on_error(OnFailure::Elect { times: 1 }).build();
            thread::scope(|scope| {
                let leader = scope.spawn(|| {
                    coalesce.try_call(&"key", || {
                        until("the many to leave", || coalesce.stats().timed_out == 64);
                        until_following(&coalesce, 1);
                        Err(1)
                    })
                });
                until_running(&coalesce, 1);
                let many = crowd(scope, 64, |_| {
                    let request = coalesce.on(&"key").timeout(Duration::from_millis(50));
                    request.try_call(|_| unreachable!("its deadline passes first")).result
                });
                until("the many to join", || coalesce.stats().coalesced_calls == 64);
                assert_eq!(*coalesce.try_call(&"key", || Ok(2)).unwrap(), 2);
                assert!(leader.join().unwrap().is_err());
                assert!(join(many).iter().all(|result| matches!(result, Err(CallError::TimedOut))));
            });
            assert_eq!(coalesce.stats().elected, 1);
            assert_idle(&coalesce);
        }
    });
}

/// ```text
/// leader     lead -- fails, leads again at once -- fails, leads again at once -- ... until the other has left
/// follower       join ........... woken, too late ........... woken, too late ... leave when its time has passed
/// ```
#[test]
fn a_deadline_is_kept_however_often_the_lead_is_handed_over() {
    const TIME: Duration = Duration::from_millis(40);
    const PART: Duration = Duration::from_millis(5);
    bounded(|| {
        let coalesce: Coalesce = SyncCoalesce::builder().on_error(OnFailure::Elect { times: u32::MAX }).build();
        let runs = AtomicU64::new(0);
        let waited = thread::scope(|scope| {
            let follower = scope.spawn(|| {
                loop {
                    until_running(&coalesce, 1);
                    let before = runs.load(SeqCst);
                    let outcome = coalesce.on(&"key").timeout(TIME).try_call(|_| Ok(2));
                    match (outcome.role, outcome.result) {
                        // The lead was handed over three times at least while it waited. Had its time begun anew, the
                        // last time was two parts or more after it had joined.
                        (Role::Follower { waited }, Err(CallError::TimedOut))
                            if runs.load(SeqCst) > before + 3 && waited < TIME + PART * 2 =>
                        {
                            return waited;
                        }
                        // It was fast enough to lead, or had to wait for a turn of the processor.
                        (_, result) => assert!(matches!(result, Ok(_) | Err(CallError::TimedOut)), "{result:?}"),
                    }
                }
            });
            while !follower.is_finished() {
                let result = coalesce.try_call(&"key", || {
                    runs.fetch_add(1, SeqCst);
                    let began = Instant::now();
                    until("a part of its time", || began.elapsed() > PART || follower.is_finished());
                    Err(1)
                });
                assert!(!matches!(result, Err(CallError::TimedOut)));
            }
            follower.join().unwrap()
        });
        assert!(waited >= TIME, "{waited:?}");
        assert_idle(&coalesce);
    });
}

#[test]
fn an_elected_followers_flight_can_be_joined_forgotten_and_cancelled() {
    bounded(|| {
        let coalesce: Coalesce = SyncCoalesce::builder().on_error(OnFailure::Elect { times: 1 }).build();
        let gate = Gate::new();
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                coalesce.try_call(&"key", || {
                    until_following(&coalesce, 1);
                    Err(1)
                })
            });
            until_running(&coalesce, 1);
            let elected = scope.spawn(|| {
                coalesce.try_call(&"key", || {
                    gate.pass();
                    Ok(2)
                })
            });
            until("the election", || coalesce.stats().elected == 1);
            assert!(first.join().unwrap().is_err());
            let late = scope.spawn(|| coalesce.try_call(&"key", || unreachable!("the elected one leads")));
            until_following(&coalesce, 1);
            let [flight] = &coalesce.flights()[..] else { panic!("one flight") };
            assert_eq!(flight.leader, Some(elected.thread().id()));
            assert!(coalesce.cancel(&"key"));
            assert!(matches!(late.join().unwrap(), Err(CallError::Cancelled)));
            gate.open();
            assert_eq!(*elected.join().unwrap().unwrap(), 2);
        });
        assert_idle(&coalesce);
    });
}

/// Elections, departures and newcomers at random; nobody is left behind, and the counters add up.
#[test]
fn elections_among_a_crowd_that_comes_and_goes() {
    bounded(|| {
        let coalesce: Coalesce = SyncCoalesce::builder().on_error(OnFailure::Elect { times: 2 }).build();
        let runs = AtomicU64::new(0);
        thread::scope(|scope| {
            join(crowd(scope, 32, |number| {
                for round in 0..200 {
                    let timeout = if (number + round) % 3 == 0 { Duration::ZERO } else { Duration::MAX };
                    let outcome = coalesce.on(&"key").timeout(timeout).try_call(|_| {
                        let run = runs.fetch_add(1, SeqCst);
                        thread::yield_now();
                        if run % 2 == 0 { Err(run) } else { Ok(run) }
                    });
                    assert!(!matches!(
                        outcome.result,
                        Err(CallError::Deadlock { .. } | CallError::LeaderPanicked { .. })
                    ));
                }
            }))
        });
        let stats = coalesce.stats();
        assert_eq!(stats.calls(), 32 * 200);
        assert_eq!(stats.underlying_calls, runs.load(SeqCst));
        assert!(stats.elected > 0, "nobody was ever elected: {stats:?}");
        assert_idle(&coalesce);
    });
}

#[test]
fn an_elected_follower_gives_its_place_back() {
    bounded(|| {
        let coalesce: Coalesce =
            SyncCoalesce::builder().on_error(OnFailure::Elect { times: 1 }).max_followers_total(1).build();
        for _ in 0..3 {
            thread::scope(|scope| {
                let first = scope.spawn(|| {
                    coalesce.try_call(&"key", || {
                        until_following(&coalesce, 1);
                        Err(1)
                    })
                });
                until_running(&coalesce, 1);
                let outcome = coalesce.on(&"key").try_call(|_| Ok(2));
                assert_eq!(outcome.role, Role::Leader { followers: 0 });
                assert!(first.join().unwrap().is_err());
            });
        }
        assert_eq!((coalesce.stats().elected, coalesce.stats().overloaded), (3, 0));
        assert_idle(&coalesce);
    });
}
