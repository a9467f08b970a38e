//! Streams that threads share.

mod bounds;
mod bytes;
mod deadlines;
mod deadlock;
mod ends;
mod many_readers;
mod model;
mod next_timeout;
mod options;
mod owned;
mod pool;
mod reading;
mod types;
mod user_code;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use sync_coalesce::stream::{Stream, StreamCoalesce, StreamError};

use crate::support::{LIMIT, until};

type Streams = StreamCoalesce<String, u32, String>;

/// What a source does next.
enum Step {
    Chunk(u32),
    Fail(&'static str),
    Panic(&'static str),
}

/// Feeds one source: it blocks in its `next` until it is told what to do, and ends when this is dropped.
struct Feed {
    steps: Sender<Step>,
    seen: Arc<Seen>,
}

/// What was seen of a source.
#[derive(Default)]
struct Seen {
    pulls: AtomicU64,
    dropped: AtomicBool,
}

struct Source {
    steps: Receiver<Step>,
    seen: Arc<Seen>,
}

/// The opening of a caller that has to join.
fn unopened() -> Result<Source, String> {
    unreachable!("it is open")
}

/// A source, and what feeds it.
fn feed() -> (Feed, Source) {
    let (send, steps) = mpsc::channel();
    let seen = Arc::new(Seen::default());
    (Feed { steps: send, seen: Arc::clone(&seen) }, Source { steps, seen })
}

impl Feed {
    fn send(&self, step: Step) {
        self.steps.send(step).unwrap();
    }

    fn chunks(&self, chunks: impl IntoIterator<Item = u32>) {
        chunks.into_iter().for_each(|chunk| self.send(Step::Chunk(chunk)));
    }

    /// Waits until `next` has been called so often in all.
    fn until_pulled(&self, pulls: u64) {
        until(format_args!("{pulls} pulls"), || self.seen.pulls.load(Ordering::Acquire) == pulls);
    }

    fn is_dropped(&self) -> bool {
        self.seen.dropped.load(Ordering::Acquire)
    }
}

impl Iterator for Source {
    type Item = Result<u32, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.seen.pulls.fetch_add(1, Ordering::AcqRel);
        match self.steps.recv_timeout(LIMIT) {
            Ok(Step::Chunk(chunk)) => Some(Ok(chunk)),
            Ok(Step::Fail(error)) => Some(Err(error.to_owned())),
            Ok(Step::Panic(message)) => std::panic::resume_unwind(Box::new(message)),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("nothing was fed"),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.seen.dropped.store(true, Ordering::Release);
    }
}

/// Joins a stream that is open.
fn join(streams: &Streams, key: &str) -> Stream<u32, String> {
    streams.stream(key, || -> Result<Source, String> { unreachable!("it is open") }).unwrap()
}

/// Whether that is the next chunk.
#[track_caller]
fn assert_next(stream: &mut Stream<u32, String>, chunk: u32) {
    let next = stream.next();
    assert!(matches!(&next, Some(Ok(found)) if **found == chunk), "{next:?} where {chunk} was expected");
}

/// All chunks, and how the stream ended.
fn drain(stream: Stream<u32, String>) -> (Vec<u32>, Option<StreamError<String>>) {
    let mut chunks = Vec::new();
    let mut end = None;
    for item in stream {
        assert!(end.is_none(), "an item after the error");
        match item {
            Ok(chunk) => chunks.push(*chunk),
            Err(error) => end = Some(error),
        }
    }
    (chunks, end)
}

#[track_caller]
fn assert_idle<K, C, E, S>(streams: &StreamCoalesce<K, C, E, S>) {
    let stats = streams.stats();
    assert_eq!((stats.in_flight, stats.running, stats.readers, stats.waiting), (0, 0, 0, 0), "{stats:?}");
}

fn until_waiting(streams: &Streams, readers: u64) {
    until(format_args!("{readers} waiting readers"), || streams.stats().waiting == readers);
}
