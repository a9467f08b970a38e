//! Results that are kept for a short time after their flights. Where time has to pass, the test waits for what comes of
//! it, and for no time.

use std::cell::Cell;
use std::hash::BuildHasherDefault;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use sync_coalesce::{Builder, CallError, Role, SyncCoalesce};

use crate::support::{Terrible, assert_idle, bounded, until, until_running};

const LONG: Duration = Duration::from_secs(3600);

fn building() -> Builder<u64, u64, String> {
    SyncCoalesce::builder()
}

#[test]
fn a_value_lingers_and_is_the_same_one() {
    let coalesce = building().linger(LONG).build();
    let first = coalesce.call(&1, || 7).unwrap();
    let outcome = coalesce.on(&1).call(|_| unreachable!("it lingers"));
    assert!(Arc::ptr_eq(&outcome.result.unwrap(), &first));
    assert!(matches!(outcome.role, Role::Lingering { age } if age < LONG), "{:?}", outcome.role);
    assert!(!outcome.role.ran());

    let stats = coalesce.stats();
    assert_eq!((stats.underlying_calls, stats.lingered, stats.calls()), (1, 1, 2));
    assert!((stats.coalesce_ratio() - 0.5).abs() < 1e-9);
    assert_idle(&coalesce);
}

#[test]
fn nothing_lingers_unless_it_is_asked_for() {
    let coalesce = building().build();
    assert_eq!((*coalesce.call(&1, || 1).unwrap(), *coalesce.call(&1, || 2).unwrap()), (1, 2));
    assert_eq!(coalesce.stats().lingered, 0);
    assert_idle(&coalesce);
}

#[test]
fn errors_linger_by_a_time_of_their_own_and_panics_never() {
    let coalesce = building().linger_errors(LONG).build();
    let fails = || coalesce.try_call(&1, || Err("quota".to_owned()));
    let (Err(CallError::Failed(first)), Err(CallError::Failed(second))) = (fails(), fails()) else {
        panic!("it fails")
    };
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!((coalesce.stats().underlying_calls, coalesce.stats().failed), (1, 1));

    assert_eq!((*coalesce.call(&2, || 1).unwrap(), *coalesce.call(&2, || 2).unwrap()), (1, 2), "values do not");
    let panics = || catch_unwind(AssertUnwindSafe(|| coalesce.call(&3, || panic!("at work")))).is_err();
    assert!(panics() && panics());
    assert_idle(&coalesce);
}

#[test]
fn a_result_that_has_expired_is_not_given_out() {
    bounded(|| {
        let coalesce = building().linger(Duration::from_nanos(1)).build();
        coalesce.call(&1, || 1).unwrap();
        until("the nanosecond", || coalesce.on(&1).call(|_| 2).role.ran());
        assert_idle(&coalesce);
        // What does not linger at all has expired at once.
        let coalesce = building().linger(Duration::ZERO).build();
        assert_eq!((*coalesce.call(&1, || 1).unwrap(), *coalesce.call(&1, || 2).unwrap()), (1, 2));
        assert_idle(&coalesce);
    });
}

#[test]
fn a_result_that_expires_at_once_is_not_kept() {
    let coalesce = building().linger(Duration::ZERO).build();
    assert_eq!(Arc::strong_count(&coalesce.call(&1, || 1).unwrap()), 1);
}

#[test]
fn a_result_is_not_that_of_a_key_with_the_same_hash() {
    let coalesce = building().hasher(BuildHasherDefault::<Terrible>::default()).linger(LONG).build();
    assert_eq!((*coalesce.call(&1, || 1).unwrap(), *coalesce.call(&2, || 2).unwrap()), (1, 2));
    let lingers = |key| *coalesce.call(&key, || unreachable!("it lingers")).unwrap();
    assert_eq!((lingers(2), lingers(1)), (2, 1));
    assert!(coalesce.forget(&1) && !coalesce.forget(&3));
    assert_eq!(lingers(2), 2);
}

#[test]
fn forget_cancel_and_close_drop_what_lingers() {
    let coalesce = building().linger(LONG).build();
    for end in [SyncCoalesce::forget, SyncCoalesce::cancel] {
        let value = coalesce.call(&1, || 7).unwrap();
        assert_eq!(Arc::strong_count(&value), 2);
        assert!(end(&coalesce, &1));
        assert!(!end(&coalesce, &1));
        assert_eq!(Arc::strong_count(&value), 1);
    }
    let value = coalesce.call(&1, || 7).unwrap();
    coalesce.close();
    assert_eq!(Arc::strong_count(&value), 1);
    assert!(matches!(coalesce.call(&1, || 7), Err(CallError::Closed)));
    assert_idle(&coalesce);
}

#[test]
fn a_flight_that_was_forgotten_leaves_nothing_that_lingers() {
    let coalesce = building().linger(LONG).build();
    coalesce
        .call(&1, || {
            assert!(coalesce.forget(&1));
            1
        })
        .unwrap();
    assert_eq!(*coalesce.call(&1, || 2).unwrap(), 2);
    assert_idle(&coalesce);
}

