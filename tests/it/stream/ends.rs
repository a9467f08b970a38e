//! How streams end: by themselves, an error, a panic, and from outside by forget, cancel and close.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sync_coalesce::CallError;
use sync_coalesce::stream::{Stream, StreamError};

use super::{Source, Step, Streams, assert_idle, assert_next, drain, feed, join, until_waiting};
use crate::support::thread;
use crate::support::{Gate, bounded, until};

fn panic_of<R>(work: impl FnOnce() -> R) -> &'static str {
    let payload = catch_unwind(AssertUnwindSafe(work)).err().expect("a panic");
    payload.downcast_ref::<&str>().copied().expect("the source's own payload")
}

#[test]
fn an_error_reaches_everybody_after_the_chunks_before_it_and_once() {
    let streams = Streams::new();
    let (feed, source) = feed();
    feed.chunks([1, 2]);
    feed.send(Step::Fail("broken pipe"));
    let first = streams.stream("key", || Ok(source)).unwrap();
    let second = join(&streams, "key");
    let ends = [first, second].map(|stream| {
        let (chunks, end) = drain(stream);
        assert_eq!(chunks, [1, 2]);
        match end {
            Some(StreamError::Failed(error)) => error,
            other => panic!("{other:?}"),
        }
    });
    assert!(Arc::ptr_eq(&ends[0], &ends[1]));
    assert_eq!(*ends[0], "broken pipe");
    assert!(feed.is_dropped());
    assert_eq!(streams.stats().failed, 1);
    assert_idle(&streams);
}

/// ```text
/// puller                          waiting                 slow
/// has chunk 1                     has chunk 1
/// next: the source panics         SourcePanicked
/// sees its own panic                                      chunk 1, then SourcePanicked
/// ```
#[test]
fn a_panic_goes_on_to_its_puller_and_the_others_are_told() {
    bounded(|| {
        let streams = Streams::new();
        let (feed, source) = feed();
        feed.chunks([1]);
        let mut puller = streams.stream("key", || Ok(source)).unwrap();
        let slow = join(&streams, "key");
        assert_next(&mut puller, 1);
        let told = |end: Option<StreamError<String>>| {
            assert!(
                matches!(&end, Some(StreamError::SourcePanicked { message }) if **message == *"out of tea"),
                "{end:?}"
            );
        };
        thread::scope(|scope| {
            let mut waiting = join(&streams, "key");
            assert_next(&mut waiting, 1);
            let puller = scope.spawn(move || {
                assert_eq!(panic_of(|| puller.next()), "out of tea");
                // Who catches that and asks again must not take it for the end.
                assert!(matches!(puller.next(), Some(Err(StreamError::SourcePanicked { .. }))));
                assert!(puller.next().is_none());
            });
            feed.until_pulled(2);
            let waiting = scope.spawn(move || told(drain(waiting).1));
            until_waiting(&streams, 1);
            feed.send(Step::Panic("out of tea"));
            puller.join().unwrap();
            waiting.join().unwrap();
        });
        assert!(feed.is_dropped());
        let (chunks, end) = drain(slow);
        assert_eq!(chunks, [1]);
        told(end);
        assert_eq!(streams.stats().panicked, 1);
        assert_idle(&streams);
    });
}

#[test]
fn an_opening_that_fails_fails_for_all_who_wait_and_the_next_one_opens_afresh() {
    bounded(|| {
        let streams = Streams::new();
        let gate = Gate::new();
        let errors = thread::scope(|scope| {
            let first = scope.spawn(|| {
                let open = || -> Result<Source, String> {
                    gate.pass();
                    Err("no route".to_owned())
                };
                streams.stream("key", open).map(drop).unwrap_err()
            });
            until("the opening", || streams.in_flight() == 1);
            let second = scope.spawn(|| streams.stream("key", || Ok([Ok(0)])).map(drop).unwrap_err());
            until_waiting(&streams, 1);
            gate.open();
            [first.join().unwrap(), second.join().unwrap()]
        });
        let [CallError::Failed(one), CallError::Failed(other)] = &errors else { panic!("{errors:?}") };
        assert!(Arc::ptr_eq(one, other));
        assert_eq!(streams.stats().failed, 1);
        assert_idle(&streams);
        assert_eq!(drain(streams.stream("key", || Ok([Ok(1)])).unwrap()).0, [1]);
    });
}

