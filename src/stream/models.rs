//! Streams under the model checker, one model per promise, each with the faults that it must catch. Run by
//! `ci/shuttle`.

#![expect(clippy::disallowed_types, reason = "flags for what a model saw, which the model checker need not see")]

use std::iter::from_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::{Next, Stream, StreamCoalesce, StreamError};
use crate::coalesce::SyncCoalesce;
use crate::error::CallError;
use crate::stream::faults::Fault;
use crate::sync::{self, Barrier, Trouble, catches, holds, holds_despite};
use crate::wait::blocking::{Compensate, set_pool};
use crate::wait::faults::Fault as WaitFault;
use crate::wait::graph;
use crate::wait::thread;

type Streams = StreamCoalesce<u64, u64, u64>;
type Item = Option<Result<Arc<u64>, StreamError<u64>>>;

/// Numbers from 0, pulled by one thread at a time.
fn numbers(count: u64) -> impl Iterator<Item = Result<u64, u64>> + Send + 'static {
    let pulled_from = AtomicBool::new(false);
    (0..count).map(move |chunk| {
        assert!(!pulled_from.swap(true, Ordering::Relaxed), "two pull at a time");
        sync::pause();
        pulled_from.store(false, Ordering::Relaxed);
        Ok(chunk)
    })
}

/// Sets a flag as it is dropped.
struct Flagged<I>(I, Arc<AtomicBool>);

impl<I: Iterator> Iterator for Flagged<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.next()
    }
}

impl<I> Drop for Flagged<I> {
    fn drop(&mut self) {
        self.1.store(true, Ordering::Relaxed);
    }
}

