//! Retries over ureq: a provider is busy, one thread asks again when the provider says so, and the others wait for that.
//!
//! `cargo run --features retry --example retry`, and `-- --help` for the rest.

use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use sync_coalesce::SyncCoalesce;
use sync_coalesce::stack::retry::{Retry, retry_after, retryable};

use support::provider::shapes::Vendor;
use support::{cli, endpoint, provider::Behaviour};

mod support;

const HELP: &str = "\
Asks a provider that is busy, from ten threads at one instant, and shows the requests that go out.

Usage: retry [--busy N] [--attempts N]
  --busy N        Requests that get 503 and \"come back in a second\" before one is answered: 0 to 10 [default: 2]
  --attempts N    Attempts, the first included: 1 to 10 [default: 4]

Exit codes: 0 every thread has its answer, 1 none has, 2 wrong arguments, or it could not start.";

const THREADS: usize = 10;
const REQUEST: &str = r#"{ "model": "m", "messages": [{ "role": "user", "content": "When do you open?" }] }"#;

/// Why an attempt has no answer; none of it where nothing came.
#[derive(Default)]
struct Failure {
    status: u16,
    body: String,
    retry_after: Option<Duration>,
}

fn main() -> ExitCode {
    cli::run_with_numbers("retry", HELP, [("busy", 0..=10, 2), ("attempts", 1..=10, 4)], |[busy, attempts]| {
        run(busy.into(), attempts)
    })
}

fn run(busy_first: u64, attempts: u32) -> Result<bool, String> {
    let latency = Duration::from_millis(200);
    let provider = endpoint::start(Behaviour { latency, busy_first, ..Behaviour::default() })?;
    let url = provider.url(Vendor::OpenAi);
    let agent = ureq::Agent::config_builder().http_status_as_error(false).proxy(None);
    let agent: ureq::Agent = agent.timeout_global(Some(Duration::from_secs(10))).build().into();
    let retry =
        Retry::builder(|failure: &Failure| failure.status == 0 || retryable::response(failure.status, &failure.body));
    let retry =
        retry.attempts(attempts).timeout(Duration::from_secs(30)).retry_after(|failure| failure.retry_after).build();

    let (coalesce, together, began) = (SyncCoalesce::new(), Barrier::new(THREADS), Instant::now());
    let ask = || {
        together.wait();
        // A follower waits for the leader and all its attempts.
        coalesce.try_call("opening hours", || retry.run(|| post(&agent, &url, began)))
    };
    let answers: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    cli::print(format_args!("{answered} of {THREADS} threads answered, by {} requests", provider.calls()));
    Ok(answered == THREADS)
}

/// One attempt.
fn post(agent: &ureq::Agent, url: &str, began: Instant) -> Result<String, Failure> {
    let nothing = |error: ureq::Error| Failure { body: error.to_string(), ..Failure::default() };
    let mut response = agent.post(url).content_type("application/json").send(REQUEST).map_err(nothing)?;
    let status = response.status().as_u16();
    let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let (retry_after, told) = (header.and_then(retry_after), header.unwrap_or("none"));
    cli::print(format_args!("{:>5.2} s   status {status}, Retry-After: {told}", began.elapsed().as_secs_f64()));
    let body = response.body_mut().read_to_string().map_err(nothing)?;
    if status == 200 { Ok(body) } else { Err(Failure { status, body, retry_after }) }
}
