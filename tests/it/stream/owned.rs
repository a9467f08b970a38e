//! A reader that outlives what it came from.

use std::convert::Infallible;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use sync_coalesce::stream::StreamCoalesce;

use super::{Streams, assert_idle, assert_next, drain, feed, join};
use crate::support::bounded;

#[test]
fn a_stream_goes_into_a_thread_that_nobody_joins() {
    bounded(|| {
        let streams = Streams::new();
        let stream = streams.stream("key", || Ok((0..3).map(Ok))).unwrap();
        let (send, chunks) = mpsc::channel();
        thread::spawn(move || send.send(drain(stream).0).unwrap());
        assert_eq!(chunks.recv().unwrap(), [0, 1, 2]);
        assert_idle(&streams);
    });
}

#[test]
fn a_stream_of_bytes_is_a_body_that_borrows_nothing() {
    let streams: StreamCoalesce<String, &[u8]> = StreamCoalesce::new();
    let open = || Ok([b"Nine ".as_slice(), b"to five."].map(Ok::<_, Infallible>));
    let mut body: Box<dyn Read + Send + 'static> = Box::new(streams.stream("hours", open).unwrap());
    drop(streams);
    let mut text = String::new();
    body.read_to_string(&mut text).unwrap();
    assert_eq!(text, "Nine to five.");
}

/// ```text
/// owner                           first                           second
/// drops the coalescer
///                                 reads chunks 2, 3, the end      reads chunks 1, 2, 3, the end
/// ```
#[test]
fn readers_reach_the_end_after_the_coalescer_is_dropped() {
    bounded(|| {
        let streams = Streams::new();
        let (feed, source) = feed();
        feed.chunks([1]);
        let mut first = streams.stream("key", || Ok(source)).unwrap();
        let second = join(&streams, "key");
        assert_next(&mut first, 1);
        drop(streams);
        assert!(!feed.is_dropped(), "two readers are left");
        let seen = Arc::clone(&feed.seen);
        feed.chunks([2, 3]);
        drop(feed.steps);
        let reading = thread::spawn(move || drain(second));
        let (chunks, end) = drain(first);
        assert_eq!(chunks, [2, 3]);
        assert!(end.is_none(), "{end:?}");
        let (chunks, end) = reading.join().unwrap();
        assert_eq!(chunks, [1, 2, 3]);
        assert!(end.is_none(), "{end:?}");
        assert!(seen.dropped.load(Ordering::Acquire));
    });
}

#[test]
fn the_last_reader_takes_the_source_along_when_the_coalescer_is_dropped() {
    let streams = Streams::new();
    let (feed, source) = feed();
    let (first, second) = (streams.stream("key", || Ok(source)).unwrap(), join(&streams, "key"));
    drop(streams);
    drop(first);
    assert!(!feed.is_dropped(), "a reader is left");
    drop(second);
    assert!(feed.is_dropped());
}

#[test]
fn a_weigher_that_panics_as_it_is_dropped_does_not_reach_the_last_reader() {
    struct Panics(Arc<AtomicBool>);

    impl Drop for Panics {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
            std::panic::resume_unwind(Box::new("the weigher"));
        }
    }

    let dropped = Arc::new(AtomicBool::new(false));
    let panics = Panics(Arc::clone(&dropped));
    let weigher = move |_: &u32| u64::from(panics.0.load(Ordering::Acquire));
    let streams = Streams::builder().max_buffered_bytes(10, weigher).build();
    let stream = streams.stream("key", || Ok([Ok(1)])).unwrap();
    drop(streams);
    assert_eq!(drain(stream).0, [1]);
    assert!(dropped.load(Ordering::Acquire));
}
