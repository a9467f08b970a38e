//! A lead that stays vacant, since those who could claim it have not come to wait: who may claim it, who may not, and
//! what goes when the last of them leaves.

use std::borrow::Borrow;
use std::panic::resume_unwind;
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::support::{HASH, Numbers, follow, lead, lead_elsewhere, observed, patient, settings, too_late};
use crate::error::CallError;
use crate::flight::enter::WaitMode;
use crate::flight::flights::Flights;
use crate::flight::follow::Waited;
use crate::flight::settings::{Policy, Settings};
use crate::outcome::Role;
use crate::policy::{OnDeadlock, OnFailure};
use crate::sync;
use crate::wait::limits::{Patience, WaitLimits};

/// ```text
/// leader     leads -------------- fails: the lead is vacant
/// late             joins .................................. its deadline has passed: leaves
/// patient                joins ............................................................ leads
/// ```
#[test]
fn nobody_past_its_deadline_leads() {
    for patients in [0, 1] {
        let flights: Numbers = Flights::new(1, settings());
        let first = lead_elsewhere(&flights, &1);
        let late = follow(&flights, WaitMode::Now, &1);
        let waiting = (patients > 0).then(|| follow(&flights, WaitMode::Now, &1));
        assert!(first.end(Err(1)).result.is_err());
        assert_eq!(flights.infos()[0].leader, None, "the lead is vacant");

        let Waited::Over(outcome) = late.wait(sync::now(), too_late()) else { panic!("led past its deadline") };
        assert!(matches!(outcome.result, Err(CallError::TimedOut)));
        assert_eq!((flights.stats().elected, flights.in_flight()), (0, patients));

        if let Some(waiting) = waiting {
            let Waited::Lead(lead) = waiting.wait(sync::now(), patient()) else { panic!("nobody leads") };
            assert_eq!(*lead.run_work(|_| Ok(2)).result.unwrap(), 2);
        }
        let stats = flights.stats();
        assert_eq!((stats.timed_out, stats.elected, stats.failed), (1, patients, 1));
        assert_eq!((stats.in_flight, stats.following, stats.running), (0, 0, 0));
    }
}

#[test]
fn whoever_runs_out_of_patience_while_the_lead_is_vacant_is_elected() {
    let (flights, heard) = observed(OnDeadlock::Refuse);
    let first = lead_elsewhere(&flights, &1);
    let mut follower = follow(&flights, WaitMode::Now, &1);
    assert!(follower.start_waiting(&mut || None).is_ok());
    drop(first.end(Err(1)));
    let now = sync::now();
    let impatient = WaitLimits { deadline: None, patience: Patience::of(Duration::ZERO, now) };
    let Waited::Lead(lead) = follower.wait(now, impatient) else { panic!("shunned the lead") };
    assert_eq!(*lead.run_work(|_| Ok(2)).result.unwrap(), 2);
    assert_eq!(heard.events(), ["joined", "led", "ended", "elected", "led", "ended"]);
    assert_eq!((flights.stats().elected, flights.stats().impatient), (1, 0));
}

#[test]
fn a_caller_that_takes_a_vacant_lead_was_no_follower() {
    let (flights, heard) = observed(OnDeadlock::Refuse);
    let first = lead_elsewhere(&flights, &1);
    let mut follower = follow(&flights, WaitMode::Now, &1);
    assert!(follower.start_waiting(&mut || None).is_ok());
    drop(first.end(Err(1)));
    let newcomer = lead(&flights, &1).run_work(|_| Ok(3));
    assert_eq!((*newcomer.result.unwrap(), newcomer.role), (3, Role::Leader { followers: 1 }));
    let Waited::Over(outcome) = follower.wait(sync::now(), patient()) else { panic!("the flight has ended") };
    assert_eq!(*outcome.result.unwrap(), 3);
    assert_eq!(heard.events(), ["joined", "led", "ended", "led", "ended", "left result"]);
    assert_eq!((flights.stats().elected, flights.stats().coalesced_calls), (0, 1));
}

/// ```text
/// single    leads 1 --------------------------- fails: the lead is vacant
/// hurried           joins ............................................... its deadline has passed: leaves
/// batch                    is deferred in 1 ....................................................... has the failure
/// ```
#[test]
fn a_deferred_follower_has_the_failure_when_the_last_who_could_lead_leaves() {
    let flights: Numbers = Flights::new(1, settings());
    let single = lead_elsewhere(&flights, &1);
    let hurried = follow(&flights, WaitMode::Now, &1);
    let mut batch = follow(&flights, WaitMode::AfterBatch, &1);
    drop(single.end(Err(7)));
    assert_eq!((flights.infos()[0].leader, flights.stats().following), (None, 2));
    let Waited::Over(outcome) = hurried.wait(sync::now(), too_late()) else { panic!("led too late") };
    assert!(matches!(outcome.result, Err(CallError::TimedOut)));
    assert_eq!((flights.stats().following, flights.in_flight()), (0, 0));
    assert!(batch.start_waiting(&mut || None).is_ok());
    let Waited::Over(outcome) = batch.wait(sync::now(), patient()) else { panic!("nobody is elected") };
    assert!(matches!(outcome.result, Err(CallError::Failed(error)) if *error == 7));
    assert_eq!((flights.stats().failed, flights.stats().elected, flights.stats().timed_out), (1, 0, 1));
}

