//! Request coalescing (single-flight) for plain OS threads: while a call for a key is running, every other thread that
//! asks for the same key waits for that call and shares its result.
//!
//! Fifty threads ask a language model the same question at nine o'clock: one request is sent, one is paid for, and all
//! fifty get the answer. There is no async runtime. The closure runs on the thread of the caller that came first.
//!
//! # Example
//!
//! The first caller **leads**: its closure runs. Callers that come while it runs **follow**: they wait, their own
//! closures are dropped unused, and they get the leader's result as the same [`Arc`](std::sync::Arc).
//!
//! ```
//! use std::thread;
//! use sync_coalesce::SyncCoalesce;
//!
//! let coalesce: SyncCoalesce<String, String> = SyncCoalesce::new();
//! let ask = || {
//!     coalesce.call("why is the sky blue?", || {
//!         // A slow request. Here it lasts until the 49 others have joined.
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
//! # Promises
//!
//! - **One leader per key** at a time, among the flights that new callers can join.
//! - **A follower gets its flight's result**, the same `Arc` as everyone else, or leaves for a reason of its own: a
//!   timeout, its patience, a cancelled flight, a closed coalescer.
//! - **Nothing is kept.** A flight is over before its result is handed out, so a call that begins after another one has
//!   returned runs again, after an error too. To keep results, let them [linger](Builder::linger) or add a cache.
//! - **A panic strands nobody.** The leader's caller sees its own panic, and its followers get
//!   [`CallError::LeaderPanicked`]. Nothing is poisoned.
//! - **No call waits for itself.** A wait that would close a cycle is refused before it begins; see
//!   [below](#deadlocks).
//! - **No lock is held while your code runs**, except for `K: Eq`, and for `K: Clone` in
//!   [`flights`](SyncCoalesce::flights). The crate has no unsafe code.
//!
//! # Options of one call
//!
//! [`on`](SyncCoalesce::on), [`on_many`](SyncCoalesce::on_many) and [`on_request`](SyncCoalesce::on_request) make a
//! [`Call`] with options. It returns an [`Outcome`]: the result, and the [`Role`] that this caller played.
//!
//! | Option | Default | What it does |
//! |---|---|---|
//! | [`timeout`](Call::timeout), [`deadline`](Call::deadline) | [`Builder::timeout`], none | how long to wait for others |
//! | [`patience`](Call::patience) | [`Builder::patience`], none | when to stop waiting and run one's own closure |
//! | [`after`](Call::after) | join any flight | join only flights begun after a [`mark`](SyncCoalesce::mark) |
//! | [`bypass`](Call::bypass) | coalesce | run alone, on purpose |
//! | [`label`](Call::label) | [`Builder::key_label`] | the flight's name in the chain of a deadlock |
//! | [`rule`](Call::rule) | [`Builder::key_rule`] | how `on_request` makes the key |
//!
//! ```
//! use std::time::Duration;
//! use sync_coalesce::{Role, SyncCoalesce};
//!
//! let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
//! let outcome = coalesce.on("answer").timeout(Duration::from_secs(5)).call(|_flight| 42);
//! assert_eq!(outcome.role, Role::Leader { followers: 0 });
//! assert_eq!(*outcome.into_result().unwrap(), 42);
//! ```
//!
//! # What to use when
//!
//! | You want | Use |
//! |---|---|
//! | a call that cannot fail, one that can | [`call`](SyncCoalesce::call), [`try_call`](SyncCoalesce::try_call) |
//! | options, or the role of the caller | [`on`](SyncCoalesce::on) |
//! | the key made of the request, for several tenants | [`on_request`](SyncCoalesce::on_request) with a [`KeyRule`] |
//! | a function that coalesces by itself | [`wrap`](SyncCoalesce::wrap) |
//! | many keys, one upstream call | [`call_many`](SyncCoalesce::call_many), [`on_many`](SyncCoalesce::on_many) |
//! | a deadline for the first caller too, or `select!` | [`detach`](SyncCoalesce::detach) and its [`Ticket`] |
//! | an answer that comes in pieces | [`stream::StreamCoalesce`] |
//! | results that last a little longer than their flight | [`Builder::linger`] |
//! | a failure that is not everybody's | [`OnFailure::Elect`]: a follower tries again, and the others wait |
//! | a bound on waiting callers | [`Builder::max_followers`], [`OnOverflow`] |
//! | to end flights | [`forget`](SyncCoalesce::forget), [`cancel`](SyncCoalesce::cancel), [`close`](SyncCoalesce::close), [`drain`](SyncCoalesce::drain) |
//! | to see what happens | [`stats`](SyncCoalesce::stats), [`flights`](SyncCoalesce::flights), [`observe`] |
//! | a cache, pacing, retries, a budget, a ledger | `stack`, behind one feature each |
//!
//! The [`guide`] has a page on each topic: [errors and panics](guide::errors), [waiting](guide::waiting),
//! [keys](guide::keys), [batches](guide::batches), [deadlocks](guide::deadlocks), [rayon](guide::rayon),
//! [streams](guide::streams), [layers](guide::layers), and [production](guide::production): statistics, memory, `fork`.
//!
//! # Trade-offs
//!
//! - **The first closure wins.** Two closures under one key are taken for the same question. Give each kind of work its
//!   own coalescer, or put whatever makes the answers differ into the key: the tenant, the model, the temperature.
//! - **A slow leader is slow for everyone.** Followers have a [`timeout`](Call::timeout), but a closure is never
//!   interrupted, so give the client inside it a timeout too.
//! - **Values are shared, not copied.** Everyone holds the same `Arc<T>`; clone the value to change it.
//! - **Samples that should differ do not.** Ten identical requests for ten different answers become one, unless they
//!   [`bypass`](Call::bypass).
//!
//! # Deadlocks
//!
//! A closure that asks for its own key would wait forever, and so would two threads that lead A and B and ask for each
//! other's. Such a wait is refused with [`CallError::Deadlock`], or the closure runs uncoalesced
//! ([`OnDeadlock::Bypass`]). **Only waits of this crate are seen.** A leader that waits by a join, a channel, a mutex or
//! a pool for a thread that follows it is not: give those followers [`patience`](Call::patience) or a timeout. The
//! [guide](guide::deadlocks) has examples.
//!
//! # Features
//!
//! | Feature | Adds |
//! |---|---|
//! | `metrics`, `tracing` | `observe::MetricsObserver`, `observe::TracingObserver` |
//! | `cache`, `pace`, `retry`, `budget`, `ledger` | `stack::cache`, and so on; with any of them `stack::Stack` |
//! | `jiff` | time zones for the periods of a budget |
//! | `redb` | a ledger that outlives the process |
//!
//! None is on by default. `example-*` and `test-*` are for this repository. The crate needs `std` and threads, and is
//! tested on Linux.

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

// The pages of the guide are compiled as doctests; nothing of them is in a build.
#[cfg(any(doc, doctest))]
pub mod guide {
    //! The long pages: one topic each, with examples.

    #[doc = include_str!("guide/batches.md")]
    pub mod batches {}

    #[doc = include_str!("guide/deadlocks.md")]
    pub mod deadlocks {}

    #[doc = include_str!("guide/errors.md")]
    pub mod errors {}

    #[doc = include_str!("guide/keys.md")]
    pub mod keys {}

    #[doc = include_str!("guide/layers.md")]
    pub mod layers {}

    #[doc = include_str!("guide/production.md")]
    pub mod production {}

    #[doc = include_str!("guide/rayon.md")]
    pub mod rayon {}

    #[doc = include_str!("guide/streams.md")]
    pub mod streams {}

    #[doc = include_str!("guide/waiting.md")]
    pub mod waiting {}
}

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
