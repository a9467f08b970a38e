//! Followers whose patience ends run alone, and only a few of them at a time.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use sync_coalesce::{BypassReason, CallError, Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until_running};

#[test]
fn the_impatient_run_alone_and_not_more_than_so_many_at_a_time() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> =
            SyncCoalesce::builder().patience(Duration::from_millis(1)).max_impatient(2).build();
        let gate = Gate::new();
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.call(&1, || {
                    gate.pass();
                    1
                })
            });
            until_running(&coalesce, 1);
            let impatient = crowd(scope, 12, |_| {
                coalesce.on(&1).call(|_| {
                    most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                    thread::yield_now();
                    now.fetch_sub(1, SeqCst);
                    2
                })
            });
            for outcome in join(impatient) {
                assert_eq!(outcome.role, Role::Bypassed(BypassReason::Impatient));
                assert_eq!(*outcome.result.unwrap(), 2);
            }
            gate.open();
            leader.join().unwrap().unwrap();
        });
        assert!(most.load(SeqCst) <= 2, "{most:?}");
        let stats = coalesce.stats();
        assert_eq!((stats.impatient, stats.coalesced_calls, stats.bypassed, stats.calls()), (12, 12, 0, 13));
        assert_idle(&coalesce);
    });
}

#[test]
fn a_deadline_comes_before_a_longer_patience_and_patience_before_a_longer_deadline() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::new();
        let value = coalesce.call(&1, || {
            let (short, long) = (Duration::from_millis(5), Duration::MAX);
            thread::scope(|scope| {
                let late = scope.spawn(|| coalesce.on(&1).timeout(short).patience(long).call(|_| 2));
                assert!(matches!(late.join().unwrap().result, Err(CallError::TimedOut)));
                let impatient = scope.spawn(|| coalesce.on(&1).timeout(long).patience(short).call(|_| 2));
                *impatient.join().unwrap().result.unwrap()
            })
        });
        assert_eq!(*value.unwrap(), 2);
        assert_idle(&coalesce);
    });
}
