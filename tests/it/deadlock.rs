//! Who may wait for whom: a wait that would close a circle is refused, and no other.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Barrier, LazyLock};
use std::time::Duration;

use sync_coalesce::observe::{FlightId, Observer};
use sync_coalesce::{BypassReason, CallError, OnDeadlock, OnFailure, Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until, until_following, until_running};

/// What the chain of a refusal names.
fn chain<T, E: fmt::Display>(result: Result<Arc<T>, CallError<E>>) -> Vec<String> {
    match result {
        Err(CallError::Deadlock { chain }) => chain.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("not refused"),
    }
}

#[test]
fn a_closure_that_asks_for_its_own_key_is_refused_at_once() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, Vec<String>> = SyncCoalesce::builder().name("answers").build();
        let outer = coalesce.call("key", || {
            let inner = coalesce.on("key").call(|_| unreachable!("it is refused"));
            assert_eq!(inner.role, Role::Refused);
            chain(inner.result)
        });
        let [flight] = &outer.unwrap()[..] else { panic!("one flight is in the circle") };
        assert!(flight.starts_with("answers#"), "{flight}");
        let stats = coalesce.stats();
        assert_eq!((stats.underlying_calls, stats.deadlocks, stats.coalesced_calls, stats.calls()), (1, 1, 0, 2));
        assert_idle(&coalesce);
    });
}

#[test]
fn a_closure_that_asks_for_its_own_key_runs_uncoalesced_if_so_configured() {
    let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::builder().on_deadlock(OnDeadlock::Bypass).build();
    let outer = coalesce.call("key", || {
        let inner = coalesce.on("key").call(|_| 2);
        assert_eq!(inner.role, Role::Bypassed(BypassReason::Deadlock));
        *inner.result.unwrap() + 1
    });
    assert_eq!(*outer.unwrap(), 3);
    let stats = coalesce.stats();
    assert_eq!((stats.underlying_calls, stats.bypassed, stats.calls()), (1, 1, 2));
    assert_idle(&coalesce);
}

#[test]
fn cost_policies_and_observer_are_refused_too_where_they_ask_for_the_key_of_their_flight() {
    static COALESCE: LazyLock<SyncCoalesce<u8, u32, u32>> = LazyLock::new(|| {
        SyncCoalesce::builder()
            .cost(|_| f64::from(u8::from(ask())))
            .on_error_with(|_| elects_unless(ask()))
            .on_panic_with(|_| elects_unless(ask()))
            .observer(Asks)
            .build()
    });

    struct Asks;

    impl Observer for Asks {
        fn led(&self, _: &FlightId<'_>) {
            assert!(ask());
        }
    }

    fn ask() -> bool {
        matches!(COALESCE.call(&1, || unreachable!("a flight is on")), Err(CallError::Deadlock { .. }))
    }

    fn elects_unless(refused: bool) -> OnFailure {
        if refused { OnFailure::Share } else { OnFailure::Elect { times: 1 } }
    }

    bounded(|| {
        COALESCE.try_call(&1, || Ok(7)).unwrap();
        assert_eq!((COALESCE.stats().cost_spent, COALESCE.stats().deadlocks), (1.0, 2), "observer and cost");
        COALESCE.try_call(&1, || Err(8)).unwrap_err();
        assert_eq!(COALESCE.stats().deadlocks, 4, "observer and policy for errors");
        let panics = AssertUnwindSafe(|| COALESCE.try_call(&1, || resume_unwind(Box::new("down"))));
        assert!(catch_unwind(panics).is_err());
        assert_eq!(COALESCE.stats().deadlocks, 6, "observer and policy for panics");
        assert_idle(&COALESCE);
    });
}

