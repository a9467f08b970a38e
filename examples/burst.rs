//! Many threads ask a chat provider the same thing at once, and one request goes out.
//!
//! `cargo run --release --example burst`, and `-- --help` for what else it can do.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};
use sync_coalesce::{CallError, Key, SyncCoalesce};

use support::cli::{self, Arguments};
use support::client::{Reply, SendError};
use support::endpoint::{self, Endpoint};
use support::provider::Provider;
use support::provider::shapes::{Vendor, answer_to};

mod support;

const HELP: &str = "\
Lets many threads ask a chat provider at one instant, through one coalescer, and shows what came of it.

Usage: burst [OPTIONS]

Options:
  --requests N           Threads, each asking once: 1 to 2000 [default: 50]
  --unique N             Different questions among them, at most as many as requests [default: 1]
  --conversations N      Conversations that the threads belong to; the provider never hears of them [default: 1]
  --json                 Print one JSON object instead of text: times in milliseconds, cost in US dollars
  --help                 Print this

";

const MORE_HELP: &str = "
Examples:
  burst                                    50 threads, one question, provider on loopback
  burst --requests 400 --unique 20         400 threads, 20 questions
  burst --requests 20 --conversations 20   the same question from 20 conversations
  burst --fail 1                           one call fails, and everybody learns it
  burst --unique 50 --rate-limit 10        more questions than the provider allows
  burst --url http://HOST/v1/messages --model NAME --api-key-env KEY

Exit codes: 0 every answer came and is right, 1 an answer is wrong or missing, 2 wrong arguments, or it could not start.";

struct Args {
    requests: u16,
    unique: u16,
    conversations: u16,
    json: bool,
    endpoint: Endpoint,
}

impl Default for Args {
    fn default() -> Self {
        Args { requests: 50, unique: 1, conversations: 1, json: false, endpoint: Endpoint::default() }
    }
}

impl Arguments for Args {
    fn help(&self) -> String {
        [HELP, endpoint::HELP, MORE_HELP].concat()
    }

    fn option(&mut self, name: &str, value: &mut cli::Value<'_>) -> Result<bool, String> {
        match name {
            "requests" => self.requests = value.number(1..=2000)?,
            "unique" => self.unique = value.number(1..=2000)?,
            "conversations" => self.conversations = value.number(1..=u16::MAX)?,
            "json" => self.json = true,
            _ => return self.endpoint.option(name, value),
        }
        Ok(true)
    }

    fn check(&self) -> Result<(), String> {
        if self.unique > self.requests {
            return Err(format!("--unique {} is more than --requests {}", self.unique, self.requests));
        }
        self.endpoint.check()
    }
}

/// What one thread got, and how long that took.
struct Filed {
    conversation: usize,
    question: usize,
    answer: Result<Arc<Reply>, CallError<SendError>>,
    took: Duration,
}

fn main() -> ExitCode {
    cli::run("burst", |args: &Args| {
        let report = run(args)?;
        if args.json {
            cli::print(serde_json::to_string(&report).expect("numbers and text can be written"));
        } else {
            cli::print(&report);
        }
        Ok(report.failures == 0)
    })
}

