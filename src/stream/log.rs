//! One stream's meeting point: the chunks pulled so far, the source while nobody pulls, and how it ended.

use std::collections::VecDeque;
use std::sync::Arc;

use super::StreamError;
use super::settings::Settings;
use crate::stream::faults::Fault;
use crate::sync::{self, Instant, Monitor, MonitorGuard, has_passed, is_planted};
use crate::wait::blocking::blocking;
use crate::wait::graph::{LeaderCell, WaitEdge, leads_something};

pub(super) type Source<C, E> = Box<dyn Iterator<Item = Result<C, E>> + Send>;

/// How a stream ended: by itself, or cut off.
pub(super) type End<E> = Result<(), StreamError<E>>;

/// Shared by the readers of one stream, in the table or not.
pub(super) struct Log<C, E> {
    /// Its identity, which no other stream of the coalescer ever has.
    pub(super) id: u64,
    /// That of its key.
    pub(super) hash: u64,
    state: Monitor<State<C, E>>,
}

pub(super) struct State<C, E> {
    /// Who may still ask for a chunk. Changed only under the table's lock too.
    pub(super) readers: u64,
    /// Readers that sleep until the step under way is over.
    pub(super) asleep: u64,
    upstream: Upstream<C, E>,
    opened: bool,
    /// Opening the source is the first step, and each pull is another. A wait is for one step, and its end is news for
    /// everybody who waits: a chunk, or the end.
    steps: u64,
    chunks: VecDeque<(Arc<C>, u64)>,
    /// Of all of them together.
    weight: u64,
    /// Chunks that the log held once.
    pub(super) shed: u64,
    /// Set once, under the table's lock too, as the stream leaves the table.
    pub(super) end: Option<End<E>>,
}

enum Upstream<C, E> {
    /// A thread opens it or pulls from it. Its cell in the graph of waits is made by the first reader that needs it,
    /// and is good for this step only: who has been given a chunk waits for nobody, though it may not have woken yet.
    Busy {
        thread: u64,
        leader: Option<LeaderCell>,
    },
    /// Whoever needs the next chunk first takes it.
    Idle(Source<C, E>),
    Gone,
}

/// What a reader finds.
pub(super) enum Found<C, E> {
    Chunk(Arc<C>),
    /// The next chunk is this reader's to pull.
    Source(Source<C, E>),
    /// There is nothing more for it.
    Over(End<E>),
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
        let state = State {
            readers: 1,
            asleep: 0,
            upstream: Upstream::Busy { thread, leader: None },
            opened: false,
            steps: 0,
            chunks: VecDeque::new(),
            weight: 0,
            shed: 0,
            end: None,
        };
        Self { id, hash, state: Monitor::new(state) }
    }

    pub(super) fn lock(&self) -> MonitorGuard<'_, State<C, E>> {
        self.state.lock()
    }

    /// Wakes all who sleep, once no lock is held: the end of a step is news for each of them.
    pub(super) fn wake(&self) {
        self.state.notify_all();
    }

    /// Blocks until the source has been opened; or says why it was not.
    pub(super) fn wait_for_opening(&self, deadline: Option<Instant>) -> End<E> {
        let mut state = self.lock();
        if state.is_opening() {
            state = self.sleep(state, deadline).ok_or(StreamError::TimedOut)?;
        }
        // A stream that was opened may have ended by now, and its chunks are there to be read.
        if state.opened { Ok(()) } else { state.end.clone().unwrap_or(Ok(())) }
    }

    /// What there is for a reader that has had `position` chunks. Blocks while another one pulls.
    ///
    /// A chunk that is there beats the end, and both beat a deadline that has passed. Nobody past its deadline pulls.
    pub(super) fn read(&self, position: u64, deadline: Option<Instant>, label: impl Fn() -> Arc<str>) -> Found<C, E> {
        let mut state = self.lock();
        loop {
            let Some(ahead) = position.checked_sub(state.shed) else {
                return Found::Over(Err(StreamError::Lagged { missed: state.shed - position }));
            };
            if let Some((chunk, _)) = usize::try_from(ahead).ok().and_then(|ahead| state.chunks.get(ahead)) {
                return Found::Chunk(Arc::clone(chunk));
            }
            if let Some(end) = &state.end {
                return Found::Over(end.clone());
            }
            if deadline.is_some_and(has_passed) {
                return Found::Over(Err(StreamError::TimedOut));
            }
            if let Some(source) = state.take_source(sync::this_thread().number) {
                return Found::Source(source);
            }
            let waiting = match state.enter_graph(&label) {
                Ok(waiting) => waiting,
                Err(chain) => return Found::Over(Err(StreamError::Deadlock { chain })),
            };
            if is_planted(Fault::ReaderSleepsBlindly) {
                drop(state);
                state = self.lock();
            }
            let Some(woken) = self.sleep(state, deadline) else {
                return Found::Over(Err(StreamError::TimedOut));
            };
            state = woken;
            drop(waiting);
        }
    }

    /// Sleeps until the step under way is over; none if the deadline passes before that.
    fn sleep<'a>(
        &'a self,
        mut state: MonitorGuard<'a, State<C, E>>,
        deadline: Option<Instant>,
    ) -> Option<MonitorGuard<'a, State<C, E>>> {
        let step = state.steps;
        state.asleep += 1;
        // Not under the lock: a thread of a pool may have to start another one that takes its place.
        drop(state);
        let over = blocking(|| self.sleep_through(step, deadline));
        let mut state = self.lock();
        state.asleep -= 1;
        over.then_some(state)
    }

    /// Whether this step was over before the deadline passed.
    fn sleep_through(&self, step: u64, deadline: Option<Instant>) -> bool {
        let mut state = self.lock();
        while state.steps == step {
            if deadline.is_some_and(has_passed) {
                return false;
            }
            state = self.state.wait(state, deadline);
        }
        true
    }

    /// Puts in the source that was opened; it comes back if the stream was cut off meanwhile.
    pub(super) fn put_source(&self, source: Source<C, E>) -> Result<(), (Source<C, E>, End<E>)> {
        let mut state = self.lock();
        if let Some(end) = &state.end {
            return Err((source, end.clone()));
        }
        state.opened = true;
        state.end_step(Upstream::Idle(source));
        let asleep = state.asleep > 0;
        drop(state);
        if asleep {
            self.wake();
        }
        Ok(())
    }

    /// Appends what was pulled, and puts back the source. Before the first chunk is shed, and under no lock of the log,
    /// `retire` has to see to it that nobody joins any more.
    pub(super) fn append(
        &self,
        source: Source<C, E>,
        chunk: Arc<C>,
        weight: u64,
        settings: &Settings<C>,
        retire: impl Fn(),
    ) -> Appended<C, E> {
        let mut state = self.lock();
        if state.shed == 0
            && !state.chunks.is_empty()
            && settings.is_over(state.chunks.len() + 1, state.weight_with(weight))
            && !is_planted(Fault::RetiresLate)
        {
            // Who joins between these two locks joins a log that is whole yet, and is one of those who may lag.
            drop(state);
            retire();
            state = self.lock();
        }
        if let Some(end) = state.end.as_ref().filter(|_| !is_planted(Fault::PullerMissesCancel)) {
            return Appended::CutOff { source, end: end.clone() };
        }
        state.chunks.push_back((chunk, weight));
        state.weight = state.weight_with(weight);
        let mut shed = Vec::new();
        while state.chunks.len() > 1 && settings.is_over(state.chunks.len(), state.weight) {
            if let Some((oldest, weight)) = state.chunks.pop_front() {
                state.weight = state.weight.saturating_sub(weight);
                state.shed += 1;
                shed.push(oldest);
            }
        }
        state.end_step(Upstream::Idle(source));
        let asleep = state.asleep > 0;
        drop(state);
        if asleep && !is_planted(Fault::ChunkWakesNobody) {
            self.wake();
        }
        if is_planted(Fault::RetiresLate) && !shed.is_empty() {
            retire();
        }
        Appended::Kept { shed }
    }
}

