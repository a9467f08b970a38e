//! [`CallOptions`]: the options of one call, as the protocol sees them.

use std::time::Duration;

use crate::outcome::Mark;
use crate::sync::Instant;
use crate::wait::limits::{Patience, WaitLimits, WaitUntil};

/// The options of one call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CallOptions<'a> {
    pub(crate) until: Option<WaitUntil>,
    pub(crate) patience: Option<Duration>,
    pub(crate) after: Option<Mark>,
    pub(crate) bypass: bool,
    /// No result that lingers will do.
    pub(crate) refresh: bool,
    /// Its flight's name in the chain of a deadlock.
    pub(crate) label: Option<&'a str>,
}

impl CallOptions<'_> {
    /// The mark before which no flight of a result that lingers may have begun.
    pub(crate) fn linger_after(&self) -> Option<Mark> {
        if self.refresh { Some(Mark(u64::MAX)) } else { self.after }
    }

    /// The limits of a follower that begins to wait now: its own options, or these defaults.
    pub(crate) fn limits(&self, now: Instant, timeout: Option<Duration>, patience: Option<Duration>) -> WaitLimits {
        let until = self.until.or(timeout.map(WaitUntil::Timeout));
        let deadline = until.and_then(|until| until.deadline(now));
        let patience = self.patience.or(patience).and_then(|patience| Patience::of(patience, now));
        WaitLimits { deadline, patience }
    }
}
