//! Pacers in a stack: several of them, weights by key and value, and leaders that do not begin.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sync_coalesce::stack::pace::{AcquireError, Adaptive, Limit, Pacer};
use sync_coalesce::stack::{ManualClock, Stack, StackError};
use sync_coalesce::{CallError, SyncCoalesce};

use super::{MS, SECOND, pacer, waiting_and_running};
use crate::support::thread;
use crate::support::{assert_idle, bounded, crowd, join, until};

type Paced = Stack<u32, u32, u16>;

fn available(pacer: &Pacer) -> Vec<i64> {
    pacer.limits().iter().map(|limit| limit.available).collect()
}

#[test]
fn every_pacer_of_a_stack_counts() {
    bounded(|| {
        let hands = ManualClock::new();
        let [fast, slow] = [5, 2].map(|burst| pacer(&hands, |builder| builder.per_second(1.0).burst(burst)));
        for pacers in [[&fast, &slow], [&slow, &fast]] {
            hands.advance(10 * SECOND);
            let building = pacers.into_iter().fold(Stack::builder(), |stack, pacer| stack.pace(pacer.clone()));
            let stack: Paced = building.pace_timeout(Duration::ZERO).build();
            let through = (0..10).take_while(|key| stack.call(key, || 7).is_ok()).count();
            assert_eq!(through, 2);
            // What the refused call was charged in one pacer, because it got no permit from the other, is given back.
            assert_eq!((available(&fast), available(&slow)), (vec![3], vec![0]));
            assert_eq!(stack.stats().refused_by_pace, 1);
            assert_idle(stack.coalescer());
        }
    });
}

#[test]
fn the_status_of_several_pacers_is_that_of_all_together() {
    let [one, other] = [3.0, 2.0].map(|rate| Pacer::builder().per_second(rate).build().unwrap());
    let stack: Paced = Stack::builder().pace(one.clone()).pace(other).build();
    let _held = one.acquire();
    let status = stack.stats().pace.unwrap();
    assert_eq!((status.rate, status.waiting, status.waiting_urgent, status.running), (Some(2.0), 0, 0, 1));
}

/// If it counted twice, the leader would wait for its own permit.
#[test]
fn a_pacer_that_is_given_twice_counts_once() {
    bounded(|| {
        let pacer = Pacer::builder().concurrency(1).build().unwrap();
        let stack: Paced = Stack::builder().pace(pacer.clone()).pace(pacer.clone()).build();
        assert_eq!(*stack.call(&1, || pacer.status().running).unwrap(), 1);
    });
}

#[test]
fn stacks_that_are_given_two_pacers_the_other_way_round_do_not_wait_for_each_other() {
    bounded(|| {
        let pacers = [(); 2].map(|()| Pacer::builder().concurrency(1).build().unwrap());
        let stack = |first: usize| -> Paced {
            Stack::builder().pace(pacers[first].clone()).pace(pacers[1 - first].clone()).build()
        };
        let stacks = [stack(0), stack(1)];
        thread::scope(|scope| {
            join(crowd(scope, 4, |number| {
                for key in 0..200 {
                    assert!(stacks[number % 2].call(&key, || 1).is_ok());
                }
            }));
        });
        assert!(pacers.iter().all(|pacer| waiting_and_running(pacer) == (0, 0)));
    });
}

#[test]
fn the_pace_timeout_is_one_for_all_pacers() {
    bounded(|| {
        let hands = ManualClock::new();
        let pacers = [1.0, 0.5].map(|rate| pacer(&hands, |builder| builder.per_second(rate)));
        for pacer in &pacers {
            drop(pacer.acquire());
        }
        let [first, second] = pacers;
        let stack: Paced = Stack::builder().pace(first.clone()).pace(second).pace_timeout(1500 * MS).build();
        thread::scope(|scope| {
            let leader = scope.spawn(|| stack.call(&1, || unreachable!()));
            until("the first wait", || hands.until_next() == Some(SECOND));
            hands.advance(SECOND);
            until("the second wait", || hands.until_next() == Some(500 * MS));
            hands.advance(500 * MS);
            let refused = leader.join().unwrap().unwrap_err();
            assert!(matches!(refused, StackError::Pace(AcquireError::Unavailable)));
        });
        assert_eq!(available(&first), [1], "its permit was given back");
    });
}

