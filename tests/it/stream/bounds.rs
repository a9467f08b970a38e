//! The log's bounds, and what becomes of those who are behind.

use sync_coalesce::CallError;
use sync_coalesce::stream::{Stream, StreamCoalesce, StreamError};

use super::{Source, Streams, assert_idle, assert_next, drain, join};

#[test]
fn past_the_bound_a_late_joiner_opens_a_stream_of_its_own() {
    let streams = Streams::builder().max_buffered(3).build();
    let mut first = streams.stream("key", || Ok((0..10).map(Ok))).unwrap();
    (0..3).for_each(|chunk| assert_next(&mut first, chunk));
    // All chunks are there yet.
    let mut second = join(&streams, "key");
    (0..4).for_each(|chunk| assert_next(&mut second, chunk));
    assert_eq!((streams.stats().in_flight, streams.stats().running), (0, 1));
    let third = streams.stream("key", || Ok([Ok(7)])).unwrap();
    assert_eq!(streams.stats().opened, 2);
    assert_eq!(drain(third).0, [7]);
    assert!(drain(first).0.into_iter().eq(3..10), "those who read on lose nothing");
    assert!(matches!(second.next(), Some(Err(StreamError::Lagged { missed: 3 }))), "chunks 4 to 6 are gone");
    assert_idle(&streams);
}

#[test]
fn who_is_too_far_behind_is_told_how_far_once_and_then_is_off() {
    let streams = Streams::builder().max_buffered(4).build();
    let mut fast = streams.stream("key", || Ok((0..10).map(Ok))).unwrap();
    let mut slow = join(&streams, "key");
    assert_next(&mut slow, 0);
    (0..5).for_each(|chunk| assert_next(&mut fast, chunk));
    // The log has shed chunk 0, which this one has had.
    assert_next(&mut slow, 1);
    (5..10).for_each(|chunk| assert_next(&mut fast, chunk));
    assert!(matches!(slow.next(), Some(Err(StreamError::Lagged { missed: 4 }))));
    assert!(slow.next().is_none());
    assert_eq!((streams.stats().lagged, streams.stats().readers), (1, 1));
    assert!(fast.next().is_none());
    assert_idle(&streams);
}

#[test]
fn bytes_are_bounded_as_the_weigher_says() {
    let streams: StreamCoalesce<String, String, String> =
        StreamCoalesce::builder().max_buffered_bytes(10, |chunk: &String| chunk.len() as u64).build();
    let chunks = ["four", "four", "more than ten bytes", "x"];
    let mut fast = streams.stream("key", move || Ok(chunks.map(|chunk| Ok(chunk.to_owned())))).unwrap();
    let mut slow = streams.stream("key", move || Ok(chunks.map(|chunk| Ok(chunk.to_owned())))).unwrap();
    let text = |stream: &mut Stream<String, String>| stream.next().unwrap().unwrap().to_string();
    assert_eq!((text(&mut fast), text(&mut fast), streams.in_flight()), ("four".into(), "four".into(), 1));
    assert_eq!((text(&mut fast), streams.in_flight()), ("more than ten bytes".into(), 0));
    // The newest chunk stays, whatever it weighs.
    assert!(matches!(slow.next(), Some(Err(StreamError::Lagged { missed: 2 }))));
    assert_eq!(text(&mut fast), "x");
    assert!(fast.next().is_none());
    assert_idle(&streams);
}

#[test]
fn a_chunk_whose_weighing_panics_weighs_nothing() {
    let weigh = |_: &u32| std::panic::resume_unwind(Box::new("no scales"));
    let streams = Streams::builder().max_buffered_bytes(0, weigh).build();
    let fast = streams.stream("key", || Ok((0..10).map(Ok))).unwrap();
    let slow = join(&streams, "key");
    assert!(drain(fast).0.into_iter().eq(0..10));
    assert!(drain(slow).0.into_iter().eq(0..10));
    assert_idle(&streams);
}

#[test]
fn a_log_of_no_chunks_keeps_one() {
    let streams = Streams::builder().max_buffered(0).build();
    let mut first = streams.stream("key", || Ok((0..10).map(Ok))).unwrap();
    let mut second = join(&streams, "key");
    for chunk in 0..10 {
        assert_next(&mut first, chunk);
        assert_next(&mut second, chunk);
    }
    assert!(first.next().is_none() && second.next().is_none());
    assert_idle(&streams);
}

#[test]
fn one_reader_too_many_is_rejected() {
    let streams = Streams::builder().max_readers(1).build();
    let first = streams.stream("key", || Ok([Ok(1)])).unwrap();
    let second = streams.stream("key", || -> Result<Source, String> { unreachable!("it is open") });
    assert!(matches!(second, Err(CallError::Overloaded)));
    drop(first);
    assert_eq!(drain(streams.stream("key", || Ok([Ok(2)])).unwrap()).0, [2]);
    assert_eq!(streams.stats().overloaded, 1);
    assert_idle(&streams);
}
