//! Streams whose spend is counted however they end.

use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use sync_coalesce::stack::budget::{Budget, BudgetExceeded, Spend};
use sync_coalesce::stream::{Stream, StreamCoalesce, StreamError};

use super::{of_tokens, tokens};
use crate::support::{Gate, bounded, until};

type Item = Result<u64, BudgetExceeded>;
type Streams = StreamCoalesce<u32, u64, BudgetExceeded>;

const PROMPT: Spend = Spend::from_tokens(7);

/// Chunks cost what they say; the prompt costs 7, and 500 are reserved.
fn metered<I>(budget: &Budget, source: I) -> Result<impl Iterator<Item = Item> + Send + use<I>, BudgetExceeded>
where
    I: IntoIterator<Item = Item>,
    I::IntoIter: Send,
{
    let reservation = budget.reserve(tokens(500))?;
    Ok(reservation.meter(source, PROMPT, |so_far, chunk| match chunk {
        Ok(0) => panic!("in the count"),
        Ok(cost) => so_far.saturating_add(tokens(*cost)),
        Err(_) => so_far.saturating_add(tokens(100)),
    }))
}

#[track_caller]
fn assert_settled(budget: &Budget, used: u64) {
    let status = budget.status();
    assert_eq!((status.used, status.reserved), (tokens(used), Spend::default()));
}

fn stream(streams: &Streams, budget: &Budget, chunks: Vec<Item>) -> Stream<u64, BudgetExceeded> {
    streams.stream(&1, || metered(budget, chunks)).unwrap()
}

#[test]
fn a_stream_that_is_read_to_its_end_is_counted_at_its_end() {
    let (budget, streams) = (of_tokens(1_000), Streams::new());
    let mut reader = stream(&streams, &budget, vec![Ok(1), Ok(2)]);
    assert_eq!(reader.by_ref().count(), 2);
    assert_settled(&budget, 10);
    drop(reader);
    assert_settled(&budget, 10);
}

#[test]
fn a_stream_that_is_left_is_counted_up_to_there() {
    let (budget, streams) = (of_tokens(1_000), Streams::new());
    let mut reader = stream(&streams, &budget, vec![Ok(1), Ok(2), Ok(3)]);
    assert_eq!(budget.status().reserved, tokens(500));
    assert!(reader.next().unwrap().is_ok());
    drop(reader);
    assert_settled(&budget, 8);
    // Even before its first chunk.
    drop(stream(&streams, &budget, vec![Ok(1)]));
    assert_settled(&budget, 15);
}

#[test]
fn only_the_last_reader_that_leaves_ends_it() {
    let (budget, streams) = (of_tokens(1_000), Streams::new());
    let [mut first, second] = [(); 2].map(|()| stream(&streams, &budget, vec![Ok(1), Ok(2)]));
    assert!(first.next().unwrap().is_ok());
    drop(first);
    assert_eq!(budget.status().reserved, tokens(500));
    drop(second);
    assert_settled(&budget, 8);
}

#[test]
fn a_stream_that_fails_or_is_cancelled_is_counted() {
    let (budget, streams) = (of_tokens(1_000), Streams::new());
    let refused = budget.reserve(tokens(2_000)).unwrap_err();
    assert_eq!(stream(&streams, &budget, vec![Ok(1), Err(refused), Ok(5)]).count(), 2);
    assert_settled(&budget, 108);
    let reader = stream(&streams, &budget, vec![Ok(1), Ok(5)]);
    assert!(streams.cancel(&1));
    assert!(matches!(reader.last().unwrap(), Err(StreamError::Cancelled)));
    assert_settled(&budget, 115);
}

#[test]
fn a_stream_that_panics_is_counted() {
    let (budget, streams) = (of_tokens(1_000), Streams::new());
    let mut given = 0;
    let source = iter::from_fn(move || {
        given += 1;
        assert!(given < 3, "in the source");
        Some(Ok(given))
    });
    let reader = streams.stream(&1, || metered(&budget, source)).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| reader.count())).is_err());
    assert_settled(&budget, 10);
    // And without a coalescer.
    let mut source = metered(&budget, iter::from_fn(|| panic!("in the source"))).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| source.next())).is_err());
    drop(source);
    assert_settled(&budget, 17);
}

/// An iterator that cannot be made.
struct Unmade;

impl IntoIterator for Unmade {
    type Item = Item;
    type IntoIter = std::vec::IntoIter<Item>;

    fn into_iter(self) -> Self::IntoIter {
        panic!("in into_iter")
    }
}

#[test]
fn a_source_that_cannot_be_made_is_counted_as_opened() {
    let budget = of_tokens(1_000);
    assert!(catch_unwind(AssertUnwindSafe(|| metered(&budget, Unmade).map(drop))).is_err());
    assert_settled(&budget, 7);
}

#[test]
fn a_count_that_panics_is_all_that_was_reserved() {
    let (budget, streams) = (of_tokens(1_000), Streams::new());
    let reader = stream(&streams, &budget, vec![Ok(1), Ok(0), Ok(2)]);
    assert_eq!(reader.map(|chunk| *chunk.unwrap()).collect::<Vec<_>>(), [1, 0, 2]);
    assert_settled(&budget, 500);
    // What was counted before stays, if it is more.
    let reader = stream(&streams, &budget, vec![Ok(600), Ok(0)]);
    assert_eq!(reader.count(), 2);
    assert_settled(&budget, 500 + 607);
}

#[test]
fn what_the_provider_says_at_the_end_replaces_the_estimate() {
    let budget = of_tokens(1_000);
    let reservation = budget.reserve(tokens(500)).unwrap();
    let source = [("word", None), ("word", None), ("", Some(93))];
    let mut source = reservation.meter(source, PROMPT, |so_far, (text, usage)| {
        usage.map_or(so_far.saturating_add(tokens(text.len() as u64)), tokens)
    });
    assert_eq!(source.size_hint(), (3, Some(3)));
    assert_eq!(source.by_ref().take(2).count(), 2);
    assert_eq!(source.so_far(), tokens(15));
    assert_eq!(source.count(), 1);
    assert_settled(&budget, 93);
}

#[test]
fn a_budget_that_is_used_up_opens_no_stream() {
    let (budget, streams) = (of_tokens(499), Streams::new());
    let opened = streams.stream(&1, || metered(&budget, iter::from_fn(|| unreachable!())));
    assert!(opened.is_err());
    assert_settled(&budget, 0);
}

/// ```text
/// reader     pulls                          leaves
/// source               waits for a chunk             gets it, is dropped
/// ```
#[test]
fn a_stream_that_is_left_while_another_thread_pulls_is_counted_too() {
    bounded(|| {
        let (budget, streams) = (of_tokens(1_000), Streams::new());
        let gate = std::sync::Arc::new(Gate::new());
        let pulls = std::sync::Arc::clone(&gate);
        let source = iter::from_fn(move || {
            pulls.pass();
            Some(Ok(5))
        });
        let mut reader = streams.stream(&1, || metered(&budget, source)).unwrap();
        let not_yet = reader.next_timeout(std::time::Duration::ZERO);
        assert!(matches!(not_yet, Ok(sync_coalesce::stream::Next::NotYet)));
        thread::spawn(move || drop(reader)).join().unwrap();
        gate.open();
        until("the end of the pull", || budget.status().reserved == Spend::default());
        // The chunk came or the source was dropped before it, as the threads happened to run.
        assert!([7, 12].contains(&budget.status().used.tokens()));
    });
}
