//! Keys whose `Hash`, `Eq`, `Clone` or `Drop` panics.

use std::cell::{Cell, RefCell};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Barrier};

use sync_coalesce::{CallError, SyncCoalesce};

use crate::support::thread;
use crate::support::{assert_idle, bounded, until_following, until_running};

thread_local! {
    /// What the keys of this thread panic in.
    static PANIC_IN: Cell<&'static str> = const { Cell::new("") };
    /// Where the next key that this thread clones waits twice.
    static MEET_IN_CLONE: RefCell<Option<Arc<Barrier>>> = const { RefCell::new(None) };
}

fn trap(place: &'static str) {
    if PANIC_IN.get() == place {
        // Once: it must not meet itself while unwinding.
        PANIC_IN.set("");
        resume_unwind(Box::new(place));
    }
}

#[derive(Debug)]
struct Trapped(u8);

impl Hash for Trapped {
    fn hash<H: Hasher>(&self, state: &mut H) {
        trap("hash");
        self.0.hash(state);
    }
}

impl PartialEq for Trapped {
    fn eq(&self, other: &Self) -> bool {
        trap("eq");
        self.0 == other.0
    }
}

impl Eq for Trapped {}

impl Clone for Trapped {
    fn clone(&self) -> Self {
        trap("clone");
        if let Some(meeting) = MEET_IN_CLONE.take() {
            meeting.wait();
            meeting.wait();
        }
        Self(self.0)
    }
}

impl Drop for Trapped {
    fn drop(&mut self) {
        trap("drop");
    }
}

/// Which panic came out of `call`, if one did.
fn panic_of<R>(call: impl FnOnce() -> R) -> Option<&'static str> {
    catch_unwind(AssertUnwindSafe(call)).err().map(|payload| *payload.downcast::<&str>().unwrap())
}

#[test]
fn a_panicking_hash_or_clone_kills_no_key() {
    let coalesce: SyncCoalesce<Trapped, u8> = SyncCoalesce::new();
    let key = Trapped(1);
    for place in ["hash", "clone"] {
        PANIC_IN.set(place);
        assert_eq!(panic_of(|| coalesce.call(&key, || 1)), Some(place));
        assert_eq!(*coalesce.call(&key, || 2).unwrap(), 2);
        assert_idle(&coalesce);
    }
    assert_eq!(coalesce.stats().calls(), 2, "a call whose key panicked is no call");
}

#[test]
fn a_panicking_eq_leaves_every_flight_intact() {
    bounded(|| {
        let coalesce: SyncCoalesce<Trapped, u8> = SyncCoalesce::builder().shards(1).build();
        let key = Trapped(1);
        let value = coalesce.call(&key, || {
            let verbs: [&dyn Fn() -> bool; 3] =
                [&|| coalesce.call(&key, || 0).is_ok(), &|| coalesce.forget(&key), &|| coalesce.cancel(&key)];
            for verb in verbs {
                PANIC_IN.set("eq");
                assert_eq!(panic_of(verb), Some("eq"));
            }
            thread::scope(|scope| {
                let follower = scope.spawn(|| coalesce.call(&key, || unreachable!("a flight is on")));
                until_following(&coalesce, 1);
                assert_eq!(coalesce.in_flight(), 1);
                coalesce.cancel(&key);
                assert!(matches!(follower.join().unwrap(), Err(CallError::Cancelled)));
            });
            7
        });
        assert_eq!(*value.unwrap(), 7);
        assert_idle(&coalesce);
    });
}

#[test]
fn a_panicking_drop_of_the_key_costs_no_follower_its_value() {
    bounded(|| {
        let coalesce: SyncCoalesce<Trapped, u8> = SyncCoalesce::new();
        let key = Trapped(1);
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                panic_of(|| {
                    coalesce.call(&key, || {
                        until_following(&coalesce, 1);
                        PANIC_IN.set("drop");
                        7
                    })
                })
            });
            until_running(&coalesce, 1);
            let value = coalesce.call(&key, || unreachable!("a flight is on"));
            assert_eq!(*value.unwrap(), 7);
            assert_eq!(leader.join().unwrap(), Some("drop"));
        });
        assert_idle(&coalesce);
    });
}

/// ```text
/// caller                      leader
/// finds no flight
/// clones its key ...
///                             leads
/// ... and joins: the clone
/// is dropped, and panics
/// ```
#[test]
fn a_panicking_drop_of_a_key_made_in_vain_costs_its_caller_nothing() {
    bounded(|| {
        let coalesce: SyncCoalesce<Trapped, u8> = SyncCoalesce::new();
        let key = Trapped(1);
        let meeting = Arc::new(Barrier::new(2));
        thread::scope(|scope| {
            let caller = scope.spawn(|| {
                MEET_IN_CLONE.set(Some(Arc::clone(&meeting)));
                PANIC_IN.set("drop");
                let value = coalesce.call(&key, || unreachable!("a flight is on"));
                assert_eq!(PANIC_IN.get(), "", "no key was made in vain");
                *value.unwrap()
            });
            meeting.wait();
            let led = coalesce.call(&key, || {
                meeting.wait();
                until_following(&coalesce, 1);
                7
            });
            assert_eq!((*led.unwrap(), caller.join().unwrap()), (7, 7));
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn a_panicking_drop_of_the_key_does_not_hide_the_leaders_own_panic() {
    let coalesce: SyncCoalesce<Trapped, u8> = SyncCoalesce::new();
    let key = Trapped(1);
    let panic = panic_of(|| {
        coalesce.call(&key, || {
            PANIC_IN.set("drop");
            resume_unwind(Box::new("work"))
        })
    });
    assert_eq!(panic, Some("work"));
    assert_eq!(PANIC_IN.get(), "", "the key's Drop panicked too");
    assert_idle(&coalesce);
}
