//! Everything at once, for as long as one likes: `ci/soak MINUTES`.

use std::any::Any;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sync_coalesce::observe::{FlightId, FollowerLeft, Observer, RefusalReason, RunEnded};
use sync_coalesce::{Builder, CallError, FlightHandle, OnFailure, OnOverflow, Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{LIMIT, Random, assert_idle, crowd, join, until};

const THREADS: usize = 64;
const KEYS: usize = 6;
/// What each thread does with a coalescer that is closed on the way.
const STEPS: usize = 200;
/// Far less than a leak of one flight in a hundred would come to in a minute.
const GROWTH_LIMIT: u64 = 64 << 20;

/// What a run gives: its key, and a number that no other run has.
#[derive(Debug)]
struct Answer {
    key: usize,
    run: u64,
}

type Coalesce = SyncCoalesce<usize, Answer, Answer>;
type Shared = Result<Arc<Answer>, CallError<Answer>>;

/// A coalescer, and what was done with it.
struct Part {
    coalesce: Coalesce,
    calls: AtomicU64,
    runs: AtomicU64,
    /// Runs that lead a flight. Detached flights that are cancelled or closed before they begin are calls without one.
    led: Arc<AtomicU64>,
}

struct Soak {
    /// One runs what is one follower too many, the other one rejects it, and lets results linger.
    parts: [Part; 2],
    closed: AtomicBool,
    /// A check failed on a thread of a pool, which nobody joins, or in an observer, whose panics are dropped.
    failed: AtomicBool,
    /// Whether observers call back, how many do so now, and how often one has.
    calls_back: AtomicBool,
    calling_back: AtomicU64,
    called_back: AtomicU64,
}

/// Counts the runs that lead a flight.
struct Led(Arc<AtomicU64>);

impl Observer for Led {
    fn led(&self, _: &FlightId<'_>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Takes a step of its own, now and then, at each event.
struct CallsBack(Weak<Soak>);

impl Observer for CallsBack {
    fn led(&self, _: &FlightId<'_>) {
        self.act();
    }

    fn joined(&self, _: &FlightId<'_>) {
        self.act();
    }

    fn ended(&self, _: &FlightId<'_>, _: &RunEnded) {
        self.act();
    }

    fn left(&self, _: &FlightId<'_>, _: &FollowerLeft) {
        self.act();
    }

    fn refused(&self, _: Option<&str>, _: RefusalReason) {
        self.act();
    }

    fn elected(&self, _: &FlightId<'_>, _: Duration) {
        self.act();
    }
}

thread_local! {
    /// How many observers call back in this thread, each in a step of the one before.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

impl CallsBack {
    fn act(&self) {
        let inside = INSIDE.get();
        let Some(soak) = self.0.upgrade() else { return };
        if inside == 2 {
            return;
        }
        soak.calling_back.fetch_add(1, SeqCst);
        if soak.calls_back.load(SeqCst) {
            let number = soak.called_back.fetch_add(1, SeqCst);
            let mut random = Random::new(usize::try_from(number % 256).unwrap());
            if random.below(4) == 0 {
                INSIDE.set(inside + 1);
                let step = AssertUnwindSafe(|| soak.step(&mut random, 2));
                soak.failed.fetch_or(catch_unwind(step).is_err(), SeqCst);
                INSIDE.set(inside);
            }
        }
        soak.calling_back.fetch_sub(1, SeqCst);
    }
}

#[test]
#[ignore = "it takes as long as SOAK_SECONDS says: run it by ci/soak"]
fn random_verbs_over_hot_keys() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(5, |seconds| seconds.parse().unwrap());
    let soak = Soak::new();
    let phase = |length: Duration, seed: usize| {
        let end = Instant::now() + length;
        thread::scope(|scope| {
            join(crowd(scope, THREADS, |thread| {
                let mut random = Random::new(seed + thread);
                while Instant::now() < end {
                    soak.step(&mut random, 0);
                }
            }));
        });
        soak.settle();
        soak_that_is_closed(seed);
    };
    // The allocator and the threads' stacks have their size after a while; from then on nothing grows.
    phase(Duration::from_secs(seconds) / 5, 0);
    let before = resident();
    phase(Duration::from_secs(seconds) / 5 * 4, THREADS);
    let after = resident();

    let [stats, other] = [&soak.parts[0], &soak.parts[1]].map(|part| part.coalesce.stats());
    for (name, count) in [
        ("elected", stats.elected),
        ("deadlocks", stats.deadlocks),
        ("timed_out", stats.timed_out),
        ("impatient", stats.impatient),
        ("cancelled", stats.cancelled),
        ("panicked", stats.panicked),
        ("bypassed", stats.bypassed),
        ("lingered", other.lingered),
        ("overloaded", other.overloaded),
    ] {
        assert!(count > 0, "{name} never came up: {stats:?}, {other:?}");
    }
    assert!(after < before + GROWTH_LIMIT, "memory grew from {before} to {after} bytes");
    let calls = stats.calls() + other.calls();
    println!("{calls} calls in {seconds} s, {} MiB resident, {stats:?}, {other:?}", after >> 20);
}

/// The same with coalescers of its own, which one of the threads closes when all of them are at it.
fn soak_that_is_closed(seed: usize) {
    let soak = Soak::new();
    thread::scope(|scope| {
        join(crowd(scope, THREADS, |thread| {
            let mut random = Random::new(seed + thread);
            for step in 0..STEPS {
                soak.step(&mut random, 0);
                if (thread, step) == (0, STEPS / 2) {
                    soak.closed.store(true, SeqCst);
                    soak.parts.iter().for_each(|part| part.coalesce.close());
                }
            }
        }));
    });
    soak.settle();
    assert!(soak.parts.iter().all(|part| part.coalesce.stats().closed > 0), "nobody came too late");
}

impl Part {
    fn new(building: Builder<usize, Answer, Answer>, calls_back: CallsBack) -> Self {
        let led = Arc::default();
        let coalesce = building
            .on_error(OnFailure::Elect { times: 2 })
            .on_panic_with(|message| if message == "elect" { OnFailure::Elect { times: 1 } } else { OnFailure::Share })
            .cancel_when_abandoned(true)
            .pool_threads(4)
            .max_impatient(8)
            .shards(4)
            .observer(calls_back)
            .observer(Led(Arc::clone(&led)))
            .build();
        Self { coalesce, calls: AtomicU64::new(0), runs: AtomicU64::new(0), led }
    }

    /// Nothing is left behind, and the counters say what was done.
    fn settle(&self) {
        assert!(self.coalesce.drain(LIMIT));
        assert_idle(&self.coalesce);
        let stats = self.coalesce.stats();
        assert_eq!(stats.calls(), self.calls.load(SeqCst), "{stats:?}");
        let led = self.led.load(SeqCst);
        assert_eq!(led + stats.bypassed + stats.impatient, self.runs.load(SeqCst), "{led} led, {stats:?}");
        assert!(stats.underlying_calls >= led, "{led} led, {stats:?}");
    }
}

impl Soak {
    fn new() -> Arc<Self> {
        let bypassing =
            SyncCoalesce::builder().max_followers(40).max_followers_total(50).on_overflow(OnOverflow::Bypass);
        let rejecting = SyncCoalesce::builder().max_followers(20);
        let rejecting = rejecting.linger(Duration::from_micros(50)).linger_errors(Duration::from_micros(20));
        Arc::new_cyclic(|soak: &Weak<Self>| Self {
            parts: [bypassing, rejecting].map(|building| Part::new(building, CallsBack(Weak::clone(soak)))),
            closed: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            calls_back: AtomicBool::new(true),
            calling_back: AtomicU64::new(0),
            called_back: AtomicU64::new(0),
        })
    }

    fn settle(self: &Arc<Self>) {
        // Each detached closure has one, and begins others, as observers do.
        self.calls_back.store(false, SeqCst);
        until("observers to return", || self.calling_back.load(SeqCst) == 0);
        until("detached closures to end", || Arc::strong_count(self) == 1);
        self.parts.iter().for_each(Part::settle);
        assert!(!self.failed.load(SeqCst), "a check failed on a thread of a pool, or in an observer");
        assert!(self.called_back.load(SeqCst) > 0, "no observer has called back");
        self.calls_back.store(true, SeqCst);
    }

    fn step(self: &Arc<Self>, random: &mut Random, depth: usize) {
        let place = random.below(2);
        let Part { coalesce, .. } = &self.parts[place];
        let key = random.below(KEYS);
        match random.below(40) {
            0 => drop(coalesce.forget(&key).then_some(())),
            1 => drop(coalesce.cancel(&key).then_some(())),
            2 => assert!(coalesce.flights().len() <= KEYS),
            3..7 => self.call_many(place, random, depth),
            7..11 => self.detach(place, key, random, depth),
            _ => self.call(place, key, random, depth),
        }
    }

    fn call(self: &Arc<Self>, place: usize, key: usize, random: &mut Random, depth: usize) {
        let part = &self.parts[place];
        let mut request = part.coalesce.on(&key);
        match random.below(12) {
            0 => request = request.timeout(Duration::ZERO),
            1 => request = request.timeout(micros(random)),
            2 => request = request.patience(micros(random)),
            3 => request = request.after(part.coalesce.mark()),
            4 => request = request.bypass(),
            _ => {}
        }
        part.calls.fetch_add(1, SeqCst);
        let mut own = None;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            request.try_call(|flight| {
                let run = part.runs.fetch_add(1, SeqCst);
                own = Some(run);
                self.work(flight, Answer { key, run }, random, depth)
            })
        }));
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(payload) => {
                expect_own_panic(payload);
                assert!(own.is_some(), "a panic of somebody else's");
                return;
            }
        };
        let answer = self.check(place, key, &outcome.result);
        match outcome.role {
            Role::Leader { .. } | Role::Bypassed(_) => assert_eq!(answer.map(|answer| answer.run), own),
            _ => assert_eq!(own, None, "its closure ran, but it was {:?}", outcome.role),
        }
    }

    fn call_many(self: &Arc<Self>, place: usize, random: &mut Random, depth: usize) {
        let part = &self.parts[place];
        let keys: Vec<usize> = (0..=random.below(KEYS)).map(|_| random.below(KEYS)).collect();
        let mut request = part.coalesce.on_many(&keys);
        match random.below(8) {
            0 => request = request.timeout(Duration::ZERO),
            1 => request = request.timeout(micros(random)),
            2 => request = request.patience(micros(random)),
            3 => request = request.after(part.coalesce.mark()),
            _ => {}
        }
        let different = keys.iter().collect::<BTreeSet<_>>().len();
        part.calls.fetch_add(different as u64, SeqCst);
        let mut own = BTreeMap::new();
        let results = catch_unwind(AssertUnwindSafe(|| {
            request.try_call_each(|missing| {
                let first = part.runs.fetch_add(missing.len() as u64, SeqCst);
                self.dawdle(random, depth);
                // A panic keeps what would run alone from being run, and so from being counted.
                if place == 1 && random.below(10) == 0 {
                    own_panic(first);
                }
                let each = missing.iter().zip(first..).map(|(&&key, run)| {
                    assert_eq!(own.insert(key, run), None, "{key} was asked for twice");
                    if random.below(5) == 0 { Err(Answer { key, run }) } else { Ok(Answer { key, run }) }
                });
                each.collect()
            })
        }));
        match results {
            Ok(results) => {
                for (&key, result) in keys.iter().zip(&results) {
                    let answer = self.check(place, key, &result.result);
                    if let Some(own) = own.get(&key) {
                        assert_eq!(answer.map(|answer| answer.run), Some(*own));
                    }
                }
            }
            Err(payload) => expect_own_panic(payload),
        }
    }

    fn detach(self: &Arc<Self>, place: usize, key: usize, random: &mut Random, depth: usize) {
        let part = &self.parts[place];
        let (soak, mut chance) = (Arc::clone(self), Random::new(random.below(256)));
        part.calls.fetch_add(1, SeqCst);
        let ticket = part.coalesce.detach(&key, move |flight| {
            let run = soak.parts[place].runs.fetch_add(1, SeqCst);
            let work = AssertUnwindSafe(|| soak.work(flight, Answer { key, run }, &mut chance, depth));
            catch_unwind(work).unwrap_or_else(|payload| {
                soak.failed.fetch_or(!is_own_panic(&*payload), SeqCst);
                resume_unwind(payload)
            })
        });
        let result = match random.below(4) {
            0 => return drop(ticket),
            1 => ticket.try_wait(),
            2 => Some(ticket.wait_timeout(micros(random))),
            _ => Some(ticket.wait()),
        };
        if let Some(result) = result {
            self.check(place, key, &result);
        }
    }

    /// What a closure for one key does.
    fn work(
        self: &Arc<Self>,
        flight: &FlightHandle<'_, usize, Answer, Answer>,
        answer: Answer,
        random: &mut Random,
        depth: usize,
    ) -> Result<Answer, Answer> {
        assert!(flight.followers() <= 40);
        self.dawdle(random, depth);
        match random.below(10) {
            0 | 1 => Err(answer),
            2 => own_panic(answer.run),
            _ => Ok(answer),
        }
    }

    /// Takes its time, and may do anything meanwhile.
    fn dawdle(self: &Arc<Self>, random: &mut Random, depth: usize) {
        (0..random.below(4)).for_each(|_| thread::yield_now());
        if depth < 3 && random.below(4) == 0 {
            self.step(random, depth + 1);
        }
    }

    /// The answer, which is one to this question, if there is one.
    fn check<'r>(&self, place: usize, key: usize, result: &'r Shared) -> Option<&'r Answer> {
        let answer = match result {
            Ok(answer) | Err(CallError::Failed(answer)) => Some(&**answer),
            Err(CallError::LeaderPanicked { message }) => {
                assert!(OWN_PANICS.contains(&&**message), "{message}");
                None
            }
            Err(CallError::Closed) => {
                assert!(self.closed.load(SeqCst), "nobody has closed it");
                None
            }
            Err(CallError::BadKey(_) | CallError::WrongCount { .. }) => panic!("{result:?}"),
            Err(_) => None,
        };
        assert!(answer.is_none_or(|answer| answer.key == key), "{result:?} for key {key} of {place}");
        answer
    }
}

fn micros(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(500) as u64)
}

/// What closures panic with on purpose.
const OWN_PANICS: [&str; 2] = ["elect", "share"];

fn own_panic(run: u64) -> ! {
    resume_unwind(Box::new(OWN_PANICS[usize::from(run % 2 == 1)]))
}

fn is_own_panic(payload: &(dyn Any + Send)) -> bool {
    payload.downcast_ref::<&str>().is_some_and(|text| OWN_PANICS.contains(text))
}

/// Goes on with a panic that is a check of this test's, here or further in.
fn expect_own_panic(payload: Box<dyn Any + Send>) {
    if !is_own_panic(&*payload) {
        resume_unwind(payload);
    }
}

/// Bytes of memory in use, where the system tells; 0 elsewhere.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or_default() << 10
}
