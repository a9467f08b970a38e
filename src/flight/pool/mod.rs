//! [`Pool`]: the threads of detached flights, bounded in number and fed by a channel.
//!
//! The limit counts threads that are not blocked in one of our waits. A thread that blocks gives its place to another
//! one, so that flights that wait for queued flights cannot get stuck. When it goes on and the pool is over its limit,
//! a thread ends.

mod detach;
mod job;
mod state;
pub(crate) mod ticket;

#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests;

use std::sync::Arc;

use self::state::{Job, Jobs, Message, NotTaken, State};
use crate::flight::faults::Fault;
use crate::panic::catch_panic;
use crate::sync::{self, Mutex, Receiver, also_if, only_if};
use crate::wait::blocking::{self, Compensate};

/// The workers of one coalescer. They end when this is dropped. Nobody waits for them: the last owner may be one of
/// them.
pub(crate) struct Pool(Arc<Workers>);

pub(super) struct Workers {
    name: Box<str>,
    /// The limit on active threads.
    threads: usize,
    /// The limit on jobs that wait for a thread.
    queue: usize,
    state: Mutex<State>,
}

impl Pool {
    pub(crate) fn new(name: &str, threads: usize, queue: usize) -> Self {
        let state = State { jobs: Jobs::Unused, pending: 0, active: 0, idle: 0, ending: 0, started: 0 };
        // The system ends a thread's name at a 0.
        let name = name.replace('\0', "").into_boxed_str();
        Self(Arc::new(Workers { name, threads, queue, state: Mutex::new(state) }))
    }

    /// Takes a job, if there is a thread for it or a place in the queue.
    fn submit(&self, job: Box<dyn Job>) -> Result<(), NotTaken> {
        self.0.submit(job)
    }

    /// Drops the jobs that have not begun. Each thread ends when it next receives.
    pub(crate) fn close(&self) {
        let jobs = std::mem::replace(&mut self.0.state.lock().jobs, Jobs::Closed);
        if let Jobs::Open(sender, receiver) = jobs {
            drop(sender);
            while let Ok(job) = receiver.try_recv() {
                catch_panic(|| drop(job));
            }
        }
    }

    /// Whether all its threads wait for a job, there is none, and no thread is uncounted.
    #[cfg(sync_coalesce_shuttle)]
    pub(in crate::flight) fn is_at_rest(&self) -> bool {
        // Each thread holds two references, and one more while it blocks.
        let threads = (Arc::strong_count(&self.0) - 1) / 2;
        self.counts() == (threads, threads, 0)
    }

    /// The active threads, the idle ones among them, and the pending jobs.
    #[cfg(test)]
    pub(in crate::flight) fn counts(&self) -> (usize, usize, usize) {
        let state = self.0.state.lock();
        (state.active, state.idle, state.pending)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
    }
}

impl Workers {
    fn submit(self: &Arc<Self>, job: Box<dyn Job>) -> Result<(), NotTaken> {
        let mut state = self.state.lock();
        if matches!(state.jobs, Jobs::Unused) {
            let (sender, receiver) = sync::unbounded();
            state.jobs = Jobs::Open(sender, receiver);
        }
        let soon = state.idle + self.threads.saturating_sub(state.active);
        let Jobs::Open(sender, _) = &state.jobs else { return Err(NotTaken::Closed(job)) };
        if state.pending >= soon.saturating_add(self.queue) {
            return Err(NotTaken::Full(job));
        }
        // There is a receiver: it is beside the sender.
        let _ = sender.send(Some(job));
        state.pending += 1;
        let abandoned = self.start_if_wanted(&mut state);
        drop(state);
        refuse(abandoned);
        Ok(())
    }

    /// Starts a thread if there are more pending jobs than idle threads and the pool is below its limit. Holds the
    /// lock, so the counters never include a thread that failed to start. Returns the jobs that no thread will come to,
    /// to be refused under no lock.
    fn start_if_wanted(self: &Arc<Self>, state: &mut State) -> Vec<Box<dyn Job>> {
        if state.pending <= state.idle || state.active >= self.threads || state.keep_one() {
            return Vec::new();
        }
        let Jobs::Open(_, receiver) = &state.jobs else { return Vec::new() };
        let (workers, jobs) = (Arc::clone(self), receiver.clone());
        let work = move || {
            blocking::set_pool(Some(Arc::clone(&workers) as Arc<dyn Compensate>));
            workers.work(&jobs);
            // It is off the counts by now, so waits in the Drop of its thread-locals must not count.
            blocking::set_pool(None);
        };
        let mut abandoned = Vec::new();
        if sync::spawn(format!("{}-{}", self.name, state.started + 1), work).is_ok() {
            state.active += 1;
            state.idle += 1;
            state.started += 1;
        } else if state.active == 0 {
            // The system has no thread to give, and no thread is left that receives.
            while let Ok(message) = receiver.try_recv() {
                abandoned.extend(message);
            }
            state.pending = 0;
        }
        abandoned
    }

    /// The loop of one thread.
    fn work(&self, jobs: &Receiver<Message>) {
        while let Ok(message) = jobs.recv() {
            let mut state = self.state.lock();
            let Some(job) = message else {
                if also_if!(EndsUnasked, state.end_one()) {
                    return;
                }
                continue;
            };
            state.pending -= 1;
            state.idle -= 1;
            drop(state);
            job.run();
            let mut state = self.state.lock();
            if only_if!(SpareStays, state.active > self.threads) {
                state.active -= 1;
                return;
            }
            state.idle += 1;
        }
    }
}

impl Compensate for Workers {
    /// Gives this thread's place to another one.
    fn block_begin(self: Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            state.active -= 1;
            let abandoned = self.start_if_wanted(&mut state);
            if abandoned.is_empty() {
                return;
            }
            // Refusing drops closures, which is user code and may block in turn. This thread must not be counted off
            // twice.
            state.active += 1;
            drop(state);
            refuse(abandoned);
        }
    }

    /// Counts this thread as active again. If the pool is then over its limit and a thread is idle, that thread ends.
    fn block_end(&self) {
        let mut state = self.state.lock();
        state.active += 1;
        // A thread that is about to receive a job counts as idle too, and stays.
        if state.active > self.threads && state.idle > state.pending {
            state.active -= 1;
            state.idle -= 1;
            state.ending += 1;
            if let Jobs::Open(sender, _) = &state.jobs {
                let _ = sender.send(None);
            }
        }
    }
}

fn refuse(abandoned: Vec<Box<dyn Job>>) {
    for job in abandoned {
        job.refuse();
    }
}
