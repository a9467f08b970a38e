//! Values of the user's whose `Drop` panics while the caller has something else in its hands: a lead, a place in a
//! flight, a panic of its own. Two panics that meet end the process, and what a function is about to return when
//! something of it panics is forgotten.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use sync_coalesce::{Bypass, CallError, FlightId, Left, Observer, OnFailure, OnLastTicket, Role, SyncCoalesce};

use crate::support::{Gate, LIMIT, assert_idle, bounded, until, until_following, until_running};

/// Panics in its `Drop`, with another bomb as long as there is one.
#[derive(Debug)]
struct Bomb(u8);

impl Drop for Bomb {
    fn drop(&mut self) {
        match self.0 {
            0 => resume_unwind(Box::new("a bomb")),
            more => resume_unwind(Box::new(Self(more - 1))),
        }
    }
}

/// Asks for a key that is a bomb once it is owned; 0 has no owned key.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Number(u64);

#[derive(Debug)]
struct Armed(Number, #[expect(dead_code, reason = "it is there to be dropped")] Bomb);

impl Borrow<Number> for Armed {
    fn borrow(&self) -> &Number {
        &self.0
    }
}

impl ToOwned for Number {
    type Owned = Armed;

    fn to_owned(&self) -> Armed {
        if self.0 == 0 {
            resume_unwind(Box::new("no owned key"));
        }
        Armed(Self(self.0), Bomb(1))
    }
}

/// The text that came out of `call` as a panic.
fn panic_of<R>(call: impl FnOnce() -> R) -> &'static str {
    let Err(payload) = catch_unwind(AssertUnwindSafe(|| std::mem::forget(call()))) else { panic!("no panic came out") };
    *payload.downcast().unwrap()
}

/// As `assert_idle`, which wants keys that can be cloned.
#[track_caller]
fn assert_nothing_left<K, T, E, S>(coalesce: &SyncCoalesce<K, T, E, S>) {
    let stats = coalesce.stats();
    assert_eq!((stats.in_flight, stats.following, stats.running), (0, 0, 0), "{stats:?}");
}

#[test]
fn a_key_does_not_hide_the_panic_of_its_leader() {
    let coalesce: SyncCoalesce<Armed, u64> = SyncCoalesce::new();
    assert_eq!(panic_of(|| coalesce.call(&Number(1), || resume_unwind(Box::new("work")))), "work");
    assert_nothing_left(&coalesce);
}

#[test]
fn keys_that_a_batch_has_claimed_do_not_meet_the_panic_that_it_goes_under_with() {
    let coalesce: SyncCoalesce<Armed, u64> = SyncCoalesce::new();
    let batch = || coalesce.call_many(&[Number(1), Number(0)], |_| unreachable!("not all were claimed"));
    assert_eq!(panic_of(batch), "no owned key");
    assert_nothing_left(&coalesce);
}

#[test]
fn results_that_a_batch_has_do_not_meet_the_panic_that_it_goes_under_with() {
    let coalesce: SyncCoalesce<u64, Bomb> = SyncCoalesce::builder().max_batch(1).build();
    let batch = || {
        coalesce.call_many(&[1, 2], |missing| {
            if *missing[0] == 2 {
                resume_unwind(Box::new("the second"));
            }
            vec![Bomb(0)]
        })
    };
    assert_eq!(panic_of(batch), "the second");
    assert_idle(&coalesce);
}

#[test]
fn values_of_a_batch_that_nobody_asked_for_do_not_meet() {
    let coalesce: SyncCoalesce<u64, Bomb> = SyncCoalesce::new();
    let results = coalesce.call_many(&[1], |_| vec![Bomb(0), Bomb(0), Bomb(0)]);
    assert!(matches!(results[..], [Err(CallError::WrongCount { expected: 1, got: 3 })]));
    assert_idle(&coalesce);
}

#[test]
fn a_key_and_its_lingering_value_do_not_meet() {
    let coalesce: SyncCoalesce<Armed, Bomb> = SyncCoalesce::builder().linger(LIMIT).build();
    for number in [1, 2] {
        drop(coalesce.call(&Number(number), || Bomb(0)));
    }
    assert!(coalesce.forget(&Number(1)));
    coalesce.close();
    assert_nothing_left(&coalesce);
}