/// ```text
/// leader   has a permit of one pacer, waits for the other
/// test                                                     ends its flight
/// ```
#[test]
fn a_leader_that_is_ended_on_its_way_is_charged_nothing() {
    bounded(|| {
        let ends: [fn(&Paced); 2] = [|stack| assert!(stack.coalescer().cancel(&1)), |stack| stack.coalescer().close()];
        for end in ends {
            let hands = ManualClock::new();
            let [one, other] = [(); 2].map(|()| pacer(&hands, |builder| builder.per_second(0.1)));
            drop(other.acquire());
            let stack: Paced = Stack::builder().pace(one.clone()).pace(other.clone()).build();
            thread::scope(|scope| {
                let leader = scope.spawn(|| stack.call(&1, || unreachable!()));
                until("it to wait", || other.status().waiting == 1 && hands.sleeping() == 1);
                assert_eq!(available(&one), [0]);
                end(&stack);
                let ended = leader.join().unwrap().unwrap_err();
                assert!(matches!(ended, StackError::Call(CallError::Cancelled | CallError::Closed)));
            });
            assert_eq!(
                (available(&one), waiting_and_running(&one), waiting_and_running(&other)),
                (vec![1], (0, 0), (0, 0))
            );
            assert_eq!(stack.stats().attempts, 0);
            assert_idle(stack.coalescer());
        }
    });
}

#[test]
fn an_attempt_weighs_what_its_key_says_and_is_settled_by_its_value() {
    let hands = ManualClock::new();
    let tokens = Limit::per_second(1.0).burst(1000);
    let with_tokens = pacer(&hands, |builder| builder.per_second(1.0).burst(9).limit("tokens", tokens));
    // One that does not count tokens counts calls.
    let calls = pacer(&hands, |builder| builder.per_second(1.0).burst(9));
    let seen = with_tokens.clone();
    let stack: Paced = Stack::builder()
        .pace(with_tokens.clone())
        .pace(calls.clone())
        .pace_weight("tokens", |_| unreachable!("the last one counts"))
        .pace_weight("tokens", |key: &u32| if *key == 0 { panic!("in a weight") } else { u64::from(*key) })
        .pace_used("tokens", |value: &u32| if *value == 0 { panic!("in what was used") } else { u64::from(*value) })
        .build();
    let value = stack.call(&100, || {
        assert_eq!(available(&seen), [8, 900]);
        40
    });
    assert_eq!(*value.unwrap(), 40);
    assert_eq!((available(&with_tokens), available(&calls)), (vec![8, 960], vec![8]));

    // A failed attempt keeps its weight, and so does one for whose value the closure panics.
    assert!(stack.try_call(&60, || Err(500)).is_err());
    assert_eq!(available(&with_tokens), [7, 900]);
    assert_eq!(*stack.call(&100, || 0).unwrap(), 0);
    assert_eq!(available(&with_tokens), [6, 800]);
    assert_eq!(*stack.call(&0, || 900).unwrap(), 900);
    assert_eq!((available(&with_tokens), available(&calls)), (vec![5, -100], vec![5]));
}

#[test]
fn a_unit_that_no_pacer_counts_is_an_error_before_any_attempt() {
    let pacer = Pacer::builder().per_second(1.0).build().unwrap();
    let weighs: Paced = Stack::builder().pace(pacer.clone()).pace_weight("tokens", |_| 1).build();
    let settles: Paced = Stack::builder().pace(pacer.clone()).pace_used("tokens", |_| 1).build();
    for stack in [weighs, settles] {
        let refused = stack.call(&1, || unreachable!()).unwrap_err();
        assert!(matches!(&refused, StackError::Pace(AcquireError::UnknownUnit { unit }) if unit == "tokens"));
        assert_eq!(refused.to_string(), "the call was refused: no limit of the pacer counts `tokens`");
        assert_eq!(stack.stats().refused_by_pace, 1);
    }
    assert_eq!(available(&pacer), [1]);
}

