//! Flights on threads of the pool, and their tickets.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use sync_coalesce::{CallError, OnFailure, OnOverflow, SyncCoalesce, Ticket};

use crate::support::thread;
use crate::support::{Gate, LIMIT, assert_idle, bounded, crowd, join, until, until_following, until_running};

type Numbers = SyncCoalesce<u64, u64, &'static str>;
type Tickets = Vec<Ticket<u64, &'static str>>;

/// A detached flight whose closure waits at the gate.
fn held(coalesce: &Numbers, key: u64, gate: &Arc<Gate>) -> Ticket<u64, &'static str> {
    let gate = Arc::clone(gate);
    coalesce.detach(&key, move |_| {
        gate.pass();
        Ok(key * 10)
    })
}

/// A coalescer with one thread, and a flight on it that waits at the gate.
fn busy(gate: &Arc<Gate>, queue: usize) -> (Arc<Numbers>, Ticket<u64, &'static str>) {
    let coalesce: Arc<Numbers> = Arc::new(SyncCoalesce::builder().pool_threads(1).pool_queue(queue).build());
    let ticket = held(&coalesce, 1, gate);
    until_begun(&coalesce, 1);
    (coalesce, ticket)
}

/// Waits until the flight for `key` has a thread.
fn until_begun(coalesce: &Numbers, key: u64) {
    until("a thread of the pool", || {
        coalesce.flights().iter().any(|flight| flight.key == key && flight.leader.is_some())
    });
}

#[test]
fn a_ticket_waits_as_often_as_one_likes_and_in_any_thread() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        let gate = Arc::new(Gate::new());
        let ticket = held(&coalesce, 1, &gate);
        assert!(format!("{ticket:?}").starts_with("Ticket { flight: \"flight#"), "{ticket:?}");
        assert!(ticket.try_wait().is_none());
        assert!(matches!(ticket.wait_timeout(Duration::ZERO), Err(CallError::TimedOut)));
        assert!(matches!(ticket.wait_deadline(Instant::now()), Err(CallError::TimedOut)));
        gate.open();
        thread::scope(|scope| {
            let waits = crowd(scope, 3, |_| ticket.wait());
            assert!(join(waits).into_iter().all(|result| *result.unwrap() == 10));
        });
        assert_eq!(*ticket.wait_timeout(Duration::ZERO).unwrap(), 10, "a result beats a deadline");
        assert_eq!(**ticket.receiver().recv().unwrap().as_ref().unwrap(), 10, "the message is still there");
        assert!(ticket.receiver().recv().is_err(), "and comes once");
        assert_eq!(*ticket.wait_timeout(Duration::MAX).unwrap(), 10);
        assert_eq!(*ticket.try_wait().unwrap().unwrap(), 10);
        until_running(&coalesce, 0);
        let stats = coalesce.stats();
        assert_eq!((stats.underlying_calls, stats.timed_out, stats.calls()), (1, 0, 1));
        assert_idle(&coalesce);
    });
}

#[test]
fn the_builders_timeout_is_that_of_wait() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::builder().timeout(Duration::ZERO).build();
        let gate = Arc::new(Gate::new());
        let ticket = held(&coalesce, 1, &gate);
        assert!(matches!(ticket.wait(), Err(CallError::TimedOut)));
        gate.open();
        assert_eq!(*ticket.wait_timeout(LIMIT).unwrap(), 10);
    });
}

#[test]
fn calls_batches_and_tickets_of_one_key_share_one_flight() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::builder().cost(|_| 1.0).build();
        let gate = Arc::new(Gate::new());
        let first = held(&coalesce, 1, &gate);
        let second = coalesce.detach(&1, |_| unreachable!("it is in flight"));
        thread::scope(|scope| {
            let call = scope.spawn(|| coalesce.call(&1, || unreachable!("it is in flight")));
            let batch = scope.spawn(|| coalesce.call_many(&[1], |_| unreachable!("it is in flight")));
            until_following(&coalesce, 3);
            gate.open();
            let value = first.wait().unwrap();
            assert!(Arc::ptr_eq(&value, &second.wait().unwrap()));
            assert!(Arc::ptr_eq(&value, &call.join().unwrap().unwrap()));
            assert!(Arc::ptr_eq(&value, batch.join().unwrap()[0].as_ref().unwrap()));
        });
        let stats = coalesce.stats();
        assert_eq!((stats.underlying_calls, stats.coalesced_calls, stats.calls()), (1, 3, 4));
        // Its own ticket saved nothing.
        assert_eq!((stats.cost_spent, stats.cost_saved), (1.0, 3.0));
        assert_idle(&coalesce);
    });
}

