//! All streams of one coalescer: joining, ending and leaving, under one lock.

use std::sync::Arc;

use hashbrown::Equivalent;

use super::error::StreamError;
use super::log::Log;
use super::map::{Entry, Streams, same_key};
use super::settings::Settings;
use super::state::End;
use super::stats::StreamStats;
use crate::error::CallError;
use crate::observe::FlightId;
use crate::options::CallOptions;
use crate::outcome::Mark;
use crate::panic::{CatchDrop, catch_panic};
use crate::stream::faults::Fault;
use crate::sync::{Mutex, is_planted};
use crate::wait::graph::WaitEdge;

/// All streams of one coalescer.
pub(super) struct Table<K, C, E> {
    pub(super) settings: Settings<C>,
    streams: Mutex<Streams<K, C, E>>,
}

/// Which part a caller plays. Either is counted as a reader of the log.
pub(super) enum Entered<C, E> {
    Opens(Arc<Log<C, E>>),
    /// The source may still be being opened; then this is its place in the wait-for graph, if it needs one.
    Joins(Arc<Log<C, E>>, Option<WaitEdge>),
}

/// Why a reader leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaveReason {
    /// It has seen the end, or wants no more.
    Done,
    Late,
    Lagged,
}

/// The table that a stream is in, as its readers know it: the type of its keys does not matter to them.
pub(super) trait Owner<C, E> {
    fn settings(&self) -> &Settings<C>;

    /// Keeps new callers from joining this stream.
    fn unlink(&self, log: &Log<C, E>);

    /// Removes this stream and ends it for all its readers. Returns how it ended, which may be how another thread
    /// ended it before.
    fn end(&self, log: &Log<C, E>, end: End<E>) -> End<E>;

    /// Takes a reader off. The last one drops the source and the chunks.
    fn leave(&self, log: &Arc<Log<C, E>>, why: LeaveReason);
}

/// That table, for a reader or a thread that may outlive the coalescer.
pub(super) type SharedOwner<C, E> = Arc<dyn Owner<C, E> + Send + Sync>;

impl<K, C, E> Table<K, C, E> {
    pub(super) fn new(settings: Settings<C>) -> Self {
        Self { settings, streams: Mutex::new(Streams::new()) }
    }

    /// Joins the stream for `key`, or opens a new one.
    ///
    /// User code here: `Q: Eq` under the lock, before anything has changed, and `Q::to_owned` under none.
    pub(super) fn enter<Q>(&self, hash: u64, key: &Q, options: &CallOptions<'_>) -> Result<Entered<C, E>, CallError<E>>
    where
        Q: Equivalent<K> + ToOwned<Owned = K> + ?Sized,
    {
        // Declared before each guard, so that a key that is not needed is dropped under no lock; and panics in its Drop
        // are caught, or the place that is returned could get lost.
        let (mut made, mut superseded) = (CatchDrop::NONE, CatchDrop::NONE);
        loop {
            let mut streams = self.streams.lock();
            if streams.closed {
                streams.counters.closed += 1;
                return Err(CallError::Closed);
            }
            if options.bypass {
                return Ok(Entered::Opens(streams.begin_unlinked(hash)));
            }
            let Streams { joinable, counters, .. } = &mut *streams;
            if let Some(entry) = joinable.find(hash, same_key(hash, key)) {
                if options.after.is_none_or(|mark| entry.log.id >= mark.0) {
                    return self.join(&entry.log, counters, options.label);
                }
                // A new stream takes the place of one that is too old, and its key if none was made.
                superseded = CatchDrop::new_option(streams.forget(hash, key).map(|(key, _)| key));
            }
            if let Some(key) = made.take().or_else(|| superseded.take()) {
                return Ok(Entered::Opens(streams.begin(hash, key)));
            }
            drop(streams);
            made = CatchDrop::new(key.to_owned());
        }
    }

    fn join(
        &self,
        log: &Arc<Log<C, E>>,
        counters: &mut StreamStats,
        own: Option<&str>,
    ) -> Result<Entered<C, E>, CallError<E>> {
        let mut state = log.lock();
        if state.readers >= self.settings.max_readers {
            counters.overloaded += 1;
            return Err(CallError::Overloaded);
        }
        let waiting = if state.is_opening() {
            state.enter_graph(|| own.map_or_else(|| label(&self.settings, log), Arc::from)).map_err(|chain| {
                counters.deadlocks += 1;
                CallError::Deadlock { chain }
            })?
        } else {
            None
        };
        state.readers += 1;
        counters.joined += 1;
        counters.readers += 1;
        Ok(Entered::Joins(Arc::clone(log), waiting))
    }

    pub(super) fn mark(&self) -> Mark {
        self.streams.lock().mark()
    }

    /// Lets later callers open a stream of their own. True if there was one to forget.
    pub(super) fn forget<Q>(&self, hash: u64, key: &Q) -> bool
    where
        Q: Equivalent<K> + ?Sized,
    {
        let forgotten = self.streams.lock().forget(hash, key);
        let forgot = forgotten.is_some();
        catch_panic(|| drop(forgotten));
        forgot
    }

    /// Forgets the stream and ends it. True if there was one.
    pub(super) fn cancel<Q>(&self, hash: u64, key: &Q) -> bool
    where
        Q: Equivalent<K> + ?Sized,
    {
        let mut streams = self.streams.lock();
        let Some((key, log)) = streams.forget(hash, key) else {
            return false;
        };
        streams.unlinked.remove(&log.id);
        streams.counters.cancelled += 1;
        let source = log.lock().end_with(Err(StreamError::Cancelled));
        drop(streams);
        log.wake();
        catch_panic(|| drop(source));
        catch_panic(|| drop(key));
        true
    }

    /// Ends all streams, and refuses calls from now on.
    pub(super) fn close(&self) {
        let mut streams = self.streams.lock();
        streams.closed = true;
        let (keys, mut logs): (Vec<_>, Vec<_>) = streams.joinable.drain().map(|Entry { key, log }| (key, log)).unzip();
        streams.shrink();
        logs.extend(std::mem::take(&mut streams.unlinked).into_values());
        streams.counters.cancelled += logs.len() as u64;
        let sources: Vec<_> = logs.iter().map(|log| log.lock().end_with(Err(StreamError::Closed))).collect();
        drop(streams);
        for log in logs {
            log.wake();
        }
        drop_each(sources);
        drop_each(keys);
    }

    pub(super) fn stats(&self) -> StreamStats {
        let streams = self.streams.lock();
        let logs = streams.joinable.iter().map(|entry| &entry.log).chain(streams.unlinked.values());
        StreamStats {
            in_flight: streams.joinable.len() as u64,
            running: (streams.joinable.len() + streams.unlinked.len()) as u64,
            waiting: logs.map(|log| log.lock().asleep).sum(),
            ..streams.counters
        }
    }

    pub(super) fn reset_stats(&self) {
        self.streams.lock().counters.reset();
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.streams.lock().joinable.len() as u64
    }

    #[cfg(sync_coalesce_shuttle)]
    pub(super) fn is_empty(&self) -> bool {
        let streams = self.streams.lock();
        streams.joinable.is_empty() && streams.unlinked.is_empty() && streams.counters.readers == 0
    }
}

impl<K, C, E> Owner<C, E> for Table<K, C, E> {
    fn settings(&self) -> &Settings<C> {
        &self.settings
    }

