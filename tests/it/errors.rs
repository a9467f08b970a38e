//! What errors say, and how they travel.

use std::error::Error;
use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;

use sync_coalesce::{CallError, Key, SyncCoalesce};

use crate::support::assert_idle;

/// What many own, as an error of its own.
#[derive(Debug)]
struct Shared<E>(Arc<E>);

impl<E: fmt::Display> fmt::Display for Shared<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: fmt::Debug + fmt::Display> Error for Shared<E> {}

/// Not an error, and not `Clone`.
struct Opaque;

fn failed<E>(error: E) -> CallError<E> {
    let coalesce: SyncCoalesce<u8, (), E> = SyncCoalesce::new();
    let error = coalesce.try_call(&1, || Err(error)).err().unwrap();
    assert_idle(&coalesce);
    error
}

#[test]
fn an_error_can_be_cloned_and_shown_whatever_the_closure_returned() {
    let error = failed(Opaque);
    let (CallError::Failed(one), CallError::Failed(other)) = (error.clone(), &error) else { panic!("not a failure") };
    assert!(Arc::ptr_eq(&one, other));
    assert_eq!(error.to_string(), "the shared call failed");
}

#[test]
fn each_error_says_what_happened_and_only_what_the_closure_returned_can_be_mapped() {
    let circle =
        |flights: &[&str]| CallError::Deadlock { chain: flights.iter().map(|&flight| flight.into()).collect() };
    let bad_key = Key::of(&f32::NAN).unwrap_err();
    let cause = bad_key.to_string();
    let cases: [(CallError<io::Error>, &str, Option<&str>); 10] = [
        (CallError::Failed(Arc::new(io::Error::other("no route"))), "the shared call failed", Some("no route")),
        (
            CallError::LeaderPanicked { message: "boom".into() },
            "the thread that ran the shared call panicked: boom",
            None,
        ),
        (CallError::TimedOut, "timed out waiting for the shared call", None),
        (CallError::Cancelled, "the shared call was cancelled", None),
        (circle(&["a#1"]), "the call would wait for itself: a#1", None),
        (circle(&["a#1", "b#2", "c#3"]), "the call would wait for itself: a#1 -> b#2 -> c#3", None),
        (CallError::Overloaded, "too many callers wait for the shared call already", None),
        (CallError::Closed, "the coalescer is closed", None),
        (CallError::BadKey(bad_key), "no key can be made of the request", Some(&cause)),
        (CallError::WrongCount { expected: 2, got: 3 }, "the shared call was asked for 2 values and returned 3", None),
    ];
    for (error, text, source) in cases {
        let kind = mem::discriminant(&error);
        assert_eq!((error.to_string().as_str(), error.clone().to_string().as_str()), (text, text));
        assert!(!format!("{error:?}").is_empty());
        assert_eq!(error.source().map(ToString::to_string).as_deref(), source, "{text}");

        let failed = matches!(error, CallError::Failed(_));
        let mut mapped = false;
        let same = error.map_failed(|error| {
            mapped = true;
            io::Error::other(Shared(error))
        });
        assert_eq!((mem::discriminant(&same), same.to_string().as_str(), mapped), (kind, text, failed));
        // What it is made of is still there.
        assert_eq!(same.source().map(ToString::to_string).as_deref(), source, "{text}");
    }
}

#[test]
fn the_source_of_a_failure_is_the_closures_own_error() {
    let error = failed(io::Error::other("no route"));
    assert_eq!(error.source().unwrap().to_string(), "no route");
}

#[test]
fn a_boxed_error_travels_by_the_question_mark() {
    fn ask() -> Result<Arc<u16>, Box<dyn Error + Send + Sync>> {
        let coalesce: SyncCoalesce<String, u16, Box<dyn Error + Send + Sync>> = SyncCoalesce::new();
        let port = coalesce.try_call("port", || Ok("http".parse()?));
        assert_idle(&coalesce);
        Ok(port.map_err(|error| error.map_failed(Shared))?)
    }

    let error = ask().unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "invalid digit found in string");
}
