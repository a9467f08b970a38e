//! A chat service that survives the burst: a thread for each request, conversations in a database, one call for all who
//! ask the same.
//!
//! `cargo run --release --features example-chat-service --example chat_service`, and `-- --help` for what it can do.

use std::path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossbeam_channel::RecvTimeoutError;
use sync_coalesce::SyncCoalesce;

use crate::args::Args;
use crate::conversations::{Conversations, Floor};
use crate::report::{Posts, Report};
use crate::service::Service;
use crate::store::Store;
use crate::support::cli;
use crate::support::provider::server::Server;
use crate::upstream::Upstream;

mod args;
mod conversations;
mod failure;
mod report;
mod service;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod upstream;

fn main() -> ExitCode {
    cli::run("chat_service", |args| run(args).map(|()| true))
}

fn run(args: &Args) -> Result<(), String> {
    let store = Store::open(&args.database).map_err(|error| format!("{}: {error}", args.database.display()))?;
    let connections = usize::try_from(args.concurrency).unwrap_or(usize::MAX);
    let model = args.endpoint.model()?.to_owned();
    let (client, provider) = args.endpoint.open(connections)?;
    let conversations = Arc::new(Conversations {
        store,
        upstream: Upstream::new(client, model, args)?,
        coalesce: SyncCoalesce::builder().name("turns").build(),
        floor: Floor::default(),
        patience: args.patience(),
        repeat_window: args.repeat_window(),
    });
    let report = Report {
        conversations: Arc::clone(&conversations),
        provider: provider.map(Arc::new),
        began: Instant::now(),
        posts: Mutex::new(Posts::default()),
    };
    let service = Arc::new(Service { conversations, report });

    let (interrupt, interrupted) = crossbeam_channel::bounded(1);
    let on_interrupt = move || {
        if interrupt.try_send(()).is_err() {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(on_interrupt).map_err(|error| format!("cannot wait for Ctrl-C: {error}"))?;
    let handler = Arc::clone(&service);
    let server = Server::start_at(args.listen, move |request| handler.handle(request))
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let file = path::absolute(&args.database).unwrap_or_else(|_| args.database.clone());
    cli::eprint(format_args!("chat_service: conversations in {}", file.display()));
    cli::print(format_args!("listening on http://{}", server.address()));

    if let Ok(()) | Err(RecvTimeoutError::Timeout) = interrupted.recv_timeout(args.run_for()) {
        cli::eprint(format_args!("chat_service: ending"));
    }
    // From now on an interrupt finds nobody who would take it.
    drop(interrupted);
    drop(server);
    cli::print(service.report.stats());
    Ok(())
}
