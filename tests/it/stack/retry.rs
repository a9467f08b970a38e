//! Retries, by a clock that the tests move and chance that they choose.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use sync_coalesce::stack::ManualClock;
use sync_coalesce::stack::retry::{Jitter, Retry, RetryBuilder, RetryError, retry_after, retry_after_at, retryable};

use crate::support::thread;
use crate::support::{bounded, until};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Busy,
    Asks(Duration),
    Final,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}

impl Error for Failure {}

/// Retries whose waits are noted, and pass on the clock.
struct Noted {
    retry: Retry<Failure>,
    waits: Arc<Mutex<Vec<Duration>>>,
    hands: ManualClock,
}

fn noted() -> Noted {
    noted_with(|retry| retry)
}

fn noted_with(build: impl FnOnce(RetryBuilder<Failure>) -> RetryBuilder<Failure>) -> Noted {
    let hands = ManualClock::new();
    let waits = Arc::<Mutex<Vec<_>>>::default();
    let retry = Retry::builder(|failure| *failure != Failure::Final)
        .jitter(Jitter::None)
        .retry_after(|failure| match failure {
            Failure::Asks(wait) => Some(*wait),
            _ => None,
        })
        .clock(&hands)
        .sleep_with({
            let (waits, hands) = (Arc::clone(&waits), hands.clone());
            move |wait| {
                waits.lock().unwrap().push(wait);
                hands.advance(wait);
            }
        });
    Noted { retry: build(retry).build(), waits, hands }
}

impl Noted {
    /// The result of calls that fail like this one after the other, and the waits in between, in milliseconds.
    fn run(&self, failures: &[Failure]) -> (Result<usize, RetryError<Failure>>, Vec<u128>) {
        let mut calls = 0;
        let result = self.retry.run(|| {
            calls += 1;
            failures.get(calls - 1).copied().map_or(Ok(calls), Err)
        });
        let waits = self.waits.lock().unwrap().drain(..).map(|wait| wait.as_millis()).collect();
        (result, waits)
    }
}

#[test]
fn a_first_success_waits_for_nothing() {
    assert_eq!(noted().run(&[]), (Ok(1), vec![]));
}

#[test]
fn it_is_tried_until_it_succeeds() {
    assert_eq!(noted().run(&[Failure::Busy; 2]), (Ok(3), vec![500, 1000]));
}

#[test]
fn by_default_there_are_six_attempts() {
    let exhausted = RetryError::Exhausted { attempts: 6, error: Failure::Busy };
    assert_eq!(noted().run(&[Failure::Busy; 9]), (Err(exhausted), vec![500, 1000, 2000, 4000, 8000]));
}

#[test]
fn waits_double_up_to_the_bound() {
    let noted = noted_with(|retry| retry.attempts(7).base_delay(SECOND).max_delay(8 * SECOND));
    assert_eq!(noted.run(&[Failure::Busy; 9]).1, [1000, 2000, 4000, 8000, 8000, 8000]);
}

#[test]
fn by_default_no_wait_is_longer_than_thirty_seconds_however_many_there_are() {
    let (result, waits) = noted_with(|retry| retry.attempts(100)).run(&[Failure::Busy; 200]);
    assert_eq!(result.unwrap_err().attempts(), 100);
    assert_eq!(waits[5..8], [16_000, 30_000, 30_000]);
    assert_eq!(*waits.last().unwrap(), 30_000);
}

#[test]
fn waits_go_on_doubling_after_the_thirty_second_attempt() {
    let nothing = noted_with(|retry| retry.attempts(40).base_delay(Duration::ZERO));
    assert!(nothing.run(&[Failure::Busy; 40]).1.iter().all(|wait| *wait == 0));
    // 1 ns doubled 34 times is 17.2 s, and once more would be 34.4 s.
    let little = noted_with(|retry| retry.attempts(37).base_delay(Duration::from_nanos(1)));
    let waits = little.run(&[Failure::Busy; 37]).1;
    assert_eq!(waits[32..], [4_294, 8_589, 17_179, 30_000]);
}

