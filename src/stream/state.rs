//! What the lock of one stream guards: its chunks, its source while nobody pulls, its current step and its end.

use std::collections::VecDeque;
use std::sync::Arc;

use super::error::StreamError;
use super::settings::Settings;
use crate::stream::faults::Fault;
use crate::sync::step;
use crate::wait::graph::{Chain, LeaderCell, WaitEdge};
use crate::wait::thread::{leads_something, this_thread};

pub(super) type Source<C, E> = Box<dyn Iterator<Item = Result<C, E>> + Send>;

/// How a stream ended: by itself, or cut off.
pub(super) type End<E> = Result<(), StreamError<E>>;

/// The next chunk for a reader, or why there is none for it any more.
pub(super) type Chunk<C, E> = Result<Arc<C>, End<E>>;

/// No more chunks for this reader, because of `error`.
pub(super) fn cut_off<C, E>(error: StreamError<E>) -> Chunk<C, E> {
    Err(Err(error))
}

pub(super) struct State<C, E> {
    /// Readers that may still ask for a chunk. Changed only under the table's lock too.
    pub(super) readers: u64,
    /// Readers that sleep until the current step is over.
    pub(super) asleep: u64,
    upstream: Upstream<C, E>,
    opened: bool,
    /// How many steps are over. Opening the source is the first step, and each pull is another. A wait is for one step,
    /// and its end is news for every waiting reader: a chunk, or the end.
    steps: u64,
    step: Step,
    chunks: VecDeque<(Arc<C>, u64)>,
    /// Of all chunks together.
    weight: u64,
    /// Chunks that were dropped from the front.
    shed: u64,
    /// Set once, under the table's lock too, as the stream leaves the table.
    end: Option<End<E>>,
}

enum Upstream<C, E> {
    /// A thread opens the source or pulls from it.
    Busy,
    /// Whoever needs the next chunk first takes it.
    Idle(Source<C, E>),
    Gone,
}

/// The current step: the one under way, or the next one.
#[derive(Default)]
struct Step {
    /// The thread that makes it; 0 before it has begun.
    thread: u64,
    /// Its cell in the wait-for graph, made by the first waiting reader that needs it. It is good for this step only: a
    /// reader that has been given a chunk waits for nobody, though it may not have woken yet.
    cell: Option<LeaderCell>,
    /// A thread was started to make this step, unless a reader makes it first.
    has_helper: bool,
}

impl<C, E> State<C, E> {
    /// That of a stream that `thread` opens, and reads.
    pub(super) fn new(thread: u64) -> Self {
        Self {
            readers: 1,
            asleep: 0,
            upstream: Upstream::Busy,
            opened: false,
            steps: 0,
            step: Step { thread, ..Step::default() },
            chunks: VecDeque::new(),
            weight: 0,
            shed: 0,
            end: None,
        }
    }

    /// Whether the source is still being opened.
    pub(super) fn is_opening(&self) -> bool {
        self.steps == 0
    }

    /// How the opening went, once it is over. A stream that was opened may have ended by now, and its chunks are there
    /// to be read.
    pub(super) fn opening(&self) -> End<E> {
        if self.opened { Ok(()) } else { self.end.clone().unwrap_or(Ok(())) }
    }

    pub(super) fn end(&self) -> Option<&End<E>> {
        self.end.as_ref()
    }

    /// The number of the current step.
    pub(super) fn step(&self) -> u64 {
        self.steps
    }

    /// What a reader that has had `position` chunks gets without waiting. A chunk beats the end.
    #[inline]
    pub(super) fn ready(&self, position: u64) -> Option<Chunk<C, E>> {
        let Some(ahead) = position.checked_sub(self.shed) else {
            return Some(cut_off(StreamError::Lagged { missed: self.shed - position }));
        };
        if let Some((chunk, _)) = usize::try_from(ahead).ok().and_then(|ahead| self.chunks.get(ahead)) {
            return Some(Ok(Arc::clone(chunk)));
        }
        self.end.clone().map(Err)
    }

