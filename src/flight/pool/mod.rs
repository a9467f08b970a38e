//! The threads of detached flights: a bounded workers, fed by a channel.
//!
//! The bound counts threads that are not blocked in waits of ours. One that blocks gives its place to a spare thread, so that flights
//! which wait for flights that wait for a thread are not stuck; when it goes on, a thread that is one too many ends.

pub(super) mod job;
pub(crate) mod ticket;

#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests;

use std::sync::Arc;

use crate::flight::faults::Fault;
use crate::panic::catch_panic;
use crate::sync::{self, Mutex, Receiver, Sender, also_if, only_if};
use crate::wait::blocking::{self, Compensate};

/// The work of a detached flight. Dropped, it ends the flight.
pub(super) trait Job: Send {
    fn run(self: Box<Self>);

    /// There is no thread for it.
    fn refuse(self: Box<Self>);
}

/// The workers of one coalescer. It ends when this is dropped, and is not waited for: the last owner may be one of it.
pub(crate) struct Pool(Arc<Workers>);

pub(super) struct Workers {
    name: Box<str>,
    /// How many threads may be active.
    threads: usize,
    /// How many jobs may wait for a thread.
    queue: usize,
    state: Mutex<State>,
}

/// Jobs are sent under its lock. Whoever has received something counts that after it.
struct State {
    jobs: Jobs,
    /// Jobs sent and not counted as received.
    pending: usize,
    /// Threads that are not blocked in a wait of ours.
    active: usize,
    /// Those of them that wait for a job.
    idle: usize,
    /// Threads that wait for a job, are not active, and will end when they are told to look, unless they are wanted again.
    ending: usize,
    /// For the names of threads.
    started: u64,
}

/// A message without a job tells who receives it to look whether it is to end. There are as many as threads that are to,
/// or more.
type Message = Option<Box<dyn Job>>;

enum Jobs {
    /// Nothing was ever detached, so nothing is there.
    Unused,
    Open(Sender<Message>, Receiver<Message>),
    Closed,
}

/// Why a job was not taken.
pub(super) enum NotTaken {
    Full(Box<dyn Job>),
    Closed(Box<dyn Job>),
}

impl Pool {
    pub(crate) fn new(name: &str, threads: usize, queue: usize) -> Self {
        let state = State { jobs: Jobs::Unused, pending: 0, active: 0, idle: 0, ending: 0, started: 0 };
        // The system's names for threads end at a 0.
        let name = name.replace('\0', "").into_boxed_str();
        Self(Arc::new(Workers { name, threads, queue, state: Mutex::new(state) }))
    }

    /// Takes a job, if there is a thread for it or a place in the queue.
    pub(in crate::flight) fn submit(&self, job: Box<dyn Job>) -> Result<(), NotTaken> {
        self.0.submit(job)
    }

    /// Drops the jobs that nobody has begun, and ends the threads as they get to know.
    pub(crate) fn close(&self) {
        let jobs = std::mem::replace(&mut self.0.state.lock().jobs, Jobs::Closed);
        if let Jobs::Open(sender, receiver) = jobs {
            drop(sender);
            while let Ok(job) = receiver.try_recv() {
                catch_panic(|| drop(job));
            }
        }
    }

    /// All its threads wait for a job, of which there is none, and it has no thread that is not counted.
    #[cfg(sync_coalesce_shuttle)]
    pub(in crate::flight) fn is_at_rest(&self) -> bool {
        // Each thread has its workers twice, and once more while it blocks.
        let threads = (Arc::strong_count(&self.0) - 1) / 2;
        self.counts() == (threads, threads, 0)
    }

    /// How many threads are active, how many of them idle, and how many jobs are not counted as received.
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

impl State {
    /// Keeps a thread that is to end, if there is one.
    fn keep_one(&mut self) -> bool {
        if self.ending == 0 {
            return false;
        }
        self.ending -= 1;
        self.active += 1;
        self.idle += 1;
        true
    }

    /// Ends one of those that are to, if there is one.
    fn end_one(&mut self) -> bool {
        if self.ending == 0 {
            return false;
        }
        self.ending -= 1;
        true
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

    /// Has one thread more if there are more jobs than idle ones, and room for it. Under the lock, so that nobody meets
    /// a thread in the counts that there is not. Returns the jobs that nobody will come to, to be refused under no lock.
    fn start_if_wanted(self: &Arc<Self>, state: &mut State) -> Vec<Box<dyn Job>> {
        if state.pending <= state.idle || state.active >= self.threads || state.keep_one() {
            return Vec::new();
        }
        let Jobs::Open(_, receiver) = &state.jobs else { return Vec::new() };
        let (workers, jobs) = (Arc::clone(self), receiver.clone());
        let work = move || {
            blocking::set_pool(Some(Arc::clone(&workers) as Arc<dyn Compensate>));
            workers.work(&jobs);
            // It is off the counts: what its thread-locals wait for as they are dropped is no business of the workers's.
            blocking::set_pool(None);
        };
        let mut abandoned = Vec::new();
        if sync::spawn(format!("{}-{}", self.name, state.started + 1), work).is_ok() {
            state.active += 1;
            state.idle += 1;
            state.started += 1;
        } else if state.active == 0 {
            // The system has no thread to give, and there is none that receives.
            while let Ok(message) = receiver.try_recv() {
                abandoned.extend(message);
            }
            state.pending = 0;
        }
        abandoned
    }

    /// What a thread of the workers does.
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
    /// This thread blocks.
    fn block_begin(self: Arc<Self>) {
        loop {
            let mut state = self.state.lock();
            state.active -= 1;
            let abandoned = self.start_if_wanted(&mut state);
            if abandoned.is_empty() {
                return;
            }
            // A closure that is refused is dropped, which is user code and may block in its turn: not twice off the count.
            state.active += 1;
            drop(state);
            refuse(abandoned);
        }
    }

    /// It goes on. If that makes one too many, and one has nothing to do, that one ends.
    fn block_end(&self) {
        let mut state = self.state.lock();
        state.active += 1;
        // One that is about to receive a job is idle too, and stays.
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