#[test]
fn an_opening_that_panics_strands_nobody() {
    bounded(|| {
        let streams = Streams::new();
        let gate = Gate::new();
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let open = || -> Result<Source, String> {
                    gate.pass();
                    std::panic::resume_unwind(Box::new("no tea"));
                };
                assert_eq!(panic_of(|| streams.stream("key", open).map(drop)), "no tea");
            });
            until("the opening", || streams.in_flight() == 1);
            let second = scope.spawn(|| streams.stream("key", || Ok([Ok(0)])).map(drop).unwrap_err());
            until_waiting(&streams, 1);
            gate.open();
            first.join().unwrap();
            let error = second.join().unwrap();
            assert!(matches!(&error, CallError::LeaderPanicked { message } if **message == *"no tea"), "{error:?}");
        });
        assert_eq!(streams.stats().panicked, 1);
        assert_idle(&streams);
    });
}

#[test]
fn cancel_drops_a_source_that_nobody_pulls_from_at_once() {
    let streams = Streams::new();
    assert!(!streams.cancel("key"), "there is none");
    let (feed, source) = feed();
    feed.chunks([1]);
    let mut first = streams.stream("key", || Ok(source)).unwrap();
    let second = join(&streams, "key");
    assert_next(&mut first, 1);
    assert!(streams.cancel("key"));
    assert!(feed.is_dropped());
    assert_eq!(streams.in_flight(), 0);
    assert!(matches!(drain(first), (chunks, Some(StreamError::Cancelled)) if chunks.is_empty()));
    assert!(matches!(drain(second), (chunks, Some(StreamError::Cancelled)) if chunks == [1]));
    assert_eq!(streams.stats().cancelled, 1);
    assert_idle(&streams);
}

/// What wakes those who wait while the source is in its `next`, and what its puller gets.
fn cut_off_during_a_pull(cut: impl Fn(&Streams), is: fn(&Option<StreamError<String>>) -> bool) {
    bounded(|| {
        let streams = Streams::new();
        let (feed, source) = feed();
        let puller = streams.stream("key", || Ok(source)).unwrap();
        let waiting = join(&streams, "key");
        thread::scope(|scope| {
            let puller = scope.spawn(|| drain(puller));
            feed.until_pulled(1);
            let waiting = scope.spawn(|| drain(waiting));
            until_waiting(&streams, 1);
            cut(&streams);
            // The one who waits is woken while the pull goes on.
            let (chunks, end) = waiting.join().unwrap();
            assert!(chunks.is_empty() && is(&end), "{end:?}");
            assert!(!feed.is_dropped());
            feed.chunks([1]);
            let (chunks, end) = puller.join().unwrap();
            assert!(chunks.is_empty() && is(&end), "{end:?}");
            assert!(feed.is_dropped());
        });
        assert_eq!(streams.stats().cancelled, 1);
        assert_idle(&streams);
    });
}

#[test]
fn cancel_wakes_those_who_wait_and_takes_effect_for_the_puller_as_it_returns() {
    let is_cancelled = |end: &Option<StreamError<String>>| matches!(end, Some(StreamError::Cancelled));
    cut_off_during_a_pull(|streams| assert!(streams.cancel("key")), is_cancelled);
}

#[test]
fn close_wakes_those_who_wait_and_takes_effect_for_the_puller_as_it_returns() {
    cut_off_during_a_pull(Streams::close, |end| matches!(end, Some(StreamError::Closed)));
}

