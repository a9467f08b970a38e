//! The ledger: in memory, on disk, and with processes that are killed.

#[cfg(feature = "redb")]
mod creation;
#[cfg(feature = "redb")]
mod damage;
#[cfg(feature = "redb")]
pub(crate) mod disk;
mod records;
#[cfg(all(feature = "redb", target_os = "linux"))]
mod small_disk;

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use sync_coalesce::Key;
use sync_coalesce::stack::ledger::{
    Ledger, LedgerError, LedgerOutcome, LedgerState, MemoryStore, Record, Store, StoreError,
};

use crate::support::thread;
use crate::support::{Gate, bounded, crowd, join, until};

fn request(text: &str) -> Key {
    Key::of(text).unwrap()
}

/// Runs work that returns this, and says whether it ran.
fn run(
    ledger: &Ledger,
    key: &str,
    fingerprint: &Key,
    value: u32,
) -> (Result<LedgerOutcome<u32>, LedgerError<Infallible>>, bool) {
    let mut ran = false;
    let result = ledger.run_once(key, fingerprint, || {
        ran = true;
        Ok(value)
    });
    (result, ran)
}

#[track_caller]
fn assert_does(ledger: &Ledger, key: &str, fingerprint: &Key, value: u32) {
    let (result, ran) = run(ledger, key, fingerprint, value);
    let recorded = result.unwrap();
    assert_eq!((recorded.value, recorded.is_replay, ran), (value, false, true));
    recorded.committed.unwrap();
}

#[track_caller]
fn assert_replays(ledger: &Ledger, key: &str, fingerprint: &Key, value: u32) {
    let (result, ran) = run(ledger, key, fingerprint, u32::MAX);
    let recorded = result.unwrap();
    assert_eq!((recorded.value, recorded.is_replay, ran), (value, true, false));
    recorded.committed.unwrap();
}

#[track_caller]
fn assert_unknown(ledger: &Ledger, key: &str, fingerprint: &Key) {
    let (result, ran) = run(ledger, key, fingerprint, u32::MAX);
    assert!(matches!(result, Err(LedgerError::Unknown)), "{result:?}");
    assert!(!ran);
    assert_eq!(ledger.state(key).unwrap(), LedgerState::Unknown);
}

/// Work that panics, and so leaves its key unknown.
fn panics(ledger: &Ledger, key: &str, fingerprint: &Key) {
    let work = || -> Result<u32, Infallible> { panic!("in the work") };
    let panicked = catch_unwind(AssertUnwindSafe(|| ledger.run_once(key, fingerprint, work).map(drop)));
    assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "in the work");
}

/// What holds of each store.
fn once(ledger: &Ledger) {
    let (first, second) = (request("first"), request("second"));
    assert_eq!(ledger.state("a").unwrap(), LedgerState::Absent);
    assert_does(ledger, "a", &first, 1);
    assert_replays(ledger, "a", &first, 1);
    assert_does(ledger, "b", &first, 2);
    assert_replays(ledger, "a", &first, 1);
    assert_eq!(ledger.state("a").unwrap(), LedgerState::Done);

    // Another request under the same key gets an error and not its answer, whatever the key's state is.
    let (other, ran) = run(ledger, "a", &second, 3);
    assert!(matches!(other, Err(LedgerError::OtherRequest)));
    panics(ledger, "c", &first);
    let (other, ran_either) = run(ledger, "c", &second, 3);
    assert!(matches!(other, Err(LedgerError::OtherRequest)));
    assert!(!ran && !ran_either);

    // Unknown, until somebody knows.
    assert_unknown(ledger, "c", &first);
    assert!(ledger.resolve("c", &4).unwrap());
    assert_replays(ledger, "c", &first, 4);
    assert!(!ledger.resolve("c", &5).unwrap(), "what is known stays");
    assert!(!ledger.resolve("nobody's", &5).unwrap());
    assert_replays(ledger, "c", &first, 4);
    panics(ledger, "d", &first);
    assert!(ledger.forget("d").unwrap());
    assert!(!ledger.forget("d").unwrap());
    assert_does(ledger, "d", &second, 6);
    assert!(ledger.forget("d").unwrap());
    assert_eq!(ledger.state("d").unwrap(), LedgerState::Absent);

    // An error is not kept.
    let failed = ledger.run_once("e", &first, || Err::<u32, _>("busy"));
    assert!(matches!(failed, Err(LedgerError::Failed("busy"))));
    assert_eq!(ledger.state("e").unwrap(), LedgerState::Absent);
    assert_does(ledger, "e", &second, 7);

    // Any bytes are a key, and none is another's beginning.
    for (value, key) in [(0, ""), (1, "\0"), (2, "\0\0"), (3, "f")] {
        assert_does(ledger, key, &first, value);
    }
    for (value, key) in [(0, ""), (1, "\0"), (2, "\0\0"), (3, "f")] {
        assert_replays(ledger, key, &first, value);
    }
}

