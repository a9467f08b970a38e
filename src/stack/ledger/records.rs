//! The records of a ledger: to go through them, and to remove old ones.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::faults::Fault;
use super::shared::{Running, Shared};
use super::store::{StoreError, StoredRecord};
use super::{Ledger, LedgerState};
use crate::key::Key;
use crate::sync::{also_if, is_planted};

/// How many records are in memory at a time.
const PAGE: usize = 256;

/// A record of a [`Ledger`], without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerRecord {
    /// The key.
    pub key: Vec<u8>,
    /// The fingerprint of the request that the key belongs to.
    pub fingerprint: Key,
    /// The state of the key; never `Absent`.
    pub state: LedgerState,
    /// When the work began, by the system's clock of that time; `None` if that is not known: a former version recorded
    /// no times.
    pub begun_at: Option<SystemTime>,
    /// When the result was committed, by the system's clock of that time; `None` if it was not, or that is not known.
    pub committed_at: Option<SystemTime>,
}

impl LedgerRecord {
    fn new(stored: StoredRecord, state: LedgerState) -> Self {
        let StoredRecord { key, fingerprint, begun_at, committed_at, .. } = stored;
        Self { key, fingerprint, state, begun_at, committed_at }
    }

    /// The time since its result was committed, or since it was begun if there is none; `None` if that is not known.
    ///
    /// By the system's clock, which may have been set since: the age of a record from the future is zero.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let since = if self.state == LedgerState::Done { self.committed_at } else { self.begun_at }?;
        Some(SystemTime::now().duration_since(since).unwrap_or_default())
    }
}

/// An iterator over the records of a [`Ledger`], in the order of their keys. It ends after an error.
///
/// It reads some hundred at a time. A record that is begun, committed or removed meanwhile may be seen as it was before,
/// or not be seen.
#[must_use]
pub struct Records {
    shared: Arc<Shared>,
    page: VecDeque<StoredRecord>,
    /// Where the next page begins; `None` after the last.
    from: Option<Bound<Vec<u8>>>,
    only_in_doubt: bool,
}

impl Records {
    fn new(shared: &Arc<Shared>, only_in_doubt: bool) -> Self {
        let from = Some(Bound::Unbounded);
        Self { shared: Arc::clone(shared), page: VecDeque::new(), from, only_in_doubt }
    }

    /// The next one as the store lists it.
    fn next_stored(&mut self) -> Option<Result<StoredRecord, StoreError>> {
        if self.page.is_empty() {
            let from = self.from.take()?;
            match self.shared.scan(from.as_ref().map(Vec::as_slice), PAGE) {
                Ok(page) => self.page = page.into(),
                Err(error) => return Some(Err(error)),
            }
            self.from = self.page.back().map(|last| Bound::Excluded(last.key.clone()));
        }
        self.page.pop_front().map(Ok)
    }
}

impl Iterator for Records {
    type Item = Result<LedgerRecord, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let stored = match self.next_stored()? {
                Ok(stored) => stored,
                Err(error) => return Some(Err(error)),
            };
            match self.shared.judge(stored) {
                Ok(Some(record)) if !self.only_in_doubt || record.state == LedgerState::Unknown => {
                    return Some(Ok(record));
                }
                Ok(_) => {}
                Err(error) => {
                    (self.page, self.from) = (VecDeque::new(), None);
                    return Some(Err(error));
                }
            }
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").field("only_in_doubt", &self.only_in_doubt).finish_non_exhaustive()
    }
}

impl Shared {
    /// The record with its state; `None` if it is gone.
    ///
    /// ```text
    /// reader                        another thread
    /// lists a record that is begun
    ///                               commits it, is no longer running
    /// not running: reads it again, or it would be in doubt
    /// ```
    fn judge(&self, mut stored: StoredRecord) -> Result<Option<LedgerRecord>, StoreError> {
        loop {
            if stored.is_committed {
                return Ok(Some(LedgerRecord::new(stored, LedgerState::Done)));
            }
            if self.is_running(&stored.key) {
                return Ok(Some(LedgerRecord::new(stored, LedgerState::InProgress)));
            }
            if is_planted(Fault::DoubtsWhatIsDone) {
                return Ok(Some(LedgerRecord::new(stored, LedgerState::Unknown)));
            }
            match self.stored(&stored.key)? {
                Some(again) if again == stored => return Ok(Some(LedgerRecord::new(again, LedgerState::Unknown))),
                Some(again) => stored = again,
                None => return Ok(None),
            }
        }
    }

    fn stored(&self, key: &[u8]) -> Result<Option<StoredRecord>, StoreError> {
        let found = self.scan(Bound::Included(key), 1)?;
        Ok(found.into_iter().next().filter(|stored| stored.key == key))
    }

