//! User code that panics: a leader's closure here, keys in `in_keys.rs`, and values that panic as they are dropped in
//! `in_drop.rs`. An observer's panics are in `observe`, those of policies in `election.rs`.

mod in_drop;
mod in_keys;

use std::panic::{catch_unwind, panic_any, resume_unwind};
use std::sync::Arc;

use sync_coalesce::{CallError, SyncCoalesce};

use crate::support::thread;
use crate::support::{assert_idle, bounded, crowd, join, until_following, until_running};

#[test]
fn a_leader_sees_its_own_panic_unchanged_and_its_followers_its_message() {
    #[derive(Debug, PartialEq)]
    struct Payload(u8);

    bounded(|| {
        let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::new();
        let cases: [(&str, fn()); 3] = [
            ("no route to 7", || resume_unwind(Box::new(format!("no route to {}", 7)))),
            ("plain text", || resume_unwind(Box::new("plain text"))),
            ("a value that is not text", || resume_unwind(Box::new(Payload(7)))),
        ];
        for (expected, panic) in cases {
            thread::scope(|scope| {
                let leader = scope.spawn(|| {
                    coalesce.call("key", || {
                        until_following(&coalesce, 2);
                        panic();
                    })
                });
                until_running(&coalesce, 1);
                let followers = crowd(scope, 2, |_| coalesce.call("key", || unreachable!("a flight is on")));
                for result in join(followers) {
                    let Err(CallError::LeaderPanicked { message }) = result else { panic!("{result:?}") };
                    assert_eq!(&*message, expected);
                }
                let payload = leader.join().unwrap_err();
                if let Some(payload) = payload.downcast_ref::<Payload>() {
                    assert_eq!(*payload, Payload(7));
                } else {
                    let text = payload
                        .downcast_ref::<String>()
                        .map_or_else(|| payload.downcast_ref::<&str>().copied(), |text| Some(text));
                    assert_eq!(text, Some(expected));
                }
            });
            assert_idle(&coalesce);
        }
        assert_eq!(coalesce.stats().panicked, 3);
    });
}

#[test]
fn a_panic_made_by_the_macro_passes_through_too() {
    let coalesce: SyncCoalesce<String, ()> = SyncCoalesce::new();
    let payload = catch_unwind(|| coalesce.call("key", || panic_any(7_u8))).unwrap_err();
    assert_eq!(payload.downcast_ref::<u8>(), Some(&7));
    coalesce.call("key", || ()).unwrap();
    assert_idle(&coalesce);
}

/// A Python library left followers waiting forever when the leader's thread died.
#[test]
fn a_leader_thread_that_dies_strands_nobody() {
    bounded(|| {
        let coalesce: Arc<SyncCoalesce<String, ()>> = Arc::default();
        let leader = thread::spawn({
            let coalesce = Arc::clone(&coalesce);
            move || {
                coalesce.call("key", || {
                    until_following(&coalesce, 1);
                    resume_unwind(Box::new("the thread ends here"))
                })
            }
        });
        until_running(&coalesce, 1);
        let result = coalesce.call("key", || unreachable!("a flight is on"));
        assert!(matches!(result, Err(CallError::LeaderPanicked { message }) if &*message == "the thread ends here"));
        assert!(leader.join().is_err());
        assert_idle(&coalesce);
    });
}