/// Asks for a key whose `Drop` panics.
#[derive(PartialEq, Eq, Hash)]
struct Number(u8);

struct Armed(Number);

impl Borrow<Number> for Armed {
    fn borrow(&self) -> &Number {
        &self.0
    }
}

impl ToOwned for Number {
    type Owned = Armed;

    fn to_owned(&self) -> Armed {
        Armed(Self(self.0))
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        resume_unwind(Box::new("a key"));
    }
}

/// ```text
/// leader                          follower
///                                 joins; its deadline passes
/// fails: the lead is vacant
///                                 leaves as the last one, and takes the flight and its key away
/// ```
#[test]
fn a_key_that_the_last_follower_takes_away_costs_no_place_under_the_bound() {
    let settings: Settings<Armed, u64, u64> = Settings {
        on_error: Policy::Always(OnFailure::Elect { times: 9 }),
        max_followers_total: Some(1),
        ..Settings::new()
    };
    let flights = Flights::new(1, settings);
    for _ in 0..2 {
        let first = lead_elsewhere(&flights, &Number(1));
        // Without a place it would be refused.
        let follower = follow(&flights, WaitMode::Now, &Number(1));
        drop(first.end(Err(1)));
        let Waited::Over(outcome) = follower.wait(sync::now(), too_late()) else { panic!("led too late") };
        assert!(matches!(outcome.result, Err(CallError::TimedOut)));
        assert_eq!((flights.in_flight(), flights.stats().following), (0, 0));
    }
}

/// Takes every lock of its flights when it goes: under one of them, that would never return.
struct Nosy(u8, Weak<Asked>);

type Asked = Flights<Nosy, Nosy, Nosy>;

impl PartialEq for Nosy {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Nosy {}

impl Clone for Nosy {
    fn clone(&self) -> Self {
        Self(self.0, Weak::clone(&self.1))
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        if let Some(flights) = self.1.upgrade() {
            let _ = flights.stats();
        }
    }
}

impl Nosy {
    fn new(number: u8, flights: &Arc<Asked>) -> Self {
        Self(number, Arc::downgrade(flights))
    }
}

/// The follower is elected, or leaves as the last one; or another caller takes the lead, or the flight away.
#[test]
fn no_lock_is_held_while_the_last_leaders_error_goes() {
    let round = |limits: WaitLimits, meanwhile: &dyn Fn(&Arc<Asked>)| {
        let on_error = Policy::Always(OnFailure::Elect { times: 1 });
        let flights = Arc::new(Flights::new(1, Settings { on_error, ..Settings::new() }));
        let key = Nosy::new(1, &flights);
        let first = lead_elsewhere(&*flights, &key);
        let follower = follow(&*flights, WaitMode::Now, &key);
        drop(first.end(Err(Nosy::new(2, &flights))));
        // From here on nobody but the flight has the error.
        meanwhile(&flights);
        match follower.wait(sync::now(), limits) {
            Waited::Lead(lead) => drop(lead.run_work(|_| Err(Nosy::new(3, &flights)))),
            Waited::Over(outcome) => drop(outcome),
            Waited::Bypass(_) => panic!("it had all the patience in the world"),
        }
        let stats = flights.stats();
        assert_eq!((stats.in_flight, stats.following, stats.running), (0, 0, 0));
        (stats.elected, stats.timed_out, stats.cancelled)
    };
    let rounds = move || {
        assert_eq!(round(patient(), &|_| {}), (1, 0, 0));
        assert_eq!(round(too_late(), &|_| {}), (0, 1, 0));
        let takes_the_lead = |flights: &Arc<Asked>| {
            let value = Nosy::new(4, flights);
            drop(lead(&**flights, &Nosy::new(1, flights)).run_work(|_| Ok(value)));
        };
        assert_eq!(round(patient(), &takes_the_lead), (0, 0, 0));
        assert_eq!(round(patient(), &|flights| assert!(flights.cancel(HASH, &Nosy::new(1, flights)))), (0, 0, 1));
        let forgets = |flights: &Arc<Asked>| assert!(flights.forget(HASH, &Nosy::new(1, flights)));
        assert_eq!(round(too_late(), &forgets), (0, 1, 0));
    };
    let (ended, end) = mpsc::channel();
    sync::spawn("rounds".into(), move || {
        rounds();
        ended.send(()).unwrap();
    })
    .unwrap();
    end.recv_timeout(Duration::from_secs(60)).expect("it hangs, or has failed");
}