impl<C, E> State<C, E> {
    /// Whether the source is still being opened.
    pub(super) fn is_opening(&self) -> bool {
        self.steps == 0
    }

    fn weight_with(&self, weight: u64) -> u64 {
        self.weight.saturating_add(weight)
    }

    /// The source, for `thread` to pull from, if nobody else does.
    fn take_source(&mut self, thread: u64) -> Option<Source<C, E>> {
        if !matches!(self.upstream, Upstream::Idle(_)) {
            return None;
        }
        match std::mem::replace(&mut self.upstream, Upstream::Busy { thread, leader: None }) {
            Upstream::Idle(source) => Some(source),
            Upstream::Busy { .. } | Upstream::Gone => None,
        }
    }

    /// Enters in the graph of waits that this thread waits for the step under way, if it leads something; or refuses
    /// with the chain.
    pub(super) fn enter_graph(&mut self, label: impl Fn() -> Arc<str>) -> Result<Option<WaitEdge>, Arc<[Arc<str>]>> {
        match &mut self.upstream {
            Upstream::Busy { thread, leader } if leads_something() => {
                let leader = leader.get_or_insert_with(|| LeaderCell::new(*thread));
                WaitEdge::enter(sync::this_thread().number, leader, label(), || true)
            }
            _ => Ok(None),
        }
    }

    /// The step under way is over: nobody waits for it any more, whether they have woken or not.
    fn end_step(&mut self, upstream: Upstream<C, E>) -> Option<Source<C, E>> {
        self.steps += 1;
        match std::mem::replace(&mut self.upstream, upstream) {
            Upstream::Busy { leader: Some(leader), .. } => {
                if !is_planted(Fault::PullOutlivesStep) {
                    leader.clear();
                }
                None
            }
            Upstream::Idle(source) => Some(source),
            Upstream::Busy { leader: None, .. } | Upstream::Gone => None,
        }
    }

    /// Ends the stream for all, unless it has ended. A source that nobody pulls from comes out, to be dropped under no
    /// lock; who pulls drops it after the pull.
    pub(super) fn end(&mut self, end: End<E>) -> Option<Source<C, E>> {
        if self.end.is_some() {
            return None;
        }
        self.end = Some(end);
        self.end_step(Upstream::Gone)
    }

    /// The chunks, to be dropped under no lock, once nobody reads them.
    pub(super) fn take_chunks(&mut self) -> impl Iterator<Item = Arc<C>> + use<C, E> {
        std::mem::take(&mut self.chunks).into_iter().map(|(chunk, _)| chunk)
    }
}
