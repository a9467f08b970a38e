//! Opening, reading, joining and leaving.

use std::sync::Arc;

use sync_coalesce::stream::Stream;

use super::{Source, Step, Streams, assert_idle, assert_next, drain, feed, join, until_waiting};
use crate::support::thread;
use crate::support::{Gate, bounded, until};

#[test]
fn a_lone_reader_gets_every_chunk_and_then_the_end() {
    let streams = Streams::new();
    let (feed, source) = feed();
    feed.chunks([1, 2, 3]);
    drop(feed.steps);
    assert_eq!(drain(streams.stream("key", || Ok(source)).unwrap()).0, [1, 2, 3]);
    assert_eq!((streams.stats().opened, streams.stats().joined), (1, 0));
    assert_idle(&streams);
}

#[test]
fn a_stream_of_nothing_ends_without_an_error() {
    let streams = Streams::new();
    let mut stream = streams.stream("key", || Ok([])).unwrap();
    assert!(stream.next().is_none());
    assert_idle(&streams);
    assert!(stream.next().is_none(), "and stays at its end");
}

#[test]
fn nothing_is_pulled_before_somebody_needs_it() {
    let streams = Streams::new();
    let (feed, source) = feed();
    feed.chunks([1, 2]);
    let mut first = streams.stream("key", || Ok(source)).unwrap();
    assert_eq!(feed.seen.pulls.load(std::sync::atomic::Ordering::Acquire), 0);
    assert_next(&mut first, 1);
    let mut second = join(&streams, "key");
    assert_next(&mut second, 1);
    feed.until_pulled(1);
}

#[test]
fn who_joins_late_starts_at_the_first_chunk_also_when_another_pulls_by_now() {
    let streams = Streams::new();
    let (feed, source) = feed();
    feed.chunks(0..6);
    let mut first = streams.stream("key", || Ok(source)).unwrap();
    (0..2).for_each(|chunk| assert_next(&mut first, chunk));
    let mut second = join(&streams, "key");
    (0..4).for_each(|chunk| assert_next(&mut second, chunk));
    // The one who opened it has left.
    drop(first);
    let mut third = join(&streams, "key");
    (0..6).for_each(|chunk| assert_next(&mut third, chunk));
    feed.until_pulled(6);
    drop(feed.steps);
    assert_eq!(drain(second).0, [4, 5]);
    assert!(third.next().is_none());
    assert_eq!((streams.stats().opened, streams.stats().joined), (1, 2));
    assert_idle(&streams);
}

#[test]
fn each_pull_is_made_in_the_thread_that_needs_the_chunk() {
    let streams = Streams::new();
    let pullers = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&pullers);
    let source = (0..2).map(move |chunk| {
        seen.lock().unwrap().push(thread::current().id());
        Ok(chunk)
    });
    let mut first = streams.stream("key", || Ok(source)).unwrap();
    assert_next(&mut first, 0);
    let other = thread::scope(|scope| {
        let second = scope.spawn(|| {
            assert_eq!(drain(join(&streams, "key")).0, [0, 1]);
            thread::current().id()
        });
        second.join().unwrap()
    });
    assert_eq!(*pullers.lock().unwrap(), [thread::current().id(), other]);
    assert_next(&mut first, 1);
}

#[test]
fn the_last_reader_takes_the_source_with_it() {
    let streams = Streams::new();
    let (feed, source) = feed();
    feed.chunks(0..10);
    let mut first = streams.stream("key", || Ok(source)).unwrap();
    let second = join(&streams, "key");
    assert_next(&mut first, 0);
    drop(first);
    assert!(!feed.is_dropped(), "a reader is left");
    drop(second);
    assert!(feed.is_dropped());
    assert_idle(&streams);
    // Nothing is kept: the next one opens afresh.
    assert_eq!(drain(streams.stream("key", || Ok([Ok(7)])).unwrap()).0, [7]);
    assert_eq!(streams.stats().opened, 2);
}

#[test]
fn chunks_are_freed_with_the_last_reader() {
    let streams = Streams::new();
    let mut first = streams.stream("key", || Ok((0..2).map(Ok))).unwrap();
    let second = join(&streams, "key");
    let chunk = Arc::downgrade(&first.next().unwrap().unwrap());
    drop(first);
    assert!(chunk.upgrade().is_some(), "the second reader has not had it");
    drop(second);
    assert!(chunk.upgrade().is_none());
}

#[test]
fn chunks_are_freed_once_everybody_has_seen_the_end() {
    let streams = Streams::new();
    let mut stream = streams.stream("key", || Ok([Ok(1)])).unwrap();
    let chunk = Arc::downgrade(&stream.next().unwrap().unwrap());
    assert!(stream.next().is_none());
    assert!(chunk.upgrade().is_none(), "the reader is there, but it has had everything");
}

#[test]
fn who_comes_after_the_end_opens_afresh_while_a_slow_reader_still_reads() {
    let streams = Streams::new();
    let mut fast = streams.stream("key", || Ok([Ok(1), Ok(2)])).unwrap();
    let mut slow = join(&streams, "key");
    assert_next(&mut slow, 1);
    (1..=2).for_each(|chunk| assert_next(&mut fast, chunk));
    assert!(fast.next().is_none());
    assert_eq!(streams.in_flight(), 0);
    let mut afresh = streams.stream("key", || Ok([Ok(3)])).unwrap();
    assert_next(&mut afresh, 3);
    assert_eq!(drain(slow).0, [2]);
    assert!(afresh.next().is_none());
    assert_idle(&streams);
}

