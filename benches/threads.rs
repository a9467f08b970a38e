//! Calls per second by many threads whose keys all differ, and while one leader takes long.

mod support;

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use self::support::contenders::{Contender, HandWritten, Moka, Ours, QuickCache, Singleflight, Uniflight};
use self::support::is_quick;
use self::support::plot::{Line, plot};
use self::support::report::{Report, figure};
use self::support::rounds::{Entry, alternate, entry};

/// Each thread has so many keys of its own.
const KEYS: usize = 16;

/// Millions of calls per second, by `threads` threads that share no key, within `window`.
fn throughput<Q: Sync + ?Sized>(contender: &impl Contender<Q>, keys: &[&Q], threads: usize, window: Duration) -> f64 {
    let stop = AtomicBool::new(false);
    let ready = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..threads)
            .map(|number| {
                let (stop, ready) = (&stop, &ready);
                let keys = &keys[number * KEYS..][..KEYS];
                scope.spawn(move || {
                    ready.wait();
                    let calls = keys.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed));
                    calls.fold(0_u64, |count, key| {
                        contender.call(key, || 7);
                        count + 1
                    })
                })
            })
            .collect();
        ready.wait();
        let start = Instant::now();
        thread::sleep(window);
        stop.store(true, Ordering::Relaxed);
        let elapsed = start.elapsed();
        let calls: u64 = callers.into_iter().map(|caller| caller.join().unwrap()).sum();
        #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
        let calls = calls as f64;
        calls / elapsed.as_secs_f64() / 1e6
    })
}

/// The same by two threads, without and with a leader of another key that is at work from before the first call to
/// after the last one.
fn beside_a_leader<Q: Sync + ?Sized>(contender: &impl Contender<Q>, keys: &[&Q], window: Duration) -> [f64; 2] {
    let alone = throughput(contender, &keys[1..], 2, window);
    let beside = thread::scope(|scope| {
        let (leads, led) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            contender.call(keys[0], move || {
                leads.send(()).unwrap();
                // Whoever waits for this leader and not for its own key's would be held up by it for good.
                let _ = ended.recv_timeout(window * 2);
                7
            })
        });
        led.recv().unwrap();
        let beside = throughput(contender, &keys[1..], 2, window);
        drop(end);
        beside
    });
    [alone, beside]
}

const NAMES: [&str; 6] =
    ["sync-coalesce", "sync-coalesce, quick_cache's hasher", "quick_cache", "uniflight", "moka", "hand-written"];

fn main() {
    let (rounds, window) = if is_quick() { (3, 10) } else { (15, 100) };
    let window = Duration::from_millis(window);
    let numbers: Vec<u64> = (0..=(64 * KEYS) as u64).collect();
    let words: Vec<String> = numbers.iter().map(|number| format!("question number {number}")).collect();
    let numbers: Vec<&u64> = numbers.iter().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();

    let ours = Ours::<u64>::new();
    let faster = Ours::<u64>::builder().hasher(quick_cache::DefaultHashBuilder::default()).build();
    let quick_cache = QuickCache::<u64>::new();
    let uniflight = Uniflight::<u64>::new();
    let moka = Moka::<u64>::new();
    let hand_written = HandWritten::<u64>::new();
    let singleflight = Singleflight::new();

    let mut report = Report::new("threads");
    report.paragraph(format!(
        "Millions of calls per second in all, by threads that share no key, and how many times ours that is; medians of \
         {rounds} windows of {window:?}."
    ));
    let mut cells: Vec<Vec<String>> = NAMES.map(|name| vec![name.to_owned()]).into();
    let mut lines: Vec<Line> = NAMES.map(|name| Line { name, points: Vec::new() }).into();
    for threads in [1_u32, 2, 8, 64] {
        let count = threads as usize;
        let entries: Vec<Entry<'_, 1>> = vec![
            entry(NAMES[0], || [throughput(&ours, &numbers, count, window)]),
            entry(NAMES[1], || [throughput(&faster, &numbers, count, window)]),
            entry(NAMES[2], || [throughput(&quick_cache, &numbers, count, window)]),
            entry(NAMES[3], || [throughput(&uniflight, &numbers, count, window)]),
            entry(NAMES[4], || [throughput(&moka, &numbers, count, window)]),
            entry(NAMES[5], || [throughput(&hand_written, &numbers, count, window)]),
        ];
        let samples = alternate(rounds, entries);
        for ((cells, line), sample) in cells.iter_mut().zip(&mut lines).zip(&samples) {
            cells.extend([figure(sample.median(0)), format!("{:.2}", sample.ratio(&samples[0], 0))]);
            line.points.push((f64::from(threads), sample.median(0)));
        }
    }
    let head = ["", "1 thread", "of ours", "2 threads", "of ours", "8 threads", "of ours", "64 threads", "of ours"];
    report.table(head, cells.into_iter().map(|row| <[String; 9]>::try_from(row).expect("four pairs")));

    report.paragraph(
        "Millions of calls per second by two threads, alone and while a third leads a key that nobody else asks for.",
    );
    let entries: Vec<Entry<'_, 2>> = vec![
        entry(NAMES[0], || beside_a_leader(&ours, &numbers, window)),
        entry(NAMES[2], || beside_a_leader(&quick_cache, &numbers, window)),
        entry(NAMES[3], || beside_a_leader(&uniflight, &numbers, window)),
        entry(NAMES[4], || beside_a_leader(&moka, &numbers, window)),
        entry(NAMES[5], || beside_a_leader(&hand_written, &numbers, window)),
        entry("singleflight, `&str` keys", || beside_a_leader(&singleflight, &words, window)),
    ];
    let rows = alternate(rounds, entries);
    let rows = rows.iter().map(|sample| {
        let ratio = format!("{:.2}", sample.share(1, 0));
        [sample.name.to_owned(), figure(sample.median(0)), figure(sample.median(1)), ratio]
    });
    report.table(["", "alone", "beside a leader", "ratio"], rows);
    let title = "Calls by threads that share no key";
    report.finish([("", plot(title, "threads", "million calls per second", &lines))]);
}
