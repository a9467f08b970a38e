//! Calls that want a result begun after a mark.

use std::sync::OnceLock;

use sync_coalesce::SyncCoalesce;

use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until_following, until_running};

/// ```text
/// old leader   lead(1) ------------------------------------------- gate -- 1
/// old follower         join(1) ------------------------------------------- 1
/// writer                       changes something, makes a mark
/// first                               after(mark): lead(2) --------------------- gate -- 2
/// second                                     after(mark): join(2) ---------------------- 2
/// ```
#[test]
fn after_a_mark_an_older_flight_is_forgotten_and_one_new_flight_serves_all() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::new();
        let (old_gate, new_gate, mark) = (Gate::new(), Gate::new(), OnceLock::new());
        thread::scope(|scope| {
            let old = scope.spawn(|| {
                coalesce.call(&1, || {
                    old_gate.pass();
                    1
                })
            });
            until_running(&coalesce, 1);
            let old_follower = scope.spawn(|| coalesce.call(&1, || unreachable!("a flight is on")));
            until_following(&coalesce, 1);
            let mark = mark.get_or_init(|| coalesce.mark());
            let new = crowd(scope, 5, |_| {
                coalesce.on(&1).after(*mark).call(|_| {
                    new_gate.pass();
                    2
                })
            });
            until_following(&coalesce, 5);
            assert_eq!((coalesce.in_flight(), coalesce.stats().underlying_calls), (1, 2));
            old_gate.open();
            assert_eq!((*old.join().unwrap().unwrap(), *old_follower.join().unwrap().unwrap()), (1, 1));
            new_gate.open();
            assert!(join(new).into_iter().all(|outcome| *outcome.result.unwrap() == 2));
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn a_flight_begun_after_the_mark_is_joined() {
    bounded(|| {
        let coalesce: SyncCoalesce<u8, u32> = SyncCoalesce::new();
        let mark = coalesce.mark();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.call(&1, || {
                    until_following(&coalesce, 1);
                    1
                })
            });
            until_running(&coalesce, 1);
            let outcome = coalesce.on(&1).after(mark).call(|_| unreachable!("a fresh flight is on"));
            assert_eq!(*outcome.result.unwrap(), 1);
            leader.join().unwrap().unwrap();
        });
        assert_idle(&coalesce);
    });
}
