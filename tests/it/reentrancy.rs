//! User code that asks its own coalescer: no lock is held while it runs. A call that would wait for itself is in
//! `deadlock.rs`.

use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sync_coalesce::{CallError, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, LIMIT, assert_nothing_left, bounded, crowd, join, until_following, until_running};

/// Takes every lock of the coalescers that it is used with: under one of them, that would never return.
fn ask_back() {
    for coalesce in [&*NOSY, &*NOSY_CROWD, &*NOSY_POOL, &*NOSY_CLOSE] {
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

static NOSY_CROWD: LazyLock<AskedBack> = LazyLock::new(|| SyncCoalesce::builder().shards(1).max_followers(1).build());

static NOSY_POOL: LazyLock<AskedBack> = LazyLock::new(|| {
    SyncCoalesce::builder().shards(1).pool_threads(1).pool_queue(1).cancel_when_abandoned(true).build()
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

/// A closure that asks back when it goes, whether it has run or not.
fn nosy<R>(end: impl FnOnce() -> R) -> impl FnOnce() -> R {
    let carried = Nosy(0);
    move || {
        drop(carried);
        end()
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
            assert!(NOSY.on(&Nosy(1)).after(NOSY.mark()).try_call(|_| Ok(Nosy(6))).result.is_ok());
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
        assert_nothing_left(&NOSY);
    });
}

/// What those bring who find no place, or no time, or are cancelled, goes with them.
#[test]
fn no_lock_is_held_while_unused_closures_go() {
    bounded(|| {
        let ask = |timeout| {
            let unused = nosy(|| unreachable!("a flight is on"));
            NOSY_CROWD.on(&Nosy(1)).timeout(timeout).try_call(|_| unused()).result
        };
        drop(NOSY_CROWD.try_call(&Nosy(1), || {
            thread::scope(|scope| {
                assert!(matches!(scope.spawn(|| ask(Duration::ZERO)).join().unwrap(), Err(CallError::TimedOut)));
                let follower = scope.spawn(|| ask(Duration::MAX));
                until_following(&NOSY_CROWD, 1);
                assert!(matches!(scope.spawn(|| ask(Duration::MAX)).join().unwrap(), Err(CallError::Overloaded)));
                assert!(NOSY_CROWD.cancel(&Nosy(1)));
                assert!(matches!(follower.join().unwrap(), Err(CallError::Cancelled)));
            });
            Ok(Nosy(5))
        }));
        assert_nothing_left(&NOSY_CROWD);
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
        assert_nothing_left(&NOSY_POOL);
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
        assert_nothing_left(&NOSY_CLOSE);
    });
}

static ASKED: LazyLock<SyncCoalesce<u64, Asks>> =
    LazyLock::new(|| SyncCoalesce::builder().linger(Duration::from_nanos(1)).build());

/// Asks for its own key as it is dropped, and counts refusals.
struct Asks(Option<Arc<AtomicU64>>);

impl Drop for Asks {
    fn drop(&mut self) {
        if let Some(refused) = &self.0 {
            let result = ASKED.call(&1, || Asks(None));
            refused.fetch_add(u64::from(matches!(result, Err(CallError::Deadlock { .. }))), SeqCst);
        }
    }
}

/// The flight is begun, and no thread can take it before its closure is sent to the pool, when the value is dropped.
#[test]
fn a_stale_value_that_asks_for_its_key_as_it_is_detached_is_refused() {
    bounded(|| {
        let refused = Arc::new(AtomicU64::new(0));
        drop(ASKED.call(&1, || Asks(Some(Arc::clone(&refused)))));
        assert!(ASKED.detach(&1, |_| Ok(Asks(None))).wait().is_ok());
        assert_eq!(refused.load(SeqCst), 1);
        assert!(ASKED.drain(LIMIT));
        assert_nothing_left(&ASKED);
    });
}
