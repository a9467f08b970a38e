//! Going through the records of a ledger, their ages, and removing old ones; and stores that fail or panic.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use sync_coalesce::Key;
use sync_coalesce::stack::ledger::{
    Ledger, LedgerError, LedgerRecord, LedgerState, MemoryStore, Record, Store, StoreError, StoredRecord,
};
use sync_coalesce::stack::{Stack, StackError};

use super::{assert_does, assert_replays, assert_unknown, panics, request, run};
use crate::support::thread;
use crate::support::{Gate, bounded, crowd, join, until};

const HOUR: Duration = Duration::from_secs(3600);

fn all(ledger: &Ledger) -> Vec<LedgerRecord> {
    ledger.records().collect::<Result<_, _>>().unwrap()
}

fn in_doubt(ledger: &Ledger) -> Vec<String> {
    ledger.in_doubt().map(|record| String::from_utf8(record.unwrap().key).unwrap()).collect()
}

/// What holds of each store.
fn lists(ledger: &Ledger) {
    let asked = request("r");
    assert_eq!(all(ledger), []);
    let began = SystemTime::now();
    // More than are read at a time, and such that the order is not that in which they come.
    let keys: BTreeSet<_> = (0..600).map(|number| format!("{}", number * 7919 % 1000)).collect();
    for (number, key) in keys.iter().rev().enumerate() {
        if number % 100 == 7 { panics(ledger, key, &asked) } else { assert_does(ledger, key, &asked, 1) }
    }
    let ended = SystemTime::now();
    let records = all(ledger);
    assert!(records.iter().map(|record| &record.key).eq(keys.iter().map(String::as_bytes)), "all, in their order");
    for record in &records {
        let times = [record.begun_at, record.committed_at];
        assert!(times.into_iter().flatten().all(|time| began <= time && time <= ended), "{record:?}");
        assert!(record.begun_at.is_some() && record.begun_at <= record.committed_at.or(Some(ended)), "{record:?}");
        assert_eq!(record.committed_at.is_some(), record.state == LedgerState::Done);
        assert_eq!(record.fingerprint, asked);
        assert!(record.age().unwrap() < HOUR);
    }
    let unknown: Vec<_> = keys.iter().rev().skip(7).step_by(100).rev().cloned().collect();
    assert_eq!(in_doubt(ledger), unknown);

    // Nothing is old, then everything, but for what is in doubt.
    assert_eq!(ledger.remove_older_than(HOUR).unwrap(), 0);
    assert_eq!(ledger.remove_older_than(Duration::MAX).unwrap(), 0);
    assert_eq!(ledger.remove_older_than(Duration::ZERO).unwrap(), 594);
    assert_eq!(in_doubt(ledger), unknown);
    assert_eq!(all(ledger).len(), 6);
    assert_unknown(ledger, &unknown[0], &asked);
    assert_does(ledger, keys.iter().next_back().unwrap(), &asked, 2);
    // That goes only if somebody says so.
    assert_eq!(ledger.remove_if(|record| record.state == LedgerState::Unknown).unwrap(), 6);
    assert_eq!(in_doubt(ledger), [""; 0]);
    assert_does(ledger, &unknown[0], &asked, 3);
}

#[test]
fn records_are_listed_in_the_order_of_their_keys_and_old_ones_removed() {
    lists(&Ledger::in_memory());
}

#[cfg(feature = "redb")]
#[test]
fn records_on_disk_are_listed_and_removed_over_restarts() {
    use super::disk::Folder;
    use sync_coalesce::stack::ledger::RedbStore;

    let folder = Folder::in_memory();
    let open = || Ledger::new(RedbStore::open(folder.file()).unwrap());
    lists(&open());
    let before = all(&open());
    assert_eq!(before.len(), 2);
    assert_eq!(all(&open()), before, "their times are those of then");
}

/// ```text
/// first    begins ------------------------------- gate -- done
/// others           list it, and remove what is old
/// ```
#[test]
fn what_is_in_progress_is_neither_in_doubt_nor_removed() {
    bounded(|| {
        let (ledger, asked, gate) = (Ledger::in_memory(), request("r"), Gate::new());
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let work = || {
                    gate.pass();
                    Ok::<_, Infallible>(1)
                };
                ledger.run_once("a", &asked, work).unwrap().committed.unwrap();
            });
            until("the first to begin", || ledger.state("a").unwrap() == LedgerState::InProgress);
            assert_eq!(in_doubt(&ledger), [""; 0]);
            assert_eq!(all(&ledger)[0].state, LedgerState::InProgress);
            assert_eq!(ledger.remove_if(|_| true).unwrap(), 0);
            assert_eq!(ledger.remove_older_than(Duration::ZERO).unwrap(), 0);
            gate.open();
            first.join().unwrap();
        });
        assert_replays(&ledger, "a", &asked, 1);
    });
}

