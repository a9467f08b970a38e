//! What a call costs, in operations. Allocations are counted in `tests/it/allocations.rs`.

#![expect(clippy::disallowed_methods, reason = "a follower in another thread")]

use std::sync::Arc;
use std::time::Duration;

use super::enter::{Entry, WaitMode};
use super::flights::Flights;
use super::follow::Waited;
use super::lead::LeaderGuard;
use super::settings::Settings;
use crate::coalesce::SyncCoalesce;
use crate::options::CallOptions;
use crate::sync::{self, Counts, counted_during};
use crate::wait::limits::WaitLimits;
use crate::wait::thread::{self, this_thread};

const MINUTE: Duration = Duration::from_secs(60);

type Numbers = Flights<u8, u64, u64>;

fn flights() -> Numbers {
    // A thread's number is taken from a global counter once.
    this_thread();
    Flights::new(1, Settings::new())
}

fn lead(flights: &Numbers, key: u8) -> LeaderGuard<'_, u8, u64, u64> {
    match flights.enter(WaitMode::Now, u64::from(key), &key, &CallOptions::default()) {
        Entry::Lead(lead) => lead,
        _ => panic!("nobody else leads"),
    }
}

#[test]
fn a_lone_call_takes_its_shard_twice_and_nothing_else() {
    let flights = flights();
    let (_, counts) = counted_during(|| lead(&flights, 1).run_work(|_| Ok(7)));
    // Inserting the flight, and removing it. The atomics are plain loads and stores: the filter, the mark, and the
    // filter again each time that the shard is unlocked.
    assert_eq!(counts, Counts { locks: 2, atomics: 4, ..Counts::default() });
}

#[test]
fn a_call_beside_flights_of_its_shard_costs_a_lock_more_only_if_it_shares_a_bit_of_the_filter() {
    let flights = flights();
    let others = [lead(&flights, 1), lead(&flights, 2), lead(&flights, 66)];
    let lone = Counts { locks: 2, atomics: 4, ..Counts::default() };
    let one_more = Counts { locks: 3, atomics: 5, ..lone };
    let costs = |key| counted_during(|| lead(&flights, key).run_work(|_| Ok(7))).1;
    // Of the first of the shard, of two others, and of none.
    assert_eq!([65, 130, 3].map(costs), [one_more, one_more, lone]);
    let [first, _, third] = others;
    drop(third);
    assert_eq!([65, 130].map(costs), [one_more, one_more]);
    drop(first);
    assert_eq!([65, 130].map(costs), [lone, one_more]);
}

#[test]
fn a_call_beside_results_that_linger_looks_for_them() {
    let mut settings = Settings::new();
    settings.linger.values = Some(MINUTE);
    this_thread();
    let flights = Flights::new(1, settings);
    assert!(lead(&flights, 1).run_work(|_| Ok(7)).result.is_ok());
    let (_, counts) = counted_during(|| lead(&flights, 2).run_work(|_| Ok(7)));
    assert_eq!(counts.locks, 3);
    flights.close();
}

#[test]
fn a_joiner_that_leads_nothing_takes_its_shard_once_and_nothing_else() {
    let flights = flights();
    let lead = lead(&flights, 1);
    std::thread::scope(|scope| {
        let join = || {
            this_thread();
            let (entered, counts) = counted_during(|| flights.enter(WaitMode::Now, 1, &1, &CallOptions::default()));
            assert!(matches!(entered, Entry::Follow(_)));
            counts
        };
        let first = scope.spawn(join).join().unwrap();
        let second = scope.spawn(join).join().unwrap();
        // The atomics are the shard's own, as above: no lookup is needed to see that this thread leads nothing.
        assert_eq!(first, Counts { locks: 1, atomics: 2, ..Counts::default() });
        assert_eq!(second, first);
    });
    drop(lead);
}

#[test]
fn a_joiner_that_leads_something_takes_the_graph_too() {
    let flights = flights();
    let lead_one = lead(&flights, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let lead_two = lead(&flights, 2);
            let (entered, counts) = counted_during(|| flights.enter(WaitMode::Now, 1, &1, &CallOptions::default()));
            assert!(matches!(entered, Entry::Follow(_)));
            // One atomic more: the leader cell of the flight that it is going to wait for.
            assert_eq!(counts, Counts { locks: 2, atomics: 3, ..Counts::default() });
            drop((entered, lead_two));
        });
    });
    drop(lead_one);
}

