//! Traps that caught other coalescers.

use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, LazyLock};
use std::thread;
use std::time::Duration;

use sync_coalesce::{CallError, Key, OnFailure, OnLastTicket, Role, SyncCoalesce};

use crate::support::{
    Gate, Holding, LIMIT, assert_idle, bounded, crowd, hold_at, join, until_following, until_running,
};

/// Takes every lock of the coalescers that it is used with: under one of them, that would never return.
fn ask_back() {
    for coalesce in [&*NOSY, &*NOSY_ELECTION, &*NOSY_POOL, &*NOSY_CLOSE] {
        let _ = coalesce.stats();
    }
}

type AskedBack = SyncCoalesce<Nosy, Nosy, Nosy>;

static NOSY: LazyLock<AskedBack> = LazyLock::new(|| {
    SyncCoalesce::builder()
        .shards(1)
        .cost(|_| {
            ask_back();
            1.0
        })
        .build()
});

static NOSY_ELECTION: LazyLock<AskedBack> = LazyLock::new(|| {
    SyncCoalesce::builder().shards(1).on_error(OnFailure::Elect { times: 1 }).max_followers(1).observer(Holding).build()
});

static NOSY_POOL: LazyLock<AskedBack> = LazyLock::new(|| {
    SyncCoalesce::builder().shards(1).pool_threads(1).pool_queue(1).on_last_ticket(OnLastTicket::Cancel).build()
});

static NOSY_CLOSE: LazyLock<AskedBack> =
    LazyLock::new(|| SyncCoalesce::builder().shards(1).pool_threads(1).linger(LIMIT).build());

#[derive(PartialEq, Eq)]
struct Nosy(u8);

impl Hash for Nosy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ask_back();
        self.0.hash(state);
    }
}

impl Clone for Nosy {
    fn clone(&self) -> Self {
        ask_back();
        Self(self.0)
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        ask_back();
    }
}

#[test]
fn no_lock_is_held_while_keys_values_errors_closures_or_cost_run() {
    bounded(|| {
        let round = |end: &(dyn Fn() -> Result<Nosy, Nosy> + Sync)| {
            thread::scope(|scope| {
                let callers = crowd(scope, 3, move |_| {
                    drop(NOSY.try_call(&Nosy(1), || {
                        ask_back();
                        until_following(&NOSY, 2);
                        end()
                    }));
                });
                join(callers);
            });
        };
        round(&|| Ok(Nosy(2)));
        round(&|| Err(Nosy(3)));
        round(&|| {
            NOSY.forget(&Nosy(1));
            Ok(Nosy(4))
        });
        round(&|| {
            NOSY.cancel(&Nosy(1));
            Ok(Nosy(5))
        });
        round(&|| {
            assert!(NOSY.request(&Nosy(1)).after(NOSY.mark()).try_call(|_| Ok(Nosy(6))).result.is_ok());
            Ok(Nosy(7))
        });
        assert_eq!(NOSY.stats().calls(), 16);
        let batch = |end: &(dyn Fn() -> Result<Vec<Nosy>, Nosy> + Sync)| {
            thread::scope(|scope| {
                let keys = [Nosy(1), Nosy(2)];
                let batch = scope.spawn(move || {
                    drop(NOSY.try_call_many(&keys, |_| {
                        until_following(&NOSY, 1);
                        end()
                    }));
                });
                until_running(&NOSY, 2);
                drop(NOSY.try_call(&Nosy(2), nosy(|| unreachable!("a flight is on"))));
                batch.join().unwrap();
            });
        };
        batch(&|| Ok(vec![Nosy(1), Nosy(2)]));
        batch(&|| Ok(vec![Nosy(1), Nosy(2), Nosy(3)]));
        batch(&|| Err(Nosy(3)));
        batch(&|| {
            NOSY.cancel(&Nosy(2));
            Ok(vec![Nosy(1), Nosy(2)])
        });
        assert_idle_unlisted(&NOSY);
    });
}

/// Nothing is left behind. `flights` would clone the keys under the lock, as its docs say.
fn assert_idle_unlisted(coalesce: &AskedBack) {
    let stats = coalesce.stats();
    assert_eq!((stats.in_flight, stats.following, stats.running), (0, 0, 0), "{stats:?}");
}

/// A closure that asks back when it goes, whether it has run or not.
fn nosy<R>(end: impl FnOnce() -> R) -> impl FnOnce() -> R {
    let carried = Nosy(0);
    move || {
        drop(carried);
        end()
    }
}

