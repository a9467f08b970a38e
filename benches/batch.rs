//! One batch of 100 keys against 100 single calls, where 0, 50 or 100 of the keys are in flight already.
//!
//! The closures do nothing, so what is left is the crate's own time. The keys in flight are led by one other thread,
//! which ends each of them when it is followed; so the rows with some in flight have its wake-ups in them. Single calls
//! follow one key after the other, and each waits for a wake-up of its own.

mod support;

use std::hint::black_box;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Instant;

use sync_coalesce::SyncCoalesce;

use self::support::is_quick;
use self::support::report::{Report, figure};
use self::support::rounds::{Samples, alternate, entry};

const KEYS: u64 = 100;

type Coalesce = SyncCoalesce<u64, u64>;

fn batch(coalesce: &Coalesce, keys: &[u64]) {
    for value in coalesce.call_many(keys, |missing| missing.iter().map(|key| **key).collect()) {
        black_box(value.unwrap());
    }
}

fn single_calls(coalesce: &Coalesce, keys: &[u64]) {
    for key in keys {
        black_box(coalesce.call(key, || *key).unwrap());
    }
}

/// Microseconds of both, while another thread leads the first `in_flight` keys, each until it is followed.
fn measure(in_flight: u64, rounds: usize) -> [Samples<1>; 2] {
    let coalesce = Coalesce::new();
    let keys: Vec<u64> = (0..KEYS).collect();
    let led = &keys[..usize::try_from(in_flight).unwrap()];
    let (next, rounds_to_lead) = mpsc::channel();
    let met = Barrier::new(2);
    let samples = thread::scope(|scope| {
        scope.spawn(|| {
            for () in rounds_to_lead {
                lead(&coalesce, led, &met);
                met.wait();
            }
        });
        let round = |ask: fn(&Coalesce, &[u64])| {
            next.send(()).unwrap();
            met.wait();
            let began = Instant::now();
            ask(&coalesce, &keys);
            let took = began.elapsed();
            met.wait();
            [took.as_secs_f64() * 1e6]
        };
        let samples =
            alternate(rounds, vec![entry("batch", || round(batch)), entry("single calls", || round(single_calls))]);
        drop(next);
        samples
    });
    samples.try_into().unwrap_or_else(|_| unreachable!("there are two"))
}

/// Leads all the keys, each in the closure of the one after it, and ends each when it is followed: the first one first.
fn lead(coalesce: &Coalesce, keys: &[u64], ready: &Barrier) {
    let Some((key, others)) = keys.split_last() else {
        ready.wait();
        return;
    };
    let followed = |flight: &sync_coalesce::FlightHandle<'_, _, _, _>| {
        lead(coalesce, others, ready);
        while flight.followers() == 0 {
            thread::yield_now();
        }
        *key
    };
    black_box(coalesce.on(key).call(followed).result.unwrap());
}

fn main() {
    let rounds = if is_quick() { 3 } else { 2_000 };
    let mut report = Report::new("batch");
    report.paragraph(format!(
        "{KEYS} keys, some of them in flight: microseconds for one batch and for {KEYS} single calls, medians of \
         {rounds} rounds, and how many times as long the batch takes."
    ));
    let rows = [0, KEYS / 2, KEYS].map(|in_flight| {
        let [batch, single] = measure(in_flight, rounds);
        [
            format!("{in_flight} of {KEYS}"),
            figure(batch.median(0)),
            figure(single.median(0)),
            format!("{:.2}", batch.ratio(&single, 0)),
        ]
    });
    report.table(["in flight", "batch", "single calls", "ratio"], rows);
    report.finish([]);
}
