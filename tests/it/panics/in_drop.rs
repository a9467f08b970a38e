//! Values of the user's whose `Drop` panics while the caller has something else in its hands: a lead, a place in a
//! flight, a panic of its own. Two panics that meet end the process, and what a function is about to return when
//! something of it panics is forgotten.

use std::borrow::Borrow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;

use sync_coalesce::observe::{FlightId, FollowerLeft, Observer};
use sync_coalesce::{BypassReason, CallError, Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, LIMIT, assert_idle, assert_nothing_left, bounded, until, until_running};

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

#[test]
fn a_key_does_not_hide_the_panic_of_its_leader() {
    let coalesce: SyncCoalesce<Armed, u64> = SyncCoalesce::new();
    assert_eq!(panic_of(|| coalesce.call(&Number(1), || resume_unwind(Box::new("work")))), "work");
    assert_nothing_left(&coalesce);
}

#[test]
fn a_key_whose_drop_panics_leaks_no_value() {
    let coalesce: SyncCoalesce<Armed, Arc<()>> = SyncCoalesce::new();
    let value = Arc::new(());
    for _ in 0..10 {
        let led = catch_unwind(AssertUnwindSafe(|| drop(coalesce.call(&Number(1), || Arc::clone(&value)))));
        // What it panics with is a bomb too.
        std::mem::forget(led.expect_err("the key's panic is its caller's"));
    }
    assert_eq!(Arc::strong_count(&value), 1, "values were never dropped");
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
        let coalesce: SyncCoalesce<u64, u64> = SyncCoalesce::builder().cancel_when_abandoned(true).build();
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

/// Waits for a gate when its thread has left a flight.
struct HeldAsItLeaves(Arc<Gate>);

impl Observer for HeldAsItLeaves {
    fn left(&self, _: &FlightId<'_>, _: &FollowerLeft) {
        self.0.pass();
    }
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
        let coalesce: SyncCoalesce<u64, Bomb> =
            SyncCoalesce::builder().max_impatient(1).observer(HeldAsItLeaves(Arc::clone(&gate))).build();
        thread::scope(|scope| {
            let follower = scope.spawn(|| {
                until_running(&coalesce, 1);
                coalesce.on(&1).patience(Duration::ZERO).call(|_| Bomb(0))
            });
            drop(coalesce.call(&1, || {
                until("one impatient", || coalesce.stats().impatient == 1);
                Bomb(0)
            }));
            gate.open();
            let outcome = follower.join().unwrap();
            assert_eq!(outcome.role, Role::Bypassed(BypassReason::Impatient));
            std::mem::forget(outcome);
        });
        assert_idle(&coalesce);
    });
}
