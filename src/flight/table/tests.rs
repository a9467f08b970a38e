//! What cannot be seen from outside the table: its size, and which shard a key goes to.

use std::collections::BTreeSet;
use std::ptr;

use crate::flight::enter::WaitMode;
use crate::flight::flights::Flights;
use crate::flight::settings::Settings;
use crate::options::CallOptions;
use crate::wait::thread::this_thread;

#[test]
fn a_table_shrinks_when_its_flights_have_ended() {
    let flights: Flights<u32, u64, u64> = Flights::new(1, Settings::new());
    let leads: Vec<_> = (0..10_000_u32)
        .map(|key| flights.enter(WaitMode::Now, u64::from(key), &key, &CallOptions::default()))
        .collect();
    let shard = flights.table.shards().next().unwrap();
    assert!(shard.lock().capacity() >= 10_000);
    drop(leads);
    assert!(shard.lock().capacity() < 8, "{}", shard.lock().capacity());
}

#[test]
fn the_list_of_those_who_run_alone_shrinks_when_seven_eighths_are_free() {
    let flights: Flights<u32, u64, u64> = Flights::new(1, Settings::new());
    let mut shard = flights.table.shards().next().unwrap().lock();
    shard.bypassing = vec![this_thread(); 800];
    let mut left = |left| {
        shard.bypassing.truncate(left);
        shard.shrink_bypassing();
        shard.bypassing.capacity()
    };
    assert_eq!([800, 100, 99, 24, 23, 5, 4, 1, 0].map(&mut left), [800, 800, 198, 198, 46, 46, 8, 8, 0]);
}

#[test]
fn hashes_that_differ_little_are_spread_over_the_shards() {
    let flights: Flights<u8, u64, u64> = Flights::new(64, Settings::new());
    for step in [1, 1 << 20, 1 << 40] {
        let shards: BTreeSet<_> =
            (0..1_000_u64).map(|number| ptr::from_ref(flights.table.shard(number * step)).addr()).collect();
        assert!(shards.len() > 32, "only {} of 64 shards for steps of {step}", shards.len());
    }
}
