//! What one caller can ask of its stream: an age, patience, a stream of its own, a name.

use std::time::Duration;

use sync_coalesce::CallError;

use super::{Streams, assert_idle, drain, unopened};
use crate::support::thread;
use crate::support::{Gate, bounded, until};

fn numbers(numbers: &'static [u32]) -> impl FnOnce() -> Result<Vec<Result<u32, String>>, String> {
    || Ok(numbers.iter().copied().map(Ok).collect())
}

#[test]
fn a_stream_that_was_opened_before_a_mark_is_not_joined_after_it() {
    let streams = Streams::new();
    let old = streams.stream("key", numbers(&[1])).unwrap();
    let mark = streams.mark();
    let new = streams.on("key").after(mark).stream(numbers(&[2])).unwrap();
    let joined = streams.on("key").after(mark).stream(unopened).unwrap();
    assert_eq!([old.is_opener(), new.is_opener(), joined.is_opener()], [true, true, false]);
    assert_eq!([drain(old).0, drain(new).0, drain(joined).0], [vec![1], vec![2], vec![2]]);
    assert_eq!((streams.stats().opened, streams.stats().joined), (2, 1));
    assert_idle(&streams);
}

#[test]
fn a_bypassing_stream_joins_none_and_is_joined_by_none() {
    let streams = Streams::new();
    let shared = streams.stream("key", numbers(&[1])).unwrap();
    let own = streams.on("key").bypass().stream(numbers(&[2])).unwrap();
    let joined = streams.stream("key", unopened).unwrap();
    assert_eq!([drain(shared).0, drain(own).0, drain(joined).0], [vec![1], vec![2], vec![1]]);
    assert_eq!((streams.stats().opened, streams.stats().joined), (2, 1));
    assert_idle(&streams);
}

#[test]
fn whoever_runs_out_of_patience_with_an_opening_opens_a_stream_of_its_own() {
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
            let own = streams.on("key").patience(Duration::from_millis(1)).stream(numbers(&[2])).unwrap();
            assert!(own.is_opener());
            assert_eq!(drain(own).0, [2]);
            gate.open();
            assert_eq!(first.join().unwrap(), [1], "the other loses nothing");
        });
        assert_eq!(streams.stats().timed_out, 0, "patience is no deadline");
        assert_idle(&streams);
    });
}

#[test]
fn a_deadline_that_comes_before_the_end_of_patience_ends_the_call() {
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
            let late = streams.on("key").timeout(Duration::ZERO).patience(Duration::MAX).stream(unopened);
            assert!(matches!(late, Err(CallError::TimedOut)));
            gate.open();
            assert_eq!(first.join().unwrap(), [1]);
        });
        assert_idle(&streams);
    });
}

#[test]
fn a_label_given_with_the_call_is_in_the_chain() {
    let streams = Streams::new();
    let refused = std::sync::Mutex::new(None);
    let opened = streams.on("key").label("not asked for").stream(|| {
        *refused.lock().unwrap() = streams.on("key").label("the question of nine o'clock").stream(unopened).err();
        Ok([Ok(1)])
    });
    assert_eq!(drain(opened.unwrap()).0, [1]);
    let Some(CallError::Deadlock { chain }) = refused.into_inner().unwrap() else { panic!("it waited for itself") };
    assert_eq!(chain.iter().map(|label| &**label).collect::<Vec<_>>(), ["the question of nine o'clock"]);
    assert_idle(&streams);
}
