//! A caller's deadline, and the end of its flight, reach a leader that waits in a layer.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use sync_coalesce::stack::ledger::LedgerState;
use sync_coalesce::stack::pace::Pacer;
use sync_coalesce::stack::retry::Retry;
use sync_coalesce::stack::{ManualClock, StackError, Via};
use sync_coalesce::{CallError, OnFailure, Role, SyncCoalesce};

use super::{BUSY, Layers, Whole};
use crate::support::thread;
use crate::support::{LIMIT, assert_idle, bounded, until, until_following};

const SHORT: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(3_600);

/// Its clock stands still, so nothing but an interruption ends a wait in it.
fn pacer_that_lets_nobody_through() -> Pacer {
    let pacer = Pacer::builder().per_second(1.0).clock(ManualClock::new()).build().unwrap();
    drop(pacer.acquire());
    pacer
}

/// It waits an hour after each error.
fn slow_retry() -> Retry<u16> {
    Retry::builder(|status| *status == BUSY).retry_after(|_| Some(LONG)).build()
}

#[track_caller]
fn assert_timed_out<T: Debug>(result: &Result<T, StackError<u16>>) {
    assert!(matches!(result, Err(StackError::Call(CallError::TimedOut))), "{result:?}");
}

#[test]
fn a_leader_does_not_wait_for_the_pacer_past_its_deadline() {
    bounded(|| {
        let layers = Layers { pacer: pacer_that_lets_nobody_through(), ..Layers::new() };
        let stack = layers.all().build();
        assert_timed_out(&stack.on(&1).timeout(SHORT).call(|_| unreachable!()).result);
        assert_timed_out(&stack.on(&1).deadline(Instant::now() + SHORT).call(|_| unreachable!()).result);
        assert_timed_out(&stack.on(&1).bypass().timeout(SHORT).call(|_| unreachable!()).result);
        let stats = stack.stats();
        assert_eq!((stats.attempts, stats.timed_out, stats.interrupted, stats.refused_by_pace), (0, 3, 0, 0));
        assert_eq!((layers.state(1), layers.pacer.status().waiting), (LedgerState::Absent, 0));
        layers.assert_released();
        assert_idle(stack.coalescer());
    });
}

#[test]
fn the_builders_timeout_binds_a_leader_too() {
    bounded(|| {
        let coalesce = SyncCoalesce::builder().timeout(SHORT);
        let layers = Layers { pacer: pacer_that_lets_nobody_through(), ..Layers::new() };
        let stack: Whole = layers.all().coalesce(coalesce).build();
        assert_timed_out(&stack.call(&1, || unreachable!()));
        assert_idle(stack.coalescer());
    });
}

#[test]
fn a_pause_that_would_end_after_the_deadline_does_not_begin() {
    bounded(|| {
        let stack: Whole = Layers::new().all().retry(slow_retry()).build();
        let began = Instant::now();
        assert_timed_out(&stack.on(&1).timeout(LIMIT).try_call(|_| Err(BUSY)).result);
        assert!(began.elapsed() < LIMIT);
        assert_eq!((stack.stats().attempts, stack.stats().timed_out), (1, 1));
        assert_idle(stack.coalescer());
    });
}

/// A retry may follow a clock of its own.
#[test]
fn a_pause_ends_at_the_deadline_whatever_clock_it_follows() {
    bounded(|| {
        let retry = Retry::builder(|_| true).retry_after(|_| Some(LONG)).clock(ManualClock::new()).build();
        let stack: Whole = Layers::new().all().retry(retry).build();
        assert_timed_out(&stack.on(&1).timeout(SHORT).try_call(|_| Err(BUSY)).result);
        assert_eq!((stack.stats().attempts, stack.stats().timed_out), (1, 1));
    });
}

