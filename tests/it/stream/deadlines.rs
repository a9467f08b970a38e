//! Deadlines of one reader.

use std::time::{Duration, Instant};

use sync_coalesce::CallError;
use sync_coalesce::stream::StreamError;

use super::{Streams, assert_idle, assert_next, drain, feed, join, unopened, until_waiting};
use crate::support::thread;
use crate::support::{Gate, bounded, until};

#[test]
fn who_waits_for_the_opening_leaves_at_its_deadline() {
    bounded(|| {
        let streams = Streams::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let open = || {
                    gate.pass();
                    Ok([Ok(1)])
                };
                drain(streams.stream("key", open).unwrap()).0
            });
            until("the opening", || streams.in_flight() == 1);
            let late = streams.on("key").timeout(Duration::from_millis(1)).stream(unopened);
            assert!(matches!(late, Err(CallError::TimedOut)));
            gate.open();
            assert_eq!(first.join().unwrap(), [1], "the others lose nothing");
        });
        assert_eq!(streams.stats().timed_out, 1);
        assert_idle(&streams);
    });
}

#[test]
fn who_waits_for_the_puller_leaves_at_its_deadline_and_first_has_what_is_there() {
    bounded(|| {
        let streams = Streams::new();
        let (feed, source) = feed();
        feed.chunks([1]);
        let mut first = streams.stream("key", || Ok(source)).unwrap();
        assert_next(&mut first, 1);
        thread::scope(|scope| {
            let puller = scope.spawn(move || drain(first));
            feed.until_pulled(2);
            let late = streams.on("key").deadline(Instant::now()).stream(unopened).unwrap();
            let (chunks, end) = drain(late);
            assert_eq!(chunks, [1], "a chunk that is there beats a deadline that has passed");
            assert!(matches!(end, Some(StreamError::TimedOut)), "{end:?}");
            drop(feed.steps);
            assert!(puller.join().unwrap().1.is_none());
        });
        assert_eq!(streams.stats().timed_out, 1);
        assert_idle(&streams);
    });
}

#[test]
fn nobody_past_its_deadline_pulls() {
    let streams = Streams::new();
    let (feed, source) = feed();
    feed.chunks([1]);
    let stream = streams.on("key").timeout(Duration::ZERO).stream(|| Ok(source)).unwrap();
    let (chunks, end) = drain(stream);
    assert!(chunks.is_empty() && matches!(end, Some(StreamError::TimedOut)), "{end:?}");
    feed.until_pulled(0);
    assert!(feed.is_dropped(), "it was the last reader");
    assert_idle(&streams);
}

#[test]
fn the_builders_timeout_is_for_requests_that_say_nothing() {
    let streams = Streams::builder().timeout(Duration::ZERO).build();
    let (_, end) = drain(streams.stream("key", || Ok([Ok(1)])).unwrap());
    assert!(matches!(end, Some(StreamError::TimedOut)), "{end:?}");
    let patient = streams.on("key").timeout(Duration::MAX).stream(|| Ok([Ok(1)])).unwrap();
    assert_eq!(drain(patient).0, [1]);
    assert_idle(&streams);
}

#[test]
fn a_reader_with_a_far_deadline_is_woken_by_its_chunk() {
    bounded(|| {
        let streams = Streams::builder().timeout(Duration::from_secs(3600)).build();
        let (feed, source) = feed();
        let mut first = streams.stream("key", || Ok(source)).unwrap();
        thread::scope(|scope| {
            let puller = scope.spawn(move || assert_next(&mut first, 1));
            feed.until_pulled(1);
            let mut second = join(&streams, "key");
            let waiting = scope.spawn(move || assert_next(&mut second, 1));
            until_waiting(&streams, 1);
            feed.chunks([1]);
            puller.join().unwrap();
            waiting.join().unwrap();
        });
        assert_idle(&streams);
    });
}
