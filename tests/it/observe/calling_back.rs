//! Observers that wait, and that call coalescers, when their thread has joined a flight and does not wait for it yet.

use std::sync::{Arc, LazyLock, Mutex};

use sync_coalesce::{CallError, OnFailure, SyncCoalesce};

use super::{Always, Coalesce, dawdle};
use crate::support::thread;
use crate::support::{Gate, Holding, LIMIT, assert_idle, bounded, hold_at, until, until_following, until_running};

fn electing() -> Coalesce {
    SyncCoalesce::builder().on_error(OnFailure::Elect { times: 1 }).observer(Holding).build()
}

fn is_failed<T>(result: &Result<T, CallError<u8>>) -> bool {
    matches!(result, Err(CallError::Failed(error)) if **error == 1)
}

/// ```text
/// leader      leads --- both have joined -- fails, and ends: nobody waits who could lead
/// follower         joins, is told
///                    has a ticket, and waits .................... gets the failure
///                                                                 gets the failure
/// ```
#[test]
fn an_observer_that_waits_for_the_flight_just_joined_waits_for_no_election_of_its_own() {
    static ANSWER: Mutex<Option<Result<Arc<u8>, CallError<u8>>>> = Mutex::new(None);
    static ASKED: LazyLock<Coalesce> = LazyLock::new(|| {
        let observer = Always(|event: &str| {
            if event == "joined" {
                let answer = ASKED.detach(&1, |_| Ok(3)).wait();
                *ANSWER.lock().unwrap() = Some(answer);
            }
        });
        SyncCoalesce::builder().on_error(OnFailure::Elect { times: 1 }).observer(observer).build()
    });
    bounded(|| {
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                ASKED.try_call(&1, || {
                    until_following(&ASKED, 2);
                    Err(1)
                })
            });
            until_running(&ASKED, 1);
            let follower = scope.spawn(|| ASKED.try_call(&1, || unreachable!("nobody is elected")));
            assert!(is_failed(&leader.join().unwrap()));
            assert!(is_failed(&follower.join().unwrap()));
        });
        assert!(ANSWER.lock().unwrap().as_ref().is_some_and(is_failed));
        assert_eq!(ASKED.stats().elected, 0);
        assert!(ASKED.drain(LIMIT));
        assert_idle(&ASKED);
    });
}

/// ```text
/// leader       leads --- both have joined -- fails, and ends
/// held             joins, is told, stops ............................. goes on: gets the failure
/// ticket                  joins; waits ..... gets the failure
/// ```
#[test]
fn an_observer_that_takes_its_time_holds_up_no_ticket() {
    bounded(|| {
        let coalesce = electing();
        let goes_on = Arc::new(Gate::new());
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.try_call(&1, || {
                    until_following(&coalesce, 2);
                    Err(1)
                })
            });
            until_running(&coalesce, 1);
            let held = scope.spawn(|| {
                hold_at(&goes_on);
                coalesce.try_call(&1, || unreachable!("nobody is elected"))
            });
            until_following(&coalesce, 1);
            let ticket = coalesce.detach(&1, |_| Ok(3));
            assert!(is_failed(&ticket.wait()));
            assert!(is_failed(&leader.join().unwrap()));
            assert_idle(&coalesce);
            goes_on.open();
            assert!(is_failed(&held.join().unwrap()));
        });
        assert_eq!(coalesce.stats().elected, 0);
        assert_idle(&coalesce);
    });
}

/// ```text
/// leader       leads --- both have joined -- fails: the lead is vacant
/// held             joins, is told, stops ............................................ goes on: gets the value
/// other               joins; waits ................................... leads, and ends
/// ```
#[test]
fn an_observer_that_takes_its_time_holds_up_no_election() {
    fn is_elected() -> bool {
        let coalesce = electing();
        let goes_on = Arc::new(Gate::new());
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.try_call(&1, || {
                    until_following(&coalesce, 2);
                    dawdle();
                    Err(1)
                })
            });
            until_running(&coalesce, 1);
            let held = scope.spawn(|| {
                hold_at(&goes_on);
                coalesce.try_call(&1, || unreachable!("it does not wait while the lead is vacant"))
            });
            until_following(&coalesce, 1);
            let other = coalesce.try_call(&1, || Ok(2));
            assert!(is_failed(&leader.join().unwrap()));
            assert_idle(&coalesce);
            goes_on.open();
            let held = held.join().unwrap();
            match other {
                Ok(value) => assert!(Arc::ptr_eq(&value, &held.unwrap())),
                Err(_) => assert!(is_failed(&other) && is_failed(&held)),
            }
        });
        coalesce.stats().elected == 1
    }

    bounded(|| until("an election", is_elected));
}

