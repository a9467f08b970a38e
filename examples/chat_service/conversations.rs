//! Conversations: each message gets one answer, and both are written once.
//!
//! Two flights, one in the other. The outer one is for a message in its conversation, and writes; the inner one, in
//! [`Upstream`], is for what the provider is asked, and pays. Fifty clients with one message are one outer flight; one
//! message in twenty empty conversations is twenty outer flights with one inner flight.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use sync_coalesce::chat::{Trailing, alternate};
use sync_coalesce::{CallError, Key, Outcome, SyncCoalesce};

use crate::failure::Failure;
use crate::store::{Message, Pair, Said, Store};
use crate::upstream::Upstream;

/// All conversations, and the one way to add to them.
pub(crate) struct Conversations {
    pub(crate) store: Store,
    pub(crate) upstream: Upstream,
    pub(crate) coalesce: SyncCoalesce<Key, Pair, Failure>,
    pub(crate) floor: Floor,
    /// How long a message waits for those before it in its conversation.
    pub(crate) patience: Duration,
    /// How long after its answer a message without an id is taken for the same when it comes again.
    pub(crate) repeat_window: Duration,
}

impl Conversations {
    /// What the user said and the answer, as they were written. All who say the same in one conversation at one time
    /// get one pair.
    ///
    /// # Blocking
    ///
    /// Until the pair is written. Each of the leader's waits has an end, so its followers need none of their own.
    pub(crate) fn say(&self, said: Said<'_>) -> Outcome<Pair, Failure> {
        // A text and two short names can always be keyed.
        let key = Key::of(&said).expect("text has a key");
        self.coalesce.on(&key).try_call(|_| self.answer(said))
    }

    /// The leader's part. Nobody adds to the conversation between the look at it and the pair, so the answer is one to
    /// what stands before it.
    fn answer(&self, said: Said<'_>) -> Result<Pair, Failure> {
        let _turn = self.floor.take(said.thread, self.patience).ok_or(Failure::Busy)?;
        if let Some(pair) = self.store.find(said, self.repeat_window)? {
            return Ok(pair);
        }
        let before = self.store.messages(said.thread)?;
        let spoken = before.iter().map(|message| (&*message.role, &*message.content)).chain([("user", said.content)]);
        let spoken = spoken.map(|(role, content)| json!({ "role": role, "content": content }));
        let reply = self.upstream.ask(&alternate(spoken, Trailing::Keep)?)?;
        self.store.append(said, before.len(), &reply.text)
    }

    /// The messages of a conversation in order; none if there is no such conversation.
    pub(crate) fn messages(&self, thread: &str) -> Result<Vec<Message>, Failure> {
        self.store.messages(thread)
    }
}

/// Who may speak in which conversation: one at a time.
#[derive(Default)]
pub(crate) struct Floor {
    taken: Mutex<HashSet<String>>,
    given: Condvar,
}

/// The right to speak in a conversation, until it is dropped.
pub(crate) struct Turn<'a> {
    floor: &'a Floor,
    thread: &'a str,
}

impl Floor {
    /// # Blocking
    ///
    /// While somebody else has it; `None` after `patience`.
    fn take<'a>(&'a self, thread: &'a str, patience: Duration) -> Option<Turn<'a>> {
        let taken = self.given.wait_timeout_while(self.lock(), patience, |taken| taken.contains(thread));
        let (mut taken, _) = taken.unwrap_or_else(PoisonError::into_inner);
        // Not `then_some`, which would make a turn in either case, and drop it.
        taken.insert(thread.to_owned()).then(|| Turn { floor: self, thread })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.floor.lock().remove(self.thread);
        // Those who wait for other conversations look and wait on.
        self.floor.given.notify_all();
    }
}

/// The failure in an error of [`Conversations::say`], and how an error without one is to be told.
pub(crate) fn told(error: &CallError<Failure>) -> (u16, String) {
    match error {
        CallError::Failed(failure) => (failure.status(), failure.to_string()),
        CallError::LeaderPanicked { .. } => (500, error.to_string()),
        _ => (503, error.to_string()),
    }
}