#[test]
fn what_was_done_is_not_done_again() {
    once(&Ledger::in_memory());
}

#[test]
fn a_result_of_another_type_is_an_error() {
    let ledger = Ledger::in_memory();
    assert_does(&ledger, "a", &request("r"), 1);
    let result = ledger.run_once("a", &request("r"), || Ok::<_, Infallible>("text".to_owned()));
    let error = result.unwrap_err();
    assert!(matches!(error, LedgerError::Unreadable(_)));
    let text = error.to_string();
    assert!(
        text.starts_with("the result under this ledger key is not of this type: invalid type: integer `1`"),
        "{text}"
    );
}

/// ```text
/// first    begins ------------- gate --- done
/// others           in progress
/// ```
#[test]
fn while_it_runs_it_is_in_progress_for_others_and_not_unknown() {
    bounded(|| {
        let ledger = Ledger::in_memory();
        let gate = Gate::new();
        let asked = request("r");
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let work = || {
                    gate.pass();
                    Ok::<_, Infallible>(1)
                };
                ledger.run_once("a", &asked, work).unwrap().value
            });
            until("the first to begin", || ledger.state("a").unwrap() == LedgerState::InProgress);
            for _ in 0..3 {
                assert!(matches!(run(&ledger, "a", &asked, 2), (Err(LedgerError::InProgress), false)));
            }
            assert!(matches!(ledger.resolve("a", &3), Err(LedgerError::InProgress)));
            assert!(matches!(ledger.forget("a"), Err(LedgerError::InProgress)));
            assert_does(&ledger, "b", &asked, 4);
            gate.open();
            assert_eq!(first.join().unwrap(), 1);
        });
        assert_replays(&ledger, "a", &asked, 1);
    });
}

#[test]
fn work_that_asks_for_its_own_key_is_told_so() {
    let (ledger, asked) = (Ledger::in_memory(), request("r"));
    let inner = ledger.run_once("a", &asked, || Ok::<_, Infallible>(run(&ledger, "a", &asked, 1).1)).unwrap();
    assert!(!inner.value, "the inner work ran");
}

#[test]
fn of_many_threads_one_does_it() {
    bounded(|| {
        let ledger = Ledger::in_memory();
        let runs = AtomicU64::new(0);
        let asked = request("r");
        thread::scope(|scope| {
            join(crowd(scope, 50, |_| {
                let work = || Ok::<_, Infallible>(runs.fetch_add(1, SeqCst));
                match ledger.clone().run_once("a", &asked, work) {
                    Ok(recorded) => assert_eq!(recorded.value, 0),
                    Err(error) => assert!(matches!(error, LedgerError::InProgress), "{error:?}"),
                }
            }));
        });
        assert_eq!(runs.into_inner(), 1);
    });
}

/// Many who read a result that is there do not get in each other's way.
#[test]
fn replays_are_never_in_progress() {
    bounded(|| {
        let (ledger, asked) = (Ledger::in_memory(), request("r"));
        assert_does(&ledger, "a", &asked, 1);
        thread::scope(|scope| {
            join(crowd(scope, 8, |_| (0..500).for_each(|_| assert_replays(&ledger, "a", &asked, 1))));
        });
    });
}

/// A store that fails in one of its methods.
struct Broken {
    beneath: MemoryStore,
    method: &'static str,
}

impl Broken {
    fn fails_in(&self, method: &str) -> Result<(), StoreError> {
        if self.method == method { Err(StoreError::new("the disk is full")) } else { Ok(()) }
    }
}

impl Store for Broken {
    fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError> {
        self.fails_in("begin")?;
        self.beneath.begin(key, fingerprint)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        self.fails_in("get")?;
        self.beneath.get(key)
    }