#[test]
fn a_stream_that_was_cancelled_neither_fails_nor_panics_afterwards() {
    for (step, panics) in [(Step::Fail("broken pipe"), false), (Step::Panic("out of tea"), true)] {
        bounded(|| {
            let streams = Streams::new();
            let (feed, source) = feed();
            let puller = streams.stream("key", || Ok(source)).unwrap();
            thread::scope(|scope| {
                let puller = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| drain(puller))));
                feed.until_pulled(1);
                assert!(streams.cancel("key"));
                feed.send(step);
                match puller.join().unwrap() {
                    Ok((chunks, Some(StreamError::Cancelled))) => assert!(!panics && chunks.is_empty()),
                    Ok((_, end)) => panic!("{end:?}"),
                    Err(_) => assert!(panics),
                }
            });
            let stats = streams.stats();
            assert_eq!((stats.cancelled, stats.failed, stats.panicked), (1, 0, 0));
            assert_idle(&streams);
        });
    }
}

#[test]
fn an_opening_that_was_cancelled_does_not_fail_afterwards() {
    let streams = Streams::new();
    let open = || -> Result<Source, String> {
        assert!(streams.cancel("key"));
        Err("no route".to_owned())
    };
    assert!(matches!(streams.stream("key", open), Err(CallError::Cancelled)));
    assert_eq!((streams.stats().cancelled, streams.stats().failed), (1, 0));
    assert_idle(&streams);
}

#[test]
fn close_reaches_streams_that_were_forgotten() {
    cut_off_during_a_pull(
        |streams| {
            assert!(streams.forget("key"));
            streams.close();
        },
        |end| matches!(end, Some(StreamError::Closed)),
    );
}

#[test]
fn a_closed_coalescer_opens_nothing() {
    let streams = Streams::new();
    streams.close();
    let refused = streams.stream("key", || -> Result<Source, String> { unreachable!("it is closed") });
    assert!(matches!(refused, Err(CallError::Closed)));
    assert_eq!((streams.stats().closed, streams.stats().opened), (1, 0));
}

#[test]
fn cancel_during_the_opening_drops_what_was_opened() {
    bounded(|| {
        let streams = Streams::new();
        let gate = Gate::new();
        let (feed, source) = feed();
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                let open = || {
                    gate.pass();
                    Ok(source)
                };
                streams.stream("key", open).map(drop)
            });
            until("the opening", || streams.in_flight() == 1);
            let second = scope.spawn(|| streams.stream("key", || Ok([Ok(0)])).map(drop));
            until_waiting(&streams, 1);
            assert!(streams.cancel("key"));
            assert!(matches!(second.join().unwrap(), Err(CallError::Cancelled)));
            gate.open();
            assert!(matches!(first.join().unwrap(), Err(CallError::Cancelled)));
        });
        assert!(feed.is_dropped());
        assert_idle(&streams);
    });
}

#[test]
fn after_forget_the_old_stream_goes_on_and_its_end_does_not_touch_the_new_one() {
    let streams = Streams::new();
    let mut old = streams.stream("key", || Ok([Ok(1), Ok(2)])).unwrap();
    assert_next(&mut old, 1);
    assert!(streams.forget("key"));
    assert!(!streams.forget("key"), "it is forgotten");
    let mut new = streams.stream("key", || Ok([Ok(3), Ok(4)])).unwrap();
    assert_eq!((streams.stats().in_flight, streams.stats().running), (1, 2));
    assert_eq!(drain(old).0, [2]);
    assert_eq!((streams.stats().in_flight, streams.stats().running), (1, 1));
    assert_next(&mut new, 3);
    let newer = join(&streams, "key");
    assert_eq!(drain(new).0, [4]);
    assert_eq!(drain(newer).0, [3, 4]);
    assert_idle(&streams);
}

#[test]
fn the_last_reader_of_a_forgotten_stream_takes_its_source_along() {
    let streams = Streams::new();
    let (feed, source) = feed();
    let old: Stream<u32, String> = streams.stream("key", || Ok(source)).unwrap();
    streams.forget("key");
    let new = streams.stream("key", || Ok([Ok(3)])).unwrap();
    drop(old);
    assert!(feed.is_dropped());
    assert_eq!(drain(new).0, [3]);
    assert_idle(&streams);
}