#[test]
fn a_ticket_joins_the_flight_of_a_call() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::builder().cancel_when_abandoned(true).build();
        let value = coalesce.on(&1).call(|flight| {
            drop(coalesce.detach(&1, |_| unreachable!("it is in flight")));
            assert!(!flight.is_cancelled(), "a call is not a ticket's to cancel");
            assert_eq!(flight.followers(), 0);
            let ticket = coalesce.detach(&1, |_| unreachable!("it is in flight"));
            assert!(matches!(ticket.wait(), Err(CallError::Deadlock { .. })), "this thread leads it");
            let waiter = thread::spawn(move || ticket.wait());
            until_following(&coalesce, 1);
            (7, waiter).0
        });
        assert_eq!(*value.result.unwrap(), 7);
        assert_idle(&coalesce);
    });
}

#[test]
fn several_tickets_are_selected_over() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        let gates = [Arc::new(Gate::new()), Arc::new(Gate::new())];
        let tickets: Tickets = (0..2).map(|at| held(&coalesce, at as u64 + 1, &gates[at])).collect();
        gates[1].open();
        crossbeam_channel::select! {
            recv(tickets[0].receiver()) -> _ => unreachable!("its gate is closed"),
            recv(tickets[1].receiver()) -> result => assert_eq!(*result.unwrap().unwrap(), 20),
        }
        gates[0].open();
        assert_eq!(*tickets[0].wait().unwrap(), 10);
    });
}

#[test]
fn a_panic_or_an_unwinding_without_one_reaches_every_ticket() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        for (payload, text) in [(true, "down"), (false, "a value that is not text")] {
            let gate = Arc::new(Gate::new());
            let pass = Arc::clone(&gate);
            let first = coalesce.detach(&1, move |_| {
                pass.pass();
                if payload { resume_unwind(Box::new("down")) } else { resume_unwind(Box::new(())) }
            });
            let second = coalesce.detach(&1, |_| unreachable!("it is in flight"));
            gate.open();
            for ticket in [first, second] {
                assert!(matches!(ticket.wait(), Err(CallError::LeaderPanicked { message }) if &*message == text));
            }
            until_running(&coalesce, 0);
        }
        assert_eq!(*coalesce.detach(&1, |_| Ok(7)).wait().unwrap(), 7, "the pool goes on");
        assert_eq!(coalesce.stats().panicked, 2);
    });
}

#[test]
fn an_error_is_shared_or_a_waiting_caller_is_elected_and_no_ticket_is() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::builder().on_error(OnFailure::Elect { times: 1 }).build();
        let failing = |gate: &Arc<Gate>| {
            let gate = Arc::clone(gate);
            coalesce.detach(&1, move |_| {
                gate.pass();
                Err("no")
            })
        };
        let gate = Arc::new(Gate::new());
        let tickets = [failing(&gate), failing(&gate)];
        gate.open();
        for ticket in tickets {
            assert!(matches!(ticket.wait(), Err(CallError::Failed(error)) if *error == "no"));
        }
        until_running(&coalesce, 0);

        let gate = Arc::new(Gate::new());
        let tickets = [failing(&gate), failing(&gate)];
        thread::scope(|scope| {
            let caller = scope.spawn(|| coalesce.call(&1, || 7));
            until_following(&coalesce, 2);
            // It counts as a follower before it is in its slot, and can be elected from then on.
            gate.open();
            assert_eq!(*caller.join().unwrap().unwrap(), 7);
        });
        for ticket in tickets {
            assert_eq!(*ticket.wait().unwrap(), 7);
        }
        assert_eq!(coalesce.stats().elected, 1);
        assert_idle(&coalesce);
    });
}

