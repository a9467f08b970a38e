//! All layers together: their order, each one missing, and what is left behind where something fails.

mod billing;
mod calls;
mod ends;
mod failures;
mod invalidation;
mod order;
mod stale;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sync_coalesce::stack::budget::{Budget, Spend};
use sync_coalesce::stack::cache::Cache;
use sync_coalesce::stack::ledger::{Ledger, LedgerState, MemoryStore, Record, Store, StoreError};
use sync_coalesce::stack::pace::Pacer;
use sync_coalesce::stack::retry::Retry;
use sync_coalesce::stack::{Stack, StackBuilder, StackError, Via};
use sync_coalesce::{Key, Role};

use crate::support::thread;
use crate::support::{Gate, assert_idle, bounded, crowd, join, until_following};

const MOST: Spend = Spend::from_tokens(100);
const BUSY: u16 = 503;

/// What each layer is made of, so that a test can look into it.
#[derive(Clone)]
struct Layers {
    cache: Cache<u32, String>,
    ledger: Ledger,
    budget: Budget,
    pacer: Pacer,
}

type Whole = Stack<u32, String, u16>;

fn fingerprint(key: u32) -> Key {
    Key::of(&key).unwrap()
}

/// A value costs as many tokens as it has letters.
fn cost(value: &str) -> Spend {
    Spend::from_tokens(value.len() as u64)
}

fn retry() -> Retry<u16> {
    Retry::builder(|status| *status == BUSY).attempts(3).sleep_with(|_| {}).build()
}

impl Layers {
    fn new() -> Self {
        Self {
            cache: Cache::builder(10).build().unwrap(),
            ledger: Ledger::in_memory(),
            budget: Budget::builder().tokens(1_000).build().unwrap(),
            pacer: Pacer::builder().concurrency(1).build().unwrap(),
        }
    }

    fn all(&self) -> StackBuilder<u32, String, u16> {
        Stack::builder()
            .cache(self.cache.clone())
            .ledger(self.ledger.clone(), |key: &u32| Some((key.to_be_bytes(), fingerprint(*key))))
            .budget(self.budget.clone(), MOST, |value: &String| cost(value))
            .retry(retry())
            .pace(self.pacer.clone())
    }

    fn state(&self, key: u32) -> LedgerState {
        self.ledger.state(key.to_be_bytes()).unwrap()
    }

    fn total(&self) -> u64 {
        self.budget.status().total.tokens()
    }

    /// Nothing is reserved, and no permit is out.
    #[track_caller]
    fn assert_released(&self) {
        assert_eq!((self.budget.status().reserved, self.pacer.status().running), (Spend::default(), 0));
    }
}

/// Work that fails so often, and then returns this.
fn after(failures: u32, value: &str) -> impl FnMut() -> Result<String, u16> {
    let mut left = failures;
    move || {
        if left == 0 {
            return Ok(value.to_owned());
        }
        left -= 1;
        Err(BUSY)
    }
}

#[test]
fn any_layer_may_be_missing() {
    for on in 0..32_u32 {
        let has = |layer: u32| on & (1 << layer) != 0;
        let layers = Layers::new();
        let mut builder: StackBuilder<u32, String, u16> = Stack::builder();
        if has(0) {
            builder = builder.cache(layers.cache.clone());
        }
        if has(1) {
            builder = builder.ledger(layers.ledger.clone(), |key: &u32| Some((key.to_be_bytes(), fingerprint(*key))));
        }
        if has(2) {
            builder = builder.budget(layers.budget.clone(), MOST, |value: &String| cost(value));
        }
        if has(3) {
            builder = builder.retry(retry());
        }
        if has(4) {
            builder = builder.pace(layers.pacer.clone());
        }
        let stack = builder.build();

        let mut permits = 0;
        let mut work = after(1, "four");
        let outcome = stack.on(&1).try_call(|_| {
            permits += layers.pacer.status().running;
            work()
        });
        let stats = stack.stats();
        if has(3) {
            assert_eq!(*outcome.result.unwrap(), "four", "{on:b}");
        } else {
            assert!(matches!(outcome.result, Err(StackError::Failed { attempts: 1, error }) if *error == BUSY));
        }
        assert_eq!(outcome.via, Via::Flight(Role::Leader { followers: 0 }));
        assert_eq!(stats.attempts, if has(3) { 2 } else { 1 });
        assert_eq!(u64::from(permits), if has(4) { stats.attempts } else { 0 });
        assert_eq!((stats.cache.is_some(), stats.budget.is_some(), stats.pace.is_some()), (has(0), has(2), has(4)));

        // And a second call, which succeeds at once if it runs at all.
        let mut work = after(0, "four");
        let outcome = stack.on(&1).try_call(|_| work());
        assert_eq!(*outcome.result.unwrap(), "four");
        let via = match (has(3), has(0), has(1)) {
            (true, true, _) => Via::Cache,
            (true, false, true) => Via::Ledger,
            _ => Via::Flight(Role::Leader { followers: 0 }),
        };
        assert_eq!(outcome.via, via, "{on:b}");
        let runs = if has(3) && !has(0) && !has(1) { 2 } else { 1 };
        assert_eq!(layers.total(), if has(2) { runs * 4 } else { 0 }, "{on:b}");
        assert_eq!(layers.state(1), if has(1) { LedgerState::Done } else { LedgerState::Absent });
        assert_eq!(layers.cache.stats().entries, u64::from(has(0)));
        layers.assert_released();
        assert_idle(stack.coalescer());
    }
}

