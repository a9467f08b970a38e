//! What an observer is told, in which order and with which figures; that it harms nobody; and the adapters.

mod calling_back;
#[cfg(feature = "metrics")]
mod metrics;
mod stress;
#[cfg(feature = "test-tracing")]
mod tracing;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use sync_coalesce::observe::{FlightId, FollowerLeft, Observer, RefusalReason, RunEnded};
use sync_coalesce::{BypassReason, CallError, OnFailure, Outcome, Role, SyncCoalesce};

use crate::support::thread::{self, ThreadId};
use crate::support::{assert_idle, bounded, crowd, join, until, until_following, until_running};

/// An event, and which flight it is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    Led,
    Joined,
    Ended(RunEnded),
    Left(FollowerLeft),
    Refused(RefusalReason),
    Elected(Duration),
}

#[derive(Clone, Debug)]
struct Entry {
    thread: ThreadId,
    coalescer: Option<String>,
    /// 0 for a refusal, which is about no flight.
    flight: u64,
    event: Event,
}

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Entry>>>);

impl Log {
    fn add(&self, coalescer: Option<&str>, flight: u64, event: Event) {
        let coalescer = coalescer.map(str::to_owned);
        self.0.lock().unwrap().push(Entry { thread: thread::current().id(), coalescer, flight, event });
    }

    fn entries(&self) -> Vec<Entry> {
        self.0.lock().unwrap().clone()
    }

    /// What this thread was told.
    fn mine(&self) -> Vec<Entry> {
        self.entries().into_iter().filter(|entry| entry.thread == thread::current().id()).collect()
    }

    /// The same in words, without times.
    fn words(&self) -> Vec<String> {
        self.mine().iter().map(|entry| words(&entry.event)).collect()
    }

    /// How often something happened, in all threads.
    fn count(&self, what: &str) -> usize {
        self.entries().iter().filter(|entry| words(&entry.event) == what).count()
    }
}

fn words(event: &Event) -> String {
    match event {
        Event::Led => "led".into(),
        Event::Joined => "joined".into(),
        Event::Ended(ended) => format!("ended {} {}", ended.outcome.as_str(), ended.followers),
        Event::Left(left) => format!("left {}", left.reason.as_str()),
        Event::Refused(reason) => format!("refused {}", reason.as_str()),
        Event::Elected(_) => "elected".into(),
    }
}

impl Observer for Log {
    fn led(&self, flight: &FlightId<'_>) {
        self.add(flight.coalescer, flight.number, Event::Led);
    }

    fn joined(&self, flight: &FlightId<'_>) {
        self.add(flight.coalescer, flight.number, Event::Joined);
    }

    fn ended(&self, flight: &FlightId<'_>, ended: &RunEnded) {
        self.add(flight.coalescer, flight.number, Event::Ended(*ended));
    }

    fn left(&self, flight: &FlightId<'_>, left: &FollowerLeft) {
        self.add(flight.coalescer, flight.number, Event::Left(*left));
    }

    fn refused(&self, coalescer: Option<&str>, reason: RefusalReason) {
        self.add(coalescer, 0, Event::Refused(reason));
    }

    fn elected(&self, flight: &FlightId<'_>, waited: Duration) {
        self.add(flight.coalescer, flight.number, Event::Elected(waited));
    }
}

/// Does the same at each event, whatever it is.
struct Always<F>(F);

impl<F: Fn(&str) + Send + Sync> Observer for Always<F> {
    fn led(&self, _: &FlightId<'_>) {
        (self.0)("led");
    }

    fn joined(&self, _: &FlightId<'_>) {
        (self.0)("joined");
    }

    fn ended(&self, _: &FlightId<'_>, _: &RunEnded) {
        (self.0)("ended");
    }

    fn left(&self, _: &FlightId<'_>, _: &FollowerLeft) {
        (self.0)("left");
    }

    fn refused(&self, _: Option<&str>, _: RefusalReason) {
        (self.0)("refused");
    }

