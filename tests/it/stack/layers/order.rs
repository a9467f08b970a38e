//! The order of the layers, read off what each one sees of the others.

use std::sync::{Arc, Mutex};

use sync_coalesce::observe::{FlightId, Observer, RunEnded};
use sync_coalesce::stack::Stack;
use sync_coalesce::stack::budget::Budget;
use sync_coalesce::stack::cache::Cache;
use sync_coalesce::stack::ledger::{Ledger, MemoryStore, Record, Store, StoreError};
use sync_coalesce::stack::pace::Pacer;
use sync_coalesce::stack::retry::Retry;
use sync_coalesce::{Key, SyncCoalesce};

use super::{BUSY, Layers, MOST, Whole, after, cost, fingerprint};

/// Events, each with what was reserved and how many permits were out.
#[derive(Clone)]
struct Log {
    events: Arc<Mutex<Vec<String>>>,
    budget: Budget,
    pacer: Pacer,
}

impl Log {
    fn note(&self, event: &str) {
        let (reserved, permits) = (self.budget.status().reserved.tokens(), self.pacer.status().running);
        self.events.lock().unwrap().push(format!("{event}, {reserved} reserved, {permits} out"));
    }
}

struct LoggedStore(MemoryStore, Log);

impl Store for LoggedStore {
    fn begin(&self, key: &[u8], fingerprint: &Key) -> Result<Option<Record>, StoreError> {
        self.1.note("the ledger begins");
        self.0.begin(key, fingerprint)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Record>, StoreError> {
        self.0.get(key)
    }

    fn commit(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.1.note("the ledger commits");
        self.0.commit(key, value)
    }

    fn remove(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.0.remove(key)
    }
}

struct LoggedFlights(Log, Cache<u32, String>);

impl Observer for LoggedFlights {
    fn led(&self, _: &FlightId<'_>) {
        self.0.note(&format!("led after {} looks", self.1.stats().misses));
    }

    fn ended(&self, _: &FlightId<'_>, _: &RunEnded) {
        self.0.note(&format!("ended with {} in the cache", self.1.stats().entries));
    }
}

#[test]
fn the_layers_come_in_their_order() {
    let Layers { budget, pacer, .. } = Layers::new();
    let log = Log { events: Arc::default(), budget: budget.clone(), pacer: pacer.clone() };
    let noting = |event: &'static str| {
        let log = log.clone();
        move || log.note(event)
    };
    let (sleeps, costs, fills) = (noting("a wait"), noting("the cost"), noting("the cache is filled"));
    let of = move |_: &String| {
        fills();
        None
    };
    let cache = Cache::builder(10).time_to_live_of(of).build().unwrap();
    // Given in another order, so that it does not come from there.
    let stack: Whole = Stack::builder()
        .pace(pacer)
        .retry(Retry::builder(|status| *status == BUSY).sleep_with(move |_| sleeps()).build())
        .budget(budget, MOST, move |value: &String| {
            costs();
            cost(value)
        })
        .ledger(Ledger::new(LoggedStore(MemoryStore::new(), log.clone())), |key: &u32| {
            Some((key.to_be_bytes(), fingerprint(*key)))
        })
        .coalesce(SyncCoalesce::builder().observer(LoggedFlights(log.clone(), cache.clone())))
        .cache(cache)
        .build();
    let (attempts, mut work) = (noting("an attempt"), after(1, "four"));
    let value = stack.try_call(&1, || {
        attempts();
        work()
    });
    assert_eq!(*value.unwrap(), "four");
    let events = log.events.lock().unwrap();
    let expected = [
        "led after 1 looks, 0 reserved, 0 out",
        "the ledger begins, 0 reserved, 0 out",
        "an attempt, 100 reserved, 1 out",
        "a wait, 100 reserved, 0 out",
        "an attempt, 100 reserved, 1 out",
        "the cost, 100 reserved, 0 out",
        "the ledger commits, 0 reserved, 0 out",
        "the cache is filled, 0 reserved, 0 out",
        "ended with 1 in the cache, 0 reserved, 0 out",
    ];
    assert_eq!(*events, expected);
}
