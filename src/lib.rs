//! Request coalescing (single-flight) for plain OS threads: while a call for a key is running, every other thread that
//! asks for the same key waits for that call and shares its result.
//!
//! Fifty threads ask a language model the same question at nine o'clock: one request goes out, one is paid for, fifty
//! have the answer. There is no async runtime; the closure runs on the thread of the caller that came first.
//!
//! # One call at a time for each key
//!
//! The caller that comes first **leads**: its closure runs. Whoever comes while it runs **follows**: its own closure is
//! dropped unused, and it gets the leader's result, which is the same [`Arc`](std::sync::Arc).
//!
//! ```
//! use std::thread;
//! use sync_coalesce::SyncCoalesce;
//!
//! let coalesce: SyncCoalesce<String, String> = SyncCoalesce::new();
//! let ask = || {
//!     coalesce.call("why is the sky blue?", || {
//!         // A slow request; here it takes until the 49 others have joined.
//!         while coalesce.stats().following < 49 {
//!             thread::yield_now();
//!         }
//!         "Rayleigh scattering".to_owned()
//!     })
//! };
//! thread::scope(|scope| {
//!     let threads: Vec<_> = (0..50).map(|_| scope.spawn(ask)).collect();
//!     for thread in threads {
//!         assert_eq!(*thread.join().unwrap().unwrap(), "Rayleigh scattering");
//!     }
//! });
//! let stats = coalesce.stats();
//! assert_eq!((stats.underlying_calls, stats.coalesced_calls), (1, 49));
//! ```
//!
//! # Nothing is kept afterwards
//!
//! A flight is over before its result is handed out. Unless results are told to [linger](#results-that-linger), a call
//! that begins after another one returned runs afresh, after a success as after an error. To keep values for longer,
//! put a cache in front.
//!
//! ```
//! use sync_coalesce::SyncCoalesce;
//!
//! let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
//! assert_eq!(*coalesce.call("key", || 1).unwrap(), 1);
//! assert_eq!(*coalesce.call("key", || 2).unwrap(), 2);
//! ```
//!
//! # Results that linger
//!
//! For bursts that are a little spread out, the builder can have each value [linger](Builder::linger) after its flight,
//! and each error for a [time of its own](Builder::linger_errors). Who comes in that time gets the result, and its
//! closure does not run. [`max_lingering`](Builder::max_lingering) bounds how many are kept, and
//! [`forget`](SyncCoalesce::forget) drops one.
//!
//! ```
//! use std::time::Duration;
//! use sync_coalesce::{Role, SyncCoalesce};
//!
//! let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::builder().linger(Duration::from_secs(3600)).build();
//! assert_eq!(*coalesce.call("key", || 1).unwrap(), 1);
//! let late = coalesce.on("key").call(|_| 2);
//! assert_eq!(*late.result.unwrap(), 1);
//! assert!(matches!(late.role, Role::Lingering { .. }));
//!
//! assert!(coalesce.forget("key"));
//! assert_eq!(*coalesce.call("key", || 2).unwrap(), 2);
//! ```
//!
//! # Errors are shared
//!
//! [`try_call`](SyncCoalesce::try_call) takes a closure that may fail. Followers get the leader's error and do not try
//! again one after the other.
//!
//! ```
//! use sync_coalesce::{CallError, SyncCoalesce};
//!
//! let coalesce: SyncCoalesce<String, u16, std::num::ParseIntError> = SyncCoalesce::new();
//! let result = coalesce.try_call("port", || "http".parse());
//! assert!(matches!(result, Err(CallError::Failed(error)) if error.to_string() == "invalid digit found in string"));
//! ```
//!
//! [`CallError`] shows how errors travel by `?`, those of `anyhow` too.
//!
//! Where a failure need not be everybody's, the builder can have one follower try again, with its own closure, while
//! the others go on waiting: see [`OnFailure::Elect`].
//!
//! ```
//! use std::thread;
//! use sync_coalesce::{OnFailure, SyncCoalesce};
//!
//! let coalesce: SyncCoalesce<String, u32, &str> = SyncCoalesce::builder()
//!     .on_error_with(|error| match *error {
//!         "quota" => OnFailure::Elect { times: 2 },
//!         _ => OnFailure::Share,
//!     })
//!     .build();
//! thread::scope(|scope| {
//!     let first = scope.spawn(|| {
//!         coalesce.try_call("key", || {
//!             while coalesce.stats().following < 1 {
//!                 thread::yield_now();
//!             }
//!             Err("quota")
//!         })
//!     });
//!     while coalesce.in_flight() == 0 {
//!         thread::yield_now();
//!     }
//!     // It follows, and when the first one fails it leads.
//!     assert_eq!(*coalesce.try_call("key", || Ok(2)).unwrap(), 2);
//!     assert!(first.join().unwrap().is_err());
//! });
//! ```
//!
//! # Wishes of one caller
//!
//! [`request`](SyncCoalesce::request) lets one caller wait only so long, or run uncoalesced on purpose, and tells it
//! which part it played.
//!
//! ```
//! use std::time::Duration;
//! use sync_coalesce::{CallError, Role, SyncCoalesce};
//!
//! let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
//! let value = coalesce.call("key", || {
//!     // Another thread that asks now, and has no time.
//!     std::thread::scope(|scope| {
//!         let hurried = scope.spawn(|| coalesce.on("key").timeout(Duration::ZERO).call(|_| 0)).join().unwrap();
//!         assert!(matches!(hurried.result, Err(CallError::TimedOut)));
//!         assert!(matches!(hurried.role, Role::Follower { .. }));
//!     });
//!     7
//! });
//! assert_eq!(*value.unwrap(), 7);
//! ```
//!
//! # Keys
//!
//! Any type with `Hash + Eq + Clone` is a key, and is asked for in its borrowed form: `String` by `&str`. [`Key`] is
//! made from a request itself: the same 32 bytes for the same JSON, whatever the order of its members.
//!
//! ```
//! use serde_json::json;
//! use sync_coalesce::{Key, SyncCoalesce};
//!
//! let one = json!({ "model": "m", "temperature": 1.0 });
//! let other = json!({ "temperature": 1, "model": "m" });
//! assert_eq!(Key::of(&one).unwrap(), Key::of(&other).unwrap());
//!
//! let coalesce: SyncCoalesce<Key, String> = SyncCoalesce::new();
//! let answer = coalesce.try_call_for(&one, |request| Ok(request["model"].to_string()));
//! assert_eq!(*answer.unwrap(), "\"m\"");
//! ```
//!
//! **What is not in the request is not in its key**: which tenant asks, and where the request goes. That is the
//! namespace of a [`KeyRule`], which can also leave out what makes no difference, at exact places. [`KeyPreset`] has
//! such rules for some providers, and a [`SharedText`](key::SharedText) is
//! hashed once for many keys. [`key`] has a table of all ways to make a key.
//!
//! ```
//! use serde_json::json;
//! use sync_coalesce::{KeyRule, SyncCoalesce};
//!
//! let rule = KeyRule::new(&("https://api.example.com", "tenant a"))?.drop("/metadata")?;
//! let coalesce: SyncCoalesce<_, String> = SyncCoalesce::builder().key_rule(rule.clone()).build();
//! let answer = coalesce.try_call_for(&json!({ "model": "m", "metadata": { "trace": 7 } }), |request| {
//!     // A request that differs in what is dropped is in flight, and this call would wait for itself.
//!     assert!(coalesce.try_call_for(&json!({ "model": "m" }), |_| unreachable!()).is_err());
//!     Ok(request["model"].to_string())
//! });
//! assert_eq!(*answer.unwrap(), "\"m\"");
//! # Ok::<(), sync_coalesce::key::KeyError>(())
//! ```
//!
//! # Many keys at once
//!
//! [`try_call_many`](SyncCoalesce::try_call_many) takes a batch of keys and asks, in one upstream call, for those that
//! nobody else is asking for: a batch of texts to embed sends only what no other batch is sending.
//!
//! ```
//! use sync_coalesce::SyncCoalesce;
//!
//! let coalesce: SyncCoalesce<String, Vec<f32>> = SyncCoalesce::new();
//! let vectors = coalesce.call_many(["one text", "another"], |missing| {
//!     missing.iter().map(|text| vec![text.len() as f32]).collect()
//! });
//! assert_eq!(vectors[1].as_ref().unwrap()[0], 7.0);
//! ```
//!
//! # Deadlines for everybody
//!
//! A leader stays until its own closure returns. [`detach`](SyncCoalesce::detach) has the closure run on a thread of a
//! bounded pool instead, and gives a [`Ticket`] to every caller, the first one too: to wait with a deadline, to leave,
//! or to wait for several by crossbeam's `select!`.
//!
//! ```
//! use std::time::Duration;
//! use sync_coalesce::SyncCoalesce;
//!
//! let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
//! let ticket = coalesce.detach("question", |_flight| Ok(42));
//! assert_eq!(*ticket.wait_timeout(Duration::from_secs(60)).unwrap(), 42);
//! ```
//!
//! # Trade-offs
//!
//! - **The first closure wins.** Two closures under one key are taken for one question. Give each kind of work its own
//!   coalescer, or put into the key whatever makes the answers differ: the tenant, the model, the temperature.
//! - **A slow leader is slow for all.** Followers have a [`timeout`](Request::timeout); the leader's closure itself is
//!   never interrupted, so give the client inside it a timeout too.
//! - **Values are shared, not copied.** Everyone holds the same `Arc<T>`; who wants to change the value clones it.
//! - **Samples that should differ do not.** Ten identical requests for ten different answers become one;
//!   [`bypass`](Request::bypass) is for them.
//!
//! # Deadlocks
//!
//! A follower waits for a closure in another thread. Where that closure waits, by calls of its own, for something that
//! the follower leads, both would wait for ever; so would a closure that asks for its own key. The wait that would
//! close such a cycle is refused before it begins, over any number of threads, keys and coalescers, with
//! [`CallError::Deadlock`], or runs uncoalesced ([`OnDeadlock::Bypass`]).
//!
//! ```
//! use sync_coalesce::{CallError, SyncCoalesce};
//!
//! let coalesce: SyncCoalesce<String, bool> = SyncCoalesce::new();
//! let was_refused = coalesce.call("key", || matches!(coalesce.call("key", || true), Err(CallError::Deadlock { .. })));
//! assert!(*was_refused.unwrap());
//! ```
//!
//! **Only waits for flights, tickets and streams are seen.** A closure that waits for a thread by a join, a channel, a
//! mutex or a pool, while that thread follows the closure's own flight, is a cycle that no graph of ours has in it.
//! [`patience`](Request::patience) ends it (the follower runs its own closure), or a [`timeout`](Request::timeout) (it
//! gives up).
//!
//! [`drain`](SyncCoalesce::drain) is not seen either: if its thread leads a flight that another running closure waits
//! for, only its timeout ends it. Nor is a wait in the stack's pacer, or one by a ticket's own
//! [`receiver`](Ticket::receiver).
//!
//! # Rayon
//!
//! Followers may be jobs of a pool, and block its threads while they wait: have more threads than calls that you want
//! under way. A job stolen onto the leader's own thread that asks for the leader's key is refused like any other call
//! there. What is not seen is a leader *outside* the pool whose closure waits for the pool, while all of the pool's
//! threads follow it. Give such followers patience:
//!
//! ```
//! use std::time::Duration;
//! use sync_coalesce::SyncCoalesce;
//!
//! let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::builder().patience(Duration::from_millis(20)).build();
//! let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
//! let value = coalesce.call("key", || {
//!     // The pool's only thread would follow the flight that waits for it here.
//!     pool.install(|| *coalesce.call("key", || 2).unwrap())
//! });
//! assert_eq!(*value.unwrap(), 2);
//! ```
//!
//! # Crowds and ends
//!
//! [`max_followers`](Builder::max_followers) bounds who may wait, and [`max_impatient`](Builder::max_impatient) who may
//! run alone after waiting. [`close`](SyncCoalesce::close) wakes all followers and refuses new calls, and
//! [`drain`](SyncCoalesce::drain) waits for the closures that still run. A call that must not get an answer begun
//! before some change makes a [`mark`](SyncCoalesce::mark) and asks [`after`](Request::after) it.
//!
//! # Streams
//!
//! A [`StreamCoalesce`](stream::StreamCoalesce) does the same for what comes bit by bit, such as the answer of a
//! language model: one source is open per key, every reader has all its chunks from the first one, whenever it came,
//! and when the last reader leaves the source is dropped, so that nothing more is paid for. No thread is made: whoever
//! needs the next chunk first pulls it, in its own thread.
//!
//! ```
//! use std::convert::Infallible;
//! use std::thread;
//! use sync_coalesce::stream::StreamCoalesce;
//!
//! let streams: StreamCoalesce<String, &str> = StreamCoalesce::new();
//! let open = || Ok(["Nine ", "to ", "five."].map(Ok::<_, Infallible>));
//! let mut first = streams.stream("hours", open).unwrap();
//! assert_eq!(*first.next().unwrap().unwrap(), "Nine ");
//! // Another thread asks when the answer has begun.
//! let text: String = thread::scope(|scope| {
//!     scope.spawn(|| streams.stream("hours", open).unwrap().map(|chunk| *chunk.unwrap()).collect()).join().unwrap()
//! });
//! assert_eq!(text, "Nine to five.");
//! assert_eq!(streams.stats().opened, 1);
//! ```
//!
//! # Watching it
//!
//! [`stats`](SyncCoalesce::stats) counts every call once, and [`flights`](SyncCoalesce::flights) lists what is in
//! flight. An [`Observer`] is told of each event; behind the features `metrics` and `tracing` there is one that feeds
//! any recorder of the `metrics` crate, and one that makes a span of each run.
//!
//! ```
//! use sync_coalesce::SyncCoalesce;
//!
//! let coalesce: SyncCoalesce<String, f64> = SyncCoalesce::builder().cost(|dollars: &f64| *dollars).build();
//! coalesce.call("question", || 0.25).unwrap();
//! let stats = coalesce.stats();
//! assert_eq!((stats.calls(), stats.underlying_calls, stats.cost_spent), (1, 1, 0.25));
//! ```
//!
//! # Around the call
//!
//! Besides coalescing, people put layers around a paid call. Here each is a plain blocking object behind a Cargo
//! feature, to be used alone or with others:
//!
//! - `cache`: `stack::cache::Cache` keeps values, so many and for so long.
//! - `pace`: `stack::pace::Pacer` lets through so many calls per second, and so many at once.
//! - `retry`: `stack::retry::Retry` asks again after errors that may pass.
//! - `budget`: `stack::budget::Budget` caps tokens and money.
//! - `ledger`: `stack::ledger::Ledger` does not do again what is done; with `redb`, after a restart neither.
//!
//! With any of these features, `stack::Stack` puts the layers that it is given around a call, in the one order in
//! which they fit together.
//!
//! [`chat::alternate`] needs no feature. It makes of a conversation one whose roles take turns, for providers that
//! demand it; do that before the key is made, so that what the provider would see as one conversation is one.
//!
//! # Panics
//!
//! A panic in the leader's closure goes on to the leader's own caller. Its followers get [`CallError::LeaderPanicked`],
//! and the next call runs afresh; nothing is poisoned. With `panic = "abort"` a panic ends the process, as it does
//! everywhere.
//!
//! # Memory
//!
//! There is an entry for each flight that is running and nothing for those that have ended, unless their results
//! [linger](Builder::linger); tables shrink. A lone call allocates its `Arc<T>` and, if the key has to be, the key. The
//! first follower or ticket of a flight makes its meeting point. Nothing else is made for a follower, unless its thread
//! leads something: that takes a label and an edge in the wait-for graph. A [`Ticket`] has a channel and a label.
//!
//! # Platforms
//!
//! Anything with `std` and threads; tested on Linux. The crate has no unsafe code of its own.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod call;
pub use call::Call;

pub mod chat;
#[doc(inline)]
pub use chat::KeyPreset;

mod coalesce;
pub use coalesce::SyncCoalesce;
pub use coalesce::builder::Builder;

mod error;
pub use error::CallError;

mod flight;
pub use flight::handle::FlightHandle;
pub use flight::pool::ticket::Ticket;
pub use hashbrown::Equivalent;

pub mod key;
#[doc(inline)]
pub use key::{Key, KeyRule};

pub mod observe;

mod options;

mod outcome;
pub use outcome::{BypassReason, Mark, Outcome, Role};

mod panic;

mod policy;
pub use policy::{OnDeadlock, OnFailure, OnOverflow};

mod shared_error;
pub use shared_error::SharedError;

mod shrink;

#[cfg(any(feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
pub mod stack;

mod stats;
pub use stats::{FlightInfo, Stats};

pub mod stream;

mod sync;
mod wait;

// Its examples are of all features.
#[cfg(all(doctest, feature = "budget", feature = "cache", feature = "ledger", feature = "pace", feature = "retry"))]
#[doc = include_str!("../README.md")]
struct Readme;