#[test]
fn threads_are_named_and_no_more_run_than_allowed() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::builder().name("embed\0dings").pool_threads(3).build();
        let (running, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let names = ["embeddings-1", "embeddings-2", "embeddings-3"];
        let tickets: Tickets = (0..50)
            .map(|key| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                coalesce.detach(&key, move |_| {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    assert!(names.contains(&thread::current().name().unwrap()));
                    thread::yield_now();
                    running.fetch_sub(1, SeqCst);
                    Ok(key)
                })
            })
            .collect();
        for (key, ticket) in (0..).zip(&tickets) {
            assert_eq!(*ticket.wait().unwrap(), key);
        }
        assert!((1..=3).contains(&most.load(SeqCst)));
    });
}

#[test]
fn as_many_run_at_a_time_as_allowed() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::builder().pool_threads(4).build();
        let all_run = Arc::new(Barrier::new(4));
        let tickets: Tickets = (0..4)
            .map(|key| {
                let all_run = Arc::clone(&all_run);
                coalesce.detach(&key, move |_| {
                    all_run.wait();
                    Ok(thread::current().name().unwrap().rsplit('-').next().unwrap().parse().unwrap())
                })
            })
            .collect();
        let numbers: BTreeSet<u64> = tickets.iter().map(|ticket| *ticket.wait().unwrap()).collect();
        assert!(numbers.into_iter().eq(1..=4), "each thread has a number of its own");
    });
}

/// ```text
/// one thread:  0 detaches 1, waits ─ lends its place: 1 detaches 2, waits ─ … ─ 20 ends
/// ```
#[test]
fn a_thread_that_waits_for_a_queued_flight_lends_its_place() {
    fn nested(coalesce: &Arc<Numbers>, depth: u64) -> Result<u64, &'static str> {
        if depth == 20 {
            return Ok(depth);
        }
        let deeper = Arc::clone(coalesce);
        let ticket = coalesce.detach(&(depth + 1), move |_| nested(&deeper, depth + 1));
        // By a ticket, and as a follower.
        let value = if depth % 2 == 0 { ticket.wait() } else { coalesce.call(&(depth + 1), || 0) };
        value.map(|value| *value).map_err(|_| "refused")
    }

    bounded(|| {
        let coalesce: Arc<Numbers> = Arc::new(SyncCoalesce::builder().pool_threads(1).build());
        let deeper = Arc::clone(&coalesce);
        let ticket = coalesce.detach(&0, move |_| nested(&deeper, 0));
        let value = *ticket.wait().unwrap();
        // A flight that has ended before it was joined by a call runs afresh there.
        assert!(value == 20 || value == 0, "{value}");
        until_running(&coalesce, 0);
        assert_idle(&coalesce);
    });
}

/// ```text
/// test    leads 1; detaches 2; waits for it
/// pool                         asks for 1
/// ```
#[test]
fn a_circle_through_a_detached_flight_is_refused_once() {
    bounded(|| {
        for _ in 0..50 {
            let coalesce: Arc<Numbers> = Arc::new(SyncCoalesce::new());
            let refused = Arc::new(AtomicU64::new(0));
            let is_refused =
                |result: &Result<Arc<u64>, CallError<_>>| matches!(result, Err(CallError::Deadlock { .. }));
            let led = coalesce.call(&1, || {
                let (inner, count) = (Arc::clone(&coalesce), Arc::clone(&refused));
                let ticket = coalesce.detach(&2, move |_| {
                    count.fetch_add(u64::from(is_refused(&inner.call(&1, || 0))), SeqCst);
                    Ok(2)
                });
                refused.fetch_add(u64::from(is_refused(&ticket.wait())), SeqCst);
                1
            });
            assert_eq!(*led.unwrap(), 1);
            until_running(&coalesce, 0);
            assert_eq!(refused.load(SeqCst), 1);
            assert_idle(&coalesce);
        }
    });
}

