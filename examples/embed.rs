//! Threads embed overlapping batches of texts, and each text goes out once at a time.
//!
//! `cargo run --release --example embed -- examples/data/passages.txt`, and `-- --help` for what else it can do.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use sync_coalesce::SyncCoalesce;

use support::cli::{self, Arguments};
use support::client::check_url;
use support::endpoint::{self, count_or_all};
use support::provider::Behaviour;
use support::provider::embeddings::{EmbedError, Embedder, vector_of};

mod support;

const HELP: &str = "\
Lets threads ask for the embeddings of overlapping batches of texts, all at one instant, and counts texts asked for
against texts sent.

Usage: embed [OPTIONS] FILE

FILE holds texts, one a line; blank lines do not count.

Options:
  --threads N           Threads, each asking for one batch: 1 to 500 [default: 16]
  --batch N             Texts in a batch; the whole file if it has no more [default: 20]
  --max-batch N         Texts that one request may hold: 1 to 2048 [default: 2048]
  --json                Print one JSON object instead of text
  --url URL             Endpoint to ask, in OpenAI's shape. Without it a provider is started on 127.0.0.1.
                        https needs --features example-https
  --model NAME          Model to ask for
  --api-key-env NAME    Name of the environment variable that holds the API key
  --latency MS          Milliseconds that the provider on loopback takes to answer [default: 400]
  --fail N              Requests that the provider on loopback fails with 500 before it answers one [default: 0]
  --help                Print this

Examples:
  embed examples/data/passages.txt                 provider on loopback
  embed --threads 1 examples/data/passages.txt     nothing coincides, nothing is shared
  embed --url http://HOST/v1/embeddings --model NAME --api-key-env KEY texts.txt

Each thread asks for one batch: lines of the file that follow one another, from a place of its own, and after the last
line on from the first. The more threads there are and the larger the batches, the more they overlap.

Exit codes: 0 every vector came (and is right, on loopback), 1 some are wrong or missing, 2 wrong arguments, or it could
not start.";

struct Args {
    file: PathBuf,
    threads: u16,
    batch: u16,
    max_batch: u16,
    json: bool,
    url: Option<String>,
    model: Option<String>,
    api_key_env: Option<String>,
    latency: Option<u32>,
    fail: Option<u64>,
}

impl Default for Args {
    fn default() -> Self {
        Args {
            file: PathBuf::new(),
            threads: 16,
            batch: 20,
            max_batch: 2048,
            json: false,
            url: None,
            model: None,
            api_key_env: None,
            latency: None,
            fail: None,
        }
    }
}

impl Arguments for Args {
    fn help(&self) -> String {
        HELP.into()
    }

    fn option(&mut self, name: &str, value: &mut cli::Value<'_>) -> Result<bool, String> {
        match name {
            "threads" => self.threads = value.number(1..=500)?,
            "batch" => self.batch = value.number(1..=u16::MAX)?,
            "max-batch" => self.max_batch = value.number(1..=2048)?,
            "json" => self.json = true,
            "url" => self.url = Some(value.text()?),
            "model" => self.model = Some(value.text()?),
            "api-key-env" => self.api_key_env = Some(value.text()?),
            "latency" => self.latency = Some(value.number(0..=u32::MAX)?),
            "fail" => self.fail = Some(count_or_all(value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn operand(&mut self, operand: OsString) -> bool {
        let is_first = self.file.as_os_str().is_empty();
        self.file = operand.into();
        is_first
    }

    fn check(&self) -> Result<(), String> {
        if self.file.as_os_str().is_empty() {
            return Err("FILE is missing".into());
        }
        let Some(url) = &self.url else {
            return if self.api_key_env.is_some() { Err("--api-key-env needs --url".into()) } else { Ok(()) };
        };
        if self.model.is_none() {
            return Err("--url needs --model".into());
        }
        if self.latency.is_some() || self.fail.is_some() {
            return Err("--latency and --fail are for the provider on loopback, not for --url".into());
        }
        check_url(url)
    }
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
    cli::run("embed", |args: &Args| {
        let report = run(args)?;
        if args.json {
            cli::print(serde_json::to_string(&report).expect("numbers and text can be written"));
        } else {
            cli::print(&report);
        }
        Ok(report.missing == 0)
    })
}

fn run(args: &Args) -> Result<Report, String> {
    let text = fs::read_to_string(&args.file).map_err(|error| format!("{}: {error}", args.file.display()))?;
    let texts: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if texts.is_empty() {
        return Err(format!("{}: there is no text in it", args.file.display()));
    }
    let key = args.api_key_env.as_deref().map(endpoint::api_key).transpose()?;
    let (url, own) = if let Some(url) = &args.url {
        (url.clone(), None)
    } else {
        let latency = Duration::from_millis(args.latency.unwrap_or(400).into());
        let fail_first = args.fail.unwrap_or_default();
        let own = endpoint::start(Behaviour { latency, fail_first, ..Behaviour::default() })?;
        (own.embeddings_url(), Some(own))
    };
    let model = args.model.clone().unwrap_or_else(|| "loopback".into());
    let threads = usize::from(args.threads);
    let embedder = Embedder::new(url, model, key, threads, Duration::from_secs(30));

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

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "texts asked for {:>8}   in {} batches", self.texts_asked, self.batches)?;
        writeln!(f, "texts sent      {:>8}   in {} requests", self.texts_sent, self.requests_sent)?;
        write!(f, "vectors         {:>8}", self.vectors)?;
        if let Some(reason) = &self.reason {
            write!(f, "\n\n{} without a vector: {reason}", self.missing)?;
        }
        Ok(())
    }
}
