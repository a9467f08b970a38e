//! Waits for one chunk that have a limit of their own, after which the reader stays.

use std::iter::from_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use sync_coalesce::stream::{Next, Stream, StreamCoalesce, StreamError};
use sync_coalesce::{CallError, SyncCoalesce};

use super::{Step, Streams, assert_idle, assert_next, drain, feed, join, until_waiting};
use crate::support::thread;
use crate::support::{LIMIT, bounded, until};

const SHORT: Duration = Duration::from_millis(1);

#[track_caller]
fn assert_not_yet(stream: &mut Stream<u32, String>) {
    let next = stream.next_timeout(SHORT);
    assert!(matches!(next, Ok(Next::NotYet)), "{next:?}");
}

/// The next chunk, which comes in time.
#[track_caller]
fn assert_comes(stream: &mut Stream<u32, String>, chunk: u32) {
    let next = stream.next_timeout(LIMIT);
    assert!(matches!(&next, Ok(Next::Chunk(found)) if **found == chunk), "{next:?} where {chunk} was expected");
}

#[track_caller]
fn assert_end(stream: &mut Stream<u32, String>) {
    let next = stream.next_timeout(LIMIT);
    assert!(matches!(next, Ok(Next::End)), "{next:?}");
}

#[test]
fn a_lone_reader_stays_while_its_source_is_silent_and_loses_nothing() {
    bounded(|| {
        let streams = Streams::new();
        let (feed, source) = feed();
        let mut stream = streams.stream("key", || Ok(source)).unwrap();
        for chunk in 0..3 {
            (0..3).for_each(|_| assert_not_yet(&mut stream));
            feed.chunks([chunk]);
            assert_comes(&mut stream, chunk);
            feed.until_pulled(u64::from(chunk) + 1);
        }
        assert_not_yet(&mut stream);
        drop(feed.steps);
        assert_end(&mut stream);
        assert_end(&mut stream);
        assert_eq!(streams.stats().opened, 1);
        assert_idle(&streams);
    });
}

#[test]
fn a_reader_that_waits_for_anothers_pull_stays_too() {
    bounded(|| {
        let streams = Streams::new();
        let (feed, source) = feed();
        let first = streams.stream("key", || Ok(source)).unwrap();
        let mut second = join(&streams, "key");
        thread::scope(|scope| {
            let puller = scope.spawn(move || drain(first));
            feed.until_pulled(1);
            assert_not_yet(&mut second);
            assert_not_yet(&mut second);
            feed.chunks([1]);
            assert_comes(&mut second, 1);
            drop(feed.steps);
            assert_end(&mut second);
            assert_eq!(puller.join().unwrap().0, [1]);
        });
        assert_idle(&streams);
    });
}

#[test]
fn chunks_and_the_end_beat_a_limit_that_has_passed() {
    let streams = Streams::new();
    let mut first = streams.stream("key", || Ok([Ok(1)])).unwrap();
    let mut second = join(&streams, "key");
    assert_next(&mut first, 1);
    assert!(first.next().is_none());
    let passed = Instant::now();
    assert!(matches!(second.next_deadline(passed), Ok(Next::Chunk(chunk)) if *chunk == 1));
    assert!(matches!(second.next_deadline(passed), Ok(Next::End)));
    assert_idle(&streams);
}

#[test]
fn a_reader_that_never_waits_has_each_chunk_in_the_end() {
    bounded(|| {
        let streams = Streams::new();
        let mut stream = streams.stream("key", || Ok((0..20).map(Ok))).unwrap();
        let mut chunks = Vec::new();
        loop {
            match stream.next_timeout(Duration::ZERO).unwrap() {
                Next::Chunk(chunk) => chunks.push(*chunk),
                Next::End => break,
                Next::NotYet => thread::yield_now(),
            }
        }
        assert!(chunks.into_iter().eq(0..20));
        assert_idle(&streams);
    });
}

#[test]
fn a_pull_with_a_limit_is_made_in_another_thread_and_one_without_in_this() {
    bounded(|| {
        let streams: StreamCoalesce<String, thread::ThreadId> = StreamCoalesce::new();
        let pullers = from_fn(|| Some(Ok(thread::current().id())));
        let mut stream = streams.stream("key", || Ok(pullers)).unwrap();
        let mut puller = |timeout| match stream.next_timeout(timeout).unwrap() {
            Next::Chunk(puller) => *puller,
            next => panic!("{next:?}"),
        };
        assert_ne!(puller(LIMIT), thread::current().id());
        assert_eq!(puller(Duration::MAX), thread::current().id());
    });
}

#[test]
fn the_deadline_of_the_stream_ends_a_wait_with_a_later_limit() {
    bounded(|| {
        let streams = Streams::new();
        let (feed, source) = feed();
        let mut stream = streams.on("key").timeout(Duration::from_millis(20)).stream(|| Ok(source)).unwrap();
        let late = stream.next_timeout(LIMIT);
        assert!(matches!(late, Err(StreamError::TimedOut)), "{late:?}");
        assert_end(&mut stream);
        assert_eq!(streams.stats().timed_out, 1);
        assert_idle(&streams);
        let seen = Arc::clone(&feed.seen);
        drop(feed);
        until("the source is dropped", || seen.dropped.load(Ordering::Acquire));
    });
}

