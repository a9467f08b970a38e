//! No waiter in the line is forgotten, and each class has its turn.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{SECOND, assert_idle, build, until_waiting};
use crate::stack::pace::Pacer;
use crate::stack::pace::faults::Fault;
use crate::sync::{self, Barrier, Mutex, catches, holds, scope};

/// ```text
/// three threads at a pacer with one place, one of them with a deadline
/// ```
fn one_place() {
    let pacer = build(Pacer::builder().concurrency(1));
    let running = AtomicU64::new(0);
    let run = || {
        assert_eq!(running.fetch_add(1, Ordering::Relaxed), 0, "two at a time");
        sync::pause();
        running.fetch_sub(1, Ordering::Relaxed);
    };
    scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let _permit = pacer.acquire();
                run();
            });
        }
        threads.spawn(|| {
            if let Ok(_permit) = pacer.acquire_timeout(SECOND) {
                run();
            }
        });
    });
    assert_idle(&pacer);
}

#[test]
fn a_place_that_becomes_free_is_taken() {
    holds(one_place);
}

#[test]
fn a_place_that_becomes_free_unheard_is_caught() {
    catches(Fault::PermitDropIsMissed, "deadlock", one_place);
}

/// ```text
/// first    waits for the time, and leaves before it comes
/// second   waits to be first, goes
/// ```
fn a_deadline_in_front() {
    let pacer = build(Pacer::builder().per_second(1.0));
    drop(pacer.acquire());
    let began = sync::now();
    scope(|threads| {
        threads.spawn(|| {
            drop(pacer.acquire_timeout(SECOND / 2));
        });
        threads.spawn(|| {
            drop(pacer.acquire());
            assert!(sync::now() >= began + SECOND, "too soon");
        });
    });
    assert_idle(&pacer);
}

#[test]
fn who_stands_behind_a_leaver_becomes_first() {
    holds(a_deadline_in_front);
}

#[test]
fn a_leaver_that_tells_nobody_is_caught() {
    catches(Fault::LineLeaverTellsNobody, "deadlock", a_deadline_in_front);
}

/// ```text
/// test     holds both places, gives both up before the first has looked
/// first                                                                goes, and stays until the second goes
/// second                                                               goes
/// ```
fn two_places() {
    let pacer = build(Pacer::builder().concurrency(2));
    let both = Barrier::new(2);
    let held = [pacer.acquire(), pacer.acquire()];
    scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let _permit = pacer.acquire();
                both.wait();
            });
        }
        drop(held);
    });
    assert_idle(&pacer);
}

#[test]
fn all_places_are_taken_at_once() {
    holds(two_places);
}

#[test]
fn one_that_goes_and_tells_nobody_is_caught() {
    catches(Fault::PacedTellsNobody, "deadlock", two_places);
}

/// ```text
/// test        holds the only place ------------------------ gives it up
/// ordinary          waits ------------------------------------------------------ goes
/// urgent                    waits ------------------------------------- goes
/// ```
fn both_classes() {
    let pacer = build(Pacer::builder().concurrency(1));
    let went = Mutex::new(Vec::new());
    let held = pacer.acquire();
    scope(|threads| {
        for is_urgent in [false, true] {
            let (pacer, went) = (&pacer, &went);
            threads.spawn(move || {
                let permit = pacer.request().urgent(is_urgent).acquire();
                went.lock().push(is_urgent);
                drop(permit);
            });
        }
        until_waiting(&pacer, 2);
        drop(held);
    });
    assert_eq!(*went.lock(), [true, false], "the ordinary caller went first");
    assert_idle(&pacer);
}

#[test]
fn an_urgent_caller_goes_first() {
    holds(both_classes);
}

#[test]
fn an_urgent_caller_that_goes_last_is_caught() {
    catches(Fault::UrgentIsLast, "went first", both_classes);
}

/// ```text
/// test        holds the place for all, and goes four times by the urgent one
/// ordinary    waits, and then goes by the urgent one too
/// ```
fn a_turn() {
    let pacer = build(Pacer::builder().concurrency(2).reserve_concurrency(1));
    let held = pacer.acquire();
    scope(|threads| {
        threads.spawn(|| drop(pacer.acquire()));
        until_waiting(&pacer, 1);
        for _ in 0..4 {
            assert!(pacer.request().urgent(true).try_acquire().is_ok(), "the reserve is not free");
        }
    });
    drop(held);
    assert_idle(&pacer);
}

#[test]
fn an_ordinary_caller_has_its_turn() {
    holds(a_turn);
}

#[test]
fn an_ordinary_caller_that_is_starved_is_caught() {
    catches(Fault::NoTurnForOrdinary, "deadlock", a_turn);
}
