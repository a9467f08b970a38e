//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::cli::{Arguments, Value};
use crate::support::endpoint::{self, Endpoint, above_zero, zero_or_more};

const HELP: &str = "\
Serves conversations with a model over HTTP, and writes each message and its answer once.

Usage: chat_service [OPTIONS]

Options:
  --listen ADDRESS         Address to listen on; port 0 is any that is free [default: 127.0.0.1:8080]
  --database FILE          File with the conversations, made if it is not there, by default in the folder that it is
                           started in [default: chat_service.sqlite]
  --pace N                 Calls of the provider per second; after a 429 fewer [default: 10]
  --burst N                Calls that may go at once after a pause [default: 1]
  --concurrency N          Calls that may run at once [default: 64]
  --patience SECONDS       Seconds that a message waits for those before it, and again for the provider's pace, before
                           it gets 503 [default: 60]
  --cache SECONDS          Seconds for which an answer is used again where another conversation says the same; 0 for
                           none [default: 0]
  --budget DOLLARS         US dollars to spend at most, until it ends [default: no limit]
  --repeat-window SECONDS  Seconds after an answer in which the same text without an Idempotency-Key counts as the same
                           message [default: 2]
  --run-for SECONDS        Seconds after which it ends by itself
  --help                   Print this

";

const MORE_HELP: &str = "
Requests:
  POST /threads/NAME/messages   {\"content\": \"text\"}; gives the message and its answer with their ids
  GET  /threads/NAME/messages   the conversation
  GET  /stats                   counters as JSON
  GET  /metrics                 counters for Prometheus

A header Idempotency-Key names a message: sent again, after a crash too, it gets the answer that was written.

Examples:
  chat_service --database /var/lib/chat.sqlite
  chat_service --latency 5000 --rate-limit 1 --strict-roles --pace 1
  chat_service --url http://HOST/v1/chat/completions --model NAME --api-key-env KEY
  curl -d '{\"content\": \"Where is my parcel?\"}' http://127.0.0.1:8080/threads/ada/messages

Ends on Ctrl-C when all that are being answered have their answer, on a second Ctrl-C at once.
Exit codes: 0 it ended when told to, 2 wrong arguments, or it could not start, 130 it was interrupted twice.";

pub(crate) struct Args {
    pub(crate) listen: SocketAddr,
    pub(crate) database: PathBuf,
    pub(crate) pace: f64,
    pub(crate) burst: u32,
    pub(crate) concurrency: u32,
    patience: u32,
    pub(crate) cache: u32,
    pub(crate) budget: Option<f64>,
    repeat_window: u32,
    run_for: Option<u32>,
    pub(crate) endpoint: Endpoint,
}

impl Default for Args {
    fn default() -> Self {
        Args {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            database: "chat_service.sqlite".into(),
            pace: 10.0,
            burst: 1,
            concurrency: 64,
            patience: 60,
            cache: 0,
            budget: None,
            repeat_window: 2,
            run_for: None,
            endpoint: Endpoint::default(),
        }
    }
}

impl Arguments for Args {
    fn help(&self) -> String {
        [HELP, endpoint::HELP, MORE_HELP].concat()
    }

    fn option(&mut self, name: &str, value: &mut Value<'_>) -> Result<bool, String> {
        match name {
            "listen" => self.listen = value.read("an address and a port", |text| text.parse().ok())?,
            "database" => self.database = value.raw()?.into(),
            "pace" => self.pace = above_zero(value)?,
            "burst" => self.burst = value.number(1..=u32::MAX)?,
            "concurrency" => self.concurrency = value.number(1..=u32::MAX)?,
            "patience" => self.patience = value.number(0..=u32::MAX)?,
            "cache" => self.cache = value.number(0..=u32::MAX)?,
            "budget" => self.budget = Some(zero_or_more(value)?),
            "repeat-window" => self.repeat_window = value.number(0..=u32::MAX)?,
            "run-for" => self.run_for = Some(value.number(0..=u32::MAX)?),
            _ => return self.endpoint.option(name, value),
        }
        Ok(true)
    }

    fn check(&self) -> Result<(), String> {
        self.endpoint.check()
    }
}

impl Args {
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_secs(self.patience.into())
    }

    pub(crate) fn repeat_window(&self) -> Duration {
        Duration::from_secs(self.repeat_window.into())
    }

    pub(crate) fn run_for(&self) -> Duration {
        self.run_for.map_or(Duration::MAX, |seconds| Duration::from_secs(seconds.into()))
    }
}
