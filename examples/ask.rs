//! Answers a file of chat requests from a rayon pool, one provider call for those that are the same at the same time.
//!
//! `cargo run --features example-ask --example ask -- examples/data/questions.jsonl`, and `-- --help` for what else it can do.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;
use sync_coalesce::stack::retry::{Retry, RetryError};
use sync_coalesce::{CallError, Key, Role, SyncCoalesce};

use support::cli::{self, Arguments};
use support::client::{Client, Reply, SendError};
use support::endpoint::{self, Endpoint};

mod support;

const HELP: &str = "\
Answers chat requests, one JSON object a line, and prints the answers as lines of JSON in the same order.

Usage: ask [OPTIONS] [FILE]

FILE holds requests, in the endpoint's own shape; without it they are read from standard input.

Options:
  --threads N            Threads in the pool, and so the most requests at a time: 1 to 1000 [default: 16]
  --linger SECONDS       Seconds for which an answer is reused for the same request later in the file [default: 0]
  --attempts N           Attempts per request, the first included: 1 to 10 [default: 4]
  --help                 Print this

";

const MORE_HELP: &str = "
Examples:
  ask examples/data/questions.jsonl                      provider on loopback
  ask --threads 1 examples/data/questions.jsonl          nothing coincides, nothing is shared
  ask --threads 1 --linger 60 examples/data/questions.jsonl
                                                         answers are reused for a minute
  ask --busy 3 examples/data/questions.jsonl             the provider says 503 at first
  ask --url https://HOST/v1/chat/completions --api-key-env KEY < requests.jsonl > answers.jsonl

Requests that are the same, whatever the order of their members, share one provider call while it is under way.
Without --linger nothing is kept after that: the same request much later in the file is a new call.

Transient errors (429, 503 and others) are retried with exponential backoff, never earlier than the provider's
Retry-After. No attempt begins later than --timeout after the first.

A thread that waits for another's answer is not free for other lines, so have more threads than calls that the
provider allows at once.

