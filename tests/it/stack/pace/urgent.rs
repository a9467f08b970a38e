//! Urgent callers, the room that is kept free for them, and the turn of ordinary ones.

use std::sync::Mutex;

use sync_coalesce::stack::ManualClock;
use sync_coalesce::stack::pace::{AcquireError, Limit, Pacer, Permit};

use super::{MS, SECOND, pacer, waiting_and_running};
use crate::support::thread;
use crate::support::{bounded, until};

fn try_urgent(pacer: &Pacer) -> Result<Permit, AcquireError> {
    pacer.request().urgent(true).try_acquire()
}

/// The order in which callers are let through by a pacer with one place, who have come in this order.
fn order_of(arrivals: &str) -> String {
    let pacer = Pacer::builder().concurrency(1).build().unwrap();
    let went = Mutex::new(String::new());
    let held = pacer.acquire();
    thread::scope(|scope| {
        for (number, caller) in arrivals.chars().enumerate() {
            let (pacer, went) = (&pacer, &went);
            scope.spawn(move || {
                let _permit = pacer.request().urgent(caller.is_uppercase()).acquire().unwrap();
                went.lock().unwrap().push(caller);
            });
            until("it to wait", || pacer.status().waiting == number + 1);
        }
        let urgent = arrivals.chars().filter(char::is_ascii_uppercase).count();
        assert_eq!(pacer.status().waiting_urgent, urgent);
        drop(held);
    });
    assert_eq!(waiting_and_running(&pacer), (0, 0));
    went.into_inner().unwrap()
}

#[test]
fn urgent_callers_go_first_and_each_class_in_order_of_arrival() {
    bounded(|| {
        assert_eq!(order_of("abXcYdZ"), "XYZabcd");
        assert_eq!(order_of("XYZ"), "XYZ");
    });
}

#[test]
fn after_four_urgent_callers_an_ordinary_one_has_its_turn() {
    bounded(|| assert_eq!(order_of("aABCDEbFGHIJ"), "ABCDaEFGHbIJ"));
}

#[test]
fn urgent_callers_take_turns_with_nobody_if_nobody_else_waits() {
    bounded(|| assert_eq!(order_of("ABCDEF"), "ABCDEF"));
}

/// ```text
/// ordinary   waits for the one place that is not kept free --- has its turn
/// test       goes four times by the place that is kept free,                and waits then
/// ```
#[test]
fn places_that_are_kept_free_are_for_urgent_callers() {
    bounded(|| {
        let pacer = Pacer::builder().concurrency(3).reserve_concurrency(1).build().unwrap();
        let held = [pacer.acquire(), pacer.acquire()];
        assert!(pacer.try_acquire().is_err());
        let urgent = try_urgent(&pacer).unwrap();
        assert!(try_urgent(&pacer).is_err());
        drop(urgent);
        thread::scope(|scope| {
            let ordinary = scope.spawn(|| drop(pacer.acquire()));
            until("it to wait", || pacer.status().waiting == 1);
            (0..4).for_each(|_| drop(try_urgent(&pacer).unwrap()));
            ordinary.join().unwrap();
        });
        drop(held);
        assert_eq!(waiting_and_running(&pacer), (0, 0));
    });
}

#[test]
fn a_part_of_a_burst_that_is_kept_free_is_for_urgent_callers() {
    let hands = ManualClock::new();
    let tokens = Limit::per_second(10.0).burst(100).reserve(30);
    let pacer = pacer(&hands, |builder| builder.per_second(1.0).burst(5).reserve_burst(2).limit("tokens", tokens));
    assert_eq!(std::iter::from_fn(|| pacer.try_acquire().ok()).count(), 3);
    drop(try_urgent(&pacer).unwrap());
    drop(try_urgent(&pacer).unwrap());
    assert!(try_urgent(&pacer).is_err());
    hands.advance(2 * SECOND);
    assert!(pacer.try_acquire().is_err());
    hands.advance(SECOND);
    drop(pacer.try_acquire().unwrap());

    hands.advance(10 * SECOND);
    let with_tokens = |tokens, is_urgent| pacer.request().weight("tokens", tokens).urgent(is_urgent).try_acquire();
    drop(with_tokens(60, false).unwrap());
    assert!(with_tokens(11, false).is_err());
    drop(with_tokens(10, false).unwrap());
    drop(with_tokens(0, false).unwrap());
    drop(with_tokens(30, true).unwrap());
}

/// A weight above what an ordinary caller may take leaves a debt; it is not a wait without an end.
#[test]
fn an_ordinary_caller_may_be_heavier_than_what_is_not_kept_free() {
    let hands = ManualClock::new();
    let pacer = pacer(&hands, |builder| builder.limit("tokens", Limit::per_second(10.0).burst(100).reserve(30)));
    drop(pacer.request().weight("tokens", 90).try_acquire().unwrap());
    assert_eq!(pacer.limits()[0].available, 10);
}

/// ```text
/// ordinary   waits for a second ------------------------------- goes a second later
/// urgent                         waits half a second --- goes
/// ```
#[test]
fn an_urgent_caller_overtakes_one_that_waits_for_the_time() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = pacer(&hands, |builder| builder.per_second(1.0));
        drop(pacer.acquire());
        thread::scope(|scope| {
            let ordinary = scope.spawn(|| pacer.acquire().waited());
            until("the ordinary one", || hands.until_next() == Some(SECOND));
            hands.advance(500 * MS);
            let urgent = scope.spawn(|| pacer.request().urgent(true).acquire().unwrap().waited());
            until("the urgent one", || pacer.status().waiting_urgent == 1 && hands.sleeping() == 2);
            hands.advance(500 * MS);
            assert_eq!(urgent.join().unwrap(), 500 * MS);
            until("the ordinary one to be first", || hands.until_next() == Some(SECOND));
            hands.advance(SECOND);
            assert_eq!(ordinary.join().unwrap(), 2 * SECOND);
        });
    });
}

#[test]
fn an_urgent_caller_that_leaves_lets_the_ordinary_one_be_first() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacer = pacer(&hands, |builder| builder.per_second(1.0));
        drop(pacer.acquire());
        thread::scope(|scope| {
            let urgent = scope.spawn(|| pacer.request().urgent(true).timeout(500 * MS).acquire().map(drop));
            until("the urgent one", || hands.sleeping() == 1);
            let ordinary = scope.spawn(|| pacer.acquire().waited());
            until("the ordinary one", || pacer.status().waiting == 2);
            hands.advance(500 * MS);
            assert_eq!(urgent.join().unwrap(), Err(AcquireError::Unavailable));
            until("the ordinary one to be first", || hands.until_next() == Some(500 * MS));
            hands.advance(500 * MS);
            assert_eq!(ordinary.join().unwrap(), SECOND);
        });
    });
}
