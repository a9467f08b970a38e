//! Chunks of bytes, by `Read` and `BufRead`.

use std::io::{BufRead, Error, ErrorKind, Read};
use std::time::Duration;

use sync_coalesce::stream::{StreamCoalesce, StreamError};

use super::assert_idle;

type Bytes = StreamCoalesce<String, Vec<u8>, Error>;

fn pieces(pieces: &[&str]) -> Vec<Result<Vec<u8>, Error>> {
    pieces.iter().map(|piece| Ok(piece.as_bytes().to_vec())).collect()
}

#[test]
fn bytes_are_read_over_the_ends_of_chunks() {
    let streams = Bytes::new();
    let mut first = streams.stream("key", || Ok(pieces(&["Nine t", "", "o fi", "ve."]))).unwrap();
    let mut second = streams.stream("key", || Ok(pieces(&[]))).unwrap();
    let mut four = [0; 4];
    first.read_exact(&mut four).unwrap();
    assert_eq!(&four, b"Nine");
    let mut text = String::new();
    first.read_to_string(&mut text).unwrap();
    assert_eq!(text, " to five.");
    text.clear();
    second.read_to_string(&mut text).unwrap();
    assert_eq!(text, "Nine to five.", "each reader has a place of its own");
    assert_eq!(second.read(&mut four).unwrap(), 0, "the end stays the end");
    assert_idle(&streams);
}

#[test]
fn lines_are_found_over_the_ends_of_chunks() {
    let streams = Bytes::new();
    let stream = streams.stream("key", || Ok(pieces(&["data: 1\nda", "ta: 2\n\n", "data: 3"]))).unwrap();
    let lines: Vec<String> = stream.lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["data: 1", "data: 2", "", "data: 3"]);
    assert_idle(&streams);
}

#[test]
fn reading_nothing_pulls_nothing() {
    let streams = Bytes::new();
    let source = std::iter::from_fn(|| -> Option<Result<Vec<u8>, Error>> { panic!("pulled") });
    let mut stream = streams.stream("key", || Ok(source)).unwrap();
    assert_eq!(stream.read(&mut []).unwrap(), 0);
}

#[test]
fn a_stream_that_was_cut_off_is_an_error_after_its_bytes() {
    let streams = Bytes::new();
    let mut chunks = pieces(&["half"]);
    chunks.push(Err(Error::new(ErrorKind::ConnectionReset, "reset")));
    let mut stream = streams.stream("key", || Ok(chunks)).unwrap();
    let mut text = Vec::new();
    let error = stream.read_to_end(&mut text).unwrap_err();
    assert_eq!(text, b"half");
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<StreamError<Error>>());
    assert!(matches!(inner, Some(StreamError::Failed(error)) if error.kind() == ErrorKind::ConnectionReset));
    assert_idle(&streams);
}

#[test]
fn a_deadline_that_passed_is_of_the_kind_timed_out() {
    let streams = Bytes::new();
    let mut stream = streams.on("key").timeout(Duration::ZERO).stream(|| Ok(pieces(&["late"]))).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn next_goes_on_after_the_chunk_that_was_read_in_part() {
    let streams = Bytes::new();
    let mut stream = streams.stream("key", || Ok(pieces(&["one", "two"]))).unwrap();
    stream.read_exact(&mut [0; 1]).unwrap();
    assert_eq!(**stream.next().unwrap().unwrap(), *b"two");
}

#[test]
fn to_consume_more_than_there_is_harms_nobody() {
    let streams = Bytes::new();
    let mut stream = streams.stream("key", || Ok(pieces(&["one", "two"]))).unwrap();
    assert_eq!(stream.fill_buf().unwrap(), b"one");
    stream.consume(usize::MAX);
    assert_eq!(stream.fill_buf().unwrap(), b"two");
}
