//! What errors say, and how they travel.

use std::error::Error;
use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;

use sync_coalesce::stream::{StreamCoalesce, StreamError};
use sync_coalesce::{CallError, Key, SharedError, SyncCoalesce};

use crate::support::assert_idle;

/// Not an error, and not `Clone`.
struct Opaque;

fn failed<E>(error: E) -> CallError<E> {
    let coalesce: SyncCoalesce<u8, (), E> = SyncCoalesce::new();
    let error = coalesce.try_call(&1, || Err(error)).err().unwrap();
    assert_idle(&coalesce);
    error
}

#[test]
fn an_error_can_be_cloned_whatever_the_closure_returned() {
    let error = failed(Opaque);
    let (CallError::Failed(one), CallError::Failed(other)) = (error.clone(), &error) else { panic!("not a failure") };
    assert!(Arc::ptr_eq(&one, other));
}

#[test]
fn each_error_says_what_happened_and_only_what_the_closure_returned_can_be_mapped() {
    let circle =
        |flights: &[&str]| CallError::Deadlock { chain: flights.iter().map(|&flight| flight.into()).collect() };
    let bad_key = Key::of(&f32::NAN).unwrap_err();
    let no_key = format!("no key can be made from the request: {bad_key}");
    let cases: [(CallError<io::Error>, &str); 10] = [
        (CallError::Failed(Arc::new(io::Error::other("no route"))), "the shared call failed: no route"),
        (CallError::LeaderPanicked { message: "boom".into() }, "the thread that ran the shared call panicked: boom"),
        (CallError::TimedOut, "timed out waiting for the shared call"),
        (CallError::Cancelled, "the shared call was cancelled"),
        (circle(&["a#1"]), "the call would wait for itself: a#1"),
        (circle(&["a#1", "b#2", "c#3"]), "the call would wait for itself: a#1 -> b#2 -> c#3"),
        (CallError::Overloaded, "too many callers are already waiting"),
        (CallError::Closed, "the coalescer is closed"),
        (CallError::BadKey(bad_key), &no_key),
        (CallError::WrongCount { expected: 2, got: 3 }, "the shared call was asked for 2 values and returned 3"),
    ];
    for (error, text) in cases {
        let kind = mem::discriminant(&error);
        assert_eq!((error.to_string().as_str(), error.clone().to_string().as_str()), (text, text));
        assert!(!format!("{error:?}").is_empty());
        assert!(error.source().is_none(), "the text has the cause: {text}");

        let failed = matches!(error, CallError::Failed(_));
        let mut mapped = false;
        let same = error.map_failed(|error| {
            mapped = true;
            io::Error::other(error.to_string())
        });
        assert_eq!((mem::discriminant(&same), same.to_string().as_str(), mapped), (kind, text, failed));
    }
}

#[test]
fn the_source_of_a_failure_is_that_of_the_closures_own_error() {
    let error = failed(io::Error::other(io::Error::other("no route")));
    assert_eq!(error.to_string(), "the shared call failed: no route");
    assert!(error.source().is_none());
    let CallError::Failed(cause) = error else { panic!("not a failure") };
    assert!(cause.get_ref().is_some());
}

/// An error with a source, as `E` is where it is no error itself.
#[derive(Debug)]
struct Refused(io::Error);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl Error for Refused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn refused() -> Refused {
    Refused(io::Error::other("no route"))
}

type Boxed = Box<dyn Error + Send + Sync>;

fn boxed() -> Boxed {
    refused().into()
}

/// The errors of the whole chain, from the outermost one on.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}

#[test]
fn a_shared_error_prints_and_has_the_sources_of_what_it_was_made_from() {
    for error in [
        SharedError::from(Arc::new(boxed())),
        SharedError::from(Arc::new(anyhow::Error::new(refused()))),
        SharedError::from(Arc::new(anyhow::anyhow!("no route").context("refused"))),
    ] {
        assert_eq!(chain(&error), ["refused", "no route"]);
        assert_eq!(chain(&error.clone()), ["refused", "no route"]);
    }
    let error = SharedError::from(Arc::new(boxed()));
    assert_eq!(format!("{error:?}"), format!("{:?}", refused()));
}

