//! Elections: who can claim a vacant lead, who cannot, and what happens if nobody is left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Asking, Building, Crowd, Seen, building, plainly, together};
use crate::error::CallError;
use crate::flight::enter::Entry;
use crate::flight::enter::WaitMode;
use crate::flight::faults::Fault;
use crate::flight::follow::Waited;
use crate::options::CallOptions;
use crate::policy::OnFailure;
use crate::sync::{self, catches, holds};
use crate::wait::limits::Patience;
use crate::wait::limits::WaitLimits;

fn electing() -> Building {
    building().on_error(OnFailure::Elect { times: 2 })
}

fn soon(request: Asking<'_>) -> Asking<'_> {
    request.timeout(Duration::from_secs(1))
}

/// ```text
/// leader                          followers, one of them with a deadline
/// closure fails
/// end: offers the lead to one
///                                 the one that was notified is late: it leaves, and notifies another
///                                 the other leads; or, if none is left, the last one ends the flight
/// ```
fn departing_followers() {
    let crowd = Crowd::new(electing().max_followers_total(8));
    let part = |number: u64, options: fn(Asking<'_>) -> Asking<'_>| {
        let crowd = &crowd;
        move |seen: &Seen| {
            let result = crowd.call(seen, 1, options, |_| crowd.alone(|| Err(number)));
            assert!(matches!(result, Err(CallError::Failed(_) | CallError::TimedOut)), "{result:?}");
        }
    };
    crowd.settle(together([&part(1, plainly), &part(2, soon), &part(3, soon), &part(4, plainly)]));
}

#[test]
fn a_free_lead_finds_a_follower_or_goes_with_the_last() {
    holds(departing_followers);
}

#[test]
fn a_lead_offered_to_nobody_is_caught() {
    catches(Fault::OffersToNobody, "deadlock", departing_followers);
}

#[test]
fn a_leaver_that_keeps_the_lead_to_itself_is_caught() {
    catches(Fault::LeaverKeepsLead, "deadlock", departing_followers);
}

#[test]
fn a_last_follower_that_leaves_the_flight_behind_is_caught() {
    catches(Fault::LastLeavesEntry, "something is left", departing_followers);
}

#[test]
fn a_lead_that_stays_free_when_it_is_taken_is_caught() {
    catches(Fault::LeadStaysVacant, "two leaders", departing_followers);
}

#[test]
fn a_lead_taken_without_a_look_is_caught() {
    catches(Fault::LeadsWithoutLooking, "two leaders", departing_followers);
}

#[test]
fn a_leaver_that_keeps_its_place_under_the_bound_is_caught() {
    catches(Fault::LeaverKeepsPlace, "a place under a bound", departing_followers);
}

/// ```text
/// leader                          follower whose deadline has passed
/// closure fails
/// end: offers the lead to one
///                                 sees that the lead is vacant, and still leaves
/// ```
fn election_past_the_deadline() {
    let crowd = Crowd::new(electing());
    let part = |number: u64| {
        let crowd = &crowd;
        move |seen: &Seen| {
            let _ = crowd.call(seen, 1, |asking| asking.timeout(Duration::ZERO), |_| crowd.alone(|| Err(number)));
        }
    };
    let seen = together([&part(1), &part(2), &part(3)]);
    assert_eq!(crowd.calls.stats().elected, 0, "a follower leads past its deadline");
    crowd.settle(seen);
}

#[test]
fn nobody_past_its_deadline_leads() {
    holds(election_past_the_deadline);
}

#[test]
fn a_follower_that_leads_past_its_deadline_is_caught() {
    catches(Fault::LeadsLate, "past its deadline", election_past_the_deadline);
}

/// ```text
/// leader                          follower                        canceller
/// closure fails
/// end: offers the lead to one
///                                                                 forgets, publishes Cancelled,
///                                                                 removes the flight: nobody leads it
///                                 wakes with Cancelled
/// ```
fn cancel_of_a_free_lead() {
    let crowd = Crowd::new(electing());
    let part = |number: u64| {
        let crowd = &crowd;
        move |seen: &Seen| {
            let result = crowd.call(seen, 1, soon, |_| {
                sync::pause();
                Err(number)
            });
            assert!(result.is_err());
        }
    };
    let canceller = |_: &Seen| {
        crowd.calls.cancel(&1);
        crowd.calls.cancel(&1);
    };
    crowd.settle(together([&part(1), &part(2), &part(3), &canceller]));
}

#[test]
fn a_flight_cancelled_while_its_lead_is_free_is_taken_away() {
    holds(cancel_of_a_free_lead);
}

#[test]
fn a_cancelled_flight_left_without_a_leader_is_caught() {
    catches(Fault::CancelLeavesVacantFlight, "a forgotten flight", cancel_of_a_free_lead);
}

/// ```text
/// leader                          follower                        another caller
/// closure fails
/// end: offers the lead to one
///                                                                 forgets, or calls after a mark: leads a new one
///                                 leads the old flight, or leaves
///                                 it at its deadline, as the last
/// ```
fn forget_of_a_free_lead() {
    let crowd = Crowd::new(electing());
    let part = |number: u64| {
        let crowd = &crowd;
        move |seen: &Seen| {
            let result = crowd.call(seen, 1, soon, |_| {
                sync::pause();
                Err(number)
            });
            assert!(result.is_err());
        }
    };
    let anew = |seen: &Seen| {
        crowd.calls.forget(&1);
        let mark = crowd.calls.mark();
        let _ = crowd.call(seen, 1, |asking| asking.after(mark), |_| Err(4));
    };
    crowd.settle(together([&part(1), &part(2), &part(3), &anew]));
}

#[test]
fn a_flight_forgotten_while_its_lead_is_free_goes_on() {
    holds(forget_of_a_free_lead);
}

#[test]
fn a_flight_lost_while_its_lead_is_free_is_caught() {
    catches(Fault::SupersededIsLost, "something is left", forget_of_a_free_lead);
}

#[test]
fn a_forgotten_flight_that_its_last_follower_leaves_behind_is_caught() {
    catches(Fault::LastLeavesEntry, "a forgotten flight", forget_of_a_free_lead);
}

/// ```text
/// leader                          impatient follower
/// closure fails
/// end: offers the lead to one
///                                 its patience ends: it claims the lead, and does not run alone
/// ```
fn patience_while_the_lead_is_free() {
    let crowd = Crowd::new(electing());
    let freed = AtomicBool::new(false);
    let entered = AtomicBool::new(false);
    let leader = |seen: &Seen| {
        let result = crowd.call(seen, 1, plainly, |_| {
            while !entered.load(Ordering::Relaxed) {
                sync::give_way();
            }
            Err(1)
        });
        assert!(result.is_err());
        freed.store(true, Ordering::Relaxed);
    };
    let impatient = |_: &Seen| {
        // The leader has entered before this thread joins, and fails only after that.
        while crowd.calls.in_flight() == 0 {
            sync::give_way();
        }
        let Entry::Follow(follow) = crowd.calls.flights.enter(WaitMode::Now, 1, &1, &CallOptions::default()) else {
            unreachable!("it is led")
        };
        entered.store(true, Ordering::Relaxed);
        while !freed.load(Ordering::Relaxed) {
            sync::give_way();
        }
        let now = sync::now();
        let limits = WaitLimits { deadline: None, patience: Patience::of(Duration::ZERO, now) };
        let Waited::Lead(lead) = follow.wait(now, limits) else { panic!("it does not lead, and the lead is vacant") };
        assert_eq!(*lead.run_work(|_| Ok(2)).result.unwrap(), 2);
    };
    together([&leader, &impatient]);
    let stats = crowd.calls.stats();
    assert_eq!((stats.in_flight, stats.following, stats.running, stats.elected, stats.calls()), (0, 0, 0, 1, 2));
}

#[test]
fn who_runs_out_of_patience_while_the_lead_is_free_takes_it() {
    holds(patience_while_the_lead_is_free);
}

#[test]
fn an_impatient_follower_that_shuns_a_free_lead_is_caught() {
    catches(Fault::ImpatientShunsLead, "it does not lead", patience_while_the_lead_is_free);
}
