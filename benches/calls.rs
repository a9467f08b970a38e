//! What one call costs that nobody else makes at the time: by criterion, and in turns for the table.

mod support;

use std::hash::Hash;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use sync_coalesce::{Key, SyncCoalesce};

use self::support::contenders::{Contender, Copied, HandWritten, Moka, Ours, QuickCache, Singleflight, Uniflight};
use self::support::is_quick;
use self::support::report::{Report, figure};
use self::support::rounds::{Samples, alternate, entry};

/// Enough to meet every shard, and few enough for the first-level cache.
const KEYS: u64 = 256;

type Call<'a, Q> = Box<dyn Fn(&[&Q], usize) -> Duration + 'a>;

/// Calls for one key after the other, `calls` in all.
fn timed<Q: ?Sized, R>(keys: &[&Q], calls: usize, call: impl Fn(&Q) -> R) -> Duration {
    let start = Instant::now();
    for key in keys.iter().cycle().take(calls) {
        black_box(call(black_box(key)));
    }
    start.elapsed()
}

fn row<'a, Q: ?Sized>(name: &'static str, contender: impl Contender<Q> + 'a) -> (&'static str, Call<'a, Q>) {
    let call = move |keys: &[&Q], calls| timed(keys, calls, |key| contender.call(key, || black_box(7)));
    (name, Box::new(call))
}

/// Those that take every kind of key.
fn contenders<'a, Q, K>() -> Vec<(&'static str, Call<'a, Q>)>
where
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized + 'a,
    K: Hash + Eq + Clone + Send + Sync + std::borrow::Borrow<Q> + 'static,
{
    let faster = SyncCoalesce::builder().hasher(quick_cache::DefaultHashBuilder::default()).build();
    let copied = Copied::<K>::new();
    vec![
        row("sync-coalesce", Ours::<K>::new()),
        row("sync-coalesce, quick_cache's hasher", faster),
        row("quick_cache", QuickCache::<K>::new()),
        (
            "quick_cache, value copied",
            Box::new(move |keys, calls| timed(keys, calls, |key| copied.call(key, || black_box(7)))),
        ),
        row("uniflight", Uniflight::<K>::new()),
        row("moka", Moka::<K>::new()),
        row("hand-written", HandWritten::<K>::new()),
    ]
}

fn measure<Q: ?Sized>(
    criterion: &mut Criterion,
    group: &str,
    keys: &[&Q],
    contenders: Vec<(&'static str, Call<'_, Q>)>,
) -> Vec<Samples<1>> {
    let mut group = criterion.benchmark_group(group);
    for (name, call) in &contenders {
        group.bench_function(*name, |bencher| {
            bencher.iter_custom(|calls| call(keys, usize::try_from(calls).unwrap()));
        });
    }
    group.finish();

    let (rounds, calls) = if is_quick() { (3, 1_000) } else { (41, 50_000) };
    let entries = contenders.into_iter().map(|(name, call)| {
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        entry(name, move || [call(keys, calls).as_nanos() as f64 / calls as f64])
    });
    alternate(rounds, entries.collect())
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    if is_quick() {
        criterion = criterion.warm_up_time(Duration::from_millis(10)).measurement_time(Duration::from_millis(50));
        criterion = criterion.sample_size(10);
    } else {
        criterion = criterion.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
        criterion = criterion.sample_size(30);
    }

    let numbers: Vec<u64> = (0..KEYS).collect();
    let words: Vec<String> = numbers.iter().map(|number| format!("question number {number}")).collect();
    let keys: Vec<Key> = words.iter().map(|word| Key::of(word).unwrap()).collect();

    let by_number = measure(&mut criterion, "u64 keys", &numbers.iter().collect::<Vec<_>>(), contenders::<u64, u64>());
    let mut for_words = contenders::<str, String>();
    for_words.push(row("singleflight", Singleflight::new()));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let by_word = measure(&mut criterion, "&str keys", &words, for_words);
    let by_key = measure(&mut criterion, "Key", &keys.iter().collect::<Vec<_>>(), contenders::<Key, Key>());
    criterion.final_summary();

    let mut report = Report::new("calls");
    report.paragraph("A lone call, nanoseconds, and how many times as long as ours.");
    let cell = |samples: &[Samples<1>], name| {
        let found = samples.iter().find(|sample| sample.name == name);
        let cell = |sample: &Samples<1>| [figure(sample.median(0)), format!("{:.2}", sample.ratio(&samples[0], 0))];
        found.map_or(["-".to_owned(), "-".to_owned()], cell)
    };
    let rows = by_word.iter().map(|sample| {
        let [number, number_ratio] = cell(&by_number, sample.name);
        let [word, word_ratio] = cell(&by_word, sample.name);
        let [key, key_ratio] = cell(&by_key, sample.name);
        [sample.name.to_owned(), number, number_ratio, word, word_ratio, key, key_ratio]
    });
    report.table(["", "`u64` keys", "ratio", "`&str` keys", "ratio", "`Key`", "ratio"], rows);
    report.finish([]);
}
