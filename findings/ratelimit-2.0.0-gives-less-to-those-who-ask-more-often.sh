#!/usr/bin/env bash
# ratelimit 2.0.0 gives less than its rate to a caller that asks often: each refusal rounds what has flowed in down to a millionth of a token, and the
# rest is lost, because the time up to then is taken as accounted for.
#
# Versions: ratelimit 2.0.0 (crates.io), rustc 1.95.0.
# Seen: 1,000 seconds at 19 tokens in 10 seconds are 1,900 tokens. A caller that asks every 10 microseconds gets 1,899, one that asks every 2 gets 1,499,
#   one that asks every microsecond 1,000. At 19 in 10,000 seconds it takes one question in a millisecond to get half of the rate. The clock is set by
#   the program, so the machine's speed has no part in it.
# Why it matters: a refused question is meant to cost nothing, and whoever asks takes from everybody: the bucket is shared. The lower the rate, the rarer
#   the questions that do it. This crate's pacer keeps whole amounts of its own instead.
#
# Fails if it behaves differently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
printf '[package]\nname = "probe"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\nratelimit = "=2.0.0"\n[workspace]\n' > Cargo.toml
cat > src/main.rs <<'RUST'
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use ratelimit::{Builder, Clock};

struct Manual(Arc<AtomicU64>);

impl Clock for Manual {
    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// How many tokens a caller gets that asks every `step` microseconds, at 19 tokens in `period`, while 1,900 flow in.
fn granted(period: Duration, step: u64) -> usize {
    let time = Arc::new(AtomicU64::new(0));
    let limiter = Builder::with_clock(19, Manual(Arc::clone(&time))).period(period).max_tokens(1).build().unwrap();
    let end = u64::try_from(period.as_micros()).unwrap() * 100;
    (step..=end)
        .step_by(step as usize)
        .filter(|&now| {
            time.store(now, Ordering::Relaxed);
            limiter.try_wait().is_ok()
        })
        .count()
}

fn main() {
    let (fast, slow) = (Duration::from_secs(10), Duration::from_secs(10_000));
    println!("{} {} {} {}", granted(fast, 10), granted(fast, 2), granted(fast, 1), granted(slow, 1_000));
}
RUST
rustc --version
seen=$(cargo run --quiet --release)
echo "of 1,900 tokens, asked every 10, 2 and 1 microseconds, and at a thousandth of the rate every millisecond: $seen"
[ "$seen" = '1899 1499 1000 1000' ]
