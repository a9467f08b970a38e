//! What a key costs, beside a bare hash of the same bytes, the crates that make canonical JSON, and `to_vec`, which has
//! to be paid anyway to send the request.
//!
//! `cargo bench --bench keys` prints a table of ratios first, for which the contenders take turns, and then criterion's
//! own figures. `benches/keys.md` says what is in the rows and what came of it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use serde::Serialize;
use serde_json::Value;
use sync_coalesce::Key;

#[derive(Serialize)]
struct Chat {
    model: String,
    messages: Vec<Message>,
    temperature: f64,
    max_tokens: u32,
    seed: u64,
    stream: bool,
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Item {
    id: u64,
    name: String,
    score: f64,
    price: f64,
    tags: [&'static str; 3],
    active: bool,
    owner: Option<u32>,
    note: String,
}

/// English with line ends and quotes: an escape for every 38 bytes.
fn prose(bytes: usize, salt: usize) -> String {
    const LINE: &str = "The quick brown fox jumps over the lazy dog, and the dog asks why the \"fox\" is in such a hurry \
                        so late in the day.\n";
    let mut text = format!("{salt} ");
    while text.len() < bytes {
        text.push_str(&LINE[..LINE.len().min(bytes - text.len())]);
    }
    text
}

fn chat(messages: usize, bytes_each: usize) -> Chat {
    Chat {
        model: "a-model-2026-11".to_owned(),
        messages: (0..messages)
            .map(|index| Message {
                role: if index % 2 == 0 { "user" } else { "assistant" },
                content: prose(bytes_each, index),
            })
            .collect(),
        temperature: 0.7,
        max_tokens: 1024,
        seed: 42,
        stream: false,
    }
}

fn items(count: u32) -> Vec<Item> {
    (0..count)
        .map(|index| Item {
            id: u64::from(index) * 7919,
            name: format!("item number {index}"),
            score: f64::from(index) / 1000.0,
            price: 19.95,
            tags: ["red", "green", "blue"],
            active: index % 3 == 0,
            owner: (index % 2 == 0).then_some(index),
            note: prose(40, 7),
        })
        .collect()
}

type Contender<'r> = (&'static str, Box<dyn Fn() + 'r>);

/// The contenders for one request; the first is the measure of all others.
fn contenders<'r, R: Serialize>(request: &'r R, bytes: &'r [u8]) -> Vec<Contender<'r>> {
    vec![
        ("BLAKE3", Box::new(move || _ = black_box(blake3::hash(black_box(bytes))))),
        ("Key::of", Box::new(move || _ = black_box(Key::of(black_box(request)).unwrap()))),
        ("to_vec", Box::new(move || _ = black_box(serde_json::to_vec(black_box(request)).unwrap()))),
        (
            "to_vec + BLAKE3",
            Box::new(move || _ = black_box(blake3::hash(&serde_json::to_vec(black_box(request)).unwrap()))),
        ),
        (
            "serde_json_canonicalizer + BLAKE3",
            Box::new(move || {
                let text = serde_json_canonicalizer::to_vec(black_box(request)).unwrap();
                _ = black_box(blake3::hash(&text));
            }),
        ),
        (
            "serde_jcs + BLAKE3",
            Box::new(move || _ = black_box(blake3::hash(&serde_jcs::to_vec(black_box(request)).unwrap()))),
        ),
    ]
}

/// A row of the table: each contender's time as a multiple of the first one's.
///
/// The contenders take turns in short rounds, and the best round of each counts: whatever else the machine does can only
/// add to a time.
fn ratios(name: &str, contenders: &[Contender<'_>], quick: bool) {
    let (rounds, slice) = if quick { (3, Duration::from_millis(1)) } else { (300, Duration::from_micros(500)) };
    let timed = |run: &dyn Fn(), calls: u32| {
        let start = Instant::now();
        (0..calls).for_each(|_| run());
        start.elapsed() / calls
    };
    let calls: Vec<u32> = contenders
        .iter()
        .map(|(_, run)| {
            run();
            let once = timed(run, 1).as_nanos().max(100);
            u32::try_from(slice.as_nanos() / once).unwrap().max(1)
        })
        .collect();
    let mut best = vec![Duration::MAX; contenders.len()];
    let start = Instant::now();
    for round in 0..rounds {
        for (((_, run), &calls), best) in contenders.iter().zip(&calls).zip(&mut best) {
            *best = timed(run, calls).min(*best);
        }
        if round >= 30 && start.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
    let of = |this: Duration, that: Duration| this.as_secs_f64() / that.as_secs_f64();
    print!("| {name} | {:.2} µs |", best[0].as_secs_f64() * 1e6);
    best[1..].iter().for_each(|&this| print!(" {:.2} |", of(this, best[0])));
    println!(" {:.2} |", of(best[1], best[2]));
}

fn row<R: Serialize>(criterion: &mut Option<&mut Criterion>, name: &str, request: &R, quick: bool) {
    let bytes = serde_json::to_vec(request).unwrap();
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    let kinds = [("typed", contenders(request, &bytes)), ("`Value`", contenders(&value, &bytes))];
    for (kind, contenders) in &kinds {
        let name = format!("{name}, {kind}");
        let Some(criterion) = criterion else {
            ratios(&name, contenders, quick);
            continue;
        };
        let mut group = criterion.benchmark_group(&name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
        for (contender, run) in contenders {
            group.bench_function(BenchmarkId::from_parameter(contender), |bencher| bencher.iter(run));
        }
        group.finish();
    }
}

fn rows(mut criterion: Option<&mut Criterion>, quick: bool) {
    row(&mut criterion, "chat, 1 KB", &chat(4, 210), quick);
    row(&mut criterion, "chat, 100 KB, messages of 500 bytes", &chat(184, 500), quick);
    row(&mut criterion, "chat, 100 KB, messages of 4 KB", &chat(24, 4000), quick);
    row(&mut criterion, "chat, 100 KB, messages of 12 KB", &chat(8, 12_000), quick);
    row(&mut criterion, "chat, 5 MB, messages of 20 KB", &chat(245, 20_000), quick);
    row(&mut criterion, "chat, 5 MB, messages of 100 KB", &chat(50, 100_000), quick);
    row(&mut criterion, "5 MB of 30,000 objects", &items(30_000), quick);
}

fn main() {
    let quick = std::env::var_os("BENCH_QUICK").is_some() || std::env::args().any(|argument| argument == "--test");
    let names = contenders(&(), b"").into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    println!("| request | {} | `Key::of` of `to_vec` |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len() + 1));
    rows(None, quick);
    if !quick && std::env::var_os("BENCH_TABLE").is_none() {
        let mut criterion = Criterion::default().configure_from_args();
        rows(Some(&mut criterion), quick);
        criterion.final_summary();
    }
}
