//! Threads embed overlapping batches of texts, and each text goes out once at a time.
//!
//! `cargo run --release --example embed -- examples/data/passages.txt`, and `-- --help` for what else it can do.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use serde::Serialize;
use sync_coalesce::SyncCoalesce;

use support::provider::embeddings::{EmbedError, Embedder, vector_of};
use support::provider::{Behaviour, Provider};

mod support;

/// Lets threads ask for the embeddings of overlapping batches of texts, all at one instant, and counts texts asked for
/// against texts sent.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  embed examples/data/passages.txt                 provider on loopback
  embed --threads 1 examples/data/passages.txt     nothing coincides, nothing is shared
  embed --url https://HOST/v1/embeddings --model NAME --api-key-env KEY texts.txt

Each thread asks for one batch: lines of the file that follow one another, from a place of its own, and after the last
line on from the first. The more threads there are and the larger the batches, the more they overlap.

Exit codes: 0 every vector came (and is right, on loopback), 1 some are wrong or missing, 2 it could not start.")]
struct Args {
    /// File of texts, one a line; blank lines do not count
    file: PathBuf,

    /// Threads, each asking for one batch: 1 to 500
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=500))]
    threads: u16,

    /// Texts in a batch; the whole file if it has no more
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,

    /// Texts that one request may hold: 1 to 2048
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = clap::value_parser!(u16).range(1..=2048))]
    max_batch: u16,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,

    /// Endpoint to ask, in OpenAI's shape. Without it a provider is started on 127.0.0.1
    #[arg(long, value_name = "URL", requires = "model")]
    url: Option<String>,

    /// Model to ask for
    #[arg(long, value_name = "NAME")]
    model: Option<String>,

    /// Name of the environment variable that holds the API key
    #[arg(long, value_name = "NAME", requires = "url")]
    api_key_env: Option<String>,

    /// Milliseconds that the provider on loopback takes to answer
    #[arg(long, value_name = "MS", default_value_t = 400, conflicts_with = "url")]
    latency: u32,

    /// Requests that the provider on loopback fails with 500 before it answers one
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "url")]
    fail: u64,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    batches: usize,
    texts_asked: usize,
    texts_sent: u64,
    requests_sent: u64,
    vectors: usize,
    missing: usize,
    /// Why the first of those that are missing is.
    reason: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(report) => {
            report.print(args.json);
            ExitCode::from(u8::from(report.missing > 0))
        }
        Err(message) => {
            eprintln!("embed: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<Report, String> {
    let text = fs::read_to_string(&args.file).map_err(|error| format!("{}: {error}", args.file.display()))?;
    let texts: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if texts.is_empty() {
        return Err(format!("{}: there is no text in it", args.file.display()));
    }
    let key = args
        .api_key_env
        .as_ref()
        .map(|name| std::env::var(name).map_err(|error| format!("no API key in {name}: {error}")));
    let (url, own) = if let Some(url) = &args.url {
        (url.clone(), None)
    } else {
        let latency = Duration::from_millis(args.latency.into());
        let own = Provider::start(Behaviour { latency, fail_first: args.fail, ..Behaviour::default() });
        let own = own.map_err(|error| format!("cannot start a provider on loopback: {error}"))?;
        (own.embeddings_url(), Some(own))
    };
    let model = args.model.clone().unwrap_or_else(|| "loopback".into());
    let threads = usize::from(args.threads);
    let embedder = Embedder::new(url, model, key.transpose()?, threads, Duration::from_secs(30));

    let coalesce: SyncCoalesce<String, Vec<f32>, EmbedError> =
        SyncCoalesce::builder().name("embed").max_batch(args.max_batch.into()).build();
    let (texts_sent, requests_sent) = (AtomicU64::new(0), AtomicU64::new(0));
    let send = |missing: &[&str]| {
        texts_sent.fetch_add(missing.len() as u64, Ordering::Relaxed);
        requests_sent.fetch_add(1, Ordering::Relaxed);
        embedder.embed(missing)
    };

    let size = usize::from(args.batch).min(texts.len());
    let start = Barrier::new(threads);
    let batch_of = |thread: usize| {
        let first = thread * texts.len() / threads;
        (first..first + size).map(|place| texts[place % texts.len()]).collect::<Vec<_>>()
    };
    let embed = |thread| {
        let batch = batch_of(thread);
        start.wait();
        let vectors = coalesce.try_call_many(batch.iter().copied(), send);
        let outcomes = batch.into_iter().zip(vectors).map(|(text, vector)| match vector {
            Ok(vector) if own.is_some() && *vector != vector_of(text) => Err("a wrong vector came".to_owned()),
            Ok(_) => Ok(()),
            Err(error) => Err(match error {
                sync_coalesce::CallError::Failed(why) => why.to_string(),
                other => other.to_string(),
            }),
        });
        outcomes.collect::<Vec<Result<(), String>>>()
    };
    let outcomes: Vec<_> = thread::scope(|scope| {
        let embed = &embed;
        let threads: Vec<_> = (0..threads).map(|number| scope.spawn(move || embed(number))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread does not panic")).collect()
    });

    let missing = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    Ok(Report {
        batches: threads,
        texts_asked: outcomes.len(),
        texts_sent: texts_sent.into_inner(),
        requests_sent: requests_sent.into_inner(),
        vectors: outcomes.len() - missing,
        missing,
        reason: outcomes.into_iter().find_map(Result::err),
    })
}

impl Report {
    fn print(&self, json: bool) {
        if json {
            println!("{}", serde_json::to_string(self).expect("numbers and text can be written"));
            return;
        }
        println!("texts asked for {:>8}   in {} batches", self.texts_asked, self.batches);
        println!("texts sent      {:>8}   in {} requests", self.texts_sent, self.requests_sent);
        println!("vectors         {:>8}", self.vectors);
        if let Some(reason) = &self.reason {
            println!("\n{} without a vector: {reason}", self.missing);
        }
    }
}