/// ```text
/// leader     lead --- the other has joined -- fails; drops its result
/// test                                                                meanwhile
/// follower        join, stop .................................................. go on
/// ```
#[test]
fn no_lock_is_held_while_the_last_leaders_error_goes() {
    let round = |timeout: Duration, meanwhile: &dyn Fn()| {
        let goes_on = Arc::new(Gate::new());
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                drop(NOSY_ELECTION.try_call(&Nosy(1), || {
                    until_following(&NOSY_ELECTION, 1);
                    Err(Nosy(2))
                }));
            });
            until_running(&NOSY_ELECTION, 1);
            let follower = scope.spawn(|| {
                hold_at(&goes_on);
                let end = nosy(|| Err(Nosy(3)));
                drop(NOSY_ELECTION.request(&Nosy(1)).timeout(timeout).try_call(|_| end()));
            });
            leader.join().unwrap();
            // From here on nobody but the flight has the error.
            meanwhile();
            goes_on.open();
            follower.join().unwrap();
        });
        assert_idle_unlisted(&NOSY_ELECTION);
    };
    bounded(|| {
        // The follower is elected; it leaves as the last one; or another takes the lead, or the flight away.
        round(Duration::MAX, &|| {});
        round(Duration::ZERO, &|| {});
        round(Duration::MAX, &|| drop(NOSY_ELECTION.try_call(&Nosy(1), nosy(|| Ok(Nosy(4))))));
        round(Duration::MAX, &|| assert!(NOSY_ELECTION.cancel(&Nosy(1))));
        round(Duration::ZERO, &|| assert!(NOSY_ELECTION.forget(&Nosy(1))));
        let stats = NOSY_ELECTION.stats();
        assert_eq!((stats.elected, stats.timed_out, stats.cancelled), (1, 2, 1), "{stats:?}");

        // What those bring who find no place, or no time, or are cancelled, goes with them.
        let ask = |timeout| {
            let unused = nosy(|| unreachable!("a flight is on"));
            NOSY_ELECTION.request(&Nosy(1)).timeout(timeout).try_call(|_| unused()).result
        };
        drop(NOSY_ELECTION.try_call(&Nosy(1), || {
            thread::scope(|scope| {
                assert!(matches!(scope.spawn(|| ask(Duration::ZERO)).join().unwrap(), Err(CallError::TimedOut)));
                let follower = scope.spawn(|| ask(Duration::MAX));
                until_following(&NOSY_ELECTION, 1);
                assert!(matches!(scope.spawn(|| ask(Duration::MAX)).join().unwrap(), Err(CallError::Overloaded)));
                assert!(NOSY_ELECTION.cancel(&Nosy(1)));
                assert!(matches!(follower.join().unwrap(), Err(CallError::Cancelled)));
            });
            Ok(Nosy(5))
        }));
        assert_idle_unlisted(&NOSY_ELECTION);
    });
}

/// ```text
/// test    detaches 1 (runs), 2 (queued), 3 (no place) -- drops the ticket of 2: cancelled -- the gate opens
/// ```
#[test]
fn no_lock_is_held_while_detached_flights_and_their_tickets_go() {
    bounded(|| {
        let gate = Arc::new(Gate::new());
        let pass = Arc::clone(&gate);
        let end = nosy(move || {
            pass.pass();
            Ok(Nosy(2))
        });
        let runs = NOSY_POOL.detach(&Nosy(1), |_| end());
        let unused = || nosy(|| unreachable!("it is joined, cancelled or has no place"));
        let (queued, crowded, joined) = (unused(), unused(), unused());
        let queued = NOSY_POOL.detach(&Nosy(2), |_| queued());
        assert!(matches!(NOSY_POOL.detach(&Nosy(3), |_| crowded()).wait(), Err(CallError::Overloaded)));
        let joined = NOSY_POOL.detach(&Nosy(1), |_| joined());
        drop(queued);
        assert_eq!(NOSY_POOL.in_flight(), 1, "nobody wants the other one");
        gate.open();
        drop((runs.wait(), joined));
        until_running(&NOSY_POOL, 0);
        drop(runs);
        let fails = nosy(|| Err(Nosy(4)));
        assert!(matches!(NOSY_POOL.detach(&Nosy(1), |_| fails()).wait(), Err(CallError::Failed(_))));
        until_running(&NOSY_POOL, 0);
        assert_idle_unlisted(&NOSY_POOL);
    });
}

