//! Allocations of a call, counted exactly. Those of a key are in `key/allocations.rs`; other operations are counted in
//! `src/flight/`.

use std::time::Duration;

use allocation_counter::measure;
use sync_coalesce::{CallError, SyncCoalesce};

use crate::support::thread;
use crate::support::{assert_idle, bounded};

#[test]
fn a_lone_call_allocates_its_value_and_nothing_else() {
    let coalesce: SyncCoalesce<u64, [u64; 4]> = SyncCoalesce::new();
    // Each shard's table is allocated by its first flight, and stays.
    (0..1_000).for_each(|key| drop(coalesce.call(&key, || [0; 4])));
    let allocations = measure(|| (0..1_000).for_each(|key| drop(coalesce.call(&key, || [key; 4]))));
    assert_eq!((allocations.count_total, allocations.count_current), (1_000, 0));
    assert_idle(&coalesce);
}

#[test]
fn a_string_key_is_allocated_by_its_leader_only() {
    let coalesce: SyncCoalesce<String, u64> = SyncCoalesce::new();
    coalesce.call("key", || 0).unwrap();
    let lone = measure(|| drop(coalesce.call("key", || 1)));
    assert_eq!(lone.count_total, 2, "the value and the key");
    assert_idle(&coalesce);
}

#[test]
fn followers_after_the_first_allocate_nothing() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, u64> = SyncCoalesce::new();
        let follow = || {
            let mut result = None;
            // A follower that does not wait: the leader is this closure's own caller.
            let allocations = measure(|| result = Some(coalesce.on("key").timeout(Duration::ZERO).call(|_| 1).result));
            assert!(matches!(result, Some(Err(CallError::TimedOut))));
            allocations.count_total
        };
        let counts = coalesce.call("key", || {
            thread::scope(|scope| {
                let counts: Vec<u64> = (0..100).map(|_| scope.spawn(follow).join().unwrap()).collect();
                assert_eq!(
                    counts,
                    [&[2], &[0; 99][..]].concat(),
                    "the first makes the slot, and the cell that says who leads"
                );
            });
            7
        });
        assert_eq!(*counts.unwrap(), 7);
        assert_idle(&coalesce);
    });
}