fn run(args: &Args) -> Result<Report, String> {
    let threads = usize::from(args.requests);
    let conversations = usize::from(args.conversations.min(args.requests));
    let model = args.endpoint.model()?;
    let (client, own) = args.endpoint.open(threads)?;
    let questions: Vec<Value> = (0..args.unique).map(|number| question(number.into(), model, client.vendor)).collect();

    // A follower has its leader's time and as much again: when the provider hangs, the leader's error comes first.
    let coalesce: SyncCoalesce<Key, Reply, SendError> = SyncCoalesce::builder()
        .name("burst")
        .cost(|reply: &Reply| reply.dollars)
        .timeout(args.endpoint.timeout() * 2)
        .build();
    let (spent, provider_times) = crossbeam_channel::unbounded();
    let ask = |question: &Value| {
        coalesce.try_call_for(question, |question| {
            let began = Instant::now();
            let reply = client.send(question);
            if reply.as_ref().err().is_none_or(SendError::was_sent) {
                let _ = spent.send(began.elapsed());
            }
            reply
        })
    };

    let filed = let_go(threads, |caller| {
        let question = caller % questions.len();
        let asked = Instant::now();
        let answer = ask(&questions[question]);
        Filed { conversation: caller % conversations, question, answer, took: asked.elapsed() }
    });

    // What a real provider will say is not known beforehand: there any text is taken for right.
    let right = |filed: &Filed, reply: &Reply| match own {
        Some(_) => reply.text == answer_to(&questions[filed.question]),
        None => !reply.text.is_empty(),
    };
    let mut answers_by_conversation = vec![0; conversations];
    let mut reasons = BTreeMap::new();
    for filed in &filed {
        let reason = match &filed.answer {
            Ok(reply) if right(filed, reply) => {
                answers_by_conversation[filed.conversation] += 1;
                continue;
            }
            Ok(reply) => format!("wrong answer {}: {:?}", reply.id, reply.text),
            Err(CallError::Failed(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        *reasons.entry(reason).or_default() += 1;
    }
    let stats = coalesce.stats();
    let times = sorted_ms(filed.iter().map(|filed| filed.took));
    let successes = answers_by_conversation.iter().sum();
    let provider_times = sorted_ms(provider_times.try_iter());
    let calls = own.as_ref().map_or(provider_times.len() as u64, Provider::calls);
    let reduction = 1.0 - f64::from(u32::try_from(calls).unwrap_or(u32::MAX)) / f64::from(args.requests);
    Ok(Report {
        total_requests: threads,
        unique_requests: questions.len(),
        successes,
        failures: threads - successes,
        provider_calls: calls,
        calls_counted_by: match (&own, calls) {
            (Some(_), _) => "the provider",
            (None, 0) => "this client: nothing was sent",
            (None, _) => "this client: the provider cannot be asked",
        },
        call_reduction: (calls > 0).then_some(reduction),
        provider_latency_ms: (calls > 0).then(|| percentile(50, &provider_times)),
        p50_latency_ms: percentile(50, &times),
        p95_latency_ms: percentile(95, &times),
        max_latency_ms: percentile(100, &times),
        cost_spent: stats.cost_spent,
        cost_saved: stats.cost_saved,
        answers_by_conversation,
        reasons,
    })
}

/// What `call` gives to each of so many threads, which begin all at once.
fn let_go<T: Send>(threads: usize, call: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let spawn = |caller| {
            let (start, call) = (&start, &call);
            let run = move || {
                start.wait();
                call(caller)
            };
            thread::Builder::new().spawn_scoped(scope, run).unwrap_or_else(|error| {
                // Those already made stand at the barrier, which will never open: there is nothing to join.
                cli::eprint(format_args!("burst: cannot start thread {}: {error}", caller + 1));
                std::process::exit(2)
            })
        };
        let callers: Vec<_> = (0..threads).map(spawn).collect();
        callers.into_iter().map(|caller| caller.join().expect("a caller does not panic")).collect()
    })
}

/// A chat request of a support desk, in the vendor's shape: a ticket number makes each one different.
fn question(number: usize, model: &str, vendor: Vendor) -> Value {
    let system = "You answer for the support desk of a parcel service, in one sentence.";
    let text = format!("Ticket {}: my parcel was due yesterday. How can I find out where it is?", 1000 + number);
    let user = json!({ "role": "user", "content": text });
    match vendor {
        Vendor::OpenAi => json!({ "model": model, "messages": [{ "role": "system", "content": system }, user] }),
        Vendor::Anthropic => json!({ "model": model, "max_tokens": 256, "system": system, "messages": [user] }),
    }
}

fn sorted_ms(times: impl Iterator<Item = Duration>) -> Vec<f64> {
    let mut times: Vec<f64> = times.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The smallest of `sorted` that is not below `percent` % of them; 0 when there are none.
fn percentile(percent: usize, sorted: &[f64]) -> f64 {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or_default()
}

/// What `--json` prints. Times are in milliseconds, costs in US dollars, `call_reduction` is a share of 1. If nothing
/// was sent, nothing was reduced.
#[derive(Serialize)]
struct Report {
    total_requests: usize,
    unique_requests: usize,
    successes: usize,
    failures: usize,
    provider_calls: u64,
    calls_counted_by: &'static str,
    call_reduction: Option<f64>,
    provider_latency_ms: Option<f64>,
    p50_latency_ms: f64,
    p95_latency_ms: f64,
    max_latency_ms: f64,
    cost_spent: f64,
    cost_saved: f64,
    /// How many right answers each conversation got.
    answers_by_conversation: Vec<usize>,
    /// Why requests have no right answer, and how many.
    reasons: BTreeMap<String, usize>,
}

impl Report {
    fn spread(&self) -> String {
        let each = &self.answers_by_conversation;
        let (least, most) = (each.iter().min().unwrap_or(&0), each.iter().max().unwrap_or(&0));
        match (each.len(), least, most) {
            (1, ..) => "in one conversation".into(),
            (n, least, most) if least == most => format!("{least} in each of {n} conversations"),
            (n, least, most) => format!("{least} to {most} in each of {n} conversations"),
        }
    }
}

/// A figure with one digit after the point, or that there is none.
fn figure(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.1}"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reduction, provider) =
            (figure(self.call_reduction.map(|share| share * 100.0)), figure(self.provider_latency_ms));
        writeln!(f, "requests        {:>8}   {} different", self.total_requests, self.unique_requests)?;
        writeln!(f, "right answers   {:>8}   {}", self.successes, self.spread())?;
        writeln!(f, "provider calls  {:>8}   counted by {}", self.provider_calls, self.calls_counted_by)?;
        writeln!(f, "reduction       {reduction:>8} %")?;
        writeln!(f)?;
        writeln!(f, "provider        {provider:>8} ms   median time inside the leaders' closures")?;
        writeln!(f, "callers, p50    {:>8.1} ms", self.p50_latency_ms)?;
        writeln!(f, "         p95    {:>8.1} ms", self.p95_latency_ms)?;
        writeln!(f, "         max    {:>8.1} ms", self.max_latency_ms)?;
        writeln!(f)?;
        writeln!(f, "cost spent      {:>8.6} $", self.cost_spent)?;
        write!(f, "     saved      {:>8.6} $", self.cost_saved)?;
        for (reason, requests) in &self.reasons {
            write!(f, "\n\n{requests} without a right answer: {reason}")?;
        }
        Ok(())
    }
}