#[test]
fn what_was_forgotten_and_done_again_after_it_was_judged_is_not_removed() {
    let (ledger, asked) = (Ledger::in_memory(), request("r"));
    assert_does(&ledger, "a", &asked, 1);
    let removed = ledger.remove_if(|_| {
        // It calls back, as user code may.
        assert!(ledger.forget("a").unwrap());
        assert_does(&ledger, "a", &asked, 2);
        true
    });
    assert_eq!(removed.unwrap(), 0);
    assert_replays(&ledger, "a", &asked, 2);
}

#[test]
fn while_some_remove_and_others_do_each_run_is_committed_once_or_asked_for_again() {
    bounded(|| {
        let (ledger, asked) = (Ledger::in_memory(), request("r"));
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let remover = scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    ledger.remove_older_than(Duration::ZERO).unwrap();
                    assert_eq!(in_doubt(&ledger), [""; 0], "what runs was taken to be in doubt");
                }
            });
            join(crowd(scope, 3, |thread| {
                for turn in 0..300 {
                    let (result, _) = run(&ledger, &format!("{thread} {}", turn % 5), &asked, turn);
                    match result {
                        Ok(recorded) => recorded.committed.unwrap(),
                        // It was being removed.
                        Err(error) => assert!(matches!(error, LedgerError::InProgress), "{error}"),
                    }
                }
            }));
            is_over.store(true, SeqCst);
            remover.join().unwrap();
        });
    });
}

/// A store whose records were begun and committed by this much earlier, or later.
struct Shifted(MemoryStore, fn(SystemTime) -> SystemTime);

