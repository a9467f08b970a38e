//! A thread-per-request server for several tenants: equal requests share one call, but never across tenants.
//!
//! `cargo run --example server`, and `-- --help` for the rest.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use sync_coalesce::{Key, KeyRule, SyncCoalesce};

#[path = "support/cli.rs"]
mod cli;

const HELP: &str = "\
Answers questions, each on a thread of its own, until it has served all requests. The path names the tenant:
  curl -d '{\"question\": \"Where is my parcel?\"}' http://127.0.0.1:PORT/TENANT

Usage: server [--requests N] [--latency MS]
  --requests N    Requests to serve: 1 to 500 [default: 6]
  --latency MS    Milliseconds that an answer takes [default: 5000]

Exit codes: 0 every request was answered, 1 some were not, 2 wrong arguments, or it could not start.";

/// How long a client may keep a thread waiting, and how many bytes it may send.
const LIMITS: (Duration, u64) = (Duration::from_secs(5), 64 << 10);

fn main() -> ExitCode {
    let options = [("requests", 1..=500, 6), ("latency", 0..=60_000, 5000)];
    cli::run_with_numbers("server", HELP, options, |[requests, latency]| {
        run(requests as usize, Duration::from_millis(latency.into())).map_err(|error| error.to_string())
    })
}

fn run(requests: usize, latency: Duration) -> io::Result<bool> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    cli::print(format_args!("listening on http://{}, for {requests} requests", listener.local_addr()?));
    let coalesce = SyncCoalesce::builder().timeout(latency * 2 + LIMITS.0).build();
    let answered = thread::scope(|scope| {
        let coalesce = &coalesce;
        let serve = |stream: io::Result<_>| scope.spawn(move || serve(&stream?, coalesce, latency));
        let threads: Vec<_> = listener.incoming().take(requests).map(serve).collect();
        threads.into_iter().map(|thread| thread.join().is_ok_and(|served| served.is_ok())).filter(|ok| *ok).count()
    });
    cli::print(format_args!("{answered} answered, by {} calls", coalesce.stats().underlying_calls));
    Ok(answered == requests)
}

fn serve(stream: &TcpStream, coalesce: &SyncCoalesce<Key, String>, latency: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(LIMITS.0))?;
    let (tenant, body) = receive(BufReader::new(stream.take(LIMITS.1)))?;
    let request: Value = serde_json::from_slice(&body)?;
    // The tenant is part of every key, so tenants never share an answer.
    let rule = KeyRule::new(&("answers", &tenant)).map_err(io::Error::other)?;
    let key = rule.key(&request).map_err(io::Error::other)?;
    let answer = coalesce.call(&key, || {
        thread::sleep(latency); // the slow, paid call
        format!("{tenant} says of {}: nine to five", request["question"])
    });
    let (status, body) = match answer {
        Ok(answer) => ("200 OK", json!({ "answer": *answer })),
        Err(error) => ("503 Service Unavailable", json!({ "error": error.to_string() })),
    };
    let body = body.to_string();
    write!(&mut &*stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// The path without its slashes, and the body.
fn receive(mut from: impl BufRead) -> io::Result<(String, Vec<u8>)> {
    let lines = from.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let head: Vec<_> = lines.map(|line| line.to_ascii_lowercase()).collect();
    let path = head.first().and_then(|line| line.split(' ').nth(1)).ok_or(io::ErrorKind::UnexpectedEof)?;
    let length = head.iter().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = Vec::new();
    from.take(length.unwrap_or(0)).read_to_end(&mut body)?;
    Ok((path.trim_matches('/').to_owned(), body))
}
