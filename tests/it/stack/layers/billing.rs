//! What was billed is counted, whatever became of the call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use sync_coalesce::stack::budget::{Budget, Spend};
use sync_coalesce::stack::retry::{Jitter, Retry};
use sync_coalesce::stack::{Stack, StackBuilder};
use sync_coalesce::{OnFailure, SyncCoalesce};

use crate::support::thread;
use crate::support::{Gate, LIMIT, assert_idle, bounded, until, until_following};

type Billed = Stack<u32, u64, u64>;

fn budget() -> Budget {
    Budget::builder().tokens(10_000).build().unwrap()
}

/// A value and an error cost what they say, and an attempt that panics 50.
fn builder(budget: &Budget) -> StackBuilder<u32, u64, u64> {
    Stack::builder()
        .budget(budget.clone(), Spend::from_tokens(1_000), |tokens| Spend::from_tokens(*tokens))
        .cost_of_error(|tokens| Spend::from_tokens(*tokens))
        .cost_of_panic(Spend::from_tokens(50))
        .retry(Retry::builder(|_| true).attempts(3).sleep_with(|_| ()).build())
}

#[track_caller]
fn assert_billed(stack: &Billed, expected: u64) {
    let status = stack.stats().budget.unwrap();
    assert_eq!((status.total.tokens(), status.reserved), (expected, Spend::default()));
    assert_idle(stack.coalescer());
}

#[test]
fn attempts_that_failed_and_were_billed_are_counted() {
    let budget = Budget::builder().tokens(10_000).build().unwrap();
    let builder: StackBuilder<u32, u64, u64> = Stack::builder()
        .budget(budget.clone(), Spend::from_tokens(1_000), |tokens| Spend::from_tokens(*tokens))
        .cost_of_error(|tokens| match *tokens {
            0 => panic!("in the cost of an error"),
            tokens => Spend::from_tokens(tokens),
        });
    let stack = builder.retry(Retry::builder(|_| true).attempts(3).sleep_with(|_| ()).build()).build();
    let total = |expected| {
        let status = budget.status();
        assert_eq!((status.total.tokens(), status.reserved), (expected, Spend::default()));
    };
    let mut attempts = [Err(400), Err(300), Ok(110)].into_iter();
    assert_eq!(*stack.try_call(&1, || attempts.next().unwrap()).unwrap(), 110);
    total(400 + 300 + 110);
    assert!(stack.try_call(&1, || Err(500)).is_err());
    total(810 + 3 * 500);
    // And those before one that panics.
    let mut attempts = [Err(20)].into_iter();
    let panicked = catch_unwind(AssertUnwindSafe(|| stack.try_call(&1, || attempts.next().unwrap())));
    assert!(panicked.is_err());
    total(2_310 + 20);
    // A cost that panics is all that was reserved.
    let mut attempts = [Err(0), Ok(1)].into_iter();
    assert!(stack.try_call(&1, || attempts.next().unwrap()).is_ok());
    total(2_330 + 1_000 + 1);
    assert_idle(stack.coalescer());
}

#[test]
fn an_attempt_that_panics_costs_what_the_builder_says() {
    let stack = builder(&budget()).build();
    let mut attempts = [Err(400)].into_iter();
    let panicked = catch_unwind(AssertUnwindSafe(|| stack.try_call(&1, || attempts.next().unwrap())));
    assert!(panicked.is_err());
    assert_billed(&stack, 450);
    // One that returns does not.
    assert!(stack.try_call(&1, || Ok(5)).is_ok());
    assert_billed(&stack, 455);
}

#[test]
fn a_call_that_runs_alone_is_billed_for_its_failed_attempts_too() {
    let stack = builder(&budget()).build();
    let mut attempts = [Err(400), Ok(110)].into_iter();
    assert!(stack.on(&1).bypass().try_call(|_| attempts.next().unwrap()).result.is_ok());
    assert_billed(&stack, 510);
}

#[test]
fn detached_work_is_billed_for_its_failed_attempts_too() {
    bounded(|| {
        let stack = builder(&budget()).build();
        let mut attempts = [Err(400), Err(300), Err(50)].into_iter();
        let ticket = stack.on(&1).detach(move |_| attempts.next().unwrap());
        assert!(ticket.wait_timeout(LIMIT).is_err());
        assert!(stack.coalescer().drain(LIMIT));
        assert_billed(&stack, 750);
    });
}

#[test]
fn an_end_between_two_attempts_does_not_make_the_first_one_free() {
    let ends: [fn(&Billed); 2] = [|stack| assert!(stack.coalescer().cancel(&1)), |stack| stack.coalescer().close()];
    for end in ends {
        let stack = builder(&budget()).build();
        let ended = stack.on(&1).try_call(|_| {
            end(&stack);
            Err(400)
        });
        assert!(ended.result.is_err());
        assert_billed(&stack, 400);
    }
}

#[test]
fn a_deadline_between_two_attempts_does_not_make_the_first_one_free() {
    bounded(|| {
        let retry =
            Retry::builder(|_| true).attempts(3).base_delay(Duration::from_secs(30)).jitter(Jitter::None).build();
        let stack = builder(&budget()).retry(retry).build();
        let ended = stack.on(&1).timeout(Duration::from_secs(5)).try_call(|_| Err(400));
        assert!(ended.result.is_err());
        assert_billed(&stack, 400);
    });
}

#[test]
fn each_elected_leader_is_billed_for_its_own_attempts() {
    bounded(|| {
        let coalesce = SyncCoalesce::builder().on_error(OnFailure::Elect { times: 1 });
        let stack = builder(&budget()).coalesce(coalesce).build();
        let gate = Arc::new(Gate::new());
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                stack.try_call(&1, || {
                    if stack.stats().attempts == 1 {
                        gate.pass();
                    }
                    Err(100)
                })
            });
            until("the first leader", || stack.stats().attempts == 1);
            let second = scope.spawn(|| stack.try_call(&1, || Ok(7)));
            until_following(stack.coalescer(), 1);
            gate.open();
            assert!(first.join().unwrap().is_err());
            assert_eq!(*second.join().unwrap().unwrap(), 7);
        });
        assert_billed(&stack, 307);
    });
}