#[test]
fn those_who_were_asked_to_wait_equally_long_do_not_come_back_together() {
    let asked = Failure::Asks(90 * SECOND);
    for (jitter, random, expected) in [
        (Jitter::Full, 0.0, 90_000),
        (Jitter::Full, 0.5, 90_250),
        (Jitter::Full, 1.0, 90_500),
        (Jitter::Equal, 1.0, 90_250),
        (Jitter::None, 1.0, 90_000),
    ] {
        let noted = noted_with(|retry| retry.jitter(jitter).random_with(move || random));
        assert_eq!(noted.run(&[asked]).1, [expected], "{jitter:?} {random}");
    }
}

#[test]
fn a_provider_that_says_never_is_not_asked_again() {
    let never = retry_after("18446744073709551616").map(Failure::Asks).unwrap();
    let (result, waits) = noted().run(&[never]);
    assert_eq!(result, Err(RetryError::Exhausted { attempts: 1, error: never }));
    assert!(waits.is_empty());
}

#[test]
fn a_permanent_error_comes_with_the_number_of_attempts() {
    let (result, waits) = noted().run(&[Failure::Busy, Failure::Busy, Failure::Final]);
    let error = result.unwrap_err();
    assert_eq!(error, RetryError::NotRetryable { attempts: 3, error: Failure::Final });
    assert_eq!((error.attempts(), waits.len()), (3, 2));
    assert_eq!(error.to_string(), "attempt 3 failed and is not retried: refused");
    assert!(error.source().is_none(), "the text has the cause");
    assert_eq!(error.into_inner(), Failure::Final);
}

#[test]
fn a_permanent_error_on_the_last_attempt_is_not_retryable() {
    let (result, _) = noted_with(|retry| retry.attempts(2)).run(&[Failure::Busy, Failure::Final]);
    assert_eq!(result.unwrap_err(), RetryError::NotRetryable { attempts: 2, error: Failure::Final });
}

#[test]
fn zero_attempts_count_as_one() {
    let (result, waits) = noted_with(|retry| retry.attempts(0)).run(&[Failure::Busy]);
    let error = result.unwrap_err();
    assert_eq!((error.attempts(), waits.len()), (1, 0));
    assert_eq!(error.to_string(), "gave up after 1 attempt: refused");
    assert!(error.source().is_none(), "the text has the cause");
}

#[test]
fn what_the_provider_asks_for_is_a_floor_and_not_bounded_by_the_longest_wait() {
    let asks = |wait| Failure::Asks(wait);
    let (result, waits) = noted().run(&[asks(90 * SECOND), asks(MS), asks(Duration::ZERO)]);
    assert_eq!((result, waits), (Ok(4), vec![90_000, 1000, 2000]));
}

#[test]
fn a_wait_that_would_end_after_the_time_is_not_begun() {
    let with = |timeout| noted_with(|retry| retry.timeout(timeout));
    let exhausted = |attempts| Err(RetryError::Exhausted { attempts, error: Failure::Busy });
    // 500, 1000 and 2000 ms: the third would end at 3500.
    assert_eq!(with(3499 * MS).run(&[Failure::Busy; 9]), (exhausted(3), vec![500, 1000]));
    assert_eq!(with(3500 * MS).run(&[Failure::Busy; 9]), (exhausted(4), vec![500, 1000, 2000]));
    let (result, waits) = with(60 * SECOND).run(&[Failure::Asks(61 * SECOND)]);
    assert_eq!((result.unwrap_err().attempts(), waits.len()), (1, 0));
}

#[test]
fn the_time_that_attempts_take_counts() {
    let noted = noted_with(|retry| retry.timeout(10 * SECOND));
    let mut calls = 0;
    let result = noted.retry.run(|| {
        calls += 1;
        noted.hands.advance(6 * SECOND);
        Err::<(), _>(Failure::Busy)
    });
    assert_eq!((result.unwrap_err().attempts(), calls), (2, 2));
}

