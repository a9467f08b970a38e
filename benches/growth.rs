//! What a lone call costs beside many flights and many followers.

mod support;

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use self::support::contenders::Ours;
use self::support::crew::{Crew, Meeting};
use self::support::held::{FIRST, hold};
use self::support::is_quick;
use self::support::report::{Report, figure};
use self::support::rounds::{Entry, Samples, alternate, entry, median};

/// Nanoseconds for each of `count` runs of `work`, which is given another key each time.
fn timed<R>(count: u32, mut work: impl FnMut(u64) -> R) -> f64 {
    let start = Instant::now();
    for key in 0..u64::from(count) {
        black_box(work(black_box(key)));
    }
    start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

/// With the same hasher as ours.
type Map<V> = hashbrown::HashMap<u64, V, std::hash::RandomState>;

/// As large as what is kept for a flight, roughly.
type Large = [u64; 12];

fn map<V>(count: u64, value: impl Fn(u64) -> V) -> Map<V> {
    (FIRST..FIRST + count).map(|key| (key, value(key))).collect()
}

fn beside_flights(report: &mut Report, sizes: [u64; 3], rounds: usize, calls: u32) {
    report.paragraph(format!(
        "A lone call, with a new key each time, beside {} flights that are held open, in nanoseconds, and how many \
         times as long as with none. The maps are hashbrown's, hold as many entries, and are looked into, inserted \
         into and removed from once each time. Medians of {rounds} rounds.",
        sizes.map(|size| size.to_string()).join(", "),
    ));
    let coalesces = sizes.map(|_| Ours::<u64>::new());
    let mut small = sizes.map(|size| map(size, Arc::new));
    let mut large = sizes.map(|size| map(size, |key| -> Large { [key; 12] }));
    let samples = thread::scope(|scope| {
        let held: Vec<_> = coalesces.iter().zip(sizes).map(|(coalesce, size)| hold(scope, coalesce, size)).collect();
        let mut entries: Vec<Entry<'_, 1>> = Vec::new();
        for coalesce in &coalesces {
            entries.push(entry("sync-coalesce", move || [timed(calls, |key| coalesce.call(&key, || key))]));
        }
        for map in &mut small {
            let round = || {
                [timed(calls, |key| {
                    let value = Arc::new(key);
                    assert!(map.get(&key).is_none());
                    map.insert(key, Arc::clone(&value));
                    (map.remove(&key), value)
                })]
            };
            entries.push(entry("map of `Arc<u64>`", round));
        }
        for map in &mut large {
            let round = || {
                [timed(calls, |key| {
                    assert!(map.get(&key).is_none());
                    map.insert(key, [key; 12]);
                    map.remove(&key)
                })]
            };
            entries.push(entry("map of 96 bytes", round));
        }
        let samples = alternate(rounds, entries);
        drop(held);
        samples
    });
    let rows = samples.chunks(3).map(|row| {
        let [none, some, many] = row else { unreachable!("three sizes") };
        let times = |sample: &Samples<1>| format!("{:.2}", sample.ratio(none, 0));
        let [first, second, third] = [none, some, many].map(|sample| figure(sample.median(0)));
        [none.name.to_owned(), first, second, times(some), third, times(many)]
    });
    let [none, some, many] = sizes.map(|size| size.to_string());
    report.table(["flights or entries held", &none, &some, "ratio", &many, "ratio"], rows);
}

/// Times lone calls in the only shard, before its followers come and when they all wait.
struct Beside {
    coalesce: Ours<u64>,
    calls: u32,
    ratios: Mutex<Vec<[f64; 2]>>,
}

impl Beside {
    fn lone_calls(&self) -> f64 {
        timed(self.calls, |key| self.coalesce.call(&(FIRST + key), || key))
    }
}

impl Meeting for Beside {
    fn lead(&self, work: &mut (dyn FnMut() + Send)) {
        let lead = || {
            let before = self.lone_calls();
            work();
            // Not counted: waiting for the followers has left other things in the caches.
            self.lone_calls();
            self.ratios.lock().unwrap().push([before, self.lone_calls()]);
            7
        };
        self.coalesce.call(&1, lead).unwrap();
    }

    fn follow(&self) {
        self.coalesce.call(&1, || unreachable!("a follower does not work")).unwrap();
    }
}

fn beside_followers(report: &mut Report, followers: usize, rounds: usize, calls: u32) {
    let beside = Beside { coalesce: Ours::builder().shards(1).build(), calls, ratios: Mutex::default() };
    let meetings: [&dyn Meeting; 1] = [&beside];
    let crew = Crew::new(&meetings, followers);
    thread::scope(|scope| {
        let ids = crew.muster(scope).expect("the system has room for the followers");
        for _ in 0..rounds {
            crew.round(0, &ids);
        }
        crew.dismiss();
    });
    let ratios = beside.ratios.lock().unwrap();
    report.paragraph(format!(
        "A lone call in the same shard as a flight, in nanoseconds, before and after {followers} followers have joined \
         the flight. Medians of {rounds} rounds."
    ));
    let before = figure(median(ratios.iter().map(|ratio| ratio[0])));
    let after = figure(median(ratios.iter().map(|ratio| ratio[1])));
    let ratio = format!("{:.2}", median(ratios.iter().map(|ratio| ratio[1] / ratio[0])));
    report.table(
        ["", "no follower", &format!("{followers} followers"), "ratio"],
        [["sync-coalesce, one shard".to_owned(), before, after, ratio]],
    );
}

fn main() {
    let mut report = Report::new("growth");
    if is_quick() {
        beside_flights(&mut report, [0, 10, 1_000], 3, 1_000);
        beside_followers(&mut report, 100, 3, 1_000);
    } else {
        beside_flights(&mut report, [0, 1_000, 100_000], 41, 50_000);
        beside_followers(&mut report, 10_000, 15, 50_000);
    }
    report.finish([]);
}
