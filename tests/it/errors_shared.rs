//! An error is a result like any other: shared by all who wait for it, and by nobody after. A failure that elects a
//! follower is in `election.rs`; what errors say, in `errors.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use sync_coalesce::{CallError, SyncCoalesce};

use crate::support::thread;
use crate::support::{assert_idle, bounded, crowd, join, until_following};

#[test]
fn leader_and_nine_followers_get_the_same_error() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, (), String> = SyncCoalesce::new();
        let results = thread::scope(|scope| {
            join(crowd(scope, 10, |_| {
                coalesce.try_call("key", || {
                    until_following(&coalesce, 9);
                    Err("quota".to_owned())
                })
            }))
        });
        let errors: Vec<Arc<String>> = results
            .into_iter()
            .map(|result| match result {
                Err(CallError::Failed(error)) => error,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(*errors[0], "quota");
        assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));
        assert_idle(&coalesce);
    });
}

#[test]
fn eight_waiters_of_a_failing_call_share_one_failure() {
    bounded(|| {
        let coalesce: SyncCoalesce<String, (), u64> = SyncCoalesce::new();
        let runs = AtomicU64::new(0);
        let results = thread::scope(|scope| {
            join(crowd(scope, 8, |_| {
                coalesce.try_call("key", || {
                    until_following(&coalesce, 7);
                    Err(runs.fetch_add(1, SeqCst))
                })
            }))
        });
        assert_eq!(runs.load(SeqCst), 1);
        assert!(results.into_iter().all(|result| matches!(result, Err(CallError::Failed(error)) if *error == 0)));
        assert_idle(&coalesce);
    });
}

#[test]
fn after_an_error_the_same_key_runs_afresh() {
    let coalesce: SyncCoalesce<String, u32, &str> = SyncCoalesce::new();
    assert!(matches!(coalesce.try_call("key", || Err("no")), Err(CallError::Failed(error)) if *error == "no"));
    assert_eq!(*coalesce.try_call("key", || Ok(2)).unwrap(), 2);
    assert_idle(&coalesce);
}