#[test]
fn a_slow_reader_delays_nobody_and_loses_nothing() {
    let streams = Streams::new();
    let mut fast = streams.stream("key", || Ok((0..1000).map(Ok))).unwrap();
    let slow = join(&streams, "key");
    (0..1000).for_each(|chunk| assert_next(&mut fast, chunk));
    assert!(fast.next().is_none());
    assert!(drain(slow).0.into_iter().eq(0..1000));
    assert_idle(&streams);
}

/// ```text
/// puller                          others
/// next: the source blocks
///                                 read what is in the log, join, leave, ask for figures, stream another key
/// next returns
/// ```
#[test]
fn a_pull_holds_no_lock_that_anybody_needs() {
    bounded(|| {
        let streams = Streams::new();
        let (feed, source) = feed();
        feed.chunks([0]);
        let mut reader = streams.stream("key", || Ok(source)).unwrap();
        assert_next(&mut reader, 0);
        thread::scope(|scope| {
            let puller = scope.spawn(|| {
                let mut puller = join(&streams, "key");
                (0..2).for_each(|chunk| assert_next(&mut puller, chunk));
            });
            feed.until_pulled(2);
            let mut late = join(&streams, "key");
            assert_next(&mut late, 0);
            drop(late);
            assert_eq!(drain(streams.stream("other", || Ok([Ok(5)])).unwrap()).0, [5]);
            assert_eq!((streams.in_flight(), streams.stats().readers), (1, 2));
            feed.chunks([1]);
            puller.join().unwrap();
        });
        assert_next(&mut reader, 1);
        drop(reader);
        assert_idle(&streams);
    });
}

fn read_three(mut stream: Stream<u32, String>) -> Stream<u32, String> {
    (0..3).for_each(|chunk| assert_next(&mut stream, chunk));
    stream
}

/// ```text
/// first                           second, third
/// next: the source blocks
///                                 next: wait
/// a chunk                         have it
///                                 next: one pulls, and the other has that chunk too
/// ```
#[test]
fn readers_that_wait_have_each_chunk_and_one_of_them_goes_on_pulling() {
    bounded(|| {
        let streams = Streams::new();
        let (feed, source) = feed();
        let first = streams.stream("key", || Ok(source)).unwrap();
        thread::scope(|scope| {
            let (second, third) = (join(&streams, "key"), join(&streams, "key"));
            let readers = [first, second, third].map(|stream| scope.spawn(move || read_three(stream)));
            for (chunk, pulls) in (0..3).zip(1..) {
                feed.until_pulled(pulls);
                until_waiting(&streams, 2);
                feed.send(Step::Chunk(chunk));
            }
            let readers = readers.map(|reader| reader.join().unwrap());
            feed.until_pulled(3);
            drop(feed.steps);
            for reader in readers {
                assert!(drain(reader).0.is_empty());
            }
        });
        assert_eq!(streams.stats().opened, 1);
        assert_idle(&streams);
    });
}

/// ```text
/// first                           second
/// open ...                        joins, and waits for that
/// open returns                    both have the stream
/// ```
#[test]
fn who_comes_during_the_opening_waits_for_it_and_shares_the_source() {
    bounded(|| {
        let streams = Streams::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let open = || {
                    gate.pass();
                    Ok((0..3).map(Ok))
                };
                drain(streams.stream("key", open).unwrap()).0
            });
            until("the opening", || streams.in_flight() == 1);
            let second = scope.spawn(|| drain(join(&streams, "key")).0);
            until_waiting(&streams, 1);
            gate.open();
            assert_eq!(first.join().unwrap(), [0, 1, 2]);
            assert_eq!(second.join().unwrap(), [0, 1, 2]);
        });
        assert_eq!((streams.stats().opened, streams.stats().joined), (1, 1));
        assert_idle(&streams);
    });
}

#[test]
fn an_opening_does_not_hold_up_other_keys() {
    bounded(|| {
        let streams = Streams::new();
        let inner = || {
            // Two openings at a time, the one inside the other.
            let other = streams.stream("other", || Ok([Ok(1)])).unwrap();
            assert_eq!(drain(other).0, [1]);
            Ok([Ok(2)])
        };
        assert_eq!(drain(streams.stream("key", inner).unwrap()).0, [2]);
        assert_idle(&streams);
    });
}

#[test]
fn a_stream_may_be_read_in_another_thread_than_its_callers() {
    let streams = Streams::new();
    let stream = streams.stream("key", || Ok((0..3).map(Ok))).unwrap();
    thread::scope(|scope| assert_eq!(scope.spawn(move || drain(stream).0).join().unwrap(), [0, 1, 2]));
    assert_idle(&streams);
}

#[test]
fn stats_add_up_and_reset_leaves_the_live_ones() {
    let streams = Streams::builder().max_readers(2).build();
    let _first = streams.stream("key", || Ok((0..3).map(Ok))).unwrap();
    let _second = join(&streams, "key");
    let third = streams.stream("key", || -> Result<Source, String> { unreachable!("it is open") });
    assert!(third.is_err());
    let stats = streams.stats();
    assert_eq!((stats.calls(), stats.opened, stats.joined, stats.overloaded, stats.refused()), (3, 1, 1, 1, 1));
    streams.reset_stats();
    let stats = streams.stats();
    assert_eq!((stats.calls(), stats.in_flight, stats.running, stats.readers), (0, 1, 1, 2));
}