#[test]
fn a_cached_value_is_served_without_leading() {
    let layers = Layers::new();
    let stack = layers.all().build();
    layers.cache.insert(1, "kept".to_owned());
    let outcome = stack.on(&1).try_call(|_| unreachable!());
    assert_eq!((outcome.via, outcome.result.unwrap().as_str()), (Via::Cache, "kept"));
    let stats = stack.stats();
    assert_eq!((stats.coalesce.calls(), stats.attempts, stats.cache.unwrap().hits), (0, 0, 1));
    assert_eq!((layers.total(), layers.state(1)), (0, LedgerState::Absent));
}

#[test]
fn followers_spend_nothing() {
    bounded(|| {
        let mut layers = Layers::new();
        // One permit an hour: a second one would hang.
        layers.pacer = Pacer::builder().per_second(1.0 / 3600.0).build().unwrap();
        let stack = layers.all().build();
        let (begun, gate) = (Gate::new(), Gate::new());
        let outcomes = thread::scope(|scope| {
            let ask = |_| {
                stack.on(&1).call(|_| {
                    begun.open();
                    gate.pass();
                    "four".to_owned()
                })
            };
            let callers = crowd(scope, 20, ask);
            until_following(stack.coalescer(), 19);
            begun.pass();
            assert_eq!(layers.budget.status().reserved, MOST);
            gate.open();
            join(callers)
        });
        let leaders = outcomes.iter().filter(|outcome| matches!(outcome.via, Via::Flight(Role::Leader { .. })));
        let followers = outcomes.iter().filter(|outcome| matches!(outcome.via, Via::Flight(Role::Follower { .. })));
        assert_eq!((leaders.count(), followers.count()), (1, 19));
        let first = outcomes[0].result.as_ref().unwrap();
        assert!(outcomes.iter().all(|outcome| Arc::ptr_eq(outcome.result.as_ref().unwrap(), first)));
        assert_eq!(stack.stats().attempts, 1);
        assert_eq!((layers.total(), layers.budget.status().saved.tokens()), (4, 19 * 4));
        layers.assert_released();
        assert_idle(stack.coalescer());
    });
}

#[test]
fn a_request_can_set_its_own_maximum_cost() {
    let layers = Layers::new();
    let stack = layers.all().build();
    let outcome = stack.on(&1).at_most(Spend::from_tokens(7)).call(|_| {
        assert_eq!(layers.budget.status().reserved.tokens(), 7);
        "four".to_owned()
    });
    assert!(outcome.result.is_ok());
    let too_much = stack.on(&2).at_most(Spend::from_tokens(997)).call(|_| unreachable!());
    assert!(matches!(too_much.result, Err(StackError::Budget(_))));
}

/// A store that outlives its ledger, as a file does.
struct Reopened(Arc<MemoryStore>);