#[test]
fn what_a_shared_error_was_made_from_can_be_found_in_it() {
    for error in [
        SharedError::from(Arc::new(boxed())),
        SharedError::from(Arc::new(anyhow::Error::new(refused()))),
        SharedError::from(Arc::new(anyhow::Error::new(refused()).context("in the work"))),
    ] {
        assert!(error.downcast_ref::<Refused>().is_some());
        assert_eq!(error.downcast_ref::<io::Error>().unwrap().to_string(), "no route");
        assert!(error.downcast_ref::<fmt::Error>().is_none());
    }
}

/// For an `E` that is no error: `?` in functions that return what people return, and what they see of it.
macro_rules! travels {
    ($name:ident, $E:ty, $make:expr, $Error:ident, $fails:expr, $text:literal) => {
        #[test]
        fn $name() {
            fn fails() -> Result<(), $Error<$E>> {
                $fails($make)
            }

            fn to_shared() -> Result<(), $Error<SharedError>> {
                Ok(fails()?)
            }

            fn to_anyhow() -> anyhow::Result<()> {
                fails().map_err($Error::into_shared)?;
                Ok(())
            }

            fn to_boxed() -> Result<(), Boxed> {
                Ok(fails().map_err($Error::into_shared)?)
            }

            fn through_both() -> anyhow::Result<()> {
                Ok(to_shared()?)
            }

            // In the text the cause comes once, and then its sources.
            let text = concat!($text, ": refused");
            assert_eq!(chain(&to_shared().unwrap_err()), [text, "no route"]);
            assert_eq!(chain(&*to_boxed().unwrap_err()), [text, "no route"]);
            for error in [to_anyhow().unwrap_err(), through_both().unwrap_err()] {
                assert_eq!(error.to_string(), text);
                assert_eq!(format!("{error:#}"), format!("{text}: no route"));
            }
        }
    };
}

fn call<E>(error: E) -> Result<(), CallError<E>> {
    Err(failed(error))
}

travels!(a_calls_boxed_error_travels_by_the_question_mark, Boxed, boxed(), CallError, call, "the shared call failed");
travels!(
    a_calls_anyhow_error_travels_by_the_question_mark,
    anyhow::Error,
    anyhow::anyhow!("no route").context("refused"),
    CallError,
    call,
    "the shared call failed"
);

fn stream<E: Send + Sync + 'static>(error: E) -> Result<(), StreamError<E>> {
    let streams: StreamCoalesce<u8, (), E> = StreamCoalesce::new();
    let mut stream = streams.stream(&1, || Ok([Err(error)])).ok().expect("it opens");
    stream.next().expect("an item").map(drop)
}

travels!(
    a_streams_boxed_error_travels_by_the_question_mark,
    Boxed,
    boxed(),
    StreamError,
    stream,
    "the source of the shared stream failed"
);
travels!(
    a_streams_anyhow_error_travels_by_the_question_mark,
    anyhow::Error,
    anyhow::anyhow!("no route").context("refused"),
    StreamError,
    stream,
    "the source of the shared stream failed"
);

#[cfg(any(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
mod stack {
    use super::*;
    use sync_coalesce::stack::{Stack, StackError};

    fn stack<E>(error: E) -> Result<(), StackError<E>> {
        let stack: Stack<u8, (), E> = Stack::builder().build();
        let mut error = Some(error);
        stack.try_call(&1, || Err(error.take().expect("one attempt"))).map(drop)
    }

    travels!(a_stacks_boxed_error_travels_by_the_question_mark, Boxed, boxed(), StackError, stack, "the call failed");
    travels!(
        a_stacks_anyhow_error_travels_by_the_question_mark,
        anyhow::Error,
        anyhow::anyhow!("no route").context("refused"),
        StackError,
        stack,
        "the call failed"
    );
}

#[test]
fn the_alternate_form_of_anyhow_goes_through() {
    let error = failed(anyhow::anyhow!("no route").context("refused"));
    assert_eq!(error.to_string(), "the shared call failed: refused");
    assert_eq!(format!("{error:#}"), "the shared call failed: refused: no route");
}