#[test]
fn what_the_pool_has_no_place_for_is_overloaded_and_a_waiting_caller_runs_its_own() {
    bounded(|| {
        let gate = Arc::new(Gate::new());
        let (coalesce, first) = busy(&gate, 1);
        let queued = coalesce.detach(&2, |_| Ok(20));
        let rejected = coalesce.detach(&3, |_| unreachable!("there is no place"));
        assert!(matches!(rejected.wait(), Err(CallError::Overloaded)));
        assert!(matches!(rejected.receiver().recv().unwrap(), Err(CallError::Overloaded)));
        assert!(coalesce.flights().iter().all(|flight| flight.key != 3), "nothing is left of it");
        gate.open();
        assert_eq!((*first.wait().unwrap(), *queued.wait().unwrap()), (10, 20));
        until_running(&coalesce, 0);
        assert_eq!(*coalesce.detach(&3, |_| Ok(30)).wait().unwrap(), 30, "later there is");
        until_running(&coalesce, 0);
        assert_eq!((coalesce.stats().calls(), coalesce.stats().panicked), (4, 0));
        assert_idle(&coalesce);
    });
}

#[test]
fn what_the_pool_has_no_place_for_runs_on_the_callers_thread() {
    bounded(|| {
        let coalesce: Numbers =
            SyncCoalesce::builder().pool_threads(1).pool_queue(0).on_full_pool(OnOverflow::Bypass).build();
        let gate = Arc::new(Gate::new());
        let first = held(&coalesce, 1, &gate);
        let me = thread::current().id();
        let ticket = coalesce.detach(&2, move |_| Ok(u64::from(thread::current().id() == me)));
        assert_eq!(*ticket.try_wait().expect("it has run by now").unwrap(), 1);
        let panicking = coalesce.detach(&3, |_| resume_unwind(Box::new("down")));
        assert!(matches!(panicking.wait(), Err(CallError::LeaderPanicked { .. })));
        gate.open();
        first.wait().unwrap();
    });
}

#[test]
fn a_ticket_that_has_left_is_not_counted_among_those_who_cannot_be_elected() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::builder().on_error(OnFailure::Elect { times: 1 }).build();
        let gate = Gate::new();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                coalesce.try_call(&1, || {
                    gate.pass();
                    Err("no")
                })
            });
            until_running(&coalesce, 1);
            drop(coalesce.detach(&1, |_| unreachable!("it is in flight")));
            let follower = scope.spawn(|| coalesce.call(&1, || 7));
            until_following(&coalesce, 1);
            gate.open();
            assert!(leader.join().unwrap().is_err());
            assert_eq!(*follower.join().unwrap().unwrap(), 7);
        });
        assert_idle(&coalesce);
    });
}

#[test]
fn a_ticket_too_many_is_overloaded_since_it_has_no_thread_to_run_on_by_itself() {
    bounded(|| {
        for overflow in [OnOverflow::Refuse, OnOverflow::Bypass] {
            let coalesce: Numbers = SyncCoalesce::builder().max_followers(1).on_overflow(overflow).build();
            let gate = Arc::new(Gate::new());
            let tickets = [1, 2].map(|_| held(&coalesce, 1, &gate));
            let too_many = coalesce.detach(&1, |_| unreachable!("there is no room"));
            assert!(matches!(too_many.wait(), Err(CallError::Overloaded)), "{overflow:?}");
            gate.open();
            assert!(tickets.iter().all(|ticket| *ticket.wait().unwrap() == 10));
            until_running(&coalesce, 0);
            let stats = coalesce.stats();
            assert_eq!((stats.underlying_calls, stats.coalesced_calls, stats.overloaded), (1, 1, 1));
            assert_eq!((stats.calls(), stats.panicked), (3, 0));
            assert_idle(&coalesce);
        }
    });
}

#[test]
fn dropping_tickets_leaves_a_flight_alone() {
    bounded(|| {
        let coalesce: Numbers = SyncCoalesce::new();
        let gate = Arc::new(Gate::new());
        drop((held(&coalesce, 1, &gate), coalesce.detach(&1, |_| unreachable!("it is in flight"))));
        assert_eq!((coalesce.stats().following, coalesce.in_flight()), (0, 1));
        let joined = coalesce.detach(&1, |_| unreachable!("it is in flight"));
        gate.open();
        assert_eq!(*joined.wait().unwrap(), 10);
        drop(joined);
        until_running(&coalesce, 0);
        assert_eq!((coalesce.stats().underlying_calls, coalesce.stats().coalesced_calls), (1, 2));
        assert_idle(&coalesce);
    });
}

