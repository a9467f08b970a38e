//! Detached flights: the pool's threads, tickets, and how queued flights end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Calls, Seen, building, together};
use crate::error::CallError;
use crate::flight::faults::Fault;
use crate::sync::{self, Trouble, catches, holds, holds_despite};
use crate::wait::faults::Fault as WaitFault;
use crate::wait::graph;

/// Nothing is left once the pool's threads have ended their closures.
pub(super) fn assert_idle(calls: &Calls) {
    assert!(calls.drain(Duration::MAX));
    let stats = calls.stats();
    assert_eq!((stats.in_flight, stats.following, stats.running), (0, 0, 0), "something is left: {stats:?}");
    for shard in calls.flights.table.shards() {
        assert!(shard.lock().unlinked.is_empty(), "a forgotten flight is left");
    }
    assert!(graph::nobody_waits(), "an edge is left");
}

/// A closure ends before its thread is counted as idle, or as gone. If a thread beyond the limit stays, this never
/// ends.
pub(super) fn come_to_rest(calls: &Calls) {
    while !(calls.pool.is_at_rest() && calls.pool.counts().0 <= 1) {
        sync::give_way();
    }
}

/// ```text
/// caller                          pool
/// queues 1                        a thread takes it, and leads
/// its ticket waits, or it has
/// the result by then              ends
/// ```
fn tickets_and_calls() {
    let calls = building().pool_threads(1).build();
    let part = |_: &Seen| {
        let ticket = calls.detach(&1, |_| {
            sync::pause();
            Ok(1)
        });
        assert!(matches!(calls.try_call(&1, || Ok(1)), Ok(value) if *value == 1));
        let early = ticket.wait_timeout(Duration::from_secs(1));
        assert!(matches!(early, Ok(_) | Err(CallError::TimedOut)));
        assert!(matches!(ticket.wait(), Ok(value) if *value == 1));
    };
    together([&part, &part]);
    assert_eq!(calls.stats().calls(), 4);
    assert_idle(&calls);
}

#[test]
fn tickets_and_calls_share_flights() {
    holds(tickets_and_calls);
}

#[test]
fn an_end_that_wakes_nobody_is_caught() {
    catches(Fault::WakesNobody, "deadlock", tickets_and_calls);
}

/// ```text
/// the pool's only thread          a spare
/// leads 1, queues 2
/// waits for 2: gives up its place leads 2, queues 3, waits: gives up its place to another
/// goes on; over the limit         ends
/// ```
fn all_threads_blocked() {
    let calls = Arc::new(building().pool_threads(1).build());
    let outer = Arc::clone(&calls);
    let ticket = calls.detach(&1, move |_| {
        let inner = Arc::clone(&outer);
        let ticket = outer.detach(&2, move |_| {
            let _ = inner.detach(&3, |_| Ok(3)).wait();
            Ok(2)
        });
        ticket.wait().map(|value| *value).map_err(|_| 0)
    });
    assert_eq!(*ticket.wait().unwrap(), 2);
    assert_idle(&calls);
    come_to_rest(&calls);
}

#[test]
fn a_blocked_thread_of_the_pool_lends_its_place() {
    holds(all_threads_blocked);
}

#[test]
fn a_blocked_thread_that_keeps_its_place_is_caught() {
    catches(WaitFault::BlockedKeepsPlace, "deadlock", all_threads_blocked);
}

#[test]
fn a_spare_thread_that_stays_is_caught() {
    catches(Fault::SpareStays, "exceeded max_steps", all_threads_blocked);
}

/// ```text
/// caller                          another                         closer
/// queues 1 and 2                  joins 2                         closes: Closed to all followers,
/// waits for 2                     wakes with a result or Closed   drops what is queued
/// ```
fn close_against_a_queued_flight() {
    let calls = building().pool_threads(1).build();
    let detaching = |_: &Seen| {
        let tickets = [1, 2].map(|key| calls.detach(&key, move |_| Ok(key)));
        for ticket in tickets {
            let result = ticket.wait();
            assert!(matches!(result, Ok(_) | Err(CallError::Closed)), "{result:?}");
        }
    };
    let calling = |_: &Seen| {
        let result = calls.try_call(&2, || Ok(2));
        assert!(matches!(result, Ok(_) | Err(CallError::Closed)), "{result:?}");
    };
    let closing = |_: &Seen| calls.close();
    together([&detaching, &calling, &closing]);
    assert_idle(&calls);
}

