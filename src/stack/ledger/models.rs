//! The real ledger under the model checker: what is done is not in doubt, and only what was judged is removed.

use std::convert::Infallible;

use super::faults::Fault;
use super::{Ledger, LedgerError, LedgerState};
use crate::key::Key;
use crate::sync::{catches, holds, scope};

/// Does it, or finds it done or in progress. Whether it ran.
fn run(ledger: &Ledger, value: u32) -> bool {
    let mut ran = false;
    let work = || {
        ran = true;
        Ok::<_, Infallible>(value)
    };
    match ledger.run_once("a", &Key::from_bytes([7; 32]), work) {
        Ok(recorded) => recorded.committed.expect("the store never fails"),
        Err(error) => assert!(matches!(error, LedgerError::InProgress), "{error}"),
    }
    ran
}

fn state(ledger: &Ledger) -> LedgerState {
    ledger.state("a").expect("the store never fails")
}

/// ```text
/// runner   begins, commits, is no longer running
/// reader   lists what is in doubt
/// ```
fn a_list_during_a_run() {
    let ledger = Ledger::in_memory();
    scope(|threads| {
        threads.spawn(|| assert!(run(&ledger, 1)));
        threads.spawn(|| assert_eq!(ledger.in_doubt().count(), 0, "what is done is in doubt"));
    });
    assert_eq!(state(&ledger), LedgerState::Done);
}

#[test]
fn what_ends_while_it_is_listed_is_not_in_doubt() {
    holds(a_list_during_a_run);
}

#[test]
fn what_ends_while_it_is_listed_and_is_not_read_again_is_caught() {
    catches(Fault::DoubtsWhatIsDone, "what is done is in doubt", a_list_during_a_run);
}

/// ```text
/// remover   removes the record that is there at first
/// runner    forgets it, runs the work again
/// ```
fn a_removal_during_a_run() {
    let ledger = Ledger::in_memory();
    assert!(run(&ledger, 1));
    let old = ledger.records().next().expect("one record").expect("the store never fails");
    scope(|threads| {
        threads.spawn(|| {
            let removed = ledger.remove_if(|record| record.begun_at == old.begun_at);
            assert!(removed.is_ok_and(|removed| removed <= 1));
        });
        threads.spawn(|| {
            let has_forgotten = ledger.forget("a");
            // In progress: the other is removing it.
            assert!(has_forgotten.is_ok() || matches!(has_forgotten, Err(LedgerError::InProgress)));
            if has_forgotten.is_ok() && run(&ledger, 2) {
                assert_eq!(state(&ledger), LedgerState::Done, "the new record was removed");
            }
        });
    });
}

#[test]
fn a_record_that_came_after_the_judgement_is_not_removed() {
    holds(a_removal_during_a_run);
}

#[test]
fn a_record_that_came_after_the_judgement_and_is_removed_is_caught() {
    catches(Fault::RemovesUnjudged, "the new record was removed", a_removal_during_a_run);
}

/// ```text
/// remover   removes what is in doubt, on purpose
/// runner    forgets it, runs the work again
/// ```
fn a_removal_of_what_was_in_doubt() {
    let ledger = Ledger::in_memory();
    let begun = ledger.shared.begin(b"a", &Key::from_bytes([7; 32]));
    assert!(begun.is_ok_and(|present| present.is_none()));
    scope(|threads| {
        threads.spawn(|| {
            let removed = ledger.remove_if(|record| record.state == LedgerState::Unknown);
            assert!(removed.is_ok_and(|removed| removed <= 1));
        });
        threads.spawn(|| {
            if ledger.resolve("a", &1).is_ok_and(|was_unknown| was_unknown) {
                assert_eq!(state(&ledger), LedgerState::Done, "what was resolved was removed");
            }
        });
    });
}

#[test]
fn what_is_resolved_is_not_removed_as_in_doubt() {
    holds(a_removal_of_what_was_in_doubt);
}

#[test]
fn what_is_resolved_and_removed_as_in_doubt_is_caught() {
    catches(Fault::RemovesRunning, "what was resolved was removed", a_removal_of_what_was_in_doubt);
}