#[test]
fn waits_and_times_beyond_all_clocks_hang_nobody() {
    let (result, waits) = noted().run(&[Failure::Asks(Duration::MAX)]);
    assert_eq!((result.unwrap_err().attempts(), waits.len()), (1, 0));
    let endless =
        |retry: RetryBuilder<_>| retry.timeout(Duration::MAX).base_delay(Duration::MAX).max_delay(Duration::MAX);
    for jitter in [Jitter::None, Jitter::Equal, Jitter::Full] {
        let (result, waits) =
            noted_with(|retry| endless(retry).jitter(jitter).random_with(|| 1.0)).run(&[Failure::Busy]);
        assert_eq!((result.unwrap_err().attempts(), waits.len()), (1, 0), "{jitter:?}");
    }
    assert_eq!(noted_with(|retry| retry.timeout(Duration::MAX)).run(&[Failure::Busy]), (Ok(2), vec![500]));
}

#[test]
fn jitter_takes_its_part_of_the_wait() {
    for (jitter, random, expected) in [
        (Jitter::None, 0.25, 1000),
        (Jitter::Equal, 0.0, 500),
        (Jitter::Equal, 0.25, 625),
        (Jitter::Equal, 1.0, 1000),
        (Jitter::Full, 0.0, 0),
        (Jitter::Full, 0.25, 250),
        (Jitter::Full, 1.0, 1000),
        (Jitter::Full, -3.0, 0),
        (Jitter::Full, 7.0, 1000),
        (Jitter::Full, f64::NAN, 1000),
        (Jitter::Full, f64::INFINITY, 1000),
    ] {
        let noted = noted_with(|retry| retry.base_delay(SECOND).jitter(jitter).random_with(move || random));
        assert_eq!(noted.run(&[Failure::Busy]).1, [expected], "{jitter:?} at {random}");
    }
}

#[test]
fn by_default_all_of_a_delay_is_random() {
    let noted = noted_with(|retry| retry.attempts(400).base_delay(SECOND).max_delay(SECOND).jitter(Jitter::default()));
    let waits = noted.run(&[Failure::Busy; 500]).1;
    assert!(waits.iter().all(|wait| *wait <= 1000), "{waits:?}");
    // Of 399 waits, 2^-399 is the chance that none is in this half.
    assert!(waits.iter().any(|wait| *wait < 500) && waits.iter().any(|wait| *wait >= 500), "{waits:?}");
}

#[test]
fn the_thread_sleeps_by_the_clock_that_was_given() {
    bounded(|| {
        let hands = ManualClock::new();
        let retry = Retry::builder(|(): &()| true).jitter(Jitter::None).clock(&hands).build();
        thread::scope(|scope| {
            let mut calls = 0;
            let caller = scope.spawn(move || {
                retry.run(|| {
                    calls += 1;
                    if calls == 3 { Ok(calls) } else { Err(()) }
                })
            });
            for wait in [500 * MS, 1000 * MS] {
                until("a wait between attempts", || hands.until_next() == Some(wait));
                hands.advance(wait);
            }
            assert_eq!(caller.join().unwrap(), Ok(3));
        });
    });
}

#[test]
fn a_panic_is_not_tried_again() {
    let noted = noted();
    let mut calls = 0;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        noted.retry.run(|| -> Result<(), Failure> {
            calls += 1;
            panic!("in the work")
        })
    }));
    assert_eq!(*panicked.unwrap_err().downcast::<&str>().unwrap(), "in the work");
    assert_eq!(calls, 1);
}

#[test]
fn retry_after_is_read_as_seconds_or_as_a_date() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    for (value, expected) in [
        ("0", Some(Duration::ZERO)),
        ("120", Some(120 * SECOND)),
        (" 7 ", Some(7 * SECOND)),
        ("1.5", Some(1500 * MS)),
        ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10 * SECOND)),
        ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10 * SECOND)),
        ("Sun Nov  6 08:49:47 1994", Some(10 * SECOND)),
        ("Sun, 06 Nov 1994 08:49:36 GMT", Some(Duration::ZERO)),
        ("", None),
        (".", None),
        ("1.2.3", None),
        ("-1", None),
        ("1e3", None),
        ("inf", None),
        ("NaN", None),
        ("soon", None),
        // More patience than anybody has, and not none.
        ("18446744073709551615", Some(Duration::MAX)),
        ("99999999999999999999999999", Some(Duration::MAX)),
    ] {
        assert_eq!(retry_after_at(value, now), expected, "{value:?}");
    }
    assert_eq!(retry_after("3"), Some(3 * SECOND));
}