/// ```text
/// leader     lead 1, which is forgotten; lead 2 --- the others are there -- close ---------- returns
/// follower        join 2 ............................................ Closed
/// pool            detached: 3 runs, 4 is queued ..................... 4 is thrown away
/// ```
#[test]
fn no_lock_is_held_while_close_drops_keys_results_and_closures() {
    bounded(|| {
        assert!(NOSY_CLOSE.try_call(&Nosy(0), || Ok(Nosy(1))).is_ok(), "and it lingers");
        let (begun, gate) = (Arc::new(Gate::new()), Arc::new(Gate::new()));
        let (begins, pass) = (Arc::clone(&begun), Arc::clone(&gate));
        let runs = NOSY_CLOSE.detach(&Nosy(3), move |_| {
            begins.open();
            pass.pass();
            Ok(Nosy(4))
        });
        begun.pass();
        let unused = nosy(|| unreachable!("it is closed before it begins"));
        let queued = NOSY_CLOSE.detach(&Nosy(4), |_| unused());
        let led = NOSY_CLOSE.try_call(&Nosy(1), || {
            assert!(NOSY_CLOSE.forget(&Nosy(1)));
            NOSY_CLOSE
                .try_call(&Nosy(2), || {
                    thread::scope(|scope| {
                        let unused = nosy(|| unreachable!("a flight is on"));
                        let follower = scope.spawn(|| NOSY_CLOSE.try_call(&Nosy(2), unused));
                        until_following(&NOSY_CLOSE, 1);
                        NOSY_CLOSE.close();
                        assert!(matches!(follower.join().unwrap(), Err(CallError::Closed)));
                    });
                    Ok(Nosy(5))
                })
                .map(|_| Nosy(6))
                .map_err(|_| Nosy(7))
        });
        assert!(led.is_ok());
        drop((led, queued));
        gate.open();
        drop(runs);
        assert!(NOSY_CLOSE.drain(LIMIT));
        assert_idle_unlisted(&NOSY_CLOSE);
    });
}

thread_local! {
    /// What the keys of this thread panic in.
    static PANIC_IN: Cell<&'static str> = const { Cell::new("") };
    /// Where the next key that this thread clones waits twice.
    static MEET_IN_CLONE: RefCell<Option<Arc<Barrier>>> = const { RefCell::new(None) };
}

fn trap(place: &'static str) {
    if PANIC_IN.get() == place {
        // Once: it must not meet itself while unwinding.
        PANIC_IN.set("");
        resume_unwind(Box::new(place));
    }
}

#[derive(Debug)]
struct Trapped(u8);

impl Hash for Trapped {
    fn hash<H: Hasher>(&self, state: &mut H) {
        trap("hash");
        self.0.hash(state);
    }
}

impl PartialEq for Trapped {
    fn eq(&self, other: &Self) -> bool {
        trap("eq");
        self.0 == other.0
    }
}

impl Eq for Trapped {}

impl Clone for Trapped {
    fn clone(&self) -> Self {
        trap("clone");
        if let Some(meeting) = MEET_IN_CLONE.take() {
            meeting.wait();
            meeting.wait();
        }
        Self(self.0)
    }
}

impl Drop for Trapped {
    fn drop(&mut self) {
        trap("drop");
    }
}

/// Which panic came out of `call`, if one did.
fn panic_of<R>(call: impl FnOnce() -> R) -> Option<&'static str> {
    catch_unwind(AssertUnwindSafe(call)).err().map(|payload| *payload.downcast::<&str>().unwrap())
}

#[test]
fn a_panicking_hash_or_clone_kills_no_key() {
    let coalesce: SyncCoalesce<Trapped, u8> = SyncCoalesce::new();
    let key = Trapped(1);
    for place in ["hash", "clone"] {
        PANIC_IN.set(place);
        assert_eq!(panic_of(|| coalesce.call(&key, || 1)), Some(place));
        assert_eq!(*coalesce.call(&key, || 2).unwrap(), 2);
        assert_idle(&coalesce);
    }
    assert_eq!(coalesce.stats().calls(), 2, "a call whose key panicked is no call");
}