    /// Removes those of the records that are as they were listed, and not in progress.
    fn remove_unchanged(&self, listed: &[LedgerRecord]) -> Result<u64, StoreError> {
        let mut held = Vec::new();
        for record in listed {
            // What was forgotten and begun again meanwhile is another record. From here on nobody changes it.
            let running = Running::enter(self, &record.key);
            if !also_if!(RemovesRunning, running.is_some()) {
                continue;
            }
            let now = self.stored(&record.key)?.map(|now| {
                let state = if now.is_committed { LedgerState::Done } else { LedgerState::Unknown };
                LedgerRecord::new(now, state)
            });
            if also_if!(RemovesUnjudged, now.as_ref() == Some(record)) {
                held.push((running, &*record.key));
            }
        }
        let keys: Vec<_> = held.iter().map(|(_, key)| *key).collect();
        let removed = if keys.is_empty() { 0 } else { self.remove_all(&keys)? };
        held.iter().filter_map(|(running, _)| running.as_ref()).for_each(Running::is_no_longer_void);
        Ok(removed)
    }
}

impl Ledger {
    /// All records, without their values.
    ///
    /// # Blocking
    ///
    /// Each step while the store reads.
    ///
    /// # Errors
    ///
    /// The iterator returns a [`StoreError`] and ends if the store cannot be read, or cannot list its records.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use sync_coalesce::Key;
    /// use sync_coalesce::stack::ledger::{Ledger, LedgerState};
    ///
    /// let (ledger, request) = (Ledger::in_memory(), Key::of("request")?);
    /// for order in ["order 2", "order 1"] {
    ///     ledger.run_once(order, &request, || Ok::<_, Infallible>(1))?;
    /// }
    /// let records = ledger.records().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!((&*records[0].key, records[0].state), (&b"order 1"[..], LedgerState::Done));
    /// assert!(records[0].age().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn records(&self) -> Records {
        Records::new(&self.shared, false)
    }

    /// The records that are in doubt: begun, not committed, and not in progress in a thread of this ledger. Their keys
    /// are [unknown](LedgerState::Unknown), and stay so until they are [resolved](Ledger::resolve) or
    /// [forgotten](Ledger::forget).
    ///
    /// # Blocking
    ///
    /// Each step while the store reads, all records between two that are in doubt.
    ///
    /// # Errors
    ///
    /// As [`records`](Ledger::records).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use std::panic::{AssertUnwindSafe, catch_unwind};
    /// use sync_coalesce::Key;
    /// use sync_coalesce::stack::ledger::Ledger;
    ///
    /// let (ledger, request) = (Ledger::in_memory(), Key::of("request")?);
    /// ledger.run_once("order 1", &request, || Ok::<_, Infallible>(1))?;
    /// let work = || -> Result<u32, Infallible> { panic!("connection lost") };
    /// let _ = catch_unwind(AssertUnwindSafe(|| ledger.run_once("order 2", &request, work)));
    /// let in_doubt = ledger.in_doubt().collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(in_doubt.len(), 1);
    /// assert_eq!(in_doubt[0].key, b"order 2");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_doubt(&self) -> Records {
        Records::new(&self.shared, true)
    }

    /// The number of records that were removed: those whose results were committed at least `age` ago. Their work can
    /// run again.
    ///
    /// A record that is in doubt is not removed, nor one whose age is not known. For those, see
    /// [`remove_if`](Ledger::remove_if).
    ///
    /// # Blocking
    ///
    /// While the store reads all records and removes some, a few hundred at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails, or cannot list its records. Some may have been removed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use std::time::Duration;
    /// use sync_coalesce::Key;
    /// use sync_coalesce::stack::ledger::Ledger;
    ///
    /// let (ledger, request) = (Ledger::in_memory(), Key::of("request")?);
    /// ledger.run_once("order 17", &request, || Ok::<_, Infallible>(1))?;
    /// assert_eq!(ledger.remove_older_than(Duration::from_secs(86_400))?, 0);
    /// assert_eq!(ledger.remove_older_than(Duration::ZERO)?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove_older_than(&self, age: Duration) -> Result<u64, StoreError> {
        self.remove_if(|record| record.state == LedgerState::Done && record.age().is_some_and(|its| its >= age))
    }

    /// The number of records that were removed: those for which `is_obsolete` returns `true`, whether they are
    /// [done](LedgerState::Done) or [unknown](LedgerState::Unknown). Their work can run again.
    ///
    /// It is not asked about a key in progress. A record that changes after it was asked is not removed.
    ///
    /// # Blocking
    ///
    /// As [`remove_older_than`](Ledger::remove_older_than), and while `is_obsolete` runs. No lock of the ledger is held
    /// meanwhile.
    ///
    /// # Panics
    ///
    /// A panic in `is_obsolete` is passed on to the caller. Some records may have been removed.
    ///
    /// # Errors
    ///
    /// As [`remove_older_than`](Ledger::remove_older_than).
    pub fn remove_if(&self, mut is_obsolete: impl FnMut(&LedgerRecord) -> bool) -> Result<u64, StoreError> {
        let mut removed = 0;
        let mut obsolete = Vec::new();
        for record in self.records() {
            let record = record?;
            if record.state != LedgerState::InProgress && is_obsolete(&record) {
                obsolete.push(record);
            }
            if obsolete.len() == PAGE {
                removed += self.shared.remove_unchanged(&obsolete)?;
                obsolete.clear();
            }
        }
        Ok(removed + self.shared.remove_unchanged(&obsolete)?)
    }
}