    fn unlink(&self, log: &Log<C, E>) {
        let mut streams = self.streams.lock();
        let key = streams.take(log).map(|Entry { key, log }| {
            streams.unlinked.insert(log.id, log);
            key
        });
        drop(streams);
        catch_panic(|| drop(key));
    }

    fn end(&self, log: &Log<C, E>, end: End<E>) -> End<E> {
        // Where somebody else has ended it, the error is dropped with this one, under no lock.
        let spare = end.clone();
        let mut streams = self.streams.lock();
        let entry = streams.take(log);
        let unlinked = streams.unlinked.remove(&log.id);
        let mut state = log.lock();
        match &end {
            // It was cancelled, and was counted as that.
            _ if state.end().is_some() => {}
            Err(StreamError::Failed(_)) => streams.counters.failed += 1,
            Err(StreamError::SourcePanicked { .. }) => streams.counters.panicked += 1,
            _ => {}
        }
        let source = state.end_with(end);
        let end = state.end().cloned().unwrap_or(Ok(()));
        drop(state);
        drop(streams);
        log.wake();
        catch_panic(|| drop((source, unlinked)));
        catch_panic(|| drop(entry));
        catch_panic(|| drop(spare));
        end
    }

    fn leave(&self, log: &Arc<Log<C, E>>, why: LeaveReason) {
        if is_planted(Fault::LastReaderLooksFirst) && log.lock().readers > 1 {
            log.lock().readers -= 1;
            self.streams.lock().counters.readers -= 1;
            return;
        }
        if is_planted(Fault::LateReaderStays) && why == LeaveReason::Late {
            return;
        }
        let mut streams = self.streams.lock();
        streams.counters.readers -= 1;
        match why {
            LeaveReason::Done => {}
            LeaveReason::Late => streams.counters.timed_out += 1,
            LeaveReason::Lagged => streams.counters.lagged += 1,
        }
        let mut state = log.lock();
        state.readers -= 1;
        if state.readers > 0 {
            return;
        }
        // No reader is left to see how it ended.
        let source = state.end_with(Err(StreamError::Cancelled));
        let chunks = state.take_chunks();
        drop(state);
        let entry = streams.take(log);
        let unlinked = streams.unlinked.remove(&log.id);
        drop(streams);
        catch_panic(|| drop((source, unlinked)));
        catch_panic(|| drop(entry));
        drop_each(chunks);
    }
}

/// What a stream is called where people read it.
pub(super) fn label<C, E>(settings: &Settings<C>, log: &Log<C, E>) -> Arc<str> {
    FlightId { coalescer: settings.name.as_deref(), number: log.id }.to_string().into()
}

/// Drops user values one by one, so that a panic in the Drop of one keeps none of the others.
pub(super) fn drop_each<V>(values: impl IntoIterator<Item = V>) {
    for value in values {
        catch_panic(|| drop(value));
    }
}