#[test]
fn nobody_gets_a_result_that_is_older_than_his_mark() {
    let coalesce = building().linger(LONG).build();
    coalesce.call(&1, || 1).unwrap();
    let mark = coalesce.mark();
    assert_eq!(*coalesce.on(&1).after(mark).call(|_| 2).result.unwrap(), 2);
    assert_eq!(*coalesce.on(&1).after(mark).call(|_| 3).result.unwrap(), 2, "this one is younger");
    assert_idle(&coalesce);
}

#[test]
fn a_bypass_takes_no_result_and_leaves_none() {
    let coalesce = building().linger(LONG).build();
    assert_eq!(*coalesce.on(&1).bypass().call(|_| 1).result.unwrap(), 1);
    assert_eq!(*coalesce.call(&1, || 2).unwrap(), 2);
    assert_eq!(*coalesce.on(&1).bypass().call(|_| 3).result.unwrap(), 3);
    assert_eq!(*coalesce.call(&1, || 4).unwrap(), 2);
    assert_idle(&coalesce);
}

#[test]
fn batches_and_tickets_take_what_lingers_and_leave_it() {
    bounded(|| {
        let coalesce = building().linger(LONG).build();
        coalesce.call(&1, || 10).unwrap();
        let asked = Cell::new(0);
        let results = coalesce.call_many(&[1, 2], |missing| {
            asked.set(missing.len());
            missing.iter().map(|key| **key).collect()
        });
        let results: Vec<u64> = results.into_iter().map(|result| *result.unwrap()).collect();
        assert_eq!((results, asked.get()), (vec![10, 2], 1));
        assert_eq!(*coalesce.detach(&2, |_| unreachable!("it lingers")).wait().unwrap(), 2);
        assert_eq!(*coalesce.detach(&3, |_| Ok(30)).wait().unwrap(), 30);
        assert_eq!(*coalesce.call(&3, || 31).unwrap(), 30);
        assert_eq!(coalesce.stats().lingered, 3);
        until_running(&coalesce, 0);
        assert_idle(&coalesce);
    });
}

#[test]
fn no_more_linger_than_there_may_and_the_oldest_goes() {
    // Ten in the shard that there is, and by default one shard for eight.
    let ten = building().linger(LONG).max_lingering(10).shards(1).build();
    let eight = building().linger(LONG).max_lingering(8).build();
    for (coalesce, most) in [(ten, 10), (eight, 8)] {
        let values: Vec<_> = (0..100).map(|key| coalesce.call(&key, || key).unwrap()).collect();
        let kept: Vec<u64> = values.iter().filter(|value| Arc::strong_count(value) == 2).map(|value| **value).collect();
        assert_eq!(kept, (100 - most..100).collect::<Vec<_>>());
        assert_idle(&coalesce);
    }
    let none = building().linger(LONG).max_lingering(0).build();
    assert_eq!((*none.call(&1, || 1).unwrap(), *none.call(&1, || 2).unwrap()), (1, 2));
    assert_idle(&none);
}

#[test]
fn what_has_expired_goes_when_another_result_comes() {
    bounded(|| {
        let coalesce = building().linger(Duration::from_nanos(1)).shards(1).build();
        let first = coalesce.call(&1, || 1).unwrap();
        let mut key = 1;
        while Arc::strong_count(&first) > 1 {
            key += 1;
            coalesce.call(&key, || 1).unwrap();
        }
        assert_idle(&coalesce);
    });
}

/// Its `Drop` asks the coalescer that it was in, which takes the lock that must not be held then.
struct Asks(Arc<SyncCoalesce<u64, Asks>>, u64);

impl Drop for Asks {
    fn drop(&mut self) {
        self.0.forget(&self.1);
        assert!(!std::thread::panicking() && self.1 != 13, "a value's Drop panics");
    }
}

#[test]
fn results_are_dropped_under_no_lock_and_a_panic_in_that_harms_nobody() {
    bounded(|| {
        let coalesce = Arc::new(SyncCoalesce::builder().linger(LONG).max_lingering(1).shards(1).build());
        let call = |key| drop(coalesce.call(&key, || Asks(Arc::clone(&coalesce), key)).unwrap());
        call(13);
        // Each of these has the one before dropped: 13 panics, for nobody to see.
        call(14);
        call(15);
        assert!(coalesce.forget(&15));
        assert_idle(&coalesce);
    });
}

#[test]
fn a_stale_result_whose_drop_panics_does_not_strand_the_flight_that_replaces_it() {
    bounded(|| {
        let coalesce = Arc::new(SyncCoalesce::builder().linger(LONG).build());
        drop(coalesce.call(&13, || Asks(Arc::clone(&coalesce), 13)).unwrap());
        let mark = coalesce.mark();
        // The caller holds the new lead when the old value, which nobody else has, is dropped.
        let fresh = coalesce.on(&13).after(mark).call(|_| Asks(Arc::clone(&coalesce), 14));
        assert_eq!(fresh.result.unwrap().1, 14);
        assert_idle(&coalesce);
    });
}
