//! Waits that would close a cycle are refused, and no others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Calls, Crowd, Seen, building, plainly, together};
use crate::error::CallError;
use crate::flight::enter::{Entry, WaitMode};
use crate::flight::faults::Fault;
use crate::options::CallOptions;
use crate::policy::OnFailure;
use crate::sync::{self, Barrier, catches, holds};
use crate::wait::faults::Fault as WaitFault;
use crate::wait::limits::WaitLimits;

fn is_refused<T>(result: &Result<T, CallError<u64>>) -> bool {
    matches!(result, Err(CallError::Deadlock { .. }))
}

/// Each of `N` threads leads its own key and then asks for the next one's. The last of them is refused.
///
/// Each key is in a shard of its own: within one shard, its lock would hide it if the graph had none.
fn ring<const N: usize>(crowds: [&Crowd; N]) {
    let all_lead = Barrier::new(N);
    let refused = std::sync::atomic::AtomicU64::new(0);
    let keys = crowds[0].keys_apart::<N>();
    let part = |at: usize| {
        let (all_lead, refused) = (&all_lead, &refused);
        move |seen: &Seen| {
            let asked = Seen::default();
            let next = (at + 1) % N;
            let led = crowds[at].call(seen, keys[at], plainly, |_| {
                all_lead.wait();
                let result = crowds[next].call(&asked, keys[next], plainly, |_| Ok(0));
                refused.fetch_add(u64::from(is_refused(&result)), Ordering::Relaxed);
                Ok(1)
            });
            led.unwrap();
            seen.0.borrow_mut().extend(asked.0.into_inner());
        }
    };
    let parts: [_; N] = std::array::from_fn(part);
    let seen = together(parts.each_ref().map(|part| part as &(dyn Fn(&Seen) + Sync)));
    assert_eq!(refused.into_inner(), 1, "exactly one is refused");
    if crowds.iter().all(|crowd| std::ptr::eq(*crowd, crowds[0])) {
        crowds[0].settle(seen);
    }
    for crowd in crowds {
        let stats = crowd.calls.stats();
        assert_eq!((stats.in_flight, stats.following, stats.running), (0, 0, 0));
    }
    assert!(crate::wait::graph::nobody_waits(), "an edge is left");
}

/// ```text
/// first thread                    second thread
/// leads 0                         leads 1
/// asks for 1: waits               asks for 0: refused, as the first waits for it
/// ```
fn two_cross() {
    let crowd = Crowd::new(building().shards(4));
    ring([&crowd, &crowd]);
}

#[test]
fn of_two_who_ask_for_each_others_key_one_is_refused() {
    holds(two_cross);
}

#[test]
fn a_graph_unlocked_between_the_look_and_the_entry_is_caught() {
    catches(WaitFault::ChecksApart, "deadlock", two_cross);
}

#[test]
fn an_edge_that_stays_is_caught() {
    catches(WaitFault::EdgeStays, "an edge is left", two_cross);
}

/// The same with three: 0 waits for 1, 1 for 2, and 2 asks for 0.
fn three_in_a_ring() {
    let crowd = Crowd::new(building().shards(4));
    ring([&crowd, &crowd, &crowd]);
}

#[test]
fn of_three_in_a_ring_one_is_refused() {
    holds(three_in_a_ring);
}

#[test]
fn a_graph_unlocked_while_three_look_is_caught() {
    catches(WaitFault::ChecksApart, "deadlock", three_in_a_ring);
}

/// The same over two coalescers, whose locks know nothing of each other.
fn two_coalescers() {
    let (one, other) = (Crowd::new(building().shards(2)), Crowd::new(building().shards(2)));
    ring([&one, &other]);
}

#[test]
fn a_ring_over_two_coalescers_is_refused() {
    holds(two_coalescers);
}

#[test]
fn a_graph_unlocked_between_two_coalescers_is_caught() {
    catches(WaitFault::ChecksApart, "deadlock", two_coalescers);
}

/// A call inside a closure.
fn nested(calls: &Calls, key: u64) -> Result<std::sync::Arc<u64>, CallError<u64>> {
    calls.try_call(&key, || {
        sync::pause();
        Ok(0)
    })
}

/// ```text
/// first thread                    second thread
/// leads 9, and in it 1            leads 2, and in it follows 1
/// ends 1
/// asks for 2: no cycle, as
/// nobody leads 1 any more         has not woken yet
/// ```
fn ended_flight() {
    let crowd = Crowd::new(building());
    let first = |_: &Seen| {
        let led = crowd.calls.try_call(&9, || {
            nested(&crowd.calls, 1).expect("no cycle");
            nested(&crowd.calls, 2).expect("no cycle");
            Ok(0)
        });
        led.unwrap();
    };
    let second = |_: &Seen| {
        let led = crowd.calls.try_call(&2, || {
            nested(&crowd.calls, 1).expect("no cycle");
            Ok(0)
        });
        led.unwrap();
    };
    together([&first, &second]);
    crowd.assert_nothing_left();
}

#[test]
fn a_follower_of_an_ended_flight_that_has_not_woken_refuses_nobody() {
    holds(ended_flight);
}

#[test]
fn a_leader_that_outlives_its_flight_in_the_graph_is_caught() {
    catches(Fault::LeaderOutlivesFlight, "no cycle", ended_flight);
}

