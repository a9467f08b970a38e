//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::support::args::Endpoint;

/// Serves conversations with a model over HTTP, and writes each message and its answer once.
#[derive(Parser)]
#[command(after_help = "\
Requests:
  POST /threads/NAME/messages   {\"content\": \"text\"}; gives the message and its answer with their ids
  GET  /threads/NAME/messages   the conversation
  GET  /stats                   counters as JSON
  GET  /metrics                 counters for Prometheus

A header Idempotency-Key names a message: sent again, after a crash too, it gets the answer that was written.

Examples:
  chat_service --database /var/lib/chat.sqlite
  chat_service --latency 5000 --rate-limit 1 --strict-roles --pace 1
  chat_service --url https://HOST/v1/chat/completions --model NAME --api-key-env KEY
  curl -d '{\"content\": \"Where is my parcel?\"}' http://127.0.0.1:8080/threads/ada/messages

Ends on Ctrl-C when all that are being answered have their answer, on a second Ctrl-C at once.
Exit codes: 0 it ended when told to, 2 it could not start, 130 it was interrupted twice.")]
pub(crate) struct Args {
    /// Address to listen on; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// File with the conversations, made if it is not there; by default in the folder that it is started in
    #[arg(long, value_name = "FILE", default_value = "chat_service.sqlite")]
    pub(crate) database: PathBuf,

    /// Calls of the provider per second; after a 429 fewer
    #[arg(long, value_name = "PER_SECOND", default_value_t = 10.0)]
    pub(crate) pace: f64,

    /// Calls that may go at once after a pause
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) burst: u32,

    /// Calls that may run at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) concurrency: u32,

    /// Seconds that a message waits for those before it, and again for the provider's pace, before it gets 503
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u32,

    /// Seconds for which an answer is used again where another conversation says the same; 0 for none
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(crate) cache: u32,

    /// US dollars to spend at most, until it ends [default: no limit]
    #[arg(long, value_name = "DOLLARS")]
    pub(crate) budget: Option<f64>,

    /// Seconds after an answer in which the same text without an Idempotency-Key counts as the same message
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    repeat_window: u32,

    /// Seconds after which it ends by itself
    #[arg(long, value_name = "SECONDS")]
    run_for: Option<u32>,

    #[command(flatten)]
    pub(crate) endpoint: Endpoint,
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
