//! Observers that call back: what they do between a join and a wait makes nobody hang, and nobody is refused for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use super::detaching::{assert_idle, come_to_rest};
use super::{Building, Calls, building, together};
use crate::error::CallError;
use crate::flight::faults::Fault;
use crate::observe::{FlightId, Observer};
use crate::policy::OnFailure;
use crate::sync::{self, catches, holds, random_below};

/// Runs `act` on its own coalescer when a call has joined, the first time.
struct CallsBack {
    calls: Arc<OnceLock<Weak<Calls>>>,
    has_acted: AtomicBool,
    act: fn(&Arc<Calls>),
}

impl Observer for CallsBack {
    fn joined(&self, _: &FlightId<'_>) {
        if let Some(calls) = self.calls.get().and_then(Weak::upgrade) {
            if !self.has_acted.swap(true, Ordering::Relaxed) {
                (self.act)(&calls);
            }
        }
    }
}

fn observed(builder: Building, act: fn(&Arc<Calls>)) -> Arc<Calls> {
    let place = Arc::new(OnceLock::new());
    let observer = CallsBack { calls: Arc::clone(&place), has_acted: AtomicBool::new(false), act };
    let calls = Arc::new(builder.observer(observer).build());
    place.set(Arc::downgrade(&calls)).expect("nobody else sets it");
    calls
}

fn electing() -> Building {
    building().on_error(OnFailure::Elect { times: 1 })
}

/// ```text
/// leader                          follower
///                                 joins; its observer waits for the same flight by a ticket
/// fails: offers the lead, or ends
///                                 is the only one who could claim the lead, and waits for that
/// ```
fn observer_waits_for_its_own_flight() {
    let calls = observed(electing(), |calls| drop(calls.detach(&1, |_| Ok(3)).wait()));
    let ask = |_: &super::Seen| {
        let answer = calls.try_call(&1, || {
            sync::pause();
            Err(1)
        });
        assert!(matches!(answer, Ok(_) | Err(CallError::Failed(_))), "{answer:?}");
    };
    together([&ask, &ask]);
    assert_idle(&calls);
    come_to_rest(&calls);
}

#[test]
fn an_observer_that_waits_for_the_flight_just_joined_hangs_nobody() {
    holds(observer_waits_for_its_own_flight);
}

#[test]
fn a_caller_that_is_elected_while_its_observer_waits_is_caught() {
    catches(Fault::WaitsBeforeObservers, "deadlock", observer_waits_for_its_own_flight);
}

/// ```text
/// first thread                    second thread
///                                 leads 7, and in it joins 0; its observer leads 1
/// leads 0, and in it asks for 1:
/// no cycle, as the second does not
/// wait for 0 yet
///                                 the observer is done; waits for 0
/// ```
fn observer_leads_before_its_thread_waits() {
    let calls = observed(building(), |calls| {
        let led = calls.call(&1, || {
            sync::pause();
            1
        });
        led.expect("no cycle");
    });
    let first = |_: &super::Seen| {
        let led = calls.call(&0, || {
            sync::pause();
            *calls.call(&1, || 2).expect("no cycle")
        });
        led.unwrap();
    };
    let second = |_: &super::Seen| {
        let led = calls.call(&7, || *calls.call(&0, || 9).expect("no cycle"));
        led.unwrap();
    };
    together([&first, &second]);
    assert_idle(&calls);
}

#[test]
fn who_has_joined_and_does_not_wait_yet_closes_no_cycle() {
    holds(observer_leads_before_its_thread_waits);
}

#[test]
fn a_caller_in_the_graph_while_its_observer_runs_is_caught() {
    catches(Fault::WaitsBeforeObservers, "no cycle", observer_leads_before_its_thread_waits);
}

/// Every verb, from within an observer, for the flight that was joined or for another one.
fn any_verb(calls: &Arc<Calls>) {
    let key = random_below(2) as u64;
    match random_below(8) {
        0 => drop(calls.try_call(&key, || Err(0))),
        1 => drop(calls.detach(&key, |_| Err(0)).wait()),
        2 => drop(calls.try_call_many(&[0, 1], |keys| Ok(vec![0; keys.len()]))),
        3 => drop(calls.on(&key).bypass().try_call(|_| Ok(0)).result),
        4 => drop(calls.on(&key).after(calls.mark()).try_call(|_| Err(0)).result),
        5 => drop(calls.forget(&key)),
        6 => drop(calls.cancel(&key)),
        _ => calls.close(),
    }
}

fn observer_calls_back() {
    let calls = observed(electing(), any_verb);
    let ask = |_: &super::Seen| {
        for key in [0, 1] {
            let outer = Arc::clone(&calls);
            let _ = calls.try_call(&key, || {
                if key == 0 { outer.try_call(&1, || Err(1)).map_or(Err(0), |_| Ok(0)) } else { Err(0) }
            });
        }
    };
    together([&ask, &ask]);
    assert_idle(&calls);
    come_to_rest(&calls);
}

#[test]
fn whatever_an_observer_asks_for_nobody_hangs() {
    holds(observer_calls_back);
}