#[test]
fn the_last_ticket_cancels_if_nobody_else_is_there() {
    bounded(|| {
        let coalesce: Arc<Numbers> =
            Arc::new(SyncCoalesce::builder().pool_threads(1).cancel_when_abandoned(true).build());
        let (told, wait) = mpsc::channel();
        let first = coalesce.detach(&1, move |flight| {
            until("being cancelled", || flight.is_cancelled());
            told.send(()).unwrap();
            Ok(1)
        });
        until_begun(&coalesce, 1);
        let second = coalesce.detach(&1, |_| unreachable!("it is in flight"));
        let queued = coalesce.detach(&2, |_| unreachable!("it is cancelled before it begins"));
        drop(first);
        assert_eq!(coalesce.in_flight(), 2, "one is left in each");
        drop(queued);
        assert_eq!(coalesce.in_flight(), 1);
        drop(second);
        assert_eq!(coalesce.in_flight(), 0, "a new caller starts afresh");
        wait.recv_timeout(LIMIT).unwrap();
        until_running(&coalesce, 0);
        assert_eq!(coalesce.stats().panicked, 0, "the queued closure has run");
        assert_idle(&coalesce);

        // A caller keeps it going.
        let gate = Arc::new(Gate::new());
        let ticket = held(&coalesce, 3, &gate);
        thread::scope(|scope| {
            let caller = scope.spawn(|| coalesce.call(&3, || unreachable!("it is in flight")));
            until_following(&coalesce, 1);
            drop(ticket);
            gate.open();
            assert_eq!(*caller.join().unwrap().unwrap(), 30);
        });
    });
}

/// Says when it is dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn close_releases_those_who_wait_for_a_queued_flight() {
    bounded(|| {
        let gate = Arc::new(Gate::new());
        let (coalesce, first) = busy(&gate, 10);
        let dropped = Arc::new(AtomicBool::new(false));
        let guard = Dropped(Arc::clone(&dropped));
        let queued = coalesce.detach(&2, move |_| {
            let _guard = &guard;
            unreachable!("it is closed before it begins")
        });
        thread::scope(|scope| {
            let caller = scope.spawn(|| coalesce.call(&2, || unreachable!("it is in flight")));
            until_following(&coalesce, 1);
            coalesce.close();
            assert!(matches!(caller.join().unwrap(), Err(CallError::Closed)));
        });
        assert!(matches!(queued.wait(), Err(CallError::Closed)));
        assert!(dropped.load(SeqCst), "its closure is gone");
        assert_eq!(coalesce.stats().running, 1);
        assert!(matches!(first.wait(), Err(CallError::Closed)), "its closure goes on, for nobody");
        assert!(matches!(coalesce.detach(&3, |_| Ok(3)).wait(), Err(CallError::Closed)));
        gate.open();
        assert!(coalesce.drain(LIMIT));
        assert_idle(&coalesce);
    });
}

#[test]
fn dropping_the_coalescer_joins_nothing_and_its_tickets_get_to_know() {
    bounded(|| {
        let gate = Arc::new(Gate::new());
        let (coalesce, first) = busy(&gate, 10);
        let queued = coalesce.detach(&2, |_| unreachable!("it is dropped before it begins"));
        drop(coalesce);
        assert!(matches!(queued.wait(), Err(CallError::Closed)));
        gate.open();
        assert_eq!(*first.wait().unwrap(), 10, "what runs goes on");
    });
}

#[test]
fn the_last_owner_may_be_a_thread_of_the_pool() {
    bounded(|| {
        let coalesce: Arc<Numbers> = Arc::new(SyncCoalesce::new());
        let gate = Arc::new(Gate::new());
        let (owner, pass) = (Arc::clone(&coalesce), Arc::clone(&gate));
        let ticket = coalesce.detach(&1, move |_| {
            pass.pass();
            assert_eq!(Arc::strong_count(&owner), 1);
            drop(owner);
            Ok(10)
        });
        drop(coalesce);
        gate.open();
        assert_eq!(*ticket.wait().unwrap(), 10);
    });
}