/// Runs each in a thread of its own.
fn together<const N: usize>(parts: [&(dyn Fn() + Sync); N]) {
    sync::scope(|scope| {
        let threads = parts.map(|part| {
            scope.spawn(move || {
                part();
                assert!(!thread::leads_something(), "a thread ends as a puller");
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

fn assert_nothing_left(streams: &Streams) {
    assert!(streams.table.is_empty(), "something is left: {:?}", streams.stats());
    assert!(graph::nobody_waits(), "an edge is left");
}

/// ```text
/// first               second              third
/// pulls               looks; sleeps       joins
/// appends, wakes      has the chunk; one of them pulls the next
/// ```
fn hand_over() {
    let streams = Streams::new();
    let reader = || {
        // The end would wake those whom a chunk did not, so nobody reads so far.
        let stream = streams.stream(&1, || Ok(numbers(3))).unwrap();
        assert!(stream.take(2).map(|chunk| *chunk.unwrap()).eq(0..2), "not the exact sequence");
    };
    together([&reader, &reader, &reader]);
    assert_nothing_left(&streams);
}

#[test]
fn each_reader_has_each_chunk_whoever_pulls() {
    holds(hand_over);
}

#[test]
fn a_chunk_that_wakes_nobody_is_caught() {
    catches(Fault::ChunkWakesNobody, "deadlock", hand_over);
}

/// ```text
/// one                             other
/// opens, reads, leaves
/// is the last one?                joins
/// takes the source along, or not  has chunks 0 and 1, of this source or of its own
/// ```
fn leave_against_join() {
    let streams = Streams::new();
    let reader = || {
        let mut stream = streams.stream(&1, || Ok(numbers(2))).unwrap();
        for expected in 0..2 {
            let chunk = stream.next().and_then(Result::ok);
            assert_eq!(chunk.as_deref(), Some(&expected), "cut off though nobody did it");
            sync::pause();
        }
    };
    together([&reader, &reader, &reader]);
    assert_nothing_left(&streams);
}

#[test]
fn who_joins_as_the_last_reader_leaves_is_not_cut_off() {
    holds(leave_against_join);
}

#[test]
fn a_last_reader_that_looks_too_soon_is_caught() {
    catches(Fault::LastReaderLooksFirst, "something is left", leave_against_join);
}

/// ```text
/// puller                          other                   newcomer
/// pulls chunk 1, one past the bound:
/// unlocks, lets nobody join                               joins, and may lag, or opens
/// locks, sheds chunk 0
///                                 has chunk 1, asks again:
///                                 opens, has chunk 0
/// ```
fn join_past_the_bound() {
    let streams = Streams::builder().max_buffered(1).build();
    let both_read = Barrier::new(2);
    let open = || Ok(numbers(2));
    let reader = || {
        let mut stream = streams.stream(&1, open).unwrap();
        both_read.wait();
        for expected in 0..2 {
            match stream.next() {
                Some(Ok(chunk)) => assert_eq!(*chunk, expected),
                Some(Err(StreamError::Lagged { missed: 1 })) => return,
                item => panic!("{item:?}"),
            }
        }
        let again = streams.stream(&1, open).unwrap().next();
        assert!(matches!(&again, Some(Ok(chunk)) if **chunk == 0), "joined what has lost its beginning: {again:?}");
    };
    let newcomer = || match streams.stream(&1, open).unwrap().next() {
        Some(Ok(chunk)) => assert_eq!(*chunk, 0),
        Some(Err(StreamError::Lagged { missed: 1 })) => {}
        item => panic!("{item:?}"),
    };
    together([&reader, &reader, &newcomer]);
    assert_nothing_left(&streams);
}

#[test]
fn who_comes_past_the_bound_has_each_chunk_from_the_first_one() {
    holds(join_past_the_bound);
}

#[test]
fn a_log_that_sheds_before_its_stream_goes_apart_is_caught() {
    catches(Fault::RetiresLate, "lost its beginning", join_past_the_bound);
}

/// ```text
/// puller                          waiting
///                                 looks: no chunk, no end
/// the end: removes, sets, wakes
///                                 sleeps, or sees it
/// ```
fn end_against_waiting() {
    let streams = Streams::new();
    let reader = || {
        let stream = streams.stream(&1, || {
            Ok(from_fn(|| {
                sync::pause();
                None::<Result<u64, u64>>
            }))
        });
        assert!(stream.unwrap().next().is_none(), "a chunk from nowhere");
    };
    together([&reader, &reader]);
    assert_nothing_left(&streams);
}

#[test]
fn who_waits_as_the_end_comes_sees_it() {
    holds(end_against_waiting);
}

#[test]
fn a_reader_that_sleeps_without_looking_again_is_caught() {
    catches(Fault::ReaderSleepsBlindly, "deadlock", end_against_waiting);
}

/// ```text
/// reader                          canceller
/// opens; pulls
///                                 cancels: sets the end, takes the source if it is there
/// the pull returns: sees the end,
/// drops the source
/// ```
fn cancel_against_pull() {
    let streams = Streams::new();
    let (is_cancelled, dropped) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
    let reader = || {
        let source = Flagged(numbers(3), Arc::clone(&dropped));
        let Ok(mut stream) = streams.stream(&1, || Ok(source)) else {
            assert!(dropped.load(Ordering::Relaxed), "cancelled, and the source is there");
            return;
        };
        for expected in 0..=3 {
            let item = stream.next();
            if is_cancelled.load(Ordering::Relaxed) {
                assert!(dropped.load(Ordering::Relaxed), "cancelled, and the source is there");
            }
            match item {
                Some(Ok(chunk)) => assert_eq!(*chunk, expected),
                Some(Err(StreamError::Cancelled)) => return,
                Some(Err(error)) => panic!("{error:?}"),
                None => assert_eq!(expected, 3, "cut off without a word"),
            }
        }
    };
    let canceller = || {
        if streams.cancel(&1) {
            is_cancelled.store(true, Ordering::Relaxed);
        }
    };
    together([&reader, &canceller]);
    assert_nothing_left(&streams);
}

#[test]
fn a_source_that_is_cancelled_during_a_pull_is_dropped_after_it() {
    holds(cancel_against_pull);
}

#[test]
fn a_puller_that_misses_the_cancel_is_caught() {
    catches(Fault::PullerMissesCancel, "the source is there", cancel_against_pull);
}

/// ```text
/// puller                          other
/// has chunk 0                     has chunk 0
/// next: panics                    SourcePanicked
/// sees its own panic
/// ```
fn panic_of_the_source() {
    let streams = Streams::new();
    let panicked = AtomicU64::new(0);
    let reader = || {
        let source = (0..2).map(|chunk| {
            sync::pause();
            if chunk == 1 { resume_unwind(Box::new(chunk)) } else { Ok(chunk) }
        });
        let mut stream = streams.stream(&1, || Ok(source)).unwrap();
        assert_eq!(stream.next().and_then(Result::ok).as_deref(), Some(&0));
        let caught: Result<Item, _> = catch_unwind(AssertUnwindSafe(|| stream.next()));
        match caught {
            Ok(Some(Err(StreamError::SourcePanicked { .. }))) => {}
            Ok(item) => panic!("neither a panic nor told of one: {item:?}"),
            // What is no payload of this model's own is a failed assertion.
            Err(payload) => {
                payload.downcast::<u64>().map_or_else(|payload| resume_unwind(payload), drop);
                panicked.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    together([&reader, &reader]);
    assert_eq!(panicked.into_inner(), streams.stats().panicked, "a panic has one puller");
    assert_nothing_left(&streams);
}

#[test]
fn a_panic_of_the_source_strands_nobody() {
    holds(panic_of_the_source);
}

#[test]
fn a_panic_of_the_source_that_ends_nothing_is_caught() {
    catches(Fault::SourcePanicEndsNothing, "deadlock", panic_of_the_source);
}

/// ```text
/// one                             other, in no hurry
/// opens, slowly                   joins, waits for that
///                                 leaves at its deadline, or has the stream
/// pulls                           waits for the chunk, or leaves at its deadline
/// ```
fn deadlines() {
    let streams = Streams::new();
    let patient = || {
        let stream = streams.stream(&1, || {
            sync::pause();
            Ok(numbers(2))
        });
        assert!(stream.unwrap().map(|chunk| *chunk.unwrap()).eq(0..2), "not the exact sequence");
    };
    let hurried = || {
        let stream = streams.on(&1).timeout(Duration::from_secs(1)).stream(|| Ok(numbers(2)));
        match stream {
            Err(error) => assert!(matches!(error, CallError::TimedOut), "{error:?}"),
            Ok(stream) => {
                let mut expected = 0..2;
                for item in stream {
                    match item {
                        Ok(chunk) => assert_eq!(Some(*chunk), expected.next()),
                        Err(error) => return assert!(matches!(error, StreamError::TimedOut), "{error:?}"),
                    }
                }
                assert_eq!(expected.next(), None, "cut off without a word");
            }
        }
    };
    together([&patient, &hurried, &hurried]);
    assert_nothing_left(&streams);
}

#[test]
fn who_leaves_at_its_deadline_changes_nothing_for_the_others() {
    holds(deadlines);
}

#[test]
fn a_late_reader_that_is_not_taken_off_is_caught() {
    catches(Fault::LateReaderStays, "something is left", deadlines);
}

/// Keeps a sleeper from its next look until the chunk is there, and remembers that it did.
struct Interrupt {
    is_appended: Arc<AtomicBool>,
    has_slept: Arc<AtomicBool>,
}

impl Compensate for Interrupt {
    fn block_begin(self: Arc<Self>) {}

    fn block_end(&self) {
        self.has_slept.store(true, Ordering::Relaxed);
        while !self.is_appended.load(Ordering::Relaxed) {
            sync::give_way();
        }
    }
}

/// ```text
/// puller                          hurried
/// pulls chunk 0                   sleeps; its deadline passes, or not
/// appends it
///                                 takes the lock: has it
/// ```
fn deadline_meets_chunk() {
    let streams = Streams::new();
    let (is_appended, has_slept) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let puller = || {
        let mut stream = streams.stream(&1, || Ok(numbers(1))).unwrap();
        assert!(matches!(stream.next(), Some(Ok(_))));
        is_appended.store(true, Ordering::Relaxed);
    };
    let hurried = || {
        let stream = streams.on(&1).timeout(Duration::from_secs(1)).stream(|| Ok(numbers(1)));
        let Ok(mut stream) = stream else { return };
        let interrupt = Interrupt { is_appended: Arc::clone(&is_appended), has_slept: Arc::clone(&has_slept) };
        set_pool(Some(Arc::new(interrupt)));
        let item = stream.next();
        set_pool(None);
        let is_right = matches!(item, Some(Ok(_))) || !has_slept.load(Ordering::Relaxed);
        assert!(is_right, "a chunk lost to a deadline: {item:?}");
    };
    together([&puller, &hurried]);
    assert_nothing_left(&streams);
}

#[test]
fn a_chunk_that_is_there_beats_a_deadline_that_passed_in_sleep() {
    holds(deadline_meets_chunk);
}

#[test]
fn a_late_reader_that_does_not_look_again_is_caught() {
    catches(Fault::LateReaderLooksNoMore, "a chunk lost", deadline_meets_chunk);
}

/// What comes in the end to a reader that waits again after each limit.
fn next_in_the_end(stream: &mut Stream<u64, u64>) -> Item {
    loop {
        match stream.next_timeout(Duration::from_secs(1)) {
            Ok(Next::Chunk(chunk)) => return Some(Ok(chunk)),
            Ok(Next::End) => return None,
            Ok(Next::NotYet) => sync::give_way(),
            Err(error) => return Some(Err(error)),
        }
    }
}

/// ```text
/// limited                         other                   helper
/// starts the helper, waits
/// has waited enough; waits again  pulls chunk 0           finds the source, or finds it taken
/// has chunk 0                     has chunk 0
/// ```
fn limits() {
    let streams = Streams::new();
    let limited = || {
        let mut stream = streams.stream(&1, || Ok(numbers(2))).unwrap();
        for expected in [Some(0), Some(1), None] {
            let chunk = next_in_the_end(&mut stream).transpose().unwrap();
            assert_eq!(chunk.as_deref().copied(), expected, "not the exact sequence");
        }
    };
    let other = || {
        let stream = streams.stream(&1, || Ok(numbers(2))).unwrap();
        assert!(stream.map(|chunk| *chunk.unwrap()).eq(0..2), "not the exact sequence");
    };
    together([&limited, &limited, &other]);
    assert_nothing_left(&streams);
}

#[test]
fn who_waits_by_limits_has_each_chunk() {
    holds(limits);
}

#[test]
fn who_waits_by_limits_has_each_chunk_though_no_thread_is_to_be_had() {
    holds_despite(Trouble::NoThread, limits);
}

/// ```text
/// limited                         other                   helper
/// starts the helper, waits
///                                 pulls chunk 0
///                                                         finds the source, but not for chunk 0
/// has chunk 0                     has chunk 0
/// ```
fn helper_that_comes_late() {
    let streams = Streams::new();
    let pulls = Arc::new(AtomicU64::new(0));
    let source = || {
        let pulls = Arc::clone(&pulls);
        Ok(numbers(3).inspect(move |_| {
            pulls.fetch_add(1, Ordering::Relaxed);
        }))
    };
    let both_read = Barrier::new(2);
    let limited = || {
        let mut stream = streams.stream(&1, source).unwrap();
        both_read.wait();
        assert_eq!(next_in_the_end(&mut stream).and_then(Result::ok).as_deref(), Some(&0));
        both_read.wait();
    };
    let other = || {
        let mut stream = streams.stream(&1, source).unwrap();
        both_read.wait();
        assert_eq!(stream.next().and_then(Result::ok).as_deref(), Some(&0));
        both_read.wait();
    };
    together([&limited, &other]);
    assert_eq!(pulls.load(Ordering::Relaxed), 1, "a chunk that nobody asked for");
    assert_nothing_left(&streams);
}

#[test]
fn a_helper_that_comes_late_pulls_nothing() {
    holds(helper_that_comes_late);
}

#[test]
fn a_helper_that_reads_ahead_is_caught() {
    catches(Fault::HelperReadsAhead, "nobody asked for", helper_that_comes_late);
}

/// ```text
/// reader                          helper
/// leads 9, and in it waits for
/// chunk 0, by limits              pulls chunk 0, and in it asks for 9
/// ```
fn cycle_through_a_helper() {
    let streams = Streams::new();
    let calls: Arc<SyncCoalesce<u64, u64, u64>> = Arc::new(SyncCoalesce::new());
    let (asking, dropped) = (Arc::clone(&calls), Arc::new(AtomicBool::new(false)));
    let asks = from_fn(move || {
        let asked = asking.call(&9, || 0);
        Some(Ok(u64::from(matches!(asked, Err(CallError::Deadlock { .. })))))
    });
    let source = Flagged(asks, Arc::clone(&dropped));
    let led = calls.call(&9, || {
        let mut stream = streams.stream(&1, || Ok(source)).unwrap();
        let mut waits = 0;
        loop {
            match stream.next_timeout(Duration::from_secs(1)) {
                Ok(Next::Chunk(is_refused)) => return *is_refused,
                Err(StreamError::Deadlock { .. }) => return 1,
                Ok(Next::NotYet) => waits += 1,
                item => panic!("{item:?}"),
            }
            assert!(waits < 100, "waits for a thread that waits for it");
            sync::give_way();
        }
    });
    assert_eq!(*led.unwrap(), 1, "neither is refused");
    while !dropped.load(Ordering::Relaxed) {
        sync::give_way();
    }
    assert_nothing_left(&streams);
}

#[test]
fn of_a_reader_and_a_helper_that_wait_for_each_other_one_is_refused() {
    holds(cycle_through_a_helper);
}

#[test]
fn a_helper_that_is_not_in_the_graph_is_caught() {
    catches(Fault::HelperUnnamed, "waits for a thread that waits for it", cycle_through_a_helper);
}

/// ```text
/// first                           second
/// leads 9, and in it waits for
/// chunk 0                         pulls chunk 0
///                                 pulls chunk 1, and in it asks for 9: no cycle
/// has not woken yet
/// ```
fn chunk_that_has_come() {
    let streams = Streams::new();
    let calls: Arc<SyncCoalesce<u64, u64, u64>> = Arc::new(SyncCoalesce::new());
    let open = || {
        let calls = Arc::clone(&calls);
        Ok((0..2).map(move |chunk| {
            sync::pause();
            if chunk == 1 {
                calls.call(&9, || 0).map_err(|_| chunk)?;
            }
            Ok(chunk)
        }))
    };
    let first = || {
        let led = calls.call(&9, || {
            let mut stream = streams.stream(&1, open).unwrap();
            *stream.next().unwrap().expect("no cycle")
        });
        led.unwrap();
    };
    let second = || {
        let stream = streams.stream(&1, open).unwrap();
        assert!(stream.map(|chunk| *chunk.expect("no cycle")).eq(0..2), "not the exact sequence");
    };
    together([&first, &second]);
    assert_nothing_left(&streams);
}

#[test]
fn who_has_a_chunk_and_has_not_woken_refuses_nobody() {
    holds(chunk_that_has_come);
}

#[test]
fn a_pull_that_outlives_its_step_in_the_graph_is_caught() {
    catches(Fault::PullOutlivesStep, "no cycle", chunk_that_has_come);
}

/// ```text
/// first                           second
/// pulls 1, and in it reads 2      pulls 2, and in it reads 1
/// ```
fn crosswise() {
    let streams = Arc::new(Streams::new());
    let both_pull = Arc::new(Barrier::new(2));
    let refused = AtomicU64::new(0);
    let part = |own: u64, other: u64| {
        let (streams, both_pull, refused) = (&streams, &both_pull, &refused);
        move || {
            let (inner, both_pull) = (Arc::clone(streams), Arc::clone(both_pull));
            let mut pulls = 0..1;
            let source = from_fn(move || {
                pulls.next()?;
                both_pull.wait();
                let item = inner.stream(&other, || Ok(from_fn(|| None))).map(|mut stream| stream.next());
                match item {
                    Ok(Some(Err(StreamError::Deadlock { .. }))) => Some(Err(0)),
                    Ok(_) => Some(Ok(0)),
                    Err(error) => panic!("{error:?}"),
                }
            });
            let mut stream = streams.stream(&own, || Ok(source)).unwrap();
            let is_refused = stream.next().is_some_and(|item| item.is_err());
            refused.fetch_add(u64::from(is_refused), Ordering::Relaxed);
        }
    };
    together([&part(1, 2), &part(2, 1)]);
    // The one that is refused ends its own stream with an error, which the other may be told of instead.
    assert_eq!(refused.into_inner(), 1, "exactly one is refused");
    assert_nothing_left(&streams);
}

#[test]
fn of_two_who_pull_crosswise_one_is_refused() {
    holds(crosswise);
}

#[test]
fn a_graph_unlocked_while_two_pull_crosswise_is_caught() {
    catches(WaitFault::ChecksApart, "deadlock", crosswise);
}
