//! User code that panics where nobody looks.

use std::borrow::Borrow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sync_coalesce::stream::{StreamCoalesce, StreamError};

use super::assert_idle;

/// Panics in its `Drop`, and counts that.
struct Bomb(Arc<AtomicU64>);

impl std::fmt::Debug for Bomb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a bomb")
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        resume_unwind(Box::new("dropped"));
    }
}

/// A key made from a name alone, so that no key of a test itself goes off.
#[derive(Clone)]
struct Key(String, Arc<AtomicBool>);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

impl std::hash::Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        if self.1.load(Ordering::Relaxed) {
            resume_unwind(Box::new("a key"));
        }
    }
}

#[test]
fn a_chunk_a_source_and_an_error_that_panic_when_dropped_harm_nobody() {
    let drops = Arc::new(AtomicU64::new(0));
    let streams: StreamCoalesce<u32, Bomb, Bomb> = StreamCoalesce::builder().max_buffered(2).build();
    let bomb = || Bomb(Arc::clone(&drops));
    let in_source = bomb();
    let drops_of_chunks = Arc::clone(&drops);
    let mut pulls = 0..5;
    let source = std::iter::from_fn(move || {
        let _in_source = &in_source;
        let bomb = Bomb(Arc::clone(&drops_of_chunks));
        Some(if pulls.next().is_some() { Ok(bomb) } else { Err(bomb) })
    });
    let mut first = streams.stream(&1, || Ok(source)).unwrap();
    let mut second = streams.stream(&1, || unreachable!("it is open") as Result<Vec<_>, _>).unwrap();
    for _ in 0..5 {
        // Whoever holds the last reference to a chunk drops it, so these two do not.
        std::mem::forget(first.next().unwrap().ok().unwrap());
    }
    assert!(matches!(second.next(), Some(Err(StreamError::Lagged { missed: 3 }))));
    let Some(Err(StreamError::Failed(error))) = first.next() else { panic!("no error") };
    std::mem::forget(error);
    assert_eq!(drops.load(Ordering::Relaxed), 1, "the source; the rest is leaked by this test");
    assert_idle(&streams);

    // Left with its source, and one that nobody pulled from.
    drop(streams.stream(&1, || Ok([Ok(bomb())])).unwrap());
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    assert_idle(&streams);
}

#[test]
fn each_chunk_is_dropped_though_each_drop_panics() {
    let drops = Arc::new(AtomicU64::new(0));
    let streams: StreamCoalesce<u32, Bomb, String> = StreamCoalesce::new();
    let bombs = [(); 3].map(|()| Ok(Bomb(Arc::clone(&drops))));
    let mut pulling = streams.stream(&1, || Ok(bombs)).unwrap();
    let other = streams.stream(&1, || unreachable!("it is open") as Result<Vec<_>, _>).unwrap();
    for _ in 0..3 {
        // The log has it too.
        drop(pulling.next().unwrap().unwrap());
    }
    drop(pulling);
    assert_eq!(drops.load(Ordering::Relaxed), 0);
    drop(other);
    assert_eq!(drops.load(Ordering::Relaxed), 3);
    assert_idle(&streams);
}

#[test]
fn an_opening_that_is_not_needed_and_panics_when_dropped_leaves_no_reader_behind() {
    let drops = Arc::new(AtomicU64::new(0));
    let streams: StreamCoalesce<u32, u32, String> = StreamCoalesce::new();
    let first = streams.stream(&1, || Ok([Ok(1)])).unwrap();
    let bomb = Bomb(Arc::clone(&drops));
    let open = move || -> Result<Vec<_>, String> { unreachable!("it is open, {bomb:?}") };
    let second = catch_unwind(AssertUnwindSafe(|| streams.stream(&1, open)));
    let read = second.ok().map(|stream| stream.unwrap().map(|chunk| *chunk.unwrap()).sum::<u32>());
    drop(first);
    assert_idle(&streams);
    assert_eq!((read, drops.load(Ordering::Relaxed)), (Some(1), 1));
}

#[test]
fn a_key_that_panics_when_dropped_harms_nobody() {
    let armed = Arc::new(AtomicBool::new(false));
    let streams: StreamCoalesce<Key, u32, String> = StreamCoalesce::new();
    let key = Key("key".to_owned(), Arc::clone(&armed));
    let borrowed: &Key = key.borrow();
    let mut to_the_end = streams.stream(borrowed, || Ok([Ok(1)])).unwrap();
    armed.store(true, Ordering::Relaxed);
    assert!(to_the_end.next().unwrap().is_ok() && to_the_end.next().is_none());
    let left = streams.stream(borrowed, || Ok([Ok(1)])).unwrap();
    drop(left);
    let cancelled = streams.stream(borrowed, || Ok([Ok(1)])).unwrap();
    assert!(streams.cancel(borrowed));
    drop(cancelled);
    let forgotten = streams.stream(borrowed, || Ok([Ok(1)])).unwrap();
    assert!(streams.forget(borrowed));
    drop(forgotten);
    let closed = streams.stream(borrowed, || Ok([Ok(1)])).unwrap();
    streams.close();
    drop(closed);
    assert_idle(&streams);
    armed.store(false, Ordering::Relaxed);
}

/// ```text
/// this thread
/// opens; the source's Drop asks for the same key, in the middle of a leave
/// ```
#[test]
fn a_source_may_ask_again_as_it_is_dropped() {
    struct Asks(Arc<StreamCoalesce<u32, u32, String>>, Arc<AtomicBool>);

    impl Iterator for Asks {
        type Item = Result<u32, String>;

        fn next(&mut self) -> Option<Self::Item> {
            None
        }
    }

    impl Drop for Asks {
        fn drop(&mut self) {
            let again = self.0.stream(&1, || Ok([Ok(2)])).unwrap();
            self.1.store(again.map(|chunk| *chunk.unwrap()).eq([2]), Ordering::Relaxed);
        }
    }

    let streams = Arc::new(StreamCoalesce::new());
    for read in [false, true] {
        let asked = Arc::new(AtomicBool::new(false));
        let source = Asks(Arc::clone(&streams), Arc::clone(&asked));
        let mut stream = streams.stream(&1, || Ok(source)).unwrap();
        assert!(!read || stream.next().is_none());
        drop(stream);
        assert!(asked.load(Ordering::Relaxed));
        assert_idle(&streams);
    }
}