#[test]
fn drain_waits_for_what_is_queued() {
    bounded(|| {
        let gate = Arc::new(Gate::new());
        let (coalesce, _first) = busy(&gate, 10);
        let queued = coalesce.detach(&2, |_| Ok(20));
        assert_eq!(coalesce.stats().running, 2);
        assert!(!coalesce.drain(Duration::ZERO));
        gate.open();
        assert!(coalesce.drain(LIMIT));
        assert_eq!(*queued.try_wait().unwrap().unwrap(), 20);
    });
}

#[test]
fn cancel_wakes_tickets_and_a_queued_closure_never_runs() {
    bounded(|| {
        let gate = Arc::new(Gate::new());
        let (coalesce, first) = busy(&gate, 10);
        let queued = coalesce.detach(&2, |_| unreachable!("it is cancelled before it begins"));
        assert!(coalesce.cancel(&2));
        assert!(matches!(queued.wait(), Err(CallError::Cancelled)));
        gate.open();
        first.wait().unwrap();
        until_running(&coalesce, 0);
        assert_eq!(coalesce.stats().panicked, 0, "it has run");
        assert_idle(&coalesce);
    });
}

/// How many threads of this process are named like that.
#[cfg(target_os = "linux")]
fn threads_named(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end between the listing and the reading of its name.
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|thread| thread.starts_with(name)).count()
}

/// A coalescer whose two threads have done their work and wait for more.
#[cfg(target_os = "linux")]
fn with_threads(name: &str) -> Numbers {
    let coalesce: Numbers = SyncCoalesce::builder().name(name).pool_threads(2).build();
    let gate = Arc::new(Gate::new());
    let tickets = [1, 2].map(|key| held(&coalesce, key, &gate));
    until("two threads", || threads_named(name) == 2);
    for _ in &tickets {
        gate.open();
    }
    assert!(tickets.iter().all(|ticket| ticket.wait().is_ok()));
    assert!(coalesce.drain(LIMIT));
    coalesce
}

#[test]
#[cfg(target_os = "linux")]
fn close_and_drop_end_the_threads() {
    bounded(|| {
        let closed = with_threads("closes");
        assert_eq!(threads_named("closes"), 2);
        closed.close();
        until("the end of the threads", || threads_named("closes") == 0);
        drop(with_threads("drops"));
        until("the end of the threads", || threads_named("drops") == 0);
        assert_idle(&closed);
    });
}

/// ```text
/// thread of the pool               its spare
/// detaches 2, waits: lends
///                                  runs 2; one too many, it ends
/// once that ends, follows 9        its thread-local follows 9, as it is dropped
/// ```
#[test]
fn a_thread_local_of_a_pool_thread_that_has_ended_may_wait() {
    struct AtEnd(Arc<SyncCoalesce<u64, u64>>, Arc<AtomicU64>);

    impl Drop for AtEnd {
        fn drop(&mut self) {
            self.1.store(1, SeqCst);
            let value = self.0.call(&9, || 0).map_or(0, |value| *value);
            self.1.store(value, SeqCst);
        }
    }

    thread_local! {
        static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
    }

    bounded(|| {
        let coalesce: Arc<SyncCoalesce<u64, u64>> = Arc::new(SyncCoalesce::builder().pool_threads(1).build());
        let seen = Arc::new(AtomicU64::new(0));
        let mut detached = None;
        let led = coalesce.call(&9, || {
            let (outer, seen) = (Arc::clone(&coalesce), Arc::clone(&seen));
            let ticket = coalesce.detach(&1, move |_| {
                let at_end = AtEnd(Arc::clone(&outer), Arc::clone(&seen));
                let spare = outer.detach(&2, move |_| {
                    AT_END.set(Some(at_end));
                    Ok(2)
                });
                spare.wait().unwrap();
                until("the end of the spare", || seen.load(SeqCst) == 1);
                Ok(*outer.call(&9, || 0).unwrap())
            });
            detached = Some(ticket);
            until_following(&coalesce, 2);
            9
        });
        assert_eq!((*led.unwrap(), *detached.unwrap().wait().unwrap()), (9, 9));
        assert!(coalesce.drain(LIMIT));
        until("the end of the thread", || seen.load(SeqCst) == 9);
        assert_idle(&coalesce);
    });
}