/// ```text
/// thread 1   lead A --- meet --- ask B ---.
/// thread 2   lead B --- meet --- ask A ---+--- one of the two asks is refused, and the other gets its answer
/// ```
#[test]
fn of_two_threads_that_ask_for_each_others_key_exactly_one_is_refused() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, bool> = SyncCoalesce::new();
        let meet = Barrier::new(2);
        for _ in 0..500 {
            let refused = thread::scope(|scope| {
                join(crowd(scope, 2, |number| {
                    let own = u8::try_from(number).unwrap();
                    let was_refused = coalesce.call(&own, || {
                        meet.wait();
                        match coalesce.call(&(1 - own), || unreachable!("it is in flight until both have asked")) {
                            Err(CallError::Deadlock { chain }) => {
                                assert_eq!(chain.len(), 2);
                                true
                            }
                            other => !*other.unwrap(),
                        }
                    });
                    *was_refused.unwrap()
                }))
            });
            // The one that was not refused got `true` from the one that was.
            assert_eq!(refused.iter().filter(|refused| **refused).count(), 1);
            assert_idle(&coalesce);
        }
        assert_eq!(coalesce.stats().deadlocks, 500);
    });
}

#[test]
fn a_circle_over_three_threads_three_keys_and_two_coalescers_is_refused_once() {
    fn label(key: &String) -> String {
        format!("<{key}>")
    }
    bounded(|| {
        let one: SyncCoalesce<String, String> = SyncCoalesce::builder().key_label(label).build();
        let other: SyncCoalesce<String, String> = SyncCoalesce::builder().key_label(label).build();
        let meet = Barrier::new(3);
        // Each thread leads its own key and asks for the next one's.
        let keys = [(&one, "a"), (&other, "b"), (&one, "c")];
        let answers = thread::scope(|scope| {
            join(crowd(scope, 3, |number| {
                let (own, own_key) = keys[number];
                let (next, next_key) = keys[(number + 1) % 3];
                let answer = own.call(own_key, || {
                    meet.wait();
                    match next.call(next_key, || unreachable!("it is in flight until all have asked")) {
                        Err(CallError::Deadlock { chain }) => chain.join(" "),
                        answer => answer.unwrap().to_string(),
                    }
                });
                answer.unwrap().to_string()
            }))
        });
        assert!(["<a> <b> <c>", "<b> <c> <a>", "<c> <a> <b>"].contains(&answers[0].as_str()), "{answers:?}");
        assert!(answers.iter().all(|answer| *answer == answers[0]), "the one refusal travelled round");
        assert_eq!(one.stats().deadlocks + other.stats().deadlocks, 1);
        assert_idle(&one);
        assert_idle(&other);
    });
}

/// ```text
/// pool's thread 1   lead [ left side, until the right one is taken -- waits for it: steals the job, which asks ]
/// pool's thread 2                          right side: puts a job into its queue ......................... ends
/// ```
#[test]
fn a_job_that_rayon_steals_onto_the_leaders_thread_is_refused() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, bool> = SyncCoalesce::new();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let (taken, asked) = (Gate::new(), Gate::new());
        let refused = pool.install(|| {
            coalesce.call("key", || {
                let leader = thread::current().id();
                let refused = AtomicBool::new(false);
                let job = || {
                    assert_eq!(thread::current().id(), leader, "the other one is held");
                    let inner = coalesce.call("key", || unreachable!("it is in flight"));
                    refused.store(matches!(inner, Err(CallError::Deadlock { .. })), SeqCst);
                };
                let right = || {
                    assert_ne!(thread::current().id(), leader, "it is not to be run by who made it");
                    taken.open();
                    rayon::scope(|scope| {
                        scope.spawn(|_| {
                            job();
                            asked.open();
                        });
                        asked.pass();
                    });
                };
                rayon::join(|| taken.pass(), right);
                refused.into_inner()
            })
        });
        assert!(*refused.unwrap());
        assert_eq!(coalesce.stats().deadlocks, 1);
        assert_idle(&coalesce);
    });
}