impl Store for Reopened {
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
fn what_was_done_before_a_restart_is_not_done_again() {
    let store = Arc::new(MemoryStore::new());
    for run in 0..2 {
        let layers = Layers { ledger: Ledger::new(Reopened(Arc::clone(&store))), ..Layers::new() };
        let stack = layers.all().build();
        let mut work = after(0, if run == 0 { "first" } else { "second" });
        let outcome = stack.on(&1).try_call(|_| work());
        assert_eq!(*outcome.result.unwrap(), "first");
        assert_eq!(outcome.via == Via::Ledger, run == 1);
        let stats = stack.stats();
        assert_eq!((stats.attempts, stats.replayed), (1 - run, run));
        assert_eq!(layers.total(), if run == 0 { 5 } else { 0 }, "what is replayed is not paid for");
        assert_eq!(layers.cache.stats().entries, 1, "what is replayed is in the cache");
    }
}

#[cfg(feature = "redb")]
#[test]
fn what_was_done_before_a_restart_is_not_done_again_on_disk() {
    use super::ledger::disk::Folder;
    use sync_coalesce::stack::ledger::RedbStore;

    let folder = Folder::new();
    for run in 0..2 {
        let ledger = Ledger::new(RedbStore::open(folder.file()).unwrap());
        let stack = Layers { ledger, ..Layers::new() }.all().build();
        let outcome = stack.on(&1).call(|_| if run == 0 { "first" } else { "second" }.to_owned());
        assert_eq!((outcome.result.unwrap().as_str(), outcome.via == Via::Ledger), ("first", run == 1));
    }
}

#[test]
fn a_key_can_be_kept_from_the_ledger() {
    let layers = Layers::new();
    let stack = layers.all().ledger(layers.ledger.clone(), |_: &u32| None::<(&[u8], Key)>).build();
    assert!(stack.try_call(&1, after(0, "four")).is_ok());
    assert_eq!((layers.state(1), layers.total()), (LedgerState::Absent, 4));
}

/// A key on whose clone something happens; a leader clones it after its first look and before its flight.
#[derive(PartialEq, Eq, Hash)]
struct Meets(u32);

thread_local! {
    static MEETS: std::cell::RefCell<Option<Box<dyn FnOnce()>>> = const { std::cell::RefCell::new(None) };
}

impl Clone for Meets {
    fn clone(&self) -> Self {
        let happens = MEETS.with_borrow_mut(Option::take);
        if let Some(happens) = happens {
            happens();
        }
        Self(self.0)
    }
}

#[test]
fn a_leader_looks_again() {
    let cache: Cache<Meets, String> = Cache::builder(10).build().unwrap();
    let stack: Stack<Meets, String> = Stack::builder().cache(cache.clone()).build();
    MEETS.set(Some(Box::new(move || cache.insert(Meets(1), "of another flight".to_owned()))));
    let outcome = stack.on(&Meets(1)).call(|_| unreachable!());
    assert_eq!((outcome.result.unwrap().as_str(), outcome.via), ("of another flight", Via::Cache));
    assert_eq!((stack.stats().attempts, stack.stats().cache.unwrap().late_hits), (0, 1));
}

#[test]
fn a_pacer_is_throttled_by_errors() {
    let layers = Layers::new();
    let learned = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&learned);
    let learn = move |pacer: &Pacer, status: &u16| {
        seen.lock().unwrap().push((pacer.status().running, *status));
        panic!("in what the pacer learns");
    };
    let stack = layers.all().on_error_throttle(learn).build();
    assert_eq!(*stack.try_call(&1, after(2, "four")).unwrap(), "four");
    assert_eq!(*learned.lock().unwrap(), [(1, BUSY), (1, BUSY)]);
}

#[test]
fn statistics_are_one_json_object() {
    let layers = Layers::new();
    let stack = layers.all().build();
    assert!(stack.try_call(&1, after(0, "four")).is_ok());
    let json = serde_json::to_value(stack.stats()).unwrap();
    assert_eq!(json["attempts"], 1);
    assert_eq!(json["coalesce"]["underlying_calls"], 1);
    assert_eq!(json["cache"]["entries"], 1);
    assert_eq!(json["budget"]["total"], serde_json::json!({ "tokens": 4, "dollars": 0.0 }));
    assert_eq!(json["pace"]["running"], 0);
}

#[test]
fn a_follower_has_wishes_of_its_own() {
    bounded(|| {
        let layers = Layers::new();
        let stack = layers.all().build();
        let value = stack.call(&1, || {
            thread::scope(|scope| {
                let hurried = || stack.on(&1).timeout(Duration::ZERO).call(|_| unreachable!());
                let outcome = scope.spawn(hurried).join().unwrap();
                let timed_out = sync_coalesce::CallError::TimedOut;
                assert_eq!(outcome.result.unwrap_err().to_string(), StackError::<u16>::Call(timed_out).to_string());
            });
            "four".to_owned()
        });
        assert_eq!(*value.unwrap(), "four");
        assert_eq!(layers.budget.status().saved, Spend::default(), "it has left, and so has saved nothing");
    });
}