/// ```text
/// first thread        second thread                   third thread
/// leads 1, fails      leads 2, and in it follows 1
///                     is elected for 1, and in it
///                     asks for 3: waits               leads 3, and in it asks for 1: refused
/// ```
fn ring_through_an_elected_leader() {
    let crowd = Crowd::new(building().on_error(OnFailure::Elect { times: 1 }));
    let calls = &crowd.calls;
    let first = |_: &Seen| {
        let _ = calls.try_call(&1, || {
            sync::pause();
            Err(1)
        });
    };
    let second = |_: &Seen| {
        let led = calls.try_call(&2, || {
            let _ = calls.try_call(&1, || {
                let _ = nested(calls, 3);
                Ok(0)
            });
            Ok(0)
        });
        led.unwrap();
    };
    let third = |_: &Seen| {
        let led = calls.try_call(&3, || {
            let _ = nested(calls, 1);
            Ok(0)
        });
        led.unwrap();
    };
    together([&first, &second, &third]);
    assert!(calls.stats().deadlocks <= 1, "two are refused where one is enough");
    crowd.assert_nothing_left();
}

#[test]
fn a_ring_through_an_elected_leader_is_refused() {
    holds(ring_through_an_elected_leader);
}

#[test]
fn an_elected_leader_that_the_graph_does_not_know_is_caught() {
    catches(Fault::ElectedUnnamed, "deadlock", ring_through_an_elected_leader);
}

/// ```text
/// first thread                    second thread
/// leads 1, and in it follows 2    leads 2
/// leaves at its deadline
///                                 asks for 1: no cycle, as the first waits no longer
/// ```
fn ring_through_one_who_left() {
    let crowd = Crowd::new(building());
    let left = AtomicBool::new(false);
    let first = |_: &Seen| {
        let led = crowd.calls.try_call(&1, || {
            let outcome = crowd.call(&Seen::default(), 2, |asking| asking.timeout(Duration::from_secs(1)), |_| Ok(0));
            left.store(matches!(outcome, Err(CallError::TimedOut)), Ordering::Relaxed);
            // Time for the other to ask while this thread still leads.
            (0..8).for_each(|_| sync::pause());
            Ok(0)
        });
        led.unwrap();
    };
    let second = |_: &Seen| {
        let led = crowd.calls.try_call(&2, || {
            // Time for the other to leave.
            (0..8).for_each(|_| sync::pause());
            let has_left = left.load(Ordering::Relaxed);
            let refused = is_refused(&nested(&crowd.calls, 1));
            assert!(!(has_left && refused), "refused for one who waits no longer");
            Ok(0)
        });
        led.unwrap();
    };
    together([&first, &second]);
    crowd.assert_nothing_left();
}

#[test]
fn who_has_left_at_its_deadline_closes_no_circle() {
    holds(ring_through_one_who_left);
}

#[test]
fn an_edge_that_outlives_its_follower_is_caught() {
    catches(Fault::LeaverKeepsEdge, "waits no longer", ring_through_one_who_left);
}

/// ```text
/// first thread                    second thread
/// leads 1 of one coalescer        leads 2 of another that takes no followers
/// asks for 2: too many
///                                 asks for 1: no cycle, as the first does not wait
/// ```
fn ring_through_one_too_many() {
    let crowd = Crowd::new(building());
    let full = Crowd::new(building().max_followers_total(0));
    let first = |_: &Seen| {
        let led = crowd.calls.try_call(&1, || {
            // Overloaded; or refused, if the second thread already waits for this one: then it would close a cycle.
            let _ = nested(&full.calls, 2);
            Ok(0)
        });
        led.unwrap();
    };
    let second = |_: &Seen| {
        let led = full.calls.try_call(&2, || {
            nested(&crowd.calls, 1).expect("no cycle");
            Ok(0)
        });
        assert!(matches!(led, Ok(_) | Err(CallError::Overloaded)));
    };
    together([&first, &second]);
    crowd.assert_nothing_left();
    full.assert_nothing_left();
}

#[test]
fn who_is_one_too_many_closes_no_circle() {
    holds(ring_through_one_too_many);
}

#[test]
fn a_caller_in_the_graph_before_it_has_a_place_is_caught() {
    catches(WaitFault::WaitsWithoutPlace, "no cycle", ring_through_one_too_many);
}

/// ```text
/// first thread                    second thread                   third thread
/// leads 1; joins 2, and before
/// it waits a Drop asks for 3      leads 2                         leads 3
/// and waits
/// has that result                                                 ends
/// waits for 2                     asks for 1: refused
/// ```
fn wait_before_a_wait() {
    let crowd = Crowd::new(building().shards(4));
    let [one, two, three] = crowd.keys_apart();
    let calls = &crowd.calls;
    let first = |_: &Seen| {
        let led = calls.try_call(&one, || {
            let entered = calls.flights.enter(WaitMode::Now, two, &two, &CallOptions::default());
            let _ = nested(calls, three);
            match entered {
                Entry::Lead(lead) => drop(lead.run_work(|_| Ok(0))),
                Entry::Follow(follow) => drop(follow.wait(sync::now(), WaitLimits::default())),
                Entry::Bypass(_) | Entry::Done(_) => {}
            }
            Ok(0)
        });
        led.unwrap();
    };
    let second = |_: &Seen| {
        let led = calls.try_call(&two, || {
            sync::pause();
            let _ = nested(calls, one);
            Ok(0)
        });
        led.unwrap();
    };
    let third = |_: &Seen| {
        nested(calls, three).unwrap();
    };
    together([&first, &second, &third]);
    assert!(calls.stats().deadlocks <= 1, "two are refused where one is enough");
    crowd.assert_nothing_left();
}

#[test]
fn a_wait_that_is_made_before_a_wait_hides_no_cycle() {
    holds(wait_before_a_wait);
}

#[test]
fn an_inner_wait_that_takes_the_outer_one_with_it_is_caught() {
    catches(WaitFault::InnerWaitHidesOuter, "deadlock", wait_before_a_wait);
}
