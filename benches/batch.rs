//! One batch of 100 keys against 100 single calls, where 0, 50 or 100 of the keys are in flight already.
//!
//! `cargo bench --bench batch`. The closures do nothing, so what is left is the crate's own time. The keys in flight are
//! led by one other thread, which ends each of them when it is followed; so the rows with some in flight have its
//! wake-ups in them. Single calls follow one key after the other, and each waits for a wake-up of its own.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use sync_coalesce::SyncCoalesce;

const KEYS: u64 = 100;
const ROUNDS: usize = 2_000;

type Coalesce = SyncCoalesce<u64, u64>;

fn main() {
    // `cargo test --benches` runs this too: once is enough to see that it works.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { ROUNDS } else { 1 };
    println!("{:>10}  {:>14}  {:>14}", "in flight", "batch", "single calls");
    for in_flight in [0, KEYS / 2, KEYS] {
        let batch = median(rounds, in_flight, |coalesce, keys| {
            for value in coalesce.call_many(keys, |missing| missing.iter().map(|key| **key).collect()) {
                black_box(value.unwrap());
            }
        });
        let single = median(rounds, in_flight, |coalesce, keys| {
            for key in keys {
                black_box(coalesce.call(key, || *key).unwrap());
            }
        });
        println!("{in_flight:>10}  {batch:>14.2?}  {single:>14.2?}");
    }
}

/// The median time of `ask`, while another thread leads the first `in_flight` keys, each until it is followed.
fn median(rounds: usize, in_flight: u64, ask: impl Fn(&Coalesce, &[u64])) -> Duration {
    let coalesce = Coalesce::new();
    let keys: Vec<u64> = (0..KEYS).collect();
    let mut times = Vec::with_capacity(rounds);
    let next_round = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..rounds {
                lead(&coalesce, &keys[..usize::try_from(in_flight).unwrap()], &next_round);
                next_round.wait();
            }
        });
        for _ in 0..rounds {
            next_round.wait();
            let began = Instant::now();
            ask(&coalesce, &keys);
            times.push(began.elapsed());
            next_round.wait();
        }
    });
    times.sort_unstable();
    times[times.len() / 2]
}

/// Leads all the keys, each in the closure of the one after it, and ends each when it is followed: the first one first.
fn lead(coalesce: &Coalesce, keys: &[u64], ready: &Barrier) {
    let Some((key, others)) = keys.split_last() else {
        ready.wait();
        return;
    };
    let followed = |flight: &sync_coalesce::Flight<'_, _, _, _>| {
        lead(coalesce, others, ready);
        while flight.followers() == 0 {
            thread::yield_now();
        }
        *key
    };
    black_box(coalesce.request(key).call(followed).result.unwrap());
}