A line of output is {\"line\", \"id\", \"answer\", \"shared\"} or {\"line\", \"error\"}; lines are counted from 1, and blank
ones have no answer. A line that could not be answered is named on standard error.

Exit codes: 0 every line was answered, 1 some were not, or could not be written, 2 wrong arguments, or it could not
start, 130 after Ctrl-C: whole lines were written up to some point. A second Ctrl-C ends it at once, in the middle of a
line if need be. If its output is closed it stops, and only the lines already written count.";

struct Args {
    file: Option<PathBuf>,
    threads: u16,
    /// Seconds.
    linger: f64,
    attempts: u32,
    endpoint: Endpoint,
}

impl Default for Args {
    fn default() -> Self {
        Args { file: None, threads: 16, linger: 0.0, attempts: 4, endpoint: Endpoint::default() }
    }
}

impl Arguments for Args {
    fn help(&self) -> String {
        [HELP, endpoint::HELP, MORE_HELP].concat()
    }

    fn option(&mut self, name: &str, value: &mut cli::Value<'_>) -> Result<bool, String> {
        match name {
            "threads" => self.threads = value.number(1..=1000)?,
            "linger" => self.linger = value.number(0.0..=86_400.0)?,
            "attempts" => self.attempts = value.number(1..=10)?,
            _ => return self.endpoint.option(name, value),
        }
        Ok(true)
    }

    fn operand(&mut self, operand: OsString) -> bool {
        self.file.replace(operand.into()).is_none()
    }

    fn check(&self) -> Result<(), String> {
        self.endpoint.check()
    }
}

/// How far reading may run ahead of writing: one slow answer holds back no more lines than this.
const WINDOW: usize = 1024;

struct Line {
    /// In the file, from 1.
    number: usize,
    /// Among those that are not blank, from 0.
    place: usize,
    text: io::Result<Vec<u8>>,
}

struct Answer {
    number: usize,
    place: usize,
    /// The reply and whether it was another line's too, or why there is none.
    outcome: Result<(Arc<Reply>, bool), String>,
}

/// What a line of output holds.
#[derive(Serialize)]
#[serde(untagged)]
enum Output<'a> {
    Answer { line: usize, id: &'a str, answer: &'a str, shared: bool },
    Error { line: usize, error: &'a str },
}

#[derive(Default)]
struct Written {
    lines: usize,
    answered: usize,
}

/// What all pool threads share.
struct Desk {
    coalesce: SyncCoalesce<Key, Reply, SendError>,
    retry: Retry<SendError>,
    client: Client,
    /// Requests that went out, retries included.
    sent: AtomicU64,
    /// The model to ask for, whatever a request names.
    model: Option<String>,
}

fn main() -> ExitCode {
    cli::run("ask", run)
}

/// Says whether every line was answered.
fn run(args: &Args) -> Result<bool, String> {
    let threads = usize::from(args.threads);
    let (input, bar) = open(args)?;
    let (client, _own) = args.endpoint.open(threads)?;
    let timeout = args.endpoint.timeout();
    let retry = Retry::builder(SendError::may_pass).retry_after(SendError::retry_after);
    let desk = Desk {
        coalesce: SyncCoalesce::builder()
            .name("ask")
            .cost(|reply: &Reply| reply.dollars)
            .linger(Duration::from_secs_f64(args.linger))
            // A leader gives up sooner, and says why: it begins no attempt after the first `timeout`.
            .timeout(timeout * 3)
            .build(),
        retry: retry.attempts(args.attempts).timeout(timeout).build(),
        client,
        sent: AtomicU64::new(0),
        model: args.endpoint.model.clone(),
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| error.to_string())?;

    let (interrupt, interrupts) = bounded(1);
    let on_interrupt = move || {
        if interrupt.try_send(()).is_err() {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(on_interrupt).map_err(|error| format!("cannot listen for Ctrl-C: {error}"))?;

    // Whoever reads takes a ticket for each line, and gets it back when the line's answer is written.
    let (take_ticket, tickets) = bounded(WINDOW);
    let (send_line, lines) = bounded(threads);
    let (send_answer, answers) = bounded(threads);
    thread::scope(|scope| {
        scope.spawn(move || read(input, &take_ticket, &send_line));
        scope.spawn(|| {
            let send_answer = send_answer;
            // A follower blocks its pool thread, which rayon does not know: the leader it waits for is on another one
            // and needs no more of the pool, so that nothing waits in a circle.
            pool.in_place_scope(|scope| {
                for line in lines {
                    let (desk, send_answer) = (&desk, &send_answer);
                    // Nobody listens any more when the writer has ended, and then nothing is left to do.
                    scope.spawn(move |_| drop(send_answer.send(desk.answer(line))));
                }
            });
        });
        let mut written = Written::default();
        let whole = write(&answers, &tickets, &interrupts, &bar, &mut written);
        bar.finish_and_clear();
        summarize(&written, &desk);
        match whole {
            Ok(true) => Ok(written.answered == written.lines),
            // Calls under way are left to their fate: waiting for them is not what Ctrl-C asks for.
            Ok(false) => std::process::exit(130),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                std::process::exit(i32::from(written.answered < written.lines))
            }
            Err(error) => {
                cli::eprint(format_args!("ask: cannot write answers: {error}"));
                std::process::exit(1)
            }
        }
    })
}

/// The lines to read, and a bar that knows how many there are if that can be known.
fn open(args: &Args) -> Result<(Box<dyn BufRead + Send>, ProgressBar), String> {
    let Some(path) = &args.file else {
        if io::stdin().is_terminal() {
            cli::eprint(format_args!("ask: reading requests from standard input, one JSON object a line"));
        }
        return Ok((Box::new(BufReader::new(io::stdin())), bar(None)));
    };
    let open = || File::open(path).map(BufReader::new);
    let explain = |error| format!("{}: {error}", path.display());
    // A pipe can be read only once, so its lines are not counted.
    let countable = path.metadata().map_err(explain)?.is_file();
    let count = |file: BufReader<File>| file.split(b'\n').map_while(Result::ok).filter(|line| !is_blank(line)).count();
    let lines = if countable { Some(count(open().map_err(explain)?)) } else { None };
    Ok((Box::new(open().map_err(explain)?), bar(lines)))
}

fn bar(lines: Option<usize>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match lines {
        Some(lines) => (ProgressBar::new(lines as u64), "{bar:40} {pos}/{len} lines, {elapsed}, {eta} to go"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} lines, {elapsed}"),
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.with_style(ProgressStyle::with_template(template).expect("the template is well-formed"))
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

fn read(input: Box<dyn BufRead + Send>, take_ticket: &Sender<()>, send_line: &Sender<Line>) {
    let lines = input.split(b'\n').zip(1..).filter(|(text, _)| !text.as_ref().is_ok_and(|text| is_blank(text)));
    for (place, (text, number)) in lines.enumerate() {
        let broken = text.is_err();
        let sent = take_ticket.send(()).is_ok() && send_line.send(Line { number, place, text }).is_ok();
        if broken || !sent {
            return;
        }
    }
}

impl Desk {
    fn answer(&self, line: Line) -> Answer {
        let outcome = self.parse(line.text).and_then(|request| {
            let key = Key::of(&request).map_err(|error| error.to_string())?;
            let send = || {
                self.sent.fetch_add(1, Ordering::Relaxed);
                self.client.send(&request)
            };
            let outcome = self.coalesce.on(&key).try_call(|_| self.retry.run(send).map_err(RetryError::into_inner));
            let shared = matches!(outcome.role, Role::Follower { .. } | Role::Lingering { .. });
            let reply = outcome.result.map_err(|error| match error {
                CallError::Failed(why) => why.to_string(),
                other => other.to_string(),
            })?;
            Ok((reply, shared))
        });
        Answer { number: line.number, place: line.place, outcome }
    }

    fn parse(&self, text: io::Result<Vec<u8>>) -> Result<Value, String> {
        let text = text.map_err(|error| format!("cannot be read: {error}"))?;
        let mut request: Value = serde_json::from_slice(&text).map_err(|error| {
            // It was given one line, and counts them too: "line 7: … at line 1" would only confuse.
            format!("not JSON: {}", error.to_string().replace("line 1 column", "column"))
        })?;
        if !request["messages"].is_array() {
            return Err("not a chat request: it has no list of messages".into());
        }
        if let Some(model) = &self.model {
            request["model"] = model.as_str().into();
        }
        Ok(request)
    }
}

/// Writes answers in the order of their lines until there are no more: true, or until Ctrl-C: false.
fn write(
    answers: &Receiver<Answer>,
    tickets: &Receiver<()>,
    interrupts: &Receiver<()>,
    bar: &ProgressBar,
    written: &mut Written,
) -> io::Result<bool> {
    let mut early = BTreeMap::new();
    loop {
        select! {
            recv(interrupts) -> _ => return Ok(false),
            recv(answers) -> answer => match answer {
                Ok(answer) => early.insert(answer.place, answer),
                Err(_) => return Ok(true),
            },
        };
        while let Some(Answer { number, outcome, .. }) = early.remove(&written.lines) {
            let line = match &outcome {
                Ok((reply, shared)) => {
                    Output::Answer { line: number, id: &reply.id, answer: &reply.text, shared: *shared }
                }
                Err(error) => Output::Error { line: number, error },
            };
            let mut line = serde_json::to_vec(&line)?;
            line.push(b'\n');
            bar.suspend(|| {
                if let Err(why) = &outcome {
                    cli::eprint(format_args!("ask: line {number}: {why}"));
                }
                // A whole line in one piece, and none of it left in a buffer: Ctrl-C may come next.
                let mut out = io::stdout().lock();
                out.write_all(&line).and_then(|()| out.flush())
            })?;
            written.lines += 1;
            written.answered += usize::from(outcome.is_ok());
            bar.inc(1);
            let _ = tickets.recv();
        }
    }
}

fn summarize(written: &Written, desk: &Desk) {
    let stats = desk.coalesce.stats();
    let (sent, shared) = (desk.sent.load(Ordering::Relaxed), stats.coalesced_calls + stats.lingered);
    cli::eprint(format_args!("lines           {:>8}", written.lines));
    cli::eprint(format_args!("answered        {:>8}", written.answered));
    cli::eprint(format_args!("provider calls  {sent:>8}   {shared} more lines were shared"));
    cli::eprint(format_args!("cost spent      {:>8.6} $", stats.cost_spent));
    cli::eprint(format_args!("     saved      {:>8.6} $", stats.cost_saved));
}