#[test]
fn a_follower_whose_flight_has_ended_takes_its_slot_once() {
    let flights = flights();
    let lead = lead(&flights, 1);
    let follow = std::thread::scope(|scope| {
        scope.spawn(|| flights.enter(WaitMode::Now, 1, &1, &CallOptions::default())).join().unwrap()
    });
    let (_, counts) = counted_during(|| lead.run_work(|_| Ok(7)));
    // The shard, each lane and the register of the slot; no notification, because nobody sleeps yet; one atomic clears
    // the leader cell.
    assert_eq!(counts, Counts { locks: 2, monitors: 8, notifies: 0, atomics: 2, clock: 0 });

    let Entry::Follow(follow) = follow else { panic!("a flight was on") };
    let joined = sync::now();
    let (waited, counts) = counted_during(|| follow.wait(joined, WaitLimits::default()));
    assert!(matches!(waited, Waited::Over(outcome) if *outcome.result.as_ref().unwrap().as_ref() == 7));
    // The clock is read to measure the wait.
    assert_eq!(counts, Counts { monitors: 1, clock: 1, ..Counts::default() });
}

#[test]
fn a_leader_whose_followers_have_all_left_wakes_nobody() {
    let flights = flights();
    let lead = lead(&flights, 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let Entry::Follow(follow) = flights.enter(WaitMode::Now, 1, &1, &CallOptions::default()) else {
                panic!("a flight is on")
            };
            follow.wait(sync::now(), WaitLimits { deadline: Some(sync::now()), patience: None });
        });
    });
    let (_, counts) = counted_during(|| lead.run_work(|_| Ok(7)));
    assert_eq!(counts.notifies, 0);
}

#[test]
fn a_lone_flight_makes_no_slot_and_a_followed_one_makes_one() {
    let flights: Flights<u8, u64, u64> = Flights::new(1, Settings::new());
    let Entry::Lead(_lead) = flights.enter(WaitMode::Now, 0, &1, &CallOptions::default()) else {
        panic!("the first to enter leads")
    };
    let id = {
        let mut shard = flights.table.shards().next().unwrap().lock();
        let (record, _) = shard.find(0, &1).unwrap();
        assert!(record.slot.is_none());
        record.id
    };
    thread::end_lead();
    let _first = flights.enter(WaitMode::Now, 0, &1, &CallOptions::default());
    let _second = flights.enter(WaitMode::Now, 0, &1, &CallOptions::default());
    let mut shard = flights.table.shards().next().unwrap().lock();
    let slot = shard.record(0, id).unwrap().0.slot.clone().unwrap();
    assert_eq!(Arc::strong_count(&slot), 4, "the record's, two followers', this test's");
    drop(shard);
    thread::begin_lead();
}

#[test]
fn a_lone_call_reads_no_clock_and_notifies_nobody_whatever_its_wishes() {
    let coalesce: SyncCoalesce<u8, u64> =
        SyncCoalesce::builder().timeout(MINUTE).patience(MINUTE).max_followers(9).cost(|_| 1.0).build();
    this_thread();
    let call = || coalesce.call(&1, || 7).unwrap();
    let request = || coalesce.on(&1).timeout(MINUTE).patience(MINUTE).call(|_| 7).result.unwrap();
    for counts in [counted_during(call).1, counted_during(request).1] {
        assert_eq!((counts.monitors, counts.notifies, counts.clock), (0, 0, 0), "{counts:?}");
    }
}

#[test]
fn a_flight_that_is_timed_reads_the_clock_once() {
    let coalesce: SyncCoalesce<u8, u64> = SyncCoalesce::builder().track_age(true).build();
    this_thread();
    let (_, counts) = counted_during(|| coalesce.call(&1, || 7));
    assert_eq!((counts.monitors, counts.notifies, counts.clock), (0, 0, 1), "{counts:?}");
}