impl Store for Shifted {
    fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError> {
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

    fn scan(&self, from: Bound<&[u8]>, limit: usize) -> Result<Vec<StoredRecord>, StoreError> {
        let mut found = self.0.scan(from, limit)?;
        for record in &mut found {
            record.begun_at = record.begun_at.map(self.1);
            record.committed_at = record.committed_at.map(self.1);
        }
        Ok(found)
    }
}

#[test]
fn what_is_older_than_a_day_is_removed_after_a_day() {
    let ledger = Ledger::new(Shifted(MemoryStore::new(), |time| time - 24 * HOUR));
    assert_does(&ledger, "a", &request("r"), 1);
    panics(&ledger, "b", &request("r"));
    assert!(all(&ledger).iter().all(|record| record.age().unwrap() >= 24 * HOUR));
    assert_eq!(ledger.remove_older_than(25 * HOUR).unwrap(), 0);
    assert_eq!(ledger.remove_older_than(24 * HOUR).unwrap(), 1);
    assert_eq!(in_doubt(&ledger), ["b"]);
}

#[test]
fn what_comes_from_the_future_because_the_clock_was_set_back_is_new() {
    let ledger = Ledger::new(Shifted(MemoryStore::new(), |time| time + HOUR));
    assert_does(&ledger, "a", &request("r"), 1);
    assert_eq!(all(&ledger)[0].age(), Some(Duration::ZERO));
    assert_eq!(ledger.remove_older_than(Duration::from_nanos(1)).unwrap(), 0);
    assert_replays(&ledger, "a", &request("r"), 1);
}

/// A store that knows only what every store must.
struct Least(MemoryStore);

impl Store for Least {
    fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError> {
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

#[test]
fn a_store_that_cannot_list_its_records_says_so_once() {
    let ledger = Ledger::new(Least(MemoryStore::new()));
    assert_does(&ledger, "a", &request("r"), 1);
    let listed: Vec<_> = ledger.records().collect();
    let [Err(error)] = &listed[..] else { panic!("{listed:?}") };
    assert_eq!(error.to_string(), "the ledger's store failed: this store cannot list its records");
    assert!(ledger.in_doubt().next().unwrap().is_err());
    assert!(ledger.remove_older_than(Duration::ZERO).is_err());
    assert_replays(&ledger, "a", &request("r"), 1);
}

/// A store that panics, or fails to remove, while it is told to.
#[derive(Default)]
struct Moody {
    beneath: MemoryStore,
    panics: AtomicBool,
    keeps: AtomicBool,
}

impl Moody {
    fn may_panic(&self) {
        assert!(!self.panics.load(SeqCst), "in the store");
    }
}

struct Shared(Arc<Moody>);

impl Store for Shared {
    fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError> {
        self.0.may_panic();
        self.0.beneath.begin(key, fingerprint)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        self.0.may_panic();
        self.0.beneath.get(key)
    }

    fn commit(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.0.may_panic();
        self.0.beneath.commit(key, value)
    }

    fn remove(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.0.may_panic();
        if self.0.keeps.load(SeqCst) { Err(StoreError::new("read-only")) } else { self.0.beneath.remove(key) }
    }

    fn scan(&self, from: Bound<&[u8]>, limit: usize) -> Result<Vec<StoredRecord>, StoreError> {
        self.0.may_panic();
        self.0.beneath.scan(from, limit)
    }
}

#[track_caller]
fn assert_panicked(error: &StoreError) {
    assert_eq!(error.to_string(), "the ledger's store failed: it panicked: in the store");
}

#[test]
fn a_store_that_panics_is_a_store_that_failed() {
    let (moody, asked) = (Arc::new(Moody::default()), request("r"));
    let ledger = Ledger::new(Shared(Arc::clone(&moody)));
    assert_does(&ledger, "old", &asked, 7);
    moody.panics.store(true, SeqCst);
    let (result, ran) = run(&ledger, "a", &asked, 1);
    let Err(LedgerError::Store(error)) = result else { panic!("{result:?}") };
    assert_panicked(&error);
    assert!(!ran);
    assert_panicked(&ledger.state("a").unwrap_err());
    assert_panicked(&ledger.records().next().unwrap().unwrap_err());
    assert!(matches!(ledger.forget("a"), Err(LedgerError::Store(_))));
    assert!(matches!(ledger.resolve("a", &1), Err(LedgerError::Store(_))));
    assert!(ledger.remove_older_than(Duration::ZERO).is_err());
    moody.panics.store(false, SeqCst);
    assert_does(&ledger, "a", &asked, 1);
    assert_replays(&ledger, "old", &asked, 7);

    // After paid work: the value is not lost.
    let work = || {
        moody.panics.store(true, SeqCst);
        Ok::<_, Infallible>(2)
    };
    let recorded = ledger.run_once("b", &asked, work).unwrap();
    assert_eq!((recorded.value, recorded.is_replay), (2, false));
    assert_panicked(&recorded.committed.unwrap_err());
    // And after work that failed: so is its error.
    moody.panics.store(false, SeqCst);
    let fails = || {
        moody.panics.store(true, SeqCst);
        Err::<u32, _>("busy")
    };
    let error = ledger.run_once("c", &asked, fails).unwrap_err();
    assert!(matches!(error, LedgerError::NotRemoved { error: "busy", .. }), "{error}");
    let text = "the work failed, and its beginning is still recorded: the ledger's store failed: it panicked: in the store: busy";
    assert_eq!(error.to_string(), text);
}

#[test]
fn work_that_failed_runs_again_once_its_beginning_can_be_removed() {
    let (moody, asked) = (Arc::new(Moody::default()), request("r"));
    let ledger = Ledger::new(Shared(Arc::clone(&moody)));
    let fails = |ledger: &Ledger, key: &str| ledger.run_once(key, &asked, || Err::<u32, _>("busy")).unwrap_err();
    moody.keeps.store(true, SeqCst);
    for key in ["a", "b", "c", "d"] {
        assert!(matches!(fails(&ledger, key), LedgerError::NotRemoved { error: "busy", .. }));
    }
    // What a restart would say, is said.
    assert_eq!(ledger.state("a").unwrap(), LedgerState::Unknown);
    assert_eq!(in_doubt(&ledger), ["a", "b", "c", "d"]);
    assert_unknown(&Ledger::new(Shared(Arc::clone(&moody))), "a", &asked);
    moody.keeps.store(false, SeqCst);
    assert_does(&ledger, "a", &asked, 1);
    assert!(matches!(fails(&ledger, "b"), LedgerError::Failed("busy")));
    assert_eq!(ledger.state("b").unwrap(), LedgerState::Absent);
    // What is resolved is not removed by this, nor what was forgotten and is in doubt for another reason.
    assert!(ledger.resolve("c", &3).unwrap());
    assert_replays(&ledger, "c", &asked, 3);
    assert!(ledger.forget("d").unwrap());
    panics(&ledger, "d", &asked);
    assert_unknown(&ledger, "d", &asked);
    assert_replays(&ledger, "a", &asked, 1);
}

#[test]
fn a_stack_counts_a_failed_call_whose_beginning_is_still_recorded() {
    let moody = Arc::new(Moody::default());
    let ledger = Ledger::new(Shared(Arc::clone(&moody)));
    let entry = |key: &String| Some((key.clone(), request(key)));
    let stack: Stack<String, u32, &str> = Stack::builder().ledger(ledger, entry).build();
    let fails = || stack.try_call("a", || Err("busy"));
    moody.keeps.store(true, SeqCst);
    assert!(matches!(fails(), Err(StackError::Failed { attempts: 1, error }) if *error == "busy"));
    assert_eq!(stack.stats().uncommitted, 1);
    moody.keeps.store(false, SeqCst);
    assert!(matches!(fails(), Err(StackError::Failed { .. })));
    assert_eq!(*stack.try_call("a", || Ok(1)).unwrap(), 1);
    assert_eq!((stack.stats().uncommitted, stack.stats().attempts), (1, 3));
}
