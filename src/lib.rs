//! Request coalescing (single-flight) for plain OS threads: while a call for a key is running, every other thread that asks
//! for the same key waits for that call and shares its result.
//!
//! Fifty threads ask a language model the same question at nine o'clock: one request goes out, one is paid for, fifty have
//! the answer. There is no async runtime; the closure runs on the thread of the caller that came first.
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
//! A flight is over before its result is handed out. A call that begins after another one returned runs afresh, after a success
//! as after an error. To keep values, put a cache in front.
//!
//! ```
//! use sync_coalesce::SyncCoalesce;
//!
//! let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
//! assert_eq!(*coalesce.call("key", || 1).unwrap(), 1);
//! assert_eq!(*coalesce.call("key", || 2).unwrap(), 2);
//! ```
//!
//! # Errors are shared
//!
//! [`try_call`](SyncCoalesce::try_call) takes a closure that may fail. Followers get the leader's error and do not try again one
//! after the other.
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
//! # Wishes of one caller
//!
//! [`request`](SyncCoalesce::request) lets one caller wait only so long, or run uncoalesced on purpose, and tells it which part it
//! played.
//!
//! ```
//! use std::time::Duration;
//! use sync_coalesce::{CallError, Role, SyncCoalesce};
//!
//! let coalesce: SyncCoalesce<String, u32> = SyncCoalesce::new();
//! let value = coalesce.call("key", || {
//!     // Another thread that asks now, and has no time.
//!     std::thread::scope(|scope| {
//!         let hurried = scope.spawn(|| coalesce.request("key").timeout(Duration::ZERO).call(|_| 0)).join().unwrap();
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
//! Any type with `Hash + Eq + Clone` is a key, and is asked for in its borrowed form: `String` by `&str`. [`Key`] is made from
//! a request itself: the same 32 bytes for the same JSON, whatever the order of its members.
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
//! # Trade-offs
//!
//! - **The first closure wins.** Two closures under one key are taken for one question. Give each kind of work its own coalescer, or
//!   put into the key whatever makes the answers differ: the tenant, the model, the temperature.
//! - **A slow leader is slow for all.** Followers have a [`timeout`](Request::timeout); the leader's closure itself is never
//!   interrupted, so give the client inside it a timeout too.
//! - **Values are shared, not copied.** Everyone holds the same `Arc<T>`; who wants to change the value clones it.
//! - **Samples that should differ do not.** Ten identical requests for ten different answers become one;
//!   [`bypass`](Request::bypass) is for them.
//!
//! # Deadlocks
//!
//! A follower waits for a closure in another thread, as it would wait for a lock. A closure that asks for its own key, and two that ask
//! for each other's, wait for themselves for ever unless they set a [`timeout`](Request::timeout). So does a closure that waits
//! outside this crate (for a join, a channel, or rayon's other threads) for a thread that follows it.
//!
//! # Panics
//!
//! A panic in the leader's closure goes on to the leader's own caller. Its followers get
//! [`CallError::LeaderPanicked`], and the next call runs afresh; nothing is poisoned. With `panic = "abort"` a panic ends the process, as it
//! does everywhere.
//!
//! # Memory
//!
//! There is an entry for each flight that is running and nothing for those that have ended; tables shrink. A lone call allocates its
//! `Arc<T>` and, if the key has to be, the key. A flight that is followed allocates one meeting point, and nothing for each follower.
//!
//! # Platforms
//!
//! Anything with `std` and threads; tested on Linux. The crate has no unsafe code of its own.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod builder;
pub use builder::Builder;

mod coalesce;
pub use coalesce::SyncCoalesce;

mod error;
pub use error::CallError;

mod flight;
pub use flight::Flight;
pub use hashbrown::Equivalent;

mod key;
pub use key::{Key, KeyError, KeyErrorKind, ParseKeyError};

mod outcome;
pub use outcome::{Bypass, Outcome, Role};

mod request;
pub use request::Request;

mod stats;
pub use stats::{FlightInfo, Stats};

mod sync;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
