//! [`Tickets`]: the tickets of one flight, which wait by channels of their own.

use std::collections::BTreeMap;

use crate::outcome::Shared;
use crate::sync::Sender;

/// The tickets of one flight, by number. Emptied when there is a result.
pub(super) struct Tickets<T, E> {
    senders: BTreeMap<u64, Sender<Shared<T, E>>>,
    last: u64,
    released: u64,
}

impl<T, E> Tickets<T, E> {
    pub(super) fn new() -> Self {
        Self { senders: BTreeMap::new(), last: 0, released: 0 }
    }

    pub(super) fn add(&mut self, sender: Sender<Shared<T, E>>) -> u64 {
        self.last += 1;
        self.senders.insert(self.last, sender);
        self.last
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Sender<Shared<T, E>>> {
        self.senders.remove(&number)
    }

    pub(super) fn len(&self) -> usize {
        self.senders.len()
    }

    /// Takes all tickets out when the flight ends. This many followers are released with them.
    pub(super) fn take_all(&mut self, followers: u64) -> Self {
        self.released = followers;
        Self { senders: std::mem::take(&mut self.senders), last: self.last, released: followers }
    }

    /// How many followers were released when the tickets were taken out.
    pub(super) fn released(&self) -> u64 {
        self.released
    }

    pub(super) fn send(self, result: impl Fn() -> Option<Shared<T, E>>) {
        for sender in self.senders.into_values() {
            if let Some(result) = result() {
                // A ticket that is being dropped receives nothing any more.
                let _ = sender.send(result);
            }
        }
    }
}
