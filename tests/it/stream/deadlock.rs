//! Waits for an opener or a puller that would close a cycle.

use std::iter::from_fn;
use std::sync::{Arc, Barrier};

use sync_coalesce::stream::{StreamCoalesce, StreamError};
use sync_coalesce::{CallError, SyncCoalesce};

use super::{Streams, assert_idle, drain, join, until_waiting};
use crate::support::thread;
use crate::support::{Gate, bounded};

/// Whether reading `key` to its end is refused.
fn is_refused(streams: &Streams, key: &str) -> bool {
    match streams.stream(key, || Ok([Ok(0)])) {
        Ok(stream) => matches!(drain(stream).1, Some(StreamError::Deadlock { .. })),
        Err(error) => matches!(error, CallError::Deadlock { .. }),
    }
}

#[test]
fn a_source_that_reads_its_own_stream_is_refused() {
    bounded(|| {
        let streams = Arc::new(Streams::builder().name("answers").build());
        let inner = Arc::clone(&streams);
        let mut pulls = 0..2;
        let source = from_fn(move || {
            let chunk = pulls.next()?;
            let (had, end) = drain(inner.stream("key", || Ok([Ok(9)])).unwrap());
            // It has what came before, and for the next chunk it would wait for itself.
            assert!(had.into_iter().eq(0..chunk));
            let Some(StreamError::Deadlock { chain }) = end else { panic!("{end:?}") };
            assert_eq!(*chain, ["answers#1".into()]);
            Some(Ok(chunk))
        });
        assert_eq!(drain(streams.stream("key", || Ok(source)).unwrap()).0, [0, 1]);
        assert_eq!(streams.stats().joined, 2);
        assert_idle(&streams);
    });
}

#[test]
fn an_opening_that_asks_for_its_own_key_is_refused() {
    let streams = Streams::new();
    let open = || {
        assert!(is_refused(&streams, "key"));
        Ok([Ok(1)])
    };
    assert_eq!(drain(streams.stream("key", open).unwrap()).0, [1]);
    assert_eq!((streams.stats().deadlocks, streams.stats().calls()), (1, 2));
    assert_idle(&streams);
}

/// ```text
/// first thread                    second thread
/// pulls a, and in it reads b      pulls b, and in it reads a
/// ```
#[test]
fn of_two_who_pull_crosswise_one_is_refused() {
    bounded(|| {
        for _ in 0..200 {
            let streams = Arc::new(Streams::new());
            let both_pull = Arc::new(Barrier::new(2));
            let refused = thread::scope(|scope| {
                let part = |own: &'static str, other: &'static str| {
                    let inner = Arc::clone(&streams);
                    let both_pull = Arc::clone(&both_pull);
                    let source = from_fn(move || {
                        both_pull.wait();
                        let refused = is_refused(&inner, other);
                        // Whoever is refused says so to both of them.
                        Some(if refused { Err("refused".to_owned()) } else { Ok(0) })
                    });
                    let streams = Arc::clone(&streams);
                    scope.spawn(move || {
                        let mut stream = streams.stream(own, || Ok(source.take(1))).unwrap();
                        u64::from(stream.next().unwrap().is_err())
                    })
                };
                let threads = [part("a", "b"), part("b", "a")];
                threads.map(|thread| thread.join().unwrap()).into_iter().sum::<u64>()
            });
            assert_eq!(refused, 1, "exactly one is refused");
            assert_idle(&streams);
        }
    });
}

/// ```text
/// first thread                    second thread
/// leads a call, and in it reads   pulls the stream, and in it
/// the stream: waits               asks for the call: refused
/// ```
#[test]
fn a_cycle_over_a_call_and_a_stream_is_refused() {
    bounded(|| {
        let calls: Arc<SyncCoalesce<String, u32>> = Arc::new(SyncCoalesce::new());
        let streams = Arc::new(Streams::new());
        let (leads, pulls) = (Gate::new(), Arc::new(Gate::new()));
        let (asking, watching, pulling) = (Arc::clone(&calls), Arc::clone(&streams), Arc::clone(&pulls));
        let source = from_fn(move || {
            pulling.open();
            until_waiting(&watching, 1);
            let refused = matches!(asking.call("call", || 0), Err(CallError::Deadlock { .. }));
            Some(Ok(u32::from(refused)))
        });
        let mut puller = streams.stream("stream", || Ok(source.take(1))).unwrap();
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                calls.call("call", || {
                    leads.open();
                    pulls.pass();
                    *join(&streams, "stream").next().unwrap().unwrap()
                })
            });
            leads.pass();
            assert_eq!(*puller.next().unwrap().unwrap(), 1, "the puller is refused");
            assert_eq!(*leader.join().unwrap().unwrap(), 1, "and the leader has its chunk");
        });
        assert!(puller.next().is_none());
        assert_idle(&streams);
    });
}

#[test]
fn one_that_leads_nothing_is_never_refused() {
    bounded(|| {
        let streams: StreamCoalesce<u32, u32, String> = StreamCoalesce::new();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for key in 0..200 {
                        let stream = streams.stream(&key, || Ok((0..4).map(Ok))).unwrap();
                        assert!(stream.map(|chunk| *chunk.unwrap()).eq(0..4));
                    }
                });
            }
        });
        assert_eq!(streams.stats().refused(), 0);
        assert_idle(&streams);
    });
}
