//! Several readers of one answer that comes word by word: one request goes out, whoever comes later reads it from its
//! first word, and when the last one has gone nothing more is sent.
//!
//! `cargo run --release --example stream`, and `-- --help` for the rest.

use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sync_coalesce::Key;
use sync_coalesce::stream::StreamCoalesce;

use support::cli::{self, Arguments};
use support::client::{Client, SendError};
use support::endpoint::{self, Endpoint};
use support::provider::Provider;
use support::provider::shapes::{Vendor, answer_to};

mod support;

const HELP: &str = "\
Lets readers who arrive one after the other read one streamed answer, and prints what each has, side by side.

Usage: stream [OPTIONS]

Options:
  --readers N            Readers: 1 to 8 [default: 4]
  --every MS             Milliseconds from the arrival of one reader to that of the next [default: 500]
  --leave N              Words after which each reader leaves; without it they read to the end
  --question TEXT        What to ask
  --pause MS             Milliseconds between two words of the provider on loopback [default: 150]
  --json                 Print one JSON object at the end, and nothing before
  --help                 Print this

";

const MORE_HELP: &str = "
Examples:
  stream                                four readers, half a second apart
  stream --readers 8 --every 200        more of them, and faster
  stream --leave 4                      each leaves after four words, and the provider stops
  stream --api anthropic                in the other shape
  stream --api-key-env KEY --model NAME --url http://HOST/v1/chat/completions

Exit codes: 0 every reader has what it came for, 1 one has not, 2 wrong arguments, or it could not start.";

struct Args {
    readers: u16,
    every: u32,
    leave: Option<u16>,
    question: String,
    pause: u32,
    json: bool,
    endpoint: Endpoint,
}

impl Default for Args {
    fn default() -> Self {
        Args {
            readers: 4,
            every: 500,
            leave: None,
            question: QUESTION.into(),
            pause: 150,
            json: false,
            endpoint: Endpoint::default(),
        }
    }
}

impl Arguments for Args {
    fn help(&self) -> String {
        [HELP, endpoint::HELP, MORE_HELP].concat()
    }

    fn option(&mut self, name: &str, value: &mut cli::Value<'_>) -> Result<bool, String> {
        match name {
            "readers" => self.readers = value.number(1..=8)?,
            "every" => self.every = value.number(0..=u32::MAX)?,
            "leave" => self.leave = Some(value.number(1..=u16::MAX)?),
            "question" => self.question = value.text()?,
            "pause" => {
                self.pause = value.number(0..=u32::MAX)?;
                self.endpoint.is_for_loopback(name);
            }
            "json" => self.json = true,
            _ => return self.endpoint.option(name, value),
        }
        Ok(true)
    }

    fn check(&self) -> Result<(), String> {
        self.endpoint.check()
    }
}

const QUESTION: &str = "Why is the sky blue at noon and red in the evening, and what colour would it be on Mars?";
/// Time between two lines of the table.
const TICK: Duration = Duration::from_millis(150);
/// Longer than a provider takes to see that a connection was closed, however long it pauses.
const NOTICE_LIMIT: Duration = Duration::from_secs(10);

type Streams = StreamCoalesce<Key, String, SendError>;

/// What a reader tells the printer.
struct Told {
    reader: usize,
    text: String,
}

/// What a reader has in the end.
struct Read {
    words: usize,
    text: String,
    error: Option<String>,
}

fn main() -> ExitCode {
    cli::run("stream", run)
}

/// Says whether every reader has what it came for.
fn run(args: &Args) -> Result<bool, String> {
    let (client, provider) = args.endpoint.open(1)?;
    if let Some(provider) = &provider {
        provider.set_pause(Duration::from_millis(args.pause.into()));
    }
    let mut request = json!({
        "model": args.endpoint.model()?,
        "messages": [{ "role": "user", "content": args.question }],
    });
    if client.vendor == Vendor::Anthropic {
        request["max_tokens"] = json!(1024);
    }
    let streams = Streams::builder().name("answers").build();
    let (tell, told) = mpsc::channel();
    let reads: Vec<Read> = thread::scope(|scope| {
        let (streams, client, request) = (&streams, &client, &request);
        let readers: Vec<_> = (0..args.readers.into())
            .map(|reader: usize| {
                let tell = tell.clone();
                scope.spawn(move || {
                    let after = u64::from(args.every) * reader as u64;
                    thread::sleep(Duration::from_millis(after));
                    read(streams, client, request, args.leave, |text| {
                        // Nobody listens where JSON is wanted.
                        let _ = tell.send(Told { reader, text });
                    })
                })
            })
            .collect();
        drop(tell);
        if args.json {
            drop(told);
        } else {
            print_side_by_side(&told, args.readers.into());
        }
        readers.into_iter().map(|reader| reader.join().expect("a reader does not panic")).collect()
    });

    let answer = provider.as_ref().map(|_| answer_to(&request));
    let is_right = |read: &Read| {
        let as_asked = answer.as_ref().is_none_or(|answer| match args.leave {
            None => read.text == *answer,
            Some(_) => answer.starts_with(&read.text),
        });
        read.error.is_none() && read.words > 0 && as_asked
    };
    let right = reads.iter().filter(|read| is_right(read)).count();
    if let Some(provider) = &provider {
        until_noticed(provider);
    }
    report(args, &streams, &reads, right, provider.as_ref(), answer.as_deref());
    Ok(right == reads.len())
}