/// ```text
/// leader     lead outer [ lead first ------ ends    ask second, joins ------------------ gets it ]
/// follower        lead second [ follow first ............... (asleep still) wakes ] ends
/// ```
#[test]
fn a_follower_of_a_flight_that_has_ended_closes_no_circle_though_it_sleeps_still() {
    bounded(|| {
        let coalesce: SyncCoalesce<(u32, u8), u32> = SyncCoalesce::new();
        let coalesce = &coalesce;
        for round in 0..3_000 {
            let (outer, first, second) = ((round, 0), (round, 1), (round, 2));
            thread::scope(|scope| {
                scope.spawn(move || {
                    until("the first flight", || coalesce.flights().iter().any(|flight| flight.key == first));
                    let value = coalesce.call(&second, || {
                        *coalesce.call(&first, || unreachable!("it waits for a follower")).unwrap() + 1
                    });
                    assert_eq!(*value.unwrap(), 2);
                });
                // It leads something all the time, so its waits are looked at.
                coalesce
                    .call(&outer, || {
                        coalesce
                            .call(&first, || {
                                until_following(coalesce, 1);
                                1
                            })
                            .unwrap();
                        // The follower may still be asleep, and leads `second` until it wakes.
                        *coalesce.call(&second, || 2).unwrap()
                    })
                    .unwrap();
            });
        }
        assert_eq!(coalesce.stats().deadlocks, 0);
        assert_idle(coalesce);
    });
}

/// ```text
/// first       lead A -- fails
/// elected     lead B [ follow A ... elected, leads A [ ask C: refused ] ]
/// third       lead C [ follow A ........................ gets its answer ]
/// ```
#[test]
fn a_circle_through_an_elected_leader_is_refused() {
    bounded(|| {
        let coalesce: SyncCoalesce<&str, &str, ()> =
            SyncCoalesce::builder().on_error(OnFailure::Elect { times: 1 }).build();
        let (fail, third_follows) = (Gate::new(), Gate::new());
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                coalesce.try_call(&"A", || {
                    fail.pass();
                    Err(())
                })
            });
            until_running(&coalesce, 1);
            let elected = scope.spawn(|| {
                coalesce.try_call(&"B", || {
                    let outcome = coalesce.on(&"A").try_call(|_| {
                        third_follows.pass();
                        let refused = coalesce.try_call(&"C", || unreachable!("it is in flight"));
                        Ok(if matches!(refused, Err(CallError::Deadlock { .. })) { "refused" } else { "not refused" })
                    });
                    assert_eq!(outcome.role, Role::Leader { followers: 1 });
                    Ok(*outcome.result.unwrap())
                })
            });
            until_following(&coalesce, 1);
            fail.open();
            assert!(matches!(first.join().unwrap(), Err(CallError::Failed(_))));
            until("the election", || coalesce.stats().elected == 1);
            let third = scope.spawn(|| {
                coalesce.try_call(&"C", || Ok(*coalesce.try_call(&"A", || unreachable!("in flight")).unwrap()))
            });
            until_following(&coalesce, 1);
            third_follows.open();
            assert_eq!(*elected.join().unwrap().unwrap(), "refused");
            assert_eq!(*third.join().unwrap().unwrap(), "refused");
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn a_follower_that_timed_out_closes_no_circle() {
    bounded(|| {
        let coalesce: SyncCoalesce<&str, u32> = SyncCoalesce::new();
        let (left, may_end) = (Gate::new(), Gate::new());
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.call(&"A", || {
                    left.pass();
                    *coalesce.call(&"B", || unreachable!("it is in flight")).unwrap()
                })
            });
            until_running(&coalesce, 1);
            let other = scope.spawn(|| {
                coalesce.call(&"B", || {
                    let outcome = coalesce.on(&"A").timeout(Duration::ZERO).call(|_| unreachable!("in flight"));
                    assert!(matches!(outcome.result, Err(CallError::TimedOut)));
                    left.open();
                    may_end.pass();
                    7
                })
            });
            // Before that, the one follower would be the one that times out.
            until("the time-out", || coalesce.stats().timed_out == 1);
            until_following(&coalesce, 1);
            may_end.open();
            assert_eq!((*leader.join().unwrap().unwrap(), *other.join().unwrap().unwrap()), (7, 7));
        });
        assert_eq!(coalesce.stats().deadlocks, 0);
        assert_idle(&coalesce);
    });
}