    /// The source, for `thread` to pull from, if nobody else does.
    #[inline]
    pub(super) fn take_source(&mut self, thread: u64) -> Option<Source<C, E>> {
        if !matches!(self.upstream, Upstream::Idle(_)) {
            return None;
        }
        match std::mem::replace(&mut self.upstream, Upstream::Busy) {
            Upstream::Idle(source) => {
                self.step.thread = thread;
                // Readers may be asleep already, if a helper was to pull.
                if let Some(cell) = &self.step.cell {
                    step!(HelperUnnamed, cell.set(thread));
                }
                Some(source)
            }
            Upstream::Busy | Upstream::Gone => None,
        }
    }

    /// Whether a thread has to be started, so that the current step is made. The caller has to start it.
    pub(super) fn wants_helper(&mut self) -> bool {
        matches!(self.upstream, Upstream::Idle(_)) && !std::mem::replace(&mut self.step.has_helper, true)
    }

    /// Enters in the wait-for graph that this thread waits for the current step, if it leads something; or refuses with
    /// the chain.
    pub(super) fn enter_graph(&mut self, label: impl Fn() -> Arc<str>) -> Result<Option<WaitEdge>, Chain> {
        if !leads_something() {
            return Ok(None);
        }
        let thread = self.step.thread;
        let cell = self.step.cell.get_or_insert_with(|| LeaderCell::new(thread));
        WaitEdge::enter(this_thread().number, cell, &label(), &|| true)
    }

    /// Puts in the source that was opened.
    pub(super) fn open(&mut self, source: Source<C, E>) {
        self.opened = true;
        self.end_step(Upstream::Idle(source));
    }

    /// Whether `weight` more would be too much for a log that has lost nothing yet.
    pub(super) fn is_first_over(&self, weight: u64, settings: &Settings<C>) -> bool {
        self.shed == 0 && !self.chunks.is_empty() && settings.is_over(self.chunks.len() + 1, self.weight_with(weight))
    }

    /// Appends a chunk and puts back the source. Returns the chunks that have to go, to be dropped under no lock.
    pub(super) fn append(
        &mut self,
        source: Source<C, E>,
        chunk: Arc<C>,
        weight: u64,
        settings: &Settings<C>,
    ) -> Vec<Arc<C>> {
        self.chunks.push_back((chunk, weight));
        self.weight = self.weight_with(weight);
        let mut shed = Vec::new();
        while self.chunks.len() > 1 && settings.is_over(self.chunks.len(), self.weight) {
            if let Some((oldest, weight)) = self.chunks.pop_front() {
                self.weight = self.weight.saturating_sub(weight);
                self.shed += 1;
                shed.push(oldest);
            }
        }
        self.end_step(Upstream::Idle(source));
        shed
    }

    fn weight_with(&self, weight: u64) -> u64 {
        self.weight.saturating_add(weight)
    }

    /// Ends the stream for all, unless it has ended. A source that nobody pulls from comes out, to be dropped under no
    /// lock; a thread that pulls drops it after the pull.
    pub(super) fn end_with(&mut self, end: End<E>) -> Option<Source<C, E>> {
        if self.end.is_some() {
            return None;
        }
        self.end = Some(end);
        match self.end_step(Upstream::Gone) {
            Upstream::Idle(source) => Some(source),
            Upstream::Busy | Upstream::Gone => None,
        }
    }

    /// The current step is over: nobody waits for it any more, whether they have woken or not.
    #[inline]
    fn end_step(&mut self, upstream: Upstream<C, E>) -> Upstream<C, E> {
        self.steps += 1;
        if let Some(cell) = std::mem::take(&mut self.step).cell {
            step!(PullOutlivesStep, cell.clear());
        }
        std::mem::replace(&mut self.upstream, upstream)
    }

    /// The chunks, to be dropped under no lock, once nobody reads them.
    pub(super) fn take_chunks(&mut self) -> impl Iterator<Item = Arc<C>> + use<C, E> {
        std::mem::take(&mut self.chunks).into_iter().map(|(chunk, _)| chunk)
    }
}
