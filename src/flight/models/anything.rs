//! Any verbs in any order, for what no model of one promise covers.

use std::panic::resume_unwind;
use std::time::Duration;

use super::{Asking, Crowd, Seen, building, together};
use crate::flight::faults::Fault;
use crate::outcome::Mark;
use crate::policy::{OnFailure, OnOverflow};
use crate::sync::{self, catches, holds, random_below};
use crate::wait::faults::Fault as WaitFault;

/// ```text
/// three threads, each of them
/// asks, in one of many ways, with one of many ends; or forgets, cancels
/// and again
/// ```
fn any_verbs() {
    let building = building().shards(1 + random_below(2));
    let building = match random_below(3) {
        0 => building,
        1 => building.on_error(OnFailure::Elect { times: 1 }).on_panic(OnFailure::Elect { times: 1 }),
        _ => building.on_error(OnFailure::Elect { times: 3 }).max_impatient(1).max_followers_total(1),
    };
    let building = if random_below(2) == 0 { building } else { building.on_overflow(OnOverflow::Bypass) };
    let crowd = Crowd::new(building);
    let part = |seen: &Seen| {
        for _ in 0..2 {
            any_verb(&crowd, seen, 0);
        }
    };
    crowd.settle(together([&part, &part, &part]));
}

fn wishing(asking: Asking<'_>, verb: usize, mark: Mark) -> Asking<'_> {
    match verb {
        2 => asking.timeout(Duration::from_secs(1)),
        3 => asking.patience(Duration::from_secs(1)),
        4 => asking.timeout(Duration::from_secs(2)).patience(Duration::from_secs(1)),
        5 => asking.after(mark),
        6 => asking.bypass(),
        _ => asking,
    }
}

fn any_verb(crowd: &Crowd, seen: &Seen, depth: u32) {
    let key = random_below(2) as u64;
    let calls = &crowd.calls;
    let (mark, verb) = (calls.mark(), random_below(9));
    match verb {
        0 => drop(calls.forget(&key)),
        1 => drop(calls.cancel(&key)),
        _ => {
            let _ = crowd.call(
                seen,
                key,
                |asking| wishing(asking, verb, mark),
                |_| {
                    sync::pause();
                    if depth == 0 && random_below(3) == 0 {
                        any_verb(crowd, seen, 1);
                    }
                    match random_below(4) {
                        0 => Ok(0),
                        1 => resume_unwind(Box::new(0_u64)),
                        _ => Err(0),
                    }
                },
            );
        }
    }
}

#[test]
fn whatever_is_asked_for_nothing_is_left_and_all_is_counted() {
    holds(any_verbs);
}

#[test]
fn the_faults_of_many_models_are_caught_by_any_verbs() {
    for (fault, symptom) in [
        (Fault::WakesNobody, "deadlock"),
        (Fault::RemovesByKey, "a forgotten flight"),
        (Fault::PublishesTwice, "early leavers"),
        (Fault::LastLeavesEntry, "something is left"),
        (Fault::LeavesBlindly, "a place under a bound"),
        (Fault::ElectedUnnamed, "deadlock"),
    ] {
        catches(fault, symptom, any_verbs);
    }
    catches(WaitFault::CountsApart, "a place under a bound", any_verbs);
}
