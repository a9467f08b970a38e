//! One call of each contender, with the same work: the closure runs if the key is not in flight, its value is shared as
//! an `Arc`, and when the call returns nothing is kept for the key.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, Condvar, Mutex};

use hashbrown::Equivalent;
use quick_cache::sync::GuardResult;
use sync_coalesce::SyncCoalesce;

/// What coalesces calls with keys of type `Q`.
pub trait Contender<Q: ?Sized>: Sync {
    fn call(&self, key: &Q, work: impl FnOnce() -> u64 + Send) -> Arc<u64>;
}

pub type Ours<K, S = std::hash::RandomState> = SyncCoalesce<K, u64, Infallible, S>;

impl<Q, K, S> Contender<Q> for Ours<K, S>
where
    Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    K: Send,
    S: BuildHasher + Sync,
{
    fn call(&self, key: &Q, work: impl FnOnce() -> u64) -> Arc<u64> {
        Ours::call(self, key, work).expect("the leader neither fails nor panics")
    }
}

/// A cache that fills each key once; the caller that filled it takes it out again. Its `get_or_insert_with` takes as
/// long as the guard that is used here.
pub struct QuickCache<K, V = Arc<u64>>(quick_cache::sync::Cache<K, V>);

impl<K: Hash + Eq, V: Clone> QuickCache<K, V> {
    pub fn new() -> Self {
        Self(quick_cache::sync::Cache::new(10_000))
    }

    fn value<Q>(&self, key: &Q, work: impl FnOnce() -> V) -> V
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        match self.0.get_value_or_guard(key, None) {
            GuardResult::Value(value) => value,
            GuardResult::Guard(guard) => {
                let value = work();
                // Someone else may have put a value in meanwhile; nobody does here.
                let _ = guard.insert(value.clone());
                self.0.remove(key);
                value
            }
            GuardResult::Timeout => unreachable!("without a timeout"),
        }
    }
}

impl<Q, K> Contender<Q> for QuickCache<K>
where
    Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    K: Hash + Eq + Send + Sync,
{
    fn call(&self, key: &Q, work: impl FnOnce() -> u64) -> Arc<u64> {
        self.value(key, || Arc::new(work()))
    }
}

/// A cache of values that are copied, which spares it the `Arc`.
pub struct Copied<K>(QuickCache<K, u64>);

impl<K: Hash + Eq> Copied<K> {
    pub fn new() -> Self {
        Self(QuickCache::new())
    }

    pub fn call<Q>(&self, key: &Q, work: impl FnOnce() -> u64) -> u64
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        self.0.value(key, work)
    }
}

/// A cache that fills each key once, without a bound; the caller that filled it takes it out again.
pub struct Moka<K>(moka::sync::Cache<K, Arc<u64>>);

impl<K: Hash + Eq + Send + Sync + 'static> Moka<K> {
    pub fn new() -> Self {
        Self(moka::sync::Cache::builder().build())
    }
}

impl<Q, K> Contender<Q> for Moka<K>
where
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    K: Hash + Eq + Send + Sync + Borrow<Q> + 'static,
{
    fn call(&self, key: &Q, work: impl FnOnce() -> u64) -> Arc<u64> {
        let mut led = false;
        let value = self.0.get_with_by_ref(key, || {
            led = true;
            Arc::new(work())
        });
        if led {
            self.0.invalidate(key);
        }
        value
    }
}

/// A coalescer of futures, blocked on.
pub struct Uniflight<K>(uniflight::Merger<K, Arc<u64>>);

impl<K: Hash + Eq + Send + Sync + 'static> Uniflight<K> {
    pub fn new() -> Self {
        Self(uniflight::Merger::new())
    }
}

impl<Q, K> Contender<Q> for Uniflight<K>
where
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    K: Hash + Eq + Send + Sync + Borrow<Q> + 'static,
{
    fn call(&self, key: &Q, work: impl FnOnce() -> u64 + Send) -> Arc<u64> {
        let call = self.0.execute(key, || async { Arc::new(work()) });
        pollster::block_on(call).expect("the leader does not panic")
    }
}

/// It holds its lock while the work runs, and takes no keys but `&str`.
pub struct Singleflight(singleflight::Group<Arc<u64>>);

impl Singleflight {
    pub fn new() -> Self {
        Self(singleflight::Group::new())
    }
}

impl Contender<str> for Singleflight {
    fn call(&self, key: &str, work: impl FnOnce() -> u64) -> Arc<u64> {
        // It takes closures that can run twice, and runs them once.
        let work = std::cell::Cell::new(Some(work));
        self.0.work(key, || Arc::new(work.take().expect("run once")()))
    }
}

/// What most people would write: a map of meeting points under one lock. A panic in the work strands the followers, and
/// so would anything else that can go wrong.
pub struct HandWritten<K>(Mutex<HashMap<K, Arc<Meeting>>>);

#[derive(Default)]
struct Meeting {
    result: Mutex<Option<Arc<u64>>>,
    done: Condvar,
}

impl<K> HandWritten<K> {
    pub fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }
}

impl<Q, K> Contender<Q> for HandWritten<K>
where
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    K: Hash + Eq + Send + Borrow<Q>,
{
    fn call(&self, key: &Q, work: impl FnOnce() -> u64) -> Arc<u64> {
        let mut flights = self.0.lock().unwrap();
        if let Some(meeting) = flights.get(key).cloned() {
            drop(flights);
            let mut result = meeting.result.lock().unwrap();
            while result.is_none() {
                result = meeting.done.wait(result).unwrap();
            }
            return result.clone().unwrap();
        }
        let meeting = Arc::new(Meeting::default());
        flights.insert(key.to_owned(), Arc::clone(&meeting));
        drop(flights);

        let value = Arc::new(work());
        self.0.lock().unwrap().remove(key);
        *meeting.result.lock().unwrap() = Some(Arc::clone(&value));
        meeting.done.notify_all();
        value
    }
}
