//! The real pacer under the model checker: no waiter in its line is forgotten.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Pacer, PacerBuilder};
use crate::stack::pace::faults::Fault;
use crate::sync::{self, Barrier, catches, holds, scope};

const SECOND: Duration = Duration::from_secs(1);

fn build(builder: PacerBuilder) -> Pacer {
    builder.build().expect("no setting is out of its range")
}

fn assert_idle(pacer: &Pacer) {
    let status = pacer.status();
    assert_eq!((status.waiting, status.running), (0, 0), "something is left");
}

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
/// first    goes, and stays until the second has come through too
/// second   goes
/// ```
fn two_places() {
    let pacer = build(Pacer::builder().concurrency(2));
    let both = Barrier::new(2);
    scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let _permit = pacer.acquire();
                both.wait();
            });
        }
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
