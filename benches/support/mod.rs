//! What the benches share.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "each bench uses a part of it")]

pub mod contenders;
pub mod crew;
pub mod held;
pub mod machine;
pub mod plot;
pub mod report;
pub mod rounds;

use std::env;

/// The crate's folder, which is not that of the benches' manifest.
const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Whether to run a short version, of which only the form counts: with `BENCH_QUICK` set, or without the `--bench` that
/// `cargo bench` gives.
pub fn is_quick() -> bool {
    env::var_os("BENCH_QUICK").is_some() || !env::args().any(|argument| argument == "--bench")
}
