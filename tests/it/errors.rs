//! What errors say, and how they travel.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use sync_coalesce::{CallError, Key, SyncCoalesce};

/// Not an error, and not `Clone`.
struct Opaque;

fn failed<E>(error: E) -> CallError<E> {
    let coalesce: SyncCoalesce<u8, (), E> = SyncCoalesce::new();
    coalesce.try_call(&1, || Err(error)).err().unwrap()
}

#[test]
fn an_error_can_be_cloned_and_shown_whatever_the_closure_returned() {
    let error = failed(Opaque);
    let (CallError::Failed(one), CallError::Failed(other)) = (error.clone(), &error) else { panic!("not a failure") };
    assert!(Arc::ptr_eq(&one, other));
    assert_eq!(error.to_string(), "the shared call failed");
}

#[test]
fn each_error_says_what_happened() {
    let bad_key = CallError::<io::Error>::BadKey(Key::of(&f32::NAN).unwrap_err());
    assert!(bad_key.source().is_some());
    let panicked = CallError::LeaderPanicked { message: "boom".into() };
    for (error, text) in [
        (CallError::TimedOut, "timed out waiting for the shared call"),
        (CallError::Cancelled, "the shared call was cancelled"),
        (panicked, "the thread that ran the shared call panicked: boom"),
        (bad_key, "no key can be made of the request"),
    ] {
        assert_eq!(error.to_string(), text);
        assert!(!format!("{error:?}").is_empty());
        assert_eq!(error.map_failed(|_| Opaque).to_string(), text, "map_failed leaves it alone");
    }
}

#[test]
fn the_source_of_a_failure_is_the_closures_own_error() {
    let error = failed(io::Error::other("no route"));
    assert_eq!(error.source().unwrap().to_string(), "no route");
}

#[test]
fn a_boxed_error_travels_by_the_question_mark() {
    #[derive(Debug)]
    struct Shared(Arc<Box<dyn Error + Send + Sync>>);

    impl fmt::Display for Shared {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt(f)
        }
    }

    impl Error for Shared {}

    fn ask() -> Result<Arc<u16>, Box<dyn Error + Send + Sync>> {
        let coalesce: SyncCoalesce<String, u16, Box<dyn Error + Send + Sync>> = SyncCoalesce::new();
        let port = coalesce.try_call("port", || Ok("http".parse()?)).map_err(|error| error.map_failed(Shared))?;
        Ok(port)
    }

    let error = ask().unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "invalid digit found in string");
}
