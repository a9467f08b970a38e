//! Many readers of one stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sync_coalesce::stream::StreamError;

use super::{Streams, assert_idle};
use crate::support::thread;
use crate::support::{Random, bounded, crowd, join as joined};

const READERS: usize = 64;
const CHUNKS: u32 = 2_000;

/// Numbers from 0, and an error if two threads pull at a time.
fn numbers(count: u32) -> impl Iterator<Item = Result<u32, String>> + Send {
    let busy = AtomicBool::new(false);
    (0..count).map(move |chunk| {
        assert!(!busy.swap(true, Ordering::Acquire), "two pull at a time");
        thread::yield_now();
        busy.store(false, Ordering::Release);
        Ok(chunk)
    })
}

/// ```text
/// holder                          64 readers, each again and again
/// opens                           joins, reads as many as it likes, leaves
/// reads slowly, to the end        the last round of each goes to the end
/// ```
#[test]
fn sixty_four_readers_that_join_and_leave_at_random_each_have_the_exact_sequence() {
    bounded(|| {
        let streams = Streams::new();
        let opened = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&opened);
        let open = move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(numbers(CHUNKS))
        };
        // It has had nothing until the others are done, so the stream does not end before, nor is it left by all.
        let holder = streams.stream("key", open.clone()).unwrap();
        // Nobody goes to the end before all have joined for the last time.
        let last_round = std::sync::Barrier::new(READERS);
        thread::scope(|scope| {
            let (streams, last_round) = (&streams, &last_round);
            let readers = crowd(scope, READERS, |number| {
                let mut random = Random::new(number);
                for _ in 0..8 {
                    let limit = random.below(CHUNKS as usize);
                    let stream = streams.stream("key", open.clone()).unwrap();
                    let had =
                        stream.take(limit).zip(0..).map(|(chunk, expected)| assert_eq!(*chunk.unwrap(), expected));
                    assert_eq!(had.count(), limit);
                }
                let stream = streams.stream("key", open.clone()).unwrap();
                last_round.wait();
                assert!(stream.map(|chunk| *chunk.unwrap()).eq(0..CHUNKS));
            });
            joined(readers);
        });
        assert!(holder.map(|chunk| *chunk.unwrap()).eq(0..CHUNKS));
        let stats = streams.stats();
        assert_eq!((opened.load(Ordering::Relaxed), stats.opened, stats.joined), (1, 1, 9 * READERS as u64));
        assert_idle(&streams);
    });
}

/// Nobody holds the stream, so it ends with the last reader and begins again, and each still has a sequence from 0.
#[test]
fn readers_that_come_and_go_while_streams_end_have_exact_sequences() {
    bounded(|| {
        let streams = Streams::builder().max_buffered(16).build();
        let open = || Ok(numbers(40));
        thread::scope(|scope| {
            let streams = &streams;
            let readers = crowd(scope, 8, |number| {
                let mut random = Random::new(number);
                let mut lagged = 0;
                for _ in 0..300 {
                    let mut expected = 0..40;
                    for chunk in streams.stream("key", open).unwrap().take(random.below(50)) {
                        match chunk {
                            Ok(chunk) => assert_eq!(Some(*chunk), expected.next()),
                            Err(StreamError::Lagged { missed }) => {
                                assert!(missed > 0);
                                lagged += 1;
                            }
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                }
                lagged
            });
            let lagged: u64 = joined(readers).into_iter().sum();
            assert_eq!(streams.stats().lagged, lagged);
        });
        let stats = streams.stats();
        assert_eq!(stats.calls(), 8 * 300, "{stats:?}");
        assert_idle(&streams);
    });
}
