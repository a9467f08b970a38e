//! What the compiler and people see.

use std::error::Error;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, LazyLock};
use std::{fmt, io};

use sync_coalesce::stream::{Stream, StreamCoalesce, StreamError};

use super::{Streams, assert_idle, drain};

fn assert_shared<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
fn assert_sent<T: Send + UnwindSafe>() {}

#[test]
fn a_coalescer_is_shared_and_a_stream_is_sent() {
    assert_shared::<StreamCoalesce<String, String, io::Error>>();
    assert_sent::<Stream<String, io::Error>>();
}

#[test]
fn a_coalescer_may_be_a_static_and_is_asked_by_a_borrowed_key() {
    static STREAMS: LazyLock<Streams> = LazyLock::new(Streams::new);
    assert_eq!(drain(STREAMS.stream("key", || Ok([Ok(1)])).unwrap()).0, [1]);
    assert_idle(&*STREAMS);
}

#[test]
fn an_error_is_told_by_its_cause() {
    #[derive(Debug)]
    struct Broken;

    impl fmt::Display for Broken {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("broken pipe")
        }
    }

    impl Error for Broken {}

    let failed = StreamError::Failed(Arc::new(Broken));
    assert_eq!(failed.to_string(), "the source of the shared stream failed: broken pipe");
    assert!(failed.source().is_none(), "the text has the cause");
    assert_eq!(failed.clone().map_failed(|error| error.to_string()).to_string(), failed.to_string());
    let lagged: StreamError<Broken> = StreamError::Lagged { missed: 3 };
    assert_eq!(lagged.to_string(), "too far behind in the shared stream: 3 chunks missed");
    assert!(lagged.source().is_none());
    let chain = ["a#1".into(), "b#2".into()].into();
    let deadlock: StreamError<Broken> = StreamError::Deadlock { chain };
    assert_eq!(deadlock.to_string(), "reading would wait for itself: a#1 -> b#2");
    let panicked: StreamError<Broken> = StreamError::SourcePanicked { message: "out of tea".into() };
    assert_eq!(panicked.to_string(), "the source of the shared stream panicked: out of tea");
    let others: [StreamError<Broken>; 3] = [StreamError::TimedOut, StreamError::Cancelled, StreamError::Closed];
    for error in others {
        assert!(!error.to_string().is_empty() && error.source().is_none());
        assert_eq!(format!("{:?}", error.clone()), format!("{error:?}"));
        assert_eq!(format!("{:?}", error.clone().map_failed(|error| error)), format!("{error:?}"));
    }
}

#[test]
fn debug_shows_names_and_figures_and_no_chunks() {
    let streams = Streams::builder().name("answers").build();
    let stream = streams.stream("key", || Ok([Ok(1)])).unwrap();
    assert_eq!(format!("{stream:?}"), "Stream { chunks: 0, over: false, .. }");
    assert!(format!("{streams:?}").starts_with("StreamCoalesce { name: Some(\"answers\")"));
    assert!(format!("{:?}", streams.on("key")).starts_with("Call { about: OneKey(\"key\")"));
    assert_eq!(format!("{:?}", Streams::builder()), "StreamBuilder { name: None, .. }");
}
