//! Every `joined` is followed by one `left` or `elected`, and every `led` by one `ended`, whatever happens.

use std::time::Duration;

use sync_coalesce::{Mark, OnFailure, SyncCoalesce};

use super::{Coalesce, Entry, Event, Log, quietly, trip, words};
use crate::support::Random;
use crate::support::thread;
use crate::support::{assert_idle, bounded, crowd, join};

const THREADS: usize = 16;
const ROUNDS: usize = 400;
const KEYS: usize = 3;

#[test]
fn what_begins_ends_once() {
    bounded(|| {
        let log = Log::default();
        let coalesce: Coalesce = SyncCoalesce::builder()
            .on_error(OnFailure::Elect { times: 2 })
            .on_panic(OnFailure::Elect { times: 1 })
            .max_followers(6)
            .max_impatient(2)
            .observer(log.clone())
            .build();
        thread::scope(|scope| {
            let (coalesce, log) = (&coalesce, &log);
            let unfinished = join(crowd(scope, THREADS, move |thread| {
                let mut random = Random::new(thread);
                for _ in 0..ROUNDS {
                    let mark = coalesce.mark();
                    call(coalesce, &mut random, mark, 0);
                }
                if thread == 0 {
                    coalesce.close();
                }
                check(&log.mine())
            }));
            assert_eq!(unfinished, [0; THREADS]);
        });
        agree(&coalesce, &log);
        assert_idle(&coalesce);
    });
}

/// One call with wishes at random, which may fail, panic, and call again in its closure.
fn call(coalesce: &Coalesce, random: &mut Random, mark: Mark, depth: u32) {
    let key = u8::try_from(random.below(KEYS)).unwrap();
    let request = coalesce.on(&key);
    let request = match random.below(8) {
        0 => request.timeout(Duration::ZERO),
        1 => request.timeout(Duration::from_micros(50)),
        2 => request.patience(Duration::ZERO),
        3 => request.patience(Duration::from_micros(50)),
        4 => request.after(mark),
        5 => request.bypass(),
        _ => request,
    };
    let outcome = quietly(|| {
        request.try_call(|_| {
            (0..random.below(20)).for_each(|_| thread::yield_now());
            match random.below(10) {
                0 | 1 => Err(1),
                2 => trip(),
                3 | 4 if depth < 2 => {
                    call(coalesce, random, mark, depth + 1);
                    Ok(1)
                }
                5 => {
                    coalesce.cancel(&key);
                    Ok(2)
                }
                6 => {
                    coalesce.forget(&key);
                    Ok(3)
                }
                _ => Ok(4),
            }
        })
    });
    drop(outcome);
}

/// Goes through what one thread was told; returns how much of it has not come to its end.
fn check(entries: &[Entry]) -> usize {
    let mut open: Vec<(u64, Event)> = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let begins = || Some((entry.flight, entry.event));
        let (ends, begins) = match entry.event {
            Event::Led | Event::Joined => (None, begins()),
            Event::Ended(_) => (Some(Event::Led), None),
            Event::Left(_) => (Some(Event::Joined), None),
            Event::Elected(_) => {
                let next = entries.get(place + 1).map(|next| (next.flight, next.event));
                assert_eq!(next, Some((entry.flight, Event::Led)), "elected, and does not lead next");
                (Some(Event::Joined), None)
            }
            Event::Refused(_) => (None, None),
        };
        if let Some(event) = ends {
            // Calls inside closures end before those closures do, so what ends is what began last.
            assert_eq!(open.pop(), Some((entry.flight, event)), "{} at the wrong time", words(&entry.event));
        }
        open.extend(begins);
    }
    open.len()
}

/// The observer was told of what was counted.
fn agree(coalesce: &Coalesce, log: &Log) {
    let entries = log.entries();
    let told = |what: &str| entries.iter().filter(|entry| words(&entry.event).starts_with(what)).count() as u64;
    let stats = coalesce.stats();
    assert_eq!(told("led"), stats.underlying_calls);
    assert_eq!(told("joined"), stats.coalesced_calls);
    assert_eq!(told("elected"), stats.elected);
    assert_eq!(told("left timed_out"), stats.timed_out);
    assert_eq!(told("left impatient"), stats.impatient);
    assert_eq!(told("left cancelled") + told("left closed"), stats.cancelled);
    assert_eq!(told("refused deadlock"), stats.deadlocks);
    assert_eq!(told("refused overloaded"), stats.overloaded);
    assert_eq!(told("refused closed"), stats.closed);
    let given: u64 =
        entries.iter().map(|entry| if let Event::Ended(ended) = entry.event { ended.followers } else { 0 }).sum();
    // A lead that is offered and that nobody takes ends no run: if the last follower that could take it leaves, those that are
    // still in their observers get the failure.
    let gave_up = told("left timed_out") + told("left impatient") + told("left deadlock");
    assert!((given..=given + gave_up * THREADS as u64).contains(&told("left result")));
    // Or the test shows nothing.
    for what in [
        "left result",
        "left timed_out",
        "left impatient",
        "left cancelled",
        "elected",
        "refused deadlock",
        "ended panic",
    ] {
        assert!(told(what) > 0, "there was no {what}");
    }
}
