//! Everything at once, for as long as one likes: `ci/soak MINUTES`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use sync_coalesce::{CallError, OnFailure, Overflow, Role, SyncCoalesce};

use crate::support::{Random, assert_idle, crowd, join};

const THREADS: usize = 64;
const KEYS: usize = 6;
/// Far less than a leak of one flight in a hundred would come to in a minute.
const GROWTH_LIMIT: u64 = 64 << 20;

/// What a run gives: its key, and a number that no other run has.
#[derive(Debug)]
struct Answer {
    key: usize,
    run: u64,
}

type Coalesce = SyncCoalesce<usize, Answer, Answer>;

struct Soak {
    coalesce: Coalesce,
    runs: AtomicU64,
    calls: AtomicU64,
}

#[test]
#[ignore = "it takes as long as SOAK_SECONDS says: run it by ci/soak"]
fn random_verbs_over_hot_keys() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(5, |seconds| seconds.parse().unwrap());
    let soak = Soak {
        coalesce: SyncCoalesce::builder()
            .on_error(OnFailure::Elect { times: 2 })
            .on_panic_with(|message| if message == "elect" { OnFailure::Elect { times: 1 } } else { OnFailure::Share })
            .max_followers(40)
            .max_followers_in_all(50)
            .overflow(Overflow::Bypass)
            .max_impatient(8)
            .shards(4)
            .build(),
        runs: AtomicU64::new(0),
        calls: AtomicU64::new(0),
    };
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
        assert_idle(&soak.coalesce);
    };
    // The allocator and the threads' stacks have their size after a while; from then on nothing grows.
    phase(Duration::from_secs(seconds) / 5, 0);
    let before = resident();
    phase(Duration::from_secs(seconds) / 5 * 4, THREADS);
    let after = resident();

    let stats = soak.coalesce.stats();
    assert_eq!(stats.calls(), soak.calls.load(SeqCst), "{stats:?}");
    assert_eq!(stats.underlying_calls + stats.bypassed + stats.impatient, soak.runs.load(SeqCst), "{stats:?}");
    for (name, count) in [
        ("elected", stats.elected),
        ("refused", stats.refused),
        ("timed_out", stats.timed_out),
        ("impatient", stats.impatient),
        ("cancelled", stats.cancelled),
        ("panicked", stats.panicked),
    ] {
        assert!(count > 0, "{name} never came up: {stats:?}");
    }
    assert!(after < before + GROWTH_LIMIT, "memory grew from {before} to {after} bytes");
    println!("{} calls in {seconds} s, {} MiB resident, {stats:?}", stats.calls(), after >> 20);
}

impl Soak {
    fn step(&self, random: &mut Random, depth: usize) {
        let key = random.below(KEYS);
        match random.below(40) {
            0 => drop(self.coalesce.forget(&key).then_some(())),
            1 => drop(self.coalesce.cancel(&key).then_some(())),
            2 => assert!(self.coalesce.flights().len() <= KEYS),
            _ => self.call(key, random, depth),
        }
    }

    fn call(&self, key: usize, random: &mut Random, depth: usize) {
        let mut request = self.coalesce.request(&key);
        match random.below(12) {
            0 => request = request.timeout(Duration::ZERO),
            1 => request = request.timeout(Duration::from_micros(random.below(500) as u64)),
            2 => request = request.patience(Duration::from_micros(random.below(500) as u64)),
            3 => request = request.after(self.coalesce.mark()),
            4 => request = request.bypass(),
            _ => {}
        }
        self.calls.fetch_add(1, SeqCst);
        let mut own = None;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            request.try_call(|flight| {
                let run = self.runs.fetch_add(1, SeqCst);
                own = Some(run);
                assert!(flight.followers() <= 40);
                (0..random.below(4)).for_each(|_| thread::yield_now());
                if depth < 3 && random.below(4) == 0 {
                    self.step(random, depth + 1);
                }
                match random.below(10) {
                    0 | 1 => Err(Answer { key, run }),
                    2 => resume_unwind(Box::new(if run % 2 == 0 { "elect" } else { "share" })),
                    _ => Ok(Answer { key, run }),
                }
            })
        }));
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(payload) => {
                if !payload.downcast_ref::<&str>().is_some_and(|text| ["elect", "share"].contains(text)) {
                    resume_unwind(payload); // a check of this test's, here or further in
                }
                assert!(own.is_some(), "a panic of somebody else's");
                return;
            }
        };
        let answer = match &outcome.result {
            Ok(answer) | Err(CallError::Failed(answer)) => Some(&**answer),
            Err(CallError::Closed | CallError::BadKey(_) | CallError::Overloaded) => panic!("{outcome:?}"),
            Err(_) => None,
        };
        assert!(answer.is_none_or(|answer| answer.key == key), "{outcome:?} for key {key}");
        match outcome.role {
            Role::Leader { .. } | Role::Bypassed(_) => assert_eq!(answer.map(|answer| answer.run), own),
            _ => assert_eq!(own, None, "its closure ran, but it was {:?}", outcome.role),
        }
    }
}

/// Bytes of memory in use, where the system tells; 0 elsewhere.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kibibytes.unwrap_or_default() << 10
}
