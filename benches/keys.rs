//! What a key costs, beside a bare hash of the same bytes, the crates that make canonical JSON, and `to_vec`, which has
//! to be paid anyway to send the request.

mod support;

use std::hint::black_box;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;
use sync_coalesce::key::SharedText;
use sync_coalesce::{Key, KeyPreset};

use self::support::is_quick;
use self::support::report::{Report, figure};
use self::support::rounds::{Entry, Samples, alternate, entry};

#[derive(Serialize)]
struct Chat<C> {
    model: String,
    messages: Vec<Message<C>>,
    temperature: f64,
    max_tokens: u32,
    seed: u64,
    stream: bool,
}

#[derive(Serialize)]
struct Message<C> {
    role: &'static str,
    content: C,
}

fn chat<C: From<String>>(messages: usize, bytes_each: usize) -> Chat<C> {
    let role = |index| if index % 2 == 0 { "user" } else { "assistant" };
    let message = |index| Message { role: role(index), content: prose(bytes_each, index).into() };
    Chat {
        model: "a-model-2026-11".to_owned(),
        messages: (0..messages).map(message).collect(),
        temperature: 0.7,
        max_tokens: 1024,
        seed: 42,
        stream: false,
    }
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

/// A round of 1, 10, 100 or 1,000 calls: as many as it takes to fill 200 microseconds.
fn timed<'r, T>(name: &'static str, call: impl Fn() -> T + 'r) -> Entry<'r, 1> {
    let round = move |calls: u32| {
        let start = Instant::now();
        (0..calls).for_each(|_| drop(black_box(call())));
        start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
    };
    let mut calls = None;
    entry(name, move || {
        // In the first round, which is not counted. The first call of all has to grow its buffers.
        let enough = || [1, 10, 100, 1_000].into_iter().find(|&calls| round(calls) * f64::from(calls) > 200.0);
        let calls = *calls.get_or_insert_with(|| enough().unwrap_or(1_000));
        [round(calls)]
    })
}

type Row = [String; 10];

/// A row of the table: `key`'s time, and each contender's as a multiple of that of a hash over the request's bytes.
fn row<R: Serialize>(name: &str, at_most: &str, request: &R, key: impl Fn(&R) -> Key) -> Row {
    let bytes = serde_json::to_vec(request).unwrap();
    let hashed = |text: Vec<u8>| blake3::hash(&text);
    let to_vec = || serde_json::to_vec(black_box(request)).unwrap();
    let entries = vec![
        timed("BLAKE3", || blake3::hash(black_box(&bytes))),
        timed("key", || key(black_box(request))),
        timed("to_vec", to_vec),
        timed("to_vec + BLAKE3", || hashed(to_vec())),
        timed("serde_json_canonicalizer + BLAKE3", || {
            hashed(serde_json_canonicalizer::to_vec(black_box(request)).unwrap())
        }),
        timed("serde_jcs + BLAKE3", || hashed(serde_jcs::to_vec(black_box(request)).unwrap())),
    ];
    // A few rounds of a small request could all fall into one bad moment.
    let rounds = if bytes.len() < 1_000_000 { 301 } else { 31 };
    let samples = alternate(if is_quick() { 2 } else { rounds }, entries);
    let [hash, key, to_vec, both, canonicalizer, jcs] = samples.as_slice() else { unreachable!() };
    let times = |sample: &Samples<1>, base: &Samples<1>| format!("{:.2}", sample.best(0) / base.best(0));
    [
        name.to_owned(),
        figure(hash.best(0)),
        figure(key.best(0)),
        times(key, hash),
        at_most.to_owned(),
        times(to_vec, hash),
        times(both, hash),
        times(canonicalizer, hash),
        times(jcs, hash),
        times(key, to_vec),
    ]
}

/// Two rows: the request as its type, and as a `Value`.
fn rows<R: Serialize>(name: &str, at_most: &str, request: &R) -> [Row; 2] {
    let value: Value = serde_json::to_value(request).unwrap();
    let untyped = format!("{name}, `Value`");
    [row(name, at_most, request, of), row(&untyped, at_most, &value, of)]
}

fn of<R: Serialize>(request: &R) -> Key {
    Key::of(request).unwrap()
}

fn main() {
    let chats = [
        ("chat, 1 KB", "2.0", 4, 210),
        ("chat, 100 KB, messages of 500 bytes", "3.0", 184, 500),
        ("chat, 100 KB, messages of 4 KB", "3.0", 24, 4_000),
        ("chat, 100 KB, messages of 12 KB", "3.0", 8, 12_000),
        ("chat, 5 MB, messages of 20 KB", "1.15", 245, 20_000),
        ("chat, 5 MB, messages of 100 KB", "1.15", 50, 100_000),
    ];
    let mut table: Vec<Row> = Vec::new();
    for (name, at_most, messages, bytes_each) in chats {
        table.extend(rows(name, at_most, &chat::<String>(messages, bytes_each)));
    }
    let rule = KeyPreset::anthropic_messages().rule("tenant").unwrap().drop("/seed").unwrap();
    let by_rule = |chat: &Chat<String>| rule.key(chat).unwrap();
    table.push(row("chat, 100 KB, messages of 500 bytes, by a rule", "-", &chat(184, 500), by_rule));
    table.push(row(
        "chat, 5 MB, messages of 100 KB, each a `SharedText`",
        "100 µs",
        &chat::<SharedText>(50, 100_000),
        of,
    ));
    table.extend(rows("30,000 objects, 5 MB", "16", &items(30_000)));

    let mut report = Report::new("keys");
    report
        .paragraph("Microseconds for BLAKE3 over the bytes of `to_vec` and for the key; then multiples of the former.");
    let head = [
        "",
        "BLAKE3, µs",
        "key, µs",
        "key",
        "wanted",
        "`to_vec`",
        "`to_vec` and BLAKE3",
        "serde_json_canonicalizer",
        "serde_jcs",
        "key, of `to_vec`",
    ];
    report.table(head, table);
    report.finish([]);
}
