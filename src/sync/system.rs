//! The system's locks, condition variables, statics, thread-locals and clock.

use std::io;
use std::sync::PoisonError;
#[cfg(not(test))]
pub(crate) use std::sync::atomic::AtomicU64;

pub(crate) use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::Instant;
#[cfg(test)]
pub(crate) use super::counted::{AtomicU64, Mutex};

/// Counts an operation in tests; nothing elsewhere.
macro_rules! count {
    ($what:ident) => {
        #[cfg(test)]
        super::counted::add(|counts| counts.$what += 1);
    };
}

/// A `static`.
macro_rules! global {
    ($(#[$attribute:meta])* static $name:ident: $kind:ty = $value:expr;) => {
        $(#[$attribute])*
        static $name: $kind = $value;
    };
}
pub(crate) use global;

/// A `static` of each thread.
macro_rules! per_thread {
    ($(#[$attribute:meta])* static $name:ident: $kind:ty = $value:expr;) => {
        ::std::thread_local! {
            #[expect(clippy::disallowed_types, reason = "written in src/sync, expanded elsewhere")]
            $(#[$attribute])*
            static $name: $kind = const { $value };
        }
    };
}
pub(crate) use per_thread;

/// The lock of a shard.
#[cfg(not(test))]
pub(crate) type Mutex<S> = parking_lot::Mutex<S>;
pub(crate) type MutexGuard<'a, S> = parking_lot::MutexGuard<'a, S>;

/// A lock and its condition variable: a monitor.
///
/// It is std's pair and not `parking_lot`'s, whose `notify_all` moves every waiter onto the mutex, to be woken one
/// after another. No user code runs under the lock, so it cannot be poisoned, and poison is ignored.
pub(crate) struct Monitor<S> {
    state: std::sync::Mutex<S>,
    changed: std::sync::Condvar,
}

pub(crate) type MonitorGuard<'a, S> = std::sync::MutexGuard<'a, S>;

impl<S> Monitor<S> {
    pub(crate) fn new(state: S) -> Self {
        Self { state: std::sync::Mutex::new(state), changed: std::sync::Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MonitorGuard<'_, S> {
        count!(monitors);
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until notified or until `deadline`. It may also wake up spuriously.
    pub(crate) fn wait<'a>(&self, guard: MonitorGuard<'a, S>, deadline: Option<Instant>) -> MonitorGuard<'a, S> {
        match deadline {
            None => self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let woken = self.changed.wait_timeout(guard, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    pub(crate) fn notify_one(&self) {
        count!(notifies);
        self.changed.notify_one();
    }

    pub(crate) fn notify_all(&self) {
        count!(notifies);
        self.changed.notify_all();
    }
}

/// Blocks until `receiver` has a message or is disconnected, or `deadline` passes. The message stays in the channel.
pub(crate) fn ready<M>(receiver: &Receiver<M>, deadline: Option<Instant>) {
    let mut select = crossbeam_channel::Select::new();
    select.recv(receiver);
    match deadline {
        None => {
            select.ready();
        }
        Some(deadline) => {
            // The caller checks by itself which it was.
            let _ = select.ready_deadline(deadline);
        }
    }
}

/// Starts a thread that nobody joins.
///
/// # Errors
///
/// The system has no thread to give.
pub(crate) fn spawn(name: String, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().name(name).spawn(work).map(drop)
}

pub(crate) fn now() -> Instant {
    count!(clock);
    Instant::now()
}

pub(crate) fn has_passed(deadline: Instant) -> bool {
    now() >= deadline
}