/// ```text
/// leads 1, and in it a batch       leads 2
/// joins 2; its label panics
/// ```
#[test]
fn a_batch_whose_label_panics_leaves_what_it_joined() {
    bounded(|| {
        let coalesce: SyncCoalesce<u64, u64> =
            SyncCoalesce::builder().key_label(|_| resume_unwind(Box::new("a label"))).build();
        let gate = Gate::new();
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                coalesce.call(&2, || {
                    gate.pass();
                    2
                })
            });
            until_running(&coalesce, 1);
            let batch = || coalesce.call_many(&[2], |_| unreachable!("it is in flight"));
            let outer = coalesce.call(&1, || {
                assert_eq!(panic_of(batch), "a label");
                coalesce.stats().following
            });
            assert_eq!(*outer.unwrap(), 0);
            gate.open();
            assert_eq!(*other.join().unwrap().unwrap(), 2);
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn a_closure_that_is_not_needed_costs_no_ticket() {
    bounded(|| {
        let coalesce: SyncCoalesce<u64, u64> = SyncCoalesce::builder().on_last_ticket(OnLastTicket::Cancel).build();
        let gate = Arc::new(Gate::new());
        let pass = Arc::clone(&gate);
        let first = coalesce.detach(&1, move |_| {
            pass.pass();
            Ok(1)
        });
        let bomb = Bomb(1);
        let second = coalesce.detach(&1, move |_| {
            let _bomb = &bomb;
            unreachable!("it is in flight")
        });
        assert_eq!(coalesce.stats().following, 1);
        drop(second);
        assert_eq!(coalesce.stats().following, 0);
        gate.open();
        assert_eq!(*first.wait().unwrap(), 1);
        assert!(coalesce.drain(LIMIT));
        assert_idle(&coalesce);
    });
}

/// Waits for a gate when its thread has joined a flight, or has left one.
struct Held {
    joined: Option<Arc<Gate>>,
    left: Option<Arc<Gate>>,
}

impl Observer for Held {
    fn joined(&self, _: &FlightId<'_>) {
        self.joined.iter().for_each(|gate| gate.pass());
    }

    fn left(&self, _: &FlightId<'_>, _: &Left) {
        self.left.iter().for_each(|gate| gate.pass());
    }
}

/// ```text
/// leader                       follower
///                              joins; its deadline passes
/// fails: the lead is free
///                              leaves as the last one, and takes the flight and its key away
/// ```
#[test]
fn a_key_that_the_last_follower_takes_away_costs_no_place_under_the_bound() {
    bounded(|| {
        let gate = Arc::new(Gate::new());
        let coalesce: SyncCoalesce<Armed, u64, &str> = SyncCoalesce::builder()
            .on_error(OnFailure::Elect { times: 9 })
            .max_followers_in_all(1)
            .observer(Held { joined: Some(Arc::clone(&gate)), left: None })
            .build();
        for _ in 0..2 {
            thread::scope(|scope| {
                let follower = scope.spawn(|| {
                    until_running(&coalesce, 1);
                    coalesce.request(&Number(1)).timeout(Duration::ZERO).try_call(|_| unreachable!("it is late"))
                });
                let led = coalesce.try_call(&Number(1), || {
                    until_following(&coalesce, 1);
                    Err("no")
                });
                assert!(matches!(led, Err(CallError::Failed(_))));
                gate.open();
                assert!(matches!(follower.join().unwrap().result, Err(CallError::TimedOut)));
            });
            assert_nothing_left(&coalesce);
        }
    });
}

/// ```text
/// leader                       follower
///                              joins; its patience ends: it leaves
/// ends, and lets go of the
/// value
///                              lets go of the flight, and so drops the value
///                              runs its own closure
/// ```
#[test]
fn a_value_that_a_leaver_drops_does_not_keep_it_from_its_own_work() {
    bounded(|| {
        let gate = Arc::new(Gate::new());
        let coalesce: SyncCoalesce<u64, Bomb> = SyncCoalesce::builder()
            .max_impatient(1)
            .observer(Held { joined: None, left: Some(Arc::clone(&gate)) })
            .build();
        thread::scope(|scope| {
            let follower = scope.spawn(|| {
                until_running(&coalesce, 1);
                coalesce.request(&1).patience(Duration::ZERO).call(|_| Bomb(0))
            });
            drop(coalesce.call(&1, || {
                until("one impatient", || coalesce.stats().impatient == 1);
                Bomb(0)
            }));
            gate.open();
            let outcome = follower.join().unwrap();
            assert_eq!(outcome.role, Role::Bypassed(Bypass::Impatient));
            std::mem::forget(outcome);
        });
        assert_idle(&coalesce);
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

/// ```text
/// thread of the pool               its spare
/// detaches 2, waits: lends
///                                  runs 2; one too many, it ends
/// once that ends, follows 9        its thread-local follows 9, as it is dropped
/// ```
#[test]
fn a_thread_local_of_a_pool_thread_that_has_ended_may_wait() {
    struct AtEnd(Arc<SyncCoalesce<u64, u64>>, Arc<AtomicU64>);

    impl Drop for AtEnd {
        fn drop(&mut self) {
            self.1.store(1, SeqCst);
            let value = self.0.call(&9, || 0).map_or(0, |value| *value);
            self.1.store(value, SeqCst);
        }
    }

    thread_local! {
        static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
    }

    bounded(|| {
        let coalesce: Arc<SyncCoalesce<u64, u64>> = Arc::new(SyncCoalesce::builder().pool_threads(1).build());
        let seen = Arc::new(AtomicU64::new(0));
        let mut detached = None;
        let led = coalesce.call(&9, || {
            let (outer, seen) = (Arc::clone(&coalesce), Arc::clone(&seen));
            let ticket = coalesce.detach(&1, move |_| {
                let at_end = AtEnd(Arc::clone(&outer), Arc::clone(&seen));
                let spare = outer.detach(&2, move |_| {
                    AT_END.set(Some(at_end));
                    Ok(2)
                });
                spare.wait().unwrap();
                until("the end of the spare", || seen.load(SeqCst) == 1);
                Ok(*outer.call(&9, || 0).unwrap())
            });
            detached = Some(ticket);
            until_following(&coalesce, 2);
            9
        });
        assert_eq!((*led.unwrap(), *detached.unwrap().wait().unwrap()), (9, 9));
        assert!(coalesce.drain(LIMIT));
        until("the end of the thread", || seen.load(SeqCst) == 9);
        assert_idle(&coalesce);
    });
}