#[test]
fn a_panicking_eq_leaves_every_flight_intact() {
    bounded(|| {
        let coalesce: SyncCoalesce<Trapped, u8> = SyncCoalesce::builder().shards(1).build();
        let key = Trapped(1);
        let value = coalesce.call(&key, || {
            let verbs: [&dyn Fn() -> bool; 3] =
                [&|| coalesce.call(&key, || 0).is_ok(), &|| coalesce.forget(&key), &|| coalesce.cancel(&key)];
            for verb in verbs {
                PANIC_IN.set("eq");
                assert_eq!(panic_of(verb), Some("eq"));
            }
            thread::scope(|scope| {
                let follower = scope.spawn(|| coalesce.call(&key, || unreachable!("a flight is on")));
                until_following(&coalesce, 1);
                assert_eq!(coalesce.in_flight(), 1);
                coalesce.cancel(&key);
                assert!(matches!(follower.join().unwrap(), Err(CallError::Cancelled)));
            });
            7
        });
        assert_eq!(*value.unwrap(), 7);
        assert_idle(&coalesce);
    });
}

#[test]
fn a_panicking_drop_of_the_key_costs_no_follower_its_value() {
    bounded(|| {
        let coalesce: SyncCoalesce<Trapped, u8> = SyncCoalesce::new();
        let key = Trapped(1);
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                panic_of(|| {
                    coalesce.call(&key, || {
                        until_following(&coalesce, 1);
                        PANIC_IN.set("drop");
                        7
                    })
                })
            });
            until_running(&coalesce, 1);
            let value = coalesce.call(&key, || unreachable!("a flight is on"));
            assert_eq!(*value.unwrap(), 7);
            assert_eq!(leader.join().unwrap(), Some("drop"));
        });
        assert_idle(&coalesce);
    });
}

