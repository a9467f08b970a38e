//! Threads that are late, for `ci/noise`.

use std::env;
use std::hash::{DefaultHasher, Hasher};
use std::panic::UnwindSafe;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Bounds what a test of many calls takes.
const MOST: u64 = 400;

/// std's, with noise before and after.
pub(crate) fn catch_unwind<R>(work: impl FnOnce() -> R + UnwindSafe) -> std::thread::Result<R> {
    noise();
    let ran = std::panic::catch_unwind(work);
    noise();
    ran
}

/// Sleeps up to 30 ms, every second time on average. Another number in `SYNC_COALESCE_NOISE` makes other calls sleep.
fn noise() {
    static SEED: LazyLock<u64> = LazyLock::new(|| {
        let seed = env::var("SYNC_COALESCE_NOISE").ok();
        seed.and_then(|seed| seed.parse().ok()).unwrap_or(0)
    });
    static TURN: AtomicU64 = AtomicU64::new(0);

    let turn = TURN.fetch_add(1, Ordering::Relaxed);
    if turn < MOST {
        let mut random = DefaultHasher::new();
        random.write_u64(*SEED);
        random.write_u64(turn);
        let random = random.finish();
        if random % 2 == 0 {
            thread::sleep(Duration::from_micros(random / 2 % 30_000));
        }
    }
}
