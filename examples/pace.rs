//! A pacer and a provider whose quota falls for a while: the pace falls with it, and recovers. Time is moved by hand,
//! so it takes none.
//!
//! `cargo run --release --features pace --example pace`

use std::collections::VecDeque;
use std::time::Duration;

use sync_coalesce::stack::ManualClock;
use sync_coalesce::stack::pace::{Adaptive, Pacer, PacerBuildError};

const FULL: f64 = 10.0;
const STEP: Duration = Duration::from_millis(10);
/// Seconds that a line of the table stands for.
const LINE: u32 = 20;
const LINES: u32 = 13;
const A_SECOND: Duration = Duration::from_secs(1);

/// Requests per second that the provider answers, in this line.
fn quota(line: u32) -> usize {
    if (2..6).contains(&line) { 4 } else { 10 }
}

fn main() -> Result<(), PacerBuildError> {
    let clock = ManualClock::new();
    let pacer = Pacer::builder().per_second(FULL).adaptive(Adaptive::default()).clock(&clock).build()?;
    let (mut sent, mut answered): (VecDeque<Duration>, VecDeque<Duration>) = Default::default();
    let mut now = Duration::ZERO;
    let (mut pace, mut lowest) = (FULL, FULL);

    println!("there is always somebody who waits; the provider's Retry-After is one second");
    println!();
    println!("second  quota  answered  refused  most in a second  pace");
    for line in 0..LINES {
        let (mut answers, mut refusals, mut most) = (0, 0, 0);
        for _ in 0..LINE * 100 {
            while pacer.try_acquire().is_ok() {
                sent.push_back(now);
                for times in [&mut sent, &mut answered] {
                    while times.front().is_some_and(|time| *time + A_SECOND <= now) {
                        times.pop_front();
                    }
                }
                most = most.max(sent.len());
                if answered.len() < quota(line) {
                    answered.push_back(now);
                    answers += 1;
                } else {
                    pacer.throttled(Some(A_SECOND));
                    refusals += 1;
                }
            }
            clock.advance(STEP);
            now += STEP;
        }
        pace = pacer.status().rate.unwrap_or(FULL);
        lowest = lowest.min(pace);
        let bar = "#".repeat((1..=20).filter(|half| f64::from(*half) / 2.0 <= pace).count());
        println!("{:>6}  {:>5}  {answers:>8}  {refusals:>7}  {most:>16}  {pace:>4.1} {bar}", line * LINE, quota(line));
        assert!(most <= 10, "faster than the pace");
    }
    assert!(lowest < FULL / 2.0, "the pace did not fall with the quota, but to {lowest}");
    assert!(pace > 0.99 * FULL, "the pace did not come back, but to {pace}");
    Ok(())
}
