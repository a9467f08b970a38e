//! Many threads over few keys, every answer checked.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use sync_coalesce::{CallError, Role, SyncCoalesce};

use crate::support::thread;
use crate::support::{Random, assert_idle, bounded, crowd, join};

const THREADS: usize = 64;
const ROUNDS: usize = 400;
const KEYS: usize = 8;

#[derive(Default)]
struct Seen {
    /// A run for this key that new callers can join is on.
    running: [AtomicBool; KEYS],
    /// The last run for this key that a call has returned with: whoever calls after that gets a later one.
    returned: [AtomicU64; KEYS],
    runs: AtomicU64,
}

/// What a run gives: its key, and a number from 1 that no other run has.
#[derive(Debug)]
struct Answer {
    key: usize,
    run: u64,
}

#[test]
fn sixty_four_threads_over_eight_keys() {
    bounded(|| {
        let coalesce: SyncCoalesce<usize, Answer, Answer> = SyncCoalesce::new();
        let seen = Seen::default();
        let followed = thread::scope(|scope| {
            let (coalesce, seen) = (&coalesce, &seen);
            join(crowd(scope, THREADS, move |thread| {
                let mut random = Random::new(thread);
                (0..ROUNDS).filter(|_| call(coalesce, seen, &mut random)).count()
            }))
        });
        let stats = coalesce.stats();
        assert_eq!(stats.calls(), (THREADS * ROUNDS) as u64);
        assert_eq!(stats.underlying_calls, seen.runs.load(SeqCst));
        assert_eq!(stats.coalesced_calls, followed.iter().sum::<usize>() as u64);
        assert!(stats.coalesced_calls > 0, "the threads never met");
        assert_idle(&coalesce);
    });
}

/// One call, checked; says whether it was a follower's.
fn call(coalesce: &SyncCoalesce<usize, Answer, Answer>, seen: &Seen, random: &mut Random) -> bool {
    let key = random.below(KEYS);
    let fails = random.below(8) == 0;
    let timeout = if random.below(8) == 0 { Duration::ZERO } else { Duration::MAX };
    let yields = random.below(4);
    let mut own = None;
    let returned = seen.returned[key].load(SeqCst);
    let outcome = coalesce.on(&key).timeout(timeout).try_call(|_| {
        assert!(!seen.running[key].swap(true, SeqCst), "two leaders for key {key} at a time");
        let run = seen.runs.fetch_add(1, SeqCst) + 1;
        own = Some(run);
        (0..yields).for_each(|_| thread::yield_now());
        seen.running[key].store(false, SeqCst);
        if fails { Err(Answer { key, run }) } else { Ok(Answer { key, run }) }
    });
    let answer = match &outcome.result {
        Ok(answer) | Err(CallError::Failed(answer)) => Some(&**answer),
        Err(CallError::TimedOut) => None,
        Err(other) => panic!("{other:?}"),
    };
    if let Some(answer) = answer {
        assert_eq!(answer.key, key);
        // The runs for one key come one after the other, so a later one has a greater number.
        assert!(answer.run > returned, "run {} came after {returned} was known", answer.run);
        seen.returned[key].fetch_max(answer.run, SeqCst);
    }
    match outcome.role {
        Role::Leader { .. } => assert_eq!(answer.map(|answer| answer.run), own),
        Role::Follower { .. } => assert_eq!(own, None, "a follower's closure ran"),
        other => panic!("{other:?}"),
    }
    matches!(outcome.role, Role::Follower { .. })
}
