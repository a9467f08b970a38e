//! A pacer and a provider whose quota falls for a while: the pace falls with it, and recovers. Time is moved by hand,
//! so it takes none.
//!
//! `cargo run --release --features pace --example pace`

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::Duration;

use sync_coalesce::stack::ManualClock;
use sync_coalesce::stack::pace::{Adaptive, Pacer};

#[path = "support/cli.rs"]
mod cli;

const HELP: &str = "\
Shows how an adaptive pacer follows a provider whose quota falls for a while. Time is moved by hand, so it takes none.

Usage: pace [OPTIONS]

Options:
  --help    Print this

Exit codes: 0 the pace fell with the quota and came back, 1 it did not, 2 wrong arguments.";

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

fn main() -> ExitCode {
    cli::run_with_numbers("pace", HELP, [], |[]| run())
}

/// Says whether the pace fell with the quota, and came back.
fn run() -> Result<bool, String> {
    let clock = ManualClock::new();
    let pacer = Pacer::builder().per_second(FULL).adaptive(Adaptive::default()).clock(&clock).build();
    let pacer = pacer.map_err(|error| error.to_string())?;
    let (mut sent, mut answered): (VecDeque<Duration>, VecDeque<Duration>) = Default::default();
    let mut now = Duration::ZERO;
    let (mut pace, mut lowest, mut busiest) = (FULL, FULL, 0);

    cli::print("there is always somebody who waits; the provider's Retry-After is one second\n");
    cli::print("second  quota  answered  refused  most in a second  pace");
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
        let (second, quota) = (line * LINE, quota(line));
        cli::print(format_args!("{second:>6}  {quota:>5}  {answers:>8}  {refusals:>7}  {most:>16}  {pace:>4.1} {bar}"));
        busiest = busiest.max(most);
    }
    let went_well = lowest < FULL / 2.0 && pace > 0.99 * FULL && busiest <= 10;
    if !went_well {
        cli::eprint(format_args!(
            "pace: it fell to {lowest}, came back to {pace}, and let {busiest} calls go in one second"
        ));
    }
    Ok(went_well)
}