/// ```text
/// first                            second
///                                  leads `outer`
/// leads `own`
/// joins `outer`, is told
///   leads `inner`
///                                  joins `inner`: no cycle, as the first does not wait for `outer` yet
///   ends `inner`
/// waits for `outer`                gets the value, and ends `outer`
/// ```
#[test]
fn a_flight_that_an_observer_leads_closes_no_cycle_with_the_wait_that_comes_next() {
    bounded(|| {
        let inner: Arc<Coalesce> = Arc::new(SyncCoalesce::new());
        let begun = Arc::new(Gate::new());
        let (led, begins) = (Arc::clone(&inner), Arc::clone(&begun));
        let observer = Always(move |event: &str| {
            if event == "joined" {
                drop(led.try_call(&1, || {
                    begins.open();
                    until("the second to join, or to be refused", || {
                        led.stats().following + led.stats().deadlocks == 1
                    });
                    Ok(1)
                }));
            }
        });
        let outer: Coalesce = SyncCoalesce::builder().observer(observer).build();
        let own: Coalesce = SyncCoalesce::new();
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                outer.try_call(&1, || {
                    begun.pass();
                    Ok(*inner.try_call(&1, || Ok(2)).expect("no cycle"))
                })
            });
            until_running(&outer, 1);
            let first = scope.spawn(|| own.try_call(&1, || Ok(*outer.try_call(&1, || Ok(0)).unwrap())));
            assert_eq!(*first.join().unwrap().unwrap(), 1);
            assert_eq!(*second.join().unwrap().unwrap(), 1);
        });
        for coalesce in [&own, &outer, &inner] {
            assert_eq!(coalesce.stats().deadlocks, 0);
            assert_idle(coalesce);
        }
    });
}

/// ```text
/// first                            second
/// leads `own`                      leads `other`
/// joins `other`, is told
///   waits for `third`
///   `third` has ended
/// waits for `other`                asks for `own`: whichever comes last is refused
/// ```
#[test]
fn of_a_wait_that_an_observer_delayed_and_one_that_closes_a_cycle_with_it_one_is_refused() {
    bounded(|| {
        static THIRD: LazyLock<Coalesce> = LazyLock::new(SyncCoalesce::new);
        for _ in 0..50 {
            let own: Coalesce = SyncCoalesce::new();
            let (ask, end) = (Gate::new(), Gate::new());
            let other: Coalesce = SyncCoalesce::builder()
                .observer(Always(|event: &str| {
                    if event == "joined" {
                        drop(THIRD.try_call(&1, || Ok(0)));
                    }
                }))
                .build();
            // What a caller has that is refused, and one that is not.
            let plainly = |result: Result<Arc<u8>, CallError<u8>>| match result {
                Ok(value) => Ok(*value),
                Err(CallError::Deadlock { .. }) => Ok(0),
                Err(error) => panic!("{error}"),
            };
            thread::scope(|scope| {
                scope.spawn(|| {
                    THIRD.try_call(&1, || {
                        end.pass();
                        Ok(1)
                    })
                });
                until_running(&THIRD, 1);
                let second = scope.spawn(|| {
                    plainly(other.try_call(&1, || {
                        ask.pass();
                        plainly(own.try_call(&1, || unreachable!("a flight is on"))).map(|value| value + 1)
                    }))
                });
                until_running(&other, 1);
                let first = scope.spawn(|| {
                    plainly(own.try_call(&1, || {
                        plainly(other.try_call(&1, || unreachable!("a flight is on"))).map(|value| value + 1)
                    }))
                });
                until_following(&THIRD, 1);
                end.open();
                until_following(&THIRD, 0);
                ask.open();
                // The one who is refused adds to nothing, and the other one to that.
                let both = [first.join().unwrap().unwrap(), second.join().unwrap().unwrap()];
                assert!([[1, 2], [2, 1]].contains(&both), "{both:?}");
            });
            for coalesce in [&own, &other, &THIRD] {
                assert_idle(coalesce);
            }
            // One that was refused late stays a follower in the counters.
            assert_eq!(own.stats().coalesced_calls + own.stats().deadlocks, 1);
            assert_eq!((other.stats().coalesced_calls, other.stats().deadlocks), (1, 0));
        }
    });
}