    fn elected(&self, _: &FlightId<'_>, _: Duration) {
        (self.0)("elected");
    }
}

/// Even errors are shared; after an odd one the lead is handed over, once.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what the builder asks for")]
fn tour_policy(error: &u8) -> OnFailure {
    if error % 2 == 0 { OnFailure::Share } else { OnFailure::Elect { times: 1 } }
}

type Coalesce = SyncCoalesce<u8, u8, u8>;

fn observed(observer: impl Observer + 'static) -> Coalesce {
    SyncCoalesce::builder().name("tour").on_error_with(tour_policy).max_followers(2).observer(observer).build()
}

/// What a leader's closure does once its followers are there.
type End<'a> = &'a (dyn Fn() -> Result<u8, u8> + Sync);

/// One flight with this many followers, all of them there when the closure goes on; what each of them got, the leader
/// first.
fn flight<R: Send>(coalesce: &Coalesce, followers: u64, end: End<'_>, after: impl Fn(Got) -> R + Sync) -> Vec<R> {
    let after = &after;
    thread::scope(|scope| {
        let leader = scope.spawn(move || {
            after(quietly(|| {
                coalesce.on(&1).try_call(|_| {
                    until_following(coalesce, followers);
                    end()
                })
            }))
        });
        if followers > 0 {
            until_running(coalesce, 1);
        }
        let waiting = crowd(scope, usize::try_from(followers).unwrap(), move |_| {
            after(quietly(|| coalesce.on(&1).try_call(|_| Ok(9))))
        });
        let mut results = vec![leader.join().unwrap()];
        results.extend(join(waiting));
        results
    })
}

type Got = Option<Outcome<u8, u8>>;

/// None if the call panicked.
fn quietly(call: impl FnOnce() -> Outcome<u8, u8>) -> Got {
    catch_unwind(AssertUnwindSafe(call)).ok()
}

/// A panic that prints nothing.
fn trip() -> Result<u8, u8> {
    resume_unwind(Box::new("tripped"))
}

/// What the callers of one flight got, in words.
fn texts(got: Vec<Got>) -> Vec<Option<Result<u8, String>>> {
    let text = |outcome: Outcome<u8, u8>| outcome.result.map(|value| *value).map_err(|error| error.to_string());
    got.into_iter().map(|got| got.map(text)).collect()
}

/// Lets followers that have joined come to wait. Nobody sees from outside that they do: they are elected only then, and
/// a test that needs an election tries until there is one.
fn dawdle() {
    (0..100).for_each(|_| thread::yield_now());
}

