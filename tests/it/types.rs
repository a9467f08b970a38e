//! What keys, values, errors, hashers and closures may be.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, LazyLock};

use sync_coalesce::{CallError, Equivalent, Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{Terrible, assert_idle, bounded, crowd, join, until, until_following, until_running};

/// Nothing is derived.
struct Bare(u8);

#[test]
fn values_and_errors_need_no_trait() {
    let coalesce: SyncCoalesce<u8, Bare, Bare> = SyncCoalesce::default();
    assert!(matches!(coalesce.try_call(&1, || Ok(Bare(2))), Ok(value) if value.0 == 2));
    assert!(matches!(coalesce.try_call(&1, || Err(Bare(3))), Err(CallError::Failed(error)) if error.0 == 3));
    assert!(format!("{coalesce:?}").starts_with("SyncCoalesce"));
    assert_idle(&coalesce);
}

#[test]
fn values_may_borrow_and_need_not_be_send() {
    let text = String::from("borrowed");
    let coalesce: SyncCoalesce<u8, Cell<&str>> = SyncCoalesce::new();
    assert_eq!(coalesce.call(&1, || Cell::new(text.as_str())).unwrap().get(), "borrowed");
    assert_idle(&coalesce);
}

#[test]
fn a_coalescer_is_send_sync_and_unwind_safe() {
    fn check<C: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    check::<SyncCoalesce<String, Bare, Bare>>();
    check::<SyncCoalesce<Cell<u8>, Bare>>();
}

#[test]
fn keys_are_asked_for_in_their_borrowed_form() {
    let strings: SyncCoalesce<String, u8> = SyncCoalesce::new();
    let paths: SyncCoalesce<PathBuf, u8> = SyncCoalesce::new();
    let bytes: SyncCoalesce<Vec<u8>, u8> = SyncCoalesce::new();
    let pairs: SyncCoalesce<(u8, Arc<str>), u8> = SyncCoalesce::new();
    assert_eq!(*strings.call("key", || 1).unwrap(), 1);
    assert_eq!(*strings.call(&"key".to_owned(), || 1).unwrap(), 1);
    assert_eq!(*paths.call(Path::new("key"), || 2).unwrap(), 2);
    assert_eq!(*bytes.call(&b"key"[..], || 3).unwrap(), 3);
    assert_eq!(*pairs.call(&(1, "key".into()), || 4).unwrap(), 4);
    assert_idle(&strings);
    assert_idle(&paths);
    assert_idle(&bytes);
    assert_idle(&pairs);
}

/// A key that counts how often it is made.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Counted(u8);

static MADE: AtomicU64 = AtomicU64::new(0);

impl Clone for Counted {
    fn clone(&self) -> Self {
        MADE.fetch_add(1, SeqCst);
        Self(self.0)
    }
}

#[test]
fn an_owned_key_is_made_only_by_a_leader() {
    bounded(|| {
        let coalesce: &SyncCoalesce<Counted, ()> = &SyncCoalesce::builder().shards(1).build();
        let follow_both = || {
            thread::scope(|scope| {
                for key in [0, 1] {
                    let followers = crowd(scope, 5, move |_| {
                        coalesce.on(&Counted(key)).timeout(std::time::Duration::ZERO).call(|_| ())
                    });
                    assert!(join(followers).into_iter().all(|outcome| outcome.result.is_err()));
                }
            });
        };
        coalesce.call(&Counted(0), || *coalesce.call(&Counted(1), follow_both).unwrap()).unwrap();
        assert_eq!(MADE.load(SeqCst), 2);
        assert_idle(coalesce);
    });
}

/// A key, other than 0, that is first made only after another caller has taken the lead for it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Late(u8);

type LateCalls = SyncCoalesce<Late, u8, Infallible, BuildHasherDefault<Terrible>>;

static LATE: LazyLock<LateCalls> =
    LazyLock::new(|| SyncCoalesce::builder().hasher(BuildHasherDefault::default()).build());
static MADE_LATE: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

impl Clone for Late {
    fn clone(&self) -> Self {
        let &Self(key) = self;
        if key != 0 && !MADE_LATE[usize::from(key)].swap(true, SeqCst) {
            let running = LATE.stats().running;
            thread::spawn(move || {
                LATE.call(&Self(key), || {
                    until_following(&LATE, 1);
                    key
                })
            });
            until_running(&LATE, running + 1);
        }
        Self(key)
    }
}

#[test]
fn a_caller_that_loses_the_lead_while_its_key_is_made_follows() {
    let loses = |key| {
        let outcome = LATE.on(&Late(key)).call(|_| 0);
        assert_eq!(*outcome.result.unwrap(), key);
        assert!(matches!(outcome.role, Role::Follower { .. }));
        0
    };
    bounded(move || {
        // Before it looks for the first time, and, where another flight might be its own, after.
        loses(1);
        LATE.call(&Late(0), || loses(2)).unwrap();
        assert_idle(&LATE);
    });
}

/// Another type that asks for the same keys, without `Borrow`.
#[derive(Hash)]
struct Part<'a>(Cow<'a, str>, u8);

