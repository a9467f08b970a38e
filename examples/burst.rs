//! Many threads ask a chat provider the same thing at once, and one request goes out.
//!
//! `cargo run --release --example burst`, and `-- --help` for what else it can do.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::Serialize;
use serde_json::{Value, json};
use sync_coalesce::{CallError, Key, SyncCoalesce};

use support::client::{Reply, SendError};
use support::provider::Provider;
use support::provider::shapes::{Vendor, answer_to};

mod support;

/// Lets many threads ask a chat provider at one instant, through one coalescer, and shows what came of it.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  burst                                    50 threads, one question, provider on loopback
  burst --requests 400 --unique 20         400 threads, 20 questions
  burst --requests 20 --conversations 20   the same question from 20 conversations
  burst --fail 1                           one call fails, and everybody learns it
  burst --unique 50 --rate-limit 10        more questions than the provider allows
  burst --url https://HOST/v1/messages --model NAME --api-key-env KEY

Exit codes: 0 every answer came and is right, 1 an answer is wrong or missing, 2 it could not start.")]
struct Args {
    /// Threads, each asking once: 1 to 2000
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=2000))]
    requests: u16,

    /// Different questions among them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    unique: u16,

    /// Conversations that the threads belong to; the provider never hears of them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    conversations: u16,

    /// Print one JSON object instead of text: times in milliseconds, cost in US dollars
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    endpoint: support::args::Endpoint,
}

/// What one thread got, and how long that took.
struct Filed {
    conversation: usize,
    question: usize,
    answer: Result<Arc<Reply>, CallError<SendError>>,
    took: Duration,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(report) => {
            if args.json {
                println!("{}", serde_json::to_string(&report).expect("numbers and text can be written"));
            } else {
                report.print();
            }
            ExitCode::from(u8::from(report.failures > 0))
        }
        Err(message) => {
            eprintln!("burst: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<Report, String> {
    let threads = usize::from(args.requests);
    let conversations = usize::from(args.conversations.min(args.requests));
    let (client, own) = args.endpoint.open(threads)?;
    let model = match (&args.endpoint.model, &own) {
        (Some(model), _) => model,
        (None, Some(_)) => "loopback",
        (None, None) => return Err("--url needs --model".into()),
    };
    let questions: Vec<Value> =
        (0..args.unique.min(args.requests)).map(|number| question(number.into(), model, client.vendor)).collect();

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
            let _ = spent.send(began.elapsed());
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
    let calls = own.as_ref().map_or(stats.underlying_calls, Provider::calls);
    Ok(Report {
        total_requests: threads,
        unique_requests: questions.len(),
        successes,
        failures: threads - successes,
        provider_calls: calls,
        calls_counted_by: if own.is_some() { "the provider" } else { "this client: the provider cannot be asked" },
        call_reduction: 1.0 - f64::from(u32::try_from(calls).unwrap_or(u32::MAX)) / f64::from(args.requests),
        provider_latency_ms: percentile(50, &sorted_ms(provider_times.try_iter())),
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
                eprintln!("burst: cannot start thread {}: {error}", caller + 1);
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

/// What `--json` prints. Times are in milliseconds, costs in US dollars, `call_reduction` is a share of 1.
#[derive(Serialize)]
struct Report {
    total_requests: usize,
    unique_requests: usize,
    successes: usize,
    failures: usize,
    provider_calls: u64,
    calls_counted_by: &'static str,
    call_reduction: f64,
    provider_latency_ms: f64,
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

    fn print(&self) {
        println!("requests        {:>8}   {} different", self.total_requests, self.unique_requests);
        println!("right answers   {:>8}   {}", self.successes, self.spread());
        println!("provider calls  {:>8}   counted by {}", self.provider_calls, self.calls_counted_by);
        println!("reduction       {:>8.1} %", self.call_reduction * 100.0);
        println!();
        println!("provider        {:>8.1} ms   median time inside the leaders' closures", self.provider_latency_ms);
        println!("callers, p50    {:>8.1} ms", self.p50_latency_ms);
        println!("         p95    {:>8.1} ms", self.p95_latency_ms);
        println!("         max    {:>8.1} ms", self.max_latency_ms);
        println!();
        println!("cost spent      {:>8.6} $", self.cost_spent);
        println!("     saved      {:>8.6} $", self.cost_saved);
        for (reason, requests) in &self.reasons {
            println!("\n{requests} without a right answer: {reason}");
        }
    }
}