#[test]
fn next_goes_on_with_a_pull_that_was_begun_before_a_limit_passed() {
    bounded(|| {
        let streams = Streams::new();
        let (feed, source) = feed();
        let mut stream = streams.stream("key", || Ok(source)).unwrap();
        assert_not_yet(&mut stream);
        feed.until_pulled(1);
        feed.chunks([1, 2]);
        assert_next(&mut stream, 1);
        assert_next(&mut stream, 2);
        feed.until_pulled(2);
    });
}

#[test]
fn an_error_and_a_panic_of_a_pull_in_another_thread_reach_all_readers() {
    bounded(|| {
        for (step, panicked) in [(Step::Fail("broken pipe"), 0), (Step::Panic("out of tea"), 1)] {
            let streams = Streams::new();
            let (feed, source) = feed();
            let mut first = streams.stream("key", || Ok(source)).unwrap();
            let second = join(&streams, "key");
            assert_not_yet(&mut first);
            feed.until_pulled(1);
            feed.send(step);
            let (_, other) = drain(second);
            for error in [first.next_timeout(LIMIT).unwrap_err(), other.unwrap()] {
                match error {
                    StreamError::Failed(error) if panicked == 0 => assert_eq!(*error, "broken pipe"),
                    StreamError::SourcePanicked { message } if panicked == 1 => assert_eq!(*message, *"out of tea"),
                    error => panic!("{error:?}"),
                }
            }
            assert_end(&mut first);
            assert_eq!((streams.stats().panicked, streams.stats().failed), (panicked, 1 - panicked));
            assert_idle(&streams);
        }
    });
}

/// ```text
/// reader                          thread that pulls
/// next_timeout: NotYet            next: the source is silent
/// leaves
///                                 a chunk: nobody wants it; drops it, and the source
/// ```
#[test]
fn a_source_that_is_silent_as_its_last_reader_leaves_is_dropped_after_the_pull() {
    bounded(|| {
        let streams = Streams::new();
        let (feed, source) = feed();
        let mut stream = streams.stream("key", || Ok(source)).unwrap();
        assert_not_yet(&mut stream);
        feed.until_pulled(1);
        drop(stream);
        assert_idle(&streams);
        drop(streams);
        assert!(!feed.is_dropped(), "it is being pulled from");
        feed.chunks([1]);
        until("the source is dropped", || feed.is_dropped());
        feed.until_pulled(1);
    });
}

#[test]
fn cancel_and_close_reach_a_reader_whose_source_is_silent_at_once() {
    bounded(|| {
        for closes in [false, true] {
            let streams = Streams::new();
            let (feed, source) = feed();
            let mut stream = streams.stream("key", || Ok(source)).unwrap();
            thread::scope(|scope| {
                let reader = scope.spawn(move || stream.next_timeout(LIMIT).unwrap_err());
                feed.until_pulled(1);
                until_waiting(&streams, 1);
                if closes {
                    streams.close();
                } else {
                    assert!(streams.cancel("key"));
                }
                let error = reader.join().unwrap();
                assert!(matches!((closes, &error), (false, StreamError::Cancelled) | (true, StreamError::Closed)));
            });
            assert_idle(&streams);
            assert!(!feed.is_dropped(), "the source is silent still");
            feed.chunks([1]);
            until("the source is dropped", || feed.is_dropped());
        }
    });
}

/// ```text
/// reader                          thread that pulls
/// leads a call, and in it reads
/// the stream: waits               asks for the call: refused
/// ```
#[test]
fn a_cycle_through_a_thread_that_pulls_is_refused() {
    bounded(|| {
        let calls: Arc<SyncCoalesce<String, u32>> = Arc::new(SyncCoalesce::new());
        let streams = Arc::new(Streams::new());
        let (asking, watching) = (Arc::clone(&calls), Arc::clone(&streams));
        let mut pulls = 0..1;
        let source = from_fn(move || {
            pulls.next()?;
            until_waiting(&watching, 1);
            let refused = matches!(asking.call("call", || 0), Err(CallError::Deadlock { .. }));
            Some(Ok(u32::from(refused)))
        });
        let led = calls.call("call", || {
            let mut stream = streams.stream("stream", || Ok(source)).unwrap();
            assert_comes(&mut stream, 1);
            assert_end(&mut stream);
            7
        });
        assert_eq!(*led.unwrap(), 7);
        assert_idle(&*streams);
    });
}

#[test]
fn a_reader_goes_on_after_its_coalescer_was_dropped_during_a_pull() {
    bounded(|| {
        let streams = Streams::new();
        let (feed, source) = feed();
        let mut stream = streams.stream("key", || Ok(source)).unwrap();
        assert_not_yet(&mut stream);
        drop(streams);
        feed.chunks([1, 2]);
        let (send, read) = mpsc::channel();
        thread::spawn(move || {
            assert_comes(&mut stream, 1);
            send.send(stream).unwrap();
        });
        let mut stream = read.recv_timeout(LIMIT).unwrap();
        assert_next(&mut stream, 2);
        drop(feed.steps);
        assert_end(&mut stream);
    });
}
