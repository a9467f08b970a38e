//! A provider says 429: one follower tries again at its pace, and the others go on waiting for that.
//!
//! `cargo run --release --example quota`, and `-- --elections 0` for what happens without.

use std::process::ExitCode;
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use sync_coalesce::observe::{FlightId, Observer, RunEnded, RunOutcome};
use sync_coalesce::{CallError, Key, OnFailure, SyncCoalesce};

use support::cli;
use support::client::{Client, Price, Reply, SendError};
use support::endpoint;
use support::provider::Behaviour;
use support::provider::shapes::{Vendor, answer_to};

mod support;

const HELP: &str = "\
Lets threads ask one question of a provider whose quota is used up, and shows who runs when.

Usage: quota [OPTIONS]

Options:
  --requests N     Threads, each asking once: 2 to 500 [default: 20]
  --elections N    Followers that may lead, one after the other, after the first leader was refused [default: 3]
  --refusals N     How often the provider says 429, \"come back in a second\", before it answers: 0 to 10 [default: 1]
  --help           Print this

Examples:
  quota                  the quota comes back after a second, and a follower uses it for all
  quota --refusals 2     it takes two followers, one after the other
  quota --elections 0    the refusal is everybody's

Exit codes: 0 at most one caller has no answer (the one that was refused), 1 more have none, 2 wrong arguments, or it
could not start.";

/// When the provider may be asked again: what one caller learns from a 429, all heed.
struct Pace(Mutex<Instant>);

impl Pace {
    /// Blocks until then.
    fn wait(&self) {
        let until = *self.0.lock().expect("nobody panics with it");
        thread::sleep(until.saturating_duration_since(Instant::now()));
    }

    fn heed(&self, error: &SendError) {
        if let SendError::Refused { retry_after: Some(seconds), .. } = error {
            let wait = Duration::from_secs(seconds.parse().unwrap_or(1));
            *self.0.lock().expect("nobody panics with it") = Instant::now() + wait;
        }
    }
}

/// Prints what happens to flights as it happens.
struct Timeline(Instant);

impl Timeline {
    fn print(&self, what: &str) {
        cli::print(format_args!("{:>6.2} s   {what}", self.0.elapsed().as_secs_f64()));
    }
}

impl Observer for Timeline {
    fn led(&self, flight: &FlightId<'_>) {
        self.print(&format!("{flight}: a caller leads"));
    }

    fn elected(&self, flight: &FlightId<'_>, waited: Duration) {
        self.print(&format!("{flight}: a follower is elected, after {:.0} ms", waited.as_secs_f64() * 1e3));
    }

    fn ended(&self, flight: &FlightId<'_>, ended: &RunEnded) {
        let what = if ended.outcome == RunOutcome::Value { "an answer" } else { "refused" };
        self.print(&format!("{flight}: {what}, shared with {} followers", ended.followers));
    }
}

fn main() -> ExitCode {
    let options = [("requests", 2..=500, 20), ("elections", 0..=u32::MAX, 3), ("refusals", 0..=10, 1)];
    cli::run_with_numbers("quota", HELP, options, |[requests, elections, refusals]| {
        Ok(run(requests as usize, elections, refusals.into())? <= 1)
    })
}

/// Says how many callers have no answer.
fn run(requests: usize, elections: u32, refusals: u64) -> Result<usize, String> {
    let latency = Duration::from_millis(400);
    let behaviour = Behaviour { latency, refuse_first: refusals, ..Behaviour::default() };
    let provider = endpoint::start(behaviour)?;
    let free = Price { input: 0.0, output: 0.0 };
    let url = provider.url(Vendor::OpenAi);
    let client = Client::new(url, Vendor::OpenAi, None, free, 8, Duration::from_secs(10));
    let coalesce: SyncCoalesce<Key, Reply, SendError> = SyncCoalesce::builder()
        .name("answers")
        .observer(Timeline(Instant::now()))
        .on_error_with(move |error| match error {
            SendError::Refused { status: 429, .. } => OnFailure::Elect { times: elections },
            _ => OnFailure::Share,
        })
        .build();
    let pace = Pace(Mutex::new(Instant::now()));
    let question = json!({ "model": "loopback", "messages": [{ "role": "user", "content": "When do you open?" }] });
    let start = Barrier::new(requests);
    let ask = || {
        start.wait();
        coalesce.try_call_for(&question, |question| {
            pace.wait();
            client.send(question).inspect_err(|error| pace.heed(error))
        })
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let callers: Vec<_> = (0..requests).map(|_| scope.spawn(ask)).collect();
        callers.into_iter().map(|caller| caller.join().expect("a caller does not panic")).collect()
    });

    let right = |reply: &Reply| reply.text == answer_to(&question);
    let answered = answers.iter().filter(|answer| answer.as_ref().is_ok_and(|reply| right(reply))).count();
    let stats = coalesce.stats();
    cli::print(format_args!("\nrequests        {requests:>8}"));
    cli::print(format_args!("right answers   {answered:>8}"));
    cli::print(format_args!("calls           {:>8}   of them refused: {}", stats.underlying_calls, stats.failed));
    cli::print(format_args!("elected         {:>8}", stats.elected));
    let refused = answers.iter().find_map(|answer| match answer {
        Err(CallError::Failed(error)) => Some(error),
        _ => None,
    });
    if let Some(error) = refused {
        cli::print(format_args!("\n{} without an answer: {error}", answers.len() - answered));
    }
    Ok(answers.len() - answered)
}