/// ```text
/// caller                      leader
/// finds no flight
/// clones its key ...
///                             leads
/// ... and joins: the clone
/// is dropped, and panics
/// ```
#[test]
fn a_panicking_drop_of_a_key_made_in_vain_costs_its_caller_nothing() {
    bounded(|| {
        let coalesce: SyncCoalesce<Trapped, u8> = SyncCoalesce::new();
        let key = Trapped(1);
        let meeting = Arc::new(Barrier::new(2));
        thread::scope(|scope| {
            let caller = scope.spawn(|| {
                MEET_IN_CLONE.set(Some(Arc::clone(&meeting)));
                PANIC_IN.set("drop");
                let value = coalesce.call(&key, || unreachable!("a flight is on"));
                assert_eq!(PANIC_IN.get(), "", "no key was made in vain");
                *value.unwrap()
            });
            meeting.wait();
            let led = coalesce.call(&key, || {
                meeting.wait();
                until_following(&coalesce, 1);
                7
            });
            assert_eq!((*led.unwrap(), caller.join().unwrap()), (7, 7));
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn a_panicking_drop_of_the_key_does_not_hide_the_leaders_own_panic() {
    let coalesce: SyncCoalesce<Trapped, u8> = SyncCoalesce::new();
    let key = Trapped(1);
    let panic = panic_of(|| {
        coalesce.call(&key, || {
            PANIC_IN.set("drop");
            resume_unwind(Box::new("work"))
        })
    });
    assert_eq!(panic, Some("work"));
    assert_eq!(PANIC_IN.get(), "", "the key's Drop panicked too");
    assert_idle(&coalesce);
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

/// ```text
/// leader     lead --- the other has joined -- returns
/// follower        join, stop ........................... go on: the value is there
/// ```
#[test]
fn a_leader_does_not_wait_for_its_followers_to_wake() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::builder().observer(Holding).build();
        let goes_on = Arc::new(Gate::new());
        thread::scope(|scope| {
            let follower = scope.spawn(|| {
                until_running(&coalesce, 1);
                hold_at(&goes_on);
                coalesce.request("key").timeout(Duration::ZERO).call(|_| unreachable!("a flight is on"))
            });
            let led = coalesce.request("key").call(|_| {
                until_following(&coalesce, 1);
                7
            });
            assert_eq!((*led.result.unwrap(), led.role), (7, Role::Leader { followers: 1 }));
            assert_idle(&coalesce);
            goes_on.open();
            let outcome = follower.join().unwrap();
            assert_eq!(*outcome.result.unwrap(), 7);
            assert!(matches!(outcome.role, Role::Follower { .. }));
        });
    });
}

#[test]
fn a_call_that_begins_after_the_leader_returned_starts_afresh() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, u64> = SyncCoalesce::new();
        thread::scope(|scope| {
            for round in 0..200 {
                let followers = crowd(scope, 4, {
                    let coalesce = &coalesce;
                    move |_| {
                        until_running(coalesce, 1);
                        coalesce.call("key", || unreachable!("the flight waits for four"))
                    }
                });
                let first = coalesce.call("key", || {
                    until_following(&coalesce, 4);
                    round
                });
                // The followers of the first flight may still be waking up.
                let second = coalesce.call("key", || round + 1_000);
                assert_eq!((*first.unwrap(), *second.unwrap()), (round, round + 1_000));
                assert!(join(followers).into_iter().all(|value| *value.unwrap() == round));
            }
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn eight_waiters_of_a_failing_call_share_one_failure() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, (), u64> = SyncCoalesce::new();
        let runs = AtomicU64::new(0);
        let results = thread::scope(|scope| {
            join(crowd(scope, 8, |_| {
                coalesce.try_call("key", || {
                    until_following(&coalesce, 7);
                    Err(runs.fetch_add(1, SeqCst))
                })
            }))
        });
        assert_eq!(runs.load(SeqCst), 1);
        assert!(results.into_iter().all(|result| matches!(result, Err(CallError::Failed(error)) if *error == 0)));
        assert_idle(&coalesce);
    });
}

#[test]
fn a_leader_sees_its_own_panic_unchanged_and_its_followers_its_message() {
    #[derive(Debug, PartialEq)]
    struct Payload(u8);

    bounded(|| {
        let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::new();
        let cases: [(&str, fn()); 3] = [
            ("no route to 7", || resume_unwind(Box::new(format!("no route to {}", 7)))),
            ("plain text", || resume_unwind(Box::new("plain text"))),
            ("a value that is not text", || resume_unwind(Box::new(Payload(7)))),
        ];
        for (expected, panic) in cases {
            thread::scope(|scope| {
                let leader = scope.spawn(|| {
                    coalesce.call("key", || {
                        until_following(&coalesce, 2);
                        panic();
                    })
                });
                until_running(&coalesce, 1);
                let followers = crowd(scope, 2, |_| coalesce.call("key", || unreachable!("a flight is on")));
                for result in join(followers) {
                    let Err(CallError::LeaderPanicked { message }) = result else { panic!("{result:?}") };
                    assert_eq!(&*message, expected);
                }
                let payload = leader.join().unwrap_err();
                if let Some(payload) = payload.downcast_ref::<Payload>() {
                    assert_eq!(*payload, Payload(7));
                } else {
                    let text = payload
                        .downcast_ref::<String>()
                        .map_or_else(|| payload.downcast_ref::<&str>().copied(), |text| Some(text));
                    assert_eq!(text, Some(expected));
                }
            });
            assert_idle(&coalesce);
        }
        assert_eq!(coalesce.stats().panicked, 3);
    });
}

#[test]
fn a_panic_made_by_the_macro_passes_through_too() {
    let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::new();
    let payload = catch_unwind(|| coalesce.call("key", || panic_any(7_u8))).unwrap_err();
    assert_eq!(payload.downcast_ref::<u8>(), Some(&7));
    coalesce.call("key", || ()).unwrap();
    assert_idle(&coalesce);
}

#[test]
fn every_verb_on_one_key_joins_the_same_flight() {
    bounded(|| {
        let coalesce: SyncCoalesce<Key, u8> = SyncCoalesce::new();
        let question = "why?";
        let key = Key::of(question).unwrap();
        let wrapped = coalesce.wrap(|(): &()| key, |()| unreachable!("a flight is on"));
        let verbs: [&(dyn Fn() -> Result<Arc<u8>, CallError<_>> + Sync); 5] = [
            &|| coalesce.call(&key, || unreachable!()),
            &|| coalesce.try_call(&key, || unreachable!()),
            &|| coalesce.request(&key).try_call(|_| unreachable!()).result,
            &|| coalesce.try_call_for(question, |_| unreachable!()),
            &|| wrapped(&()),
        ];
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.request(&key).call(|flight| {
                    until_following(&coalesce, 5);
                    assert_eq!(flight.followers(), 5);
                    7
                })
            });
            until_running(&coalesce, 1);
            for value in join(crowd(scope, 5, |number| verbs[number]())) {
                assert_eq!(*value.unwrap(), 7);
            }
            assert_eq!(leader.join().unwrap().role, Role::Leader { followers: 5 });
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn a_request_that_cannot_be_serialised_runs_nothing() {
    let coalesce: SyncCoalesce<Key, ()> = SyncCoalesce::new();
    let result = coalesce.try_call_for(&f64::NAN, |_| unreachable!("there is no key"));
    assert!(matches!(result, Err(CallError::BadKey(_))));
    assert_eq!(coalesce.stats().calls(), 0);
    assert_idle(&coalesce);
}