#[test]
fn close_releases_those_who_wait_for_a_queued_flight() {
    holds(close_against_a_queued_flight);
}

#[test]
fn a_queued_flight_that_is_thrown_away_and_stays_is_caught() {
    catches(Fault::DroppedJobEndsNothing, "deadlock", close_against_a_queued_flight);
}

/// ```text
/// caller                          another                         pool
/// detaches 1: begins it
///                                 cancels 1
/// queues it, or gets Cancelled                                    begins 1, or drops it
/// ```
fn cancel_against_detach() {
    let calls = building().pool_threads(1).build();
    let detaching = |_: &Seen| {
        let result = calls.detach(&1, |_| Ok(1)).wait();
        assert!(matches!(result, Ok(_) | Err(CallError::Cancelled)), "not what ended it: {result:?}");
    };
    let cancelling = |_: &Seen| {
        calls.cancel(&1);
    };
    together([&detaching, &cancelling]);
    assert_idle(&calls);
}

#[test]
fn a_ticket_hears_that_its_flight_was_cancelled() {
    holds(cancel_against_detach);
}

#[test]
fn a_flight_that_is_queued_though_it_was_cancelled_is_caught() {
    catches(Fault::QueuesWhatWasCancelled, "not what ended it", cancel_against_detach);
}

/// ```text
/// caller                          another                         pool
/// detaches 0 and 1                                                begins 0
/// drops the ticket of 1           calls 1: joins, or is late
///                                                                 begins 1, unless it is abandoned
/// ```
fn last_ticket() {
    let calls = building().pool_threads(1).cancel_when_abandoned(true).build();
    let dropped = Arc::new(AtomicBool::new(false));
    let detaching = |_: &Seen| {
        let seen = Arc::clone(&dropped);
        let first = calls.detach(&0, move |_| {
            while !seen.load(Ordering::Relaxed) {
                sync::give_way();
            }
            Ok(0)
        });
        drop(calls.detach(&1, |flight| {
            assert!(!flight.is_cancelled(), "nobody wants it");
            Ok(1)
        }));
        dropped.store(true, Ordering::Relaxed);
        first.wait().unwrap();
    };
    let calling = |_: &Seen| {
        assert!(calls.try_call(&1, || Ok(2)).is_ok());
    };
    together([&detaching, &calling]);
    assert_idle(&calls);
}

#[test]
fn the_last_ticket_cancels_a_flight_that_nobody_wants_and_no_other() {
    holds(last_ticket);
}

#[test]
fn a_closure_that_runs_though_it_was_cancelled_is_caught() {
    catches(Fault::RunsWhatWasCancelled, "a panic was swallowed", last_ticket);
}

/// ```text
/// one                             another
/// detaches 1: begins it
///                                 detaches 1: joins it; drops its ticket
/// its ticket is the last: waits
/// ```
fn last_but_one_ticket() {
    let calls = building().pool_threads(1).cancel_when_abandoned(true).build();
    let keeping = |_: &Seen| {
        assert!(matches!(calls.detach(&1, |_| Ok(1)).wait(), Ok(value) if *value == 1));
    };
    let dropping = |_: &Seen| drop(calls.detach(&1, |_| Ok(1)));
    together([&keeping, &dropping]);
    assert_idle(&calls);
}

#[test]
fn a_ticket_that_is_kept_keeps_its_flight() {
    holds(last_but_one_ticket);
}

#[test]
fn a_first_ticket_that_comes_late_is_caught() {
    catches(Fault::FirstTicketIsLate, "assertion failed", last_but_one_ticket);
}

/// ```text
/// one, without a thread           another
/// detaches 1: begins it
///                                 calls 1: joins, or leads it, or another
/// no thread will come: offers the
/// lead, or ends it
/// ```
fn no_thread_to_be_had() {
    let calls = building().pool_threads(1).build();
    let detaching = |_: &Seen| {
        let result = calls.detach(&1, |_| Ok(1)).wait();
        assert!(matches!(result, Ok(_) | Err(CallError::Overloaded)), "{result:?}");
    };
    let calling = |_: &Seen| {
        assert!(matches!(calls.try_call(&1, || Ok(2)), Ok(value) if *value <= 2));
    };
    together([&detaching, &calling]);
    assert_idle(&calls);
    come_to_rest(&calls);
}

