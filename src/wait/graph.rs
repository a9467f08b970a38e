//! The wait-for graph, over all coalescers of the process: refuses a wait that would close a cycle.
//!
//! A wait closes a cycle only if the waiting thread leads something, and if the leader that it would wait for waits for
//! that, over any number of threads. So a thread that leads nothing is not checked, and only threads that lead
//! something are in the graph, each with the flight that it waits for. A path goes from a flight to its leader, to the
//! flight that this thread waits for, and so on.
//!
//! A thread enters its edge when nothing is left to do but to wait, and removes it before it leads. It has two edges if
//! user code runs in between and waits too: a closure that is dropped because the pool has no thread for it, when one
//! of the pool's threads is about to block.
//!
//! An edge counts only while its flight has a leader. A flight that has ended, was cancelled, or whose lead is vacant
//! has none, although its waiters may not have woken up yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::sync::{self, AtomicU64, Mutex, Ordering, only_if, step};
use crate::wait::faults::Fault;

/// The number of the thread that leads a flight, for the graph; 0 for none.
#[derive(Clone)]
pub(crate) struct LeaderCell(Arc<AtomicU64>);

impl LeaderCell {
    pub(crate) fn new(thread: u64) -> Self {
        Self(Arc::new(AtomicU64::new(thread)))
    }

    /// Sets the leader. An elected thread does that before its closure runs, and so before it can wait for anything: a
    /// thread that finds it in the graph, under the graph's lock, also sees what it leads.
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

/// The labels of the flights in a cycle.
pub(crate) type Chain = Arc<[Arc<str>]>;

/// The flight that a thread waits for.
struct Edge {
    leader: LeaderCell,
    label: Arc<str>,
}

/// By the number of the waiting thread, and how many waits were begun before this one and are not over.
type Edges = BTreeMap<(u64, u32), Edge>;

sync::global! {
    static EDGES: Mutex<Edges> = Mutex::new(BTreeMap::new());
}

#[cfg(sync_coalesce_shuttle)]
pub(crate) fn nobody_waits() -> bool {
    EDGES.lock().is_empty()
}

/// Returns the labels of the flights in the cycle if `thread`, which leads something, would wait for itself in the flight
/// led by `leader`. It does not wait yet, so it is not entered.
pub(crate) fn check(thread: u64, leader: &LeaderCell, label: &Arc<str>) -> Result<(), Chain> {
    find_cycle(&EDGES.lock(), thread, leader, label)
}

/// Walks from the flight led by `leader` along all edges. A cycle through `thread` is an error, with its labels.
fn find_cycle(edges: &Edges, thread: u64, leader: &LeaderCell, label: &Arc<str>) -> Result<(), Chain> {
    let mut chain = Vec::new();
    let mut open = vec![(0, Arc::clone(label), leader.get())];
    // There can be a cycle that this thread is not part of: leaders may change during the walk.
    let mut seen = BTreeSet::new();
    while let Some((length, label, next)) = open.pop() {
        chain.truncate(length);
        chain.push(label);
        if next == thread {
            return Err(chain.into());
        }
        if !seen.insert(next) {
            continue;
        }
        // A flight without a leader leads nowhere: no thread has the number 0.
        let onwards = edges.range((next, 0)..=(next, u32::MAX));
        open.extend(onwards.map(|(_, edge)| (chain.len(), Arc::clone(&edge.label), edge.leader.get())));
    }
    Ok(())
}

/// An edge of the graph, for the duration of a wait.
pub(crate) struct WaitEdge {
    edge: (u64, u32),
}

impl WaitEdge {
    /// Inserts the edge of `thread`, which leads something and is going to wait for the flight led by `leader`. Fails
    /// with the labels of the flights in the cycle that this would close. `None` if it closes none, but there is no
    /// place to wait in.
    ///
    /// One lock covers search and insertion, so of several threads that would close a cycle together, the last one is
    /// refused. The place is taken under it too: a caller beyond the bound does not wait, so nobody may see it wait.
    pub(crate) fn enter(
        thread: u64,
        leader: &LeaderCell,
        label: &Arc<str>,
        take_place: &dyn Fn() -> bool,
    ) -> Result<Option<Self>, Chain> {
        let edges = EDGES.lock();
        find_cycle(&edges, thread, leader, label)?;
        #[cfg(sync_coalesce_shuttle)]
        let edges = models::between_check_and_insert(edges, (thread, leader, label));
        if !take_place() {
            return Ok(None);
        }
        let mut edges = edges;
        let outer = edges.range((thread, 0)..=(thread, u32::MAX)).next_back();
        let depth = outer.filter(|_| only_if!(InnerWaitHidesOuter, true)).map_or(0, |(&(_, depth), _)| depth + 1);
        edges.insert((thread, depth), Edge { leader: leader.clone(), label: Arc::clone(label) });
        Ok(Some(Self { edge: (thread, depth) }))
    }
}

impl Drop for WaitEdge {
    fn drop(&mut self) {
        // Dropped after unlocking: dropping the last reference to a label or a cell frees memory.
        step!(EdgeStays, drop(EDGES.lock().remove(&self.edge)));
    }
}

/// Planted faults of order.
#[cfg(sync_coalesce_shuttle)]
mod models {
    use std::sync::Arc;

    use super::{EDGES, Edge, Edges, LeaderCell};
    use crate::sync::{MutexGuard, is_planted};
    use crate::wait::faults::Fault;

    /// [`Fault::ChecksApart`] unlocks the graph for a moment, and [`Fault::WaitsWithoutPlace`] shows the edge
    /// meanwhile.
    pub(super) fn between_check_and_insert<'a>(
        mut edges: MutexGuard<'a, Edges>,
        (thread, leader, label): (u64, &LeaderCell, &Arc<str>),
    ) -> MutexGuard<'a, Edges> {
        let shown = (thread, u32::MAX);
        if is_planted(Fault::WaitsWithoutPlace) {
            edges.insert(shown, Edge { leader: leader.clone(), label: Arc::clone(label) });
        }
        if is_planted(Fault::WaitsWithoutPlace) || is_planted(Fault::ChecksApart) {
            drop(edges);
            edges = EDGES.lock();
            edges.remove(&shown);
        }
        edges
    }
}

#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::{LeaderCell, WaitEdge};

    /// ```text
    /// T leads something, waits for f,
    /// and before that for g         L leads f, and in it joins g    M leads g
    ///                                                               fails
    /// is elected for g                                                              Z asks for f
    /// ```
    ///
    /// T is still in the graph with its wait for f, so T, f, L, g are a cycle, though not one in which all of them
    /// wait. Z is not part of it, and must not be refused, nor search forever.
    #[test]
    fn a_cycle_that_goes_by_is_not_walked_forever() {
        // No threads have these numbers.
        let [elected, leads_f, leads_g, asks] = [1, 2, 3, 4].map(|number| u64::MAX - number);
        let (ended, end) = mpsc::channel();
        let walk = move || {
            let (f, g) = (LeaderCell::new(leads_f), LeaderCell::new(leads_g));
            let wait = |thread, leader| WaitEdge::enter(thread, leader, &"a flight".into(), &|| true).unwrap();
            let _waiting = [wait(elected, &f), wait(leads_f, &g)];
            g.set(elected);
            assert!(wait(asks, &f).is_some());
            ended.send(()).unwrap();
        };
        crate::sync::spawn("a walk".into(), walk).unwrap();
        end.recv_timeout(Duration::from_secs(60)).expect("Z searches forever, or is refused");
    }
}
