//! [`Interrupt`]: what ends a leader's waits in the layers before their time.

use std::sync::Arc;

use crate::flight::watch::{Signal, Watcher};
#[cfg(any(feature = "pace", feature = "retry"))]
use crate::stack::clock::Waiter;
use crate::sync::{AtomicU64, Instant, Ordering, has_passed};

/// What ends one leader's waits in the layers before their time, and keeps another attempt from beginning: its caller's
/// deadline, and the end of its flight from outside.
pub(super) struct Interrupt {
    /// By the system's clock, whatever clocks the layers follow.
    deadline: Option<Instant>,
    /// One of the three below.
    signal: AtomicU64,
    /// What the leader sleeps on in a layer. A notification ends the sleep, and the leader checks.
    #[cfg(any(feature = "pace", feature = "retry"))]
    waiter: Arc<Waiter>,
}

const NONE: u64 = 0;
const CANCELLED: u64 = 1;
const CLOSED: u64 = 2;

/// Why no attempt may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupted {
    TimedOut,
    Cancelled,
    Closed,
}

impl Interrupt {
    pub(super) fn new(deadline: Option<Instant>) -> Arc<Self> {
        Arc::new(Self {
            deadline,
            signal: AtomicU64::new(NONE),
            #[cfg(any(feature = "pace", feature = "retry"))]
            waiter: Waiter::new(),
        })
    }

    /// Whether an attempt may begin now.
    pub(super) fn check(&self) -> Result<(), Interrupted> {
        match self.signal.load(Ordering::Acquire) {
            CANCELLED => Err(Interrupted::Cancelled),
            CLOSED => Err(Interrupted::Closed),
            _ if self.deadline.is_some_and(has_passed) => Err(Interrupted::TimedOut),
            _ => Ok(()),
        }
    }

    #[cfg(any(feature = "pace", feature = "retry"))]
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    #[cfg(any(feature = "pace", feature = "retry"))]
    pub(super) fn waiter(&self) -> &Arc<Waiter> {
        &self.waiter
    }
}

impl Watcher for Interrupt {
    /// A flight that was merely forgotten goes on for those who are in it.
    fn notify(&self, signal: Signal) {
        let signal = match signal {
            Signal::Unlinked => return,
            Signal::Cancelled => CANCELLED,
            Signal::Closed => CLOSED,
        };
        // Before the notification, which the leader may have taken for another: it checks after each of them.
        self.signal.store(signal, Ordering::Release);
        #[cfg(any(feature = "pace", feature = "retry"))]
        self.waiter.notify();
    }
}
