//! Bytes for each flight and each follower, counted by an allocator. Nothing is timed here.

mod support;

use std::alloc::System;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use self::support::contenders::Ours;
use self::support::crew::{Crew, Meeting};
use self::support::held::{hold, until_idle};
use self::support::is_quick;
use self::support::report::Report;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that are allocated and not freed, and how often was allocated.
fn live() -> (u64, u64) {
    let stats = ALLOCATOR.stats();
    ((stats.bytes_allocated - stats.bytes_deallocated) as u64, (stats.allocations + stats.reallocations) as u64)
}

/// What is allocated for each of `count` flights when all are held, and how much is still there when they have ended.
fn flights(count: u64) -> [String; 4] {
    let coalesce = Ours::<u64>::new();
    // Each shard's table is allocated by its first flight, and stays.
    (0..1_000).for_each(|key| drop(coalesce.call(&key, || 7)));
    let (before, _) = live();
    let during = thread::scope(|scope| {
        let held = hold(scope, &coalesce, count);
        let (during, _) = live();
        drop(held);
        during
    });
    until_idle(&coalesce);
    let (after, _) = live();
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let each = during.saturating_sub(before) as f64 / count as f64;
    [format!("{count} lone flights"), format!("{each:.1}"), "-".to_owned(), after.saturating_sub(before).to_string()]
}

/// Counts what is allocated while the followers join.
struct Counted {
    coalesce: Ours<u64>,
    bytes: AtomicU64,
    allocations: AtomicU64,
}

impl Meeting for Counted {
    fn lead(&self, work: &mut (dyn FnMut() + Send)) {
        let lead = || {
            let before = live();
            work();
            let after = live();
            self.bytes.store(after.0.saturating_sub(before.0), Ordering::Relaxed);
            self.allocations.store(after.1 - before.1, Ordering::Relaxed);
            7
        };
        self.coalesce.call(&1, lead).unwrap();
    }

    fn follow(&self) {
        self.coalesce.call(&1, || unreachable!("a follower does not work")).unwrap();
    }
}

/// What `count` followers of one flight take when all wait.
fn followers(count: usize) -> [String; 4] {
    let counted = Counted { coalesce: Ours::new(), bytes: AtomicU64::new(0), allocations: AtomicU64::new(0) };
    let meetings: [&dyn Meeting; 1] = [&counted];
    let crew = Crew::new(&meetings, count);
    let left = thread::scope(|scope| {
        let ids = crew.muster(scope).expect("the system has room for the followers");
        crew.round(0, &ids);
        let (before, _) = live();
        crew.round(0, &ids);
        let left = live().0.saturating_sub(before);
        crew.dismiss();
        left
    });
    let bytes = counted.bytes.load(Ordering::Relaxed);
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let each = bytes as f64 / count as f64;
    [format!("{count} followers of one flight"), format!("{each:.3}"), bytes.to_string(), left.to_string()]
}

fn main() {
    let mut report = Report::new("memory");
    report.paragraph("Bytes, counted by the allocator while all are there, and what is left when they have gone.");
    let scale = if is_quick() { 100 } else { 1 };
    let rows = [flights(1_000 / scale), flights(100_000 / scale), followers(10_000 / usize::try_from(scale).unwrap())];
    report.table(["", "bytes each", "in all", "left"], rows);
    report.finish([]);
}