#[test]
fn statuses_are_transient_or_permanent() {
    let passing: Vec<u16> = (0..1000).filter(|status| retryable::status(*status)).collect();
    assert_eq!(passing, [408, 425, 429, 500, 502, 503, 504, 529]);
}

#[test]
fn the_failure_that_a_body_names_outweighs_the_status() {
    let openai = |kind: &str, code: &str| format!(r#"{{"error": {{"message": "m", "type": {kind}, "code": {code}}}}}"#);
    let anthropic = |kind: &str| format!(r#"{{"type": "error", "error": {{"type": "{kind}", "message": "m"}}}}"#);
    let gemini = |status: &str| format!(r#"{{"error": {{"code": 429, "message": "m", "status": "{status}"}}}}"#);
    for (status, body, expected) in [
        // Rates pass, money stays, though both are 429.
        (429, openai(r#""requests""#, r#""rate_limit_exceeded""#), true),
        (429, openai(r#""insufficient_quota""#, r#""insufficient_quota""#), false),
        (429, openai(r#""insufficient_quota""#, "null"), false),
        (429, openai("null", r#""billing_hard_limit_reached""#), false),
        (500, openai(r#""server_error""#, "null"), true),
        (400, openai(r#""invalid_request_error""#, r#""context_length_exceeded""#), false),
        // One that stays outweighs one that passes.
        (429, openai(r#""rate_limit_exceeded""#, r#""insufficient_quota""#), false),
        (529, anthropic("overloaded_error"), true),
        (200, anthropic("overloaded_error"), true),
        (429, anthropic("rate_limit_error"), true),
        (500, anthropic("api_error"), true),
        (401, anthropic("authentication_error"), false),
        (400, anthropic("invalid_request_error"), false),
        (429, gemini("RESOURCE_EXHAUSTED"), true),
        (503, gemini("UNAVAILABLE"), true),
        (400, gemini("INVALID_ARGUMENT"), false),
        (429, format!("[{}]", gemini("RESOURCE_EXHAUSTED")), true),
        (400, r#"{"__type": "ThrottlingException", "message": "m"}"#.to_owned(), true),
        (400, r#"{"__type": "com.amazon.coral#ThrottlingException:http://x/"}"#.to_owned(), true),
        (400, r#"{"__type": "ValidationException"}"#.to_owned(), false),
        // Nothing known: the status decides.
        (503, "<html>Bad Gateway</html>".to_owned(), true),
        (404, "<html>overloaded_error</html>".to_owned(), false),
        (429, r#"{"error": {"type": "something_new"}}"#.to_owned(), true),
        (400, r#"{"error": "rate_limit_exceeded"}"#.to_owned(), false),
        (400, r#"{"error": {"message": "rate_limit_exceeded"}}"#.to_owned(), false),
        (502, String::new(), true),
        (422, "[]".to_owned(), false),
    ] {
        assert_eq!(retryable::response(status, &body), expected, "{status} {body}");
    }
}

proptest! {
    #[test]
    fn no_wait_is_outside_its_range(
        base in 0_u64..100_000,
        bound in 0_u64..100_000,
        random in 0.0_f64..=1.0,
        failures in 1_usize..40,
        is_equal in any::<bool>(),
    ) {
        let jitter = if is_equal { Jitter::Equal } else { Jitter::Full };
        let build = |retry: RetryBuilder<_>| retry
            .attempts(50)
            .base_delay(Duration::from_millis(base))
            .max_delay(Duration::from_millis(bound))
            .jitter(jitter)
            .random_with(move || random);
        let (result, waits) = noted_with(build).run(&vec![Failure::Busy; failures]);
        prop_assert_eq!(result, Ok(failures + 1));
        for (index, wait) in waits.into_iter().enumerate() {
            let whole = (u128::from(base) << index).min(u128::from(bound));
            let least = if is_equal { whole / 2 } else { 0 };
            prop_assert!((least..=whole).contains(&wait), "{wait} of {whole}");
        }
    }
}