/// Makes each event happen. Checks what the callers get and the counters, which are the same whatever an observer does.
///
/// Returns how often a follower did not wait yet when it could have been elected, and so shared the failure.
fn tour(coalesce: &Coalesce) -> u64 {
    let ok = |value| Some(Ok(value));
    let error = |error: CallError<u8>| Some(Err(error.to_string()));
    let mut got = Vec::new();
    let mut fly = |followers, end: End<'_>| got.extend(texts(flight(coalesce, followers, end, |got| got)));
    // Handed over, to a closure that returns 9.
    let failed = error(CallError::Failed(1.into()));
    let mut missed = 0;
    loop {
        let end = || {
            dawdle();
            Err(1)
        };
        let handed_over = texts(flight(coalesce, 1, &end, |got| got));
        if handed_over == [failed.clone(), ok(9)] {
            break;
        }
        assert_eq!(handed_over, [failed.clone(), failed.clone()]);
        missed += 1;
    }
    fly(0, &|| Ok(1));
    fly(2, &|| Ok(2));
    fly(1, &|| Err(2));
    fly(1, &trip);
    fly(1, &|| {
        coalesce.cancel(&1);
        Ok(3)
    });
    fly(2, &|| {
        thread::scope(|scope| {
            let overflows = scope.spawn(|| coalesce.try_call(&1, || Ok(0))).join().unwrap();
            assert!(matches!(overflows, Err(CallError::Overloaded)));
        });
        Ok(4)
    });
    fly(0, &|| {
        assert!(matches!(coalesce.try_call(&1, || Ok(0)), Err(CallError::Deadlock { .. })));
        thread::scope(|scope| {
            let late = scope.spawn(|| coalesce.on(&1).timeout(Duration::ZERO).try_call(|_| Ok(0)).result);
            assert!(matches!(late.join().unwrap(), Err(CallError::TimedOut)));
            let impatient = scope.spawn(|| coalesce.on(&1).patience(Duration::ZERO).try_call(|_| Ok(6)));
            let impatient = impatient.join().unwrap();
            assert_eq!((*impatient.result.unwrap(), impatient.role), (6, Role::Bypassed(BypassReason::Impatient)));
        });
        Ok(5)
    });
    fly(1, &|| {
        coalesce.close();
        Ok(7)
    });
    assert!(matches!(coalesce.try_call(&1, || Ok(0)), Err(CallError::Closed)));

    let expected = [
        vec![ok(1), ok(2), ok(2), ok(2)],
        vec![error(CallError::Failed(2.into())); 2],
        vec![None, error(CallError::LeaderPanicked { message: "tripped".into() })],
        vec![ok(3), error(CallError::Cancelled)],
        vec![ok(4), ok(4), ok(4), ok(5)],
        vec![ok(7), error(CallError::Closed)],
    ];
    assert_eq!(got, expected.concat());
    assert_idle(coalesce);
    let stats = coalesce.stats();
    let parts = (stats.failed, stats.panicked, stats.timed_out, stats.cancelled, stats.impatient);
    assert_eq!(parts, (2 + missed, 1, 1, 2, 1));
    let calls = (stats.underlying_calls, stats.coalesced_calls, stats.elected);
    assert_eq!(calls, (10 + missed, 11 + missed, 1));
    assert_eq!((stats.deadlocks, stats.overloaded, stats.closed), (1, 1, 1));
    missed
}

#[test]
fn each_event_comes_as_often_as_it_is_counted() {
    bounded(|| {
        let log = Log::default();
        let missed = usize::try_from(tour(&observed(log.clone()))).unwrap();
        let counted = [
            ("led", 10 + missed),
            ("joined", 11 + missed),
            ("elected", 1),
            ("ended value 0", 5),
            ("ended value 2", 2),
            ("ended error 0", 1),
            ("ended error 1", 1 + missed),
            ("ended panic 1", 1),
            ("left result", 6 + missed),
            ("left timed_out", 1),
            ("left impatient", 1),
            ("left cancelled", 1),
            ("left closed", 1),
            ("refused deadlock", 1),
            ("refused overloaded", 1),
            ("refused closed", 1),
        ];
        for (what, times) in counted {
            assert_eq!(log.count(what), times, "{what}");
        }
        assert_eq!(log.entries().len(), counted.iter().map(|(_, times)| times).sum::<usize>());
        assert!(log.entries().iter().all(|entry| entry.coalescer.as_deref() == Some("tour")));
    });
}

#[test]
fn a_lone_call_is_led_and_ended() {
    let log = Log::default();
    let coalesce = observed(log.clone());
    let outside = Instant::now();
    let mut inside = Duration::ZERO;
    coalesce
        .try_call(&1, || {
            let began = Instant::now();
            (0..1000).for_each(|_| thread::yield_now());
            inside = began.elapsed();
            Ok(1)
        })
        .unwrap();
    let outside = outside.elapsed();
    assert_eq!(log.words(), ["led", "ended value 0"]);
    let entries = log.mine();
    assert_eq!(entries[0].flight, entries[1].flight);
    let Event::Ended(RunEnded { duration, .. }) = entries[1].event else { panic!("{entries:?}") };
    assert!(inside <= duration && duration <= outside, "{inside:?}, {duration:?}, {outside:?}");

    coalesce.try_call(&1, || Ok(1)).unwrap();
    assert_ne!(log.mine()[2].flight, entries[0].flight, "two flights have one number");
    assert_idle(&coalesce);
}