#[test]
fn a_leader_may_follow_another_flight_that_does_not_lead_back() {
    bounded(|| {
        let coalesce: SyncCoalesce<&str, u32> = SyncCoalesce::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let far = scope.spawn(|| {
                coalesce.call(&"far", || {
                    gate.pass();
                    1
                })
            });
            until_running(&coalesce, 1);
            let middle = scope.spawn(|| coalesce.call(&"middle", || *coalesce.call(&"far", || 0).unwrap() + 1));
            until_following(&coalesce, 1);
            let near = scope.spawn(|| coalesce.call(&"near", || *coalesce.call(&"middle", || 0).unwrap() + 1));
            until_following(&coalesce, 2);
            gate.open();
            assert_eq!([far, middle, near].map(|thread| *thread.join().unwrap().unwrap()), [1, 2, 3]);
        });
        assert_eq!(coalesce.stats().deadlocks, 0);
        assert_idle(&coalesce);
    });
}

/// ```text
/// leader     lead A [ joins a thread of its own ........................ ]
/// thread                   follow A ... patience ends, runs its own work
/// ```
#[test]
fn a_wait_that_no_graph_can_see_ends_by_patience() {
    bounded(|| {
        let coalesce: SyncCoalesce<&str, u32> = SyncCoalesce::new();
        let value = coalesce.call(&"A", || {
            thread::scope(|scope| {
                let ask = || coalesce.on(&"A").patience(Duration::from_millis(10)).call(|_| 2);
                let outcome = scope.spawn(ask).join().unwrap();
                assert_eq!(outcome.role, Role::Bypassed(BypassReason::Impatient));
                *outcome.result.unwrap()
            })
        });
        assert_eq!(*value.unwrap(), 2);
        let stats = coalesce.stats();
        assert_eq!((stats.coalesced_calls, stats.impatient, stats.bypassed, stats.calls()), (1, 1, 0, 2));
        assert_idle(&coalesce);
    });
}

/// ```text
/// leader     lead A [ joins a thread of its own ............. ]
/// thread                   follow A ... its time passes, leaves
/// ```
#[test]
fn a_wait_that_no_graph_can_see_ends_by_a_timeout() {
    const TIME: Duration = Duration::from_millis(10);
    bounded(|| {
        let coalesce: SyncCoalesce<&str, u32> = SyncCoalesce::new();
        let value = coalesce.call(&"A", || {
            thread::scope(|scope| {
                let ask = || coalesce.on(&"A").timeout(TIME).call(|_| unreachable!("it is in flight"));
                let outcome = scope.spawn(ask).join().unwrap();
                assert!(matches!(outcome.role, Role::Follower { waited } if waited >= TIME));
                assert!(matches!(outcome.result, Err(CallError::TimedOut)));
            });
            1
        });
        assert_eq!(*value.unwrap(), 1);
        let stats = coalesce.stats();
        assert_eq!((stats.coalesced_calls, stats.timed_out, stats.deadlocks, stats.calls()), (1, 1, 0, 2));
        assert_idle(&coalesce);
    });
}

#[test]
fn a_leader_outside_a_pool_whose_threads_all_follow_it_ends_by_their_patience() {
    bounded(|| {
        let coalesce: SyncCoalesce<&str, u32> = SyncCoalesce::builder().patience(Duration::from_millis(10)).build();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let answers = thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.call(&"A", || {
                    // All of the pool follows this very flight, so the pool is busy until somebody loses patience.
                    // One may have lost it already, so those who wait now are not counted but those who ever did.
                    until("both to have joined", || coalesce.stats().coalesced_calls == 2);
                    pool.install(|| 1)
                })
            });
            until_running(&coalesce, 1);
            let followers = crowd(scope, 2, |_| pool.install(|| coalesce.call(&"A", || 2)));
            let mut answers: Vec<u32> = join(followers).into_iter().map(|answer| *answer.unwrap()).collect();
            answers.push(*leader.join().unwrap().unwrap());
            answers
        });
        // One of them at least ran its own; whoever was still waiting when that freed the pool has the leader's.
        assert!(answers[..2].contains(&2) && answers[2] == 1, "{answers:?}");
        assert_idle(&coalesce);
    });
}
