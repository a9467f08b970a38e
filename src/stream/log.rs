//! One stream, as its readers share it: where they look for the next chunk, and the only place where they wait.

use std::sync::Arc;

use super::error::StreamError;
use super::settings::Settings;
use super::state::{Chunk, End, Source, State, cut_off};
use crate::stream::faults::Fault;
use crate::sync::{Instant, Monitor, MonitorGuard, has_passed, is_planted, only_if};
use crate::wait::blocking::blocking;
use crate::wait::thread::this_thread;

/// Shared by the readers of one stream, in the table or not.
pub(super) struct Log<C, E> {
    /// Its identity, which no other stream of the coalescer ever has.
    pub(super) id: u64,
    /// That of its key.
    pub(super) hash: u64,
    state: Monitor<State<C, E>>,
}

/// What a reader finds that may pull.
pub(super) enum Found<C, E> {
    Ready(Chunk<C, E>),
    /// The next chunk is this reader's to pull.
    Source(Source<C, E>),
}

/// What a reader finds whose wait has a limit. It could not stop a pull in its own thread, so it makes none.
pub(super) enum FoundInTime<C, E> {
    Ready(Chunk<C, E>),
    /// The reader has to start a thread for this step, and look again.
    NeedsHelper {
        step: u64,
    },
    NotYet,
}

/// What came of a chunk that was pulled.
pub(super) enum Appended<C, E> {
    /// These are to be dropped under no lock.
    Kept { shed: Vec<Arc<C>> },
    /// The stream was cut off during the pull.
    CutOff { source: Source<C, E>, end: End<E> },
}

impl<C, E> Log<C, E> {
    /// The log of a stream that `thread` opens, and reads.
    pub(super) fn new(id: u64, hash: u64, thread: u64) -> Self {
        Self { id, hash, state: Monitor::new(State::new(thread)) }
    }

