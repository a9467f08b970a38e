//! Who waits for whom, over all coalescers of the process; refuses a wait that could not end.
//!
//! A wait closes a circle only if the waiting thread leads something that, over any number of threads, the leader that it would
//! wait for waits for. So a thread that leads nothing is never looked at, and only threads that lead something are in the
//! graph: each with the one flight it waits for. The way through it is: flight, its leader, the flight that this thread waits for, and
//! so on.
//!
//! An edge counts only as long as its flight has a leader. A flight that has ended, was cancelled, or whose lead is free
//! has none, although its waiters may not have woken up yet.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sync::{self, AtomicU64, Mutex, Ordering};

/// Where a followed flight says which thread leads it: 0 for none.
#[derive(Clone)]
pub(crate) struct Leader(Arc<AtomicU64>);

impl Leader {
    pub(crate) fn new(thread: u64) -> Self {
        Self(Arc::new(AtomicU64::new(thread)))
    }

    /// Says who leads from now on. An elected thread says so before its closure runs, and so before it can wait for
    /// anything: whoever finds it in the graph, under the graph's lock, also sees what it leads.
    pub(crate) fn set(&self, thread: u64) {
        self.0.store(thread, Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        self.set(0);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The flight that a thread waits for.
struct Edge {
    leader: Leader,
    label: Arc<str>,
}

sync::global! {
    /// By the number of the waiting thread.
    static EDGES: Mutex<BTreeMap<u64, Edge>> = Mutex::new(BTreeMap::new());
}

sync::per_thread! {
    /// How many flights this thread leads.
    static LEADS: Cell<u32> = Cell::new(0);
}

pub(crate) fn begin_lead() {
    LEADS.with(|leads| leads.set(leads.get() + 1));
}

pub(crate) fn end_lead() {
    LEADS.with(|leads| leads.set(leads.get() - 1));
}

/// Whether this thread leads a flight: only then can a wait of it close a circle.
pub(crate) fn leads_something() -> bool {
    LEADS.with(Cell::get) > 0
}

/// An edge of the graph, for as long as a wait lasts.
pub(crate) struct Waiting {
    thread: u64,
}

impl Waiting {
    /// Enters that `thread`, which leads something, is going to wait for the flight led by `leader`; or refuses with the labels of
    /// the flights in the circle that this would close.
    ///
    /// One lock covers looking and entering, so of several threads that would close a circle together, the last one is refused.
    pub(crate) fn enter(thread: u64, leader: &Leader, label: Arc<str>) -> Result<Self, Arc<[Arc<str>]>> {
        let mut edges = EDGES.lock();
        let mut chain = vec![Arc::clone(&label)];
        // An observer that is told of joining may ask for another flight before this thread waits for the first. The graph has one
        // edge for each thread, and a second would take the first with it when it goes.
        if edges.contains_key(&thread) {
            return Err(chain.into());
        }
        let mut next = leader.get();
        // A thread that was elected is in no edge any more, so there is no circle to be caught in here.
        while next != 0 {
            if next == thread {
                return Err(chain.into());
            }
            let Some(edge) = edges.get(&next) else { break };
            chain.push(Arc::clone(&edge.label));
            next = edge.leader.get();
        }
        edges.insert(thread, Edge { leader: leader.clone(), label });
        Ok(Self { thread })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Dropped after the lock: the last reference to a label or a leader frees memory.
        let _edge = EDGES.lock().remove(&self.thread);
    }
}