    fn commit(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.fails_in("commit")?;
        self.beneath.commit(key, value)
    }

    fn remove(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.fails_in("remove")?;
        self.beneath.remove(key)
    }
}

fn broken(method: &'static str) -> Ledger {
    Ledger::new(Broken { beneath: MemoryStore::new(), method })
}

#[test]
fn work_whose_beginning_cannot_be_recorded_does_not_run() {
    let (result, ran) = run(&broken("begin"), "a", &request("r"), 1);
    let error = result.unwrap_err();
    assert!(matches!(error, LedgerError::Store(_)));
    assert_eq!(error.to_string(), "the ledger's store failed: the disk is full");
    assert!(!ran);
}

#[test]
fn a_result_that_cannot_be_committed_is_not_lost_and_its_key_is_unknown() {
    let (ledger, asked) = (broken("commit"), request("r"));
    let (result, ran) = run(&ledger, "a", &asked, 1);
    let recorded = result.unwrap();
    assert_eq!((recorded.value, recorded.is_replay, ran), (1, false, true));
    assert_eq!(recorded.committed.unwrap_err().to_string(), "the ledger's store failed: the disk is full");
    assert_unknown(&ledger, "a", &asked);
}

#[test]
fn an_error_that_cannot_be_removed_leaves_its_key_unknown() {
    let (ledger, asked) = (broken("remove"), request("r"));
    let failed = ledger.run_once("a", &asked, || Err::<u32, _>("busy")).unwrap_err();
    assert!(matches!(failed, LedgerError::NotRemoved { error: "busy", .. }));
    assert_eq!(failed.work(), Some(&"busy"));
    assert_eq!(ledger.state("a").unwrap(), LedgerState::Unknown);
    assert!(matches!(ledger.forget("a"), Err(LedgerError::Store(_))));
    // Nobody knows what the work will do when it runs again, so it does not before the beginning is removed.
    let (again, ran) = run(&ledger, "a", &asked, 1);
    assert!(matches!(again, Err(LedgerError::Store(_))) && !ran);
}

#[test]
fn a_store_that_cannot_be_read_says_so() {
    let ledger = broken("get");
    assert!(ledger.state("a").is_err());
    assert!(matches!(ledger.resolve("a", &1), Err(LedgerError::Store(_))));
}

/// A store that calls back, as user code may: no lock of the ledger is held.
#[test]
fn a_store_may_ask_the_ledger() {
    struct Asks(MemoryStore, Arc<Mutex<Option<Ledger>>>);

    impl Asks {
        fn ask(&self) {
            let ledger = self.1.lock().unwrap().take();
            if let Some(ledger) = ledger {
                assert_does(&ledger, "inner", &request("inner"), 2);
                *self.1.lock().unwrap() = Some(ledger);
            }
        }
    }

    impl Store for Asks {
        fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError> {
            self.ask();
            self.0.begin(key, fingerprint)
        }

        fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
            self.0.get(key)
        }

        fn commit(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
            self.0.commit(key, value)
        }

        fn remove(&self, key: &[u8]) -> Result<bool, StoreError> {
            self.0.remove(key)
        }
    }

    bounded(|| {
        let place = Arc::new(Mutex::new(None));
        let ledger = Ledger::new(Asks(MemoryStore::new(), Arc::clone(&place)));
        *place.lock().unwrap() = Some(ledger.clone());
        assert_does(&ledger, "outer", &request("outer"), 1);
        // They hold each other.
        *place.lock().unwrap() = None;
        assert_replays(&ledger, "inner", &request("inner"), 2);
    });
}

/// Writes itself by a panic.
#[derive(Debug, PartialEq, serde::Deserialize)]
struct Unwritable(u32);

impl serde::Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("in Serialize")
    }
}

#[test]
fn a_serialize_that_panics_after_paid_work_does_not_lose_the_value() {
    let ledger = Ledger::in_memory();
    let request = Key::of("request").unwrap();
    let outcome = ledger.run_once("order", &request, || Ok::<_, Infallible>(Unwritable(7))).unwrap();
    assert_eq!((outcome.value, outcome.is_replay), (Unwritable(7), false));
    let error = outcome.committed.unwrap_err();
    assert!(error.to_string().contains("in Serialize"), "{error}");
    // As after any result that could not be committed.
    assert_eq!(ledger.state("order").unwrap(), LedgerState::Unknown);
}