    pub(super) fn lock(&self) -> MonitorGuard<'_, State<C, E>> {
        self.state.lock()
    }

    /// Notifies all sleepers, once no lock is held: the end of a step is news for each of them.
    pub(super) fn wake(&self) {
        self.state.notify_all();
    }

    /// Blocks until the source has been opened; or says why it was not. An opening that is over beats a deadline that
    /// has passed.
    pub(super) fn wait_for_opening(&self, deadline: Option<Instant>) -> End<E> {
        let mut state = self.lock();
        if state.is_opening() {
            state = self.sleep(state, deadline);
        }
        if state.is_opening() { Err(StreamError::TimedOut) } else { state.opening() }
    }

    /// What there is for a reader that has had `position` chunks. Blocks while another thread pulls.
    pub(super) fn read(&self, position: u64, deadline: Option<Instant>, label: impl Fn() -> Arc<str>) -> Found<C, E> {
        let pull = |state: &mut State<C, E>| state.take_source(this_thread().number).map(Found::Source);
        self.wait(position, deadline, None, label, pull).unwrap_or_else(Found::Ready)
    }

    /// The same for one wait with a limit, after which the reader stays.
    pub(super) fn read_in_time(
        &self,
        position: u64,
        deadline: Option<Instant>,
        limit: Instant,
        label: impl Fn() -> Arc<str>,
    ) -> FoundInTime<C, E> {
        let give_up = |state: &mut State<C, E>| {
            // First, so that a reader whose limits have always passed gets its chunks too.
            if state.wants_helper() {
                return Some(FoundInTime::NeedsHelper { step: state.step() });
            }
            has_passed(limit).then_some(FoundInTime::NotYet)
        };
        self.wait(position, deadline, Some(limit), label, give_up).unwrap_or_else(FoundInTime::Ready)
    }

    /// Blocks until a chunk or the end is ready for a reader, which is the `Err`, or until `instead` has something else
    /// for it.
    ///
    /// A chunk that is there beats the end, and both beat a deadline or limit that has passed. Nobody past its deadline
    /// pulls.
    #[inline]
    fn wait<F>(
        &self,
        position: u64,
        deadline: Option<Instant>,
        limit: Option<Instant>,
        label: impl Fn() -> Arc<str>,
        instead: impl Fn(&mut State<C, E>) -> Option<F>,
    ) -> Result<F, Chunk<C, E>> {
        let mut state = self.lock();
        loop {
            if let Some(ready) = state.ready(position) {
                return Err(ready);
            }
            if deadline.is_some_and(has_passed) {
                return Err(cut_off(StreamError::TimedOut));
            }
            if let Some(found) = instead(&mut state) {
                return Ok(found);
            }
            let edge = state.enter_graph(&label).map_err(|chain| cut_off(StreamError::Deadlock { chain }))?;
            if is_planted(Fault::ReaderSleepsBlindly) {
                drop(state);
                state = self.lock();
            }
            state = self.sleep(state, deadline.into_iter().chain(limit).min());
            drop(edge);
            if is_planted(Fault::LateReaderLooksNoMore) && deadline.is_some_and(has_passed) {
                return Err(cut_off(StreamError::TimedOut));
            }
        }
    }

    /// Sleeps until the current step is over or the deadline passes. The caller has to look which of them it was, under
    /// the lock that it gets back: both may have happened by then.
    fn sleep<'a>(
        &'a self,
        mut state: MonitorGuard<'a, State<C, E>>,
        deadline: Option<Instant>,
    ) -> MonitorGuard<'a, State<C, E>> {
        let step = state.step();
        state.asleep += 1;
        // Not under the lock: a thread of a pool may have to start another one that takes its place.
        drop(state);
        blocking(|| self.sleep_through(step, deadline));
        let mut state = self.lock();
        state.asleep -= 1;
        state
    }

    fn sleep_through(&self, step: u64, deadline: Option<Instant>) {
        let mut state = self.lock();
        while state.step() == step && !deadline.is_some_and(has_passed) {
            state = self.state.wait(state, deadline);
        }
    }

    /// The source, for this thread to pull from, if this step has not begun.
    pub(super) fn take_source_for(&self, step: u64) -> Option<Source<C, E>> {
        let mut state = self.lock();
        if only_if!(HelperReadsAhead, state.step() != step) {
            return None;
        }
        state.take_source(this_thread().number)
    }

    /// Puts in the source that was opened; it comes back if the stream was cut off meanwhile.
    pub(super) fn put_source(&self, source: Source<C, E>) -> Result<(), (Source<C, E>, End<E>)> {
        let mut state = self.lock();
        if let Some(end) = state.end() {
            return Err((source, end.clone()));
        }
        state.open(source);
        let asleep = state.asleep > 0;
        drop(state);
        if asleep {
            self.wake();
        }
        Ok(())
    }

    /// Appends what was pulled, and puts back the source. `unlink` keeps new callers from joining; it runs before the
    /// first chunk is dropped, and under no lock of the log.
    pub(super) fn append(
        &self,
        source: Source<C, E>,
        chunk: Arc<C>,
        weight: u64,
        settings: &Settings<C>,
        unlink: impl Fn(),
    ) -> Appended<C, E> {
        let mut state = self.lock();
        if only_if!(RetiresLate, state.is_first_over(weight, settings)) {
            // A caller that joins between these two locks joins a log that is still whole, and may lag as others may.
            drop(state);
            unlink();
            state = self.lock();
        }
        if let Some(end) = state.end().filter(|_| !is_planted(Fault::PullerMissesCancel)) {
            return Appended::CutOff { source, end: end.clone() };
        }
        let shed = state.append(source, chunk, weight, settings);
        let asleep = state.asleep > 0;
        drop(state);
        if only_if!(ChunkWakesNobody, asleep) {
            self.wake();
        }
        if is_planted(Fault::RetiresLate) && !shed.is_empty() {
            unlink();
        }
        Appended::Kept { shed }
    }
}