#[test]
fn nothing_begins_after_the_deadline() {
    let layers = Layers::new();
    let stack = layers.all().build();
    assert_timed_out(&stack.on(&1).timeout(Duration::ZERO).call(|_| unreachable!()).result);
    // Between two attempts that need not wait either.
    let mut attempts = 0;
    let outcome = stack.on(&1).timeout(SHORT).try_call(|_| {
        attempts += 1;
        thread::sleep(2 * SHORT);
        Err(BUSY)
    });
    assert_timed_out(&outcome.result);
    assert_eq!((attempts, stack.stats().timed_out), (1, 2));
    // A value that is there beats a deadline that has passed.
    layers.cache.insert(1, "kept".to_owned());
    let outcome = stack.on(&1).timeout(Duration::ZERO).call(|_| unreachable!());
    assert_eq!((outcome.result.unwrap().as_str(), outcome.via), ("kept", Via::Cache));
    layers.assert_released();
    assert_idle(stack.coalescer());
}

/// ```text
/// leader, in a hurry            follower, with time
/// waits for the pacer
///                               follows
/// its deadline passes
///                               leads, with its own work and deadline
/// ```
#[test]
fn a_leader_that_runs_out_of_time_leaves_the_lead_to_a_follower() {
    bounded(|| {
        // An error that lingers would be everybody's.
        let coalesce = SyncCoalesce::builder().linger_errors(LIMIT).on_error(OnFailure::Share);
        let clock = ManualClock::new();
        let pacer = Pacer::builder().per_second(1.0).clock(&clock).build().unwrap();
        drop(pacer.acquire());
        let layers = Layers { pacer, ..Layers::new() };
        let stack: Whole = layers.all().coalesce(coalesce).build();
        thread::scope(|scope| {
            let hurried = scope.spawn(|| stack.on(&1).timeout(20 * SHORT).call(|_| unreachable!()));
            until("the leader", || layers.pacer.status().waiting == 1);
            let patient = scope.spawn(|| stack.on(&1).call(|_| "four".to_owned()));
            until_following(stack.coalescer(), 1);
            assert_timed_out(&hurried.join().unwrap().result);
            until("the other leader", || layers.pacer.status().waiting == 1);
            clock.advance(Duration::from_secs(1));
            let outcome = patient.join().unwrap();
            assert_eq!(*outcome.result.unwrap(), "four");
            assert_eq!(outcome.via, Via::Flight(Role::Leader { followers: 0 }));
        });
        assert_timed_out(&stack.on(&2).timeout(Duration::ZERO).call(|_| unreachable!()).result);
        clock.advance(Duration::from_secs(1));
        assert_eq!(*stack.call(&2, || "two".to_owned()).unwrap(), "two", "it does not linger");
        layers.assert_released();
        assert_idle(stack.coalescer());
    });
}

/// How a flight is ended from outside, and what its leader gets.
type End = (fn(&Whole), fn(&StackError<u16>) -> bool);

const ENDS: [End; 2] = [
    (|stack| assert!(stack.coalescer().cancel(&1)), |error| matches!(error, StackError::Call(CallError::Cancelled))),
    (|stack| stack.coalescer().close(), |error| matches!(error, StackError::Call(CallError::Closed))),
];

#[test]
fn the_end_reaches_a_leader_in_the_pacers_line() {
    bounded(|| {
        for (end, is_right) in ENDS {
            let clock = ManualClock::new();
            let pacer = Pacer::builder().per_second(1.0).clock(&clock).build().unwrap();
            drop(pacer.acquire());
            let layers = Layers { pacer, ..Layers::new() };
            let stack = layers.all().build();
            thread::scope(|scope| {
                let leader = scope.spawn(|| stack.call(&1, || unreachable!()));
                until("the leader", || layers.pacer.status().waiting == 1 && clock.sleeping() == 1);
                let pacer = layers.pacer.clone();
                let behind = scope.spawn(move || drop(pacer.acquire()));
                until("the one behind it", || layers.pacer.status().waiting == 2);
                end(&stack);
                assert!(is_right(&leader.join().unwrap().unwrap_err()));
                assert!(stack.coalescer().drain(LIMIT));
                // Who stood behind it is first now, and waits for the time.
                until("the one behind it", || clock.sleeping() == 1);
                assert_eq!(layers.pacer.status().waiting, 1);
                clock.advance(Duration::from_secs(1));
                behind.join().unwrap();
            });
            assert_eq!((stack.stats().attempts, stack.stats().interrupted), (0, 1));
            assert_eq!(layers.state(1), LedgerState::Absent);
            layers.assert_released();
            assert_idle(stack.coalescer());
        }
    });
}

