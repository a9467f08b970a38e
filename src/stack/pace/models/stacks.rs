//! Leaders of stacks: what they were charged and do not use is given back, and they do not wait for each other.

use std::convert::Infallible;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use super::{assert_idle, build};
use crate::coalesce::SyncCoalesce;
use crate::flight::watch::{Signal, Watcher};
use crate::stack::clock::ManualClock;
use crate::stack::interrupt::Interrupt;
use crate::stack::pace::faults::Fault;
use crate::stack::pace::pacing::{Pacing, Urgency, Wants};
use crate::stack::pace::{NoPermit, Pacer, Permit};
use crate::sync::{catches, holds, scope};
use crate::wait::faults::Fault as WaitFault;

fn acquire(pacing: &Pacing<(), (), ()>, interrupt: &Interrupt) -> Result<Vec<Permit>, NoPermit> {
    pacing.acquire(&Wants::new(Urgency(false), &Vec::new), interrupt)
}

/// ```text
/// leader   gets its permit, or has it already, or not yet
/// test     cancels
/// ```
fn cancelled() {
    let pacer = build(Pacer::builder().per_second(1.0).clock(ManualClock::new()));
    let mut pacing = Pacing::new();
    pacing.add(pacer.clone());
    let interrupt = Interrupt::new(None);
    let mut begins = false;
    scope(|threads| {
        threads.spawn(|| begins = acquire(&pacing, &interrupt).is_ok());
        interrupt.notify(Signal::Cancelled);
    });
    assert_eq!(pacer.limits()[0].available, i64::from(!begins), "charged for nothing");
    assert_idle(&pacer);
}

#[test]
fn a_leader_that_does_not_begin_is_not_charged() {
    holds(cancelled);
}

#[test]
fn a_leader_that_is_charged_for_nothing_is_caught() {
    catches(Fault::UnusedIsCharged, "charged for nothing", cancelled);
}

/// ```text
/// two stacks with the same two pacers, of one place each, and each given them in another order
/// ```
fn the_other_way_round() {
    let pacers = [(); 2].map(|()| build(Pacer::builder().concurrency(1)));
    scope(|threads| {
        for turn in 0..2 {
            let mut pacing = Pacing::new();
            pacing.add(pacers[turn].clone());
            pacing.add(pacers[1 - turn].clone());
            threads.spawn(move || assert!(acquire(&pacing, &Interrupt::new(None)).is_ok()));
        }
    });
    pacers.iter().for_each(assert_idle);
}

#[test]
fn stacks_with_the_same_pacers_do_not_wait_for_each_other() {
    holds(the_other_way_round);
}

#[test]
fn pacers_in_any_order_are_caught() {
    catches(Fault::PacersInAnyOrder, "deadlock", the_other_way_round);
}

/// ```text
/// test                      the pool's only thread              a spare
/// holds the only permit     waits for it: gives up its place    another flight
/// sees the other flight end
/// gives it up               goes on
/// ```
fn a_wait_on_a_pool() {
    let pacer = build(Pacer::builder().concurrency(1));
    let hashing = BuildHasherDefault::<DefaultHasher>::new();
    let building = SyncCoalesce::builder().shards(1).hasher(hashing).pool_threads(1);
    let calls: Arc<SyncCoalesce<u32, u32, Infallible, _>> = Arc::new(building.build());
    let held = pacer.acquire();
    let line = pacer.clone();
    let waits = calls.detach(&1, move |_| {
        drop(line.acquire());
        Ok(1)
    });
    assert!(matches!(calls.detach(&2, |_| Ok(2)).wait(), Ok(value) if *value == 2));
    drop(held);
    assert!(matches!(waits.wait(), Ok(value) if *value == 1));
    assert_idle(&pacer);
}

#[test]
fn a_pool_thread_in_the_line_gives_up_its_place() {
    holds(a_wait_on_a_pool);
}

#[test]
fn a_pool_thread_in_the_line_that_keeps_its_place_is_caught() {
    catches(WaitFault::BlockedKeepsPlace, "deadlock", a_wait_on_a_pool);
}
