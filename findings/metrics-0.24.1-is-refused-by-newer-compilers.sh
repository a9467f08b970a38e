#!/usr/bin/env bash
# metrics 0.24.0 and 0.24.1 compile no longer, though `metrics = "0.24"` accepts them and nothing in them has changed.
#
# Versions: metrics 0.24.1 and 0.24.2 (crates.io), rustc 1.95.0.
# Seen: 0.24.1 is refused with E0521 in recorder/mod.rs, "raw pointer casts of trait objects cannot extend lifetimes",
#   and the compiler says that this "was previously accepted by the compiler but was changed recently"
#   (rust-lang/rust#141402). 0.24.2 compiles.
# Why it matters: a lock file of before 0.24.2, or a build with the oldest versions that a manifest accepts, fails after
#   an update of the compiler alone. This crate demands 0.24.2 since.
#
# Fails if either of the two behaves differently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
echo 'fn main() { metrics::counter!("calls_total").increment(1); }' > src/main.rs
rustc --version
check() {
    rm -f Cargo.lock
    printf '[package]\nname = "probe"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\nmetrics = "=%s"\n[workspace]\n' "$1" > Cargo.toml
    cargo check --quiet > log 2>&1
}
if check 0.24.1; then
    echo 'metrics 0.24.1 compiles: the behaviour has changed'
    exit 1
fi
grep -q '^error\[E0521\]' log && grep -q 'raw pointer casts of trait objects cannot extend lifetimes' log || { cat log; exit 1; }
echo 'metrics 0.24.1: error[E0521], raw pointer casts of trait objects cannot extend lifetimes'
check 0.24.2 || { cat log; exit 1; }
echo 'metrics 0.24.2: compiles'
