//! The threads of detached flights: a bounded crew, fed by a channel.
//!
//! The bound counts threads that are not blocked in waits of ours. One that blocks lends its place, so that flights
//! which wait for flights that wait for a thread are not stuck; when it goes on, a thread that is one too many ends.

#[cfg(all(test, not(sync_coalesce_shuttle)))]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;

use super::quiet::quietly;
use crate::sync::{self, Fault, Mutex, Receiver, Sender, planted};

/// The work of a detached flight. Dropped, it ends the flight.
pub(super) trait Job: Send {
    fn run(self: Box<Self>);

    /// There is no thread for it.
    fn refuse(self: Box<Self>);
}

/// The crew of one coalescer. It ends when this is dropped, and is not waited for: the last owner may be one of it.
pub(crate) struct Pool(Arc<Crew>);

pub(super) struct Crew {
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
    /// For the names of threads.
    started: u64,
}

/// A message without a job ends the thread that receives it.
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

sync::per_thread! {
    /// The crew that this thread is one of.
    static CREW: RefCell<Option<Arc<Crew>>> = RefCell::new(None);
}

/// Runs `wait`, which blocks and runs no user code. If this thread is one of a crew, another one takes its place.
pub(crate) fn lending<R>(wait: impl FnOnce() -> R) -> R {
    // In the destructors of a thread's own values there may be none any more.
    let crew = CREW.try_with(|crew| crew.borrow().clone()).ok().flatten();
    let Some(crew) = crew.filter(|_| !planted(Fault::BlockedKeepsPlace)) else { return wait() };
    crew.lend();
    let waited = wait();
    crew.take_back();
    waited
}

impl Pool {
    pub(crate) fn new(name: &str, threads: usize, queue: usize) -> Self {
        let state = State { jobs: Jobs::Unused, pending: 0, active: 0, idle: 0, started: 0 };
        // The system's names for threads end at a 0.
        let name = name.replace('\0', "").into_boxed_str();
        Self(Arc::new(Crew { name, threads, queue, state: Mutex::new(state) }))
    }

    /// Takes a job, if there is a thread for it or a place in the queue.
    pub(super) fn submit(&self, job: Box<dyn Job>) -> Result<(), NotTaken> {
        self.0.submit(job)
    }

    /// Drops the jobs that nobody has begun, and ends the threads as they get to know.
    pub(crate) fn close(&self) {
        let jobs = std::mem::replace(&mut self.0.state.lock().jobs, Jobs::Closed);
        if let Jobs::Open(sender, receiver) = jobs {
            drop(sender);
            while let Ok(job) = receiver.try_recv() {
                quietly(|| drop(job));
            }
        }
    }

    /// How many threads are active, how many of them idle, and how many jobs are not counted as received.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, usize) {
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
    /// Whether a thread is to be started, which is counted by then.
    fn wants_thread(&mut self, threads: usize) -> bool {
        let wants = self.pending > self.idle && self.active < threads;
        if wants {
            self.active += 1;
            self.idle += 1;
            self.started += 1;
        }
        wants
    }
}

impl Crew {
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
        let starts = state.wants_thread(self.threads);
        drop(state);
        if starts {
            self.start();
        }
        Ok(())
    }

    /// Starts a thread, which is counted by now.
    fn start(self: &Arc<Self>) {
        let name = format!("{}-{}", self.name, self.state.lock().started);
        let crew = Arc::clone(self);
        let work = move || {
            CREW.with(|own| own.replace(Some(Arc::clone(&crew))));
            crew.work();
            // It is off the counts: what its thread-locals wait for as they are dropped is no business of the crew's.
            CREW.with(RefCell::take);
        };
        if planted(Fault::NoThread) || sync::spawn(name, work).is_err() {
            self.do_without();
        }
    }

    /// The system has no thread to give. If none is left that will come to them, the jobs that wait are refused.
    fn do_without(&self) {
        let mut refused = Vec::new();
        let mut state = self.state.lock();
        state.active -= 1;
        state.idle -= 1;
        if state.active == 0 {
            let mut ends = 0;
            if let Jobs::Open(sender, receiver) = &state.jobs {
                while let Ok(message) = receiver.try_recv() {
                    match message {
                        Some(job) => refused.push(job),
                        None => ends += 1,
                    }
                }
                // Each is for a thread that is off the counts already, and has not come to it yet.
                for _ in 0..ends {
                    let _ = sender.send(None);
                }
            }
            state.pending -= refused.len();
        }
        drop(state);
        for job in refused {
            job.refuse();
        }
    }

    /// What a thread of the crew does.
    fn work(&self) {
        let jobs = match &self.state.lock().jobs {
            Jobs::Open(_, jobs) => jobs.clone(),
            Jobs::Unused | Jobs::Closed => return,
        };
        while let Ok(Some(job)) = jobs.recv() {
            let mut state = self.state.lock();
            state.pending -= 1;
            state.idle -= 1;
            drop(state);
            job.run();
            let mut state = self.state.lock();
            if state.active > self.threads && !planted(Fault::SpareStays) {
                state.active -= 1;
                return;
            }
            state.idle += 1;
        }
    }

    /// This thread blocks.
    fn lend(self: &Arc<Self>) {
        let mut state = self.state.lock();
        state.active -= 1;
        let starts = state.wants_thread(self.threads);
        drop(state);
        if starts {
            self.start();
        }
    }

    /// It goes on. If that makes one too many, and one has nothing to do, that one ends.
    fn take_back(&self) {
        let mut state = self.state.lock();
        state.active += 1;
        // One that is about to receive a job is idle too, and stays.
        if state.active > self.threads && state.idle > state.pending {
            state.active -= 1;
            state.idle -= 1;
            if let Jobs::Open(sender, _) = &state.jobs {
                let _ = sender.send(None);
            }
        }
    }
}