/// Reads the shared answer, all of it or the first words.
fn read(streams: &Streams, client: &Client, request: &Value, leave: Option<u16>, tell: impl Fn(String)) -> Read {
    let mut read = Read { words: 0, text: String::new(), error: None };
    let key = match Key::of(request) {
        Ok(key) => key,
        Err(error) => return Read { error: Some(error.to_string()), ..read },
    };
    let stream = match streams.stream(&key, || client.stream(request)) {
        Ok(stream) => stream,
        Err(error) => return Read { error: Some(error.to_string()), ..read },
    };
    for word in stream.take(leave.map_or(usize::MAX, usize::from)) {
        match word {
            Ok(word) => {
                read.words += 1;
                read.text += &word;
                tell(word.to_string());
            }
            Err(error) => read.error = Some(error.to_string()),
        }
    }
    read
}

/// Waits until the provider has seen that its clients have gone.
fn until_noticed(provider: &Provider) {
    let began = Instant::now();
    while provider.streams_over() < provider.answered(200) && began.elapsed() < NOTICE_LIMIT {
        thread::sleep(Duration::from_millis(10));
    }
}

/// A column for each reader and a line for each moment, until the readers are done.
fn print_side_by_side(told: &Receiver<Told>, readers: usize) {
    let began = Instant::now();
    let width = (100 / readers).clamp(12, 40);
    let mut columns = vec![String::new(); readers];
    let row = |cells: Vec<String>| {
        let cells: Vec<_> = cells.iter().map(|cell| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    cli::print(format_args!("{:>6}  {}", "s", row((1..=readers).map(|reader| format!("reader {reader}")).collect())));
    let mut open = true;
    while open || columns.iter().any(|column| !column.is_empty()) {
        let tick = Instant::now() + TICK;
        while open {
            match told.recv_timeout(tick.saturating_duration_since(Instant::now())) {
                Ok(Told { reader, text }) => columns[reader] += &text,
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
        }
        if columns.iter().any(|column| !column.is_empty()) {
            let line = row(columns.iter_mut().map(|column| cut(column, width)).collect());
            cli::print(format_args!("{:>6.2}  {line}", began.elapsed().as_secs_f64()));
        }
    }
}

/// Takes as many whole words off the front as fit, and one at least.
fn cut(column: &mut String, width: usize) -> String {
    let mut end = 0;
    for word in column.split_inclusive(char::is_whitespace) {
        if end > 0 && column[..end].chars().count() + word.trim_end().chars().count() > width {
            break;
        }
        end += word.len();
    }
    let rest = column.split_off(end);
    let line = std::mem::replace(column, rest);
    line.trim_end().replace('\n', " ")
}

fn report(
    args: &Args,
    streams: &Streams,
    reads: &[Read],
    right: usize,
    provider: Option<&Provider>,
    answer: Option<&str>,
) {
    let stats = streams.stats();
    let words: Vec<usize> = reads.iter().map(|read| read.words).collect();
    let in_all = answer.map(|answer| answer.split_inclusive(' ').count());
    if args.json {
        let report = json!({
            "readers": reads.len(),
            "right": right,
            "words": words,
            "words_in_all": in_all,
            "errors": reads.iter().map(|read| &read.error).collect::<Vec<_>>(),
            "opened": stats.opened,
            "joined": stats.joined,
            "provider_calls": provider.map(Provider::calls),
            "events_sent": provider.map(Provider::events),
            "events_in_vain": provider.map(Provider::events_in_vain),
        });
        cli::print(report);
        return;
    }
    cli::print(format_args!("\nreaders           {:>6}", reads.len()));
    cli::print(format_args!("served right      {right:>6}"));
    cli::print(format_args!("streams opened    {:>6}   joined: {}", stats.opened, stats.joined));
    if let Some(provider) = provider {
        cli::print(format_args!("provider calls    {:>6}   counted by the provider", provider.calls()));
        cli::print(format_args!("events sent       {:>6}", provider.events()));
        cli::print(format_args!("sent in vain      {:>6}   after the last client had gone", provider.events_in_vain()));
    }
    for (reader, read) in reads.iter().enumerate() {
        if let Some(error) = &read.error {
            cli::eprint(format_args!("reader {}: {error}", reader + 1));
        }
    }
}