#[test]
fn the_end_reaches_a_leader_between_two_attempts() {
    bounded(|| {
        for (end, is_right) in ENDS {
            let layers = Layers::new();
            let stack = layers.all().retry(slow_retry()).build();
            thread::scope(|scope| {
                let leader = scope.spawn(|| stack.try_call(&1, || Err(BUSY)));
                until("the pause", || stack.stats().attempts == 1 && layers.pacer.status().running == 0);
                end(&stack);
                assert!(is_right(&leader.join().unwrap().unwrap_err()));
                assert!(stack.coalescer().drain(LIMIT));
            });
            assert_eq!((stack.stats().attempts, stack.stats().interrupted), (1, 1));
            layers.assert_released();
            assert_idle(stack.coalescer());
        }
    });
}

#[test]
fn no_attempt_begins_after_the_end() {
    for (end, is_right) in ENDS {
        let layers = Layers::new();
        let stack = layers.all().build();
        let mut attempts = 0;
        let ended = stack.on(&1).try_call(|_| {
            attempts += 1;
            end(&stack);
            Err(BUSY)
        });
        assert!(is_right(&ended.result.unwrap_err()));
        assert_eq!(attempts, 1);
        layers.assert_released();
        assert_idle(stack.coalescer());
    }
}

/// It is in no flight, but the coalescer's close is meant for it too.
#[test]
fn close_reaches_a_call_that_runs_alone() {
    bounded(|| {
        let layers = Layers { pacer: pacer_that_lets_nobody_through(), ..Layers::new() };
        let stack = layers.all().build();
        thread::scope(|scope| {
            let alone = scope.spawn(|| stack.on(&1).bypass().call(|_| unreachable!()).result);
            until("the call", || layers.pacer.status().waiting == 1);
            stack.coalescer().close();
            assert!(matches!(alone.join().unwrap(), Err(StackError::Call(CallError::Closed))));
        });
        assert_idle(stack.coalescer());
    });
}

#[test]
fn the_last_ticket_that_goes_ends_the_wait_in_a_layer() {
    bounded(|| {
        let cancels = SyncCoalesce::builder().cancel_when_abandoned(true);
        let layers = Layers { pacer: pacer_that_lets_nobody_through(), ..Layers::new() };
        let stack: Whole = layers.all().coalesce(cancels).build();
        let ticket = stack.on(&1).detach(|_| unreachable!());
        until("the leader", || layers.pacer.status().waiting == 1);
        drop(ticket);
        assert!(stack.coalescer().drain(LIMIT));
        assert_eq!((stack.stats().attempts, stack.stats().interrupted), (0, 1));
        layers.assert_released();
        assert_idle(stack.coalescer());
    });
}

/// Those who are in it still want the result.
#[test]
fn a_flight_that_was_forgotten_goes_on_for_those_who_are_in_it() {
    bounded(|| {
        let clock = ManualClock::new();
        let pacer = Pacer::builder().per_second(1.0).clock(&clock).build().unwrap();
        drop(pacer.acquire());
        let layers = Layers { pacer, ..Layers::new() };
        let stack = layers.all().build();
        thread::scope(|scope| {
            let leader = scope.spawn(|| stack.call(&1, || "four".to_owned()));
            until("the leader", || clock.sleeping() == 1);
            assert!(stack.invalidate(&1));
            clock.advance(Duration::from_secs(1));
            assert_eq!(*leader.join().unwrap().unwrap(), "four");
        });
        assert_eq!(layers.cache.get(&1), None);
        assert_idle(stack.coalescer());
    });
}
