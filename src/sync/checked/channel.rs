//! A channel with as much of crossbeam's interface as the crate uses, made of the model checker's locks.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Monitor, has_passed};
use crate::sync::Instant;

/// A channel with as much of crossbeam's interface as the crate uses.
struct Channel<M> {
    queue: Monitor<Queue<M>>,
}

struct Queue<M> {
    messages: VecDeque<M>,
    senders: usize,
}

pub(crate) struct Sender<M>(Arc<Channel<M>>);

pub(crate) struct Receiver<M>(Arc<Channel<M>>);

pub(crate) fn unbounded<M>() -> (Sender<M>, Receiver<M>) {
    let queue = Queue { messages: VecDeque::new(), senders: 1 };
    let channel = Arc::new(Channel { queue: Monitor::new(queue) });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

/// No sender here ever has to wait for a place.
pub(crate) fn bounded<M>(_: usize) -> (Sender<M>, Receiver<M>) {
    unbounded()
}

impl<M> Sender<M> {
    #[expect(clippy::unnecessary_wraps, reason = "as crossbeam has it")]
    pub(crate) fn send(&self, message: M) -> Result<(), M> {
        self.0.queue.lock().messages.push_back(message);
        self.0.queue.notify_one();
        Ok(())
    }
}

impl<M> Drop for Sender<M> {
    fn drop(&mut self) {
        self.0.queue.lock().senders -= 1;
        self.0.queue.notify_all();
    }
}

impl<M> Clone for Receiver<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> Receiver<M> {
    /// The next message; an error once all senders are gone.
    pub(crate) fn recv(&self) -> Result<M, ()> {
        let mut queue = self.0.queue.lock();
        loop {
            if let Some(message) = queue.messages.pop_front() {
                return Ok(message);
            }
            if queue.senders == 0 {
                return Err(());
            }
            queue = self.0.queue.wait(queue, None);
        }
    }

    pub(crate) fn try_recv(&self) -> Result<M, ()> {
        self.0.queue.lock().messages.pop_front().ok_or(())
    }
}

pub(crate) fn ready<M>(receiver: &Receiver<M>, deadline: Option<Instant>) {
    let mut queue = receiver.0.queue.lock();
    while queue.messages.is_empty() && queue.senders > 0 && !deadline.is_some_and(has_passed) {
        queue = receiver.0.queue.wait(queue, deadline);
    }
}