#[test]
fn without_a_thread_for_it_a_flight_is_ended_or_led_by_a_follower() {
    holds_despite(Trouble::NoThread, no_thread_to_be_had);
}

/// ```text
/// the pool's only thread, if any  spares, if any                  caller
/// leads 1, queues 2, waits        leads 2                         queues 4, waits
/// goes on: a thread has to end
/// queues 3, waits                 ends, or leads 3 before
/// ```
fn threads_now_and_then() {
    let calls = Arc::new(building().pool_threads(1).build());
    let is_right = |result| assert!(matches!(result, Ok(_) | Err(CallError::Overloaded)), "{result:?}");
    let nesting = |_: &Seen| {
        let inner = Arc::clone(&calls);
        let ticket = calls.detach(&1, move |_| {
            is_right(inner.detach(&2, |_| Ok(2)).wait());
            is_right(inner.detach(&3, |_| Ok(3)).wait());
            Ok(1)
        });
        is_right(ticket.wait());
    };
    let other = |_: &Seen| is_right(calls.detach(&4, |_| Ok(4)).wait());
    together([&nesting, &other]);
    assert_idle(&calls);
    come_to_rest(&calls);
}

#[test]
fn a_thread_that_is_wanted_again_before_it_ends_stays() {
    holds(threads_now_and_then);
}

#[test]
fn with_a_thread_now_and_then_none_is_lost() {
    holds_despite(Trouble::NoThread, threads_now_and_then);
}

#[test]
fn a_thread_that_ends_though_it_is_wanted_again_is_caught() {
    catches(Fault::EndsUnasked, "deadlock", threads_now_and_then);
}

/// Detaches and waits when it is dropped.
struct Waits(Arc<Calls>);

impl Drop for Waits {
    fn drop(&mut self) {
        let _ = self.0.detach(&9, |_| Ok(9)).wait();
    }
}

/// ```text
/// the pool's only thread, if any
/// leads 1, queues 2; waits: no thread will come, so it refuses 2
/// drops the closure of 2, which detaches 9; waits
/// ```
fn refused_closure_waits() {
    let calls = Arc::new(building().pool_threads(1).build());
    let nesting = |_: &Seen| {
        let inner = Arc::clone(&calls);
        let ticket = calls.detach(&1, move |_| {
            let waits = Waits(Arc::clone(&inner));
            let second = inner.detach(&2, move |_| {
                drop(waits);
                Ok(2)
            });
            let _ = second.wait();
            Ok(1)
        });
        let _ = ticket.wait();
    };
    let other = |_: &Seen| {
        let _ = calls.detach(&4, |_| Ok(4)).wait();
    };
    together([&nesting, &other]);
    assert_idle(&calls);
    come_to_rest(&calls);
}

#[test]
fn a_closure_that_waits_as_it_is_refused_upsets_no_count() {
    holds_despite(Trouble::NoThread, refused_closure_waits);
}

/// ```text
/// leads 1, detaches 2             pool
/// waits for it, or is refused     asks for 1: refused, or waits
/// ```
fn circle_through_the_pool() {
    let calls = Arc::new(building().pool_threads(1).build());
    let inner = Arc::clone(&calls);
    let led = calls.try_call(&1, || {
        let ticket = calls.detach(&2, move |_| {
            let refused = matches!(inner.try_call(&1, || Ok(0)), Err(CallError::Deadlock { .. }));
            Ok(u64::from(refused))
        });
        match ticket.wait() {
            Ok(refused) => Ok(*refused),
            Err(CallError::Deadlock { .. }) => Ok(1),
            Err(other) => panic!("{other:?}"),
        }
    });
    assert_eq!(*led.unwrap(), 1, "one of them is refused");
    assert_idle(&calls);
}

#[test]
fn a_circle_through_the_pool_is_refused() {
    holds(circle_through_the_pool);
}

#[test]
fn a_pool_thread_that_is_not_named_is_caught() {
    catches(Fault::DetachedUnnamed, "deadlock", circle_through_the_pool);
}