#[test]
fn flights_that_are_refused_together_cut_the_rate_once() {
    bounded(|| {
        let pacer = Pacer::builder().per_second(50.0).burst(20).adaptive(Adaptive::default());
        let pacer = pacer.clock(ManualClock::new()).build().unwrap();
        let other = Pacer::builder().per_second(100.0).burst(20).adaptive(Adaptive::default()).build().unwrap();
        let stack: Paced = Stack::builder()
            .pace(pacer.clone())
            .pace(other.clone())
            .on_error_throttle(|pacer, status| {
                if *status == 429 {
                    pacer.throttled(None);
                }
            })
            .build();
        let out = AtomicU32::new(0);
        let refused = || {
            out.fetch_add(1, Ordering::SeqCst);
            until("all of them", || out.load(Ordering::SeqCst) == 20);
            Err(429)
        };
        thread::scope(|scope| {
            join(crowd(scope, 20, |key| assert!(stack.try_call(&(u32::try_from(key).unwrap()), refused).is_err())));
        });
        assert_eq!((pacer.status().rate, other.status().rate), (Some(35.0), Some(70.0)));
        assert_eq!(waiting_and_running(&pacer), (0, 0));
    });
}

#[test]
fn an_urgent_call_goes_first() {
    bounded(|| {
        let pacer = Pacer::builder().concurrency(1).build().unwrap();
        let stack: Paced = Stack::builder().pace(pacer.clone()).build();
        let turn = AtomicU32::new(0);
        let held = pacer.acquire();
        thread::scope(|scope| {
            let call = |key: u32, is_urgent| {
                let (stack, turn) = (&stack, &turn);
                scope.spawn(move || {
                    let call = stack.on(&key).urgent(is_urgent);
                    *call.call(|_| turn.fetch_add(1, Ordering::SeqCst)).result.unwrap()
                })
            };
            let ordinary = call(1, false);
            until("the ordinary call", || pacer.status().waiting == 1);
            let urgent = call(2, true);
            until("the urgent call", || pacer.status().waiting_urgent == 1);
            drop(held);
            assert_eq!((urgent.join().unwrap(), ordinary.join().unwrap()), (0, 1));
        });
        assert_idle(stack.coalescer());
    });
}

/// A coalescer whose pool has one thread.
fn on_one_thread() -> sync_coalesce::Builder<u32, Arc<u32>, StackError<u16>> {
    SyncCoalesce::builder().pool_threads(1)
}

#[test]
fn a_pool_thread_that_waits_in_the_line_lets_another_flight_run() {
    bounded(|| {
        let pacer = Pacer::builder().concurrency(1).build().unwrap();
        let stack: Paced = Stack::builder().coalesce(on_one_thread()).pace(pacer.clone()).build();
        let held = pacer.acquire();
        let waits = stack.on(&1).detach(|_| Ok(1));
        until("it to wait", || pacer.status().waiting == 1);
        // It goes to the same pool, and past the pacer.
        let other = stack.coalescer().detach(&2, |_| Ok(Arc::new(2)));
        assert!(matches!(other.wait(), Ok(value) if **value == 2));
        drop(held);
        assert_eq!(*waits.wait().unwrap(), 1);
        assert_idle(stack.coalescer());
    });
}

#[cfg(feature = "retry")]
#[test]
fn a_pool_thread_in_a_pause_between_attempts_lets_another_flight_run() {
    use sync_coalesce::stack::retry::{Jitter, Retry};

    bounded(|| {
        let hands = ManualClock::new();
        let retry = Retry::builder(|_: &u16| true).base_delay(SECOND).jitter(Jitter::None).clock(&hands).build();
        let stack: Paced = Stack::builder().coalesce(on_one_thread()).retry(retry).build();
        let mut attempts = [Err(503), Ok(1)].into_iter();
        let pauses = stack.on(&1).detach(move |_| attempts.next().unwrap());
        until("the pause", || hands.sleeping() == 1);
        assert_eq!(*stack.on(&2).detach(|_| Ok(2)).wait().unwrap(), 2);
        hands.advance(SECOND);
        assert_eq!(*pauses.wait().unwrap(), 1);
        assert_idle(stack.coalescer());
    });
}