#[test]
fn followers_join_and_leave_with_the_wait_that_their_role_tells() {
    bounded(|| {
        let log = Log::default();
        let coalesce = observed(log.clone());
        flight(&coalesce, 2, &|| Ok(1), |got| match got.unwrap().role {
            Role::Leader { followers } => {
                assert_eq!(followers, 2);
                assert_eq!(log.words(), ["led", "ended value 2"]);
            }
            Role::Follower { waited } => {
                assert_eq!(log.words(), ["joined", "left result"]);
                let Event::Left(left) = log.mine()[1].event else { unreachable!() };
                assert_eq!(left.waited, waited);
            }
            other => panic!("{other:?}"),
        });
        let flight = log.entries()[0].flight;
        assert!(log.entries().iter().all(|entry| entry.flight == flight));
        assert_idle(&coalesce);
    });
}

#[test]
fn a_shared_failure_is_a_result_to_followers() {
    bounded(|| {
        for (end, how) in [((&|| Err(2_u8)) as End<'_>, "ended error 1"), (&trip, "ended panic 1")] {
            let log = Log::default();
            let coalesce = observed(log.clone());
            let words = flight(&coalesce, 1, end, |_| log.words());
            assert_eq!(words, [vec!["led", how], vec!["joined", "left result"]]);
            assert_idle(&coalesce);
        }
    });
}

#[test]
fn who_leaves_early_says_why_and_is_no_follower_of_the_result() {
    bounded(|| {
        let log = Log::default();
        let coalesce = observed(log.clone());
        coalesce
            .try_call(&1, || {
                thread::scope(|scope| {
                    let late = scope.spawn(|| {
                        let outcome = coalesce.on(&1).timeout(Duration::from_millis(1)).try_call(|_| Ok(0));
                        let Event::Left(left) = log.mine()[1].event else { panic!("{:?}", log.mine()) };
                        assert!(left.waited >= Duration::from_millis(1));
                        assert_eq!(outcome.role, Role::Follower { waited: left.waited });
                        log.words()
                    });
                    let impatient = scope.spawn(|| {
                        drop(coalesce.on(&1).patience(Duration::ZERO).try_call(|_| Ok(0)));
                        log.words()
                    });
                    assert_eq!(late.join().unwrap(), ["joined", "left timed_out"]);
                    assert_eq!(impatient.join().unwrap(), ["joined", "left impatient"]);
                });
                Ok(1)
            })
            .unwrap();
        assert_eq!(log.words(), ["led", "ended value 0"]);
        assert_idle(&coalesce);
    });
}

#[test]
fn cancelled_and_closed_followers_say_so_and_their_leader_ends_alone() {
    bounded(|| {
        for (close, how) in [(false, "left cancelled"), (true, "left closed")] {
            let log = Log::default();
            let coalesce = observed(log.clone());
            let end = || {
                if close {
                    coalesce.close();
                } else {
                    coalesce.cancel(&1);
                }
                // They are gone before the closure returns.
                until(how, || log.count(how) == 2);
                Ok(1)
            };
            let words = flight(&coalesce, 2, &end, |_| log.words());
            assert_eq!(words, [vec!["led", "ended value 0"], vec!["joined", how], vec!["joined", how]]);
            assert_idle(&coalesce);
        }
    });
}

#[test]
fn refusals_name_the_coalescer_and_come_alone() {
    let log = Log::default();
    let coalesce: Coalesce = SyncCoalesce::builder().name("full").max_followers(0).observer(log.clone()).build();
    coalesce
        .try_call(&1, || {
            drop(coalesce.try_call(&1, || Ok(0)));
            thread::scope(|scope| {
                let crowded = scope.spawn(|| {
                    drop(coalesce.try_call(&1, || Ok(0)));
                    log.words()
                });
                assert_eq!(crowded.join().unwrap(), ["refused overloaded"]);
            });
            Ok(1)
        })
        .unwrap();
    coalesce.close();
    drop(coalesce.try_call(&1, || Ok(0)));
    drop(coalesce.on(&1).bypass().try_call(|_| Ok(0)));
    assert_eq!(log.words(), ["led", "refused deadlock", "ended value 0", "refused closed", "refused closed"]);
    assert!(log.entries().iter().all(|entry| entry.coalescer.as_deref() == Some("full")));
    assert_idle(&coalesce);
}

#[test]
fn nothing_is_told_of_a_bypass() {
    let log = Log::default();
    let coalesce = observed(log.clone());
    drop(coalesce.on(&1).bypass().try_call(|_| Ok(1)));
    assert!(log.entries().is_empty());
    assert_idle(&coalesce);
}

#[test]
fn an_elected_follower_leads_the_same_flight_and_does_not_leave() {
    fn is_elected() -> bool {
        let log = Log::default();
        let coalesce = observed(log.clone());
        let end = || {
            dawdle();
            Err(1)
        };
        let mut words = flight(&coalesce, 2, &end, |_| log.words());
        assert_idle(&coalesce);
        if coalesce.stats().elected == 0 {
            return false;
        }
        words[1..].sort();
        let expected = [
            vec!["led", "ended error 0"],
            // The closure of `flight` returns at once; the other one has joined already, and gets its value.
            vec!["joined", "elected", "led", "ended value 1"],
            vec!["joined", "left result"],
        ];
        assert_eq!(words, expected);
        let flight = log.entries()[0].flight;
        assert!(log.entries().iter().all(|entry| entry.flight == flight));
        let waited: Vec<Duration> = log
            .entries()
            .iter()
            .filter_map(|entry| if let Event::Elected(waited) = entry.event { Some(waited) } else { None })
            .collect();
        assert!(waited.len() == 1 && waited[0] > Duration::ZERO, "{waited:?}");
        true
    }

    bounded(|| until("an election", is_elected));
}

#[test]
fn the_duration_is_the_closures_and_not_the_observers() {
    #[derive(Default)]
    struct Times {
        led: Option<Instant>,
        /// As it was told, and since `led`.
        took: Option<(Duration, Duration)>,
    }

    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Times>>);

    impl Observer for Slow {
        fn led(&self, _: &FlightId<'_>) {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(5) {
                thread::yield_now();
            }
            self.0.lock().unwrap().led = Some(Instant::now());
        }

        fn ended(&self, _: &FlightId<'_>, ended: &RunEnded) {
            let mut times = self.0.lock().unwrap();
            times.took = times.led.map(|led| (ended.duration, led.elapsed()));
        }
    }

    let slow = Slow::default();
    let coalesce = observed(slow.clone());
    coalesce.try_call(&1, || Ok(1)).unwrap();
    let (duration, since_led) = slow.0.lock().unwrap().took.unwrap();
    assert!(duration <= since_led, "{duration:?} is more than {since_led:?}");
    assert_idle(&coalesce);
}

#[test]
fn an_observer_is_called_under_no_lock() {
    static ASKED: LazyLock<Coalesce> = LazyLock::new(|| {
        observed(Always(|_: &str| {
            // Each of these takes every lock of the coalescer.
            let _ = (ASKED.stats(), ASKED.in_flight(), ASKED.flights());
        }))
    });
    bounded(|| {
        tour(&ASKED);
    });
}

#[test]
fn a_panicking_observer_harms_nobody() {
    /// Panics when it is dropped too, with another of its kind.
    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new(Self));
        }
    }

    bounded(|| {
        for panics in ["led", "joined", "ended", "left", "refused", "elected", "each"] {
            let log = Log::default();
            let explode = Always(move |event: &str| {
                if panics == event || panics == "each" {
                    resume_unwind(Box::new(Bomb));
                }
            });
            let coalesce: Coalesce = SyncCoalesce::builder()
                .name("tour")
                .on_error_with(tour_policy)
                .max_followers(2)
                .observer(explode)
                .observer(log.clone())
                .build();
            let missed = usize::try_from(tour(&coalesce)).unwrap();
            assert_eq!(log.entries().len(), 45 + 4 * missed, "the other observer was not told of everything");
        }
    });
}