impl Equivalent<(String, u8)> for Part<'_> {
    fn equivalent(&self, key: &(String, u8)) -> bool {
        self.0 == key.0 && self.1 == key.1
    }
}

#[test]
fn forget_and_cancel_take_any_equivalent_form() {
    let coalesce: SyncCoalesce<(String, u8), bool> = SyncCoalesce::new();
    let key = ("key".to_owned(), 1);
    assert!(*coalesce.call(&key, || coalesce.forget(&Part("key".into(), 1))).unwrap());
    assert!(*coalesce.call(&key, || coalesce.cancel(&Part("key".into(), 1))).unwrap());
    assert_idle(&coalesce);
}

#[test]
fn a_million_keys_leave_nothing_behind() {
    let coalesce: SyncCoalesce<u32, u32> = SyncCoalesce::new();
    let sum: u64 = (0..1_000_000).map(|key| u64::from(*coalesce.call(&key, || key).unwrap())).sum();
    assert_eq!(sum, 499_999_500_000);
    assert_eq!(coalesce.stats().underlying_calls, 1_000_000);
    assert_idle(&coalesce);
}

#[test]
fn it_works_in_a_static() {
    static COALESCE: LazyLock<SyncCoalesce<String, u8>> = LazyLock::new(SyncCoalesce::new);
    assert_eq!(*COALESCE.call("key", || 1).unwrap(), 1);
    assert_idle(&COALESCE);
}

/// Every key answers for itself and all flights are open at once, so they are told apart by `Eq` alone.
fn check_with<S: BuildHasher + Sync>(hasher: S, shards: usize) {
    bounded(|| {
        let coalesce: SyncCoalesce<usize, usize, _, S> = SyncCoalesce::builder().hasher(hasher).shards(shards).build();
        let coalesce: &SyncCoalesce<usize, usize, Infallible, S> = &coalesce;
        let values = thread::scope(|scope| {
            join(crowd(scope, 40, |number| {
                let key = number / 2;
                *coalesce
                    .call(&key, || {
                        until("twenty followers to have joined", || coalesce.stats().coalesced_calls == 20);
                        key
                    })
                    .unwrap()
            }))
        });
        assert_eq!(values, (0..40).map(|number| number / 2).collect::<Vec<_>>());
        assert_idle(coalesce);
    });
}

#[test]
fn a_terrible_hasher_is_slow_and_right() {
    check_with(BuildHasherDefault::<Terrible>::default(), 8);
}

#[test]
fn any_number_of_shards_is_legal() {
    for shards in [0, 1, 3, 64, usize::MAX] {
        check_with(RandomState::new(), shards);
    }
}

#[test]
fn a_hasher_of_ones_own_is_used() {
    check_with(BuildHasherDefault::<DefaultHasher>::default(), 4);
}
