//! What cannot be arranged from outside: news that comes between the moment when a sleeper's deadline passes and the
//! moment when it has the lock.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "to stop real threads of the system")]

use std::iter::from_fn;
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use super::error::StreamError;
use super::{Next, Stream, StreamCoalesce};
use crate::sync;
use crate::wait::blocking::{Compensate, set_pool};

type Streams = StreamCoalesce<u32, u32, u32>;

const LIMIT: Duration = Duration::from_secs(60);

/// Stops a sleeper after its sleep and before its next look: tells the first channel, and waits for the second.
struct Interrupt(Mutex<(mpsc::Sender<()>, mpsc::Receiver<()>)>);

impl Compensate for Interrupt {
    fn block_begin(self: Arc<Self>) {}

    fn block_end(&self) {
        let (woken, go_on) = &*self.0.lock().unwrap();
        woken.send(()).unwrap();
        go_on.recv_timeout(LIMIT).unwrap();
    }
}

/// What `read` returns in another thread if `meanwhile` happens between its sleep and its next look. None if it did not
/// sleep.
fn interrupted<R: Send + 'static>(read: impl FnOnce() -> R + Send + 'static, meanwhile: impl FnOnce()) -> Option<R> {
    let ((tell, woken), (go, go_on), (send, result)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
    let reading = move || {
        set_pool(Some(Arc::new(Interrupt(Mutex::new((tell, go_on))))));
        let found = read();
        set_pool(None);
        send.send(found).unwrap();
    };
    sync::spawn("reader".into(), reading).unwrap();
    let slept = woken.recv_timeout(LIMIT).is_ok();
    meanwhile();
    // Nobody listens if it did not sleep.
    let _ = go.send(());
    let found = result.recv_timeout(LIMIT).unwrap();
    slept.then_some(found)
}

/// Timeouts, the longer ones for a machine that is too busy for the shorter ones.
fn timeouts() -> impl Iterator<Item = Duration> {
    (0..15).map(|doubled| Duration::from_millis(1 << doubled))
}

/// ```text
/// reader                          puller
///                                 pulls; the source is silent
/// sleeps; its time is over
///                                 the source has a chunk: appends it
/// takes the lock
/// ```
fn chunk_meets<R: Send + 'static>(
    timeout: Duration,
    read: impl FnOnce(&mut Stream<u32, u32>) -> R + Send + 'static,
) -> Option<R> {
    let streams = Streams::new();
    let ((feed, chunks), (tell, told)) = (mpsc::channel(), mpsc::channel());
    let source = from_fn(move || {
        tell.send(()).unwrap();
        chunks.recv_timeout(LIMIT).ok().map(Ok)
    });
    let mut puller = streams.stream(&1, || Ok(source)).unwrap();
    let mut reader = streams.on(&1).timeout(timeout).stream(|| Ok(from_fn(|| None))).unwrap();
    let (appended, has_appended) = mpsc::channel();
    let pull = move || {
        assert!(matches!(puller.next(), Some(Ok(_))));
        appended.send(()).unwrap();
    };
    sync::spawn("puller".into(), pull).unwrap();
    told.recv_timeout(LIMIT).unwrap();
    let append = || {
        feed.send(7).unwrap();
        has_appended.recv_timeout(LIMIT).unwrap();
    };
    interrupted(move || read(&mut reader), append)
}

#[test]
fn a_chunk_that_meets_the_deadline_wins() {
    let next = timeouts().find_map(|timeout| chunk_meets(timeout, Iterator::next)).expect("it sleeps");
    assert!(matches!(&next, Some(Ok(chunk)) if **chunk == 7), "{next:?}");
}

#[test]
fn a_chunk_that_meets_the_limit_of_one_wait_wins() {
    let wait = |limit| move |stream: &mut Stream<u32, u32>| stream.next_deadline(Instant::now() + limit);
    let next = timeouts().find_map(|limit| chunk_meets(Duration::MAX, wait(limit))).expect("it sleeps");
    assert!(matches!(&next, Ok(Next::Chunk(chunk)) if **chunk == 7), "{next:?}");
}

/// ```text
/// reader                          opener
///                                 opens
/// joins, sleeps; its time is over
///                                 has opened, and leaves
/// takes the lock
/// ```
fn opening_meets(timeout: Duration) -> Option<bool> {
    let streams = Arc::new(Streams::new());
    let ((open, opens), (tell, told)) = (mpsc::channel(), mpsc::channel());
    let opener = Arc::clone(&streams);
    let opening = move || {
        let source = || {
            tell.send(()).unwrap();
            opens.recv_timeout(LIMIT).unwrap();
            Ok([Ok(7)])
        };
        let stream = opener.stream(&1, source).unwrap();
        tell.send(()).unwrap();
        drop(stream);
    };
    sync::spawn("opener".into(), opening).unwrap();
    told.recv_timeout(LIMIT).unwrap();
    let join = move || {
        let joined = streams.on(&1).timeout(timeout).stream(|| Ok(from_fn(|| None)));
        // It is past its deadline, so it does not pull.
        joined.is_ok_and(|mut stream| matches!(stream.next(), Some(Err(StreamError::TimedOut))))
    };
    let finish = || {
        open.send(()).unwrap();
        told.recv_timeout(LIMIT).unwrap();
    };
    interrupted(join, finish)
}

#[test]
fn an_opening_that_meets_the_deadline_wins() {
    assert!(timeouts().find_map(opening_meets).expect("it sleeps"));
}
